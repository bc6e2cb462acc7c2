"""The optimiser in the clear on columns that nearly repeat those of other parties, against one linear system."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.models.vertical_lr.encoding import X_MOST
from tests.parity import clear
from tests.parity.pooled import Floats, Standardised, optimum, ridge

PROBLEMS = {
    "widths": st.lists(st.integers(1, 6), min_size=2, max_size=4),
    "closeness": st.floats(0.0, 4.0),  # decimal digits in which all columns agree, up to a mixture of two
    "strength": st.floats(1.0, 3.0),  # l2 from 1e-3 to 1e-1
    "rows": st.integers(60, 200),
    "seed": st.integers(0, 2**32 - 1),
}


def problem(columns: int, closeness: float, rows: int, seed: int) -> Standardised:
    """Two long-tailed common causes, mixed into every column, plus a little of its own; encoded as a party does it."""
    random = np.random.default_rng(seed)
    causes = random.normal(size=(rows, 2)) ** 3
    x = causes @ random.normal(size=(2, columns)) + 10.0**-closeness * random.normal(size=(rows, columns))
    y = np.where(x[:, 0] + random.normal(size=rows) > 0, 1.0, -1.0)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    unit = np.abs(x).max(axis=0) / X_MOST
    return Standardised(np.rint(x / unit) * unit, y, np.zeros(columns), np.ones(columns))


def objective(data: Standardised, weights: Floats, l2: float) -> float:
    z = data.x @ weights[:-1] + weights[-1]
    return float(np.mean(np.log(2) - data.y * z / 2 + z**2 / 8) + l2 / 2 * weights[:-1] @ weights[:-1])


@given(**PROBLEMS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_columns_that_nearly_repeat_each_other_end_at_the_pooled_optimum(
    widths: list[int], closeness: float, strength: float, rows: int, seed: int
) -> None:
    data, l2 = problem(sum(widths), closeness, rows, seed), 10.0**-strength
    options = clear.DEFAULTS.model_copy(update={"l2": l2, "tolerance": 1e-14, "max_rounds": 500})
    found = clear.train(data, {str(party): width for party, width in enumerate(widths)}, options)
    best = optimum(data, l2)
    np.testing.assert_allclose(best, ridge(data, l2), rtol=0, atol=1e-7)
    assert objective(data, found.weights, l2) - objective(data, best, l2) <= 1e-10
    np.testing.assert_allclose(found.weights, best, rtol=0, atol=1e-3)
    losses = [decision.loss for decision in found.history]
    assert np.diff(losses).max() <= 1e-7  # scores are rounded, and the loss is that of rounded scores
    assert abs(losses[-1] - objective(data, found.weights, l2)) <= 1e-7


def test_one_person_far_from_all_others_among_many_fits_the_encoding_in_every_round() -> None:
    rows, share = 2**18, 0.5  # of the variance of a column at either party, which that person alone makes up
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 4))
    x[:, 2] += x[:, 0]
    y = np.where(x[:, 0] + x[:, 2] + random.normal(size=rows) > 0, 1.0, -1.0)
    x[0, [1, 3]] = np.sqrt(share / (1 - share) * rows)
    data = Standardised((x - x.mean(axis=0)) / x.std(axis=0), y, np.zeros(4), np.ones(4))
    found = clear.train(data, {"guest": 2, "host": 2})
    assert found.stop == "converged"
    assert found.rounds <= 8
    np.testing.assert_allclose(found.weights, optimum(data, clear.DEFAULTS.l2), rtol=0, atol=1e-4)
