"""Which sinks are looked at before a process of the guest runs anything."""

from __future__ import annotations

import io
from typing import Any

import pytest

from fedspark.conf import party_from
from fedspark.run import Progress, Run
from fedspark.steps.predict import check_before
from fedspark.tables import sinks
from tests.federation import Federation
from tests.scoring import fake_writer
from tests.scoring.fake_writer import Server

STEPS = (
    {"step": "load", "tables": ["people"]},
    {"step": "psi", "table": "people"},
    {"step": "predict", "table": "people", "model_run": "earlier"},
    {"step": "predict", "name": "again", "table": "people", "model_run": "earlier"},
)
SINK = {"kind": "mysql", "host": "h", "user": "u", "password": "env:P", "database": "d"}
SCORES = {"predict": {**SINK, "table": "t"}, "again": {**SINK, "table": "u"}}


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setitem(sinks.WRITERS, "mysql", "tests.scoring.fake_writer")
    monkeypatch.setattr(fake_writer, "server", Server())
    return fake_writer.server


def run_of(name: str = "guest", scores: Any = SCORES) -> Run:
    run = Federation(steps=STEPS, arbiter=False).run(name)
    content = run.party_conf.model_dump(include={"party", "identity", "workspace", "exchange"})
    tables = {"people": {"kind": "csv", "path": "people.csv", "id": ["first", "second"]}}
    conf = party_from({**content, "peers": {}, "tables": tables, "scores": scores}, directory="/")
    object.__setattr__(run, "party_conf", conf)
    return run


@pytest.mark.parametrize(
    ("only", "looked_at"),
    [(None, ["t", "u"]), ("load", ["t", "u"]), ("psi", []), ("predict", ["t"]), ("again", ["u"])],
)
def test_a_process_looks_at_the_sinks_that_it_will_need_and_the_first_one_at_all(
    server: Server, only: str | None, looked_at: list[str]
) -> None:
    check_before(run_of(), only)
    assert server.calls == [f"{table}: check" for table in looked_at]


def test_sinks_of_steps_that_are_done_are_left_alone(server: Server) -> None:
    run = run_of()
    run.workspace.create("steps/predict/done.json", b"{}")
    check_before(run, None)
    assert server.calls == ["u: check"]


def test_a_host_has_no_sinks(server: Server) -> None:
    check_before(run_of("host"), None)
    assert server.calls == []


def test_names_of_the_columns_are_known_to_the_sink_before_there_are_rows(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(fake_writer, "check", lambda target: seen.append(target.schema.names))
    check_before(run_of(), "predict")
    assert seen == [["first", "second", "score", "probability"]]


def test_a_name_that_no_predict_step_has_is_said() -> None:
    said = io.StringIO()
    run = run_of(scores={"predcit": SCORES["predict"]})
    object.__setattr__(run, "progress", Progress("guest", stream=said))
    check_before(run, None)
    assert "the party file has `scores` of predcit, no predict step of this pipeline" in said.getvalue()
