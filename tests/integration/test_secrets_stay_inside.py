"""Passwords and keys of a party are in no log, page, plan, command line, error, report or file of a run.

All that one process says while it loads tables of every kind, trains, scores, writes scores back, imports and fails is
gathered, and searched for each secret.
"""

from __future__ import annotations

import base64
import html
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from fedspark.exchange.store import StoreRef
from tests.example import PARTIES, Columns, Example, small_tables
from tests.integration.servers import ceph as s3
from tests.integration.servers import clickhouse as clickhouse_server
from tests.integration.servers import mariadb as mariadb_server
from tests.integration.servers.ceph import Ceph
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.hive import HiveServer2, Metastore
from tests.integration.servers.mariadb import MariaDB
from tests.integration.servers.proxy import Proxy
from tests.integration.servers.refusing import Refusing

pytestmark = [pytest.mark.spark, pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]
SECRETS = {
    "mysql": mariadb_server.PASSWORD,
    "clickhouse": clickhouse_server.PASSWORD,
    "hive": "pw-hive-2f90c6d81b",  # the server takes any
    "s3": s3.SECRETS["party-a"],
    "wrong": "wrong-c60b1f77e2",
    "setting": "pw-s3a-0d93f5b1/+x",
    "plain setting": "pw-plain-77aa01c9",
    "identity": "",  # known when the example is made
}
SETTINGS = {
    "spark.ui.enabled": "true",
    "spark.ui.port": "0",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.compress": "false",
    "spark.fedspark.plain": "env:FEDSPARK_TEST_PLAIN",
}

Said = dict[str, bytes]


@pytest.fixture(scope="module")
def said(
    mariadb: MariaDB, clickhouse: ClickHouse, hiveserver2: HiveServer2, metastore: Metastore, ceph: Ceph,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Said]:  # fmt: skip
    """All that a run says, by where it says so."""
    directory = tmp_path_factory.mktemp("said")
    proxy, loads = _tables(mariadb, clickhouse)
    refusing = Refusing()
    loads += _tables_of_hive(hiveserver2, metastore, refusing)
    example = _example(directory, mariadb, clickhouse, ceph)
    (directory / "loads.json").write_text(json.dumps(loads))
    (directory / "events").mkdir()
    environment = {
        **os.environ,
        "FEDSPARK_TEST_PLAIN": SECRETS["plain setting"],
        "FEDSPARK_TEST_WRONG": SECRETS["wrong"],
        "FEDSPARK_TEST_MARIADB": SECRETS["mysql"],
        "FEDSPARK_TEST_HIVE": SECRETS["hive"],
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.talkative", str(directory)],
        cwd=CHECKOUT, env=environment, capture_output=True, timeout=600, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    proxy.close()
    refusing.close()
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found = {"out": done.stdout, "err": done.stderr}
    for path in directory.rglob("*"):
        if path.is_file() and path.parent != example.directory / "keys":
            found[str(path.relative_to(directory))] = path.read_bytes()
    for bucket in ("said-meeting", "said-hospital"):
        store = StoreRef(f"s3://{bucket}", tuple(ceph.options("party-a").items())).open()
        found |= {f"s3://{bucket}/{name}": store.read(name) for name, _ in store.list()}
    assert any(SECRETS["wrong"].encode() in heard for heard in refusing.heard)
    assert len(mariadb.execute("SELECT * FROM said_scores")) == len(clickhouse.execute("SELECT * FROM said_scores")) > 0
    yield found
    mariadb.execute("DROP TABLE said_patients, said_scores")
    for table in ("said_newcomers", "said_scores", "said_copy"):
        clickhouse.execute(f"DROP TABLE {table}")


def _tables(mariadb: MariaDB, clickhouse: ClickHouse) -> tuple[Proxy, list[tuple[str, dict[str, Any]]]]:
    """Tables on the servers; those to be loaded, and those that must fail."""
    tables = small_tables()
    people: Columns = tables["hospital_patients"]
    mariadb.execute(
        "CREATE TABLE said_patients (patient_id VARCHAR(40), malignant INT, age_scaled DOUBLE, marker DOUBLE)"
    )
    mariadb.execute("INSERT INTO said_patients VALUES (%s, %s, %s, %s)", list(zip(*people.values(), strict=True)))
    clickhouse.execute(
        "CREATE TABLE said_newcomers (patient_id String, age_scaled Float64, marker Float64) ENGINE = Memory"
    )
    newcomers = zip(*tables["hospital_newcomers"].values(), strict=True)
    clickhouse.execute("INSERT INTO said_newcomers VALUES", list(newcomers))
    proxy = Proxy(clickhouse.port)
    proxy.cuts = [None, None, *[60] * 20]
    servers = {"mysql": (mariadb, "said_patients"), "clickhouse": (clickhouse, "said_newcomers")}
    loads: list[tuple[str, dict[str, Any]]] = []
    for kind, (server, table) in servers.items():
        conf = server.conf(table=table, id="patient_id")
        shard = server.conf(table=f"{table[:-1]}{{0..0}}")
        loads += [
            (kind, conf),
            (f"fails-{kind}-password", {**conf, "password": "env:FEDSPARK_TEST_WRONG"}),
            (f"fails-{kind}-user", {**conf, "user": "nobody"}),
            (f"fails-{kind}-database", {**conf, "database": "nowhere"}),
            (f"fails-{kind}-table", {**conf, "table": "nothing"}),
            (f"fails-{kind}-port", {**conf, "port": 1}),
            (f"fails-{kind}-where", {**conf, "where": "nothing = 1"}),
            (f"fails-{kind}-values", {**conf, "id": "age_scaled", "features": ["patient_id"]}),
            (f"fails-{kind}-sharded", {"kind": "sharded", "id": "patient_id", "shards": [shard]}),
        ]
        place = {key: value for key, value in conf.items() if key != "id"}
        loads.append((f"{kind}-sharded", {"kind": "sharded", "id": "patient_id", "shards": [place]}))
    loads.append(("fails-clickhouse-lost", clickhouse.conf(table="said_newcomers", id="patient_id", port=proxy.port)))
    return proxy, loads


def _tables_of_hive(server: HiveServer2, metastore: Metastore, refusing: Refusing) -> list[tuple[str, dict[str, Any]]]:
    """A table that the server and its metastore know, to be loaded, and so that it must fail."""
    people: Columns = small_tables()["hospital_patients"]
    rows = ", ".join(str(row) for row in zip(*(list(map(_plain, values)) for values in people.values()), strict=True))
    server.execute(
        "DROP TABLE IF EXISTS fed.said_patients",
        "CREATE TABLE fed.said_patients (patient_id STRING, malignant INT, age_scaled DOUBLE, marker DOUBLE) "
        "STORED AS PARQUET",
        f"INSERT INTO fed.said_patients VALUES {rows}",
    )
    more = {"table": "said_patients", "id": "patient_id"}
    confs = {
        "hive": metastore.conf(**more),
        "hiveserver2": server.conf(**more, auth="ldap", password="env:FEDSPARK_TEST_HIVE"),
    }
    loads: list[tuple[str, dict[str, Any]]] = []
    for kind, conf in confs.items():
        loads += [
            (kind, conf),
            (f"fails-{kind}-database", {**conf, "database": "nowhere"}),
            (f"fails-{kind}-table", {**conf, "table": "nothing"}),
            (f"fails-{kind}-where", {**conf, "where": "nothing = 1"}),
            (f"fails-{kind}-values", {**conf, "id": "age_scaled", "features": ["patient_id"]}),
        ]
    wrong = {**confs["hiveserver2"], "port": refusing.port, "password": "env:FEDSPARK_TEST_WRONG"}
    return [
        *loads,
        ("fails-hive-port", {**confs["hive"], "metastore": "thrift://127.0.0.1:1"}),
        ("fails-hiveserver2-port", {**confs["hiveserver2"], "port": 1}),
        ("fails-hiveserver2-password", wrong),
    ]


def _plain(value: Any) -> Any:
    """A value of Python's own, which Hive reads as Python shows it."""
    return value if isinstance(value, str) else float(value)


def _example(directory: Path, mariadb: MariaDB, clickhouse: ClickHouse, ceph: Ceph) -> Example:
    """Two data parties that meet in S3; the tables of the hospital are on servers, and its workspace is in S3."""
    example = Example.make(directory / "example")
    SECRETS["identity"] = (example.directory / "keys/hospital.key").read_text().strip()
    (ceph.directory / "setting").write_text(SECRETS["setting"])  # beside other secrets, where nobody searches
    (ceph.directory / "setting").chmod(0o600)
    settings = SETTINGS | {
        "spark.hadoop.fs.s3a.secret.key": f"file:{ceph.directory / 'setting'}",
        "spark.eventLog.dir": (directory / "events").as_uri(),
        "spark.local.dir": str(directory / "local"),
    }
    ceph.make_bucket("said-meeting")
    ceph.make_bucket("said-hospital")
    place = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/party-a"]}, "Action": ["s3:*"]}
    for bucket in ("said-meeting", "said-hospital"):
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        ceph.allow(bucket, json.dumps({"Version": "2012-10-17", "Statement": [{**place, "Resource": resources}]}))
    for name in PARTIES:
        example.edit(name, exchange={"url": "s3://said-meeting/runs", "options": ceph.options("party-a")})
        if name != "authority":
            example.edit(name, spark={"conf": settings})
    tables = {
        "patients": mariadb.conf(table="said_patients", id="patient_id", label="malignant"),
        "newcomers": clickhouse.conf(table="said_newcomers", id="patient_id"),
    }
    place = clickhouse.conf(table="said_copy")
    imports = {
        "copy": {"from": "patients", "to": place},
        "fails": {"from": "patients", "to": {**place, "table": "said_other", "password": "env:FEDSPARK_TEST_WRONG"}},
    }
    scores = {"predict": [mariadb.conf(table="said_scores"), clickhouse.conf(table="said_scores")]}
    work = {"files": "s3://said-hospital/files", "options": ceph.options("party-a")}
    example.edit("hospital", tables=tables, workspace=work, scores=scores, imports=imports)
    return example


def forms(secret: str) -> Iterator[bytes]:
    """The ways to write a secret that somebody could read it from."""
    yield from {
        secret.encode(),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        html.escape(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        secret.encode().hex().encode(),
    }
    for shift in range(3):  # in base64, wherever in a longer text
        text = base64.b64encode(b"\0" * shift + secret.encode())
        inner = text[-(-8 * shift // 6) : 8 * (shift + len(secret)) // 6]
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


@pytest.mark.parametrize("name", list(SECRETS))
def test_a_secret_is_nowhere(said: Said, name: str) -> None:
    assert [(where, form) for where, data in said.items() for form in forms(SECRETS[name]) if form in data] == []


def test_all_that_is_searched_was_said(said: Said) -> None:
    """Each place where a secret could be is there, and talks about what it belongs to."""
    log = said["said/python.log"]
    assert b"Command to send" in log
    assert b"Answer received" in log
    assert log.count(b"***") > 5  # secrets that were on their way to Java
    assert b"spark.hadoop.fs.s3a.secret.key" in log
    events = b"".join(data for where, data in said.items() if where.startswith("events/"))
    assert b"JDBCRelation" in events
    assert b"Spark DEBUG" in said["err"]
    pages = b"".join(data for where, data in said.items() if where.startswith("said/page-"))
    assert b"JDBCRelation" in pages
    for setting in (b"spark.hadoop.fs.s3a.secret.key", b"spark.fedspark.plain"):
        assert setting in pages
        assert setting in events
        assert setting not in said["said/processes"]
    assert b"org.apache.spark.deploy.SparkSubmit" in said["said/processes"]
    assert any(where.endswith(".html") for where in said)
    assert sum(where.startswith("said/load-fails-") for where in said) == 28
    for failed in ("load-fails-mysql-password", "load-fails-hiveserver2-password", "import-fails"):
        assert b"does not let user" in said[f"said/{failed}"]
    assert b"FileScan parquet" in said["said/load-hive"]
    assert b'"stored": 50' in said["said/import-copy"]
