"""Rows written to a real ClickHouse: all at once, and once, whatever is repeated or lost."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf.tables import ClickHouseSink
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.tables.clickhouse import sink as writer
from fedspark.tables.clickhouse.destination import Sink
from fedspark.tables.clickhouse.sink import begin, check, clear, finish, write_part
from fedspark.tables.clickhouse.sql import quoted
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.proxy import Proxy

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("score", pa.float64())])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PAUSES", (0.0, 0.0))


@pytest.fixture
def server(clickhouse: ClickHouse) -> ClickHouse:
    """The server, without the table and without what tests before left of it."""
    for (name,) in clickhouse.execute("SELECT name FROM system.tables WHERE database = 'default'"):
        clickhouse.execute(f"DROP TABLE {quoted(name)}")
    return clickhouse


def sink(server: ClickHouse, schema: pa.Schema = SCHEMA, **more: Any) -> Sink:
    return Sink.of(ClickHouseSink(**server.conf(**{"table": "scores", **more})), Path(), schema, "run1", "Mon'day")


def rows(part: int, count: int = 3) -> pa.Table:
    ids = [f"p{part}-{number}" for number in range(count)]
    return pa.table(
        {"id": ids, "score": [None if number == 0 else number / 4 for number in range(count)]}, schema=SCHEMA
    )


def content(server: ClickHouse, table: str = "scores") -> list[tuple[Any, ...]]:
    return sorted(server.execute(f"SELECT * FROM {quoted(table)}"))


def expected(*parts: int, count: int = 3) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for part in parts for row in rows(part, count).to_pylist())


def content_of_run(server: ClickHouse) -> list[tuple[Any, ...]]:
    return sorted(server.execute("SELECT id, score FROM scores"))


def tables(server: ClickHouse) -> list[str]:
    return sorted(name for (name,) in server.execute("SELECT name FROM system.tables WHERE database = 'default'"))


def test_rows_are_visible_when_all_parts_are_there(server: ClickHouse) -> None:
    target = sink(server)
    for part in (2, 0):
        write_part(target, rows(part), part)
    with pytest.raises(StoreError, match="of 3 parts 1 were not written, part 1"):
        finish(target, [3, 0, 3])
    assert "scores" not in tables(server)
    write_part(target, rows(1, 0), 1)
    finish(target, [3, 0, 3])
    assert content(server) == expected(0, 2)
    clear(target)
    assert tables(server) == ["scores"]


@pytest.mark.parametrize("if_exists", ["refuse", "replace", "append"])
def test_what_is_repeated_adds_nothing(server: ClickHouse, if_exists: str) -> None:
    target = sink(server, if_exists=if_exists)
    for _ in range(3):
        assert write_part(target, rows(0), 0) == 3
    for _ in range(3):
        finish(target, [3])
    assert content_of_run(server) == expected(0)


def test_two_attempts_at_once_leave_one_part(server: ClickHouse) -> None:
    target = sink(server)
    attempts = [threading.Thread(target=write_part, args=(target, rows(0, 20_000), 0)) for _ in range(3)]
    for attempt in attempts:
        attempt.start()
    for attempt in attempts:
        attempt.join()
    assert tables(server) == ["fedspark_run1_part_0"]
    finish(target, [20_000])
    assert content(server) == expected(0, count=20_000)


def test_a_table_that_is_there_keeps_its_structure_and_gets_other_rows(server: ClickHouse) -> None:
    columns = "score Nullable(Float64), day Date DEFAULT '2026-01-01', id LowCardinality(String)"
    server.execute(f"CREATE TABLE scores ({columns}) ENGINE = MergeTree PARTITION BY day ORDER BY id")
    server.execute("INSERT INTO scores (id, score) SELECT 'old', 9")
    target = sink(server, if_exists="replace")
    write_part(target, rows(0), 0)
    assert server.execute("SELECT id, score FROM scores") == [("old", 9.0)]
    finish(target, [3])
    assert content_of_run(server) == expected(0)
    assert server.execute("SELECT partition_key, sorting_key FROM system.tables WHERE name = 'scores'") == [
        ("day", "id")
    ]


def test_a_table_that_is_there_is_kept_unless_it_may_be_replaced(server: ClickHouse) -> None:
    target = sink(server)
    write_part(target, rows(0), 0)
    server.execute("CREATE TABLE scores (id String, score Nullable(Float64)) ENGINE = Memory")
    for attempt in (
        lambda: check(target),
        lambda: begin(target),
        lambda: write_part(target, rows(1), 1),
        lambda: finish(target, [3]),
    ):
        with pytest.raises(TableError, match="it is there already"):
            attempt()
    assert content(server) == []


def test_rows_of_other_runs_stay_and_those_of_the_same_run_are_replaced(server: ClickHouse) -> None:
    first, second = sink(server, if_exists="append"), replace(sink(server, if_exists="append"), tag="b", run="Tues")
    for target, part, count in ((first, 0, 5), (second, 1, 3), (replace(first, tag="c"), 2, 4)):
        check(target)
        begin(target)
        finish(target, [write_part(target, rows(part, count), 0)])
        clear(target)
    kept = server.execute("SELECT run, count(), min(id) FROM scores GROUP BY run ORDER BY run")
    assert kept == [("Mon'day", 4, "p2-0"), ("Tues", 3, "p1-0")]
    nobody = replace(first, tag="d")
    finish(nobody, [write_part(nobody, rows(0, 0), 0)])
    assert server.execute("SELECT DISTINCT run FROM scores") == [("Tues",)]
    clear(nobody)
    assert tables(server) == ["scores"]


def test_a_row_without_a_value_that_the_table_needs_is_refused_when_its_part_is_written(server: ClickHouse) -> None:
    server.execute(
        "CREATE TABLE scores (id String, score Float64, run String) ENGINE = MergeTree PARTITION BY run ORDER BY id"
    )
    target = sink(server, if_exists="append")
    begin(target)
    with pytest.raises(TableError, match=r"some rows have no value in it\. Make it Nullable"):
        write_part(target, rows(0), 0)
    assert tables(server) == ["scores"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("(id String, score Nullable(Float64), run String) ENGINE = MergeTree ORDER BY id", "it has no partitions"),
        ("(id String, score Float64, run String) ENGINE = MergeTree PARTITION BY id ORDER BY id", "partitioned by id"),
        ("(id String, run String) ENGINE = MergeTree PARTITION BY run ORDER BY id", "it has no column 'score'"),
        (
            "(id String, score Float64, run String) ENGINE = Buffer(default, other, 1, 1, 2, 1, 2, 1, 2)",
            "engine Buffer",
        ),
    ],
)
def test_a_table_that_cannot_be_appended_to_is_refused(server: ClickHouse, made: str, words: str) -> None:
    server.execute("CREATE TABLE other (id String, score Float64, run String) ENGINE = Memory")
    server.execute(f"CREATE TABLE scores {made}")
    for attempt in (check, begin):
        with pytest.raises(TableError, match=words):
            attempt(sink(server, if_exists="append"))


@pytest.mark.parametrize("if_exists", ["replace", "append"])
def test_a_table_that_shows_rows_of_another_is_never_filled(server: ClickHouse, if_exists: str) -> None:
    server.execute("CREATE TABLE other (id String, score Nullable(Float64)) ENGINE = Memory")
    server.execute("CREATE VIEW scores AS SELECT * FROM other")
    with pytest.raises(TableError, match="it is of engine View, which shows rows of others"):
        check(sink(server, if_exists=if_exists))


def test_integers_of_64_bits_infinities_and_texts_arrive_as_they_are(server: ClickHouse) -> None:
    schema = pa.schema(
        [("id", pa.uint64()), ("n", pa.int64()), ("x", pa.float64()), ("b", pa.bool_()), ("s", pa.string())]
    )
    values = {
        "id": [2**64 - 1, 0],
        "n": [None, -(2**63) + 1],
        "x": [float("inf"), 0.1],
        "b": [True, None],
        "s": ["Zoë'\\`\0", None],
    }
    target = sink(server, schema)
    write_part(target, pa.table(values, schema=schema), 0)
    finish(target, [2])
    assert content(server) == [(0, -(2**63) + 1, 0.1, None, None), (2**64 - 1, None, float("inf"), 1, "Zoë'\\`\0")]


def test_names_with_quotes_and_sql_in_them_are_names(server: ClickHouse) -> None:
    server.execute("CREATE TABLE keep (x UInt8) ENGINE = Memory")
    schema = pa.schema([("id` UInt8); DROP TABLE keep; -- \\", pa.string())])
    target = sink(server, schema, table="s`; DROP TABLE keep; --\\")
    write_part(target, pa.table([["a"]], schema=schema), 0)
    check(target)
    finish(target, [1])
    assert content(server, target.table) == [("a",)]
    clear(target)
    assert tables(server) == sorted(["keep", target.table])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id String", "it has no column 'score'. Add it as Float64"),
        ("id UInt64, score Nullable(Float64)", "column 'id' is UInt64, not String"),
        ("id String, score Nullable(Float32)", "column 'score' is Nullable(Float32), not Float64"),
        ("id String, score Float64", "some rows have no value in it. Make it Nullable(Float64)"),
    ],
)
def test_a_table_that_cannot_hold_the_rows_is_refused_and_kept(server: ClickHouse, columns: str, words: str) -> None:
    server.execute(f"CREATE TABLE scores ({columns}) ENGINE = MergeTree ORDER BY id")
    target = sink(server, if_exists="replace")
    with pytest.raises(TableError) as caught:
        write_part(target, rows(0), 0)
    assert words in str(caught.value)
    if "no value" not in words:  # which only rows show
        with pytest.raises(TableError, match=re.escape(words)):
            begin(target)
    assert tables(server) == ["scores"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"database": "nowhere"}, TableError), ({"user": "mallory"}, StoreError), ({"port": 1}, StoreError)],
)
def test_a_server_that_does_not_take_it_is_named(
    server: ClickHouse, change: dict[str, Any], kind: type[FedsparkError]
) -> None:
    for attempt in (lambda target: write_part(target, rows(0), 0), check):
        with pytest.raises(kind, match=r"ClickHouse table .*scores at 127.0.0.1"):
            attempt(sink(server, **change))


def test_a_column_of_a_type_that_cannot_be_written_is_refused_at_once(server: ClickHouse) -> None:
    with pytest.raises(ConfigError, match="Column 'at' of type timestamp"):
        sink(server, pa.schema([("at", pa.timestamp("us"))]))


@pytest.fixture
def proxy(server: ClickHouse) -> Iterator[Proxy]:
    between = Proxy(server.port)
    yield between
    between.close()


@pytest.mark.parametrize(
    ("after", "if_exists"),
    [
        *((after, way) for after in (0, 100, 400, 800) for way in ("refuse", "replace")),
        (100, "append"),
        (400, "append"),
    ],
)
def test_wherever_the_connection_is_lost_rows_arrive_once(
    server: ClickHouse, proxy: Proxy, after: int, if_exists: str
) -> None:
    target = sink(server, port=proxy.port, if_exists=if_exists)
    for part in (0, 1):
        proxy.cuts = [after, None, after]
        write_part(target, rows(part), part)
    proxy.cuts = [after, after]
    finish(target, [3, 3])
    assert content_of_run(server) == expected(0, 1)
    proxy.cuts = [after]
    clear(target)
    assert tables(server) == ["scores"]
