"""Imports into ClickHouse that are killed, lose a side, or find another source or target when they go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest

from fedspark.errors import ConfigError, StoreError, TableError
from fedspark.steps import import_job as job
from fedspark.steps import import_table as steps
from tests.integration.imports.conftest import Bench
from tests.integration.servers.mariadb import MariaDB
from tests.integration.servers.proxy import Proxy

pytestmark = pytest.mark.spark

CHECKOUT = Path(__file__).parents[3]


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
