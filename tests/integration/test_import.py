"""Tables of MariaDB and of files imported into ClickHouse: values, refusals, imports that are stopped and go on."""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
import yaml

from fedspark.cli import main
from fedspark.conf.own_file import load_own
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.steps import import_job as job
from fedspark.steps import import_table as steps
from tests.integration.servers.clickhouse import PASSWORD as CLICKHOUSE_PASSWORD
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.hive import Metastore
from tests.integration.servers.mariadb import PASSWORD as MARIADB_PASSWORD
from tests.integration.servers.mariadb import MariaDB
from tests.integration.servers.proxy import Proxy
from tests.integration.test_hive import Hive

pytestmark = pytest.mark.spark

CHECKOUT = Path(__file__).parents[2]


class Bench:
    """A party file of one's own, which imports a table ``people`` to a table ``people``."""

    def __init__(self, directory: Path, clickhouse: ClickHouse) -> None:
        self.directory = directory
        self.clickhouse = clickhouse
        self.file = directory / "party.yaml"

    def write(self, table: dict[str, Any], *, to: dict[str, Any] | None = None, **conf: Any) -> Path:
        target = self.clickhouse.conf(table="people", **(to or {}))
        content = {
            "party": "clinic",
            "workspace": {"files": "workspace"},
            "spark": {"master": "local[2]"},
            "tables": {"people": table},
            "imports": {"people": {"from": "people", "to": target, **conf}},
        }
        self.file.write_text(yaml.safe_dump(content))
        return self.file

    def run(self, table: dict[str, Any], *, label: str = "1", restart: bool = False, **conf: Any) -> dict[str, Any]:
        return steps.import_table(load_own(self.write(table, **conf)), None, label, restart=restart)

    def parquet(self, files: int, rows: int = 100, start: int = 0) -> dict[str, Any]:
        """A table of ``files`` files, of as many slices."""
        for k in range(files):
            ids = range(start + k * rows, start + (k + 1) * rows)
            table = pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{n}" for n in ids]})
            path = self.directory / f"people/{k:02}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path)
        return {"kind": "parquet", "path": "people", "id": "id"}

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return list(self.clickhouse.execute(f"SELECT {columns} FROM people ORDER BY id"))

    def tables(self) -> list[str]:
        """Names of what is in the database besides the imported table."""
        names = self.clickhouse.execute("SELECT name FROM system.tables WHERE database = 'default'")
        return sorted(name for (name,) in names if name != "people")


@pytest.fixture
def bench(
    tmp_path: Path, clickhouse: ClickHouse, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:  # fmt: skip
    monkeypatch.setattr(steps, "start_session", lambda conf, name: spark)
    made = Bench(tmp_path, clickhouse)
    yield made
    for name in [*made.tables(), "people"]:
        clickhouse.execute(f"DROP TABLE IF EXISTS `{name}`")


@pytest.fixture
def mysql(mariadb: MariaDB) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make a table of MariaDB; its keys in a party file."""
    names: list[str] = []

    def make(columns: str, rows: list[tuple[Any, ...]], name: str = "people", **conf: Any) -> dict[str, Any]:
        mariadb.execute(f"CREATE TABLE {name} ({columns}) CHARACTER SET utf8mb4")
        names.append(name)
        mariadb.execute(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)
        return mariadb.conf(table=name, id="id", **conf)

    yield make
    for name in names:
        mariadb.execute(f"DROP TABLE IF EXISTS {name}")


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


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_without_reading_again_what_is_there(bench: Bench) -> None:
    table = bench.parquet(files=12, rows=5_000)
    file = bench.write(table, slices=12)
    spark_submit = str(Path(pyspark.__file__).parent / "bin/spark-submit")
    options = ["--master", "local[1]", "--conf", "spark.ui.enabled=false"]
    java = ["--driver-java-options", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"]
    process = subprocess.Popen(
        [spark_submit, *options, *java, str(CHECKOUT / "jobs/import_table.py"), "--party", str(file)],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYSPARK_PYTHON": sys.executable},
    )  # fmt: skip
    assert process.stderr is not None
    slices = bench.directory / "workspace/imports/people/1/slices"
    while len(list(slices.glob("*.json"))) < 2:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()
    there = {path.name: path.stat().st_mtime_ns for path in slices.glob("*.json")}
    assert 2 <= len(there) < 12
    assert "people" not in [name for (name,) in bench.clickhouse.execute("SHOW TABLES")]
    record = bench.run(table, slices=12)
    # A slice whose record was written but that had no name yet is read again.
    assert 12 - len(there) <= record["slices"]["read by the last attempt"] <= 12 - len(there) + 1
    assert bench.rows("id, name") == [(n, f"n{n}") for n in range(60_000)]
    assert bench.tables() == []
    assert bench.run(table, slices=12) == record


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, list[int | None]], int]]:
    """A port that leads to another one, and whose connections are cut so, from the moment when slices are read."""
    monkeypatch.setattr(job, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(job, "_watched", lambda *_: contextlib.nullcontext())  # which has connections of its own
    proxies: list[Proxy] = []
    run = job._run

    def make(port: int, cuts: list[int | None]) -> int:
        proxy = Proxy(port)
        proxies.append(proxy)

        def cutting(*arguments: Any) -> Any:
            if cuts:
                proxy.cuts, cuts[:] = list(cuts), []
            return run(*arguments)

        monkeypatch.setattr(job, "_run", cutting)
        return proxy.port

    yield make
    for proxy in proxies:
        proxy.close()


@pytest.mark.parametrize("after", [0, 100, 300, 600])
def test_wherever_the_connection_to_the_target_is_lost_rows_arrive_once(
    bench: Bench, cut: Any, capsys: pytest.CaptureFixture[str], after: int
) -> None:
    port = cut(bench.clickhouse.port, [after, after, None, after])
    bench.run(bench.parquet(files=3), slices=3, to={"port": port})
    assert "a connection was lost; what it kept from being read is read again" in capsys.readouterr().err
    assert bench.rows() == [(n, f"n{n}") for n in range(300)]
    assert bench.tables() == []


def test_a_connection_to_the_source_that_is_lost_is_made_again(
    bench: Bench, cut: Any, mysql: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    table = mysql("id INT PRIMARY KEY, name VARCHAR(900)", [(n, "x" * 900) for n in range(1000)])
    bench.run({**table, "port": cut(table["port"], [100_000])}, slices=2)
    assert "a connection was lost" in capsys.readouterr().err
    assert bench.rows() == [(n, "x" * 900) for n in range(1000)]


@pytest.fixture
def stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do an import up to the moment when its rows would be shown."""

    def stop(table: dict[str, Any], **conf: Any) -> None:
        with monkeypatch.context() as patch:

            def finish(*_: Any) -> None:
                raise StoreError("stopped here")

            patch.setattr(steps._Import, "_finish", finish)
            with pytest.raises(StoreError, match="stopped here"):
                bench.run(table, **conf)

    return stop


def test_a_slice_that_is_changed_where_it_lies_is_found_and_read_again(bench: Bench, stopped: Any) -> None:
    table = bench.parquet(files=3)
    stopped(table, slices=3)
    part = next(name for name in bench.tables() if name.endswith("_part_1"))
    bench.clickhouse.execute(f"CREATE TABLE other AS `{part}`")
    bench.clickhouse.execute(f"INSERT INTO other SELECT id, if(id % 100 = 7, '', name) FROM `{part}`")
    bench.clickhouse.execute(f"RENAME TABLE `{part}` TO old, other TO `{part}`")
    bench.clickhouse.execute("DROP TABLE old")
    with pytest.raises(StoreError, match=r"column 'name' has other values; nothing is shown. Slices 1 were dropped"):
        bench.run(table, slices=3)
    assert "people" not in [name for (name,) in bench.clickhouse.execute("SHOW TABLES")]
    record = bench.run(table, slices=3)
    assert record["slices"] == {"all": 3, "read by the last attempt": 1}
    assert bench.rows() == [(n, f"n{n}") for n in range(300)]


def test_rows_that_come_twice_where_they_lie_are_found(bench: Bench, stopped: Any) -> None:
    table = bench.parquet(files=2)
    stopped(table, slices=2)
    part = next(name for name in bench.tables() if name.endswith("_part_0"))
    bench.clickhouse.execute(f"INSERT INTO `{part}` SELECT * FROM `{part}` LIMIT 1")
    with pytest.raises(StoreError, match=r"200 rows .* 201.*Slices 0 were dropped, to be read again"):
        bench.run(table, slices=2)
    bench.run(table, slices=2)
    assert bench.rows() == [(n, f"n{n}") for n in range(200)]


def test_files_that_change_between_attempts_are_refused_until_one_begins_again(bench: Bench, stopped: Any) -> None:
    table = bench.parquet(files=3)
    stopped(table, slices=3)
    pq.write_table(pa.table({"id": [1], "name": ["x"]}), bench.directory / "people/01.parquet")
    with pytest.raises(TableError, match=r"changed since the import was begun: .* of 3 slices are others.*--restart"):
        bench.run(table, slices=3)
    bench.run(table, slices=3, restart=True)
    assert len(bench.rows()) == 201
    assert bench.tables() == []


def test_rows_and_columns_that_come_between_attempts_are_refused(
    bench: Bench, stopped: Any, mysql: Callable[..., dict[str, Any]], mariadb: MariaDB
) -> None:
    table = mysql("id INT PRIMARY KEY, name VARCHAR(9)", [(n, f"n{n}") for n in range(0, 100, 2)])
    stopped(table, slices=2)
    mariadb.execute("INSERT INTO people VALUES (51, 'new')")
    with pytest.raises(TableError, match=r"changed since the import was begun: 50 rows then, 51 now"):
        bench.run(table, slices=2)
    mariadb.execute("DELETE FROM people WHERE id = 51")
    mariadb.execute("ALTER TABLE people ADD COLUMN age INT")
    with pytest.raises(TableError, match=r"columns are others: 'age' \(int\(11\)\)"):
        bench.run(table, slices=2)
    with pytest.raises(ConfigError, match=r"begun with another table or target in .*--restart"):
        bench.run(table, slices=2, as_text=["name"])
    bench.run(table, slices=2, label="another")
    assert len(bench.rows()) == 50


def test_a_table_that_is_there_stays_or_is_replaced_at_once(bench: Bench, stopped: Any) -> None:
    table = bench.parquet(files=2)
    bench.clickhouse.execute("CREATE TABLE people (id Int64, name String) ENGINE = MergeTree PARTITION BY id % 3 "
                             "ORDER BY (name, id)")  # fmt: skip
    bench.clickhouse.execute("INSERT INTO people SELECT 0, 'old'")
    with pytest.raises(TableError, match=r"it is there already\. .*`if_exists: replace`, which"):
        bench.run(table)
    stopped(table, slices=2, to={"if_exists": "replace"})
    assert bench.rows() == [(0, "old")]
    bench.run(table, slices=2, to={"if_exists": "replace"})
    assert bench.rows() == [(n, f"n{n}") for n in range(200)]
    key = "SELECT sorting_key FROM system.tables WHERE name = 'people'"
    assert "name" in str(bench.clickhouse.execute("SHOW CREATE TABLE people") + bench.clickhouse.execute(key))
    bench.clickhouse.execute("DROP TABLE people")
    bench.clickhouse.execute("CREATE TABLE people (id Int32) ENGINE = MergeTree ORDER BY id")
    with pytest.raises(TableError, match=r"'id' of .* is Int32, and is to be Int64.*'name' of .* is not there"):
        bench.run(table, label="b", to={"if_exists": "replace"})


@pytest.mark.parametrize("if_exists", ["refuse", "replace"])
def test_an_attempt_that_dies_once_its_rows_are_shown_is_finished_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, if_exists: str
) -> None:
    table = bench.parquet(files=2)
    with monkeypatch.context() as patch:

        def die(*_: Any) -> None:
            raise StoreError("died here")

        patch.setattr(steps._Import, "_record", die)
        with pytest.raises(StoreError, match="died here"):
            bench.run(table, slices=2, to={"if_exists": if_exists})
    assert len(bench.rows()) == 200
    record = bench.run(table, slices=2, to={"if_exists": if_exists})
    assert record["slices"] == {"all": 2, "read by the last attempt": 0}
    assert bench.rows() == [(n, f"n{n}") for n in range(200)]
    assert bench.tables() == []


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
    assert "is finished; the next one needs another name" in again.err


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
