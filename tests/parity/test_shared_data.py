"""Federated equals published on the shared data sets, with their own split and nothing but defaults."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedspark.buckets import SparkRunner
from fedspark.crypto.hashing import split_fraction
from fedspark.psi.align import Alignment
from tests.parity import clear
from tests.parity.parties import Parties
from tests.parity.pooled import SALT, figures, fraction, join, optimum, ridge
from tests.parity.report import farthest, gap, tell
from tests.parity.shared import L2, NUMERIC, WITH_GAPS_OR_CATEGORIES, Shared, encode, load

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LONG_SECONDS = 1800.0  # default_credit takes seven to eight minutes of one core: four of two, ten where others work too
EVERY = NUMERIC + WITH_GAPS_OR_CATEGORIES


@pytest.mark.parametrize("name", EVERY)
def test_the_published_test_people_are_those_below_thirty_percent(shared_data: Path, name: str) -> None:
    data = load(shared_data, name)
    common = sorted(set(data.guest["id"]) & set(data.host["id"]))
    held_out = split_fraction(common, SALT) < clear.DEFAULTS.validation
    assert {person for person, out in zip(common, held_out, strict=True) if out} == data.test_ids
    assert {person for person in common if fraction(person) < 0.3} == data.test_ids
    assert (clear.DEFAULTS.split_salt, clear.DEFAULTS.validation, clear.DEFAULTS.l2) == (SALT, 0.3, L2)


@pytest.mark.parametrize("name", EVERY)
def test_the_optimiser_in_the_clear_finds_the_published_model(
    shared_data: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    data = load(shared_data, name)
    encoded = encode(data)
    found = clear.train(encoded.training, encoded.widths)
    best = optimum(encoded.training, L2)
    for expected in (encoded.weights, best, ridge(encoded.training, L2)):
        assert farthest(found.weights, expected) <= 1e-3
    z = encoded.training.scores(encoded.held_out, found.weights)
    auc = figures(encoded.held_out_label, z)["auc"]
    record_property("rounds", found.rounds)
    record_property("weights", farthest(found.weights, encoded.weights))
    assert abs(auc - data.auc) <= 0.001
    assert found.stop == "converged"
    assert found.rounds <= 25


class Federated:
    """One shared data set in the hands of two parties and an arbiter."""

    def __init__(self, data: Shared, **settings: Any) -> None:
        tables = data.tables()
        self.data, self.joined = data, join(tables)
        self.parties = Parties.meet(**settings)
        self.alignments: dict[str, Alignment] = self.parties.intersect(tables)

    def assert_parity(self, name: str, record_property: Callable[[str, object], None]) -> None:
        evaluated = self.parties.evaluate()
        measured = gap(self.parties, self.joined, evaluated)
        tell(record_property, name, measured, self.parties.seconds)
        assert self.data.own_columns == self.data.names
        assert farthest(self.parties.weights, self.data.weights) <= 1e-3
        assert abs(evaluated["auc"] - self.data.auc) <= 0.001
        assert evaluated["rows"] == len(self.data.test_ids)
        assert measured.weights <= 1e-3
        assert measured.weights_ridge <= 1e-3
        assert measured.auc <= 0.001
        assert measured.rounds <= 25


@pytest.mark.slow
def test_breast_hetero_federated_is_the_published_model(
    shared_data: Path, record_property: Callable[[str, object], None]
) -> None:
    federated = Federated(load(shared_data, "breast_hetero"))
    federated.parties.train()
    federated.assert_parity("breast_hetero", record_property)


@pytest.fixture(scope="module")
def default_credit(shared_data: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Federated:
    """30,000 people, intersected: eight parts as Spark tasks, so that both cores work."""
    base = str(tmp_path_factory.mktemp("default_credit"))
    data = load(shared_data, "default_credit_hetero")
    runner = {"runner": lambda: SparkRunner(lambda: spark), "base": base}
    return Federated(data, psi={"bucket_rows": 4096}, patience=LONG_SECONDS, **runner)


@pytest.mark.spark
@pytest.mark.slow
def test_default_credit_is_intersected_whole(default_credit: Federated) -> None:
    for alignment in default_credit.alignments.values():
        assert alignment.rows == len(default_credit.joined.ids)
        assert alignment.parts == 8


@pytest.mark.spark
@pytest.mark.slow
def test_default_credit_federated_is_the_published_model(
    default_credit: Federated, record_property: Callable[[str, object], None]
) -> None:
    faulthandler.dump_traceback_later(
        LONG_SECONDS, exit=True, file=sys.__stderr__
    )  # in place of pytest's, for this test
    default_credit.parties.train()
    default_credit.assert_parity("default_credit_hetero", record_property)
    rows = [default_credit.parties.part(name).rows for name in default_credit.parties.names]
    assert rows == [int(np.sum(default_credit.joined.training))] * 2
