"""Fixed point of a round: every encrypted number is an integer whose public scale follows from sizes alone.

A column is standardised and divided by its ``unit``, such that the value farthest from its mean becomes 32,767: 16 bits
with sign. Units stay with the column's owner, who scales its own sums back. Scores u = X v are rounded once, to u/4
with ``fraction`` bits; d = z/4 - y/2 and X'd are then exact integers. All of the algorithm sees the one rounded X:
that moves weights of the parity data sets by 4e-5 at most.

``fraction`` is 20 or more, and |d| stays below 2^6 or more, which is |z| < 254: with fewer rows, slots (see
`fedspark.crypto.row_slots`) have bits to spare, and both get half of them.

Weighted rows: d is multiplied by the row's weight, a secret of the guest, which cannot be done to rows that share a
plaintext: then every row has a ciphertext of its own (one slot), d has 16 more fraction bits, and a weight may be
4,096 times the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedspark.crypto.ciphertexts import Column, Derived
from fedspark.crypto.paillier import Ciphertexts, PublicKey, encrypt
from fedspark.crypto.randomness import Stream
from fedspark.crypto.row_slots import RowSlots
from fedspark.errors import CryptoError
from fedspark.models.vertical_lr.maths import Floats, Int16s, Int64s

X_BITS = 16
X_MOST = 2 ** (X_BITS - 1) - 1
WEIGHT_FRACTION = 16
WEIGHT_BITS = 28

_FRACTION = 20
_INTEGER = 6
_MOST_SPARE = 17  # so that a value with its offset stays well inside 53 bits of a double
_LIMB = 20


@dataclass(frozen=True)
class Encoding:
    """``fraction`` bits of u/4 and d, and the largest magnitude ``limit`` of one party's addend of d, as integers."""

    layout: RowSlots
    parties: int
    fraction: int
    limit: int
    weighted: bool

    def __post_init__(self) -> None:
        farthest = self.parties * self.limit  # |z|/4
        loss = self.layout.rows * ((farthest * farthest >> self.fraction) + farthest + 1)  # sum z^2/8 + |z|/2
        if loss.bit_length() > self.layout.slot_bits - 2:  # with its sign, and one unit for a neighbour's carry
            raise CryptoError(
                f"A loss summed over {self.layout.rows:,} rows has {loss.bit_length()} bits and does not fit, with its "
                f"sign, into a slot of {self.layout.slot_bits} bits.",
                remedy="Use fewer rows, or a narrower encoding.",
            )

    @classmethod
    def agree(cls, key_bits: int, rows: int, parties: int, weighted: bool = False) -> Encoding:
        """For sums over ``rows`` training rows of ``parties`` parties with data; CryptoError where nothing fits."""
        least, extra = 1 + _INTEGER + _FRACTION, WEIGHT_BITS if weighted else 0
        layout = RowSlots.fit(key_bits, rows, least + extra, X_BITS, *([1] if weighted else []))
        spare = min(layout.widest_slot - layout.slot_bits, _MOST_SPARE)
        layout = replace(layout, value_bits=layout.value_bits + spare, slot_bits=layout.slot_bits + spare)
        limit = ((1 << (least + spare - 1)) - 1) // parties
        return cls(layout, parties, _FRACTION + (spare + 1) // 2, limit, weighted)

    @property
    def d_fraction(self) -> int:
        """Fraction bits of d as it is sent to hosts."""
        return self.fraction + (WEIGHT_FRACTION if self.weighted else 0)

    @property
    def loss_fraction(self) -> int:
        """Fraction bits of the summed loss."""
        return self.fraction - 1

    @property
    def labels(self) -> RowSlots:
        """The same rows in the same slots, for sums whose weights are labels."""
        return replace(self.layout, weight_bits=2)

    @property
    def offset(self) -> int:
        """What every addend of an unweighted d carries, to be unsigned."""
        return 0 if self.weighted else self.limit

    @property
    def d_offset(self) -> int:
        """What d carries once all parties have added."""
        return self.offset * self.parties

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def predictor(self, x: Int16s, weights: Floats) -> Int64s:
        """u/4 with ``fraction`` bits, int64[N], u = X w: weights float64[F] per unit of the F columns and, if there is
        one more, the intercept.

        Columns are added one after the other, so that a retried task rounds alike on any machine.
        """
        rows, columns = x.shape
        total = np.full(rows, weights[columns] if len(weights) > columns else 0.0)
        for column in range(columns):
            total += x[:, column] * weights[column]
        return self._checked(np.rint(total * 2.0 ** (self.fraction - 2)), total)

    def residual(self, u: Int64s, y: Int64s) -> Int64s:
        """The guest's addend u/4 - y/2 of d, from its encoded u/4."""
        return self._checked(u - (y << (self.fraction - 1)), u)

    def _checked(self, values: Floats | Int64s, whole: Floats | Int64s) -> Int64s:
        if not (np.abs(values) <= self.limit).all():  # not for NaN either
            layout = self.layout
            raise CryptoError(
                f"A linear predictor of {len(whole):,} rows is not below {self.limit / 2 ** (self.fraction - 2):.0f}, "
                f"the bound of its encoding ({layout.slots} rows in slots of {layout.slot_bits} bits, "
                f"{layout.rows:,} rows in all).",
                remedy="Cap outliers, raise l2, leave out columns that nearly repeat others, or use a longer key.",
            )
        return values.astype(np.int64)

    def squares(self, u: Int64s) -> int:
        """sum(u^2)/8 with ``loss_fraction`` bits, from the encoded u/4: exact, then cut off once."""
        return dot(u, u, self.limit.bit_length() + 1) >> self.fraction

    # ---- ciphertexts -------------------------------------------------------------------------------------------------

    def encrypt(self, public: PublicKey, values: Int64s, stream: Stream) -> Ciphertexts:
        """[[u/4]] of int64[N] encoded values."""
        if self.weighted:
            return encrypt(public, values, self.fraction, stream)
        return self.layout.encrypt(public, values, self.fraction, stream, self.offset)

    def residuals(self, hosts: Column, own: Int64s, weights: Int64s | None) -> Derived:
        """[[d]] from the hosts' summed [[u/4]], the guest's own addends and, if weighted, int64[N] row weights."""
        if weights is None:
            return hosts.add_plain(self.layout.plaintexts(own, self.offset))
        products = [int(w) * int(v) for w, v in zip(weights, own, strict=True)]
        return hosts.multiply_plain(weights, WEIGHT_FRACTION).add_plain(products)


def quantise(x: Floats, mean: Floats, quantum: Floats) -> Int16s:
    """(x - mean) / quantum as integers, int16[N, F] from float64[N, F]; ``quantum`` is unit x deviation.

    Nothing is clipped: CryptoError for a value farther off than the farthest training row.
    """
    scaled = np.rint((x - mean) / quantum)
    if not (np.abs(scaled) <= X_MOST).all():
        raise CryptoError(
            f"A standardised value does not fit its {X_BITS}-bit encoding.",
            remedy="The rows and their statistics must be of one snapshot; start a new run.",
        )
    return scaled.astype(np.int16)


def encode_weights(weights: Floats) -> Int64s:
    """Row weights of mean 1 as int64[N] with 16 fraction bits; CryptoError from 4,096 on."""
    scaled = np.rint(weights * 2.0**WEIGHT_FRACTION)
    if not (scaled < 2.0**WEIGHT_BITS).all():
        raise CryptoError(
            f"The weight of a training row is more than {2 ** (WEIGHT_BITS - WEIGHT_FRACTION):,} times the mean.",
            remedy="Look for mistakes in the weight column, or cap it.",
        )
    return scaled.astype(np.int64)


def dot(a: Int64s, b: Int64s, bits: int) -> int:
    """Exact sum of a_i b_i of int64[N] entries below 2^(bits-1), by limbs whose products 2^20 rows cannot overflow."""
    total = 0
    for start in range(0, len(a), 1 << _LIMB):
        left, right = (_limbs(v[start : start + (1 << _LIMB)], bits) for v in (a, b))
        total += sum(int(p @ q) << (_LIMB * (i + j)) for i, p in enumerate(left) for j, q in enumerate(right))
    return total


def _limbs(values: Int64s, bits: int) -> list[Int64s]:
    limbs = []
    for _ in range(-(-bits // _LIMB) - 1):
        limbs.append(values & ((1 << _LIMB) - 1))
        values = values >> _LIMB
    return [*limbs, values]
