"""The mathematics of one party: fixed point, statistics that merge, the own Hessian block and its inverse.

Pure functions of numpy arrays and Python integers. Objective, over N training rows with labels y in {-1, +1}:

    J(w) = mean(ln 2 - y z / 2 + z^2 / 8) + l2/2 |w|^2,   z = X w,   intercept unpenalised
         = ln 2 - b'w + w'Hw / 2,   H = X'X / 4N + l2 I,   b = X'y / 2N

the second Taylor polynomial of the logistic loss at zero, so the optimum is that of a ridge regression.

Everything that is encrypted is an integer with a public number of fractional bits: x has 16, u = Xv has 32, u/4 (the
same integers) and d = z/4 - y/2 have 34, X'd has 50 and the loss 67. Only x and u are rounded; d, X'd and the loss are
then exact. Rounding x to 16 bits moves the optimum by 5e-5 or less on the data sets of the parity tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedspark.errors import CryptoError, TableError

Floats = npt.NDArray[np.float64]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

X_FRACTION = 16
U_FRACTION = 32
U_INTEGER = 20  # |u| < 2^20
D_FRACTION = U_FRACTION + 2
GRADIENT_FRACTION = X_FRACTION + D_FRACTION
LOSS_FRACTION = 2 * U_FRACTION + 3
LOSS_WEIGHT_FRACTION = LOSS_FRACTION - D_FRACTION
LOSS_WEIGHT_BITS = U_INTEGER + U_FRACTION + 3

_DEPENDENT = 1e-10  # share of a column's second moment that the columns before it leave over


# ---- fixed point -----------------------------------------------------------------------------------------------------


def x_bits(rows: int) -> int:
    """Bits, with sign, of quantised values of ``rows`` training rows: |x - mean| / scale never exceeds sqrt(rows)."""
    return X_FRACTION + -(-rows.bit_length() // 2) + 1


def quantise(x: Floats, mean: Floats, scale: Floats, rows: int) -> Int32s:
    """Standardised values (x - mean) / scale with 16 fractional bits, int32[N, F] from float64[N, F].

    Quantised once and used everywhere, so that all of the algorithm sees one matrix X. Nothing is clipped: CryptoError
    for a value that does not fit `x_bits`, which no training row has.
    """
    scaled = np.rint((x - mean) / scale * 2.0**X_FRACTION)
    bits = x_bits(rows)
    if bits > 32 or not (np.abs(scaled) < 2.0 ** (bits - 1)).all():
        raise CryptoError(
            f"A standardised value does not fit its {min(bits, 32)}-bit encoding.",
            remedy="At most 2^30 rows train; they and the statistics must be of one snapshot.",
        )
    return scaled.astype(np.int32)


def predictor(x: Int32s, weights: Floats) -> Int64s:
    """u = X w with 32 fractional bits, int64[N], from int32[N, F] and float64[F].

    Columns are added one after the other, so that a retried task rounds alike on any machine. CryptoError when |u|
    reaches 2^20.
    """
    total = np.zeros(len(x))
    for column, weight in enumerate(weights):
        total += x[:, column] * (weight * 2.0**-X_FRACTION)
    if not (np.abs(total) < 2.0**U_INTEGER).all():
        raise CryptoError(
            f"A linear predictor reached 2^{U_INTEGER}, the bound of its encoding.",
            remedy="Raise l2, or leave out columns that nearly repeat others.",
        )
    return np.rint(total * 2.0**U_FRACTION).astype(np.int64)


def own_residual(u: Int64s, y: Int64s) -> Int64s:
    """The guest's addend u/4 - y/2 of d, int64[N] with 34 fractional bits; the hosts' addends are u/4."""
    return u - (y << (U_FRACTION + 1))


def own_loss(u: Int64s, y: Int64s) -> int:
    """The guest's addend of sum(z^2/8 - yz/2) over its rows, exact, with 67 fractional bits."""
    return sum_of_squares(u) - (_dot(y, u) << (U_FRACTION + 2))


def loss_weights(u: Int64s, y: Int64s) -> Int64s:
    """What multiplies each u/4 of the one host in the loss, int64[N] with 33 fractional bits: u_guest - 2y."""
    return 2 * u - (y << (U_FRACTION + 2))


def sum_of_squares(u: Int64s) -> int:
    """Exact sum(u^2)/8 with 67 fractional bits."""
    return _dot(u, u)


def _dot(a: Int64s, b: Int64s) -> int:
    return int(a.astype(object) @ b.astype(object))


def gradient_bits(rows: int, parties: int) -> int:
    """Bits, with sign, of a sum X'd over ``rows`` training rows of ``parties`` parties with data."""
    return x_bits(rows) + D_FRACTION + _score_bits(parties) + rows.bit_length()


def loss_bits(rows: int, parties: int) -> int:
    """Bits, with sign, of the summed loss."""
    return 2 * _score_bits(parties) + LOSS_FRACTION + rows.bit_length() + 1


def _score_bits(parties: int) -> int:
    return U_INTEGER + (parties - 1).bit_length() + 1  # |z| + 2 < 2^this


def check_room(bits: int, rows: int, parties: int) -> None:
    """CryptoError unless every plaintext of a round fits into (-n/2, n/2) of a ``bits``-bit key."""
    needed = max(gradient_bits(rows, parties), loss_bits(rows, parties))
    if needed + 2 > bits:
        raise CryptoError(
            f"Sums over {rows:,} rows take {needed} bits, and the key has {bits}.", remedy="Use a longer key."
        )


# ---- what a gradient tells ---------------------------------------------------------------------------------------


def labels_hide(rows: int, columns: int) -> bool:
    """Whether lattice reduction finds nothing in X'y, which a host with so many columns learns as exact integers.

    Labels are -1 or +1, so F equations can determine far more than F of them. They are a vector of length sqrt(N) in a
    lattice of dimension N - F and volume at most (2^16 sqrt(N))^F, and reduction singles it out where a random lattice
    has no vector as short (Gaussian heuristic; Coster et al., "Improved low-density subset sum algorithms", 1992): at
    less than 10 to 16 rows a column. Below some 160 rows all of this is too small to hide anything from a search.
    """
    dimension = rows - columns
    if dimension < 1:
        return False
    volume = columns * (X_FRACTION + math.log2(rows) / 2)
    shortest = volume / dimension + math.log2(dimension / (2 * math.pi * math.e)) / 2
    return shortest <= math.log2(rows) / 2


# ---- statistics of the training rows -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Moments:
    """Rows, and per column mean, sum of squared deviations, least and greatest value (float64[F] each)."""

    rows: int
    mean: Floats
    squares: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, x: Floats) -> Moments:
        """Moments of float64[N, F]; N may be 0."""
        rows, columns = x.shape
        if rows == 0:
            zeros = np.zeros(columns)
            return cls(0, zeros, zeros, np.full(columns, np.inf), np.full(columns, -np.inf))
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at what came out
            mean = x.mean(axis=0)
            return cls(rows, mean, ((x - mean) ** 2).sum(axis=0), x.min(axis=0), x.max(axis=0))

    def merge(self, other: Moments) -> Moments:
        """Moments of both sets of rows together (Chan, Golub and LeVeque 1979)."""
        rows = self.rows + other.rows
        share = other.rows / rows if rows else 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            apart = other.mean - self.mean
            return Moments(
                rows,
                self.mean + apart * share,
                self.squares + other.squares + apart**2 * (self.rows * share),
                np.minimum(self.low, other.low),
                np.maximum(self.high, other.high),
            )

    @property
    def deviation(self) -> Floats:
        """Population standard deviation (ddof 0), float64[F]."""
        return np.sqrt(self.squares / max(self.rows, 1))


@dataclass(frozen=True)
class Majority:
    """A value that may fill more than half of a column, and how far it surely outweighs the rest.

    The mergeable summary of Misra and Gries with one counter: a value that fills ``f`` of ``rows`` rows satisfies
    f <= (rows + weight) / 2 if it is ``value``, else f <= (rows - weight) / 2: only ``value`` can fill more than half.
    """

    rows: int
    value: int = 0
    weight: int = 0

    @classmethod
    def of(cls, column: Int32s) -> Majority:
        """Summary of int32[N]."""
        if len(column) == 0:
            return cls(0)
        values, counts = np.unique(column, return_counts=True)
        top = int(counts.argmax())
        return cls(len(column), int(values[top]), max(0, 2 * int(counts[top]) - len(column)))

    def merge(self, other: Majority) -> Majority:
        """Summary of both columns one below the other."""
        rows = self.rows + other.rows
        if self.value == other.value:
            return Majority(rows, self.value, self.weight + other.weight)
        heavy, light = (self, other) if self.weight >= other.weight else (other, self)
        return Majority(rows, heavy.value, heavy.weight - light.weight)

    @property
    def at_most(self) -> int:
        """No value fills more rows than this."""
        return (self.rows + self.weight) // 2


# ---- the own block of the Hessian -----------------------------------------------------------------------------------


def gram(x: Int32s) -> Floats:
    """X'X of the quantised rows, float64[F, F]."""
    real = x * 2.0**-X_FRACTION
    product: Floats = real.T @ real
    return product


def dependent_columns(block: Floats) -> list[int]:
    """Columns that the others determine: Cholesky with diagonal pivoting of a positive semi-definite float64[F, F]."""
    size = np.sqrt(np.maximum(np.diag(block), np.finfo(np.float64).tiny))
    left = block / size / size[:, None]
    remaining = list(range(len(block)))
    while remaining:
        pivot = max(remaining, key=lambda j: left[j, j])
        if left[pivot, pivot] < _DEPENDENT:
            break
        remaining.remove(pivot)
        left = left - np.outer(left[:, pivot], left[pivot]) / left[pivot, pivot]
    return remaining


def inverse_block(block: Floats, names: Sequence[str]) -> Floats:
    """Inverse of the own Hessian block H_pp, symmetric float64[F, F], by its Cholesky factor.

    TableError names columns that are, to ten digits, linear combinations of the others (possible only without l2).
    """
    dependent = dependent_columns(block)
    if dependent:
        raise TableError(
            f"Columns are linear combinations of the others, so their weights are not determined: "
            f"{', '.join(names[j] for j in dependent)}.",
            remedy="Leave them out of features, or train with l2 above 0.",
        )
    root = np.linalg.inv(np.linalg.cholesky(block))
    inverse: Floats = root.T @ root
    return inverse


def apply(matrix: Floats, vector: Floats) -> Floats:
    """Matrix times vector, column after column: no library picks the order of additions, so a restart rounds alike."""
    total = np.zeros(len(matrix))
    for column, value in enumerate(vector):
        total += matrix[:, column] * value
    return total


def dot(a: Floats, b: Floats) -> float:
    """a'b, added from the first element to the last."""
    return float(sum((a * b).tolist()))


def merged(parts: Iterable[Moments], columns: int) -> Moments:
    """Moments of all parts, merged in order."""
    total = Moments.of(np.zeros((0, columns)))
    for part in parts:
        total = total.merge(part)
    return total
