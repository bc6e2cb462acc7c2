"""What the user says about code that a process compiles for itself (numba's, llvmlite's): ``FEDSPARK_KERNELS``."""

from __future__ import annotations

import os

from fedspark.errors import CryptoError


def wanted_kernels() -> str:
    """``numpy``: nothing compiled; ``numba``: compiled or an error; empty: what is fastest. Else CryptoError."""
    wanted = os.environ.get("FEDSPARK_KERNELS", "")
    if wanted not in ("", "numpy", "numba"):
        raise CryptoError(f"FEDSPARK_KERNELS is {wanted!r}.", remedy="Set it to numpy or numba, or not at all.")
    return wanted
