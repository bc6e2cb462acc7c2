"""Which array kernels a process uses: compiled by numba where it is installed, else numpy and hashlib.

Both give the same bits; the choice costs time only. ``FEDSPARK_KERNELS=numpy`` (or ``numba``) forces one. Compiled
code is cached in NUMBA_CACHE_DIR if that is set, else in a directory of this user, one for each numba version and
processor; numba's cache files are pickles, so a directory that others can write to is not used.
"""

from __future__ import annotations

import importlib
import logging
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fedspark.crypto.kernel_choice import wanted_kernels
from fedspark.crypto.ot import kernels_numpy
from fedspark.errors import CryptoError

_WORTH_LOADING = 750_000
_LOG = logging.getLogger("fedspark.crypto.ot")

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int32]


class Kernels(Protocol):
    """The functions of ``kernels_numpy``, which documents them. What ``peel`` returns is opaque to callers, but for the
    items and pivots that come first.
    """

    name: str

    def columns_to_rows(self, columns: Words) -> Words: ...

    def peel(self, positions: Positions, cells: int) -> tuple[Any, Any, Any]: ...

    def assign(self, positions: Positions, peeled: Any, values: Words, table: Words) -> None: ...

    def add_product(self, rows: Words, factors: Words, planes: Words) -> None: ...

    def hash_decoded(
        self,
        table: Words,
        positions: Positions,
        selected: Words,
        dense: Words,
        product: tuple[Words, Words] | None,
        label: bytes,
    ) -> npt.NDArray[np.uint8]: ...


@cache
def fastest() -> Kernels:
    """The kernels of this process, decided at the first call (which compiles, or loads what was compiled)."""
    wanted = wanted_kernels()
    if wanted == "numpy":
        return _numpy()
    try:
        return compiled()
    except ImportError:
        if wanted:
            raise CryptoError(
                "FEDSPARK_KERNELS asks for numba, which is not installed.", remedy="pip install 'fedspark[fast]'"
            ) from None
        _LOG.info("numba is not installed: bits, tables and row hashes run in numpy, about twice as slowly.")
        return _numpy()


def suited(rows: int) -> Kernels:
    """The kernels for a process that handles about ``rows`` rows: numpy's below 750,000, where loading compiled code
    (0.4 s; 3 s the first time on a machine) costs more than it saves.
    """
    return fastest() if rows >= _WORTH_LOADING or wanted_kernels() else _numpy()


@cache
def compiled() -> Kernels:
    """The numba kernels. Raises ImportError where numba is absent."""
    numba = importlib.import_module("numba")
    llvm = importlib.import_module("llvmlite.binding")
    before = numba.config.CACHE_DIR
    if not before:
        # Read by numba when a kernel is declared; other users of numba in this process keep their own.
        numba.config.CACHE_DIR = str(_cache_directory(f"numba-{numba.__version__}-{llvm.get_host_cpu_name()}"))
    try:
        module: Any = importlib.import_module("fedspark.crypto.ot.kernels_numba")
    finally:
        numba.config.CACHE_DIR = before
    kernels: Kernels = module
    return kernels


def _numpy() -> Kernels:
    kernels: Any = kernels_numpy
    chosen: Kernels = kernels
    return chosen


def _cache_directory(name: str) -> Path:
    """A directory that only this user can write to: below the user's cache directory, else below the temporary one,
    else a fresh one for this process.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    for parent in (Path(home) / "fedspark", Path(tempfile.gettempdir()) / f"fedspark-{os.getuid()}"):
        path = parent / name
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            if all(_private(directory) for directory in (parent, path)) and os.access(path, os.W_OK):
                return path
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="fedspark-"))


def _private(directory: Path) -> bool:
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
