"""Row weights, a secret of the guest: what they are multiplied by, and which of them would give people away.

A host's first gradient is X' diag(weights) y. A row that weighs as much as all others together decides its sign, and of
rows that weigh nothing it tells nothing: limits on numbers of rows must hold for the rows that count. Within a class
these are Kish's effective rows, (sum w)^2 / sum w^2 (Survey Sampling, 1965); of both classes their sum, as a factor
common to a class tells nothing: with equal weights in each class, both gradients give the sum over one class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedspark.conf import PolicyConf
from fedspark.errors import PolicyRefused, TableError
from fedspark.models.vertical_lr.encoding import WEIGHT_BITS, WEIGHT_FRACTION
from fedspark.models.vertical_lr.maths import Floats

MOST = 2 ** (WEIGHT_BITS - WEIGHT_FRACTION)
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Weights:
    """Weights of some rows: their sum, the sum of their squares over that of the greatest, the least, the greatest."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    least: float = math.inf
    most: float = 0.0

    @classmethod
    def of(cls, weights: Floats) -> Weights:
        """Of float64[N], none below 0; N may be 0."""
        if not len(weights):
            return cls()
        most = float(weights.max())
        squares = float(((weights / most) ** 2).sum()) if most else 0.0
        with np.errstate(over="ignore"):  # the caller looks at the total
            return cls(len(weights), float(weights.sum()), squares, float(weights.min()), most)

    def merge(self, other: Weights) -> Weights:
        """Of both sets of rows together."""
        most = max(self.most, other.most)
        squares = sum(each.squares * (each.most / most) ** 2 for each in (self, other)) if most else 0.0
        return Weights(self.rows + other.rows, self.total + other.total, squares, min(self.least, other.least), most)

    @property
    def effective(self) -> int:
        """How many rows of equal weight they are worth, rounded down."""
        return int((self.total / self.most) ** 2 / self.squares + _ROUNDING) if self.most else 0


Classes = tuple[Weights, Weights]
"""Of the training rows with label 0 and with label 1."""


def factors(classes: Classes, balanced: bool) -> list[float] | None:
    """What the weights of rows with label 0 and 1 are multiplied by, so that their mean is 1 (``balanced``: and both
    classes weigh the same); None where all rows weigh the same.
    """
    rows, totals = sum(each.rows for each in classes), [each.total for each in classes]
    if not all(0.0 < total < math.inf for total in totals):
        raise TableError(
            f"All training rows with label {totals.index(min(totals))} weigh nothing, or weights add up to no finite "
            f"number: {totals[0]:g} for label 0, {totals[1]:g} for label 1.",
            remedy="Correct the weight column at the source, or do not name one.",
        )
    if not balanced:
        equal = classes[0].least == classes[1].least == classes[0].most == classes[1].most
        return None if equal else [rows / sum(totals)] * 2
    found = [rows / (2 * total) for total in totals]
    heaviest = [factor * each.most for factor, each in zip(found, classes, strict=True)]
    if max(heaviest) >= MOST:
        label = heaviest.index(max(heaviest))
        raise TableError(
            f"class_weight: balanced makes a training row with label {label} weigh {heaviest[label]:,.0f} times the "
            f"mean, and less than {MOST:,} times fits the encoding: {classes[label].rows:,} of {rows:,} training rows "
            f"have that label.",
            remedy="Leave class_weight out, train on fewer of the people with the other label, or cap a weight column.",
        )
    return found


def check(classes: Classes, policy: PolicyConf) -> int:
    """Effective rows. PolicyRefused where they are too few for the party's limits, or a row weighs too much.

    As no row has more than 1/min_bin_rows of its class's weight, effective rows of a class are min_bin_rows or more.
    """
    limit = policy.min_bin_rows
    for label, each in enumerate(classes):
        if each.most * limit > each.total * (1.0 + _ROUNDING):
            raise PolicyRefused(
                f"One training row with label {label} has {each.most / each.total:.0%} of the weight of all "
                f"{each.rows:,} with that label; 1/min_bin_rows is the most (min_bin_rows is {limit} in the party "
                f"file): a host's gradient would speak of this person.",
                remedy="Cap the weight column, match more people or lower policy.min_bin_rows.",
            )
    rows, effective = sum(each.rows for each in classes), sum(each.effective for each in classes)
    if effective < policy.min_training_rows:
        raise PolicyRefused(
            f"By their weights the {rows:,} people who train count like {effective:,}, fewer than min_training_rows "
            f"({policy.min_training_rows}) of the party file.",
            remedy="Cap the weight column, match more people or lower policy.min_training_rows.",
        )
    return effective
