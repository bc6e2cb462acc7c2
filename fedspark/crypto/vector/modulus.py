"""Arithmetic modulo one odd number on many numbers at once: blocks in, blocks out.

``Blocks`` is uint64[blocks, limbs, lanes]: number ``lanes`` i + j is lane j of block i. A number in Montgomery form
stands for itself times R; ``multiply`` divides a product by R. Results are below 2 N, arguments may be below 4 N;
``rows`` reduces below N. The modulus may be secret: nothing here branches on it or on numbers, but for ``table``,
whose readers address it by digits.
"""

from __future__ import annotations

from functools import cached_property

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.vector.barrett import Plan
from fedspark.crypto.vector.code import TILE
from fedspark.crypto.vector.compiled import Kernels

Blocks = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.uint8]

_SLACK_BITS = 4  # R is at least 16 N
_HEADER_WORDS = 8
_WIDTHS = ((64, 4), (512, 5), (1 << 30, 6))  # exponent bits up to which a window has so many


class Modulus:
    """Kernels and constants for one modulus ``n``. Read-only once made, so threads may share it."""

    def __init__(self, kernels: Kernels, n: mpz) -> None:
        shape = kernels.shape
        self.n, self.lanes, self.radix = mpz(n), shape.lanes, shape.radix
        self._kernels = kernels
        self.tiles = -(-(self.n.bit_length() + _SLACK_BITS) // (TILE * self.radix))
        self.limbs = -(-TILE * self.tiles // 8) * 8
        self.bits = TILE * self.tiles * self.radix
        self.r = (mpz(1) << self.bits) % self.n
        self._area = aligned(_HEADER_WORDS + 2 * self.limbs * self.lanes)
        radix = mpz(1) << self.radix
        self._area[:3] = self.tiles, self.limbs, int(-gmpy2.invert(self.n, radix) % radix)
        plan = Plan.of(self.n, self.radix, TILE * self.tiles)
        self._area[3:_HEADER_WORDS] = plan.words
        self._area[_HEADER_WORDS:] = np.concatenate([self.constant(self.n), self.constant(plan.mu)]).reshape(-1)
        self._m = self._area.ctypes.data

    def constant(self, value: mpz) -> Blocks:
        """One block with ``value``, below R, in every lane."""
        mask = (mpz(1) << self.radix) - 1
        limbs = [int(value >> (self.radix * k) & mask) for k in range(self.limbs)]
        block = aligned(self.limbs * self.lanes).reshape(1, self.limbs, self.lanes)
        block[0] = np.array(limbs, np.uint64)[:, None]
        return block

    @cached_property
    def one(self) -> Blocks:
        """1 in Montgomery form."""
        return self.constant(self.r)

    @cached_property
    def plain_one(self) -> Blocks:
        """1 as it is: a product with it leaves Montgomery form."""
        return self.constant(mpz(1))

    @cached_property
    def r2(self) -> Blocks:
        """R^2: a product with it enters Montgomery form."""
        return self.constant(self.r**2 % self.n)

    @cached_property
    def _r3(self) -> Blocks:
        return self.constant(self.r**3 % self.n)

    def blocks(self, count: int) -> Blocks:
        """Room for ``count`` blocks."""
        return aligned(count * self.limbs * self.lanes).reshape(count, self.limbs, self.lanes)

    # ---- bytes -------------------------------------------------------------------------------------------------------

    def fill(self, a: Blocks, count: int) -> Blocks:
        """The same blocks, with 1 in the lanes from number ``count`` on."""
        spare = len(a) * self.lanes - count
        if spare:
            a[-1][:, self.lanes - spare :] = self.plain_one[0][:, :spare]
        return a

    def load(self, rows: Rows, skip_bits: int = 0) -> Blocks:
        """Rows of little-endian bytes (a multiple of 64 of them) as numbers, from bit ``skip_bits`` on and below R.
        The last block is filled with zeros.
        """
        count = -(-len(rows) // self.lanes)
        if len(rows) % self.lanes or not rows.flags.c_contiguous:
            padded = np.zeros((count * self.lanes, rows.shape[1]), np.uint8)
            padded[: len(rows)] = rows
            rows = padded
        out = self.blocks(count)
        self._kernels.load(out.ctypes.data, rows.ctypes.data, rows.shape[1] // 8, skip_bits, count, self._m)
        return out

    def rows(self, a: Blocks, out: Rows) -> None:
        """The numbers, reduced below N, as the rows of ``out``; the blocks may hold some more."""
        whole = len(out) // self.lanes
        if whole and out.flags.c_contiguous:
            self._kernels.store(out.ctypes.data, a.ctypes.data, out.shape[1] // 8, whole, self._m)
        else:
            whole = 0
        if len(out) - whole * self.lanes:
            rest = np.empty((len(a[whole:]) * self.lanes, out.shape[1]), np.uint8)
            tail = a[whole:]
            self._kernels.store(rest.ctypes.data, tail.ctypes.data, out.shape[1] // 8, len(tail), self._m)
            out[whole * self.lanes :] = rest[: len(out) - whole * self.lanes]

    def integers(self, a: Blocks) -> list[mpz]:
        """The numbers, reduced below N, one by one. For a handful."""
        rows = np.empty((len(a) * self.lanes, -(-self.n.bit_length() // 512) * 64), np.uint8)
        self.rows(a, rows)
        return [mpz.from_bytes(row.tobytes(), "little") for row in rows]

    def from_integers(self, values: list[mpz]) -> Blocks:
        """Numbers below N as blocks, the last one filled with zeros. For a handful."""
        width = -(-self.n.bit_length() // 512) * 64
        data = b"".join(value.to_bytes(width, "little") for value in values)
        return self.load(np.frombuffer(data, np.uint8).reshape(-1, width))

    # ---- products ----------------------------------------------------------------------------------------------------

    def multiply(self, a: Blocks, b: Blocks, out: Blocks | None = None) -> Blocks:
        """a b / R; ``b`` may be one block for all. ``out`` may be ``a``."""
        out = self.blocks(len(a)) if out is None else out
        self._kernels.multiply(out.ctypes.data, a.ctypes.data, b.ctypes.data, len(b) > 1, len(a), self._m)
        return out

    def multiply_plain(self, a: Blocks, b: Blocks) -> Blocks:
        """a b modulo N of numbers below 2 N that are not in Montgomery form, over ``a``."""
        self._kernels.modular(a.ctypes.data, a.ctypes.data, b.ctypes.data, len(a), self._m)
        return a

    def add(self, a: Blocks, b: Blocks, out: Blocks | None = None) -> Blocks:
        """a + b, not reduced; ``b`` may be one block for all. ``out`` may be ``a``."""
        out = self.blocks(len(a)) if out is None else out
        self._kernels.add(out.ctypes.data, a.ctypes.data, b.ctypes.data, len(b) > 1, len(a), self._m)
        return out

    def enter(self, a: Blocks) -> Blocks:
        """Into Montgomery form."""
        return self.multiply(a, self.r2)

    def enter_long(self, rows: Rows) -> Blocks:
        """Rows below R^2 into Montgomery form, at most 4 N."""
        low, high = self.load(rows), self.load(rows, self.bits)
        return self.add(self.multiply(low, self.r2, low), self.multiply(high, self._r3, high), low)

    def square(self, a: Blocks, times: int) -> None:
        """a^(2^times) in place, Montgomery form."""
        self._kernels.squares(a.ctypes.data, times, len(a), self._m)

    def gather_product(self, total: Blocks, a: Blocks) -> None:
        """total <- total times all blocks of ``a``, each product divided by R. Lanes stay apart."""
        self._kernels.running(total.ctypes.data, a.ctypes.data, 0, len(a), self._m)

    def inverse(self, a: Blocks) -> Blocks:
        """1 / a in Montgomery form, one inversion per lane (Montgomery's trick). ZeroDivisionError unless all are
        units, those that fill the last block too.
        """
        products = self.blocks(len(a) + 1)
        products[0] = self.one[0]
        self._kernels.running(products.ctypes.data, a.ctypes.data, 1, len(a), self._m)
        factor = self.r**2 % self.n
        inverse = self.from_integers(
            [gmpy2.invert(value, self.n) * factor % self.n for value in self.integers(products[len(a) :])]
        )
        out = self.blocks(len(a))
        for block in range(len(a) - 1, -1, -1):
            one = slice(block, block + 1)
            self.multiply(inverse, products[one], out[one])
            self.multiply(inverse, a[one], inverse)
        return out

    def power(self, a: Blocks, digits: Blocks, width: int) -> Blocks:
        """a^e in Montgomery form for ``digits`` of ``width`` bits: uint64[blocks or 1, windows, lanes], the most
        significant first.
        """
        out, table = self.blocks(len(a)), self.blocks(1 << width)
        step = digits.shape[1] if len(digits) > 1 else 0
        addresses = (array.ctypes.data for array in (out, a, table, self.one, digits))
        self._kernels.power(*addresses, step, digits.shape[1], width, len(a), self._m)
        return out

    def power_of_all(self, a: Blocks, exponent: mpz, bits: int) -> Blocks:
        """a^exponent in Montgomery form, one exponent below 2^bits for all; its bits choose no branch and no address
        here.
        """
        width = window_width(bits)
        digits = exponent_digits(np.frombuffer(exponent.to_bytes(-(-bits // 8), "little"), np.uint8)[None], bits, width)
        lanes = aligned(digits.shape[1] * self.lanes).reshape(1, -1, self.lanes)
        lanes[0] = digits[0][:, None]
        try:
            return self.power(a, lanes, width)
        finally:
            lanes.fill(0)
            digits.fill(0)

    # ---- fixed base --------------------------------------------------------------------------------------------------

    def table(self, base: mpz, windows: int) -> Blocks:
        """base^(k 256^w) in Montgomery form at [w, k]: uint64[windows, 256, limbs]; ``windows`` a multiple of 8."""
        steps = [base % self.n]
        for _ in range(windows - 1):
            steps.append(gmpy2.powmod(steps[-1], 256, self.n))
        step = self.enter(self.from_integers(steps))
        power = self.blocks(len(step))
        power[:] = self.one
        table = aligned(windows * 256 * self.limbs).reshape(windows, 256, self.limbs)
        for k in range(256):
            table[:, k] = power.transpose(0, 2, 1).reshape(windows, self.limbs)
            self.multiply(power, step, power)
        return table

    def fixed(self, table: Blocks, digits: Rows) -> Blocks:
        """Products of one entry of every window, Montgomery form: ``digits`` uint8[N, windows]. They are addresses."""
        count = -(-len(digits) // self.lanes)
        if len(digits) % self.lanes or not digits.flags.c_contiguous:
            padded = np.zeros((count * self.lanes, digits.shape[1]), np.uint8)
            padded[: len(digits)] = digits
            digits = padded
        out = self.blocks(count)
        self._kernels.fixed(out.ctypes.data, table.ctypes.data, digits.ctypes.data, digits.shape[1], count, self._m)
        return out

    # ---- buckets -----------------------------------------------------------------------------------------------------

    def fill_buckets(
        self, tables: Blocks, numbers: Blocks, firsts: list[int], stride: int, digits: npt.NDArray[np.uint16]
    ) -> None:
        """Multiply into the tables uint64[lanes, buckets, limbs]: lane j, at step i, number firsts[j] + stride i of
        ``numbers`` uint64[N, limbs] into bucket digits[i, j]. Montgomery form.
        """
        size = 8 * self.limbs
        lanes = np.array([[lane * tables.shape[1] * size, first * size] for lane, first in enumerate(firsts)], np.int64)
        self._kernels.buckets(
            tables.ctypes.data,
            numbers.ctypes.data,
            lanes.ctypes.data,
            digits.ctypes.data,
            stride * size,
            len(digits),
            self._m,
        )

    def fold_buckets(self, tables: Blocks) -> tuple[Blocks, Blocks]:
        """prod_k table[k]^k and prod_k table[k] of each lane's table, one block each."""
        weighted, everything = self.blocks(1), self.blocks(1)
        weighted[:] = everything[:] = self.one
        self._kernels.fold(weighted.ctypes.data, everything.ctypes.data, tables.ctypes.data, tables.shape[1], self._m)
        return weighted, everything


def aligned(words: int) -> Blocks:
    """Zeroed words that begin at a cache line."""
    raw = np.zeros(8 * words + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 8 * words].view(np.uint64)


def window_width(bits: int) -> int:
    """Bits of a window of an exponent of ``bits`` bits."""
    return next(width for limit, width in _WIDTHS if bits <= limit)


def exponent_digits(exponents: Rows, bits: int, width: int) -> Blocks:
    """Digits of ``width`` bits, the most significant first, of little-endian exponents uint8[N, bytes] below 2^bits:
    uint64[N, windows].
    """
    windows = max(1, -(-bits // width))
    columns = np.zeros((len(exponents), windows * width), np.uint8)
    found = np.unpackbits(exponents, axis=1, bitorder="little")[:, : windows * width]
    columns[:, : found.shape[1]] = found
    places = np.left_shift(np.uint64(1), np.arange(width, dtype=np.uint64))
    digits: Blocks = (columns.reshape(len(exponents), windows, width) * places).sum(axis=2, dtype=np.uint64)[:, ::-1]
    columns.fill(0)
    found.fill(0)
    return digits
