"""What must not be trained on: values that are no numbers, and columns whose sums would speak of single persons.

A host's first gradient is X'y, exactly, and labels are -1 or +1. The limits are this party's own (its party file's
policy) and every refusal names one. They are checks against accidents, not a proof: near-copies of columns that
differ for a few persons pass them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fedspark.conf import PolicyConf
from fedspark.errors import PolicyRefused, TableError
from fedspark.models.vertical_lr.maths import Int64s, Moments

_DOMINATES = 0.9  # share of a column's variance in one row, whose term is then 3 times what all others add up to
_MOST_LEVERAGE = 0.95


def check_values(features: Sequence[str], moments: Moments, unusable: Int64s) -> None:
    if moments.rows == 0:
        raise TableError("No person trains: the intersection is empty or all of it validates.")
    bad = [f"{name} ({count:,})" for name, count in zip(features, unusable, strict=True) if count]
    if bad:
        raise TableError(
            f"Features have missing or infinite values in the {moments.rows:,} training rows: {', '.join(bad)}.",
            remedy="Fill them in at the source, or leave the columns out.",
        )
    huge = [name for name, squares in zip(features, moments.squares, strict=True) if not np.isfinite(squares)]
    if huge:
        raise TableError(
            f"Values of {', '.join(huge)} are so large that their variance is not a finite number.",
            remedy="Look for placeholder values, or rescale the column.",
        )
    constant = [name for name, low, high in zip(features, moments.low, moments.high, strict=True) if low == high]
    if constant:
        raise TableError(
            f"Features have one value only in the {moments.rows:,} training rows: {', '.join(constant)}.",
            remedy="Leave them out of features in the party file.",
        )
    deviation = moments.deviation
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sound = (deviation > 0.0) & np.isfinite(moments.farthest / deviation)
    tiny = [name for name, good in zip(features, sound, strict=True) if not good]
    if tiny:
        raise TableError(
            f"Values of {', '.join(tiny)} differ by so little that standardised they would not be finite numbers.",
            remedy="Rescale the column, or leave it out.",
        )
    if len(features) >= moments.rows:
        raise TableError(
            f"There are {len(features)} features for {moments.rows:,} training rows; more rows are needed.",
            remedy="Match more people or choose fewer features.",
        )


def separating(features: Sequence[str], negative: Moments, positive: Moments) -> list[str]:
    """A warning about columns of the guest that alone tell all rows of the two classes apart."""
    apart = (negative.high < positive.low) | (positive.high < negative.low)
    found = [name for name, alone in zip(features, apart, strict=True) if alone]
    if not found:
        return []
    return [
        f"{', '.join(found)}: this column alone tells all training rows of the two classes apart. l2 keeps its weight "
        "finite; was it known before the label was?"
    ]


def collinear(features: Sequence[str]) -> list[str]:
    """A warning about columns that the others determine."""
    if not features:
        return []
    return [
        f"{', '.join(features)}: linear combinations of the other columns, to ten digits. l2 shares the weight out "
        "between them, so single weights say little; better leave these columns out."
    ]


def check_outliers(features: Sequence[str], moments: Moments) -> None:
    """Refuse columns in which one row outweighs all others: the sign of their sum X'y is that person's label."""
    shares = moments.farthest**2 / moments.squares
    found = [name for name, share in zip(features, shares, strict=True) if share > _DOMINATES]
    if found:
        raise PolicyRefused(
            f"One of {moments.rows:,} training rows outweighs all others in {', '.join(found)}: sums over such a "
            f"column would tell about this person.",
            remedy="Cap outliers, take logarithms, or leave the column out (min_bin_rows: 1 in the party file's policy "
            "allows it).",
        )


def check_classes(positives: int, rows: int, limit: int) -> None:
    negatives = rows - positives
    if not positives or not negatives:
        raise TableError(
            f"All {rows:,} training rows have label {int(positives > 0)}; both classes are needed.",
            remedy="Check the label column and the intersection.",
        )
    if min(positives, negatives) < limit:
        raise PolicyRefused(
            f"Only {min(positives, negatives)} training rows have label {int(positives < negatives)}, fewer than "
            f"min_bin_rows ({limit}) of the party file: a host could tell from its gradient whose they are.",
            remedy="Match more people or lower policy.min_bin_rows.",
        )


def check_rare(differing: Mapping[str, int], limit: int) -> None:
    """Refuse columns in which fewer than ``limit`` rows differ from the commonest value: such sums speak of persons."""
    rare = {name: count for name, count in differing.items() if count < limit}
    if rare:
        listed = ", ".join(f"{name} ({count})" for name, count in rare.items())
        raise PolicyRefused(
            f"Too few training rows differ from the commonest value of a column: {listed}; min_bin_rows of the party "
            f"file is {limit}. Sums over such a column would tell about single persons.",
            remedy="Leave these columns out, merge rare values or cap outliers, or lower policy.min_bin_rows.",
        )


def check_leverage(largest: float, rows: int) -> None:
    """Refuse columns of which a combination singles out one row: its label could be solved for from X'y."""
    if largest > _MOST_LEVERAGE:
        raise PolicyRefused(
            f"A combination of this party's columns singles out one of {rows:,} training rows (leverage {largest:.3f}, "
            f"at most {_MOST_LEVERAGE} is allowed): sums over these columns would tell about this person.",
            remedy="Leave out columns that differ for single persons, merge rare values or cap outliers "
            "(min_bin_rows: 1 in the party file's policy allows it).",
        )


def check_rows(rows: int, policy: PolicyConf) -> None:
    """Refuse to train on fewer rows than the party's limits."""
    for name, least in (("min_training_rows", policy.min_training_rows), ("min_bin_rows", 2 * policy.min_bin_rows)):
        if rows < least:
            twice = "twice " if name == "min_bin_rows" else ""
            raise PolicyRefused(
                f"Only {rows:,} people train, fewer than {twice}{name} ({getattr(policy, name)}) of the party file.",
                remedy=f"Match more people or lower policy.{name}.",
            )
