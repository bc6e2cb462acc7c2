from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from fedspark.errors import StoreError, TableError
from fedspark.evaluation import Confusion, ScoreCounts, probability


def example(rows: int, seed: int = 1, shift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.3).astype(np.float64)
    return random.normal(size=rows) * 2 + shift * labels - 1, labels


def evaluate(scores: object, labels: object, threshold: float = 0.5):
    return ScoreCounts.of(scores, labels, threshold).result()


def direct_ks(scores: np.ndarray, labels: np.ndarray) -> float:
    cuts = np.unique(scores)
    below = [np.searchsorted(np.sort(scores[labels == c]), cuts, side="right") / np.sum(labels == c) for c in (0, 1)]
    return float(np.max(np.abs(below[0] - below[1])))


@pytest.mark.parametrize("seed", range(5))
def test_auc_of_random_scores_is_within_2e_4_of_scikit_learn(seed: int) -> None:
    scores, labels = example(4000, seed)
    assert evaluate(scores, labels).auc == pytest.approx(roc_auc_score(labels, scores), abs=2e-4)


def test_auc_and_ks_are_exact_when_no_bin_mixes_scores() -> None:
    scores, labels = example(3000)
    scores = np.round(scores * 64) / 64  # with many ties, each tie in a bin of its own
    result = evaluate(scores, labels)
    assert result.auc == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)
    assert result.ks == pytest.approx(direct_ks(scores, labels), abs=1e-14)


def test_ks_of_random_scores_is_close_to_the_direct_computation() -> None:
    scores, labels = example(5000, seed=7)
    assert evaluate(scores, labels).ks == pytest.approx(direct_ks(scores, labels), abs=1e-3)


def test_splitting_at_the_reported_score_reaches_the_reported_ks() -> None:
    scores, labels = example(2000)
    result = evaluate(scores, labels)
    above = scores >= result.ks_score
    assert abs(above[labels == 1].mean() - above[labels == 0].mean()) == pytest.approx(result.ks, abs=1e-14)
    assert result.ks_threshold == pytest.approx(1 / (1 + np.exp(-result.ks_score)))


def test_a_model_that_orders_backwards_has_a_low_auc_and_a_high_ks() -> None:
    result = evaluate([3.0, 2.0, -2.0, -3.0], [0, 0, 1, 1])
    assert (result.auc, result.ks) == (0.0, 1.0)


def test_one_score_for_everybody_has_auc_one_half_and_ks_zero() -> None:
    result = evaluate(np.zeros(10), [0, 1] * 5)
    assert (result.auc, result.ks) == (0.5, 0.0)


def test_log_loss_brier_and_mean_probability_equal_the_direct_sums_to_1e_9() -> None:
    scores, labels = example(5000)
    p = 1 / (1 + np.exp(-scores))
    result = evaluate(scores, labels)
    assert result.log_loss == pytest.approx(-np.mean(labels * np.log(p) + (1 - labels) * np.log1p(-p)), abs=1e-9)
    assert result.brier == pytest.approx(brier_score_loss(labels, p), abs=1e-9)
    assert result.mean_probability == pytest.approx(p.mean(), abs=1e-9)


def test_a_sure_mistake_costs_the_clipped_loss_and_a_sure_hit_nothing() -> None:
    result = evaluate([1e308, -1e308, 800.0, -800.0], [0, 1, 1, 0])
    assert result.log_loss == pytest.approx(-np.log(1e-15) / 2, abs=1e-9)
    assert result.auc == 0.5


def test_scores_beyond_the_outer_bins_are_ties() -> None:
    result = evaluate([-40.0, -17.0, 17.0, 40.0], [0, 1, 0, 1])
    assert result.auc == 0.5  # 0.75 if -40 and -17, and 17 and 40, were told apart
    assert result.histogram.edges[0] >= -16
    assert result.histogram.edges[-1] <= 16


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_confusion_at_a_threshold_equals_scikit_learn(threshold: float) -> None:
    scores, labels = example(1000)
    result = evaluate(scores, labels, threshold)
    (tn, fp), (fn, tp) = confusion_matrix(labels, probability(scores) >= threshold, labels=[0, 1])
    assert result.confusion == Confusion(tp, fp, tn, fn)
    assert result.accuracy == (tp + tn) / 1000


def test_confusion_is_counted_exactly_at_every_other_threshold_too() -> None:
    scores, labels = example(1000)
    thresholds = [0.9, float(probability(scores)[17]), 0.123456]
    result = ScoreCounts.of(scores, labels, 0.5, *thresholds).result()
    assert [at for at, _ in result.at_thresholds] == thresholds
    for at, confusion in result.at_thresholds:
        (tn, fp), (fn, tp) = confusion_matrix(labels, probability(scores) >= at, labels=[0, 1])
        assert confusion == Confusion(tp, fp, tn, fn)
    assert result.confusion == evaluate(scores, labels).confusion


def test_thresholds_survive_bytes_and_merging() -> None:
    scores, labels = example(300)
    halves = [ScoreCounts.of(scores[half], labels[half], 0.5, 0.2) for half in (slice(0, 100), slice(100, 300))]
    read = [ScoreCounts.from_bytes(half.to_bytes()) for half in halves]
    assert ScoreCounts.total(read, 0.5, 0.2) == ScoreCounts.of(scores, labels, 0.5, 0.2)


def test_a_score_exactly_at_the_threshold_is_called_positive() -> None:
    assert evaluate([0.0, -1.0], [1, 0]).confusion == Confusion(tp=1, fp=0, tn=1, fn=0)


def test_precision_is_undefined_when_nothing_is_called_positive() -> None:
    confusion = evaluate([-1.0, -2.0], [1, 0]).confusion
    assert confusion.precision is None
    assert confusion.recall == 0.0


parts = st.lists(
    st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 1)), max_size=20), max_size=6
)


@settings(max_examples=60, deadline=None)
@given(parts, st.randoms(use_true_random=False))
def test_parts_merged_in_any_order_are_the_counts_of_all_rows_at_once(rows: list, random) -> None:
    counts = [ScoreCounts.of([z for z, _ in part], [y for _, y in part], 0.5) for part in rows]
    everything = [row for part in rows for row in part]
    at_once = ScoreCounts.of([z for z, _ in everything], [y for _, y in everything], 0.5)
    random.shuffle(counts)
    split = random.randint(0, len(counts))
    left, right = ScoreCounts.total(counts[:split], 0.5), ScoreCounts.total(counts[split:], 0.5)
    assert left.merge(right) == at_once
    assert right.merge(left).to_bytes() == at_once.to_bytes()
    assert ScoreCounts.from_bytes(at_once.to_bytes()) == at_once


def test_an_empty_part_changes_nothing() -> None:
    scores, labels = example(100)
    counts = ScoreCounts.of(scores, labels, 0.5)
    nothing = ScoreCounts.of([], [], 0.5)
    assert nothing == ScoreCounts.empty(0.5)
    assert counts.merge(nothing) == counts == nothing.merge(counts)
    assert ScoreCounts.from_bytes(nothing.to_bytes()).rows == 0


def test_rows_counted_in_chunks_have_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = example(1000)
    whole = ScoreCounts.of(scores, labels, 0.5)
    monkeypatch.setattr("fedspark.evaluation.counts._CHUNK", 77)
    assert ScoreCounts.of(scores, labels, 0.5) == whole


def test_sums_survive_sizes_beyond_64_bits() -> None:
    counts = ScoreCounts.of([-1e9, 1e9], [1, 0], 0.5)
    for _ in range(60):
        counts = counts.merge(counts)
    again = ScoreCounts.from_bytes(counts.to_bytes())
    assert again == counts
    assert again.loss.bit_length() > 64
    assert again.result().auc == 0.0
    assert Fraction(again.loss, 2**92) == pytest.approx(2 * -np.log(1e-15))


def test_a_parts_bytes_are_small() -> None:
    scores, labels = example(200_000)
    assert len(ScoreCounts.of(scores[:1000], labels[:1000], 0.5).to_bytes()) < 4_000
    assert len(ScoreCounts.of(scores, labels, 0.5).to_bytes()) < 60_000


def test_damaged_bytes_are_refused() -> None:
    data = ScoreCounts.of(*example(50), 0.5).to_bytes()
    for damaged in (b"", data[:20], data[:-3], data + b"x", b"\x09" + data[1:]):
        with pytest.raises(StoreError, match="cannot be read"):
            ScoreCounts.from_bytes(damaged)


@pytest.mark.parametrize(("label", "present", "absent"), [(1.0, 1, 0), (0.0, 0, 1)])
def test_one_class_only_is_refused_naming_the_class_and_both_counts(label: float, present: int, absent: int) -> None:
    counts = ScoreCounts.of([0.1, 0.2, 0.3], [label] * 3, 0.5)
    with pytest.raises(TableError) as caught:
        counts.result("the validation rows")
    assert f"all labels are {present}, and class {absent} is missing" in str(caught.value)
    assert "the validation rows hold" in str(caught.value)
    assert f"3 rows with label {present}" in str(caught.value) or f"3 with label {present}" in str(caught.value)


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(TableError, match="nothing to evaluate"):
        ScoreCounts.empty(0.5).result()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused_with_its_row(bad: float) -> None:
    with pytest.raises(TableError, match=r"1 of 3 scores .* in row 1"):
        ScoreCounts.of([0.0, bad, 1.0], [0, 1, 1], 0.5)


@pytest.mark.parametrize("bad", [2.0, -1.0, 0.5, np.nan])
def test_a_label_other_than_0_and_1_is_refused(bad: float) -> None:
    with pytest.raises(TableError, match=r"1 of 2 labels are neither 0 nor 1"):
        ScoreCounts.of([0.0, 1.0], [0.0, bad], 0.5)


def test_lengths_thresholds_and_merges_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        ScoreCounts.of([0.0], [0.0, 1.0], 0.5)
    with pytest.raises(TableError, match="not a probability"):
        ScoreCounts.empty(0.5, 1.5)
    with pytest.raises(ValueError, match="1 to 100 thresholds"):
        ScoreCounts.empty()
    with pytest.raises(ValueError, match="cannot be merged"):
        ScoreCounts.empty(0.5).merge(ScoreCounts.empty(0.4))
