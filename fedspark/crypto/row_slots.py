"""Row slots: m rows share one Paillier plaintext, and X^T [[v]] still comes out, at 1/m of the encryptions and bytes.

Row i = m t + r lies in slot r of ciphertext t, sigma bits wide: P_t = sum_r v_(t,r) 2^(sigma r). Whoever holds the rows
of X multiplies whole ciphertexts by one row's entry, with one column of the matrix per slot and feature:

    S_(r,j) = sum_t x_(t,r),j P_t          slot r holds what row (t, r) adds to the sum; the other slots hold garbage
    A_j     = sum_r 2^(sigma (m-1-r)) S_(r,j)   (Horner) slot m-1 holds sum_i x_ij v_i; the 2m-2 others hold garbage

Garbage must not be read: it is sums of one row's entries times *other* rows' values, further equations in v. So all
2m-1 slots get a mask, independent and uniform in [0, 2^sigma); whoever decrypts answers with slot m-1 modulo 2^sigma
and nothing else, and the mask's owner subtracts it modulo 2^sigma, around zero.

Bounds, all checked before anything is encrypted (`RowSlots`), N = all rows that are summed before decryption, of all
parts together:

    sigma >= bits(v) + bits(x) + ceil(log2 N) + 41        (2m - 1) sigma + 42 <= |n|

bits(v) counts sign, scale and every party's addend; v is offset to be unsigned, which the caller takes back from the
opened sum, as it knows sum_i x_ij. Slot contents are then below 2^(sigma-41) in magnitude (x is signed: one bit less).
A masked slot is off the uniform distribution by at most |s| / 2^sigma, and carries between slots depend on contents
with no greater probability. Both are below 2^-41 a slot: that is how far what the decrypting party sees is from
uniform noise, and how rarely a sum is off by one unit of its last place because a neighbour carried.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedspark.crypto.ciphertexts import Ciphertexts, Column, Derived, encrypt
from fedspark.crypto.paillier_keys import PublicKey
from fedspark.crypto.randomness import Stream
from fedspark.errors import CryptoError

Int64s = npt.NDArray[np.int64]

HIDING_BITS = 41
"""A masked slot is further from uniform than 2^-41 for nobody."""

_HEADROOM = 42
_WORD_BITS = 57  # of an unsigned value that still fits 64 bits when it is shifted within a byte


@dataclass(frozen=True)
class RowSlots:
    """How rows lie in plaintexts of ``key_bits`` bits: ``slots`` of ``slot_bits`` bits each.

    Good for sums over at most ``rows`` rows of values in [0, 2^value_bits) (or signed below 2^(value_bits-1)) times
    signed weights of ``weight_bits`` bits, -2^(weight_bits-1) <= x < 2^(weight_bits-1). CryptoError with rows, bits
    and slots if they do not fit.
    """

    key_bits: int
    rows: int
    value_bits: int
    weight_bits: int
    slots: int
    slot_bits: int

    def __post_init__(self) -> None:
        needed = needed_bits(self.rows, self.value_bits, self.weight_bits)
        whole = (2 * self.slots - 1) * self.slot_bits + _HEADROOM
        if self.slots < 1 or self.slot_bits < needed or whole > self.key_bits:
            raise CryptoError(
                f"{self.slots} rows in slots of {self.slot_bits} bits do not fit: sums over {self.rows:,} rows of "
                f"{self.value_bits}-bit values times {self.weight_bits}-bit weights need slots of {needed} bits, and "
                f"{2 * self.slots - 1} such slots with {_HEADROOM} bits to spare need {whole} of the key's "
                f"{self.key_bits} bits.",
                remedy="Use a longer key, fewer fraction bits, or fewer rows.",
            )

    @classmethod
    def fit(cls, key_bits: int, rows: int, value_bits: int, weight_bits: int, most_slots: int = 1 << 16) -> RowSlots:
        """The most slots, at most ``most_slots``, that these sizes allow, and no wider than they have to be.

        A function of public sizes only, so every party finds the same. CryptoError if not even one row fits.
        """
        needed = needed_bits(rows, value_bits, weight_bits)
        slots = max(1, min(most_slots, ((key_bits - _HEADROOM) // needed + 1) // 2))
        return cls(key_bits, rows, value_bits, weight_bits, slots, needed)

    @property
    def widest_slot(self) -> int:
        """Bits that a slot could have at most, with as many slots."""
        return (self.key_bits - _HEADROOM) // (2 * self.slots - 1)

    def ciphertexts(self, rows: int) -> int:
        """How many ciphertexts hold ``rows`` rows; what is left of the last one is padded with zeros."""
        return -(-rows // self.slots)

    # ---- values into slots -------------------------------------------------------------------------------------------

    def plaintexts(self, values: Int64s, offset: int = 0) -> npt.NDArray[np.uint8]:
        """P_t of v + ``offset`` for int64[N] values, uint8[ceil(N / m), key_bits / 8]: one little-endian integer a row.

        Made by numpy, without one Python integer a row or ciphertext. Padding is 0 + offset. CryptoError unless every
        v + offset lies in [0, 2^value_bits), or for more than ``rows`` rows.
        """
        self._check_rows(len(values))
        shifted = self._shifted(values, offset)
        count, slots = self.ciphertexts(len(shifted)), self.slots
        padded = np.full(count * slots, offset, dtype=np.uint64)
        padded[: len(shifted)] = shifted
        raw = np.zeros((count, self.key_bits // 8), np.uint8)
        for slot, column in enumerate(padded.reshape(count, slots).T):
            at, shift = divmod(slot * self.slot_bits, 8)
            # A value and its shift fit one word, and no two values share a bit.
            raw[:, at : at + 8] |= (column << np.uint64(shift)).astype("<u8").view(np.uint8).reshape(-1, 8)
        return raw

    def _check_rows(self, rows: int) -> None:
        """Of one part; who adds up parts answers for ``rows`` rows in all."""
        if rows > self.rows:
            raise CryptoError(
                f"{rows:,} rows do not fit: slots of {self.slot_bits} bits were agreed for sums over {self.rows:,} "
                "rows.",
                remedy="Rows must be those of this run's snapshot; start a new run.",
            )

    def _shifted(self, values: Int64s, offset: int) -> npt.NDArray[np.int64]:
        if self.value_bits > _WORD_BITS or not 0 <= offset < 1 << self.value_bits:
            raise CryptoError(
                f"Values of {self.value_bits} bits with offset {offset} are not packed from 64-bit integers.",
                remedy=f"Use at most {_WORD_BITS} bits and an offset of that many.",
            )
        entries = np.asarray(values)
        top = (1 << self.value_bits) - offset
        wrong = int(np.count_nonzero((entries < -offset) | (entries >= top)))
        if wrong:
            raise CryptoError(
                f"{wrong} of {entries.size} values are outside the agreed bound -{offset} <= v < {top} of "
                f"{self.value_bits}-bit slots' values ({self.slots} slots of {self.slot_bits} bits, {self.rows:,} "
                "rows).",
                remedy="Cap outliers or regularise more, or use a longer key.",
            )
        return entries.astype(np.int64, copy=False) + offset

    def encrypt(self, public: PublicKey, values: Int64s, scale: int, stream: Stream, offset: int = 0) -> Ciphertexts:
        """Fresh encryptions of int64[N] values, ceil(N / m) of them."""
        return encrypt(public, self.plaintexts(values, offset), scale, stream)

    # ---- sums --------------------------------------------------------------------------------------------------------

    def weighted_sums(self, column: Column, matrix: npt.NDArray[np.signedinteger], scale: int = 0) -> Derived:
        """S_(r,j): m F rows, slot by slot, for signed integers ``matrix`` [N, F]. Sums over other rows may be added
        before `align`.
        """
        rows, features = matrix.shape
        self._check_rows(rows)
        count = self.ciphertexts(rows)
        if len(column) != count:
            raise CryptoError(
                f"{rows:,} rows at {self.slots} in a ciphertext are {count:,} ciphertexts, not {len(column):,}.",
                remedy="Use the rows that were encrypted.",
            )
        virtual = np.zeros((count * self.slots, features), matrix.dtype)
        virtual[:rows] = matrix
        return column.linear(virtual.reshape(count, self.slots * features), self.weight_bits, scale)

    def plain_sums(self, column: Column) -> Derived:
        """S_r of a feature that is 1 in every row, for one product per ciphertext: the same total for every slot.

        Counts padding too: offset times `ciphertexts` m is in the sum.
        """
        total = column.total()
        return Derived.concatenate([total] * self.slots)

    def align(self, sums: Derived) -> Derived:
        """A_j: F rows from the m F rows of `weighted_sums`, all rows added; slot m-1 is wanted."""
        features, left = divmod(len(sums), self.slots)
        if left:
            raise CryptoError(
                f"{len(sums)} sums are not {self.slots} for each feature.", remedy="Pass what weighted_sums returned."
            )
        public, size, raw = sums.public, features * sums.public.width, sums.to_private()
        slices = (raw[at : at + size] for at in range(0, len(raw), size))
        by_slot = [Derived.from_private(public, rows, sums.scale) for rows in slices]
        aligned = by_slot[0]
        for lower in by_slot[1:]:
            aligned = aligned.multiply_plain([1 << self.slot_bits] * features).add(lower)
        return aligned

    # ---- opening -----------------------------------------------------------------------------------------------------

    def masks(self, stream: Stream, count: int) -> list[int]:
        """One mask for every aligned sum: 2m-1 independent uniform slots. The stream's label contains the content."""
        return stream.below_many(1 << ((2 * self.slots - 1) * self.slot_bits), count)

    def showing(self, mask: int) -> int:
        """The mask with the constant 2^(sigma-1) in the wanted slot: its receiver may read the sum (`value`)."""
        at, ring = self._place
        return mask + ((ring // 2 - (mask >> at) % ring) << at)

    def wanted(self, plain: int, public: PublicKey) -> int:
        """Slot m-1 modulo 2^sigma of a decrypted, masked sum: all that its owner may be told."""
        at, ring = self._place
        return int((plain % public.n) >> at) % ring

    def unmask(self, slot: int, mask: int) -> int:
        """The signed sum that is left of a masked slot."""
        at, ring = self._place
        return self._centred(slot - (mask >> at) % ring)

    def value(self, slot: int) -> int:
        """The signed sum in a slot under `showing`."""
        return self._centred(slot - self._place[1] // 2)

    def _centred(self, value: int) -> int:
        ring = self._place[1]
        return (value + ring // 2) % ring - ring // 2

    @property
    def _place(self) -> tuple[int, int]:
        return (self.slots - 1) * self.slot_bits, 1 << self.slot_bits


def needed_bits(rows: int, value_bits: int, weight_bits: int) -> int:
    """The narrowest slot for sums over ``rows`` rows: bits(v) + bits(x) + ceil(log2 rows) + 41."""
    return value_bits + weight_bits + (max(rows, 1) - 1).bit_length() + HIDING_BITS
