"""Counts that describe scores: added up over parts, small, exact, and the same in whatever order they are added.

A task counts the rows of its part and returns `ScoreCounts.to_bytes`; the driver of the same party merges them and
asks for the result. No score leaves its task. Sums of the losses are fixed-point integers (2^-32 a unit), so adding is
exact: a retried or reordered task cannot change the last digit of a report.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fedspark.errors import StoreError, TableError
from fedspark.evaluation import metrics
from fedspark.evaluation.groups import calibration_error, score_groups
from fedspark.evaluation.metrics import BINS, Confusion, Evaluation

SMALLEST_PROBABILITY = 1e-15
"""Log-loss clips probabilities to [1e-15, 1 - 1e-15], so that one sure mistake costs 34.5 and not infinity."""

_UNIT = 2.0**32
MOST_THRESHOLDS = 100

_CHUNK = 1 << 20
_VERSION = 2
_HEAD = struct.Struct("<BB")
_CALLED = struct.Struct("<d2q")
_SUM_BYTES = 16
_LARGEST_BODY = 2 * (4 + BINS * (2 + 8))


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """Negatives and positives by score bin, rows called positive at each of ``thresholds``, and exact sums of losses.

    ``negatives``, ``positives``: int64[BINS]. ``called``: true and false positives, one pair a threshold. ``loss``,
    ``squared_error`` and ``probabilities`` are sums over rows in units of 2^-32. Build with `of` or `empty`; the arrays
    are read-only.
    """

    thresholds: tuple[float, ...]
    negatives: NDArray[np.int64] = field(repr=False)
    positives: NDArray[np.int64] = field(repr=False)
    called: tuple[tuple[int, int], ...]
    loss: int = 0
    squared_error: int = 0
    probabilities: int = 0

    def __post_init__(self) -> None:
        self.negatives.setflags(write=False)
        self.positives.setflags(write=False)

    @classmethod
    def empty(cls, *thresholds: float) -> ScoreCounts:
        """Counts of no rows: neutral in `merge`. One to 100 ``thresholds``, probabilities in [0, 1], else TableError.

        The first one is the threshold of `Evaluation.confusion` and ``accuracy``.
        """
        wrong = [threshold for threshold in thresholds if not 0.0 <= threshold <= 1.0]
        if wrong:
            raise TableError(
                f"The threshold {wrong[0]!r} is not a probability.",
                remedy="Scores are compared as probabilities: give a number from 0 to 1, such as 0.5.",
            )
        if not 1 <= len(thresholds) <= MOST_THRESHOLDS:
            raise ValueError(f"1 to {MOST_THRESHOLDS} thresholds can be counted at, not {len(thresholds)}")
        zeros = np.zeros(BINS, np.int64)
        return cls(tuple(map(float, thresholds)), zeros, zeros, ((0, 0),) * len(thresholds))

    @classmethod
    def of(cls, scores: ArrayLike, labels: ArrayLike, *thresholds: float) -> ScoreCounts:
        """Count float64[N] log-odds against float64[N] labels; probability >= a threshold is called positive.

        Raises TableError for a score that is not finite or a label other than 0 and 1, ValueError for unequal lengths.
        """
        z = np.asarray(scores, dtype=np.float64)
        y = np.asarray(labels, dtype=np.float64)
        if z.ndim != 1 or z.shape != y.shape:
            raise ValueError(f"scores and labels must be vectors of one length, not {z.shape} and {y.shape}")
        _check_finite(z)
        _check_binary(y)
        chunks = (slice(at, at + _CHUNK) for at in range(0, len(z), _CHUNK))
        return cls.total((cls._of_chunk(z[chunk], y[chunk] == 1.0, thresholds) for chunk in chunks), *thresholds)

    @classmethod
    def _of_chunk(
        cls, z: NDArray[np.float64], positive: NDArray[np.bool_], thresholds: tuple[float, ...]
    ) -> ScoreCounts:
        p = metrics.probability(z)
        bins = metrics.bin_of(z)
        calls = [p >= threshold for threshold in thresholds]
        return cls(
            thresholds=tuple(map(float, thresholds)),
            negatives=np.bincount(bins[~positive], minlength=BINS),
            positives=np.bincount(bins[positive], minlength=BINS),
            called=tuple((int(np.sum(call & positive)), int(np.sum(call & ~positive))) for call in calls),
            loss=_exact_sum(_row_loss(z, positive)),
            squared_error=_exact_sum((p - positive) ** 2),
            probabilities=_exact_sum(p),
        )

    @classmethod
    def total(cls, parts: Iterable[ScoreCounts], *thresholds: float) -> ScoreCounts:
        """All parts merged; `empty` when there is none."""
        result = cls.empty(*thresholds)
        for part in parts:
            result = result.merge(part)
        return result

    def merge(self, other: ScoreCounts) -> ScoreCounts:
        """Both sets of rows together: exact, commutative, associative. ValueError if the thresholds differ."""
        if self.thresholds != other.thresholds:
            raise ValueError(f"counts at thresholds {self.thresholds} and {other.thresholds} cannot be merged")
        both = zip(self.called, other.called, strict=True)
        return ScoreCounts(
            thresholds=self.thresholds,
            negatives=self.negatives + other.negatives,
            positives=self.positives + other.positives,
            called=tuple((a[0] + b[0], a[1] + b[1]) for a, b in both),
            loss=self.loss + other.loss,
            squared_error=self.squared_error + other.squared_error,
            probabilities=self.probabilities + other.probabilities,
        )

    @property
    def confusions(self) -> tuple[Confusion, ...]:
        """The confusion matrix at each threshold."""
        negatives, positives = int(self.negatives.sum()), int(self.positives.sum())
        return tuple(Confusion(tp, fp, negatives - fp, positives - tp) for tp, fp in self.called)

    @property
    def rows(self) -> int:
        """Rows counted."""
        return int(self.negatives.sum() + self.positives.sum())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScoreCounts) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Occupied bins only, compressed; equal counts give equal bytes. For a task and the driver of one party."""
        called = zip(self.thresholds, self.called, strict=True)
        head = _HEAD.pack(_VERSION, len(self.thresholds)) + b"".join(_CALLED.pack(at, *pair) for at, pair in called)
        sums = b"".join(n.to_bytes(_SUM_BYTES, "little") for n in (self.loss, self.squared_error, self.probabilities))
        return head + sums + zlib.compress(_pack(self.negatives) + _pack(self.positives), 6)

    @classmethod
    def from_bytes(cls, data: bytes) -> ScoreCounts:
        """Inverse of `to_bytes`. Raises StoreError for bytes that are cut, too long or of another version."""
        try:
            version, count = _HEAD.unpack_from(data)
            if version != _VERSION:
                raise ValueError(f"version {version} instead of {_VERSION}")
            called = [_CALLED.unpack_from(data, _HEAD.size + _CALLED.size * at) for at in range(count)]
            first = _HEAD.size + _CALLED.size * count
            start = first + 3 * _SUM_BYTES
            sums = [int.from_bytes(data[at : at + _SUM_BYTES], "little") for at in range(first, start, _SUM_BYTES)]
            opened = zlib.decompressobj()
            body = opened.decompress(data[start:], _LARGEST_BODY)
            if not opened.eof or opened.unused_data:
                raise ValueError("wrong length")
            negatives, rest = _unpack(body)
            positives, rest = _unpack(rest)
            if rest:
                raise ValueError("bytes are left over")
        except (struct.error, zlib.error, ValueError) as error:
            raise StoreError(
                f"Partial score counts of {len(data)} bytes cannot be read: {error}.",
                remedy="Run the step again; all parts must come from one version of fedspark.",
            ) from error
        thresholds = tuple(threshold for threshold, _, _ in called)
        return cls(thresholds, negatives, positives, tuple((tp, fp) for _, tp, fp in called), *sums)

    def result(self, what: str = "the evaluated rows") -> Evaluation:
        """All figures and curves. Raises TableError naming ``what`` when rows are missing or of one class only."""
        negatives, positives = int(self.negatives.sum()), int(self.positives.sum())
        _check_both_classes(what, negatives, positives)
        rows = negatives + positives
        distance, at = metrics.ks(self.negatives, self.positives)
        groups = score_groups(self.negatives, self.positives)
        confusions = self.confusions
        return Evaluation(
            rows=rows,
            positives=positives,
            auc=metrics.auc(self.negatives, self.positives),
            ks=distance,
            ks_score=at,
            ks_threshold=float(metrics.probability(np.array([at]))[0]),
            log_loss=self.loss / (rows << 32),
            brier=self.squared_error / (rows << 32),
            mean_probability=self.probabilities / (rows << 32),
            calibration_error=calibration_error(groups),
            threshold=self.thresholds[0],
            accuracy=confusions[0].accuracy,
            confusion=confusions[0],
            at_thresholds=tuple(zip(self.thresholds[1:], confusions[1:], strict=True)),
            groups=groups,
            gain_curve=metrics.gain_curve(self.negatives, self.positives),
            roc_curve=metrics.roc_curve(self.negatives, self.positives),
            ks_curve=metrics.ks_curve(self.negatives, self.positives),
            histogram=metrics.histogram(self.negatives, self.positives),
        )


def _row_loss(z: NDArray[np.float64], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """-log of the probability given to the true label, in nats, from log-odds (no cancellation near 0 and 1)."""
    loss = np.logaddexp(0.0, np.where(positive, -z, z))
    return np.clip(loss, -np.log1p(-SMALLEST_PROBABILITY), -np.log(SMALLEST_PROBABILITY))


def _exact_sum(values: NDArray[np.float64]) -> int:
    """Sum in units of 2^-32; a chunk of 2^20 values below 2^6 stays far inside 64 bits."""
    return int(np.rint(values * _UNIT).astype(np.int64).sum())


def _pack(counts: NDArray[np.int64]) -> bytes:
    """Number of occupied bins, distances between them, and their counts: zeros and ones mostly, which compress well."""
    occupied = np.flatnonzero(counts)
    steps = np.diff(occupied, prepend=0).astype("<u2")
    return struct.pack("<I", len(occupied)) + steps.tobytes() + counts[occupied].astype("<i8").tobytes()


def _unpack(data: bytes) -> tuple[NDArray[np.int64], bytes]:
    (size,) = struct.unpack_from("<I", data)
    end = 4 + size * (2 + 8)
    if size > BINS or len(data) < end:
        raise ValueError(f"{size} bins do not fit into {len(data)} bytes")
    occupied = np.cumsum(np.frombuffer(data, "<u2", size, 4).astype(np.int64))
    if size and (occupied[-1] >= BINS or np.any(np.diff(occupied) <= 0)):
        raise ValueError("bins are out of order")
    counts = np.zeros(BINS, np.int64)
    counts[occupied] = np.frombuffer(data, "<i8", size, 4 + size * 2)
    return counts, data[end:]


def _check_finite(z: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(~np.isfinite(z))
    if len(wrong):
        raise TableError(
            f"{len(wrong)} of {len(z)} scores are not finite numbers ({_examples(z, wrong)}).",
            remedy="Look for missing or infinite feature values, or a model that did not converge.",
        )


def _check_binary(y: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero((y != 0.0) & (y != 1.0))
    if len(wrong):
        raise TableError(
            f"{len(wrong)} of {len(y)} labels are neither 0 nor 1 ({_examples(y, wrong)}).",
            remedy="Map the label column to 0 and 1; rows without a label can be scored but not evaluated.",
        )


def _examples(values: NDArray[np.float64], wrong: NDArray[np.int64]) -> str:
    return "for example " + ", ".join(f"{values[row]:g} in row {row}" for row in wrong[:3].tolist())


def _check_both_classes(what: str, negatives: int, positives: int) -> None:
    if negatives and positives:
        return
    if not negatives and not positives:
        raise TableError(
            f"There is nothing to evaluate: {what} are empty.", remedy="Check the intersection and the split."
        )
    present, absent = (1, 0) if positives else (0, 1)
    raise TableError(
        f"AUC and KS need both classes, but {what} hold {positives} rows with label 1 and {negatives} with label 0: "
        f"all labels are {present}, and class {absent} is missing.",
        remedy="Check the label column, or evaluate on more rows.",
    )
