"""The mathematics of one party: statistics that merge, the own Hessian block and its inverse, what a gradient tells.

Pure functions of numpy arrays. Objective, over N training rows with labels y in {-1, +1}:

    J(w) = mean(ln 2 - y z / 2 + z^2 / 8) + l2/2 |w|^2,   z = X w,   intercept unpenalised
         = ln 2 - b'w + w'Hw / 2,   H = X'X / 4N + l2 I,   b = X'y / 2N

the second Taylor polynomial of the logistic loss at zero, so the optimum is that of a ridge regression.

With row weights omega (mean 1) the mean is the weighted one, H = X' diag(omega) X / 4N + l2 I, and b likewise. How
numbers become integers is `encoding`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedspark.errors import TableError

Floats = npt.NDArray[np.float64]
Int16s = npt.NDArray[np.int16]
Int64s = npt.NDArray[np.int64]

_X_MAGNITUDE = 15  # bits of an encoded value without its sign
_DEPENDENT = 1e-10  # share of a column's second moment that the columns before it leave over


# ---- what a gradient tells ---------------------------------------------------------------------------------------


def labels_hide(rows: int, columns: int) -> bool:
    """Whether lattice reduction finds nothing in X'y, which a host with so many columns learns as exact integers.

    Labels are -1 or +1, so F equations can determine far more than F of them. They are a vector of length sqrt(N) in a
    lattice of dimension N - F and volume at most (2^15 sqrt(N))^F, and reduction singles it out where a random lattice
    has no vector as short (Gaussian heuristic; Coster et al., "Improved low-density subset sum algorithms", 1992): at
    less than 10 to 16 rows a column. Below some 160 rows all of this is too small to hide anything from a search.
    """
    dimension = rows - columns
    if dimension < 1:
        return False
    volume = columns * (_X_MAGNITUDE + math.log2(rows) / 2)
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

    @property
    def farthest(self) -> Floats:
        """How far from the mean the farthest value lies, float64[F]."""
        return np.maximum(self.high - self.mean, self.mean - self.low)


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
    def of(cls, column: Int16s) -> Majority:
        """Summary of int16[N]."""
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


def gram(x: Floats, weights: Floats | None = None) -> Floats:
    """X' diag(weights) X of standardised rows, float64[F, F] from float64[N, F] and float64[N]."""
    product: Floats = x.T @ (x if weights is None else x * weights[:, None])
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
