"""Rows written to a table of MariaDB by parts, seen all at once."""

from __future__ import annotations

import pickle
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
from fedspark.tables.mysql.writer import Writing, begin, finish, write_part
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


def begun(server: MariaDB, label: str = "run/predict", **more: Any) -> Writing:
    place = server.conf(table="scores")
    return begin(MysqlSink(**{**place, **more}), Path(), SCHEMA, label)


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


def test_finishing_again_changes_nothing(server: MariaDB) -> None:
    writing = begun(server)
    finish(writing, [write_part(writing, rows(0), 0)])
    finish(writing, [100])
    again = begun(server)
    finish(again, [write_part(again, rows(0), 0)])
    assert content(server) == expected(1)


def test_a_part_that_is_not_there_in_full_keeps_all_of_them_unseen(server: MariaDB) -> None:
    writing = begun(server)
    write_part(writing, rows(0), 0)
    with pytest.raises(StoreError, match=r"rows of 2 parts are not what was written \(1, 2\); nothing is shown"):
        finish(writing, [100, 100, 1])
    assert not server.execute("SHOW TABLES LIKE 'scores'")
    finish(writing, [100, 0])
    assert content(server) == expected(1)


def test_a_table_that_is_there_stays_unless_it_may_be_replaced(server: MariaDB) -> None:
    server.execute("CREATE TABLE scores (x INT)")
    with pytest.raises(TableError, match=r"fed\.scores of 127\.0\.0\.1:\d+ is there already.*`if_exists: replace`"):
        begun(server)
    writing = begun(server, if_exists="replace")
    write_part(writing, rows(0), 0)
    assert server.execute("SELECT * FROM scores") == []
    finish(writing, [100])
    assert content(server) == expected(1)
    other = begun(server, label="another run/predict", if_exists="replace")
    finish(other, [write_part(other, rows(0, 3), 0)])
    assert len(content(server)) == 3


def test_an_empty_table_and_long_texts(server: MariaDB) -> None:
    finish(begun(server), [])
    assert content(server) == []
    long = pa.table([["x" * 600_000, None], [1, None], [0.1, None]], schema=SCHEMA)
    writing = begun(server, label="long", if_exists="replace")
    finish(writing, [write_part(writing, long, 0)])
    assert server.execute("SELECT CHAR_LENGTH(`patient ``id``; %s`), visits, score FROM scores ORDER BY 1") == [
        (None, None, None),
        (600_000, 1, 0.1),
    ]


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
    elsewhere = Writing(MysqlSink(**{**server.conf(table="scores"), "port": 1}), Path(), SCHEMA, "x")
    with pytest.raises(Lost, match="does not answer"):
        write_part(elsewhere, rows(0), 0)


def test_what_travels_to_tasks_has_no_password(server: MariaDB) -> None:
    writing = begun(server)
    assert PASSWORD.encode() not in pickle.dumps(writing)
    finish(writing, [])


def test_columns_that_cannot_be_stored_and_views_are_refused(server: MariaDB) -> None:
    with pytest.raises(TableError, match="columns of other types: when"):
        begin(MysqlSink(**server.conf(table="scores")), Path(), pa.schema([("when", pa.date32())]), "x")
    server.execute("CREATE VIEW v AS SELECT 1 AS x")
    try:
        with pytest.raises(TableError, match=r"fed\.v of .* is a view, no table"):
            begun(server, table="v", if_exists="replace")
    finally:
        server.execute("DROP VIEW v")
