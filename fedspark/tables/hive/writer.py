"""Rows into a table of a Hive metastore, as Parquet files (see `fedspark.tables.sinks` for who calls what).

Tasks lay parts into the party's workspace. `finish` lets Spark write them as files of the table, into a directory that
no table and no partition has, and then names that directory as the place of the table or the partition: one statement
for the metastore, with which all rows are there, and those that they replace are not. The directory's name says which
write it is of: finishing again does nothing. Processes that finish at a time all show what the first of them wrote.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import secrets
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fedspark.conf.tables.hive import HiveSink
from fedspark.conf.tables.sinks import RUN
from fedspark.errors import ConfigError, StoreError, TableError
from fedspark.exchange.store import Missing, StoreRef
from fedspark.tables.hive.names import full_name, literal, quoted, spec
from fedspark.tables.hive.places import empty, exists, folder, forget, own_name
from fedspark.tables.problems import listed
from fedspark.tables.source import telling_driver

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fedspark.tables.sinks import Scratch

_TYPES = {pa.string(): "string", pa.int64(): "bigint", pa.float64(): "double"}
_TAG = "fedspark.write"
_SECONDS_TO_CONNECT = 10
_FORBIDDEN = re.compile(r"[,:;`\x00-\x1f]")


@dataclass(frozen=True)
class Writing:
    """One write; travels in task closures. ``tag`` is unique to the rows, ``scratch`` where parts wait."""

    conf: HiveSink
    schema: pa.Schema
    tag: str
    run: str
    scratch: Scratch | None = None

    @property
    def where(self) -> str:
        """How messages begin."""
        return f"Hive table {self.conf.database}.{self.conf.table}"

    @property
    def table(self) -> str:
        """The table, as SQL."""
        return full_name(self.conf.database, self.conf.table)

    @property
    def partition(self) -> tuple[tuple[str, str], ...]:
        """Names and values of the partition that gets the rows; none where the table as a whole does."""
        own = [(RUN, self.run)] if self.conf.if_exists == "append" else []
        return tuple((name.lower(), value) for name, value in [*self.conf.partition.items(), *own])

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Names, which Hive has in small letters, and types of the columns in files."""
        return [(field.name.lower(), _TYPES[field.type]) for field in self.schema]

    def place(self) -> Scratch:
        if self.scratch is None:
            raise ValueError("this write is for a check alone")
        return self.scratch


@dataclass(frozen=True)
class _Existing:
    """A table, or a partition of one: where its files lie, whether Hive owns them, and the write it is marked with."""

    location: str
    managed: bool = True
    tag: str = ""


def target(conf: HiveSink, directory: Path, schema: pa.Schema, tag: str, run: str) -> Writing:
    """One write of rows of ``schema`` (string, int64, float64); TableError for a column that cannot be stored."""
    writing = Writing(conf, schema, tag, run)
    strange = [field.name for field in schema if field.type not in _TYPES]
    if strange:
        remedy = "Cast them to string, int64 or float64."
        raise TableError(f"{writing.where}: columns of other types: {', '.join(strange)}.", remedy=remedy)
    names = [name for name, _ in (*writing.columns, *writing.partition)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problem = f"{writing.where}: more than one column would be called {listed(map(repr, twice))}"
        raise TableError(f"{problem}; Hive's names have no case.", remedy="Rename the columns of the source.")
    if wrong := [name for name in names if _FORBIDDEN.search(name)]:
        problem = f"{writing.where}: no column of Hive can be called {listed(map(repr, wrong))}."
        raise TableError(problem, remedy="Rename the columns of the source.")
    return writing


def check(writing: Writing) -> None:
    """With Spark at hand, look whether rows could be written; without, whether the metastore is there."""
    from pyspark import SparkContext

    if SparkContext._active_spark_context is None:
        _check_reachable(writing)
        return
    from fedspark.tables.hive.metastore import explained

    session = _session(writing)
    with explained(writing.where):
        _fit(session, writing, types_of_ids=False)
        probe = full_name(writing.conf.database, f"fedspark_check_{secrets.token_hex(8)}")
        session.sql(f"CREATE TABLE {probe} (x INT) STORED AS PARQUET")
        session.sql(f"DROP TABLE {probe}")


def begin(writing: Writing) -> None:
    """Look whether the rows may go there, before any is written."""
    from fedspark.tables.hive.metastore import explained

    session = _session(writing)
    with explained(writing.where):
        _fit(session, writing)


def write_part(writing: Writing, rows: pa.Table, part: int) -> int:
    """Lay the rows of one part into the workspace, as often as one likes; their number."""
    out = io.BytesIO()
    pq.write_table(rows.select(writing.schema.names).cast(writing.schema), out, compression="zstd")
    place = writing.place()
    place.ref.open().replace(_part(place, part), out.getvalue())
    return int(rows.num_rows)


def finish(writing: Writing, rows: Sequence[int]) -> None:
    """Write all parts as files of the table and show them at once; StoreError when they are not all there."""
    from fedspark.tables.hive.metastore import explained

    session = _session(writing)
    with explained(writing.where):
        _fit(session, writing)
        if not _is_done(session, writing):
            _replace(session, writing, rows)
        _tidy(session, writing)


def _replace(session: SparkSession, writing: Writing, rows: Sequence[int]) -> None:
    table = _made(session, writing)
    fresh = _noted(session, writing)
    if fresh is None:
        attempt = f"{folder(table.location, writing.partition)}/{own_name(writing.tag, secrets.token_hex(4))}"
        _write(session, writing, rows, attempt)
        fresh = _agreed(session, writing, attempt)
    _show(session, writing, fresh)


def _noted(session: SparkSession, writing: Writing) -> str | None:
    """The directory with all rows that an attempt at this write, or another process, agreed on; None if it is gone."""
    try:
        fresh = writing.place().ref.open().read(_note(writing, "written")).decode()
    except Missing:
        return None
    return fresh if exists(session, fresh) else None


def _agreed(session: SparkSession, writing: Writing, attempt: str) -> str:
    """Of the directories of several processes the one that all of them show: that of the first."""
    store, name = writing.place().ref.open(), _note(writing, "written")
    if store.create(name, attempt.encode()):
        return attempt
    fresh = _noted(session, writing)
    if fresh is None:  # somebody deleted it
        store.replace(name, attempt.encode())
    return fresh or attempt


def _show(session: SparkSession, writing: Writing, fresh: str) -> None:
    """Name the directory as the place of the table or the partition, unless another process has."""
    if _is_done(session, writing):
        return
    old = _now(session, writing)
    table = _table(session, writing)
    assert table is not None
    if old is not None:
        note = json.dumps([old.location, table.managed])
        writing.place().ref.open().replace(_note(writing, "replaced"), note.encode())
    place = f"PARTITION {spec(writing.partition)} " if writing.partition else ""
    change = f"ADD IF NOT EXISTS {place}LOCATION" if old is None else f"{place}SET LOCATION"
    session.sql(f"ALTER TABLE {writing.table} {change} {literal(fresh)}")
    if old is None and not _is_done(session, writing):
        problem = f"{writing.where}: another program made the partition {dict(writing.partition)} meanwhile."
        raise StoreError(problem, remedy="Run the same command again: it looks whether that may be replaced.")


def _tidy(session: SparkSession, writing: Writing) -> None:
    """Delete the files that gave way, and what attempts left that did not come to their end."""
    table, now = _table(session, writing), _now(session, writing)
    if table is None or now is None:
        return
    with contextlib.suppress(Missing):
        location, managed = json.loads(writing.place().ref.open().read(_note(writing, "replaced")))
        if location != now.location:
            empty(session, location, managed=managed)
    forget(session, folder(table.location, writing.partition), writing.tag, now.location)


def clear(writing: Writing) -> None:
    """Remove the parts."""
    place = writing.place()
    store = place.ref.open()
    store.delete_many([name for name, _ in store.list(place.folder)])


@dataclass(frozen=True)
class _Parts:
    """Reads parts back from the workspace; called by Spark with the numbers of those that one task reads."""

    where: str
    ref: StoreRef
    names: tuple[str, ...]
    rows: tuple[int, ...]
    columns: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with telling_driver():
            for number in itertools.chain.from_iterable(batch.column(0).to_pylist() for batch in batches):
                yield from self._read(number)

    def _read(self, number: int) -> Iterator[pa.RecordBatch]:
        try:
            table = pq.read_table(io.BytesIO(self.ref.open().read(self.names[number])))
        except Missing:
            table = None
        if table is None or table.num_rows != self.rows[number]:
            problem = f"{self.where}: part {number} is not what was written; nothing is shown."
            raise StoreError(problem, remedy="Run the same command again, with a new run label if it happens again.")
        yield from table.rename_columns(list(self.columns)).to_batches()


def _write(session: SparkSession, writing: Writing, rows: Sequence[int], directory: str) -> None:
    """The parts as Parquet files in one directory, by Spark's tasks."""
    from fedspark.tables.source import SPARK_ERRORS, explain_task

    place, count = writing.place(), len(rows)
    names = tuple(_part(place, part) for part in range(count))
    parts = _Parts(writing.where, place.ref, names, tuple(rows), tuple(name for name, _ in writing.columns))
    slices = max(1, min(count, session.sparkContext.defaultParallelism))
    declared = ", ".join(f"{quoted(name)} {type_name}" for name, type_name in writing.columns)
    frame = session.range(0, count, 1, slices).mapInArrow(parts, declared)
    try:
        frame.write.mode("overwrite").parquet(directory)
    except SPARK_ERRORS as error:
        raise explain_task(error, writing.where, "Hive") from None


def _fit(session: SparkSession, writing: Writing, *, types_of_ids: bool = True) -> None:
    """TableError when the rows must not go to the table, or it has not the columns."""
    there = _table(session, writing)
    if there is None:
        return
    now = _now(session, writing)
    if _is_own(writing, now) and not _is_done(session, writing):  # it did fit; Spark stumbles over files that are gone
        return
    columns = session.catalog.listColumns(writing.table)
    partitioned = sorted(column.name.lower() for column in columns if column.isPartition)
    wanted = sorted(name for name, _ in writing.partition)
    if partitioned != wanted:
        own, ours = listed(partitioned) or "nothing", listed(wanted) or "nothing"
        problem = f"{writing.where}: it is partitioned by {own}, and the rows by {ours}."
        raise TableError(problem, remedy="Give `partition` each of its columns, or name another table.")
    if _is_done(session, writing):
        return
    mine = there.tag == writing.tag
    if writing.conf.if_exists == "refuse" and not mine and (not wanted or _partition(session, writing)):
        what = f"its partition {dict(writing.partition)}" if wanted else "it"
        remedy = "Name another, or set `if_exists: replace`, which removes all its rows."
        raise TableError(f"{writing.where}: {what} is there already.", remedy=remedy)
    types = {column.name.lower(): column.dataType for column in columns if not column.isPartition}
    for field, (name, type_name) in zip(writing.schema, writing.columns, strict=True):
        if name not in types:
            remedy = f"Add it as {type_name}, or name a table that is not there yet."
            raise TableError(f"{writing.where}: it has no column {name!r}.", remedy=remedy)
        if types[name] != type_name and (types_of_ids or field.nullable):
            remedy = f"Make it {type_name}, or name a table that is not there yet."
            raise TableError(f"{writing.where}: column {name!r} is {types[name]}, not {type_name}.", remedy=remedy)


def _made(session: SparkSession, writing: Writing) -> _Existing:
    """The table, made without rows if there is none, and then marked as this write's."""
    there = _table(session, writing)
    if there is None:
        columns = ", ".join(f"{quoted(name)} {type_name}" for name, type_name in writing.columns)
        keys = ", ".join(f"{quoted(name)} STRING" for name, _ in writing.partition)
        by = f" PARTITIONED BY ({keys})" if keys else ""
        mark = f"TBLPROPERTIES ({literal(_TAG)} = {literal(writing.tag)})"
        session.sql(f"CREATE TABLE IF NOT EXISTS {writing.table} ({columns}){by} STORED AS PARQUET {mark}")
        there = _table(session, writing)
    assert there is not None
    return there


def _is_done(session: SparkSession, writing: Writing) -> bool:
    there = _now(session, writing)
    return _is_own(writing, there) and there is not None and exists(session, there.location)


def _is_own(writing: Writing, there: _Existing | None) -> bool:
    """Whether what is there was put there by this write, if its files are still there or not."""
    last = "" if there is None else there.location.rstrip("/").rpartition("/")[2]
    return last.startswith(own_name(writing.tag))


def _now(session: SparkSession, writing: Writing) -> _Existing | None:
    """What the write is to take the place of, or has: the partition or the table."""
    return _partition(session, writing) if writing.partition else _table(session, writing)


def _table(session: SparkSession, writing: Writing) -> _Existing | None:
    """What is there under the table's name; TableError where that is no table of Parquet files."""
    from pyspark.errors import AnalysisException

    conf = writing.conf
    databases = [row[0] for row in session.sql("SHOW DATABASES").collect()]
    if conf.database.lower() not in databases:
        remedy = f"Create it, or correct `database`; there are {listed(databases)}."
        raise TableError(f"{writing.where}: there is no database {conf.database!r}.", remedy=remedy)
    if not session.catalog.tableExists(writing.table):
        return None
    with contextlib.suppress(AnalysisException):  # of files that are gone
        session.catalog.refreshTable(writing.table)
    found = _described(session, f"DESCRIBE FORMATTED {writing.table}", "# Detailed Table Information")
    if found.get("Type", "") not in ("MANAGED", "EXTERNAL"):
        raise TableError(
            f"{writing.where} is a {found.get('Type', '').lower()}, no table.", remedy="Name another table."
        )
    if "parquet" not in (found.get("Serde Library", "") + found.get("Provider", "")).lower():
        raise TableError(f"{writing.where}: its files are no Parquet files.", remedy="Name another table.")
    properties = {row[0]: row[1] for row in session.sql(f"SHOW TBLPROPERTIES {writing.table}").collect()}
    return _Existing(found["Location"], found["Type"] == "MANAGED", properties.get(_TAG, ""))


def _partition(session: SparkSession, writing: Writing) -> _Existing | None:
    place = f"{writing.table} PARTITION {spec(writing.partition)}"
    if not session.catalog.tableExists(writing.table) or not _has_such(session, writing):
        return None
    if not session.sql(f"SHOW PARTITIONS {place}").take(1):
        return None
    found = _described(session, f"DESCRIBE FORMATTED {place}", "# Detailed Partition Information")
    return _Existing(found["Location"])


def _has_such(session: SparkSession, writing: Writing) -> bool:
    """Whether the table is partitioned by the columns of the partition; files are not looked at."""
    names = [row[0] for row in session.sql(f"DESCRIBE {writing.table}").collect()]
    own = names[names.index("# Partition Information") + 2 :] if "# Partition Information" in names else []
    return {name.lower() for name in own} == {name for name, _ in writing.partition}


def _described(session: SparkSession, statement: str, section: str) -> dict[str, str]:
    """The facts after a title of Spark's description; the first of a name counts."""
    rows = [(row[0], row[1] or "") for row in session.sql(statement).collect()]
    found: dict[str, str] = {}
    for name, value in rows[[name for name, _ in rows].index(section) + 1 :]:
        found.setdefault(name, value)
    return found


def _session(writing: Writing) -> SparkSession:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from fedspark.tables.hive.metastore import session_of

    if SparkContext._active_spark_context is None:
        raise ConfigError(f"{writing.where}: Spark has not been started.", remedy="Run the step where Spark can be.")
    return session_of(SparkSession.builder.getOrCreate(), writing.where, writing.conf)


def _check_reachable(writing: Writing) -> None:
    """StoreError unless one of the metastore's addresses takes connections."""
    failed = ""
    for address in (writing.conf.metastore or "").split(",") if writing.conf.metastore else ():
        host, _, port = address.removeprefix("thrift://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_CONNECT).close()
        except OSError as error:
            failed = f"{writing.where}: Hive's metastore does not answer ({address}: {error.strerror or error})."
        else:
            return
    if failed:
        raise StoreError(failed, remedy="See that it is up and `metastore` is its address.")


def _part(place: Scratch, part: int) -> str:
    return f"{place.folder}/part-{part:05d}.parquet"


def _note(writing: Writing, what: str) -> str:
    """Where it is noted which directory is ``written``, or which files are ``replaced`` and to be deleted."""
    return f"{writing.place().folder}/{what}.json"
