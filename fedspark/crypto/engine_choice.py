"""Which engine computes on Paillier columns in this process: vector kernels where they run, else gmpy2.

All engines give the same bytes, so parties need not have the same. ``FEDSPARK_KERNELS=numpy`` asks for gmpy2, ``numba``
for kernels or an error; kernels need llvmlite, which comes with numba.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Protocol

import gmpy2
import numpy as np
from gmpy2 import mpz

from fedspark.crypto.kernel_choice import wanted_kernels
from fedspark.crypto.paillier_engine import Cells, Engine, Gmpy2Engine, OwnerEngine
from fedspark.crypto.residues import residue_rows
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
    reasons = []
    for name in runnable():
        try:
            made = kernels(name)
            if agrees(made):
                return made
            reason = "they disagree with GMP"
        except (ImportError, OSError, RuntimeError) as error:
            reason = str(error)
        reasons.append(f"{name}: {reason}")
        if not wanted:
            _LOG.warning("The Paillier kernels for %s are not used: %s.", name, reason)
    if wanted:
        raise CryptoError(
            "FEDSPARK_KERNELS asks for numba, and no Paillier kernels run on this machine: "
            f"{'; '.join(reasons) or 'the processor has no AVX2, or llvmlite does not load'}.",
            remedy="Unset FEDSPARK_KERNELS: gmpy2 then computes the same bytes, five to ten times more slowly.",
        )
    _LOG.info("No vector kernels for this processor: Paillier computes with gmpy2.")
    return None


def agrees(made: Kernels) -> bool:
    """Whether arithmetic on a few rows is GMP's, at the ends of the range and in between. Takes milliseconds."""
    try:
        return all(np.array_equal(found, expected) for found, expected in _compared(made))
    except (ArithmeticError, ValueError, CryptoError):  # what comes of wrong numbers: no inverse, too large, negative
        return False


def _compared(made: Kernels) -> Iterator[tuple[Any, Any]]:
    n = (mpz(1) << 2048) - 1557
    vector, reference = VectorEngine(int(n), made), Gmpy2Engine(int(n))
    values = [mpz(1), n * n - 1, n * n - 2, n - 1, n + 1, *(gmpy2.powmod(3, 10**4 + k, n * n) for k in range(6))]
    cells = reference.column(values)
    plain = residue_rows([0, 1, -1, n // 2, -(n // 2), *range(6)], int(n))
    matrix = np.arange(22).reshape(11, 2) % 16 - 8
    m, digits = Modulus(made, n * n), np.arange(88, dtype=np.uint8).reshape(11, 8) * 3
    powers, fixed = m.power_of_all(m.enter(m.load(cells)), n % 997, 10), m.fixed(m.table(values[5], 8), digits)
    exponents = [mpz.from_bytes(row.tobytes(), "little") for row in digits]
    yield vector.add(cells, cells[::-1]), reference.add(cells, cells[::-1])
    yield vector.add_plain(cells, plain), reference.add_plain(cells, plain)
    yield vector.multiply_plain(cells, range(11)), reference.multiply_plain(cells, range(11))
    yield vector.total(cells), reference.total(cells)
    yield vector.linear(cells, matrix, 4), reference.linear(cells, matrix, 4)
    p, q = (mpz(1) << 1024) - 105, (mpz(1) << 1024) - 107  # odd; nothing here needs primes
    owner, few = VectorOwnerEngine(p, q, made), reference.column(values[-(m.lanes // 2) :])
    yield list(owner.half_powers(few)), list(OwnerEngine(p, q).half_powers(few))
    yield m.integers(m.multiply(powers, m.plain_one))[:11], [gmpy2.powmod(value, n % 997, n * n) for value in values]
    yield m.integers(m.multiply(fixed, m.plain_one))[:11], [gmpy2.powmod(values[5], e, n * n) for e in exponents]
