"""What a train step tells people in its record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedspark.conf import TrainOptions
from fedspark.steps import train
from tests.federation import Federation
from tests.models.aligned import STEPS, TRAIN, People, align, people
from tests.models.clear_engine import without_secrecy

WIDTHS = {"guest": 3, "host": 4}


def records(table: People, **changes: Any) -> dict[str, dict[str, Any]]:
    settings = {**TRAIN, "max_rounds": 3, **changes}
    steps = (*STEPS[:2], settings)
    f = Federation(steps=steps, policy={name: {"min_bin_rows": 5} for name in WIDTHS})
    for name, alignment in align(f, table).items():
        f.run(name, "psi").once("psi/alignment", alignment.to_json)
    options = TrainOptions(**settings)
    f.play("train", dict.fromkeys([p.name for p in f.roster], lambda run: train.run_step(run, options)))
    found = {p.name: f.run(p.name).read_record("train") for p in f.roster}
    assert all(found.values())
    return {name: record for name, record in found.items() if record}


def test_warnings_stand_in_the_record_of_whom_they_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS)
    x = table.features["host"].copy()
    x[:, 2] = 3 * x[:, 0]
    found = records(replace(table, features={**table.features, "host": x}))
    assert "\n\nWarning. host_" in found["host"]["text"]
    assert "Warning" not in found["guest"]["text"] + found["arbiter"]["text"]


def test_how_classes_weigh_stands_among_the_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    without_secrecy(monkeypatch)
    table = people(80, WIDTHS)
    assert "class weight" not in records(table)["guest"]["facts"]
    assert records(table, class_weight="balanced")["guest"]["facts"]["class weight"] == "balanced"
    weighted = replace(table, weight=np.arange(1.0, 81.0))
    assert records(weighted)["guest"]["facts"]["rows"] == "weighted"
    assert "rows" not in records(table)["guest"]["facts"]
