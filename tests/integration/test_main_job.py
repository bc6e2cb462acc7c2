"""The main job on real data whose tables lie in warehouses: from there to scores that are back in them.

What `make demo` does with files, a company does with servers: the parties, each a process of its own, read their tables
where they are, train, evaluate and score, and the guest's scores go back to tables beside the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from conf.example import demo
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.hive import DATABASE, HiveServer2, Metastore
from tests.integration.servers.mariadb import MariaDB

pytestmark = [pytest.mark.spark, pytest.mark.slow]

PATIENCE_SECONDS = 600
Scores = dict[str, tuple[float, float]]
Put = Callable[[str, Mapping[str, np.ndarray]], dict[str, Any]]
"""Stores a table by name, and returns its keys of a party file."""


def play(directory: Path, tables: Mapping[str, dict[str, Any]], scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the demo's pipeline with tables ``party_name`` from elsewhere; the figures of `demo.summarise`."""
    made = demo.make_tables()
    demo.set_up(directory, made)
    for file in (directory / "data").iterdir():
        file.unlink()  # whoever still read files would fail
    for party in ("hospital", "laboratory"):
        path = directory / f"{party}.yaml"
        content = yaml.safe_load(path.read_text())
        for name in ("patients", "newcomers"):
            label = {"label": "malignant"} if (party, name) == ("hospital", "patients") else {}
            content["tables"][name] = {"id": "patient_id", **label, **tables[f"{party}_{name}"]}
        if party == "hospital":
            content["scores"] = {"predict": scores}
        path.write_text(yaml.safe_dump(content))
    command = [sys.executable, "-m", "fedspark", "local", str(directory / "local.yaml"), "--run", demo.RUN]
    root = str(Path(demo.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return demo.summarise(directory, made, 0.0)


def filed(directory: Path) -> Scores:
    """Scores and probabilities of the score files, by patient."""
    folder = directory / "work/hospital/runs/breast-cancer/demo/1/steps/predict/scores"
    assert (folder / "_SUCCESS").is_file()
    names = [entry["name"] for entry in json.loads((folder / "manifest.json").read_text())["files"]]
    table = pa.concat_tables(pq.read_table(folder / name) for name in names if name.endswith(".parquet"))
    return by_patient(zip(*(table[name].to_pylist() for name in ("patient_id", "score", "probability")), strict=True))


def by_patient(rows: Any) -> Scores:
    listed = list(rows)
    scores = {patient: (score, probability) for patient, score, probability in listed}
    assert len(scores) == len(listed)
    return scores


def check(directory: Path, figures: Mapping[str, Any], *found: Scores) -> None:
    """The model is the pooled one, and every place has the scores of every patient in common, once and unchanged."""
    assert figures["auc"]["federated"] == pytest.approx(figures["auc"]["pooled_same_objective"], abs=1e-3)
    assert figures["auc"]["federated"] > figures["auc"]["guest_only"] + 0.05
    made = demo.make_tables()
    common = np.intersect1d(made["hospital_newcomers"]["patient_id"], made["laboratory_newcomers"]["patient_id"])
    scores = filed(directory)
    assert sorted(scores) == common.tolist()
    for place in found:
        assert place == scores


# ---- guest in MySQL, host in ClickHouse ------------------------------------------------------------------------------


@pytest.fixture
def in_mariadb(mariadb: MariaDB) -> Iterator[Put]:
    made: list[str] = []

    def put(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        kinds = {"U": "VARCHAR(20)", "i": "INT", "f": "DOUBLE"}
        content = ", ".join(f"`{column}` {kinds[values.dtype.kind]}" for column, values in columns.items())
        mariadb.execute(f"CREATE TABLE {name} ({content})")
        made.append(name)
        rows = list(zip(*(values.tolist() for values in columns.values()), strict=True))
        mariadb.execute(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(columns))})", rows)
        return mariadb.conf(table=name)

    yield put
    for name in [*made, "scores"]:
        mariadb.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture
def in_clickhouse(clickhouse: ClickHouse) -> Iterator[Put]:
    clickhouse.execute("CREATE DATABASE main_job")

    def put(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        kinds = {"U": "String", "i": "Int32", "f": "Float64"}
        content = ", ".join(f"`{column}` {kinds[values.dtype.kind]}" for column, values in columns.items())
        clickhouse.execute(f"CREATE TABLE main_job.{name} ({content}) ENGINE = MergeTree ORDER BY patient_id")
        values = [column.tolist() for column in columns.values()]
        clickhouse.execute(f"INSERT INTO main_job.{name} VALUES", values, columnar=True)
        return clickhouse.conf(database="main_job", table=name)

    yield put
    clickhouse.execute("DROP DATABASE main_job")


def test_guest_in_mysql_and_host_in_clickhouse_with_scores_in_both(
    tmp_path: Path, mariadb: MariaDB, clickhouse: ClickHouse, in_mariadb: Put, in_clickhouse: Put
) -> None:
    made = demo.make_tables()
    places = {name: (in_mariadb if "hospital" in name else in_clickhouse)(name, made[name]) for name in made}
    scores = [mariadb.conf(table="scores"), clickhouse.conf(database="main_job", table="scores")]
    figures = play(tmp_path / "job", places, scores)
    query = "SELECT patient_id, score, probability FROM {}"
    check(
        tmp_path / "job",
        figures,
        by_patient(mariadb.execute(query.format("scores"))),
        by_patient(clickhouse.execute(query.format("main_job.scores"))),
    )


# ---- guest in Hive, host in MySQL's shards ---------------------------------------------------------------------------

DAY = "2026-11-20"
SHARDS = [f"fed_lab_{database}.people_{table:02d}" for database in range(2) for table in range(3)]


@pytest.fixture
def in_hive(metastore: Metastore, hiveserver2: HiveServer2) -> Iterator[Put]:
    """Partitioned tables: read from the metastore the one with labels, through HiveServer2 the other."""
    made: list[str] = []

    def put(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        kinds = {"U": "STRING", "i": "INT", "f": "DOUBLE"}
        content = ", ".join(f"`{column}` {kinds[values.dtype.kind]}" for column, values in columns.items())
        hiveserver2.execute(
            f"CREATE TABLE {DATABASE}.{name} ({content}) PARTITIONED BY (dt STRING) STORED AS PARQUET",
            *(insert(f"{DATABASE}.{name}", columns, day) for day in (DAY, "2026-11-19")),
        )
        made.append(name)
        of = metastore if name.endswith("patients") else hiveserver2
        return of.conf(table=name, partitions={"dt": DAY}, ignore=["dt"])

    yield put
    for name in [*made, "scores_of_days"]:
        hiveserver2.execute(f"DROP TABLE IF EXISTS {DATABASE}.{name}")


def insert(table: str, columns: Mapping[str, np.ndarray], day: str) -> str:
    """The statement that writes all rows into the partition of ``DAY``, or worthless ones into that of another."""
    spoilt = {
        name: values if day == DAY or values.dtype.kind == "U" else 7 * values for name, values in columns.items()
    }
    rows = zip(*(values.tolist() for values in spoilt.values()), strict=True)
    texts = (", ".join(repr(value) + ("D" if isinstance(value, float) else "") for value in row) for row in rows)
    return f"INSERT INTO {table} PARTITION (dt='{day}') VALUES {', '.join(f'({text})' for text in texts)}"


@pytest.fixture
def in_shards(mariadb: MariaDB, in_mariadb: Put) -> Iterator[Put]:
    """Patients over six tables of two databases; newcomers in one table."""
    for database in range(2):
        mariadb.execute(f"CREATE DATABASE fed_lab_{database}")

    def put(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
        if not name.endswith("patients"):
            return in_mariadb(name, columns)
        for number, shard in enumerate(SHARDS):
            in_mariadb(shard, {column: values[number :: len(SHARDS)] for column, values in columns.items()})
        pattern = mariadb.conf(database="fed_lab_{0..1}", table="people_{00..02}")
        return {"kind": "sharded", "shards": [pattern]}

    yield put
    for database in range(2):
        mariadb.execute(f"DROP DATABASE fed_lab_{database}")


def test_guest_in_hive_and_host_in_shards_of_mysql_with_scores_in_a_partition_and_a_table(
    tmp_path: Path, metastore: Metastore, hiveserver2: HiveServer2, mariadb: MariaDB, in_hive: Put, in_shards: Put
) -> None:
    made = demo.make_tables()
    places = {name: (in_hive if "hospital" in name else in_shards)(name, made[name]) for name in made}
    scores = [
        metastore.conf(table="scores_of_days", partition={"dt": DAY}),
        mariadb.conf(table="scores"),
    ]
    figures = play(tmp_path / "job", places, scores)
    columns = "patient_id, score, probability"
    check(
        tmp_path / "job",
        figures,
        by_patient(hiveserver2.execute(f"SELECT {columns} FROM {DATABASE}.scores_of_days WHERE dt = '{DAY}'")),
        by_patient(mariadb.execute(f"SELECT {columns} FROM scores")),
    )
