"""Scores in ten groups of about equally many rows: deciles, calibration, gain and lift, from counts by score bin.

A bin is never cut, so groups are exact counts of rows; groups of many tied scores are larger, and fewer. A group's mean
probability takes every row at the middle of its bin, which is right within 0.0001.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedspark.evaluation.metrics import BINS_PER_UNIT, LOWEST, Counts, ScoreGroup, probability

GROUPS = 10


def score_groups(negatives: Counts, positives: Counts, wanted: int = GROUPS) -> tuple[ScoreGroup, ...]:
    """At most ``wanted`` groups, highest scores first; both classes must have rows."""
    bins = np.flatnonzero(negatives + positives)[::-1]
    rows, hits = (negatives + positives)[bins], positives[bins]
    ends = _ends(np.cumsum(rows), wanted)
    starts = [0, *ends[:-1]]
    middle = probability(LOWEST + (bins + 0.5) / BINS_PER_UNIT)
    total_rows, total_hits = int(rows.sum()), int(hits.sum())
    result, rows_above, hits_above = [], 0, 0
    for start, end in zip(starts, ends, strict=True):
        inside = slice(start, end)
        count, found = int(rows[inside].sum()), int(hits[inside].sum())
        rows_above, hits_above = rows_above + count, hits_above + found
        lowest = probability(np.array([LOWEST + bins[end - 1] / BINS_PER_UNIT]))[0] if end < len(bins) else 0.0
        result.append(
            ScoreGroup(
                lowest_probability=float(lowest),
                rows=count,
                positives=found,
                positive_share=found / count,
                mean_probability=float(np.dot(rows[inside], middle[inside]) / count),
                gain=hits_above / total_hits,
                lift=found * total_rows / (count * total_hits),
                cumulative_lift=hits_above * total_rows / (rows_above * total_hits),
            )
        )
    return tuple(result)


def _ends(cumulative: NDArray[np.int64], wanted: int) -> list[int]:
    """Where groups end: after the bin that completes each k/wanted of the rows."""
    total = int(cumulative[-1])
    targets = [-(-k * total // wanted) for k in range(1, wanted + 1)]
    return [int(end) + 1 for end in np.unique(np.searchsorted(cumulative, targets))]


def calibration_error(groups: Sequence[ScoreGroup]) -> float:
    """Expected calibration error: mean over rows of |mean probability - share of positives| of their group.

    Naeini, Cooper, Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015, with groups
    of equal rows.
    """
    total = sum(group.rows for group in groups)
    return sum(group.rows * abs(group.mean_probability - group.positive_share) for group in groups) / total
