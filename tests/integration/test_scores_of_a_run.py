"""Sinks in a run: looked at before it computes anything, and a step of their own when one of them fails at its end."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from fedspark.errors import StoreError
from fedspark.run.status import OPENING
from fedspark.tables.mysql import writer
from tests.example import Example, fedspark, small_tables
from tests.integration.servers.clickhouse import PASSWORD as CLICKHOUSE_PASSWORD
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.mariadb import PASSWORD as MARIADB_PASSWORD
from tests.integration.servers.mariadb import MariaDB


@pytest.fixture
def servers(mariadb: MariaDB, clickhouse: ClickHouse) -> Iterator[tuple[MariaDB, ClickHouse]]:
    def drop() -> None:
        mariadb.execute("DROP TABLE IF EXISTS scores, newcomers")
        clickhouse.execute("DROP TABLE IF EXISTS scores")

    drop()
    yield mariadb, clickhouse
    drop()


@pytest.fixture
def example(tmp_path: Any) -> Example:
    return Example.make(tmp_path / "example")


def check(example: Example, scores: Any) -> tuple[int, str]:
    example.edit("hospital", scores=scores)
    outcome = fedspark("check", str(example.file("hospital")), str(example.file("pipeline")))
    assert "Traceback" not in outcome.err
    for secret in (MARIADB_PASSWORD, CLICKHOUSE_PASSWORD, "not-it"):
        assert secret not in outcome.err + outcome.out
    return outcome.code, outcome.said


def test_check_finds_a_wrong_password_a_server_that_is_down_and_a_table_that_is_there(
    servers: Any, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "not-it")
    mariadb, clickhouse = servers
    sinks = [mariadb.conf(table="scores"), clickhouse.conf(table="scores")]
    assert check(example, {"predict": sinks}) == (0, "")
    for sink in sinks:
        code, said = check(example, {"predict": {**sink, "password": "env:WRONG"}})
        assert code == 78
        assert "hospital.yaml: scores.predict: " in said
        assert "does not let user 'fed' in" in said
        code, said = check(example, {"predict": {**sink, "port": 1}})
        assert code == 78
        assert "scores at 127.0.0.1:1" in said.replace(" of ", " at ")
    mariadb.execute("CREATE TABLE scores (x INT)")
    clickhouse.execute("CREATE TABLE scores (x String) ENGINE = MergeTree ORDER BY x")
    code, said = check(example, {"predict": sinks})
    assert (code, said.count("is there already")) == (78, 2)
    code, said = check(example, {"predict": [{**sink, "if_exists": "append"} for sink in sinks]})
    assert code == 78
    assert "it has no column 'patient_id', 'score', 'probability', 'run'" in said  # of MariaDB
    assert "it has no partitions, and `if_exists: append` needs one per run" in said  # of ClickHouse
    assert mariadb.execute("SHOW TABLES") == [("scores",)]
    assert clickhouse.execute("SHOW TABLES") == [("scores",)]


def test_a_run_ends_before_it_computes_anything(servers: Any, example: Example) -> None:
    mariadb, _ = servers
    mariadb.execute("CREATE TABLE scores (x INT)")
    example.edit("hospital", scores={"predict": mariadb.conf(table="scores")})
    example.greet()
    with pytest.raises(StoreError, match=r"Table fed.scores of .* is there already"):
        example.run("hospital")
    place = example.place("hospital")
    assert place.workspace.store.list(place.workspace.name("steps")) == []
    assert place.workspace.store.list(place.workspace.name("tables")) == []
    told = place.status.get(OPENING)
    assert told is not None
    assert "is there already" in told["message"]


@pytest.mark.slow
@pytest.mark.spark
def test_a_sink_that_refuses_at_the_end_stops_nobody_and_is_served_by_the_next_attempt_alone(
    servers: Any, tmp_path: Any, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = small_tables()
    names = sorted({name for table in tables.values() for name in table["patient_id"]})
    numbers = {name: 10**12 + place for place, name in enumerate(names)}
    for table in tables.values():
        table["patient_id"] = [numbers[name] for name in table["patient_id"]]
    example = Example.make(tmp_path / "example", tables)
    mariadb, clickhouse = servers
    mariadb.execute("CREATE TABLE newcomers (patient_id BIGINT, age_scaled DOUBLE, marker DOUBLE)")
    rows = list(zip(*tables["hospital_newcomers"].values(), strict=True))
    mariadb.execute("INSERT INTO newcomers VALUES (%s, %s, %s)", rows)
    newcomers = {"newcomers": mariadb.conf(table="newcomers", id="patient_id")}
    sinks = [mariadb.conf(table="scores"), clickhouse.conf(table="scores", if_exists="append")]
    example.edit("hospital", scores={"predict": sinks}, tables=newcomers)
    looked = writer.check

    def taken_meanwhile(writing: Any) -> None:
        looked(writing)
        mariadb.execute("CREATE TABLE scores (x INT)")

    monkeypatch.setattr(writer, "check", taken_meanwhile)
    errors = example.play()
    assert [(name, type(error)) for name, error in errors.items()] == [("hospital", StoreError)], errors
    assert "is there already" in str(errors["hospital"])
    mariadb.execute("DROP TABLE scores")
    monkeypatch.setattr(writer, "check", looked)

    example.run("hospital", wait_seconds=0)
    workspace = example.place("hospital").workspace
    scores = pq.read_table(io.BytesIO(workspace.read("steps/predict/scores/part-00000.parquet")))
    rows = sorted((int(person), *rest) for person, *rest in zip(*scores.to_pydict().values(), strict=True))
    assert len(rows) == 10
    assert sorted(mariadb.execute("SELECT patient_id, score, probability FROM scores")) == rows
    assert sorted(clickhouse.execute("SELECT patient_id, score, probability FROM scores WHERE run = '1'")) == rows
    report = workspace.read("report.html").decode()
    for words in ("Scores written to tables", f"mysql://127.0.0.1:{mariadb.port}/fed/scores", "clickhouse://127.0.0.1"):
        assert words in report
    for path, data in example.files("").items():
        for secret in (MARIADB_PASSWORD, CLICKHOUSE_PASSWORD):
            assert secret.encode() not in data, path
