"""How far apart the federated and the pooled model are: one record per comparison, printed and kept as properties."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tests.parity.parties import Parties
from tests.parity.pooled import Floats, Joined, Standardised, exact, figures, optimum, ridge


@dataclass(frozen=True)
class Gap:
    """Differences to the pooled optimum of the same objective, to scikit-learn's, and the one to exact logistic
    regression. ``auc`` values are of the people held out; ``weights`` is max |dw|, the intercept included.
    """

    rounds: int
    weights: float
    weights_ridge: float
    auc: float
    auc_federated: float
    auc_pooled: float
    auc_exact: float
    auc_to_exact: float
    log_loss_to_exact: float


def gap(parties: Parties, joined: Joined, evaluated: dict[str, Any]) -> Gap:
    """Compare what the parties found with what one owner of all columns finds."""
    data, l2 = Standardised.of(joined), parties.training.l2
    assert joined.label is not None
    held_out = ~joined.training
    x, label = joined.x[held_out], joined.label[held_out]
    best = optimum(data, l2)
    pooled, by_exact = (figures(label, data.scores(x, weights)) for weights in (best, exact(data, l2)))
    return Gap(
        rounds=parties.rounds,
        weights=farthest(parties.weights, best),
        weights_ridge=farthest(parties.weights, ridge(data, l2)),
        auc=abs(evaluated["auc"] - pooled["auc"]),
        auc_federated=evaluated["auc"],
        auc_pooled=pooled["auc"],
        auc_exact=by_exact["auc"],
        auc_to_exact=evaluated["auc"] - by_exact["auc"],
        log_loss_to_exact=evaluated["log_loss"] - by_exact["log_loss"],
    )


def farthest(found: Floats, expected: Floats) -> float:
    """max |dw|."""
    return float(np.max(np.abs(found - expected)))


def tell(
    record_property: Callable[[str, object], None], name: str, measured: Gap, parties: Parties, **beside: object
) -> None:
    """Into the test report, and on the terminal with -s or on failure; ``beside`` are figures of others."""
    seconds, cpu = ({step: round(value, 1) for step, value in each.items()} for each in (parties.seconds, parties.cpu))
    record = {**asdict(measured), **beside, "seconds": seconds, "cpu_seconds": cpu}
    for key, value in record.items():
        record_property(key, value)
    print(f"\n{name}: {json.dumps(record)}")
