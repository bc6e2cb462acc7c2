"""The engine of Paillier columns that computes on 8 (or 4) ciphertexts side by side.

Rows go through it in batches that fit the second-level cache: bytes become blocks of limbs, stay in Montgomery form
(``modulus``), and become bytes once. The same bytes as ``Gmpy2Engine`` for the same input and stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.constant_time import power_pairs
from fedspark.crypto.paillier_engine import Cells, Gmpy2Engine, Matrix, Plain
from fedspark.crypto.randomness import Stream
from fedspark.crypto.vector.buckets import bucket_sums
from fedspark.crypto.vector.compiled import Kernels
from fedspark.crypto.vector.modulus import Blocks, Modulus, aligned, exponent_digits, window_width
from fedspark.crypto.vector.tables import shared_table
from fedspark.errors import CryptoError

BATCH = 256
"""Rows that exist as blocks at a time."""

SUMMED = 1 << 16
"""Rows whose weighted sums share buckets."""


class VectorEngine(Gmpy2Engine):
    """``paillier_engine.Engine`` on vector kernels. Its table of the obfuscator is shared by this user's processes."""

    def __init__(self, n: int, kernels: Kernels) -> None:
        super().__init__(n)
        self.name = kernels.shape.name
        self._modulus = Modulus(kernels, self.n2)

    @cached_property
    def _nonce_table(self) -> Blocks:
        return shared_table(self._modulus, self.hs, self.nonce_bytes)

    @cached_property
    def _by_n(self) -> Blocks:
        """n R: a product with m is m n."""
        return self._modulus.constant(self.n * self._modulus.r % self.n2)

    @cached_property
    def _by_n_r(self) -> Blocks:
        """n R^2: a product with m is m n in Montgomery form."""
        return self._modulus.constant(self.n * self._modulus.r**2 % self.n2)

    def encrypt(self, plain: Plain, stream: Stream) -> Cells:
        out, m = self._empty(len(plain)), self._modulus
        for rows in _batches(len(plain)):
            nonces = self._nonces(rows.stop - rows.start, stream)
            message = m.multiply(m.load(plain[rows]), self._by_n)
            m.rows(m.multiply(nonces, m.add(message, m.plain_one, message), nonces), out[rows])
        return out

    def obfuscate(self, cells: Cells, stream: Stream) -> Cells:
        out, m = self._empty(len(cells)), self._modulus
        for rows in _batches(len(cells)):
            nonces = self._nonces(rows.stop - rows.start, stream)
            m.rows(m.multiply(nonces, m.load(cells[rows]), nonces), out[rows])
        return out

    def obfuscate_fully(self, cells: Cells, stream: Stream) -> Cells:
        out, m = self._empty(len(cells)), self._modulus
        rhos = stream.units(int(self.n), len(cells))
        for rows in _batches(len(cells)):
            bases = m.enter(m.from_integers(rhos[rows]))
            powers = m.power_of_all(bases, self.n, self.n.bit_length())
            m.rows(m.multiply(powers, m.load(cells[rows]), powers), out[rows])
        return out

    def add(self, left: Cells, right: Cells) -> Cells:
        out, m = self._empty(len(left)), self._modulus
        for rows in _batches(len(left)):
            m.rows(m.multiply_plain(m.load(left[rows]), m.load(right[rows])), out[rows])
        return out

    def add_plain(self, cells: Cells, plain: Plain) -> Cells:
        out, m = self._empty(len(cells)), self._modulus
        for rows in _batches(len(cells)):
            message = m.multiply(m.load(plain[rows]), self._by_n_r)
            m.add(message, m.one, message)
            m.rows(m.multiply(message, m.load(cells[rows]), message), out[rows])
        return out

    def multiply_plain(self, cells: Cells, factors: Sequence[int] | npt.NDArray[np.int64]) -> Cells:
        out, m = self._empty(len(cells)), self._modulus
        for rows in _batches(len(cells)):
            signs, magnitudes, bits = _magnitudes(factors[rows])
            bases = self._signed(cells[rows], signs)
            width = window_width(bits)
            digits = exponent_digits(magnitudes, bits, width)
            lanes = aligned(bases.shape[0] * digits.shape[1] * m.lanes).reshape(bases.shape[0], -1, m.lanes)
            padded = np.zeros((bases.shape[0] * m.lanes, digits.shape[1]), np.uint64)
            padded[: len(digits)] = digits
            lanes[:] = padded.reshape(bases.shape[0], m.lanes, -1).transpose(0, 2, 1)
            powers = m.power(bases, lanes, width)
            m.rows(m.multiply(powers, m.plain_one, powers), out[rows])
        return out

    def total(self, cells: Cells) -> Cells:
        out = self._empty(1)
        out[0] = np.frombuffer(self._product(cells).to_bytes(self.width, "little"), np.uint8)
        return out

    def linear(self, cells: Cells, matrix: Matrix, bits: int) -> Cells:
        m, features = self._modulus, matrix.shape[1]
        out = self._empty(features)
        if not features:
            return out
        sums, total = m.blocks(-(-features // m.lanes)), mpz(1)
        sums[:] = m.one
        for first in range(0, len(cells), SUMMED):
            rows = slice(first, first + SUMMED)
            more, factor = bucket_sums(m, self._lines(cells[rows]), matrix[rows], bits)
            m.multiply(sums, more, sums)
            total = total * factor % self.n2
        offset = gmpy2.invert(gmpy2.powmod(total, mpz(1) << (bits - 1), self.n2), self.n2)
        m.rows(m.multiply(sums, m.constant(offset), sums), out)
        return out

    def _lines(self, cells: Cells) -> Blocks:
        """The cells in Montgomery form as rows of limbs."""
        m = self._modulus
        lines = aligned(-(-len(cells) // m.lanes) * m.lanes * m.limbs).reshape(-1, m.limbs)
        for rows in _batches(len(cells)):
            turned = m.enter(m.load(cells[rows])).transpose(0, 2, 1)
            lines[rows] = turned.reshape(-1, m.limbs)[: rows.stop - rows.start]
        return lines[: len(cells)]

    def refused(self, cells: Cells) -> int | None:
        step = 16 * BATCH
        for first in range(0, len(cells), step):
            block = cells[first : first + step]
            if self._out_of_range(block) or gmpy2.gcd(self._product(block), self.n) != 1:
                row = super().refused(block)
                if row is not None:
                    return first + row
        return None

    def _out_of_range(self, cells: Cells) -> bool:
        """Whether a row is not below n^2; zero shows as a factor."""
        words = np.ascontiguousarray(cells).view(np.uint64)
        limits = np.frombuffer(self.n2.to_bytes(self.width, "little"), np.uint64)
        top = words[:, -1]
        if np.any(top > limits[-1]):
            return True
        doubtful = np.nonzero(top == limits[-1])[0]
        return any(value >= self.n2 for value in self.integers(cells[doubtful]))

    def _product(self, cells: Cells) -> mpz:
        """Rows multiply lane by lane, each product divided by R; the rest of R's powers is made up for at the end."""
        m, blocks = self._modulus, 0
        lanes = m.blocks(1)
        lanes[:] = m.one
        for rows in _batches(len(cells)):
            numbers = m.fill(m.load(cells[rows]), rows.stop - rows.start)
            m.gather_product(lanes, numbers)
            blocks += len(numbers)
        product = gmpy2.powmod(m.r, max(0, blocks - 1) * m.lanes, self.n2)
        if not blocks:
            return mpz(1)
        for value in m.integers(lanes):
            product = product * value % self.n2
        return product

    def _nonces(self, count: int, stream: Stream) -> Blocks:
        """hs^r in Montgomery form, for ``count`` exponents that are the next bytes of the stream."""
        return self._modulus.fixed(self._nonce_table, self._digits(count, stream))

    def _digits(self, count: int, stream: Stream) -> Cells:
        return np.frombuffer(stream.bytes(self.nonce_bytes * count), np.uint8).reshape(count, self.nonce_bytes)

    def _signed(self, cells: Cells, negative: npt.NDArray[np.bool_]) -> Blocks:
        """The cells in Montgomery form, inverted where ``negative`` says so; CryptoError unless these are units."""
        m, chosen = self._modulus, np.nonzero(negative)[0]
        bases = m.enter(m.load(cells))
        if len(chosen):
            try:
                inverses = m.inverse(m.enter(m.fill(m.load(cells[chosen]), len(chosen))))
            except ZeroDivisionError:
                raise CryptoError(
                    f"One of {len(chosen)} ciphertexts with a negative factor has a factor in common with the modulus.",
                    remedy="Check received columns when they arrive (Ciphertexts.from_bytes does).",
                ) from None
            found = inverses.transpose(0, 2, 1).reshape(-1, m.limbs)[: len(chosen)]
            bases[chosen // m.lanes, :, chosen % m.lanes] = found
        return bases

    def _empty(self, rows: int) -> Cells:
        return np.empty((rows, self.width), np.uint8)


class VectorOwnerEngine(VectorEngine):
    """The key owner's encryption modulo p^2 and q^2, and decryption's powers. Its tables stay in this process."""

    def __init__(self, p: mpz, q: mpz, kernels: Kernels) -> None:
        super().__init__(int(p * q), kernels)
        self.name = f"{kernels.shape.name}, owner"
        self._primes = p, q
        self._halves = Modulus(kernels, p * p), Modulus(kernels, q * q)

    @cached_property
    def _half_tables(self) -> list[Blocks]:
        return [half.table(self.hs % half.n, self.nonce_bytes) for half in self._halves]

    @cached_property
    def _joins(self) -> list[Blocks]:
        """For each half P, with the other Q: Q (1 / Q mod P) / R_P, times R^2, so that sums of products are what the
        halves in Montgomery form stand for, in Montgomery form modulo n^2.
        """
        m, joins = self._modulus, []
        for half, other in (self._halves, self._halves[::-1]):
            weight = gmpy2.invert(other.n * half.r % half.n, half.n)
            joins.append(m.constant(other.n * weight % m.n * m.r**2 % m.n))
        return joins

    def _nonces(self, count: int, stream: Stream) -> Blocks:
        digits, m = self._digits(count, stream), self._modulus
        parts = []
        for half, table, join in zip(self._halves, self._half_tables, self._joins, strict=True):
            power = half.fixed(table, digits)
            wide = m.blocks(len(power))
            used = min(half.limbs, m.limbs)
            wide[:, :used] = power[:, :used]
            parts.append(m.multiply(wide, join, wide))
        return m.add(parts[0], parts[1], parts[0])

    def half_powers(self, cells: Cells) -> Iterator[tuple[mpz, mpz]]:
        """(c^(p-1) mod p^2, c^(q-1) mod q^2) for every row. The exponents choose no branch and no address."""
        p, q = self._primes
        if 2 * len(cells) < self._modulus.lanes:  # mostly idle lanes
            yield from power_pairs(self.integers(cells), (p - 1, p * p), (q - 1, q * q))
            return
        bits = p.bit_length()
        for rows in _batches(len(cells)):
            found = []
            for half, prime in zip(self._halves, self._primes, strict=True):
                powers = half.power_of_all(half.enter_long(cells[rows]), prime - 1, bits)
                out = np.empty((rows.stop - rows.start, self.width // 2), np.uint8)
                half.rows(half.multiply(powers, half.plain_one, powers), out)
                raw, size = out.tobytes(), self.width // 2
                found.append([mpz.from_bytes(raw[at : at + size], "little") for at in range(0, len(raw), size)])
            yield from zip(*found, strict=True)


def _batches(count: int) -> Iterator[slice]:
    for first in range(0, count, BATCH):
        yield slice(first, min(first + BATCH, count))


def _magnitudes(factors: Sequence[int] | npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], Cells, int]:
    """Which factors are negative, their magnitudes as little-endian bytes, and the bits of the longest."""
    if isinstance(factors, np.ndarray):
        negative = factors < 0
        values = np.where(negative, -factors.view(np.uint64), factors.view(np.uint64))
        return negative, values.astype("<u8").view(np.uint8).reshape(-1, 8), max(1, int(values.max()).bit_length())
    negative = np.array([factor < 0 for factor in factors], np.bool_)
    bits = max(1, *(int(factor).bit_length() for factor in factors))
    size = -(-bits // 8)
    data = b"".join(abs(int(factor)).to_bytes(size, "little") for factor in factors)
    return negative, np.frombuffer(data, np.uint8).reshape(-1, size), bits
