"""Rows that weigh differently, by a column of the guest or by class; earlier models as a start; warnings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.conf.options import TrainOptions
from fedspark.errors import ConfigError, CryptoError, Mismatch, PolicyRefused, Stopped, TableError
from fedspark.models.split import Split
from fedspark.models.vertical_lr import Trained, design, train
from fedspark.models.vertical_lr.encoding import encode_weights
from fedspark.models.vertical_lr.weights import Weights
from tests.federation import Federation
from tests.models.aligned import SALT, STEPS, TRAIN, Floats, People, align, people, pooled_optimum
from tests.models.clear_engine import without_secrecy

WIDTHS = {1: {"guest": 3, "host": 4}, 2: {"guest": 2, "host1": 2, "host2": 3}}


def federation(hosts: int = 1) -> Federation:
    return Federation(hosts=hosts, steps=STEPS, policy={name: {"min_bin_rows": 5} for name in WIDTHS[hosts]})


def play(f: Federation, table: People, **changes: Any) -> dict[str, Trained]:
    options, alignments = TrainOptions(**{**TRAIN, **changes}), align(f, table)
    return f.play("train", {p.name: lambda run, p=p: train(run, alignments.get(p.name), options) for p in f.roster})


def weighted(table: People, seed: int = 1) -> People:
    """Weights that differ thirtyfold, and of which no single one outweighs many others."""
    return replace(table, weight=np.random.default_rng(seed).gamma(3.0, 20.0, len(table.label)))


def assert_optimum(results: dict[str, Trained], table: People, weight: Floats | None) -> None:
    weights, intercept = pooled_optimum(table, TRAIN["validation"], TRAIN["l2"], weight)
    for party, expected in weights.items():
        part = results[party].part
        assert part is not None
        np.testing.assert_allclose([feature.weight for feature in part.features], expected, atol=1e-4)
    guest = results["guest"].part
    assert guest is not None
    assert guest.intercept == pytest.approx(intercept, abs=1e-4)


# ---- weights ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hosts", [1, 2])
def test_weighted_rows_end_at_the_weighted_optimum(hosts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = weighted(people(80, WIDTHS[hosts]))
    results = play(federation(hosts), table)
    assert_optimum(results, table, table.weight)
    part = results["guest"].part
    assert part is not None
    assert "rows weighted" in part.objective


def test_encryption_changes_no_bit_of_a_weighted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    table = weighted(people(80, WIDTHS[1]))
    real = play(federation(), table, max_rounds=2)
    without_secrecy(monkeypatch)
    assert play(federation(), table, max_rounds=2) == real


def test_balanced_classes_weigh_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS[1])
    table.label[::3] = 1.0
    positive = table.label == 1
    training = table.training(TRAIN["validation"])
    share = positive[training].mean()
    assert abs(share - 0.5) > 0.05
    results = play(federation(), table, class_weight="balanced")
    assert_optimum(results, table, np.where(positive, 1 / share, 1 / (1 - share)))


def test_balanced_classes_and_weights_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = weighted(people(80, WIDTHS[1]))
    assert table.weight is not None
    training, positive = table.training(TRAIN["validation"]), table.label == 1
    mass = [table.weight[training & (positive == value)].sum() for value in (False, True)]
    results = play(federation(), table, class_weight="balanced")
    assert_optimum(results, table, table.weight / np.where(positive, mass[1], mass[0]))


def test_balanced_classes_tell_a_host_how_many_people_have_label_1_as_the_option_says() -> None:
    table, f, split = people(400, WIDTHS[1]), federation(), Split(SALT, TRAIN["validation"])
    alignments = align(f, table)
    guest, host = (
        design.build(f.run(name, "train"), alignments[name], split, 0.01, balanced=True) for name in ("guest", "host")
    )
    own, theirs = ([design.read_design_part(each.files, part) for part in range(each.parts)] for each in (host, guest))
    x, labels = np.concatenate([part.x for part in own]).astype(object), np.concatenate([part.y for part in theirs])
    weights = np.concatenate([part.weights for part in theirs if part.weights is not None])
    gradient, sums, rows = x.T @ (weights * labels), x.sum(axis=0), len(labels)

    def fits(positives: int) -> bool:
        one, zero = encode_weights(np.array([rows / positives, rows / (rows - positives)]) / 2).tolist()
        return all((zero * s + g) % (one + zero) == 0 for s, g in zip(sums, gradient, strict=True))

    found = [positives for positives in range(1, rows) if fits(positives)]
    assert found == [int((labels == 1).sum())]
    assert "tells every host how many people have label 1" in str(TrainOptions.model_fields["class_weight"].description)


def test_equal_weights_are_none_and_share_ciphertexts(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(60, WIDTHS[1])
    f = federation()
    even = play(f, replace(table, weight=np.full(60, 3.5)), max_rounds=3)
    bare = federation()
    plain = play(bare, table, max_rounds=3)
    for party in ("guest", "host"):
        assert even[party].part == plain[party].part
    assert sent(f, "d") == sent(bare, "d")


def test_a_weighted_row_has_a_ciphertext_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS[1])
    sizes = []
    for each in (table, weighted(table)):
        f = federation()
        play(f, each, max_rounds=1)
        sizes.append(sent(f, "d"))
    rows = int(table.training(TRAIN["validation"]).sum())
    assert sizes[1] > 2 * rows * 512 > 4 * sizes[0]  # of two rounds


def sent(f: Federation, tag: str) -> int:
    return sum(one.bytes for one in f.run("guest", "train").mailbox.traffic("train") if one.tag == tag)


@pytest.mark.parametrize(
    ("weight", "error", "words"),
    [
        (-1.0, TableError, "weight of .* training rows is missing, infinite or below 0"),
        (np.nan, TableError, "is missing, infinite or below 0"),
        (np.inf, TableError, "is missing, infinite or below 0"),
        (0.0, TableError, "weigh nothing"),
    ],
)
def test_bad_weights_are_refused(weight: float, error: type[Exception], words: str) -> None:
    f = federation()
    table = people(60, WIDTHS[1])
    with pytest.raises(error, match=words):
        half(f, "guest", replace(table, weight=np.full(60, weight)))


def test_a_class_without_weight_is_refused() -> None:
    table = people(60, WIDTHS[1])
    with pytest.raises(TableError, match=r"label 1 weigh nothing.*: \d+ for label 0, 0 for label 1"):
        half(federation(), "guest", replace(table, weight=1.0 - table.label))


def test_a_weight_far_above_the_mean_is_refused() -> None:
    table, two = twelve_thousand()
    weight = np.full(12_000, 1e-9)
    weight[two] = 1.0
    with pytest.raises(CryptoError, match="4,096 times the mean"):
        half(careless(), "guest", replace(table, weight=weight))


def test_balancing_a_class_of_one_in_ten_thousand_is_refused_by_its_name() -> None:
    table, two = twelve_thousand()
    label = np.zeros(12_000)
    label[two[0]] = 1.0
    words = (
        r"class_weight: balanced makes a training row with label 1 weigh 4,\d+ times the mean.*: 1 of \d,\d+ training"
    )
    with pytest.raises(TableError, match=words) as caught:
        half(careless(), "guest", replace(table, label=label), class_weight="balanced")
    assert "class_weight" in caught.value.remedy


def twelve_thousand() -> tuple[People, list[int]]:
    """People, and two of those who train with label 1."""
    table = people(12_000, WIDTHS[1])
    training = table.training(TRAIN["validation"])
    return table, np.flatnonzero(training & (table.label == 1))[:2].tolist()


def careless() -> Federation:
    return Federation(steps=STEPS, policy={"guest": {"min_bin_rows": 1}})


# ---- weights that single people out ----------------------------------------------------------------------------------


def with_class_weights(table: People, *each: tuple[float, list[float]]) -> People:
    """Training rows with label 0 and label 1 weigh ``each`` (all others, [the first ones])."""
    training, weight = table.training(TRAIN["validation"]), np.ones(len(table.label))
    for label, (others, first) in enumerate(each):
        rows = np.flatnonzero(training & (table.label == label))
        weight[rows] = others
        weight[rows[: len(first)]] = first
    return replace(table, weight=weight)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize(("others", "heavy"), [(0.0, [1.0]), (1.0, [1e5]), (1.0, [100.0, 90.0]), (0.0, [1.0] * 4)])
def test_a_person_who_outweighs_a_class_is_refused(
    label: int, others: float, heavy: list[float], class_weight: str
) -> None:
    even = (1.0, list[float]())
    table = with_class_weights(people(200, WIDTHS[1]), *([(others, heavy), even][:: 1 - 2 * label]))
    words = rf"One training row with label {label} has \d+% of the weight of all \d+.*min_bin_rows is 5"
    with pytest.raises(PolicyRefused, match=words):
        half(federation(), "guest", table, class_weight=class_weight)


def test_as_many_heavy_people_as_the_limit_asks_for_may_train(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = with_class_weights(people(200, WIDTHS[1]), (0.001, [3.3] * 25), (0.001, [1.1] * 25))
    assert_optimum(play(federation(), table), table, table.weight)


def test_people_who_weigh_next_to_nothing_do_not_count_as_training_rows() -> None:
    table = with_class_weights(people(200, WIDTHS[1]), (0.0, [1.0] * 15), (1e-6, [1.0] * 15))
    f = Federation(steps=STEPS, policy={"guest": {"min_bin_rows": 5, "min_training_rows": 50}})
    with pytest.raises(PolicyRefused, match=r"By their weights the 1\d\d people who train count like 30, .*\(50\)"):
        half(f, "guest", table)


def test_a_host_s_columns_are_counted_against_the_rows_that_weigh() -> None:
    """Thirty rows do not hide their labels from four columns, one hundred and fifty do; only the guest knows."""
    f = federation()
    table = with_class_weights(people(200, WIDTHS[1]), (0.0, [1.0] * 15), (0.0, [1.0] * 15))
    alignments, options = align(f, table), TrainOptions(**TRAIN)
    roles = {p.name: (lambda run, name=p.name: train(run, alignments.get(name), options)) for p in f.roster}
    _, errors = f.play_out("train", roles)
    assert isinstance(errors["guest"], PolicyRefused)
    assert "host has 4 columns for 1" in errors["guest"].message
    assert "by their weights count like 30: " in errors["guest"].message
    assert {type(errors[name]) for name in errors if name != "guest"} <= {Stopped}
    assert not [
        name for name in f.objects(f.exchange) if "/train/" in name and name.split("/")[-3].startswith(("u", "d", "g"))
    ]


ANY = st.just(0.0) | st.floats(1e-100, 1e100)


@given(st.lists(st.lists(ANY, max_size=6), min_size=1, max_size=5), st.floats(1e-100, 1e100))
@settings(max_examples=60, deadline=None)
def test_effective_rows_of_parts_are_those_of_the_whole_in_any_unit(parts: list[list[float]], unit: float) -> None:
    merged = Weights()
    for part in parts:
        merged = merged.merge(Weights.of(np.array(part) * unit))
    whole = np.array([weight for part in parts for weight in part])
    assert merged.rows == len(whole)
    if len(whole) and whole.max() > 0.0:
        share = whole / whole.max()
        assert merged.effective in {int(share.sum() ** 2 / (share**2).sum() + slack) for slack in (1e-9, 1e-6, 1e-4)}
        assert merged.effective <= np.count_nonzero(whole)
    else:
        assert merged.effective == 0


def half(f: Federation, name: str, table: People, **changes: Any) -> Trained:
    options = TrainOptions(**{**TRAIN, **changes})
    return train(f.run(name, "train", patience=0.0), align(f, table)[name], options)


# ---- an earlier model as a start -------------------------------------------------------------------------------------


def earlier(f: Federation, table: People, label: str, **changes: Any) -> Federation:
    """The same parties in another run, with this run's model to start from."""
    other = f.next_run(label)
    other.results = play(other, table, warm_start={"run": f.label, **changes})  # type: ignore[attr-defined]
    return other


@pytest.mark.parametrize("hosts", [1, 2])
def test_an_earlier_model_of_the_same_rows_needs_hardly_a_round(hosts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    f, table = federation(hosts), people(80, WIDTHS[hosts])
    cold = play(f, table)
    warm: dict[str, Trained] = earlier(f, table, "again").results  # type: ignore[attr-defined]
    assert_optimum(warm, table, None)
    assert warm["guest"].rounds <= 3 < cold["guest"].rounds
    losses = [told["loss"] for told in warm["guest"].history]
    assert losses[0] == pytest.approx(np.log(2))
    assert losses[1] == pytest.approx(losses[-1], abs=1e-6)


def test_a_start_on_other_rows_ends_at_their_optimum_sooner_than_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    after = people(200, WIDTHS[1])
    before = People({party: x[:120] for party, x in after.features.items()}, after.label[:120])
    f = federation()
    play(f, before)
    warm: dict[str, Trained] = earlier(f, after, "moved").results  # type: ignore[attr-defined]
    cold = play(federation(), after)
    assert_optimum(warm, after, None)
    assert warm["guest"].history[1]["loss"] < cold["guest"].history[1]["loss"]


def test_columns_that_the_earlier_model_lacks_start_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    f, table = federation(), people(80, WIDTHS[1])
    play(f, table)
    renamed = replace(table, names={"guest": ["guest_0", "other", "guest_2"], "host": list("wxyz")})
    warm: dict[str, Trained] = earlier(f, renamed, "renamed").results  # type: ignore[attr-defined]
    assert_optimum(warm, renamed, None)


def test_a_start_that_leads_upwards_is_left_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    f, table = federation(), people(80, WIDTHS[1])
    play(f, replace(table, label=1.0 - table.label))
    warm: dict[str, Trained] = earlier(f, table, "turned").results  # type: ignore[attr-defined]
    assert warm["guest"].history[1]["alpha"] == 0.0
    assert_optimum(warm, table, None)


def test_a_start_that_is_not_there_is_named() -> None:
    f, table = federation(), people(60, WIDTHS[1])
    with pytest.raises(ConfigError, match="has not trained a model in run monday"):
        half(f, "guest", table, warm_start={"run": "monday"})


def test_parties_with_models_of_different_runs_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    f, table = federation(), people(60, WIDTHS[1])
    play(f, table, max_rounds=1)
    second = f.next_run("second")
    play(second, table, max_rounds=1)
    last = f.next_run("last")
    alignments = align(last, table)
    chosen = {"guest": "run", "host": "second", "arbiter": "run"}
    _, errors = last.play_out(
        "train",
        {
            name: lambda run, name=name, label=label: train(
                run, alignments.get(name), TrainOptions(**TRAIN, warm_start={"run": label})
            )
            for name, label in chosen.items()
        },
    )
    assert errors
    assert all(isinstance(error, Mismatch) and "different models" in error.message for error in errors.values())


# ---- warnings --------------------------------------------------------------------------------------------------------


def test_a_column_that_tells_the_classes_apart_is_named_and_its_weight_stays_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS[1])
    x = table.features["guest"].copy()
    x[:, 1] = np.where(table.label == 1, 5.0, -5.0) + np.random.default_rng(0).normal(size=80) / 10
    table = replace(table, features={**table.features, "guest": x})
    results = play(federation(), table)
    (apart, nearly) = results["guest"].warnings
    assert apart.startswith("guest_1: this column alone tells")
    assert "separable" in nearly
    assert results["host"].warnings == ()
    assert_optimum(results, table, None)


def test_columns_that_repeat_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS[1])
    x = table.features["host"].copy()
    x[:, 3] = x[:, 0] - 2 * x[:, 1] + 7.0
    table = replace(table, features={**table.features, "host": x})
    results = play(federation(), table)
    (repeated,) = results["host"].warnings
    assert "linear combinations" in repeated
    assert {"host_0", "host_1", "host_3"} & set(repeated.split(":")[0].split(", "))
    assert results["guest"].warnings == ()


def test_ordinary_data_is_no_reason_to_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    assert all(result.warnings == () for result in play(federation(), people(80, WIDTHS[1])).values())
