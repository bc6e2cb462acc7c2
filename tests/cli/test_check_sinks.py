"""`fedspark check` of `scores`: steps that there are not, and sinks that would refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedspark.tables import sinks
from tests.example import Example, Outcome, fedspark
from tests.scoring import fake_writer
from tests.scoring.fake_writer import Server

SINK = {"kind": "mysql", "host": "h", "user": "u", "password": "env:P", "database": "d", "table": "t"}


@pytest.fixture
def example(tmp_path: Path) -> Example:
    return Example.make(tmp_path / "example")


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setitem(sinks.WRITERS, "mysql", "tests.scoring.fake_writer")
    monkeypatch.setattr(fake_writer, "server", Server())
    return fake_writer.server


def check(example: Example, name: str, scores: Any) -> Outcome:
    example.edit(name, scores=scores)
    outcome = fedspark("check", str(example.file(name)), str(example.file("pipeline")))
    assert "Traceback" not in outcome.err
    return outcome


def test_a_sink_that_would_take_the_scores_passes_and_was_asked(example: Example, server: Server) -> None:
    outcome = check(example, "hospital", {"predict": [SINK, {**SINK, "table": "u"}]})
    assert (outcome.code, outcome.err) == (0, "")
    assert "note:" not in outcome.out
    assert server.calls == ["t: check", "u: check"]


def test_a_sink_that_would_refuse_is_named_with_its_file_and_key(example: Example, server: Server) -> None:
    server.tables["t"] = "somebody's", []
    outcome = check(example, "hospital", {"predict": SINK})
    assert outcome.code == 78
    assert f"{example.file('hospital')}: scores.predict: Table t is there already. Name another." in outcome.said


def test_a_name_that_no_predict_step_has_is_a_note_with_the_nearest_one(example: Example, server: Server) -> None:
    outcome = check(example, "hospital", {"predcit": SINK})
    assert outcome.code == 0
    assert "note:" in outcome.out
    assert "scores.predcit serves no step" in outcome.out
    assert "did you mean 'predict'?" in outcome.out
    assert server.calls == []


def test_a_step_of_another_kind_has_no_scores(example: Example) -> None:
    outcome = check(example, "hospital", {"train": SINK})
    assert outcome.code == 78
    assert "scores.train: is no predict step of pipeline demo" in outcome.said


def test_a_host_gets_no_scores(example: Example, server: Server) -> None:
    example.edit("laboratory", role=None)
    outcome = check(example, "laboratory", {"predict": SINK})
    assert outcome.code == 0
    assert "scores.predict serves no step of these pipelines: we are no guest" in outcome.out
    assert server.calls == []
