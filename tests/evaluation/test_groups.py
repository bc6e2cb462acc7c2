"""Deciles, calibration, gain and lift, against sorting the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fedspark.evaluation import Evaluation, ScoreCounts, probability
from tests.evaluation.test_counts import example


def evaluate(scores: np.ndarray, labels: np.ndarray) -> Evaluation:
    return ScoreCounts.of(scores, labels, 0.5).result()


def spread(rows: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which no two share a bin."""
    random = np.random.default_rng(seed)
    scores = random.permutation(np.arange(rows) - rows // 2) / 512
    return scores, (random.random(rows) < probability(scores)).astype(np.float64)


def test_deciles_are_the_tenths_of_the_rows_sorted_by_score() -> None:
    scores, labels = spread(1000)
    groups = evaluate(scores, labels).groups
    order = np.argsort(-scores)
    assert [group.rows for group in groups] == [100] * 10
    for number, group in enumerate(groups):
        rows = order[100 * number : 100 * (number + 1)]
        assert group.positives == labels[rows].sum()
        assert group.positive_share == pytest.approx(labels[rows].mean())
        assert group.mean_probability == pytest.approx(probability(scores[rows]).mean(), abs=1e-4)
        assert group.lift == pytest.approx(labels[rows].mean() / labels.mean())
        so_far = order[: 100 * (number + 1)]
        assert group.gain == pytest.approx(labels[so_far].sum() / labels.sum())
        assert group.cumulative_lift == pytest.approx(labels[so_far].mean() / labels.mean())
        if number < 9:
            assert probability(scores[rows]).min() == pytest.approx(group.lowest_probability, abs=1e-4)
    assert groups[-1].lowest_probability == 0.0
    assert groups[-1].gain == 1.0


@pytest.mark.parametrize("rows", [2, 3, 7, 11, 1003])
def test_every_row_is_in_one_group_whatever_their_number(rows: int) -> None:
    scores, labels = spread(rows)
    labels[:2] = (0, 1)
    groups = evaluate(scores, labels).groups
    assert sum(group.rows for group in groups) == rows
    assert sum(group.positives for group in groups) == labels.sum()
    assert max(group.rows for group in groups) - min(group.rows for group in groups) <= 1
    assert len(groups) == min(rows, 10)


def test_equal_scores_are_never_parted() -> None:
    scores = np.repeat([2.0, 1.0, -1.0], [5, 900, 95])
    groups = evaluate(scores, np.tile([0.0, 1.0], 500)).groups
    assert [group.rows for group in groups] == [905, 95]


def test_probabilities_that_come_true_have_a_small_calibration_error_and_doubled_log_odds_a_large_one() -> None:
    random = np.random.default_rng(5)
    scores = random.normal(size=50_000)
    labels = (random.random(50_000) < probability(scores)).astype(np.float64)
    assert evaluate(scores, labels).calibration_error < 0.01
    assert evaluate(2 * scores, labels).calibration_error > 0.08


def test_the_calibration_error_is_the_mean_distance_of_the_groups() -> None:
    scores, labels = spread(100)
    order = np.argsort(-scores).reshape(10, 10)
    distances = np.abs(probability(scores)[order].mean(axis=1) - labels[order].mean(axis=1))
    assert evaluate(scores, labels).calibration_error == pytest.approx(distances.mean(), abs=1e-4)


def test_the_gain_curve_runs_from_corner_to_corner_through_the_deciles() -> None:
    scores, labels = example(5000)
    result = evaluate(scores, labels)
    curve = result.gain_curve
    assert (curve.called_share[0], curve.found_share[0]) == (0.0, 0.0)
    assert (curve.called_share[-1], curve.found_share[-1]) == (1.0, 1.0)
    assert len(curve.called_share) <= 200
    called = np.cumsum([group.rows for group in result.groups]) / 5000
    found = np.interp(called, curve.called_share, curve.found_share)
    assert found == pytest.approx([group.gain for group in result.groups], abs=0.01)
