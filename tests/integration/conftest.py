"""Servers of the session, each started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.integration.servers.ceph import Ceph, ceph_programs
from tests.integration.servers.clickhouse import ClickHouse, clickhouse_binary
from tests.integration.servers.hive import DATABASE, HiveServer2, Metastore
from tests.integration.servers.mariadb import MariaDB, mariadb_binary

# A large package that nothing but these tests would need.
collect_ignore = [] if find_spec("chdb") else ["test_clickhouse_current_sql.py"]


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """An S3 endpoint with three accounts and no buckets."""
    server = Ceph(ceph_programs(), tmp_path_factory.mktemp("ceph"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse]:
    """A ClickHouse server."""
    server = ClickHouse(clickhouse_binary(), tmp_path_factory.mktemp("clickhouse"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def metastore(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metastore]:
    """A Hive metastore without tables."""
    pytest.importorskip("pyspark")
    server = Metastore(tmp_path_factory.mktemp("metastore"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def hiveserver2(metastore: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HiveServer2]:
    """A server that speaks HiveServer2's protocol, with one database, and PyHive."""
    pytest.importorskip("pyhive")
    server = HiveServer2(tmp_path_factory.mktemp("hiveserver2"), metastore)
    server.start()
    server.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDB]:
    """A MariaDB server, and PyMySQL."""
    pytest.importorskip("pymysql")
    server = MariaDB(mariadb_binary(), tmp_path_factory.mktemp("mariadb"))
    yield server
    server.stop()
