"""Scores go back into warehouses: from part files to a real MariaDB and a real ClickHouse, and a whole run between."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedspark.buckets import SparkRunner
from fedspark.errors import StoreError
from fedspark.scoring import check_sinks, deliver
from fedspark.tables.clickhouse.sql import quoted
from tests.integration.mortal_delivery import watched
from tests.integration.servers.clickhouse import PASSWORD as CLICKHOUSE_PASSWORD
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.mariadb import PASSWORD as MARIADB_PASSWORD
from tests.integration.servers.mariadb import MariaDB
from tests.scoring.given_scores import COUNTS, expected, guest, written

IDS = {"person": "bigint"}
WAYS = ("refuse", "replace", "append")


class Warehouse:
    """One of the servers, empty at the beginning."""

    def __init__(self, server: MariaDB | ClickHouse, password: Path) -> None:
        self.server = server
        self.conf = {**server.conf(), "password": f"file:{password}"}
        for table in self.tables():
            self.server.execute(f"DROP TABLE {quoted(table)}")

    def sink(self, table: str = "scores", **more: Any) -> dict[str, Any]:
        return {**self.conf, "table": table, **more}

    def tables(self) -> list[str]:
        if isinstance(self.server, MariaDB):
            return sorted(name for (name,) in self.server.execute("SHOW TABLES"))
        return sorted(
            name for (name,) in self.server.execute("SELECT name FROM system.tables WHERE database = 'default'")
        )

    def rows(self, table: str = "scores", columns: str = "person, score, probability") -> list[tuple[Any, ...]]:
        return sorted(self.server.execute(f"SELECT {columns} FROM {table}"))


@pytest.fixture(params=["mariadb", "clickhouse"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    found = opened(request.getfixturevalue(request.param), tmp_path)
    yield found
    for table in found.tables():
        found.server.execute(f"DROP TABLE {quoted(table)}")


def opened(server: MariaDB | ClickHouse, folder: Path) -> Warehouse:
    password = folder / f"{type(server).__name__}.password"
    password.write_text(MARIADB_PASSWORD if isinstance(server, MariaDB) else CLICKHOUSE_PASSWORD)
    password.chmod(0o600)
    return Warehouse(server, password)


@pytest.mark.parametrize("if_exists", WAYS)
def test_scores_arrive_with_integers_as_integers_and_nothing_else_stays(warehouse: Warehouse, if_exists: str) -> None:
    run = guest({"predict": warehouse.sink(if_exists=if_exists)}, label="2026-11-21")
    check_sinks(run, ["person"])
    (delivery,) = deliver(run, written(run), IDS)
    assert delivery.rows == sum(COUNTS)
    assert warehouse.rows() == expected(integers=True)
    if if_exists == "append":
        assert warehouse.rows(columns="DISTINCT run") == [("2026-11-21",)]
    assert warehouse.tables() == ["scores"]


@pytest.mark.parametrize("if_exists", WAYS)
def test_who_dies_before_or_after_any_statement_goes_on_and_rows_are_there_once(
    warehouse: Warehouse, if_exists: str
) -> None:
    died: set[str] = set()

    def death(statement: str) -> None:
        words = re.sub(r"[0-9a-f]{16,}", "*", statement)[:80]  # names that are drawn anew make no other statement
        if words not in died:
            died.add(words)
            raise KeyboardInterrupt

    run = guest({"predict": warehouse.sink(if_exists=if_exists)}, label="daily")
    files, seen, done = written(run), [], False
    while not done:
        try:
            with watched(death):
                deliver(run, files, IDS)
            done = True
        except KeyboardInterrupt:
            seen.append(len(warehouse.rows()) if "scores" in warehouse.tables() else 0)
    assert warehouse.rows() == expected(integers=True)
    assert set(seen) == {0, sum(COUNTS)}  # all at once
    assert len(seen) == len(died) > 16
    assert warehouse.tables() == ["scores"]


def test_a_table_of_somebody_else_is_refused_and_the_next_attempt_needs_this_sink_alone(warehouse: Warehouse) -> None:
    text = "TEXT" if isinstance(warehouse.server, MariaDB) else "String"
    engine = "" if isinstance(warehouse.server, MariaDB) else "ENGINE = Memory"
    warehouse.server.execute(f"CREATE TABLE theirs (person {text}) {engine}")
    run = guest({"predict": [warehouse.sink("theirs"), warehouse.sink("ours")]})
    files = written(run)
    for attempt in (lambda: check_sinks(run, ["person"]), lambda: deliver(run, files, IDS)):
        with pytest.raises(StoreError, match=r"theirs .*is there already.*`if_exists`"):
            attempt()
    assert warehouse.rows("theirs", "*") == []
    assert warehouse.rows("ours") == expected(integers=True)
    warehouse.server.execute("DROP TABLE theirs")
    warehouse.server.execute("DROP TABLE ours")  # it is not looked at again
    assert [one.rows for one in deliver(run, files, IDS)] == [705, 705]
    assert warehouse.tables() == ["theirs"]
    assert warehouse.rows("theirs") == expected(integers=True)


def test_daily_runs_write_to_the_same_table(warehouse: Warehouse) -> None:
    for label in ("2026-11-20", "2026-11-21"):
        sinks = [warehouse.sink("latest", if_exists="replace"), warehouse.sink("all_days", if_exists="append")]
        run = guest({"predict": sinks}, label=label)
        check_sinks(run, ["person"])
        deliver(run, written(run), IDS)
    assert warehouse.rows("latest") == expected(integers=True)
    counted = sorted(warehouse.server.execute("SELECT run, COUNT(*) FROM all_days GROUP BY run"))
    assert counted == [("2026-11-20", 705), ("2026-11-21", 705)]


@pytest.mark.spark
def test_spark_tasks_write_the_parts_and_passwords_are_not_in_them(
    warehouse: Warehouse, spark: Any, tmp_path: Path
) -> None:
    run = guest({"predict": warehouse.sink()}, base=tmp_path / "stores")
    object.__setattr__(run, "runner", SparkRunner(lambda: spark))
    deliver(run, written(run), IDS)
    assert warehouse.rows() == expected(integers=True)
    left = b"".join(path.read_bytes() for path in (tmp_path / "stores").rglob("*") if path.is_file())
    for secret in (MARIADB_PASSWORD, CLICKHOUSE_PASSWORD):
        assert secret.encode() not in left


@pytest.mark.slow
def test_processes_that_are_killed_leave_every_row_once(warehouse: Warehouse, tmp_path: Path) -> None:
    if isinstance(warehouse.server, MariaDB):
        moments = ["after REPLACE INTO", "after DELETE FROM", "after INSERT INTO", "DROP TABLE IF EXISTS"]
    else:
        moments = ["after INSERT INTO", "RENAME TABLE", "after REPLACE PARTITION", "DROP TABLE IF EXISTS"]
    (tmp_path / "sink.json").write_text(json.dumps(warehouse.sink(if_exists="append")))
    (tmp_path / "moments.json").write_text(json.dumps(moments))
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        command = [sys.executable, "-m", "tests.integration.mortal_delivery", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
        codes.append(done.returncode)
    assert (codes, done.stdout.strip()) == ([-signal.SIGKILL] * len(moments) + [0], "705"), done.stderr
    assert warehouse.rows() == expected(integers=True)
    assert warehouse.tables() == ["scores"]
