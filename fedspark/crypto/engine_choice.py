"""Which engine computes on Paillier columns in this process: vector kernels where they run, else gmpy2.

All engines give the same bytes, so parties need not have the same. ``FEDSPARK_KERNELS=numpy`` asks for gmpy2, ``numba``
for kernels or an error; kernels need llvmlite, which comes with numba.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Protocol

import gmpy2
import numpy as np
from gmpy2 import mpz

from fedspark.crypto.kernel_choice import wanted_kernels
from fedspark.crypto.paillier_engine import Cells, Engine, Gmpy2Engine, OwnerEngine
from fedspark.crypto.vector.compiled import Kernels, kernels, runnable
from fedspark.crypto.vector.engine import VectorEngine, VectorOwnerEngine
from fedspark.crypto.vector.modulus import Modulus
from fedspark.errors import CryptoError

_LOG = logging.getLogger("fedspark.crypto.paillier")


class OwnersEngine(Engine, Protocol):
    """An engine that knows p and q: ``encrypt`` takes less time, and it has the powers of decryption."""

    def half_powers(self, cells: Cells) -> Iterator[tuple[mpz, mpz]]:
        """(c^(p-1) mod p^2, c^(q-1) mod q^2) for every row, constant-time in the exponents."""
        ...


@lru_cache(maxsize=8)
def engine_for_modulus(n: int) -> Engine:
    """The fastest engine on this machine for the public modulus ``n``."""
    chosen = chosen_kernels()
    return Gmpy2Engine(n) if chosen is None else VectorEngine(n, chosen)


@lru_cache(maxsize=4)
def owner_engine(p: mpz, q: mpz) -> OwnersEngine:
    """The fastest engine for the owner of p and q; its tables are this process's own."""
    chosen = chosen_kernels()
    return OwnerEngine(p, q) if chosen is None else VectorOwnerEngine(p, q, chosen)


@cache
def chosen_kernels() -> Kernels | None:
    """The kernels of this process: the fastest that the processor has, compile and agree with GMP. Decided once."""
    wanted = wanted_kernels()
    if wanted == "numpy":
        return None
    if find_spec("llvmlite") is None:
        if wanted:
            raise CryptoError(
                "FEDSPARK_KERNELS asks for numba, which is not installed.", remedy="pip install 'fedspark[fast]'"
            )
        _LOG.info("numba is not installed: Paillier computes with gmpy2, five to ten times more slowly.")
        return None
    for name in runnable():
        try:
            made = kernels(name)
            if agrees(made):
                return made
            reason = "they disagree with GMP"
        except (ImportError, OSError, RuntimeError) as error:
            reason = str(error)
        _LOG.warning("The Paillier kernels for %s are not used: %s.", name, reason)
    _LOG.info("No vector kernels for this processor: Paillier computes with gmpy2.")
    return None


def agrees(made: Kernels) -> bool:
    """Whether products, powers and conversions are GMP's, on the ends of the range and in between."""
    n = (mpz(1) << 2048) - 1557
    values = [mpz(0), mpz(1), n - 1, n - 2, n >> 1, *(gmpy2.powmod(3, 10**4 + k, n) for k in range(7))]
    rows = np.frombuffer(b"".join(value.to_bytes(256, "little") for value in values), np.uint8).reshape(-1, 256)
    m = Modulus(made, n)
    a = m.enter(m.load(rows))
    powers, out = m.power_of_all(m.multiply(a, a), mpz(0b1101), 4), np.empty_like(rows)
    m.rows(m.multiply(powers, m.plain_one), out)
    found = [mpz.from_bytes(row.tobytes(), "little") for row in out]
    return found == [gmpy2.powmod(value, 26, n) for value in values]
