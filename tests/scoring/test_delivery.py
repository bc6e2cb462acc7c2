"""Scores reach every sink once, whoever dies or refuses on the way."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf.tables import MysqlSink
from fedspark.errors import StoreError
from fedspark.run import Run, Workspace
from fedspark.scoring import ScoreFiles, check_sinks, deliver, sink_schema
from fedspark.scoring.delivery import id_type, typed
from fedspark.tables import sinks
from tests.scoring import fake_writer, given_scores
from tests.scoring.fake_writer import Server
from tests.scoring.given_scores import COUNTS, expected, guest, with_scores, written

IDS = {"person": "bigint"}


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setitem(sinks.WRITERS, "mysql", "tests.scoring.fake_writer")
    monkeypatch.setattr(fake_writer, "server", Server())
    return fake_writer.server


def sink(table: str = "t", **more: Any) -> dict[str, Any]:
    return {"kind": "mysql", "host": "h", "user": "u", "password": "env:P", "database": "d", "table": table, **more}


def rows(server: Server, table: str = "t") -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in server.tables[table][1])


def test_all_rows_arrive_and_nothing_else_is_left(server: Server) -> None:
    run = guest({"predict": [sink("t"), sink("u")], "other": sink("v")})
    delivered = deliver(run, written(run), IDS)
    assert [(one.place, one.rows) for one in delivered] == [("mysql://h:3306/d/t", 705), ("mysql://h:3306/d/u", 705)]
    assert rows(server, "t") == rows(server, "u") == expected(integers=True)
    assert server.tables.keys() == {"t", "u"}
    assert server.staged == {}


def test_who_is_killed_at_any_moment_goes_on_and_rows_are_there_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = guest({"predict": sink()})
    files, died = written(run), set()

    def die_once(moment: str) -> None:
        if moment not in died:
            died.add(moment)
            raise KeyboardInterrupt

    server.interrupt = die_once
    create = Workspace.create

    def dying_create(workspace: Workspace, path: str, data: bytes) -> bool:
        die_once(f"before {path}")
        created = create(workspace, path, data)
        die_once(f"after {path}")
        return created

    monkeypatch.setattr(Workspace, "create", dying_create)
    seen: list[int] = []
    while True:
        try:
            delivered = deliver(run, files, IDS)
            break
        except KeyboardInterrupt:
            seen.append(len(server.tables["t"][1]) if "t" in server.tables else -1)
    assert set(seen) == {-1, 705}  # never a part of them
    assert len(seen) == len(died) == 2 * (1 + len(COUNTS) + 1 + 1) + 4
    assert [one.rows for one in delivered] == [705]
    assert rows(server) == expected(integers=True)
    assert server.staged == {}


def test_a_sink_that_refuses_leaves_the_others_alone_and_the_next_attempt_to_itself(server: Server) -> None:
    server.tables["t"] = "somebody's", []
    run = guest({"predict": [sink("t"), sink("u")]})
    files = written(run)
    with pytest.raises(StoreError, match=r"Table t is there already\. Name another\."):
        deliver(run, files, IDS)
    assert rows(server, "u") == expected(integers=True)
    assert server.tables["t"] == ("somebody's", [])
    server.calls.clear()
    with_scores(run, {"predict": [sink("t", if_exists="replace"), sink("u")]})
    assert [one.rows for one in deliver(run, files, IDS)] == [705, 705]
    assert rows(server, "t") == expected(integers=True)
    assert {call.partition(":")[0] for call in server.calls} == {"t"}


def test_all_sinks_that_refuse_are_named_at_once(server: Server) -> None:
    server.tables |= {"t": ("x", []), "u": ("x", [])}
    run = guest({"predict": [sink("t"), sink("u")]})
    with pytest.raises(StoreError, match=r"Table t is there .*\nTable u is there "):
        deliver(run, written(run), IDS)


def test_what_another_process_has_finished_and_cleared_meanwhile_is_done(server: Server) -> None:
    run = guest({"predict": sink()})
    files = written(run)

    def overtake(moment: str) -> None:
        if moment == "t: part 2":
            server.interrupt = lambda moment: None
            deliver(run, files, IDS)

    server.interrupt = overtake
    assert [one.rows for one in deliver(run, files, IDS)] == [705]
    assert rows(server) == expected(integers=True)
    assert server.staged == {}


def test_scores_of_another_run_are_another_write(server: Server) -> None:
    for label in ("run", "next"):
        run = guest({"predict": sink(if_exists="replace")}, label=label)
        deliver(run, written(run), IDS)
        assert server.calls.count("t: finished") == ("run", "next").index(label) + 1


def test_sinks_are_looked_at_before_and_those_that_have_finished_are_not(server: Server) -> None:
    server.tables["t"] = "somebody's", []
    run = guest({"predict": [sink("t"), sink("u")]})
    with pytest.raises(StoreError, match="Table t is there already"):
        check_sinks(run, ["person"])
    del server.tables["t"]
    check_sinks(run, ["person"])
    deliver(run, written(run), IDS)
    server.calls.clear()
    check_sinks(run, ["person"])
    assert server.calls == []


def test_ids_that_are_no_integers_after_all_are_refused_without_being_shown(server: Server) -> None:
    run = guest({"predict": sink()})
    files = broken_ids(run)
    with pytest.raises(StoreError, match="ids of column 'person' are no integers of 64 bits") as caught:
        deliver(run, files, IDS)
    assert "secret" not in str(caught.value)
    assert "t" not in server.tables
    assert [one.rows for one in deliver(with_scores(run, {"predict": sink("u")}), files, {"person": "text"})] == [705]


def broken_ids(run: Run) -> ScoreFiles:
    whole = given_scores.part

    def part(number: int, id_names: tuple[str, ...] = ("person",)) -> pa.Table:
        table = whole(number, id_names)
        return table.set_column(0, "person", pa.array([f"secret{n}" for n in range(table.num_rows)], pa.string()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(given_scores, "part", part)
        return written(run)


def test_integers_that_were_read_as_text_are_integers() -> None:
    column = pa.chunked_array([[" 007", "+8", "-9\u00a0"]])
    assert typed(column, pa.field("n", pa.int64()), "here").to_pylist() == [7, 8, -9]


@pytest.mark.parametrize(
    ("words", "integer"),
    [
        ("bigint", True), ("int", True), ("smallint", True), ("integer", True), ("bigint(20)", True),
        ("int(10) unsigned", True), ("INT UNSIGNED", True), ("bigint(20) unsigned", False), ("BIGINT UNSIGNED", False),
        ("Int64", True), ("Nullable(Int64)", True), ("LowCardinality(Nullable(UInt32))", True), ("UInt64", False),
        ("Int128", False), ("decimal(18,0)", True), ("Decimal(9, 0)", True), ("decimal(19,0)", False),
        ("decimal(10,2)", False), ("string", False), ("text", False), ("date", False), ("varchar(9)", False),
        ("", False), ("interval", False),
    ],
)  # fmt: skip
def test_types_of_ids_that_fit_64_bits_are_kept(words: str, integer: bool) -> None:
    assert id_type(words) == (pa.int64() if integer else pa.string())


def test_columns_of_a_sink_have_names_of_their_own() -> None:
    ids = {"run": "text", "score": "bigint", "person": "date"}
    assert sink_schema(MysqlSink(**sink()), ids).names == ["run", "id.score", "person", "score", "probability"]
    appended = sink_schema(MysqlSink(**sink(if_exists="append")), ids)
    assert appended.names == ["id.run", "id.score", "person", "score", "probability"]
    assert [field.nullable for field in appended] == [False, False, False, True, True]
    assert appended.field("id.score").type == pa.int64()


def test_every_writer_of_the_registry_offers_what_the_protocol_says() -> None:
    wanted = [name for name in vars(sinks.Writer) if re.fullmatch(r"[a-z][a-z_]*", name)]
    assert set(wanted) >= {"target", "check", "begin", "write_part", "finish", "clear"}
    for module in sinks.WRITERS.values():
        assert [name for name in wanted if not callable(getattr(import_module(module), name, None))] == []
