"""`fedspark check` looks at tables on servers: before a run is begun, without Spark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.example import Example, Outcome, fedspark
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.hive import HiveServer2
from tests.integration.servers.mariadb import MariaDB
from tests.integration.servers.ports import free_port

COLUMNS = "patient_id VARCHAR(20), malignant INT, age INT, ward VARCHAR(9)"


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., Outcome]:
    example = Example.make(tmp_path / "example")

    def run(**table: Any) -> Outcome:
        """The check of a party file whose table for training is this one."""
        keys = {"id": "patient_id", "label": "malignant", "features": ["age"]}
        newcomers = example.party("hospital").tables["newcomers"].model_dump(include={"kind", "path", "id"})
        example.edit("hospital", tables={"patients": {**keys, **table}, "newcomers": newcomers})
        outcome = fedspark("check", str(example.file("hospital")), str(example.file("pipeline")))
        assert "Traceback" not in outcome.err
        return outcome

    return run


@pytest.fixture
def in_mariadb(mariadb: MariaDB) -> Iterator[MariaDB]:
    mariadb.execute(f"CREATE TABLE patients ({COLUMNS})")
    yield mariadb
    mariadb.execute("DROP TABLE patients")


@pytest.fixture
def in_clickhouse(clickhouse: ClickHouse) -> Iterator[ClickHouse]:
    columns = "patient_id String, malignant Int32, age Int32, ward String"
    clickhouse.execute(f"CREATE TABLE default.patients ({columns}) ENGINE = MergeTree ORDER BY patient_id")
    yield clickhouse
    clickhouse.execute("DROP TABLE default.patients")


@pytest.fixture
def in_hive(hiveserver2: HiveServer2) -> Iterator[HiveServer2]:
    columns = COLUMNS.replace("VARCHAR(20)", "STRING").replace("VARCHAR(9)", "STRING")
    hiveserver2.execute(f"CREATE TABLE fed.patients ({columns}) STORED AS PARQUET")
    yield hiveserver2
    hiveserver2.execute("DROP TABLE fed.patients")


@pytest.fixture(params=["in_mariadb", "in_clickhouse", "in_hive"])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_a_table_that_is_as_the_party_file_says_passes(check: Any, server: Any) -> None:
    outcome = check(**server.conf(table="patients"))
    assert (outcome.code, outcome.err) == (0, "")
    assert "note:" not in outcome.out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"table": "patiens"}, "there is no such table. Did you mean 'patients'?"),
        ({"id": "patientid"}, "'patientid'"),
        ({"label": "malign"}, "'malign'"),
        ({"features": ["agee"]}, "'agee'"),
        ({"port": free_port()}, "no answer"),
    ],
)
def test_what_a_load_would_refuse_is_told_before(check: Any, server: Any, wrong: dict[str, Any], said: str) -> None:
    outcome = check(**{**server.conf(table="patients"), **wrong})
    assert outcome.code == 78
    if said != "no answer":
        assert said in outcome.said
    assert "hospital.yaml: Table 'patients' (" in outcome.said


def test_a_password_that_is_wrong_or_missing_is_told_before(check: Any, in_mariadb: MariaDB) -> None:
    os.environ["FEDSPARK_TEST_WRONG"] = "not-the-password-9137"
    conf = in_mariadb.conf(table="patients")
    outcome = check(**{**conf, "password": "env:FEDSPARK_TEST_WRONG"})
    assert outcome.code == 78
    assert "does not let user 'fed' in" in outcome.said
    assert "9137" not in outcome.said
    assert "env:NOBODY_SET_THIS" in check(**{**conf, "password": "env:NOBODY_SET_THIS"}).said


def test_of_a_table_in_shards_the_first_is_looked_at(check: Any, in_mariadb: MariaDB) -> None:
    shard = in_mariadb.conf(table="patient{0..1}")
    assert "there is no such table. Did you mean 'patients'?" in check(kind="sharded", shards=[shard]).said
    assert check(kind="sharded", shards=[in_mariadb.conf(table="patients")]).code == 0


def test_what_is_not_looked_at_is_a_note(check: Any) -> None:
    outcome = check(kind="hive", metastore=f"thrift://127.0.0.1:{free_port()}", table="patients")
    assert outcome.code == 0
    assert "note:" in outcome.out
    assert "table 'patients' was not looked at: tables of kind hive" in " ".join(outcome.out.split())
