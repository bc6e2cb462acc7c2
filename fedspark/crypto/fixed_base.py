"""Powers of one base by table: every byte of the exponent costs one product and no squaring.

Brickell, Gordon, McCurley and Wilson, "Fast Exponentiation with Precomputation", EUROCRYPT 1992, with windows of 8
bits. A table for 2048-bit Paillier (modulus 4096 bits, exponent 1024 bits) has 128 x 256 entries, 20 MiB, and takes a
fifth of a second to build, so a process builds it once per key.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from operator import getitem

from gmpy2 import mpz

_KEPT = 6
_tables: OrderedDict[tuple[mpz, mpz, int], FixedBase] = OrderedDict()
_lock = threading.Lock()


class FixedBase:
    """``base`` to any exponent of ``exponent_bytes`` bytes modulo ``modulus``. Read-only once built, so threads may
    share it.

    For one-time secret exponents: which entries are read depends on the exponent, so a long-lived private key has no
    place here.
    """

    def __init__(self, modulus: mpz, base: mpz, exponent_bytes: int) -> None:
        self.modulus = modulus
        self.exponent_bytes = exponent_bytes
        self._rows: list[list[mpz]] = []
        step = base % modulus
        for _ in range(exponent_bytes):
            row = [mpz(1)]
            for _ in range(255):
                row.append(row[-1] * step % modulus)
            self._rows.append(row)
            step = row[-1] * step % modulus

    def power(self, exponent: bytes) -> mpz:
        """base^e mod modulus, with ``e`` given as exactly ``exponent_bytes`` little-endian bytes."""
        if len(exponent) != self.exponent_bytes:
            raise ValueError(f"the exponent has {len(exponent)} bytes, the table is for {self.exponent_bytes}")
        modulus, product = self.modulus, mpz(1)
        for factor in map(getitem, self._rows, exponent):
            product = product * factor % modulus
        return product


def fixed_base(modulus: mpz, base: mpz, exponent_bytes: int) -> FixedBase:
    """The table for this modulus, base and size, built at its first use in this process; the last few are kept."""
    key = (modulus, base, exponent_bytes)
    with _lock:
        table = _tables.get(key)
        if table is None:
            table = _tables[key] = FixedBase(modulus, base, exponent_bytes)
            while len(_tables) > _KEPT:
                _tables.popitem(last=False)
        _tables.move_to_end(key)
        return table
