"""Tables behind HiveServer2, read by the executors: a task asks for some partitions, or for a share of the rows.

Hive has no snapshots, so rows are counted first, partition by partition or share by share, and every query must give
as many: rows that came or went in between are noticed (values changed in place are not), and so are columns of another
type. A query whose connection is lost before any of its rows was handed on is asked again. Later it is not: the server
does not send rows in the same order twice, so those handed on could not be told from the others; then the task fails,
Spark (or staging) drops all it made of the slice, and runs it anew.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fedspark.conf.tables.hive import HiveServer2Table
from fedspark.errors import TableError
from fedspark.tables.direct import Direct, numbered, numbers_in
from fedspark.tables.hive import sql
from fedspark.tables.hive.names import full_name, quoted, role_kind
from fedspark.tables.hive.server import LOST, NO_DATABASE, NO_TABLE, Lost, Refused, Server, Session
from fedspark.tables.hive.sql import Partition, Query, Value
from fedspark.tables.problems import listed, meant
from fedspark.tables.roles import Column, resolve_roles
from fedspark.tables.source import Source, check_unaltered, telling_driver

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MOST_SLICES = 32
_PAUSES = (1.0, 4.0)
_SHOWN = 5
_PARTITIONED = ("# Partition Information", "")
_ARROW = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}


def read(spark: SparkSession, name: str, conf: HiveServer2Table, directory: Path) -> Source:
    """The table ``name`` of a party file in ``directory``; its frame has the columns that can have a role."""
    columns, slices = plan(name, conf, directory, min(_MOST_SLICES, spark.sparkContext.defaultParallelism))
    count = max(1, len(slices.queries))
    numbers = numbered(spark, count)
    frame = numbers.mapInArrow(slices, ", ".join(f"{field} {value.spark}" for field, value in slices.fields))
    said = [f"{column} = {', '.join(values)}" for column, values in conf.partitions.items()]
    notes = (f"only partitions {'; '.join(said)}",) if said else ()
    direct = Direct(frame, numbers, lambda _: slices)
    origin = {"rows": slices.rows}
    source = Source(slices.where, "HiveServer2", frame, columns, notes=notes, rows=slices.rows, origin=origin)
    return replace(source, lost=_is_lost, direct=direct, unaltered=partial(_check_columns, slices, conf, columns))


@dataclass(frozen=True)
class Slices:
    """Reads slices; called by Spark with the numbers of those that one task reads. Holds a reference to the password.

    ``fields`` are the names and values of what is handed on; ``queries`` those of every slice, one after the other.
    """

    server: Server
    where: str
    table: str
    fields: tuple[tuple[str, Value], ...]
    queries: tuple[tuple[Query, ...], ...]

    @property
    def rows(self) -> int:
        """How many the table had when reading began."""
        return sum(query.rows for queries in self.queries for query in queries)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the slices, in pages as the server sends them."""
        with telling_driver():
            for number in numbers_in(batches):
                yield from self.slice(number)

    def slice(self, number: int) -> Iterator[pa.RecordBatch]:
        """The rows of one slice. Raises Lost, and TableError when they are not as many as there were at first."""
        for query in self.queries[number] if self.queries else ():
            yield from self._read(query)

    def _read(self, query: Query) -> Iterator[pa.RecordBatch]:
        for pause in (*_PAUSES, None):
            handed_on = False
            try:
                for batch in self._stream(query):
                    handed_on = True
                    yield batch
            except Lost:
                if handed_on or pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    def _stream(self, query: Query) -> Iterator[pa.RecordBatch]:
        selected = ", ".join(value.expression for _, value in self.fields)
        statement = f"SELECT {selected} FROM {self.table}{sql.where(query.condition)}"
        rows = 0
        with self.server.session(self.where) as session:
            for page in session.pages(statement):
                rows += len(page[0])
                yield self._batch(page)
        if rows != query.rows:
            problem = f"{self.where}: it changed while it was read: {query.rows:,} rows of a slice are {rows:,} now."
            raise TableError(problem, remedy="Load it when nothing writes to it, or leave new rows out by `where`.")

    def _batch(self, page: list[pa.Array]) -> pa.RecordBatch:
        try:
            arrays = [array.cast(_ARROW[value.spark]) for array, (_, value) in zip(page, self.fields, strict=True)]
        except pa.ArrowInvalid:
            remedy = "Load it again when nobody changes its columns."
            raise TableError(f"{self.where}: its columns changed while it was read.", remedy=remedy) from None
        return pa.RecordBatch.from_arrays(arrays, names=[field for field, _ in self.fields])


def look(name: str, conf: HiveServer2Table, directory: Path) -> tuple[str, tuple[Column, ...]]:
    """How messages about the table begin, and its columns, without Spark; errors as those of `read`."""
    server = Server.of(conf, directory)
    where = _where(name, conf, server)
    with server.session(where) as session:
        described, partitioned = _described(session, where, conf)
        _check_partitions(session, where, conf, partitioned)
    return where, _columns(described, partitioned, conf)


def plan(name: str, conf: HiveServer2Table, directory: Path, parallel: int) -> tuple[tuple[Column, ...], Slices]:
    """All columns of the table, and the slices in which those are read that can have a role: ``parallel`` of them at
    most, unless the party file says how many.

    TableError, StoreError or ConfigError when the table cannot be read or lacks what the party file names.
    """
    server = Server.of(conf, directory)
    where = _where(name, conf, server)
    table = full_name(conf.database, conf.table)
    with server.session(where) as session:
        described, partitioned = _described(session, where, conf)
        columns = _columns(described, partitioned, conf)
        roles = resolve_roles(where, columns, conf, id_type="string", needs_features=False)
        fields = {column.position: sql.value_of(column, as_id=False) for column in roles.measured}
        if roles.label is not None:
            fields[roles.label.position] = sql.value_of(roles.label, as_id=False)
        fields |= {column.position: sql.value_of(column, as_id=True) for column in roles.ids}
        _check_partitions(session, where, conf, partitioned)
        queries = _queries(session, conf, dict(described), partitioned, conf.slices or parallel)
    named = tuple((f"c{position}", fields[position]) for position in sorted(fields))
    return columns, Slices(server, where, table, named, queries)


def _where(name: str, conf: HiveServer2Table, server: Server) -> str:
    return f"Table {name!r} ({conf.database}.{conf.table} at {server.address})"


def _columns(
    described: Sequence[tuple[str, str]], partitioned: Sequence[str], conf: HiveServer2Table
) -> tuple[Column, ...]:
    return tuple(
        Column(position, column, type_name, role_kind(column, sql.kind_of(type_name), conf, partitioned))
        for position, (column, type_name) in enumerate(described)
    )


def _check_columns(slices: Slices, conf: HiveServer2Table, before: Sequence[Column]) -> None:
    with slices.server.session(slices.where) as session:
        now, _ = _described(session, slices.where, conf)
    check_unaltered(slices.where, {column.name: column.type for column in before}, dict(now))


def _described(session: Session, where: str, conf: HiveServer2Table) -> tuple[list[tuple[str, str]], list[str]]:
    """(name, type) of all columns, and the names of those that partition the table."""
    try:
        rows = session.rows(f"DESCRIBE {full_name(conf.database, conf.table)}")
    except Refused as refused:
        raise _not_there(session, where, conf, refused) from None
    lines = [((name or "").strip(), (type_name or "").strip()) for name, type_name, *_ in rows]
    plain = list(itertools.takewhile(lambda line: line[1] and not line[0].startswith("# "), lines))
    after = lines[lines.index(_PARTITIONED) + 1 :] if _PARTITIONED in lines else []
    own = itertools.takewhile(lambda line: line[0] == "# col_name" or not line[0].startswith("# "), after)
    return plain, [column for column, type_name in own if type_name and column != "# col_name"]


def _not_there(session: Session, where: str, conf: HiveServer2Table, refused: Refused) -> TableError:
    databases = [row[0] for row in session.rows("SHOW DATABASES")]
    if conf.database.lower() not in [database.lower() for database in databases]:
        remedy = meant(conf.database, databases, "Correct `database`.")
        return TableError(f"{where}: there is no database {conf.database!r}.", remedy=remedy)
    if not re.search(f"{NO_TABLE}|{NO_DATABASE}", refused.reason):
        return refused
    rows = session.rows(f"SHOW TABLES IN {quoted(conf.database)}")
    tables = [row[1] if len(row) > 1 else row[0] for row in rows]  # Spark shows the database first
    remedy = meant(conf.table, tables, f"Correct `table`; {conf.database} has {len(tables)} tables.")
    return TableError(f"{where}: there is no such table.", remedy=remedy)


def _check_partitions(session: Session, where: str, conf: HiveServer2Table, partitioned: Sequence[str]) -> None:
    """TableError when `partitions` names one that is not there."""
    known = [name.lower() for name in partitioned]
    for column in conf.partitions:
        if column.lower() not in known:
            there = f"those are {listed(map(repr, partitioned))}" if partitioned else "the table has none"
            remedy = meant(column, partitioned, "Name a partition column, or write a condition as `where`.")
            raise TableError(f"{where}: `partitions` names {column!r}, no partition column: {there}.", remedy=remedy)
    if not conf.partitions:
        return
    printed = [row[0] for row in session.rows(f"SHOW PARTITIONS {full_name(conf.database, conf.table)}")]
    there_are = [dict(Partition.of(text).values) for text in printed]
    for combination in itertools.product(*conf.partitions.values()):
        wanted = dict(zip(conf.partitions, combination, strict=True))
        if not any(all(_same(one.get(name.lower()), value) for name, value in wanted.items()) for one in there_are):
            said = "/".join(f"{column}={value}" for column, value in wanted.items())
            last = (
                f"; the last of its {len(printed)} are {', '.join(printed[-_SHOWN:])}" if printed else "; it has none"
            )
            raise TableError(f"{where}: there is no partition {said}{last}.", remedy="Correct `partitions`.")


def _same(one: str | None, other: str) -> bool:
    return one == other or (one is not None and one.isdecimal() and other.isdecimal() and int(one) == int(other))


def _queries(
    session: Session, conf: HiveServer2Table, types: dict[str, str], partitioned: Sequence[str], slices: int
) -> tuple[tuple[Query, ...], ...]:
    """The slices, each a few queries, with the rows that they have now; none for a table without rows.

    They do not depend on the order in which the server answers, which is another one each time.
    """
    table = full_name(conf.database, conf.table)
    folded = {name.lower(): name for name in partitioned}
    wanted = [
        " OR ".join(sql.has(folded[column.lower()], types[folded[column.lower()]], value) for value in values)
        for column, values in conf.partitions.items()
    ]
    base = sql.both(*wanted, conf.where)
    if partitioned:
        texts = [f"CAST({quoted(column)} AS STRING)" for column in partitioned]
        counting = f"SELECT {', '.join(texts)}, COUNT(*) FROM {table}{sql.where(base)} GROUP BY {', '.join(texts)}"
        counts = [(_is_of(partitioned, types, values), int(rows)) for *values, rows in session.rows(counting)]
        if len(counts) > 1:
            return sql.dealt(counts, slices, base)
    shares = sql.share(conf.id, slices)
    counting = f"SELECT {shares}, COUNT(*) FROM {table}{sql.where(base)} GROUP BY {shares}"
    if slices == 1:
        counting = f"SELECT 0, COUNT(*) FROM {table}{sql.where(base)}"
    counted = sorted((int(number), int(rows)) for number, rows in session.rows(counting))
    return tuple(
        (Query(base if slices == 1 else sql.both(sql.share(conf.id, slices, number), base), rows),)
        for number, rows in counted
        if rows
    )


def _is_of(partitioned: Sequence[str], types: dict[str, str], values: Sequence[str | None]) -> str:
    """Condition that a row is of one partition."""
    return " AND ".join(
        sql.has(column, types[column], value) for column, value in zip(partitioned, values, strict=True)
    )


def _is_lost(error: BaseException) -> bool:
    return LOST in str(error)
