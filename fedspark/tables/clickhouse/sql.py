"""The SQL sent to ClickHouse: names, types, slices. Pure text.

It keeps to what servers from 18.16 to the current ones understand alike: no aliases (they would hide columns of the
table), no CTEs, and types that the wire carries as plain integers, floats and text, whatever a column is. 18.16 gets
the text of Decimal(38, 0) and of Nullable(Enum8) wrong, so decimals never go through toString, nor enums (a CAST is
right).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedspark.tables.roles import Column, Kind

_SMALL = re.compile(r"U?Int(8|16|32|64)")
_WIDE = re.compile(r"U?Int(128|256)")
_DECIMAL = re.compile(r"Decimal\((\d+), *(\d+)\)")
_WRAPPER = re.compile(r"(LowCardinality|Nullable)\((.*)\)", re.DOTALL)
_KINDS = {
    "Float32": Kind.REAL,
    "Float64": Kind.REAL,
    "String": Kind.TEXT,
    "FixedString": Kind.TEXT,
    "Enum8": Kind.TEXT,
    "Enum16": Kind.TEXT,
    "UUID": Kind.TEXT,
    "Bool": Kind.BOOLEAN,
    "Date": Kind.DATE,
    "Date32": Kind.DATE,
    "DateTime": Kind.TIMESTAMP,
    "DateTime64": Kind.TIMESTAMP,
}


@dataclass(frozen=True)
class Value:
    """How a column is read: its expression, one to hash, and the type of Spark that holds what comes."""

    expression: str
    hashable: str
    spark: str


@dataclass(frozen=True)
class Selection:
    """What is read of a table, in ``slices`` slices by ``key``, a hash of every row that is never null."""

    table: str
    where: str | None
    values: tuple[str, ...]
    key: str
    slices: int

    def totals(self) -> str:
        """Of every slice that has rows: its number, its rows, and the sum of their hashes modulo 2^64."""
        number = f"{self.key} % {self.slices}"
        return f"SELECT {number}, count(), sum({self.key}) FROM {self.table}{self._condition()} GROUP BY {number}"

    def slice(self, number: int) -> str:
        """The values of the rows of one slice, and last the hash of each."""
        part = "" if self.slices == 1 else f"{self.key} % {self.slices} = {number}"
        return f"SELECT {', '.join((*self.values, self.key))} FROM {self.table}{self._condition(part)}"

    def _condition(self, part: str = "") -> str:
        # The line break ends a comment in which the condition may end.
        given = f"({self.where}\n)" if self.where else ""
        both = " AND ".join(condition for condition in (given, part) if condition)
        return f" WHERE {both}" if both else ""


def quoted(name: str) -> str:
    """``name`` as an identifier, whatever characters it has."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def literal(text: str) -> str:
    """``text`` as a string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def row_hash(values: Sequence[Value]) -> str:
    """A UInt64 per row out of its ids, 0 for null; equal ids have equal hashes."""
    # cityHash64 of several arguments would be null where any of them is.
    terms = [f"ifNull(cityHash64({value.hashable}), 0)" for value in values]
    return " + ".join(f"{2 * place + 1} * {term}" if place else term for place, term in enumerate(terms)).join("()")


def bare(type_name: str) -> tuple[str, bool]:
    """A type without LowCardinality and Nullable around it, and whether it is nullable."""
    nullable = False
    while match := _WRAPPER.fullmatch(type_name):
        nullable = nullable or match[1] == "Nullable"
        type_name = match[2]
    return type_name, nullable


def column_of(position: int, name: str, type_name: str) -> Column:
    """The column of a table as the server describes it."""
    return Column(position, name, type_name, _kind(bare(type_name)[0]))


def _kind(type_name: str) -> Kind:
    if _SMALL.fullmatch(type_name) or _WIDE.fullmatch(type_name):
        return Kind.INTEGER
    if decimal := _DECIMAL.fullmatch(type_name):
        return Kind.INTEGER if decimal[2] == "0" else Kind.DECIMAL
    return _KINDS.get(type_name.partition("(")[0], Kind.OTHER)


def id_of(column: Column) -> Value:
    """How an id is read: integers of any width exactly, dates and times (in UTC) as ISO text, all else as
    text."""
    type_name, nullable = bare(column.type)
    plain = _plain(column)
    if _SMALL.fullmatch(type_name):
        return Value(plain, plain, "string" if type_name == "UInt64" else "bigint")
    if decimal := _DECIMAL.fullmatch(type_name):
        if int(decimal[1]) <= 18:
            whole = f"toInt64({plain})"
            return Value(whole, whole, "bigint")
        return Value(plain, f"toFloat64({plain})", "string")
    text = plain if type_name == "String" else _text(plain, type_name, nullable)
    return Value(text, text, "string")


def value_of(column: Column) -> Value:
    """How a label, feature, weight or time is read: as a number, or as text where it is text, a date or a time."""
    type_name, _ = bare(column.type)
    plain = _plain(column)
    if column.holds in (Kind.TEXT, Kind.DATE, Kind.TIMESTAMP):
        return id_of(column)
    if _SMALL.fullmatch(type_name):
        return Value(plain, plain, "double" if type_name == "UInt64" else "bigint")
    number = plain if column.holds is Kind.REAL else f"toFloat64({plain})"
    return Value(number, number, "double")


def _plain(column: Column) -> str:
    """The column without LowCardinality: a dictionary on the wire gains nothing and is slow to read."""
    name = quoted(column.name)
    if not column.type.startswith("LowCardinality("):
        return name
    return _cast(name, *bare(column.type))


def _text(plain: str, type_name: str, nullable: bool) -> str:
    if type_name.startswith("FixedString"):
        return f"toStringCutToZero({plain})"
    if type_name.startswith("DateTime"):
        return f"toString({plain}, 'UTC')"
    return _cast(plain, "String", nullable)


def _cast(expression: str, type_name: str, nullable: bool) -> str:
    return f"CAST({expression} AS {f'Nullable({type_name})' if nullable else type_name})"
