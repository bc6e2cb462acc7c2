"""A second side, for peers that are measured beside ours: another module, the same work."""

from tests.benchmarks.sides import prepare

__all__ = ["prepare"]
