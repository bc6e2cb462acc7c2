"""A run: one execution of a pipeline by one party. Everything that a role half needs is one argument, ``Run``."""

from fedspark.run.opening import open_run
from fedspark.run.progress import Progress
from fedspark.run.run import Run, SendFunction
from fedspark.run.workspace import Workspace

__all__ = ["Progress", "Run", "SendFunction", "Workspace", "open_run"]
