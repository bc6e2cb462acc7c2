"""The command ``fedspark``."""

from fedspark.cli.commands import main

__all__ = ["main"]
