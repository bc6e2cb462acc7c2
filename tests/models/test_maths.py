from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.errors import Mismatch, TableError
from fedspark.models.vertical_lr import maths
from fedspark.models.vertical_lr.gradients import PRODUCTS, Decision, Lengths, State, Turn, decide
from fedspark.models.vertical_lr.maths import Majority, Moments

L2 = 0.003


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_moments_of_parts_are_the_moments_of_the_whole(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(size, 3)) * [1, 1e-3, 1e3] + [5, 0, -1e4] for size in sizes]
    whole = np.concatenate(parts)
    merged = maths.merged((Moments.of(part) for part in parts), 3)
    assert merged.rows == len(whole)
    if len(whole):
        np.testing.assert_allclose(merged.mean, whole.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(merged.deviation, whole.std(axis=0), rtol=1e-7, atol=1e-12)
        assert merged.low.tolist() == whole.min(axis=0).tolist()
        assert merged.high.tolist() == whole.max(axis=0).tolist()


@given(st.lists(st.lists(st.integers(0, 2), max_size=8), min_size=1, max_size=6))
def test_no_value_of_a_column_is_commoner_than_its_merged_summary_allows(parts: list[list[int]]) -> None:
    merged = Majority(0)
    for part in parts:
        merged = merged.merge(Majority.of(np.array(part, np.int16)))
    whole = [value for part in parts for value in part]
    for value in set(whole):
        assert whole.count(value) <= merged.at_most
        if 2 * whole.count(value) > len(whole):
            assert merged.value == value


def test_columns_that_repeat_others_are_named() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 3))
    x = np.column_stack([x, x[:, 0] - 2 * x[:, 2]])
    block = x.T @ x / 160
    assert len(maths.dependent_columns(block)) == 1
    with pytest.raises(TableError, match="linear combinations") as caught:
        maths.inverse_block(block, ["age", "income", "debt", "mixed"])
    assert {"age", "debt", "mixed"} & set(caught.value.message.rstrip(".").split(": ")[1].split(", "))
    np.testing.assert_allclose(
        maths.inverse_block(block + np.eye(4), list("abcd")) @ (block + np.eye(4)), np.eye(4), atol=1e-12
    )


def clear_training(
    widths: list[int], tolerance: float, rows: int = 200
) -> tuple[np.ndarray, np.ndarray, list[Decision]]:
    """The optimiser as the parties play it, without encryption: found weights, pooled optimum, decisions."""
    rng = np.random.default_rng(sum(widths))
    common = rng.normal(size=(rows, 2))
    x = np.column_stack([common @ rng.normal(size=(2, sum(widths))) + rng.normal(size=(rows, sum(widths)))])
    y = np.where(x @ rng.normal(size=x.shape[1]) + rng.normal(size=rows) > 0, 1.0, -1.0)
    hessian, b = x.T @ x / (4 * rows) + L2 * np.eye(x.shape[1]), x.T @ y / (2 * rows)
    slices = [slice(end - width, end) for width, end in zip(widths, np.cumsum(widths), strict=True)]
    inverses = [maths.inverse_block(hessian[s, s], ["?"] * (s.stop - s.start)) for s in slices]
    states, history = [State.start(np.zeros(width), rows) for width in widths], list[Decision]()
    while not (history and history[-1].stop):
        v = np.concatenate([state.trial for state in states])
        gradient, z = hessian @ v - b, x @ v
        turns = [
            Turn.of(state, gradient[s], inverse, first=not history)
            for state, s, inverse in zip(states, slices, inverses, strict=True)
        ]
        each = [turn.products(np.full(len(turn.hessian_p), L2)) for turn in turns]
        products = {name: sum(one[name] for one in each) for name in PRODUCTS}
        loss = float(np.mean(np.log(2) - y * z / 2 + z**2 / 8)) if len(widths) == 2 else None
        history.append(decide(products, loss, history, rows, 50, tolerance))
        states = [turn.update(history[-1].alpha, history[-1].beta) for turn in turns]
    return np.concatenate([state.w for state in states]), np.linalg.solve(hessian, b), history


@pytest.mark.parametrize("widths", [[3, 4], [1, 6], [2, 2, 3], [1, 2, 3, 4]])
def test_conjugate_gradients_over_parties_find_the_pooled_optimum(widths: list[int]) -> None:
    found, optimum, history = clear_training(widths, 1e-18)
    np.testing.assert_allclose(found, optimum, atol=1e-8)
    assert history[-1].stop in ("converged", "optimum")
    losses = [decision.loss for decision in history]
    assert losses == sorted(losses, reverse=True) or np.allclose(np.diff(losses).clip(0), 0, atol=1e-12)


def test_two_parties_need_at_most_twice_the_smaller_number_of_columns_and_one_round() -> None:
    _, _, history = clear_training([2, 9], 1e-14)
    assert len(history) - 1 <= 2 * 2 + 2


def test_with_several_hosts_the_loss_follows_from_its_decreases() -> None:
    _, _, history = clear_training([2, 2, 3], 1e-18)
    assert history[0].loss == math.log(2)
    assert history[-1].loss == pytest.approx(math.log(2) - sum(decision.decrease for decision in history), abs=1e-12)


def test_rounds_end_at_the_limit_and_at_an_exact_optimum() -> None:
    start = Decision(0.0, 0.0, "", 0.6, 0.0, 0.0)
    products = dict.fromkeys(PRODUCTS, 1.0) | {"penalty": 0.0}
    assert decide(products, None, [start], 100, 1, 1e-9).stop == "max_rounds"
    assert decide(products, None, [start], 100, 2, 1e-9).stop == ""
    assert decide(dict.fromkeys(PRODUCTS, 0.0), None, [start], 100, 9, 1e-9).stop == "optimum"


@pytest.mark.parametrize("change", [{"residual_p": 0.5}, {"penalty": 0.3}, {"p_hessian_p": math.nan}])
def test_sums_that_contradict_the_loss_are_refused(change: dict[str, float]) -> None:
    start = Decision(0.0, 0.0, "", 0.6, 0.0, 0.0)
    products = dict.fromkeys(PRODUCTS, 0.1) | {"penalty": 0.0}
    trial_loss = 0.6 - 0.1 + 0.05
    assert decide(products, trial_loss, [start], 100, 9, 1e-9).alpha == 1.0
    with pytest.raises(Mismatch, match="do not fit together"):
        decide(products | change, trial_loss, [start], 100, 9, 1e-9)


def test_states_survive_a_checkpoint_exactly() -> None:
    rng = np.random.default_rng(5)
    slices = (rng.normal(size=3) * 10.0 ** rng.integers(-300, 300, 3) for _ in range(4))
    state = State(*slices, Lengths(3, 1 / 3, 0.1))
    again = State.from_json(state.to_json())
    assert all(getattr(again, name).tobytes() == getattr(state, name).tobytes() for name in ("w", "r", "z", "p"))
    assert again.lengths == state.lengths
