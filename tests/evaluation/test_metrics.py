from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from fedspark.evaluation import ScoreCounts, probability
from fedspark.evaluation.metrics import BINS, bin_of, upper_edge


def example(rows: int = 20_000):
    random = np.random.default_rng(3)
    labels = (random.random(rows) < 0.4).astype(np.float64)
    scores = random.normal(size=rows) + labels
    return scores, labels, ScoreCounts.of(scores, labels, 0.5).result()


def test_a_bin_holds_its_lower_edge_and_not_its_upper_one() -> None:
    assert bin_of(np.array([-16.0, -16.0 + 1 / 2048, 0.0, 16.0, 99.0, -99.0])).tolist() == [
        0,
        1,
        32768,
        BINS - 1,
        BINS - 1,
        0,
    ]
    assert bin_of(upper_edge(np.arange(BINS - 1))).tolist() == list(range(1, BINS))


def test_probability_is_finite_and_monotone_at_both_ends() -> None:
    p = probability(np.array([-1e308, -800.0, -1.0, 0.0, 1.0, 800.0, 1e308]))
    assert p[0] == 0.0
    assert p[3] == 0.5
    assert p[-1] == 1.0
    assert np.all(np.diff(p) >= 0)


def test_the_roc_curve_is_short_runs_from_corner_to_corner_and_keeps_its_area() -> None:
    _, _, result = example()
    x, y = np.array(result.roc_curve.false_positive_rate), np.array(result.roc_curve.true_positive_rate)
    assert len(x) == len(y) <= 200
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= 0)
    assert np.trapezoid(y, x) == pytest.approx(result.auc, abs=2e-4)


def test_every_point_of_the_roc_curve_is_one_of_scikit_learns() -> None:
    scores, labels, _ = example()
    scores = np.round(scores * 128) / 128
    curve = ScoreCounts.of(scores, labels, 0.5).result().roc_curve
    theirs = np.round(np.stack(roc_curve(labels, scores, drop_intermediate=False)[:2], axis=1), 9)
    ours = np.round(np.array([curve.false_positive_rate, curve.true_positive_rate]).T, 9)
    assert {tuple(point) for point in ours.tolist()} <= {tuple(point) for point in theirs.tolist()}


def test_the_ks_curve_is_short_and_contains_its_widest_gap() -> None:
    _, _, result = example()
    curve = result.ks_curve
    gap = np.abs(np.array(curve.negative_share) - np.array(curve.positive_share))
    assert len(curve.score) <= 200
    assert np.all(np.diff(curve.score) > 0)
    assert gap.max() == result.ks
    assert curve.score[int(gap.argmax())] == result.ks_score
    assert (curve.negative_share[0], curve.positive_share[-1]) == (0.0, 1.0)


def test_a_curve_of_few_scores_keeps_every_corner() -> None:
    result = ScoreCounts.of([-1.0, 0.0, 0.0, 1.0], [0, 0, 1, 1], 0.5).result()
    assert result.roc_curve.false_positive_rate == (0.0, 0.0, 0.5, 1.0)
    assert result.roc_curve.true_positive_rate == (0.0, 0.5, 1.0, 1.0)


def test_the_histogram_counts_every_row_once_in_at_most_50_equal_bins() -> None:
    _, labels, result = example()
    histogram = result.histogram
    widths = np.diff(histogram.edges)
    assert len(histogram.negatives) == len(histogram.positives) == len(widths) <= 50
    assert len(widths) > 20
    assert np.all(widths == widths[0])
    assert sum(histogram.positives) == labels.sum() == result.positives
    assert sum(histogram.negatives) == result.rows - result.positives


def test_scores_over_the_whole_line_still_fit_the_histogram() -> None:
    histogram = ScoreCounts.of([-50.0, 0.0, 50.0], [0, 1, 1], 0.5).result().histogram
    assert len(histogram.negatives) <= 50
    assert (histogram.edges[0], histogram.edges[-1]) == (-16.0, 16.0)


def test_an_evaluation_is_plain_json() -> None:
    _, _, result = example(500)
    record = result.to_record()
    assert json.loads(json.dumps(record, allow_nan=False))["confusion"]["tp"] == result.confusion.tp
    assert result.summary() == {
        name: record[name]
        for name in (
            "rows",
            "positives",
            "auc",
            "ks",
            "ks_score",
            "ks_threshold",
            "log_loss",
            "brier",
            "mean_probability",
            "calibration_error",
            "threshold",
            "accuracy",
        )
    }
