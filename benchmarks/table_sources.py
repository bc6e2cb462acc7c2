"""Where benchmarks.tables finds its table: files written once, servers started once, all in one folder."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import people


@dataclass(frozen=True)
class _Dialect:
    """Types, the end of CREATE TABLE, and a table of the numbers from 1 with the name of its column."""

    text: str
    real: str
    integer: str
    short: str
    end: str
    numbers: str
    number: str


_DIALECTS = {
    "clickhouse": _Dialect(
        "String", "Float64", "Int32", "String", ") ENGINE = MergeTree ORDER BY id", "numbers(1, {rows})", "number"
    ),
    "mysql": _Dialect("VARCHAR(20) NOT NULL PRIMARY KEY", "DOUBLE", "INT", "VARCHAR(8)", ")", "seq_1_to_{rows}", "seq"),
}
Place = Callable[[int], dict[str, Any]]
"""From a number of rows to the keys of a party file that say where a table of that size is, made if it is not there."""


class Unavailable(Exception):
    """A server that cannot be had here; the message says why."""


def source(kind: str, folder: Path) -> AbstractContextManager[Place]:
    """Tables of that kind under ``folder``, while the context lasts. Raises Unavailable on entry."""
    return _SOURCES[kind](folder)


@contextlib.contextmanager
def _csv(folder: Path) -> Iterator[Place]:
    from pyarrow.csv import CSVWriter, WriteOptions

    options = WriteOptions(quoting_style="none")
    yield lambda rows: _file(folder, "csv", rows, lambda path, schema: CSVWriter(path, schema, write_options=options))


@contextlib.contextmanager
def _parquet(folder: Path) -> Iterator[Place]:
    import pyarrow.parquet

    yield lambda rows: _file(folder, "parquet", rows, pyarrow.parquet.ParquetWriter)


def _file(folder: Path, kind: str, rows: int, writer: Callable[[str, Any], Any]) -> dict[str, Any]:
    path = folder / f"people-{rows}.{kind}"
    if not path.exists():
        begun = path.with_suffix(".part")
        pieces = people.pieces(rows)
        first = next(pieces)
        with writer(str(begun), first.schema) as written:
            written.write_table(first)
            for piece in pieces:
                written.write_table(piece)
        begun.rename(path)
    return {"kind": kind, "path": str(path)}


@contextlib.contextmanager
def _clickhouse(folder: Path) -> Iterator[Place]:
    from tests.integration.servers.clickhouse import ClickHouse, clickhouse_binary

    with _installed():
        binary = clickhouse_binary()
    server = ClickHouse(binary, _fresh(folder / "clickhouse"))
    server.start()

    def place(rows: int) -> dict[str, Any]:
        return server.conf(table=_made(server.execute, "clickhouse", rows))

    try:
        yield place
    finally:
        server.stop()


@contextlib.contextmanager
def _mysql(folder: Path) -> Iterator[Place]:
    from tests.integration.servers.mariadb import PASSWORD, MariaDB, mariadb_binary

    with _installed():
        binary = mariadb_binary()
    server = MariaDB(binary, _fresh(folder / "mariadb"))
    password = folder / "mariadb" / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD)

    def place(rows: int) -> dict[str, Any]:
        return server.conf(table=_made(server.execute, "mysql", rows)) | {"password": f"file:{password}"}

    try:
        yield place
    finally:
        server.stop()


@contextlib.contextmanager
def _hive(folder: Path) -> Iterator[Place]:
    """Tables of a metastore, over Parquet files; the other server only makes them."""
    with _hive_servers(folder) as (metastore, server):
        yield lambda rows: metastore.conf(table=_hive_table(folder, server, rows))


@contextlib.contextmanager
def _hiveserver2(folder: Path) -> Iterator[Place]:
    """The same tables, as the other server hands them out."""
    with _hive_servers(folder) as (_, server):
        yield lambda rows: server.conf(table=_hive_table(folder, server, rows))


@contextlib.contextmanager
def _hive_servers(folder: Path) -> Iterator[Any]:
    from tests.integration.servers.hive import DATABASE, HiveServer2, Metastore

    home = Path(tempfile.mkdtemp(prefix="hive-", dir=folder))
    metastore = Metastore(_fresh(home / "metastore"))
    server = HiveServer2(_fresh(home / "hiveserver2"), metastore)
    with contextlib.ExitStack() as running:
        for one in (metastore, server):
            running.callback(one.stop)
            one.start()
        server.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        yield metastore, server


def _hive_table(folder: Path, server: Any, rows: int) -> str:
    """The name of a table over the Parquet file of that many rows, in a directory of its own."""
    import pyarrow.parquet

    from tests.integration.servers.hive import DATABASE

    name = f"people_{rows}"
    home = folder / f"{name}.hive"
    home.mkdir(exist_ok=True)
    _file(home, "parquet", rows, pyarrow.parquet.ParquetWriter)
    columns = ["id STRING", *(f"{field} DOUBLE" for field in people.FLOATS)]
    columns += ["age BIGINT", "visits BIGINT", "code STRING", "born DATE"]
    at = f"STORED AS PARQUET LOCATION '{home.as_uri()}'"
    server.execute(f"CREATE EXTERNAL TABLE {DATABASE}.{name} ({', '.join(columns)}) {at}")
    return name


_SOURCES: dict[str, Callable[[Path], AbstractContextManager[Place]]] = {
    "csv": _csv,
    "parquet": _parquet,
    "hive": _hive,
    "hiveserver2": _hiveserver2,
    "clickhouse": _clickhouse,
    "mysql": _mysql,
}
KINDS = tuple(_SOURCES)


def _made(execute: Callable[[str], Any], dialect: str, rows: int) -> str:
    """The name of a table of that many rows on a server, which lives as long as this process."""
    sql, name = _DIALECTS[dialect], f"people_{rows}"
    columns = [f"id {sql.text}", *(f"{field} {sql.real}" for field in people.FLOATS)]
    columns += [f"age {sql.integer}", f"visits {sql.integer}", f"code {sql.short}", "born DATE"]
    execute(f"CREATE TABLE {name} ({', '.join(columns)}{sql.end}")
    execute(f"INSERT INTO {name} SELECT {people.selected(dialect, sql.number)} FROM {sql.numbers.format(rows=rows)}")
    return name


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextlib.contextmanager
def _installed() -> Iterator[None]:
    import pytest

    try:
        yield
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        raise Unavailable(str(missing)) from None
