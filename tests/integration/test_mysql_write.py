"""Rows written to a table of MariaDB by parts, seen all at once."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf.tables.mysql import MysqlSink
from fedspark.errors import StoreError, TableError
from fedspark.tables.mysql import writer
from fedspark.tables.mysql.server import Lost, Server
from fedspark.tables.mysql.writer import Writing, begin, check, clear, finish, target, write_part
from tests.integration.servers.mariadb import PASSWORD, MariaDB

SCHEMA = pa.schema([("patient `id`; %s", pa.string()), ("visits", pa.int64()), ("score", pa.float64())])


@pytest.fixture
def server(mariadb: MariaDB) -> Iterator[MariaDB]:
    yield mariadb
    left = [name for (name,) in mariadb.execute("SHOW TABLES")]
    for name in left:
        mariadb.execute(f"DROP TABLE `{name}`")
    assert not [name for name in left if name not in ("scores", "other")]


def rows(part: int, count: int = 100) -> pa.Table:
    ids = [f"Ä{part}-{n}" for n in range(count)]
    return pa.table([ids, list(range(count)), [part + n / 7 for n in range(count)]], schema=SCHEMA)


def write_of(server: MariaDB, tag: str = "a", run: str = "Mon'day", schema: pa.Schema = SCHEMA, **more: Any) -> Writing:
    return target(MysqlSink(**server.conf(**{"table": "scores", **more})), Path(), schema, tag, run)


def begun(server: MariaDB, tag: str = "a", **more: Any) -> Writing:
    writing = write_of(server, tag, **more)
    check(writing)
    begin(writing)
    return writing


def content(server: MariaDB) -> list[tuple[Any, ...]]:
    return sorted(server.execute("SELECT * FROM scores"))


def expected(parts: int) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for part in range(parts) for row in rows(part).to_pylist())


def test_all_parts_are_seen_at_once_with_every_value_as_it_was(server: MariaDB) -> None:
    writing = begun(server)
    written = [write_part(writing, rows(part), part) for part in range(3)]
    assert written == [100, 100, 100]
    assert not server.execute("SHOW TABLES LIKE 'scores'")
    finish(writing, written)
    assert content(server) == expected(3)
    clear(writing)
    assert server.execute("SHOW TABLES") == [("scores",)]
    types = [row[1] for row in server.execute("SHOW COLUMNS FROM scores")]
    assert types == ["varchar(64)", "bigint(20)", "double"]


def test_parts_that_are_written_again_and_at_the_same_time_are_there_once(server: MariaDB) -> None:
    writing = begun(server)
    write_part(writing, rows(0), 0)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: write_part(writing, rows(0, 2000), 0), range(4))) == [2000] * 4
    finish(writing, [2000])
    assert len(content(server)) == 2000
    clear(writing)


@pytest.mark.parametrize("if_exists", ["refuse", "replace", "append"])
def test_finishing_again_changes_nothing(server: MariaDB, if_exists: str) -> None:
    writing = begun(server, if_exists=if_exists)
    finish(writing, [write_part(writing, rows(0), 0)])
    finish(writing, [100])
    again = begun(server, if_exists=if_exists)
    finish(again, [write_part(again, rows(0), 0)])
    found = server.execute("SELECT `patient ``id``; %s`, visits, score FROM scores")
    assert sorted(found) == expected(1)
    clear(again)


def test_two_processes_that_finish_at_the_same_time_leave_every_row_once(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.execute("CREATE TABLE scores (x INT)")
    writing = begun(server, if_exists="replace")
    counts = [write_part(writing, rows(part), part) for part in range(3)]
    first, ended, arrived = threading.current_thread(), threading.Event(), threading.Event()
    query, others = Server.query, []

    def meanwhile(self: Server, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """When the first is about to show its rows, the other begins and comes as far as it may."""
        mine = threading.current_thread() is first
        if not mine and sql.startswith("INSERT INTO"):
            arrived.set()
            assert ended.wait(60)
        if mine and sql.startswith("RENAME TABLE"):
            others.append(pool.submit(finish, writing, counts))
            assert any(arrived.wait(0.02) or server.execute(waiting) for _ in range(1000))
        return query(self, sql, values)

    waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'User lock'"
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(Server, "query", meanwhile)
        try:
            finish(writing, counts)
        finally:
            ended.set()
        others[0].result(60)
    finish(writing, counts)
    assert content(server) == expected(3)
    clear(writing)


def test_a_copy_that_lacks_rows_is_never_shown(server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    server.execute("CREATE TABLE scores (x INT)")
    writing = begun(server, if_exists="replace")
    query = Server.query

    def dropped(self: Server, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
        return query(self, sql + (" LIMIT 7" if sql.startswith("INSERT INTO") else ""), values)

    count = write_part(writing, rows(0), 0)
    with monkeypatch.context() as patch:
        patch.setattr(Server, "query", dropped)
        with pytest.raises(StoreError, match="of 100 rows 7 were copied; nothing is shown"):
            finish(writing, [count])
    assert server.execute("SHOW COLUMNS FROM scores")[0][0] == "x"
    finish(writing, [count])
    assert content(server) == expected(1)
    clear(writing)


def test_whoever_waits_for_another_process_for_too_long_is_told_so(
    server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_WAIT", 1)
    monkeypatch.setattr(writer, "_LONGEST_WAIT", 1)
    writing = begun(server)
    count = write_part(writing, rows(0), 0)
    with writing.server() as other:
        writer._lock(other, writing)
        with pytest.raises(StoreError, match=f"another process has been .*the server's lock {writing.lock}"):
            finish(writing, [count])
    finish(writing, [count])
    clear(writing)


def test_a_part_that_is_not_there_in_full_keeps_all_of_them_unseen(server: MariaDB) -> None:
    writing = begun(server)
    write_part(writing, rows(0), 0)
    with pytest.raises(StoreError, match=r"rows of 2 parts are not what was written \(1, 2\); nothing is shown"):
        finish(writing, [100, 100, 1])
    assert not server.execute("SHOW TABLES LIKE 'scores'")
    finish(writing, [100, 0])
    assert content(server) == expected(1)
    clear(writing)


def test_a_table_that_is_there_stays_unless_it_may_be_replaced(server: MariaDB) -> None:
    server.execute("CREATE TABLE scores (x INT)")
    with pytest.raises(TableError, match=r"fed\.scores of 127\.0\.0\.1:\d+ is there already.*`if_exists` to replace"):
        begun(server)
    writing = begun(server, if_exists="replace")
    write_part(writing, rows(0), 0)
    assert server.execute("SELECT * FROM scores") == []
    finish(writing, [100])
    assert content(server) == expected(1)
    other = begun(server, "b", if_exists="replace")
    finish(other, [write_part(other, rows(0, 3), 0)])
    assert len(content(server)) == 3
    for one in (writing, other):
        clear(one)


def test_rows_of_other_runs_stay_and_those_of_the_same_run_are_replaced(server: MariaDB) -> None:
    for tag, run, part, count in (("a", "Mon'day", 0, 5), ("b", "mon'day", 1, 3), ("c", "Mon'day", 2, 4)):
        writing = begun(server, tag, run=run, if_exists="append")
        finish(writing, [write_part(writing, rows(part, count), 0)])
        clear(writing)
    kept = server.execute("SELECT run, COUNT(*), MIN(score) FROM scores GROUP BY run ORDER BY run")
    assert kept == [("Mon'day", 4, 2.0), ("mon'day", 3, 1.0)]


def test_a_table_with_its_own_keys_and_types_is_appended_to_as_a_whole_or_not_at_all(server: MariaDB) -> None:
    columns = "who VARCHAR(3) COLLATE utf8mb4_general_ci, run VARCHAR(20) COLLATE utf8mb4_general_ci, n SMALLINT"
    server.execute(f"CREATE TABLE scores ({columns}, more INT DEFAULT 7, PRIMARY KEY (run, who)) ENGINE=InnoDB")
    server.execute("INSERT INTO scores VALUES ('a', 'MONDAY', 1, 1)")
    schema = pa.schema([("who", pa.string()), ("n", pa.int64())])

    def write(tag: str, ids: list[str]) -> None:
        writing = begun(server, tag, run="monday", schema=schema, if_exists="append")
        try:
            finish(writing, [write_part(writing, pa.table([ids, list(range(len(ids)))], schema=schema), 0)])
        finally:
            clear(writing)

    write("a", ["b", "c"])
    before = [("a", "MONDAY", 1, 1), ("b", "monday", 0, 7), ("c", "monday", 1, 7)]
    assert sorted(server.execute("SELECT * FROM scores")) == before
    with pytest.raises(TableError, match="two rows share a unique key") as caught:
        write("b", ["xyz", "xyz"])
    assert "xyz" not in str(caught.value)
    with pytest.raises(StoreError, match="too long"):
        write("c", ["secret"])
    assert sorted(server.execute("SELECT * FROM scores")) == before


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            "(visits BIGINT, score DOUBLE, `patient ``id``; %s` TEXT, run TEXT) ENGINE=MyISAM",
            "MyISAM has no transactions",
        ),
        ("(visits BIGINT, score DOUBLE)", "it has no column 'patient `id`; %s', 'run'"),
    ],
)
def test_a_table_that_cannot_be_appended_to_is_refused(server: MariaDB, made: str, words: str) -> None:
    server.execute(f"CREATE TABLE scores {made}")
    for attempt in (check, begin):
        with pytest.raises(TableError, match=words):
            attempt(write_of(server, if_exists="append"))


def test_a_user_who_may_only_read_is_found_before_anything_is_written(server: MariaDB) -> None:
    server._as_root("CREATE USER reader IDENTIFIED BY 'pw-5be08d41f3'")
    server._as_root("GRANT SELECT ON fed.* TO reader")
    with pytest.raises(StoreError, match=r"does not allow it: CREATE command denied.*Grant user 'reader'") as caught:
        check(write_of(server, user="reader"))
    assert PASSWORD not in str(caught.value)
    with pytest.raises(StoreError, match="does not let user 'nobody' in"):
        check(write_of(server, user="nobody"))


def test_an_empty_table_and_long_texts(server: MariaDB) -> None:
    empty = begun(server)
    finish(empty, [])
    clear(empty)
    assert content(server) == []
    long = pa.table([["x" * 600_000, None], [1, None], [0.1, None]], schema=SCHEMA)
    writing = begun(server, "long", if_exists="replace")
    finish(writing, [write_part(writing, long, 0)])
    assert server.execute("SELECT CHAR_LENGTH(`patient ``id``; %s`), visits, score FROM scores ORDER BY 1") == [
        (None, None, None),
        (600_000, 1, 0.1),
    ]
    clear(writing)


def test_a_lost_connection_is_tried_again_and_then_told(server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_PAUSES", (0.0, 0.0))
    writing = begun(server)
    many, lost = Server.many, iter([True, True])

    def killed(self: Server, sql: str, values: Any) -> None:
        if next(lost, False):
            server.execute(f"KILL {self.query('SELECT CONNECTION_ID()')[0][0]}")
        many(self, sql, values)

    monkeypatch.setattr(Server, "many", killed)
    finish(writing, [write_part(writing, rows(0), 0)])
    assert content(server) == expected(1)
    clear(writing)
    elsewhere = write_of(server, port=1)
    with pytest.raises(Lost, match="does not answer"):
        write_part(elsewhere, rows(0), 0)


def test_what_travels_to_tasks_has_no_password(server: MariaDB) -> None:
    writing = begun(server)
    assert PASSWORD.encode() not in pickle.dumps(writing)
    clear(writing)


def test_columns_that_cannot_be_stored_and_views_are_refused(server: MariaDB) -> None:
    with pytest.raises(TableError, match="columns of other types: when"):
        write_of(server, schema=pa.schema([("when", pa.date32())]))
    server.execute("CREATE VIEW v AS SELECT 1 AS x")
    try:
        with pytest.raises(TableError, match=r"fed\.v of .* is a view, no table"):
            begun(server, table="v", if_exists="replace")
    finally:
        server.execute("DROP VIEW v")
