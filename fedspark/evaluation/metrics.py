"""AUC, KS, ROC and the shape of the scores, all from two vectors of counts.

A score is the log-odds ``z`` of the positive class. Bins cut the line of scores at fixed places that everybody knows
beforehand, so counts of different parts, and of different days, can be added. Within a bin scores count as tied. All
functions take ``negatives`` and ``positives``: int64[bins], rows with label 0 and 1, lowest scores first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

BINS = 1 << 16
LOWEST = -16.0
HIGHEST = 16.0
BINS_PER_UNIT = 2048
"""Bins in one unit of log-odds: a power of two, so that bin numbers and edges are exact in floating point."""

CURVE_POINTS = 200
HISTOGRAM_BINS = 50


@dataclass(frozen=True)
class Confusion:
    """Rows by prediction and label at one threshold: (predicted, true) = tp (1, 1), fp (1, 0), tn (0, 0), fn (0, 1)."""

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def accuracy(self) -> float:
        """Share of rows whose prediction equals the label."""
        return (self.tp + self.tn) / (self.tp + self.fp + self.tn + self.fn)

    @property
    def precision(self) -> float | None:
        """Share of positives among the rows called positive; None when no row is called positive."""
        called = self.tp + self.fp
        return self.tp / called if called else None

    @property
    def recall(self) -> float | None:
        """Share of the positives that are called positive."""
        actual = self.tp + self.fn
        return self.tp / actual if actual else None


@dataclass(frozen=True)
class RocCurve:
    """Corner points from (0, 0) to (1, 1), at most 200; straight lines in between (ties count half)."""

    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


@dataclass(frozen=True)
class KsCurve:
    """Share of each class with a score below ``score`` (log-odds), ascending, at most 200 points."""

    score: tuple[float, ...]
    negative_share: tuple[float, ...]
    positive_share: tuple[float, ...]


@dataclass(frozen=True)
class GainCurve:
    """Share of the positives among that share of all rows which has the highest scores, from (0, 0) to (1, 1)."""

    called_share: tuple[float, ...]
    found_share: tuple[float, ...]


@dataclass(frozen=True)
class ScoreGroup:
    """Rows with scores from ``lowest_probability`` up to the next group above.

    ``gain``: share of all positives in this group and those above. ``lift``: the group's share of positives over that
    of all rows; ``cumulative_lift`` likewise for this group and those above.
    """

    lowest_probability: float
    rows: int
    positives: int
    positive_share: float
    mean_probability: float
    gain: float
    lift: float
    cumulative_lift: float


@dataclass(frozen=True)
class ScoreHistogram:
    """Rows by class between consecutive ``edges`` (log-odds; one more than bins); outer bins hold what lies beyond."""

    edges: tuple[float, ...]
    negatives: tuple[int, ...]
    positives: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """How well scores order and predict the labels.

    ``auc``: probability that a positive outscores a negative, ties counting half. ``ks``: largest distance between the
    two classes' cumulative shares, reached by splitting at ``ks_score`` (log-odds; ``ks_threshold`` is the same place
    as a probability). ``log_loss`` in nats a row, probabilities clipped to [1e-15, 1 - 1e-15]. ``brier``: mean squared
    error of the probability. ``mean_probability`` beside ``positives / rows`` shows whether the scores are calibrated
    overall; ``calibration_error`` is the mean distance of the two over ``groups``, ten of about equally many rows.
    ``threshold`` is the probability from which a row is called positive in ``confusion`` and ``accuracy``;
    ``at_thresholds`` has the confusion at others.
    """

    rows: int
    positives: int
    auc: float
    ks: float
    ks_score: float
    ks_threshold: float
    log_loss: float
    brier: float
    mean_probability: float
    calibration_error: float
    threshold: float
    accuracy: float
    confusion: Confusion
    at_thresholds: tuple[tuple[float, Confusion], ...]
    groups: tuple[ScoreGroup, ...]
    gain_curve: GainCurve
    roc_curve: RocCurve
    ks_curve: KsCurve
    histogram: ScoreHistogram

    def to_record(self) -> dict[str, Any]:
        """Everything as plain JSON values, curves and histogram included."""
        return asdict(self)

    def summary(self) -> dict[str, float | int]:
        """The figures without confusion matrix, curves and histogram."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int | float)}


def probability(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + e^-z) for float64[N] log-odds, without overflow at either end."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def bin_of(z: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin number, 0..BINS-1, of float64[N] log-odds; scores beyond [-16, 16) fall into the outer bins."""
    places = np.floor((np.clip(z, LOWEST, HIGHEST) - LOWEST) * BINS_PER_UNIT).astype(np.int64)
    return np.minimum(places, BINS - 1)


def upper_edge(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-odds at which a bin ends: bins 0 and BINS - 1 end at -16 + 1/2048 and at 16."""
    return LOWEST + (bins + 1) / BINS_PER_UNIT


def auc(negatives: Counts, positives: Counts) -> float:
    """Area under the ROC curve, computed in integers and divided once (Mann-Whitney; ties count half)."""
    lower = np.cumsum(negatives) - negatives
    occupied = np.flatnonzero(positives)
    # Python integers: rows squared leaves 64 bits at about two billion rows of each class.
    twice = (2 * lower + negatives)[occupied].astype(object)
    pairs = int(np.dot(positives[occupied].astype(object), twice))
    return pairs / (2 * int(negatives.sum()) * int(positives.sum()))


def ks(negatives: Counts, positives: Counts) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance, and the first score (log-odds) that reaches it by splitting off what lies below."""
    bins, negative_share, positive_share = _cumulative(negatives, positives)
    distance = np.abs(negative_share - positive_share)
    best = int(np.argmax(distance))
    return float(distance[best]), float(upper_edge(bins)[best])


def roc_curve(negatives: Counts, positives: Counts) -> RocCurve:
    """The ROC curve, thinned evenly along its length; the point of largest distance between classes is kept."""
    _, negative_share, positive_share = _cumulative(negatives, positives)
    false_positive = np.append(1.0 - negative_share[::-1], 1.0)
    true_positive = np.append(1.0 - positive_share[::-1], 1.0)
    kept = _thinned(false_positive + true_positive, np.abs(true_positive - false_positive))
    return RocCurve(tuple(false_positive[kept].tolist()), tuple(true_positive[kept].tolist()))


def gain_curve(negatives: Counts, positives: Counts) -> GainCurve:
    """Positives found over rows called, highest scores first, thinned evenly along its length."""
    _, below, positive_below = _cumulative(negatives + positives, positives)
    called, found = np.append(1.0 - below[::-1], 1.0), np.append(1.0 - positive_below[::-1], 1.0)
    kept = _thinned(called + found, np.abs(found - called))
    return GainCurve(tuple(called[kept].tolist()), tuple(found[kept].tolist()))


def ks_curve(negatives: Counts, positives: Counts) -> KsCurve:
    """Cumulative share of each class over the score, thinned evenly along its length."""
    bins, negative_share, positive_share = _cumulative(negatives, positives)
    score = np.append(upper_edge(bins[:1] - 1), upper_edge(bins))
    negative_share = np.append(0.0, negative_share)
    positive_share = np.append(0.0, positive_share)
    # Evenly along shares and score together: by shares alone, the tails would be a single straight line.
    along = (negative_share + positive_share) / 2 + (score - score[0]) / (score[-1] - score[0])
    kept = _thinned(along, np.abs(negative_share - positive_share))
    return KsCurve(
        tuple(score[kept].tolist()), tuple(negative_share[kept].tolist()), tuple(positive_share[kept].tolist())
    )


def histogram(negatives: Counts, positives: Counts) -> ScoreHistogram:
    """At most 50 equal bins over the occupied range; widths are powers of two, edges multiples of the width."""
    occupied = np.flatnonzero(negatives + positives)
    first, last = int(occupied[0]), int(occupied[-1])
    shift = 0
    while (last >> shift) - (first >> shift) + 1 > HISTOGRAM_BINS:
        shift += 1
    start, stop = first >> shift, (last >> shift) + 1
    cut = slice(start << shift, stop << shift)
    edges = LOWEST + (np.arange(start, stop + 1) << shift) / BINS_PER_UNIT
    return ScoreHistogram(
        edges=tuple(edges.tolist()),
        negatives=tuple(negatives[cut].reshape(stop - start, -1).sum(axis=1).tolist()),
        positives=tuple(positives[cut].reshape(stop - start, -1).sum(axis=1).tolist()),
    )


def _cumulative(negatives: Counts, positives: Counts) -> tuple[Counts, NDArray[np.float64], NDArray[np.float64]]:
    """Occupied bins, and the share of each class in them and below."""
    bins = np.flatnonzero(negatives + positives)
    below_negative = np.cumsum(negatives[bins])
    below_positive = np.cumsum(positives[bins])
    return bins, below_negative / below_negative[-1], below_positive / below_positive[-1]


def _thinned(along: NDArray[np.float64], gap: NDArray[np.float64]) -> NDArray[np.int64]:
    """At most CURVE_POINTS indices, even in ``along`` (from 0 to 2, rising): both ends and the widest gap always."""
    if len(along) <= CURVE_POINTS:
        return np.arange(len(along))
    targets = np.linspace(0.0, 2.0, CURVE_POINTS - 1)
    evenly = np.minimum(np.searchsorted(along, targets), len(along) - 1)
    evenly[0], evenly[-1] = 0, len(along) - 1
    return np.unique(np.append(evenly, np.argmax(gap)))
