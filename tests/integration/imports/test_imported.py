"""Tables of MariaDB, Hive and files imported into ClickHouse: every value as it is, or refused and told."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.cli import main
from fedspark.conf.own_file import load_own
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.steps import import_table as steps
from tests.integration.imports.conftest import Bench
from tests.integration.servers.clickhouse import PASSWORD as CLICKHOUSE_PASSWORD
from tests.integration.servers.hive import Metastore
from tests.integration.servers.mariadb import PASSWORD as MARIADB_PASSWORD
from tests.integration.test_hive import Hive

pytestmark = pytest.mark.spark


def test_every_type_of_mysql_arrives_as_it_is(bench: Bench, mysql: Callable[..., dict[str, Any]]) -> None:
    long = "ä" * 500_000
    rows: list[tuple[Any, ...]] = [
        (1, 2**64 - 1, -128, 255, Decimal("-1234567890123456789012345.1234567890"), 10**45, 0.1, 0.1,
         "1970-01-02", "1969-12-31 23:59:59.000001", 5, 2024, "", b"", "a", "x,y", "12:30:00", long),
        (2, 0, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None, None),
        (3, 1, 127, 0, Decimal("0.0000000001"), -1, -0.5, 1e300,
         "2105-12-31", "9999-12-31 00:00:00", 0, 1901, "NULL", b"\x00\xff'", "b", "", "-838:59:59", "\\N"),
    ]  # fmt: skip
    table = mysql(
        "id INT, `big\\ ``n``; --` BIGINT UNSIGNED, tiny TINYINT, byte_ TINYINT UNSIGNED, dec_ DECIMAL(35,10), "
        "huge DECIMAL(60,0), f FLOAT, d DOUBLE, day_ DATE, at_ DATETIME(6), bits BIT(3), y YEAR, `Größe` VARCHAR(20), "
        "b VARBINARY(9), e ENUM('a','b'), s SET('x','y'), t TIME, `long` LONGTEXT",
        rows,
    )
    record = bench.run(table)
    found = bench.clickhouse.execute("SELECT * FROM people ORDER BY id", client={"strings_as_bytes": True})
    texts = {"huge": str, "at_": str, "Größe": str, "t": str, "e": str, "s": str, "long": str}
    names = [column["column"] for column in record["columns"]]
    expected = [
        tuple(
            None
            if value is None
            else value.encode()
            if name in texts and isinstance(value, str)
            else str(value).encode()
            if name in texts
            else datetime.date.fromisoformat(value)
            if name == "day_"
            else value
            for name, value in zip(names, row, strict=True)
        )
        for row in rows
    ]
    assert [(row[:6], row[7:9], row[10:]) for row in found] == [(row[:6], row[7:9], row[10:]) for row in expected]
    assert [row[6] for row in found] == [pytest.approx(0.1, rel=1e-7), None, -0.5]
    assert [row[9] for row in found] == [b"1969-12-31 23:59:59.000001", None, b"9999-12-31 00:00:00.000000"]
    assert [column["to"] for column in record["columns"]] == [
        "Int32",
        *(f"Nullable({kind})" for kind in [
            "UInt64", "Int8", "UInt8", "Decimal(35, 10)", "String", "Float32", "Float64", "Date", "String", "UInt64",
            "UInt16", *["String"] * 6,
        ]),
    ]  # fmt: skip
    assert record["rows"] == {"read": 3, "stored": 3}
    assert all(column["checksum"]["read"] == column["checksum"]["stored"] for column in record["columns"])
    assert [column["nulls"]["stored"] for column in record["columns"]] == [0, 0] + [1] * 16
    assert bench.tables() == []


def test_every_type_of_parquet_arrives_as_it_is(bench: Bench) -> None:
    columns = {
        "id": pa.array([1, 2], pa.int16()),
        "b": pa.array([True, None]),
        "f": pa.array([math.nan, -0.0], pa.float32()),
        "d": pa.array([math.inf, 5e-324]),
        "day": pa.array([datetime.date(2000, 2, 29), None]),
        "at": pa.array([datetime.datetime(1850, 1, 1, 0, 0, 0, 1, datetime.UTC), None], pa.timestamp("us", "UTC")),
        "dec": pa.array([Decimal("-99999999999999999999999999999999.999999"), None], pa.decimal128(38, 6)),
        "cents": pa.array([Decimal("-0.01"), Decimal("9999999.99")], pa.decimal128(9, 2)),
        "bytes": pa.array([b"\xff\x00", b""]),
        "u64": pa.array([2**64 - 1, 0], pa.uint64()),
        "tags": pa.array([["a", "b"], None]),
        "secret": pa.array(["never", "copied"]),
    }
    pq.write_table(pa.table(columns), bench.directory / "t.parquet")
    table = {"kind": "parquet", "path": "t.parquet", "id": "id", "ignore": ["secret"]}
    with pytest.raises(TableError, match=r"column 'tags' of type array<string> has no like in ClickHouse.*as_text"):
        bench.run(table)
    bench.run(table, as_text=["tags"])
    select = "id, b, toString(f), toString(d), toString(day), at, dec, cents, bytes, u64, tags"
    first, second = bench.clickhouse.execute(
        f"SELECT {select} FROM people ORDER BY id", client={"strings_as_bytes": True}
    )
    assert first == (
        1, 1, b"nan", b"inf", b"2000-02-29", b"1850-01-01 00:00:00.000001",
        Decimal("-99999999999999999999999999999999.999999"), Decimal("-0.01"), b"\xff\x00", 2**64 - 1, b'["a","b"]',
    )  # fmt: skip
    assert second == (2, None, b"-0", b"5e-324", None, None, None, Decimal("9999999.99"), b"", 0, None)


def test_what_cannot_be_stored_is_counted_and_shown_masked_or_kept_as_text(
    bench: Bench, mysql: Callable[..., dict[str, Any]]
) -> None:
    rows = [(n, "1931-05-06" if n % 2 else "2000-01-01", None if n == 7 else n) for n in range(100)]
    table = mysql("id INT PRIMARY KEY, born DATE, k INT", rows)
    said = r"has 2 problems: .*'born': 50 rows of type date that Date cannot hold, for example 1\*\*\*6 \(10 characters"
    with pytest.raises(TableError, match=said) as refused:
        bench.run(table, order_by=["k"], slices=3)
    assert "column 'k': 1 row with no value, and it orders the table" in str(refused.value)
    assert "1931" not in str(refused.value)
    assert bench.tables() == []
    bench.run(table, order_by=[], as_text=["born"], slices=3)
    assert [row[1] for row in bench.rows()] == [row[1] for row in rows]


def test_lines_of_csv_that_are_malformed_or_no_numbers_are_refused(bench: Bench) -> None:
    (bench.directory / "t.csv").write_text("id,n\n1,5\n2,\n3,1.5\n4,7,8\n")
    table = {"kind": "csv", "path": "t.csv", "id": "id", "types": {"id": "integer", "n": "integer"}}
    with pytest.raises(TableError, match=r"1 malformed line.*'n': 1 row of type text that Int64 cannot hold"):
        bench.run(table)
    bench.run({**table, "on_bad_row": "skip"}, as_text=["n"])
    assert bench.rows() == [(1, "5"), (2, None), (3, "1.5")]


@pytest.mark.slow
def test_a_partitioned_table_of_hive_is_imported_with_its_partition_column(
    bench: Bench, spark: Any, metastore: Metastore, stopped: Any
) -> None:
    hive = Hive(spark, metastore)
    hive.sql(
        "DROP TABLE IF EXISTS fed.people",
        "CREATE TABLE fed.people (id BIGINT, name VARCHAR(9), at TIMESTAMP) PARTITIONED BY (day DATE) "
        "STORED AS PARQUET",
        *(f"INSERT INTO fed.people PARTITION (day = '2026-01-0{day}') SELECT id + {day * 100}, concat('n', id), "
          "TIMESTAMP '2026-03-29 02:30:00 UTC' FROM range(100)" for day in (1, 2, 3)),
    )  # fmt: skip
    table = metastore.conf(table="people", id="id")
    stopped(table, slices=3)
    record = bench.run(table, slices=3)
    assert record["slices"] == {"all": 3, "read by the last attempt": 0}
    assert bench.rows() == [
        (day * 100 + n, f"n{n}", "2026-03-29 02:30:00", datetime.date(2026, 1, day))
        for day in (1, 2, 3)
        for n in range(100)
    ]


def test_a_sharded_table_becomes_one(bench: Bench, mysql: Callable[..., dict[str, Any]]) -> None:
    for shard in range(3):
        table = mysql(
            "id INT PRIMARY KEY, name VARCHAR(9)", [(shard * 100 + n, f"n{n}") for n in range(50)], f"p_{shard}"
        )
    shard = {key: value for key, value in table.items() if key != "id"} | {"table": "p_{0..2}"}
    record = bench.run({"kind": "sharded", "id": "id", "shards": [shard]}, slices=6)
    assert record["slices"]["all"] == 6
    assert bench.rows() == [(shard * 100 + n, f"n{n}") for shard in range(3) for n in range(50)]


def test_an_empty_table_is_imported(bench: Bench) -> None:
    pq.write_table(pa.table({"id": pa.array([], pa.int64())}), bench.directory / "t.parquet")
    record = bench.run({"kind": "parquet", "path": "t.parquet", "id": "id"})
    assert (record["rows"], bench.rows()) == ({"read": 0, "stored": 0}, [])


def test_a_wide_table_is_imported(bench: Bench) -> None:
    columns = {f"column {k}": pa.array([k, None]) for k in range(300)}
    pq.write_table(pa.table({"id": [1, 2], **columns}), bench.directory / "t.parquet")
    bench.run({"kind": "parquet", "path": "t.parquet", "id": "id"})
    assert bench.rows("id, `column 299`") == [(1, 299), (2, None)]


def test_a_wrong_password_and_a_server_that_is_down_are_told_before_anything_is_read(bench: Bench) -> None:
    table = bench.parquet(files=1)
    (bench.directory / "wrong").write_text("guess-4711")
    with pytest.raises(StoreError, match=r"does not let user 'fed' in") as refused:
        bench.run(table, to={"password": "file:wrong"})
    assert "guess-4711" not in str(refused.value)
    with pytest.raises(StoreError, match=r"connection to ClickHouse was lost"):
        bench.run(table, to={"port": 1})
    assert not (bench.directory / "workspace/imports/people/1/plan.json").exists()


def test_passwords_are_in_nothing_that_an_import_leaves(bench: Bench, mysql: Callable[..., dict[str, Any]]) -> None:
    bench.run(mysql("id INT PRIMARY KEY", [(n,) for n in range(10)]))
    for path in (bench.directory / "workspace").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert CLICKHOUSE_PASSWORD.encode() not in content
        assert MARIADB_PASSWORD.encode() not in content


def test_the_command_shows_both_sides_and_says_when_there_is_nothing_to_do(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bench.write(bench.parquet(files=2), slices=2)
    main(["import", "--party", str(file), "people"])
    shown = capsys.readouterr()
    assert "import people: 200 rows" in shown.out
    assert shown.out.count("Nullable(String)") == 1
    assert "checksums of all 2 columns are equal on both sides" in shown.err
    main(["import", "--party", str(file), "--json"])
    again = capsys.readouterr()
    assert json.loads(again.out)["rows"] == {"read": 200, "stored": 200}
    assert "nothing was copied: run 1 was finished at" in again.err
    assert "--run" in again.err


def test_a_finished_import_does_not_pass_for_one_of_other_settings(bench: Bench) -> None:
    table = bench.parquet(files=1)
    bench.run(table)
    with pytest.raises(ConfigError, match=r"Run 1 of import people is finished, with another table or target.*--run"):
        bench.run(table, to={"if_exists": "replace"})
    with pytest.raises(ConfigError, match="is finished, with another table"):
        bench.run({**table, "ignore": ["name"]})
    bench.clickhouse.execute("DROP TABLE people")
    assert bench.run({**table, "ignore": ["name"]}, label="2")["left out"] == ["name"]


def test_names_that_are_not_in_the_file_are_told(bench: Bench) -> None:
    party = load_own(bench.write(bench.parquet(files=1), order_by=["nme"]))
    with pytest.raises(ConfigError, match=r"no import 'persons' in .*; under `imports` it has: people"):
        steps.import_table(party, "persons", "1")
    with pytest.raises(ConfigError, match=r"'../1' cannot be the name"):
        steps.import_table(party, "people", "../1")
    with pytest.raises(TableError, match=r"`order_by` of the import names column 'nme'.*Did you mean 'name'"):
        steps.import_table(party, "people", "1")
    with pytest.raises(FedsparkError, match="already"):
        bench.run({**bench.clickhouse.conf(table="t"), "id": "id"})
