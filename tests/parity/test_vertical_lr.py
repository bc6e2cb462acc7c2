"""Vertical logistic regression against the pooled optimum of the same objective, on real tables.

All messages, part tasks and checks are the real ones; only the encryption is replaced by plaintexts, so that tens of
thousands of rows train in seconds (tests/models shows that the weights are the same with it, bit by bit).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from fedspark.conf.options import TrainOptions
from fedspark.models.vertical_lr import Trained, train
from tests.federation import Federation
from tests.models.aligned import STEPS, Floats, People, align, pooled_optimum
from tests.models.clear_engine import without_secrecy

SHARE, L2 = 0.3, 0.001
OPTIONS = TrainOptions(table="people", l2=L2, validation=SHARE)


def breast_cancer() -> People:
    data = load_breast_cancer()
    return People({"guest": data.data[:, :10], "host": data.data[:, 10:]}, data.target.astype(float))


def shared(folder: Path) -> People:
    """The people that both files hold."""
    guest_names, guest = read(folder / "guest.csv")
    host_names, host = read(folder / "host.csv")
    common = sorted(guest.keys() & host.keys())
    left, right = np.array([guest[key] for key in common]), np.array([host[key] for key in common])
    label = guest_names.index("y")
    features = {"guest": np.delete(left, label, axis=1), "host": right}
    return People(features, left[:, label], {"host": host_names})


def read(path: Path) -> tuple[list[str], dict[str, list[float]]]:
    with path.open(newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        at = header.index("id")
        values = {row[at]: [float(cell) for index, cell in enumerate(row) if index != at] for row in rows}
    return [name for name in header if name != "id"], values


def federated(table: People, monkeypatch: pytest.MonkeyPatch) -> dict[str, Trained]:
    without_secrecy(monkeypatch)
    federation = Federation(steps=(*STEPS[:2], {"step": "train", "table": "people"}))
    alignments = align(federation, table)
    roles = {p.name: (lambda run, name=p.name: train(run, alignments.get(name), OPTIONS)) for p in federation.roster}
    return federation.play("train", roles)


def check(table: People, results: dict[str, Trained], most_rounds: int) -> None:
    optimum, intercept = pooled_optimum(table, SHARE, L2)
    found = {}
    for party, weights in optimum.items():
        part = results[party].part
        assert part is not None
        found[party] = np.array([feature.weight for feature in part.features])
        np.testing.assert_allclose(found[party], weights, atol=1e-3)
    assert results["guest"].stop == "converged"
    assert results["guest"].rounds <= most_rounds
    validation = ~table.training(SHARE)
    ours, pooled = (scores(table, weights, intercept)[validation] for weights in (found, optimum))
    difference = roc_auc_score(table.label[validation], ours) - roc_auc_score(table.label[validation], pooled)
    assert abs(difference) <= 1e-3


def scores(table: People, weights: dict[str, Floats], intercept: float) -> Floats:
    training = table.training(SHARE)
    z = np.full(len(table.label), intercept)
    for party, x in table.features.items():
        z += (x - x[training].mean(axis=0)) / x[training].std(axis=0) @ weights[party]
    return z


def test_breast_cancer_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    table = breast_cancer()
    check(table, federated(table, monkeypatch), most_rounds=25)


@pytest.mark.parametrize(("name", "most_rounds"), [("breast_hetero", 25), ("default_credit_hetero", 11)])
def test_shared_tables(shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, most_rounds: int) -> None:
    table = shared(shared_data / name)
    check(table, federated(table, monkeypatch), most_rounds)
