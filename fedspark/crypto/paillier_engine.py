"""The arithmetic of Paillier columns: arrays of fixed-width ciphertexts in, arrays out.

``Engine`` is the seam: ``vector.engine`` takes the same arrays and gives the same bytes, ``Gmpy2Engine`` runs
everywhere, ``engine_choice`` decides. A column is ``Cells``: uint8[N, 2 x bits / 8], one little-endian residue modulo
n^2 a row. Engines check shapes only; what a value may be, who may receive it and whether it may be sent is decided in
``fedspark.crypto.ciphertexts``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.constant_time import power_pairs
from fedspark.crypto.fixed_base import fixed_base
from fedspark.crypto.hashing import prefixed
from fedspark.crypto.randomness import Stream
from fedspark.crypto.residues import all_units, batch_inverse

Cells = npt.NDArray[np.uint8]
Plain = npt.NDArray[np.uint8]
"""Plaintexts: uint8[N, bits / 8], one little-endian residue in [0, n) a row (``residues.residue_rows``)."""
Matrix = npt.NDArray[np.signedinteger]
"""Signed integers of up to 64 bits, [N, F]."""

Factors = Sequence[int] | npt.NDArray[np.int64]
"""Signed factors in (-n/2, n/2)."""

_BLOCK = 4096  # rows that exist as Python integers at a time
_BUCKET_BYTES = 64 << 20  # memory for the buckets of a multi-exponentiation


class Engine(Protocol):
    """Arithmetic modulo n^2 on columns. Equal inputs and streams give equal bytes on every engine."""

    name: str
    width: int

    def encrypt(self, plain: Plain, stream: Stream) -> Cells:
        """(1 + m n) hs^r row by row."""
        ...

    def obfuscate(self, cells: Cells, stream: Stream) -> Cells:
        """c hs^r row by row, r uniform of |n|/2 bits: for a receiver without the key."""
        ...

    def obfuscate_fully(self, cells: Cells, stream: Stream) -> Cells:
        """c rho^n row by row, rho uniform in Z_n*: for the key's owner."""
        ...

    def add(self, left: Cells, right: Cells) -> Cells:
        """[[a + b]] row by row."""
        ...

    def add_plain(self, cells: Cells, plain: Plain) -> Cells:
        """[[a + m]] row by row."""
        ...

    def multiply_plain(self, cells: Cells, factors: Factors) -> Cells:
        """[[a k]] row by row, k signed."""
        ...

    def total(self, cells: Cells) -> Cells:
        """[[sum a]], one row."""
        ...

    def linear(self, cells: Cells, matrix: Matrix, bits: int) -> Cells:
        """[[sum_i x_ij a_i]] for every column j, -2^(bits-1) <= x < 2^(bits-1)."""
        ...

    def refused(self, cells: Cells) -> int | None:
        """The first row that is not in 1..n^2-1 or not coprime to n, or None."""
        ...

    def integers(self, cells: Cells) -> Iterator[mpz]:
        """The residues of a column, or of plaintexts, one by one."""
        ...


class Gmpy2Engine:
    """GMP's integers, block by block. The obfuscator's table is built when first needed, once per process and key."""

    name = "gmpy2"

    def __init__(self, n: int) -> None:
        self.n = mpz(n)
        self.n2 = self.n**2
        self.width = 2 * -(-self.n.bit_length() // 8)
        self.nonce_bytes = self.width // 4

    @cached_property
    def hs(self) -> mpz:
        """h^n mod n^2 with h = -x^2 mod n and x the expanded hash of n (Damgard, Jurik, Nielsen 2010, section 4.2)."""
        modulus = self.n.to_bytes(self.width // 2, "big")
        expanded = hashlib.shake_256(prefixed(b"fedspark paillier obfuscator v1") + modulus).digest(len(modulus) + 16)
        x = mpz.from_bytes(expanded, "big") % self.n
        return gmpy2.powmod(-x * x % self.n, self.n, self.n2)

    def encrypt(self, plain: Plain, stream: Stream) -> Cells:
        n, n2 = self.n, self.n2
        nonces = self._short_nonces(len(plain), stream)
        products = ((1 + m * n) * s % n2 for m, s in zip(self.integers(plain), nonces, strict=True))
        return self._column(len(plain), products)

    def obfuscate(self, cells: Cells, stream: Stream) -> Cells:
        nonces = self._short_nonces(len(cells), stream)
        return self._column(len(cells), (c * s % self.n2 for c, s in zip(self.integers(cells), nonces, strict=True)))

    def obfuscate_fully(self, cells: Cells, stream: Stream) -> Cells:
        n, n2 = self.n, self.n2
        rhos = stream.units(int(n), len(cells))
        products = (c * gmpy2.powmod(rho, n, n2) % n2 for c, rho in zip(self.integers(cells), rhos, strict=True))
        return self._column(len(cells), products)

    def add(self, left: Cells, right: Cells) -> Cells:
        n2 = self.n2
        products = (a * b % n2 for a, b in zip(self.integers(left), self.integers(right), strict=True))
        return self._column(len(left), products)

    def add_plain(self, cells: Cells, plain: Plain) -> Cells:
        n, n2 = self.n, self.n2
        products = (c * (1 + m * n) % n2 for c, m in zip(self.integers(cells), self.integers(plain), strict=True))
        return self._column(len(cells), products)

    def multiply_plain(self, cells: Cells, factors: Factors) -> Cells:
        return self._column(len(cells), self._powers(cells, factors))

    def total(self, cells: Cells) -> Cells:
        return self._column(1, [self._product(cells)])

    def linear(self, cells: Cells, matrix: Matrix, bits: int) -> Cells:
        rows, features = matrix.shape
        window = bucket_window(rows, bits)
        buckets = -(-bits // window) << window
        at_once = max(1, _BUCKET_BYTES // (buckets * (self.width + 64)))
        sums: list[mpz] = []
        for first in range(0, features, at_once):
            sums += self._bucket_sums(cells, matrix[:, first : first + at_once], bits, window)
        offset = gmpy2.invert(gmpy2.powmod(self._product(cells), mpz(1) << (bits - 1), self.n2), self.n2)
        return self._column(features, (value * offset % self.n2 for value in sums))

    def refused(self, cells: Cells) -> int | None:
        for first in range(0, len(cells), _BLOCK):
            values = list(self.integers(cells[first : first + _BLOCK]))
            if not (all(0 < c < self.n2 for c in values) and all_units(values, self.n)):
                wrong = (not 0 < c < self.n2 or gmpy2.gcd(c, self.n) != 1 for c in values)
                return first + list(wrong).index(True)
        return None

    def integers(self, cells: Cells) -> Iterator[mpz]:
        width, read = cells.shape[1], mpz.from_bytes
        for first in range(0, len(cells), _BLOCK):
            raw = cells[first : first + _BLOCK].tobytes()
            for at in range(0, len(raw), width):
                yield read(raw[at : at + width], "little")

    def column(self, values: Sequence[mpz]) -> Cells:
        """Residues modulo n^2 as a column."""
        return self._column(len(values), values)

    def _column(self, rows: int, values: Iterable[mpz]) -> Cells:
        width = self.width
        column = bytearray(rows * width)
        for row, value in enumerate(values):
            column[row * width : (row + 1) * width] = value.to_bytes(width, "little")
        return np.frombuffer(column, dtype=np.uint8).reshape(rows, width)

    def _short_nonces(self, count: int, stream: Stream) -> Iterator[mpz]:
        """hs^r for ``count`` exponents r of |n|/2 bits, the next bytes of the stream."""
        size, power = self.nonce_bytes, self._nonce_power()
        for first in range(0, count, _BLOCK):
            raw = stream.bytes(size * min(_BLOCK, count - first))
            for at in range(0, len(raw), size):
                yield power(raw[at : at + size])

    def _nonce_power(self) -> Callable[[bytes], mpz]:
        return fixed_base(self.n2, self.hs, self.nonce_bytes).power

    def _powers(self, cells: Cells, factors: Factors) -> Iterator[mpz]:
        n2 = self.n2
        for first in range(0, len(cells), _BLOCK):
            block = list(self.integers(cells[first : first + _BLOCK]))
            signed = [int(factor) for factor in factors[first : first + _BLOCK]]
            negative = [row for row, factor in enumerate(signed) if factor < 0]
            for row, inverse in zip(negative, batch_inverse(n2, [block[row] for row in negative]), strict=True):
                block[row] = inverse
            for base, factor in zip(block, signed, strict=True):
                yield gmpy2.powmod(base, abs(factor), n2)

    def _product(self, cells: Cells) -> mpz:
        product = mpz(1)
        for value in self.integers(cells):
            product = product * value % self.n2
        return product

    def _bucket_sums(self, cells: Cells, matrix: Matrix, bits: int, window: int) -> list[mpz]:
        """prod_i c_i^(x_ij + 2^(bits-1)) for every column j: Pippenger's buckets, one table per column and window.

        Each row is multiplied into the bucket of its digit; bucket k then stands for k copies of its product.
        """
        n2, features, windows = self.n2, matrix.shape[1], -(-bits // window)
        tables = [[mpz(1)] * (1 << window) for _ in range(features * windows)]
        for first in range(0, len(cells), _BLOCK):
            block = list(self.integers(cells[first : first + _BLOCK]))
            shifted = matrix[first : first + _BLOCK].astype(np.int64) + (1 << (bits - 1))
            for feature in range(features):
                for at in range(windows):
                    digits = (shifted[:, feature] >> (window * at)) & ((1 << window) - 1)
                    table = tables[feature * windows + at]
                    for digit, value in zip(digits.tolist(), block, strict=True):
                        table[digit] = table[digit] * value % n2
        return [self._joined(tables[f * windows : (f + 1) * windows], window) for f in range(features)]

    def _joined(self, tables: list[list[mpz]], window: int) -> mpz:
        """prod_w (prod_k table_w[k]^k)^(2^(window w)): running products inside a window, Horner across them."""
        n2, result = self.n2, mpz(1)
        for table in reversed(tables):
            running = weighted = mpz(1)
            for bucket in reversed(table[1:]):
                running = running * bucket % n2
                weighted = weighted * running % n2
            result = gmpy2.powmod(result, 1 << window, n2) * weighted % n2
        return result


class OwnerEngine(Gmpy2Engine):
    """The key owner's encryption: nonces modulo p^2 and q^2, joined by CRT. The same bytes as the public engine,
    sooner.
    """

    name = "gmpy2, owner"

    def __init__(self, p: mpz, q: mpz) -> None:
        super().__init__(int(p * q))
        self._primes = p, q
        self._p2, self._q2 = p * p, q * q
        self._p2_inverse = gmpy2.invert(self._p2, self._q2)

    def half_powers(self, cells: Cells) -> Iterator[tuple[mpz, mpz]]:
        """(c^(p-1) mod p^2, c^(q-1) mod q^2) for every row, constant-time in the exponents."""
        p, q = self._primes
        return power_pairs(self.integers(cells), (p - 1, self._p2), (q - 1, self._q2))

    def _nonce_power(self) -> Callable[[bytes], mpz]:
        p2, q2, p2_inverse = self._p2, self._q2, self._p2_inverse
        modulo_p2 = fixed_base(p2, self.hs % p2, self.nonce_bytes).power
        modulo_q2 = fixed_base(q2, self.hs % q2, self.nonce_bytes).power

        def power(exponent: bytes) -> mpz:
            low = modulo_p2(exponent)
            return low + p2 * ((modulo_q2(exponent) - low) * p2_inverse % q2)

        return power


def bucket_window(rows: int, bits: int) -> int:
    """The window with the fewest products: bits/w x (rows + 2 x 2^w). A function of public sizes only."""
    return min(range(1, 13), key=lambda w: (-(-bits // w) * (rows + (2 << w)), w))
