"""The SQL that is sent, on a current ClickHouse: chdb has the engine of one. Collected where chdb is installed."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chdb.session import Session

from fedspark.conf.tables import ClickHouseSink
from fedspark.tables.clickhouse.columns import Target, encoded, fitted, hash_sql, hashes, target_type
from fedspark.tables.clickhouse.destination import Sink
from fedspark.tables.clickhouse.sql import Selection, bare, column_of, id_of, quoted, row_hash, value_of

TYPES = {
    "UInt64": "18446744073709551615",
    "Nullable(UInt64)": "18446744073709551615",
    "Int256": "-12345678901234567890123456789",
    "Decimal(9, 0)": "-12",
    "Decimal(38, 0)": "12345678901234567890123",
    "Decimal(76, 0)": "12345678901234567890123",
    "String": "a",
    "LowCardinality(String)": "a",
    "LowCardinality(Nullable(String))": "a",
    "FixedString(5)": "a",
    "Nullable(FixedString(5))": "a",
    "Enum8('a' = 1, 'b' = 2)": "a",
    "Nullable(Enum16('a' = 1))": "a",
    "UUID": "01234567-89ab-cdef-0123-456789abcdef",
    "Date": "2026-01-02",
    "Nullable(Date32)": "1903-01-02",
}
NUMBERS = {"Bool": "1", "Float32": "0.5", "Nullable(Float64)": "0.5", "Decimal(18, 2)": "1.25", "Int128": "-3"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    session = Session(str(tmp_path_factory.mktemp("chdb")))
    yield lambda query: [line.split("\t") for line in str(session.query(query, "TabSeparated")).splitlines()]
    session.close()


def make(engine: Any, columns: dict[str, str]) -> list[Any]:
    """A table ``t`` of one row, and one of nulls where there may be some: its columns as the engine describes them."""
    engine("CREATE DATABASE IF NOT EXISTS d")
    engine("DROP TABLE IF EXISTS d.t")
    names = [f"c{place}`" for place in range(len(columns))]
    declared = ", ".join(f"{quoted(name)} {type_name}" for name, type_name in zip(names, columns, strict=True))
    engine(f"CREATE TABLE d.t ({declared}) ENGINE = MergeTree ORDER BY tuple()")
    engine(f"INSERT INTO d.t VALUES ({', '.join(map(repr, columns.values()))})")
    described = engine("DESCRIBE TABLE d.t")
    return [
        column_of(place, name, row[1].replace("\\'", "'"))
        for place, (name, row) in enumerate(zip(names, described, strict=True))
    ]


def test_ids_and_slices(engine: Any) -> None:
    columns = make(engine, TYPES)
    values = [id_of(column) for column in columns]
    selection = Selection("d.t", "1 = 1 -- all", tuple(value.expression for value in values), row_hash(values), 3)
    ((number, rows, checksum),) = engine(selection.totals())
    found = [engine(selection.slice(slice_number)) for slice_number in range(3)]
    assert [len(slice_rows) for slice_rows in found] == [int(rows) * (k == int(number)) for k in range(3)]
    assert found[int(number)] == [[*TYPES.values(), checksum]]


def test_labels_and_features(engine: Any) -> None:
    values = [value_of(column) for column in make(engine, NUMBERS)]
    ((*numbers, _),) = engine(Selection("d.t", None, tuple(v.expression for v in values), "0", 1).slice(0))
    assert numbers == list(NUMBERS.values())


def test_what_is_selected_is_of_types_that_the_wire_carries_plainly(engine: Any) -> None:
    columns = make(engine, TYPES | NUMBERS)
    shown = [engine(f"SELECT toTypeName({value_of(column).expression}) FROM d.t")[0][0] for column in columns]
    assert {bare(name)[0] for name in shown} <= {"UInt64", "Int64", "Float32", "Float64", "String", "Int8"}
    assert not [name for name in shown if name.startswith("LowCardinality")]


def test_what_a_writer_says(engine: Any) -> None:
    engine("CREATE DATABASE IF NOT EXISTS d")
    schema = pa.schema([("id`", pa.string()), ("score", pa.float64())])
    sink = Sink.of(ClickHouseSink(host="-", table="scores`", database="d"), Path(), schema, "run1", "Monday")
    for name, score in (("old", "1"), ("new", "NULL")):
        engine(sink.create(name, None))
        engine(f"INSERT INTO {sink.sql(name)} VALUES ('{name}', {score})")
    engine(f"RENAME TABLE {sink.sql('old')} TO {sink.sql(sink.table)}")
    engine(sink.create("whole", sink.table))
    engine(sink.copy("new", "whole"))
    engine(f"EXCHANGE TABLES {sink.sql('whole')} AND {sink.sql(sink.table)}")
    assert engine(f"EXISTS TABLE {sink.sql(sink.table)}") == [["1"]]
    assert engine(f"SELECT * FROM {sink.sql(sink.table)}") == [["new", "\\N"]]


def test_what_a_writer_says_to_append(engine: Any) -> None:
    engine("CREATE DATABASE IF NOT EXISTS d")
    schema = pa.schema([("id", pa.string())])
    conf = ClickHouseSink(host="-", table="runs", database="d", if_exists="append")
    for run, value in (("Mon'day", "old"), ("Tuesday", "other"), ("Mon'day", "new"), ("none", "")):
        sink = Sink.of(conf, Path(), schema, "run1", run)
        for statement in (sink.create("part", None), sink.create_partitioned(), sink.create("all", sink.table)):
            engine(statement)
        if value:
            engine(f"INSERT INTO {sink.sql('part')} VALUES ('{value}')")
        engine(sink.copy("part", "all", with_run=True))
        engine(sink.exchange_partition("all", rows=len(value)))
        engine(f"DROP TABLE {sink.sql('part')}")
        engine(f"DROP TABLE {sink.sql('all')}")
    kept = engine(f"SELECT id, run FROM {sink.sql('runs')} ORDER BY id")
    assert kept == [["new", "Mon\\'day"], ["other", "Tuesday"]]
    found = engine("SELECT engine, partition_key FROM system.tables WHERE database = 'd' AND name = 'runs'")
    assert found == [["MergeTree", "run"]]


@pytest.mark.parametrize(
    ("meaning", "values"),
    [
        ("uint64", [Decimal(2**64 - 1), Decimal(0), None]),
        ("int8", [-128, 127, None]),
        ("float32", [float("nan"), -0.0, None]),
        ("float64", [float("-inf"), 5e-324, None]),
        ("decimal(9,2)", [Decimal("-0.01"), Decimal("0.00"), None]),
        ("decimal(18,3)", [Decimal("-123456789012345.125"), Decimal(1), None]),
        ("decimal(38,4)", [Decimal("-1234567890123456789012345678901234.5678"), Decimal(0), None]),
        ("text", ["", "abc\0", "ä" * 200, None]),
        ("date", [datetime.date(1900, 1, 1), datetime.date(2299, 12, 31), None]),
        ("timestamp", [datetime.datetime(1960, 1, 1, 0, 0, 0, 1), datetime.datetime(2200, 1, 1), None]),
    ],
)
def test_imported_values_are_stored_and_hashed_as_here(
    engine: Any, tmp_path: Path, meaning: str, values: list[Any]
) -> None:
    kind = target_type(meaning, True)
    assert kind is not None
    target = Target("x`", kind, True, meaning)
    array, wrong = fitted(pa.array(values), target)
    assert wrong is None
    head = b"".join(bytes([len(text)]) + text for text in (target.name.encode(), target.sql_type.encode()))
    (tmp_path / "block").write_bytes(bytes([1, len(values)]) + head + b"".join(encoded(array, target)))
    engine("CREATE DATABASE IF NOT EXISTS d")
    for name in ("t", "slice"):
        engine(f"DROP TABLE IF EXISTS d.{name}")
        engine(f"CREATE TABLE d.{name} ({quoted(target.name)} {target.sql_type}) ENGINE = MergeTree ORDER BY tuple()")
    engine(f"INSERT INTO d.slice SELECT * FROM file('{tmp_path / 'block'}', 'Native')")
    listing = "SELECT DISTINCT partition_id FROM system.parts WHERE database = 'd' AND table = 'slice' AND active"
    ((partition,),) = engine(listing)
    engine(f"ALTER TABLE d.t ATTACH PARTITION ID '{partition}' FROM d.slice")
    shown = engine(f"SELECT toString({quoted(target.name)}) FROM d.t")
    assert sorted(found[0] for found in engine(f"SELECT toString({hash_sql(target)}) FROM d.t")) == sorted(
        map(str, hashes(array))
    )
    if meaning in ("date", "timestamp"):
        assert sorted(row[0] for row in shown) == sorted(
            "\\N" if value is None else value.isoformat(" ", "microseconds") if meaning == "timestamp" else str(value)
            for value in values
        )
