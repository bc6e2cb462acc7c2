"""Rows written to ClickHouse: part by part by tasks, then all of them visible at once.

The server has no transactions, and an insert whose connection is lost may have happened. So every attempt at a part
fills a table of its own; when that is complete, it gets the part's name, and only one attempt can have that. The driver
fills one table with all the parts, and gives it the place of the old one. Whatever is repeated, by Spark, by us, or in
another run of the same step, no row comes twice.

    write_part(sink, rows, part)    in a task, any number of times
    finish(sink, parts)             on the driver, any number of times: the rows are in the sink's table
    clear(sink)                     on the driver, when nobody will call `finish` again
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from fedspark.conf.tables.clickhouse import ClickHouseSink
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.tables.clickhouse.server import (
    NOT_IMPLEMENTED,
    SYNTAX,
    TABLE_EXISTS,
    Lost,
    Refused,
    Server,
)
from fedspark.tables.clickhouse.sql import bare, literal, quoted

T = TypeVar("T")

_PAUSES = (1.0, 4.0)
_BLOCK_ROWS = 262_144
_TYPES = {
    pa.string(): "String",
    pa.bool_(): "UInt8",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    **{getattr(pa, name.lower())(): name for name in ("Int8", "Int16", "Int32", "Int64")},
    **{getattr(pa, name.lower())(): name for name in ("UInt8", "UInt16", "UInt32", "UInt64")},
}


@dataclass(frozen=True)
class Sink:
    """A table that rows of ``schema`` are written to; travels in task closures, with a reference to the password.

    ``tag`` (letters and digits) names what is written, and nothing else: the run and the step. The first column orders
    a table that is made; columns that are nullable by ``schema`` are so there. ``replace``: a table that is there gets
    other rows, else it is refused.
    """

    server: Server
    table: str
    schema: pa.Schema
    tag: str
    replace: bool

    @staticmethod
    def of(conf: ClickHouseSink, directory: Path, schema: pa.Schema, tag: str) -> Sink:
        """The table of a party file in ``directory``; ConfigError when a column has a type that cannot be written."""
        for field in schema:
            if field.type not in _TYPES:
                raise ConfigError(
                    f"Column {field.name!r} of type {field.type} cannot be written to ClickHouse.",
                    remedy="Write text, integers, floats or booleans.",
                )
        if not re.fullmatch(r"[0-9A-Za-z]{1,64}", tag):
            raise ValueError("a tag is up to 64 letters and digits")
        return Sink(Server.of(conf, directory), conf.table, schema, tag, conf.if_exists == "replace")

    @property
    def where(self) -> str:
        """The table, for messages."""
        return f"ClickHouse table {self.server.database}.{self.table} at {self.server.address}"

    def part(self, number: int) -> str:
        """Name of the table that holds a complete part."""
        return f"fedspark_{self.tag}_part_{number}"

    @property
    def done(self) -> str:
        """Name of an empty table that appears together with a sink's table that was made."""
        return f"fedspark_{self.tag}_done"

    def scratch(self) -> str:
        """Name of a table that nobody else writes to."""
        return f"fedspark_{self.tag}_{secrets.token_hex(8)}"

    def sql(self, table: str) -> str:
        """``table`` of the sink's database, as SQL."""
        return f"{quoted(self.server.database)}.{quoted(table)}"

    @property
    def columns(self) -> str:
        """The columns, as SQL."""
        return ", ".join(map(quoted, self.schema.names))

    def create(self, table: str, like: str | None) -> str:
        """The statement that makes an empty table, like another one, or as the schema says."""
        if like is not None:
            return f"CREATE TABLE {self.sql(table)} AS {self.sql(like)}"
        columns = ", ".join(f"{quoted(field.name)} {self._type(field)}" for field in self.schema)
        key = quoted(self.schema.names[0])
        return f"CREATE TABLE {self.sql(table)} ({columns}) ENGINE = MergeTree ORDER BY ({key})"

    def copy(self, source: str, target: str) -> str:
        """The statement that adds the rows of one table to another."""
        return f"INSERT INTO {self.sql(target)} ({self.columns}) SELECT {self.columns} FROM {self.sql(source)}"

    def _type(self, field: pa.Field) -> str:
        name = _TYPES[field.type]
        nullable = field.nullable and field.name != self.schema.names[0]
        return f"Nullable({name})" if nullable else name


def write_part(sink: Sink, rows: pa.Table, part: int) -> None:
    """Write all rows of a part, once, however often this is called for it; they are not visible before ``finish``.

    Raises TableError when the sink's table cannot hold the rows, StoreError when the server cannot be reached.
    """
    _insistently(lambda: _write_part(sink, rows, part))


def finish(sink: Sink, parts: int) -> int:
    """Make the rows of the parts 0, 1, ..., ``parts`` - 1 the content of the sink's table, at once; how many they are.

    StoreError when a part was not written. May be called again, until ``clear``.
    """
    return _insistently(lambda: _finish(sink, parts))


def clear(sink: Sink) -> None:
    """Drop the tables of parts and attempts, of this tag alone."""

    def drop() -> None:
        with sink.server.client(sink.where) as client:
            for name in _tables(client, sink, f"fedspark_{sink.tag}_"):
                client.execute(f"DROP TABLE IF EXISTS {sink.sql(name)}")

    _insistently(drop)


def _insistently(action: Callable[[], T]) -> T:
    for pause in _PAUSES:
        try:
            return action()
        except Lost:
            time.sleep(pause)
    return action()


def _write_part(sink: Sink, rows: pa.Table, part: int) -> None:
    with sink.server.client(sink.where) as client:
        if _exists(client, sink, sink.part(part)):
            return
        like = sink.table if _is_there(client, sink) else None
        scratch = sink.scratch()
        _execute(client, sink, sink.create(scratch, like))
        try:
            _check(client, sink, scratch, rows)
            _insert(sink, scratch, rows)
            count = _count(client, sink, [scratch])
            if count != rows.num_rows:
                reason = f"{count:,} of {rows.num_rows:,} rows of a part arrived"
                raise StoreError(f"{sink.where}: {reason}.", remedy="See the server's log.")
            _execute(client, sink, f"RENAME TABLE {sink.sql(scratch)} TO {sink.sql(sink.part(part))}")
        except Lost:
            raise  # whether the last statement was carried out is known when the part is looked for again
        except FedsparkError as error:
            _execute(client, sink, f"DROP TABLE IF EXISTS {sink.sql(scratch)}")
            if not (isinstance(error, Refused) and error.code == TABLE_EXISTS):
                raise


def _finish(sink: Sink, parts: int) -> int:
    with sink.server.client(sink.where) as client:
        written = _tables(client, sink, f"fedspark_{sink.tag}_part_")
        missing = [part for part in range(parts) if sink.part(part) not in written]
        if missing:
            reason = f"of {parts} parts {len(missing)} were not written, part {missing[0]} among them"
            raise StoreError(f"{sink.where}: {reason}.", remedy="Run the step again.")
        rows = _count(client, sink, [sink.part(part) for part in range(parts)])
        there = _is_there(client, sink)
        if there and not sink.replace:
            return rows
        whole = sink.scratch()
        _execute(client, sink, sink.create(whole, sink.table if there else None))
        for part in range(parts):
            _execute(client, sink, sink.copy(sink.part(part), whole))
        copied = _count(client, sink, [whole])
        if rows != copied:
            reason = f"its parts have {rows:,} rows and together {copied:,}"
            raise StoreError(
                f"{sink.where}: {reason}.", remedy="Nothing was replaced; see whether its engine drops rows."
            )
        _put(client, sink, whole, there)
        return rows


def _put(client: Any, sink: Sink, whole: str, there: bool) -> None:
    """Give the table ``whole`` the place of the sink's table, in one statement."""
    if not there:
        marker = sink.scratch()
        _execute(client, sink, sink.create(marker, whole))
        moves = f"{sink.sql(whole)} TO {sink.sql(sink.table)}, {sink.sql(marker)} TO {sink.sql(sink.done)}"
        _execute(client, sink, f"RENAME TABLE {moves}")
        return
    try:
        _execute(client, sink, f"EXCHANGE TABLES {sink.sql(whole)} AND {sink.sql(sink.table)}")
        old = whole
    except Refused as refused:
        if refused.code not in (SYNTAX, NOT_IMPLEMENTED):  # servers before 20.10; databases that are not Atomic
            raise
        old = sink.scratch()
        moves = f"{sink.sql(sink.table)} TO {sink.sql(old)}, {sink.sql(whole)} TO {sink.sql(sink.table)}"
        _execute(client, sink, f"RENAME TABLE {moves}")
    _execute(client, sink, f"DROP TABLE {sink.sql(old)}")


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


def _check(client: Any, sink: Sink, scratch: str, rows: pa.Table) -> None:
    """TableError when the rows do not fit the columns of the table: nothing is converted on the way."""
    described = {
        name: type_name for name, type_name, *_ in _execute(client, sink, f"DESCRIBE TABLE {sink.sql(scratch)}")
    }
    for field in sink.schema:
        type_name, wanted = described.get(field.name), _TYPES[field.type]
        if type_name is None:
            remedy = f"Add it as {wanted}, or name a table that is not there yet."
            raise TableError(f"{sink.where}: it has no column {field.name!r}.", remedy=remedy)
        inner, nullable = bare(type_name)
        if inner != wanted:
            remedy = f"Make it {wanted}, or name a table that is not there yet."
            raise TableError(f"{sink.where}: column {field.name!r} is {type_name}, not {wanted}.", remedy=remedy)
        if rows.column(field.name).null_count and not nullable:
            reason = f"column {field.name!r} is {type_name}, and some rows have no value in it"
            raise TableError(f"{sink.where}: {reason}.", remedy=f"Make it Nullable({inner}).")


def _is_there(client: Any, sink: Sink) -> bool:
    """Whether the sink's table is there; TableError when it is, is not ours, and may not be replaced."""
    there = _exists(client, sink, sink.table)
    if there and not sink.replace and not _exists(client, sink, sink.done):
        remedy = "Name another table, or set `if_exists: replace`, which removes all its rows."
        raise TableError(f"{sink.where}: it is there already.", remedy=remedy)
    return there


def _count(client: Any, sink: Sink, names: Sequence[str]) -> int:
    return sum(int(_execute(client, sink, f"SELECT count() FROM {sink.sql(name)}")[0][0]) for name in names)


def _exists(client: Any, sink: Sink, table: str) -> bool:
    return bool(_execute(client, sink, f"EXISTS TABLE {sink.sql(table)}")[0][0])


def _tables(client: Any, sink: Sink, prefix: str) -> set[str]:
    listing = f"SELECT name FROM system.tables WHERE database = {literal(sink.server.database)}"
    condition = f"substring(name, 1, {len(prefix)}) = {literal(prefix)}"
    return {name for (name,) in _execute(client, sink, f"{listing} AND {condition}")}


def _execute(client: Any, sink: Sink, statement: str) -> Any:
    with sink.server.explained(sink.where):
        return client.execute(statement)
