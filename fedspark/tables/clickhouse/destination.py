"""A table of ClickHouse that rows are written to: its names, and the statements that make and fill it. Pure text."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fedspark.conf.tables.clickhouse import ClickHouseSink
from fedspark.conf.tables.sinks import RUN
from fedspark.errors import ConfigError
from fedspark.tables.clickhouse.server import Server
from fedspark.tables.clickhouse.sql import literal, quoted

TYPES = {
    pa.string(): "String",
    pa.bool_(): "UInt8",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    **{getattr(pa, name.lower())(): name for name in ("Int8", "Int16", "Int32", "Int64")},
    **{getattr(pa, name.lower())(): name for name in ("UInt8", "UInt16", "UInt32", "UInt64")},
}
"""Arrow's types that can be written, and ClickHouse's."""


@dataclass(frozen=True)
class Sink:
    """A table that rows of ``schema`` are written to; travels in task closures, with a reference to the password.

    ``tag`` (letters and digits) names what is written, and nothing else. The first column orders a table that is made;
    columns that are nullable by ``schema`` are so there. ``if_exists`` is that of the party file, ``run`` what `append`
    puts in the column of that name.
    """

    server: Server
    table: str
    schema: pa.Schema
    tag: str
    run: str
    if_exists: str

    @staticmethod
    def of(conf: ClickHouseSink, directory: Path, schema: pa.Schema, tag: str, run: str) -> Sink:
        """The table of a party file in ``directory``; ConfigError when a column has a type that cannot be written."""
        for field in schema:
            if field.type not in TYPES:
                raise ConfigError(
                    f"Column {field.name!r} of type {field.type} cannot be written to ClickHouse.",
                    remedy="Write text, integers, floats or booleans.",
                )
        if not re.fullmatch(r"[0-9A-Za-z]{1,64}", tag):
            raise ValueError("a tag is up to 64 letters and digits")
        return Sink(Server.of(conf, directory), conf.table, schema, tag, run, conf.if_exists)

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

    @property
    def appends(self) -> bool:
        """Whether rows of other runs stay."""
        return self.if_exists == "append"

    def exchange_partition(self, source: str, rows: int) -> str:
        """The statement that gives the only partition of ``source``, with so many rows, to the sink's table, in place
        of the one that it has of this run.
        """
        partition = f"PARTITION tuple({literal(self.run)})"
        change = f"REPLACE {partition} FROM {self.sql(source)}" if rows else f"DROP {partition}"
        return f"ALTER TABLE {self.sql(self.table)} {change}"

    def create(self, table: str, like: str | None) -> str:
        """The statement that makes an empty table, like another one, or as the schema says."""
        if like is not None:
            return f"CREATE TABLE {self.sql(table)} AS {self.sql(like)}"
        return f"CREATE TABLE {self.sql(table)} ({self._columns()}) ENGINE = MergeTree ORDER BY ({self._key()})"

    def create_partitioned(self) -> str:
        """The statement that makes the sink's table, with a partition per run."""
        columns, run = f"{self._columns()}, {quoted(RUN)} String", quoted(RUN)
        engine = f"ENGINE = MergeTree PARTITION BY {run} ORDER BY ({self._key()})"
        return f"CREATE TABLE IF NOT EXISTS {self.sql(self.table)} ({columns}) {engine}"

    def copy(self, source: str, target: str, *, with_run: bool = False) -> str:
        """The statement that adds the rows of one table to another, and the run to each."""
        into, what = self.columns, self.columns
        if with_run:
            into, what = f"{into}, {quoted(RUN)}", f"{what}, {literal(self.run)}"
        return f"INSERT INTO {self.sql(target)} ({into}) SELECT {what} FROM {self.sql(source)}"

    def _columns(self) -> str:
        return ", ".join(f"{quoted(field.name)} {self._type(field)}" for field in self.schema)

    def _key(self) -> str:
        return quoted(self.schema.names[0])

    def _type(self, field: pa.Field) -> str:
        name = TYPES[field.type]
        nullable = field.nullable and field.name != self.schema.names[0]
        return f"Nullable({name})" if nullable else name
