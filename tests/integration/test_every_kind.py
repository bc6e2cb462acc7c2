"""The same difficult tables in every kind of source: the same rows when staged, or the same words of refusal."""

from __future__ import annotations

import csv
import datetime
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from pydantic import TypeAdapter

from fedspark.conf.tables import TableConf
from fedspark.errors import StoreError, TableError
from fedspark.tables import staging
from fedspark.tables.clickhouse.sql import quoted as in_clickhouse
from fedspark.tables.hive.names import quoted as in_hive
from fedspark.tables.mysql.server import quoted as in_mysql
from tests.tables.conftest import Bench

pytestmark = [pytest.mark.spark, pytest.mark.slow]

FILES = ("csv", "parquet", "orc")
SERVERS = ("mysql", "clickhouse", "sharded mysql", "sharded clickhouse")
KINDS = (*FILES, "sqlscript", "hive", "hiveserver2", "sharded csv", *SERVERS)
HALVES = "{0..1}"
_numbers = itertools.count()

ARROW = {
    "unsigned": pa.decimal128(20, 0),  # ORC has nothing else for it
    "decimal": pa.decimal128(20, 6),
    "real": pa.float64(),
    "integer": pa.int64(),
    "text": pa.string(),
    "date": pa.date32(),
}
MYSQL = {
    "unsigned": "BIGINT UNSIGNED",
    "decimal": "DECIMAL(20,6)",
    "real": "DOUBLE",
    "integer": "SMALLINT",
    "text": "LONGTEXT",
    "date": "DATE",
}
CLICKHOUSE = {
    "unsigned": "UInt64",
    "decimal": "Decimal(20, 6)",
    "real": "Float64",
    "integer": "Int64",
    "text": "Nullable(String)",
    "date": "String",  # this version's Date begins in 1970
}
HIVE = {
    "unsigned": "DECIMAL(20,0)",
    "decimal": "DECIMAL(20,6)",
    "real": "DOUBLE",
    "integer": "BIGINT",
    "text": "STRING",
    "date": "DATE",
}


@dataclass(frozen=True)
class Table:
    """Names and types of columns, and rows."""

    columns: dict[str, str]
    rows: Sequence[Sequence[Any]]

    def half(self, number: int) -> Table:
        return Table(self.columns, self.rows[number::2])

    def arrow(self) -> pa.Table:
        values = zip(*self.rows, strict=True) if self.rows else [()] * len(self.columns)
        arrays = [pa.array(column, ARROW[kind]) for column, kind in zip(values, self.columns.values(), strict=True)]
        return pa.Table.from_arrays(arrays, names=list(self.columns))

    def statements(self, name: str) -> list[str]:
        """CREATE and INSERT as MySQL has them."""
        columns = ", ".join(f"{in_mysql(column)} {MYSQL[kind]}" for column, kind in self.columns.items())
        engine = " ENGINE=MyISAM" if len(self.columns) > 1000 else ""
        rows = ",\n".join(f"({', '.join(map(_literal, row))})" for row in self.rows)
        inserts = [f"INSERT INTO {in_mysql(name)} VALUES {rows}"] if rows else []
        return [f"CREATE TABLE {in_mysql(name)} ({columns}){engine}", *inserts]


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"'{value}'" if isinstance(value, datetime.date) else str(value)


class Places:
    """Puts tables where a kind of source finds them."""

    def __init__(self, directory: Path, server: Callable[[str], Any]) -> None:
        self.directory = directory
        self._server = server
        self.made: list[Callable[[], Any]] = []
        self.tables: list[str] = []

    def put(self, kind: str, table: Table, **conf: Any) -> Any:
        """The conf of ``table``, which is now there."""
        name = f"every_{next(_numbers)}_"
        if not kind.startswith("sharded "):
            return self.conf({**self._put(kind, table, name), **conf})
        of = kind.removeprefix("sharded ")
        first, _ = (self._put(of, table.half(number), f"{name}{number}") for number in range(2))
        pattern = {key: text.replace(f"{name}0", name + HALVES) if key in ("table", "path") else text
                   for key, text in first.items()}  # fmt: skip
        return self.conf({"kind": "sharded", "shards": [pattern], **conf})

    def server(self, kind: str) -> Any:
        """The server of a kind."""
        return self._server({"mysql": "mariadb"}.get(kind, kind))

    @staticmethod
    def conf(raw: dict[str, Any]) -> Any:
        return TypeAdapter(TableConf).validate_python(raw)

    def _put(self, kind: str, table: Table, name: str) -> dict[str, Any]:
        path = self.directory / f"{name}.{kind}"
        if kind == "csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([list(table.columns), *table.rows])
        elif kind == "parquet":
            pq.write_table(table.arrow(), path)
        elif kind == "orc":
            orc.write_table(table.arrow(), path)
        elif kind in ("hive", "hiveserver2"):
            return self._put_in_hive(kind, table, name)
        elif kind == "sqlscript":
            path.write_text(";\n".join(["", *table.statements(name), ""]), encoding="utf-8")
            return {"kind": kind, "path": str(path), "table": name}
        else:
            return self._put_on_server(kind, table, name)
        return {"kind": kind, "path": str(path)}

    def _put_in_hive(self, kind: str, table: Table, name: str) -> dict[str, Any]:
        """Files that others wrote, and a table that says where."""
        folder = self.directory / f"{name}.hive"
        folder.mkdir()
        pq.write_table(table.arrow(), folder / f"{name}.parquet")
        server = self.server("hiveserver2")
        columns = ", ".join(f"{in_hive(column)} {HIVE[of]}" for column, of in table.columns.items())
        server.execute(f"CREATE EXTERNAL TABLE fed.{name} ({columns}) STORED AS PARQUET LOCATION '{folder.as_uri()}'")
        self.tables.append(name)
        self.made.append(lambda: server.execute(f"DROP TABLE IF EXISTS fed.{name}"))
        place = self.server("metastore") if kind == "hive" else server
        return dict(place.conf(table=name))

    def _put_on_server(self, kind: str, table: Table, name: str) -> dict[str, Any]:
        server = self.server(kind)
        if kind == "mysql":
            for statement in table.statements(name):
                server.execute(statement)
        else:
            columns = ", ".join(f"{in_clickhouse(key)} {CLICKHOUSE[of]}" for key, of in table.columns.items())
            engine = "Memory" if len(table.columns) > 1000 else "MergeTree ORDER BY tuple()"
            server.execute(f"CREATE TABLE {name} ({columns}) ENGINE = {engine}")
            dates = [of == "date" for of in table.columns.values()]
            rows = [
                [str(value) if date else value for value, date in zip(row, dates, strict=True)] for row in table.rows
            ]
            if rows:
                server.execute(f"INSERT INTO {name} VALUES", rows)
        self.tables.append(name)
        self.made.append(lambda: server.execute(f"DROP TABLE IF EXISTS {name}"))
        return dict(server.conf(table=name))


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    found = Places(tmp_path, request.getfixturevalue)
    yield found
    for drop in found.made:
        drop()


@pytest.fixture
def bench(spark: Any, tmp_path: Path) -> Bench:
    return Bench(spark, tmp_path)


@pytest.fixture(params=KINDS)  # others that read tables from a place are added here and to `Places`
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def refusal(bench: Bench, conf: Any, error: Any = TableError, **arguments: Any) -> str:
    """What is said of a table that cannot be staged, in one line and without stack traces; nothing of it stays."""
    with pytest.raises(error) as caught:
        bench.stage_conf(conf, **arguments)
    text = str(caught.value)
    assert "\tat " not in text
    assert "\n" not in text
    assert "Traceback" not in text
    assert not bench.files()
    return text


LONG = "ü" * 500_000
# Spark cuts the names of columns in ORC at a backtick, and then does not find them; it and Hive put the value of a
# variable where a statement has ${...}, in names too.
CHANGED = {"orc": ("`", "'"), "hive": ("${", "$ {"), "hiveserver2": ("${", "$ {")}
NAMES = ("Größe", "x`y", "a\"b';--", "50% {0} ${y}", "Na.Me, z", "/* c */ \\ 你好")


def test_values_and_names_are_those_of_the_source(bench: Bench, places: Places, kind: str) -> None:
    """Unsigned ids of 64 bits, decimals, mixed-case, non-ASCII and hostile names, beside texts of a mebibyte."""
    names = [name.replace(*CHANGED.get(kind, ("", ""))) for name in NAMES]
    table = Table(
        {"Id Nr.": "unsigned", **dict(zip(names, ["decimal", *["real"] * 5], strict=True)), "Note": "text"},
        [
            (2**64 - 1, Decimal("12345678901234.123456"), 0.1, 1e300, -0.5, 1.0, 2.0, LONG),
            (2**63, Decimal("-0.000001"), -1e-300, 2.0, 3.0, 4.0, 5.0, ""),
            (0, Decimal("7.500000"), 1.5, 2.5, 3.5, 4.5, 5.5, "'; DROP TABLE x; --"),
        ],
    )
    bench.stage_conf(places.put(kind, table, id="Id Nr.", features=names, ignore=["Note"]))
    found = bench.snapshot()
    assert found["key"] == ["0", "18446744073709551615", "9223372036854775808"]
    expected = [[float(row[place]) for row in (table.rows[2], *table.rows[:2])] for place in range(1, 7)]
    assert [found[f"x.{name}"] for name in names] == expected


def test_texts_of_a_mebibyte_and_dates_before_1970_are_ids(bench: Bench, places: Places, kind: str) -> None:
    born = [datetime.date(1600, 2, 29), datetime.date(1969, 12, 31), datetime.date(1970, 1, 1)]
    table = Table(
        {"name": "text", "born": "date", "x": "integer"},
        [(text, day, number) for number, (text, day) in enumerate(zip(("a" + LONG, "b", "C"), born, strict=True))],
    )
    bench.stage_conf(places.put(kind, table, id=["name", "born"], features=["x"]))
    assert bench.snapshot()["key"] == ["C\x1f1970-01-01", f"a{LONG}\x1f1600-02-29", "b\x1f1969-12-31"]


def test_a_table_without_rows_is_empty(bench: Bench, places: Places, kind: str) -> None:
    card = bench.stage_conf(places.put(kind, Table({"id": "text", "x": "real"}, []), id="id"))
    assert card.empty
    assert bench.snapshot()["key"] == []


def test_two_thousand_columns_are_read(bench: Bench, places: Places, kind: str) -> None:
    columns = {"id": "integer", **{f"x{number}": "integer" for number in range(2000)}}
    table = Table(columns, [(row, *[row + number for number in range(2000)]) for row in range(4)])
    several = None if kind == "parquet" else ["x0", "x1999"]
    card = bench.stage_conf(places.put(kind, table, id="id", features=several))
    assert (card.rows, len(card.columns), len(card.features)) == (4, 2001, len(several or range(2000)))
    assert bench.snapshot()["x.x1999"] == [1999, 2000, 2001, 2002]


def test_missing_ids_and_texts_that_are_no_numbers_are_counted_and_shown_masked(
    bench: Bench, places: Places, kind: str
) -> None:
    ids = [None, None, *(f"p{number:03d}" for number in range(7))]
    values = ["1", "2", "3", "?", "n/a", "4", "secret", "five", "6"]
    conf = places.put(
        kind, Table({"id": "text", "x": "text"}, [*zip(ids, values, strict=True)]), id="id", features=["x"]
    )
    said = refusal(bench, conf)
    assert "2 rows with no id" in said
    assert "'x' does not read as a number in 4 rows" in said
    assert "for example p***1 (4 characters), p***2 (4 characters), p***4 (4 characters)." in said
    assert "secret" not in said


def test_a_column_that_is_not_there_is_named_with_the_nearest_one(bench: Bench, places: Places, kind: str) -> None:
    table = Table({"id": "text", "Age": "integer"}, [("a", 1), ("b", 2)])
    said = refusal(bench, places.put(kind, table, id="id", features=["age"]))
    assert "column 'age'" in said
    assert "Did you mean 'Age'?" in said


def test_a_table_that_is_not_there_is_said_so(bench: Bench, places: Places, kind: str) -> None:
    conf = places.put(kind, Table({"id": "text", "x": "integer"}, [("a", 1), ("b", 2)]), id="id")
    for raw in conf.model_dump(by_alias=True).get("shards", [conf.model_dump(by_alias=True)]):
        key = "table" if "table" in raw else "path"
        assert "there is no" in refusal(bench, places.conf({**raw, key: f"{raw[key]}x", "id": "id"}))


@pytest.mark.parametrize("kind", [*FILES, "sqlscript", "hive", "sharded csv"])
def test_files_that_are_written_again_while_they_are_read_are_refused(
    bench: Bench, places: Places, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    table = Table({"id": "text", "x": "integer"}, [("a", 1), ("b", 2), ("c", 3), ("d", 4)])
    conf = places.put(kind, table, id="id")
    write = staging._write

    def touched(*args: Any) -> Any:
        path = max(path for path in bench.directory.rglob("every_*") if path.is_file())
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 1))
        return write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(staging, "_write", touched)
        assert "its files changed while they were read" in refusal(bench, conf)
    assert bench.stage_conf(conf).rows == 4


@pytest.mark.parametrize("kind", ["hiveserver2", *SERVERS])
def test_a_column_that_gets_another_type_while_it_is_read_is_told(
    bench: Bench, places: Places, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Else its values would be cast without a word: to MySQL the number of 'many' is 0."""
    conf = places.put(kind, Table({"id": "text", "x": "integer"}, [("a", 1), ("b", 2), ("c", 3), ("d", 4)]), id="id")
    altered = places.tables[-1]
    of = kind.removeprefix("sharded ")
    statements = {
        "mysql": [f"ALTER TABLE {altered} MODIFY x VARCHAR(20)"],
        "clickhouse": [f"ALTER TABLE {altered} MODIFY COLUMN x Nullable(Int64)"],
        "hiveserver2": [
            f"CREATE TABLE fed.new STORED AS PARQUET AS SELECT id, CAST(x AS STRING) AS x FROM fed.{altered}",
            f"DROP TABLE fed.{altered}",
            f"ALTER TABLE fed.new RENAME TO fed.{altered}",
        ],
    }[of]
    server, write = places.server(of), staging._write

    def change(*args: Any) -> Any:
        for statement in statements:
            server.execute(statement)
        return write(*args)

    monkeypatch.setattr(staging, "_write", change)
    said = refusal(bench, conf)
    assert altered in said
    assert "its columns changed while it was read: 'x' was" in said


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        *((kind, {"password": "env:FEDSPARK_TEST_WRONG"}, "does not let user 'fed' in") for kind in SERVERS),
        *((kind, {"port": 1}, "127.0.0.1:1") for kind in ("hiveserver2", *SERVERS)),
        ("hive", {"metastore": "thrift://127.0.0.1:1"}, "127.0.0.1:1): Hive's metastore does not answer"),
    ],
)
def test_a_wrong_password_and_a_server_that_is_down_are_named(
    bench: Bench, places: Places, monkeypatch: pytest.MonkeyPatch, kind: str, change: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("FEDSPARK_TEST_WRONG", "wrong-1b7d")
    raw = places.put(kind, Table({"id": "text", "x": "integer"}, [("a", 1), ("b", 2)]), id="id").model_dump(
        by_alias=True
    )
    raw = {**raw, "shards": [{**shard, **change} for shard in raw["shards"]]} if "shards" in raw else {**raw, **change}
    said = refusal(bench, places.conf(raw), StoreError)
    assert words in said
    assert "wrong-1b7d" not in said
