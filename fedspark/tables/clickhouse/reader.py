"""Tables in ClickHouse, read by the executors: one task per slice, blocks of columns handed on as they come.

What is read is one state of the table, though the server has no transactions: rows and the sum of the hashes of their
ids are asked for first, slice by slice, and must be what then comes. Rows added or removed in between are noticed
(values changed in place under the same id are not). A slice whose connection is lost before any of its rows was handed
on is asked for again. Later it is not: the server does not send rows in the same order twice, so those handed on could
not be told from the others; then the task fails, Spark (or staging) drops all it made of the slice, and runs it anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fedspark.conf.tables.clickhouse import ClickHouseTable
from fedspark.errors import FedsparkError, TableError
from fedspark.tables.clickhouse.server import LOST, NO_TABLE, Lost, Refused, Server
from fedspark.tables.clickhouse.sql import Selection, column_of, id_of, literal, quoted, row_hash, value_of
from fedspark.tables.direct import Direct, numbered, numbers_in
from fedspark.tables.problems import meant
from fedspark.tables.roles import Column, resolve_roles
from fedspark.tables.source import Source, check_unaltered, telling_driver

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MOST_SLICES = 32
_PAUSES = (1.0, 4.0)
_BLOCK_ROWS = 65_536
_BLOCK_BYTES = 2_000_000
_LARGEST = 8
_MERGING = ("Replacing", "Collapsing", "Summing", "Aggregating")  # engines, by their words
_ARROW = {"string": pa.string(), "bigint": pa.int64(), "double": pa.float64()}


def read(spark: SparkSession, name: str, conf: ClickHouseTable, directory: Path) -> Source:
    """The table ``name`` of a party file in ``directory``; its frame has the columns that can have a role."""
    columns, slices = plan(name, conf, directory, min(_MOST_SLICES, spark.sparkContext.defaultParallelism))
    numbers = numbered(spark, slices.selection.slices)
    frame = numbers.mapInArrow(slices, ", ".join(f"{field} {spark_type}" for field, spark_type in slices.fields))
    rows = sum(rows for rows, _ in slices.totals.values())
    checksum = sum(checksum for _, checksum in slices.totals.values()) % 2**64  # of the ids
    with slices.server.client(slices.where) as client:
        ((version,),) = client.execute("SELECT version()")
        engine = _engine(client, conf)
    facts: dict[str, str | int] = {"server": f"ClickHouse {version}", "rows": rows, "fingerprint": f"{checksum:016x}"}
    direct = Direct(frame, numbers, lambda _: slices)
    before = {column.name: column.type for column in columns}
    unaltered = partial(_check_columns, slices.server, slices.where, conf, before)
    source = Source(slices.where, "ClickHouse", frame, columns, lost=_is_lost, rows=rows, direct=direct, origin=facts)
    note = (
        f"{slices.where}: its engine {engine} puts rows of one key together at times of its own; those that still wait "
        "for that are read too: name a view that has FINAL where they must not be."
    )
    return replace(source, unaltered=unaltered, notes=(note,) if _merges(engine) else ())


def look(name: str, conf: ClickHouseTable, directory: Path) -> tuple[str, tuple[Column, ...]]:
    """How messages about the table begin, and its columns, without Spark; errors as those of `read`."""
    server = Server.of(conf, directory)
    where = _where(name, conf, server)
    return where, _columns(server, where, conf)


def plan(name: str, conf: ClickHouseTable, directory: Path, parallel: int) -> tuple[tuple[Column, ...], Slices]:
    """All columns of the table, and the slices in which those are read that can have a role.

    There are ``parallel`` slices unless the party file says how many. TableError, StoreError or ConfigError when the
    table cannot be read or lacks a column that the party file names.
    """
    server = Server.of(conf, directory)
    where = _where(name, conf, server)
    columns = _columns(server, where, conf)
    roles = resolve_roles(where, columns, conf, id_type="string", needs_features=False)
    ids = {column: id_of(column) for column in roles.ids}
    values = {column: value_of(column) for column in (*([roles.label] if roles.label else []), *roles.measured)} | ids
    wanted = sorted(values, key=lambda column: column.position)
    selection = Selection(
        _table(conf),
        conf.where,
        tuple(values[column].expression for column in wanted),
        row_hash(list(ids.values())),
        conf.slices or parallel,
    )
    with server.client(where) as client:
        totals = {number: (rows, checksum) for number, rows, checksum in client.execute(selection.totals())}
    fields = tuple((f"c{column.position}", values[column].spark) for column in wanted)
    return columns, Slices(server, where, selection, fields, totals)


@dataclass(frozen=True)
class Slices:
    """Reads slices; called by Spark with the numbers of those that one task reads. Holds a reference to the password.

    ``fields`` are (name, Spark type) of what is handed on, ``totals`` the (rows, sum of hashes) of every slice that had
    rows when reading began.
    """

    server: Server
    where: str
    selection: Selection
    fields: tuple[tuple[str, str], ...]
    totals: Mapping[int, tuple[int, int]]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of the slices, in blocks as the server sends them."""
        with telling_driver():
            for number in numbers_in(batches):
                yield from self.slice(number)

    def slice(self, number: int) -> Iterator[pa.RecordBatch]:
        """The rows of one slice. Raises Lost, and TableError when they are not those that were there at first."""
        for pause in (*_PAUSES, None):
            handed_on = False
            try:
                for batch in self._stream(number):
                    handed_on = True
                    yield batch
            except pa.ArrowInvalid as error:
                remedy = "Write it again as UTF-8, or cast it at the source."
                raise TableError(f"{self.where}: a column is not text in UTF-8: {error}.", remedy=remedy) from None
            except Lost:
                if handed_on or pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    def _stream(self, number: int) -> Iterator[pa.RecordBatch]:
        rows = checksum = 0
        with self.server.client(self.where, use_numpy=True) as client:
            for block in client.query_arrow_stream(
                self.selection.slice(number), settings=self._settings(), field_metadata=False
            ):
                rows += block.num_rows
                hashes = block.column(block.num_columns - 1).to_numpy()
                checksum = (checksum + int(hashes.sum(dtype=np.uint64))) % 2**64
                yield self._handed_on(block)
        expected = self.totals.get(number, (0, 0))
        if (rows, checksum) != expected:
            raise self._changed(rows, expected[0])

    def _settings(self) -> dict[str, int]:
        """Blocks are cut before rows of other slices are left out of them: with many slices, larger ones."""
        several = min(self.selection.slices, _LARGEST)
        return {"max_block_size": several * _BLOCK_ROWS, "preferred_block_size_bytes": several * _BLOCK_BYTES}

    def _handed_on(self, block: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            pc.cast(column, _ARROW[spark_type], safe=False)
            for column, (_, spark_type) in zip(block.columns[:-1], self.fields, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, names=[field for field, _ in self.fields])

    def _changed(self, rows: int, expected: int) -> FedsparkError:
        how = "the ids of a slice are others" if rows == expected else f"a slice of {expected:,} rows has {rows:,} now"
        remedy = (
            "Run again when nothing writes to it, or leave its newest rows out by `where`. A table whose engine puts "
            "rows together, as ReplacingMergeTree does, changes by itself: name a view that has FINAL."
        )
        return TableError(f"{self.where}: it changed while it was read ({how}).", remedy=remedy)


def _where(name: str, conf: ClickHouseTable, server: Server) -> str:
    return f"Table {name!r} ({conf.database}.{conf.table} at {server.address})"


def _is_lost(error: BaseException) -> bool:
    return LOST in str(error)


def _table(conf: ClickHouseTable) -> str:
    return f"{quoted(conf.database)}.{quoted(conf.table)}"


def _engine(client: Any, conf: ClickHouseTable) -> str:
    """The table's engine; empty where the server does not tell."""
    named = f"database = {literal(conf.database)} AND name = {literal(conf.table)}"
    return "".join(engine for (engine,) in client.execute(f"SELECT engine FROM system.tables WHERE {named}"))


def _merges(engine: str) -> bool:
    return any(word in engine for word in _MERGING)


def _check_columns(server: Server, where: str, conf: ClickHouseTable, before: Mapping[str, str]) -> None:
    check_unaltered(where, before, {column.name: column.type for column in _columns(server, where, conf)})


def _columns(server: Server, where: str, conf: ClickHouseTable) -> tuple[Column, ...]:
    with server.client(where) as client:
        try:
            with server.explained(where):
                described = client.execute(f"DESCRIBE TABLE {_table(conf)}")
        except Refused as refused:
            if refused.code != NO_TABLE:
                raise
            listing = f"SELECT name FROM system.tables WHERE database = {literal(conf.database)}"
            there = [name for (name,) in client.execute(listing)]
            otherwise = f"Correct `database` or `table`; {conf.database} has {len(there)} tables."
            remedy = meant(conf.table, there, otherwise)
            raise TableError(f"{where}: there is no such table.", remedy=remedy) from None
    readable = [(name, type_name) for name, type_name, default, *_ in described if default != "EPHEMERAL"]
    return tuple(column_of(position, name, type_name) for position, (name, type_name) in enumerate(readable))
