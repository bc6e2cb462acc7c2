"""Rows written to ClickHouse: part by part by tasks, then all of them visible at once.

The server has no transactions, and an insert whose connection is lost may have happened. So every attempt at a part
fills a table of its own; when that is complete, it gets the part's name, and only one attempt can have that. The driver
fills one table with all the parts, and gives it the place of the old one; to append, its partition `run` the place of
the one that the sink's table has of this run. Whatever is repeated, by Spark, by us, or in another process of the same
run, no row comes twice.

The functions are those of `fedspark.tables.sinks.Writer`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from fedspark.conf.tables.clickhouse import ClickHouseSink
from fedspark.conf.tables.sinks import RUN
from fedspark.errors import FedsparkError, StoreError, TableError
from fedspark.tables.clickhouse.destination import TYPES, Sink
from fedspark.tables.clickhouse.server import (
    NOT_IMPLEMENTED,
    SYNTAX,
    TABLE_EXISTS,
    Lost,
    Refused,
)
from fedspark.tables.clickhouse.sql import bare, literal
from fedspark.tables.problems import listed

T = TypeVar("T")

_PAUSES = (1.0, 4.0)
_BLOCK_ROWS = 262_144


def target(conf: ClickHouseSink, directory: Path, schema: pa.Schema, tag: str, run: str) -> Sink:
    """As `Sink.of`."""
    return Sink.of(conf, directory, schema, tag, run)


def check(sink: Sink) -> None:
    """Look whether rows could be written: a table that is there, and all rights, by an empty table made for that."""
    first, second = sink.scratch(), sink.scratch()
    with sink.server.client(sink.where) as client:
        if is_there(client, sink):
            _described(client, sink, sink.table)
        execute(client, sink, sink.create(first, None))
        try:
            execute(client, sink, f"RENAME TABLE {sink.sql(first)} TO {sink.sql(second)}")
        finally:
            for name in (first, second):
                execute(client, sink, f"DROP TABLE IF EXISTS {sink.sql(name)}")


def begin(sink: Sink) -> None:
    """TableError when the table is there and must not be replaced, or cannot hold the rows."""
    with sink.server.client(sink.where) as client:
        if is_there(client, sink):
            _check(client, sink, sink.table)


def write_part(sink: Sink, rows: pa.Table, part: int) -> int:
    """Write all rows of a part, once, however often this is called for it; they are not visible before ``finish``.

    Raises TableError when the sink's table cannot hold the rows, StoreError when the server cannot be reached.
    """
    insistently(lambda: _write_part(sink, rows, part))
    return int(rows.num_rows)


def finish(sink: Sink, rows: Sequence[int], check: Callable[[Any, str], None] | None = None) -> None:
    """Make the rows of all parts the content of the sink's table, or of this run's partition, at once; ``rows`` are the
    numbers of rows of the parts 0, 1, ...

    StoreError when a part was not written. ``check(client, table)`` raises when a table with all rows must not be
    shown. May be called again, until ``clear``.
    """
    insistently(lambda: _finish(sink, rows, check))


def clear(sink: Sink) -> None:
    """Drop the tables of parts and attempts, of this tag alone."""

    def drop() -> None:
        with sink.server.client(sink.where) as client:
            for name in tables_of(client, sink, f"fedspark_{sink.tag}_"):
                client.execute(f"DROP TABLE IF EXISTS {sink.sql(name)}")

    insistently(drop)


def insistently(action: Callable[[], T]) -> T:
    """The result of an action that is tried again, twice, when the server is lost."""
    for pause in _PAUSES:
        try:
            return action()
        except Lost:
            time.sleep(pause)
    return action()


def _write_part(sink: Sink, rows: pa.Table, part: int) -> None:
    def fill(client: Any, scratch: str) -> int:
        _check(client, sink, scratch, rows)
        if sink.appends and _exists(client, sink, sink.table):
            _check(client, sink, sink.table, rows)
        _insert(sink, scratch, rows)
        return int(rows.num_rows)

    with sink.server.client(sink.where) as client:
        fill_part(client, sink, part, fill)


def fill_part(client: Any, sink: Sink, part: int, fill: Callable[[Any, str], int]) -> None:
    """Write a part, unless it is there, by ``fill(client, table)``, which fills an empty table and returns its rows."""
    if _exists(client, sink, sink.part(part)):
        return
    like = sink.table if is_there(client, sink) and not sink.appends else None
    scratch = sink.scratch()
    execute(client, sink, sink.create(scratch, like))
    try:
        rows, count = fill(client, scratch), _count(client, sink, scratch)
        if count != rows:
            reason = f"{count:,} of {rows:,} rows of a part arrived"
            raise StoreError(f"{sink.where}: {reason}.", remedy="See the server's log.")
        execute(client, sink, f"RENAME TABLE {sink.sql(scratch)} TO {sink.sql(sink.part(part))}")
    except Lost:
        raise  # whether the last statement was carried out is known when the part is looked for again
    except FedsparkError as error:
        execute(client, sink, f"DROP TABLE IF EXISTS {sink.sql(scratch)}")
        if not (isinstance(error, Refused) and error.code == TABLE_EXISTS):
            raise


def _finish(sink: Sink, rows: Sequence[int], check: Callable[[Any, str], None] | None) -> None:
    with sink.server.client(sink.where) as client:
        written = tables_of(client, sink, f"fedspark_{sink.tag}_part_")
        missing = [part for part in range(len(rows)) if sink.part(part) not in written]
        if missing:
            reason = f"of {len(rows)} parts {len(missing)} were not written, part {missing[0]} among them"
            raise StoreError(f"{sink.where}: {reason}.", remedy="Run the step again.")
        there = is_there(client, sink)
        if there and sink.if_exists == "refuse":
            return  # ours already
        if sink.appends and not there:
            execute(client, sink, sink.create_partitioned())
        whole = sink.scratch()
        execute(client, sink, sink.create(whole, sink.table if there or sink.appends else None))
        for part in range(len(rows)):
            _add(client, sink, sink.part(part), whole)
        copied = _count(client, sink, whole)
        if copied != sum(rows):
            reason = f"{sum(rows):,} rows were written, and together its parts have {copied:,}"
            raise StoreError(
                f"{sink.where}: {reason}.", remedy="Nothing was changed; see whether its engine drops rows."
            )
        if check is not None:
            check(client, whole)
        if sink.appends:
            execute(client, sink, sink.exchange_partition(whole, copied))
            execute(client, sink, f"DROP TABLE {sink.sql(whole)}")
        else:
            _put(client, sink, whole, there)


def _add(client: Any, sink: Sink, part: str, whole: str) -> None:
    """Add the rows of a part to the table of all: as files that both share, where structure and engine allow it."""
    place = f"database = {literal(sink.server.database)}"
    listing = f"SELECT engine FROM system.tables WHERE {place} AND name = {literal(part)}"
    if sink.appends or not execute(client, sink, listing)[0][0].endswith("MergeTree"):
        execute(client, sink, sink.copy(part, whole, with_run=sink.appends))
        return
    listing = f"SELECT DISTINCT partition_id FROM system.parts WHERE {place} AND table = {literal(part)} AND active"
    for (partition,) in execute(client, sink, listing):
        move = f"ATTACH PARTITION ID {literal(partition)} FROM {sink.sql(part)}"
        execute(client, sink, f"ALTER TABLE {sink.sql(whole)} {move}")


def _put(client: Any, sink: Sink, whole: str, there: bool) -> None:
    """Give the table ``whole`` the place of the sink's table, in one statement."""
    if not there:
        marker = sink.scratch()
        execute(client, sink, sink.create(marker, whole))
        moves = f"{sink.sql(whole)} TO {sink.sql(sink.table)}, {sink.sql(marker)} TO {sink.sql(sink.done)}"
        execute(client, sink, f"RENAME TABLE {moves}")
        return
    try:
        execute(client, sink, f"EXCHANGE TABLES {sink.sql(whole)} AND {sink.sql(sink.table)}")
        old = whole
    except Refused as refused:
        if refused.code not in (SYNTAX, NOT_IMPLEMENTED):  # servers before 20.10; databases that are not Atomic
            raise
        old = sink.scratch()
        moves = f"{sink.sql(sink.table)} TO {sink.sql(old)}, {sink.sql(whole)} TO {sink.sql(sink.table)}"
        execute(client, sink, f"RENAME TABLE {moves}")
    execute(client, sink, f"DROP TABLE {sink.sql(old)}")


def _insert(sink: Sink, table: str, rows: pa.Table) -> None:
    if not rows.num_rows:
        return
    columns = [_array(rows.column(name)) for name in sink.schema.names]
    with sink.server.client(sink.where, use_numpy=True, insert_block_size=_BLOCK_ROWS) as client:
        client.execute(f"INSERT INTO {sink.sql(table)} ({sink.columns}) VALUES", columns, columnar=True)


def _array(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if column.null_count:  # with its numbers as they are: as floats, large integers would be rounded
        return np.array(column.to_pylist(), dtype=object)
    return column.to_numpy()


def _check(client: Any, sink: Sink, table: str, rows: pa.Table | None = None) -> None:
    """TableError when rows do not fit the columns of a table: nothing is converted on the way."""
    described = _described(client, sink, table)
    for field in sink.schema:
        type_name, wanted = described[field.name], TYPES[field.type]
        inner, nullable = bare(type_name)
        if inner != wanted:
            remedy = f"Make it {wanted}, or name a table that is not there yet."
            raise TableError(f"{sink.where}: column {field.name!r} is {type_name}, not {wanted}.", remedy=remedy)
        if rows is not None and rows.column(field.name).null_count and not nullable:
            reason = f"column {field.name!r} is {type_name}, and some rows have no value in it"
            raise TableError(f"{sink.where}: {reason}.", remedy=f"Make it Nullable({inner}).")


def _described(client: Any, sink: Sink, table: str) -> dict[str, str]:
    """The columns of a table with their types; TableError when it lacks some of ours."""
    described = {name: type_name for name, type_name, *_ in execute(client, sink, f"DESCRIBE TABLE {sink.sql(table)}")}
    run = [RUN] if sink.appends and table == sink.table else []
    missing = [name for name in [*sink.schema.names, *run] if name not in described]
    if missing:
        wanted = TYPES[sink.schema.field(missing[0]).type] if missing[0] in sink.schema.names else "String"
        remedy = f"Add it as {wanted}, or name a table that is not there yet."
        raise TableError(f"{sink.where}: it has no column {listed(map(repr, missing))}.", remedy=remedy)
    return described


def is_there(client: Any, sink: Sink) -> bool:
    """Whether the sink's table is there; TableError when it is, is not ours, and may not be changed, or not so."""
    there = _exists(client, sink, sink.table)
    if there and sink.if_exists == "refuse" and not _exists(client, sink, sink.done):
        remedy = "Name another table, or set `if_exists` to replace, which removes all its rows, or append."
        raise TableError(f"{sink.where}: it is there already.", remedy=remedy)
    if there and sink.if_exists != "refuse":
        _check_engine(client, sink)
    return there


def _check_engine(client: Any, sink: Sink) -> None:
    """TableError when a table like the sink's would not hold its rows by itself, or has no partitions to exchange."""
    listing = f"SELECT engine, partition_key FROM system.tables WHERE database = {literal(sink.server.database)}"
    engine, key = execute(client, sink, f"{listing} AND name = {literal(sink.table)}")[0]
    if not engine.endswith(("MergeTree", "Log")) and engine != "Memory":
        remedy = "Name the table that holds the rows, or one that is not there yet."
        raise TableError(f"{sink.where}: it is of engine {engine}, which shows rows of others.", remedy=remedy)
    if sink.appends and key.strip("`") != RUN:
        remedy = f"Make it a MergeTree with PARTITION BY {RUN}, or name a table that is not there yet."
        said = f"is partitioned by {key}" if key else "has no partitions"
        raise TableError(f"{sink.where}: it {said}, and `if_exists: append` needs one per run.", remedy=remedy)


def _count(client: Any, sink: Sink, name: str) -> int:
    return int(execute(client, sink, f"SELECT count() FROM {sink.sql(name)}")[0][0])


def _exists(client: Any, sink: Sink, table: str) -> bool:
    return bool(execute(client, sink, f"EXISTS TABLE {sink.sql(table)}")[0][0])


def tables_of(client: Any, sink: Sink, prefix: str) -> set[str]:
    """Names of the tables in the sink's database that begin so."""
    listing = f"SELECT name FROM system.tables WHERE database = {literal(sink.server.database)}"
    condition = f"substring(name, 1, {len(prefix)}) = {literal(prefix)}"
    return {name for (name,) in execute(client, sink, f"{listing} AND {condition}")}


def execute(client: Any, sink: Sink, statement: str) -> Any:
    """What the server answers to a statement."""
    with sink.server.explained(sink.where):
        return client.execute(statement)
