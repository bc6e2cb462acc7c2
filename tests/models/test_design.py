from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from fedspark.errors import PolicyRefused, TableError
from fedspark.models.split import Rows, Split
from fedspark.models.vertical_lr import design, maths
from fedspark.models.vertical_lr.design import Design
from tests.federation import Federation
from tests.models.aligned import SALT, STEPS, People, Twice, align, people

SPLIT = Split(SALT, 0.25)
WIDTHS = {"guest": 2, "host": 3}


def build(table: People, party: str = "guest", limit: int = 5, l2: float = 0.01, **how: int) -> Design:
    federation = Federation(steps=STEPS, policy={name: {"min_bin_rows": limit} for name in WIDTHS})
    alignment = align(federation, table, **how)[party]
    return design.build(federation.run(party, "train"), alignment, SPLIT, l2)


def changed(change: Callable[[np.ndarray], None], party: str = "guest") -> People:
    table = people(60, WIDTHS)
    x = table.features[party].copy()
    change(x)
    return replace(table, features={**table.features, party: x})


def test_statistics_and_matrix_are_those_of_the_training_rows_alone() -> None:
    table = people(80, WIDTHS)
    built = build(table)
    x = table.features["guest"][table.training(0.25)]
    np.testing.assert_allclose([column.mean for column in built.columns], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose([column.scale for column in built.columns], x.std(axis=0), rtol=1e-12)
    assert built.total == len(x)
    read = [design.read_design_part(built.files, part) for part in range(built.parts)]
    quantised = np.concatenate([matrix.x for matrix in read])
    assert quantised.dtype == np.int16
    assert np.abs(quantised).max(axis=0).tolist() == [32767] * 2
    assert built.sums == tuple(quantised.sum(axis=0).tolist())
    standard = np.column_stack([(x - x.mean(axis=0)) / x.std(axis=0), np.ones(len(x))])
    np.testing.assert_allclose(
        np.sort(quantised[:, 0] * built.units[0]), np.sort(standard[:, 0]), rtol=0, atol=0.51 * built.units[0]
    )
    hessian = standard.T @ standard / (4 * len(x)) + np.diag([0.01, 0.01, 0.0])
    np.testing.assert_allclose(built.inverse @ hessian, np.eye(3), atol=1e-4)
    assert all(matrix.weights is None for matrix in read)
    y = np.concatenate([matrix.y for matrix in read])
    assert int(y.sum()) == int((2 * table.label[table.training(0.25)] - 1).sum())


def test_both_sides_see_the_same_people_in_the_same_order_in_however_many_parts() -> None:
    table = people(60, WIDTHS)
    guest, host = build(table, "guest"), build(table, "host")
    assert (guest.order, guest.rows) == (host.order, host.rows)
    assert build(table, parts=2).order != guest.order
    assert host.penalty.tolist() == [0.01] * 3
    assert guest.penalty.tolist() == [0.01, 0.01, 0.0]


def test_training_and_validation_people_are_all_people() -> None:
    keys = [f"person-{row}" for row in range(500)]
    chosen = {rows: SPLIT.choose(pa.array(keys), rows) for rows in Rows}
    assert (chosen[Rows.TRAINING] ^ chosen[Rows.VALIDATION]).all()
    assert chosen[Rows.ALL].all()
    assert 0.2 < chosen[Rows.VALIDATION].mean() < 0.3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_and_infinite_values_are_refused_with_column_and_count(value: float) -> None:
    def spoil(x: np.ndarray) -> None:
        x[:, 1] = value

    with pytest.raises(TableError, match=r"missing or infinite values.*guest_1 \(\d+\)"):
        build(changed(spoil))


def test_a_constant_feature_is_refused_by_name() -> None:
    def spoil(x: np.ndarray) -> None:
        x[:, 2] = 4.0

    with pytest.raises(TableError, match=r"one value only.*host_2"):
        build(changed(spoil, "host"), "host")


def test_values_without_a_finite_variance_are_refused_by_name() -> None:
    def spoil(x: np.ndarray) -> None:
        x[:, 0] = 1e300 * np.where(np.arange(len(x)) % 2, 1, -1)

    with pytest.raises(TableError, match="guest_0 are so large"):
        build(changed(spoil))


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_only_is_refused(label: float) -> None:
    table = people(60, WIDTHS)
    with pytest.raises(TableError, match=f"have label {label:.0f}; both classes"):
        build(replace(table, label=np.full(60, label)))


def test_a_rare_class_is_refused_because_a_hosts_gradient_would_show_whose_it_is() -> None:
    table = people(60, WIDTHS)
    training = np.flatnonzero(table.training(0.25))
    label = np.zeros(60)
    label[training[:4]] = 1.0
    with pytest.raises(PolicyRefused, match=r"Only 4 training rows have label 1.*min_bin_rows \(5\)"):
        build(replace(table, label=label))
    label[training[4]] = 1.0
    assert build(replace(table, label=label)).total == len(training)


def test_labels_other_than_0_and_1_are_refused() -> None:
    table = people(60, WIDTHS)
    with pytest.raises(TableError, match="neither 0 nor 1"):
        build(replace(table, label=table.label + 1))


def test_a_guest_without_a_label_is_refused() -> None:
    with pytest.raises(TableError, match="no label"):
        build(people(60, WIDTHS), label=False)


def test_more_features_than_rows_are_refused() -> None:
    with pytest.raises(TableError, match="30 features for"):
        build(people(30, {"guest": 2, "host": 30}), "host")


def test_a_column_in_which_one_person_outweighs_all_others_is_refused() -> None:
    person = np.flatnonzero(people(60, WIDTHS).training(0.25))[7]

    def spoil(x: np.ndarray) -> None:
        x[person, 2] = 1e4

    with pytest.raises(PolicyRefused, match=r"outweighs all others in host_2:"):
        build(changed(spoil, "host"), "host")
    assert build(changed(spoil, "host"), "host", limit=1).width == 3


def test_a_column_that_differs_for_few_people_is_refused_and_one_for_enough_is_not() -> None:
    training = np.flatnonzero(people(60, WIDTHS).training(0.25))

    def rare(count: int) -> Callable[[np.ndarray], None]:
        def spoil(x: np.ndarray) -> None:
            x[:, 1] = -3.0
            x[training[:count], 1] = np.arange(count) + 1.0

        return spoil

    with pytest.raises(PolicyRefused, match=r"commonest value.*guest_1 \(4\).*min_bin_rows"):
        build(changed(rare(4)))
    assert build(changed(rare(5))).width == 3


def test_outliers_that_leave_all_others_equal_after_rounding_make_a_rare_column() -> None:
    training = np.flatnonzero(people(60, WIDTHS).training(0.25))

    def spoil(x: np.ndarray) -> None:
        x[training[:2], 0] = 1e12

    with pytest.raises(PolicyRefused, match=r"guest_0 \(2\)"):
        build(changed(spoil))


def test_too_few_training_people_are_refused() -> None:
    with pytest.raises(PolicyRefused, match="fewer than twice min_bin_rows"):
        build(people(60, WIDTHS), limit=25)


def test_fewer_training_people_than_the_partys_own_limit_are_refused() -> None:
    federation = Federation(steps=STEPS, policy={"guest": {"min_bin_rows": 5, "min_training_rows": 100}})
    alignment = align(federation, people(60, WIDTHS))["guest"]
    with pytest.raises(PolicyRefused, match=r"fewer than min_training_rows \(100\)"):
        design.build(federation.run("guest", "train"), alignment, SPLIT, 0.01)


@pytest.mark.parametrize("parts", [1, 3])
def test_columns_of_which_a_combination_singles_out_one_person_are_refused(parts: int) -> None:
    person = np.flatnonzero(people(60, WIDTHS).training(0.25))[7]

    def spoil(x: np.ndarray) -> None:
        x[:, 1] = x[:, 0]
        x[person, 1] += 0.5

    with pytest.raises(PolicyRefused, match=r"singles out one of \d+ training rows \(leverage (1\.000|0\.99)"):
        build(changed(spoil, "host"), "host", parts=parts)
    assert build(changed(spoil, "host"), "host", limit=1, parts=parts).width == 3


def test_leverage_is_that_of_the_textbook(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []
    monkeypatch.setattr(design.limits, "check_leverage", lambda largest, rows: measured.append(largest))
    table = people(60, WIDTHS)
    build(table, "host", parts=3)
    x = table.features["host"][table.training(0.25)]
    x = np.column_stack([np.ones(len(x)), x])
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    assert measured == [pytest.approx(np.diag(hat).max(), abs=1e-4)]


def test_a_part_task_that_runs_twice_writes_the_same_bytes() -> None:
    federation = Federation(steps=STEPS, policy={"guest": {"min_bin_rows": 5}})
    alignment = align(federation, people(60, WIDTHS))["guest"]
    run = federation.run("guest", "train")
    twice = replace(run, runner=Twice())
    built = design.build(twice, alignment, SPLIT, 0.01)
    assert built.total == design.build(run, alignment, SPLIT, 0.01).total


def test_columns_without_penalty_that_repeat_each_other_are_named() -> None:
    def spoil(x: np.ndarray) -> None:
        x[:, 1] = 2 * x[:, 0]

    with pytest.raises(TableError, match="linear combinations of the others"):
        build(changed(spoil), l2=0.0)
    assert maths.gram(np.zeros((0, 2), np.int32)).shape == (2, 2)


def test_values_too_small_to_be_standardised_are_refused_by_name() -> None:
    def spoil(x: np.ndarray) -> None:
        x[:, 1] = 1e-200 * x[:, 1]

    with pytest.raises(TableError, match=r"Values of guest_1 differ by so little"):
        build(changed(spoil))


def test_values_as_small_or_as_far_away_as_doubles_allow_are_standardised() -> None:
    def spread(x: np.ndarray) -> None:
        x[:, 0] = 1e-140 * x[:, 0]
        x[:, 1] = 1e9 + x[:, 1]

    plain, spoilt = build(people(60, WIDTHS)), build(changed(spread))
    np.testing.assert_allclose(spoilt.units, plain.units, rtol=1e-6)
    np.testing.assert_allclose(spoilt.inverse, plain.inverse, rtol=1e-3)
