"""Federated learning on the Spark clusters, warehouses and schedulers that companies already run."""

__version__ = "0.1.0"
