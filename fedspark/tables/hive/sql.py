"""The SQL sent to HiveServer2: how columns are read, and the queries that together are a table. Pure text.

It keeps to what Hive and Spark's Thrift server understand alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from fedspark.tables.hive.names import NO_VALUE, literal, quoted
from fedspark.tables.roles import Column, Kind

_KINDS = {
    "tinyint": Kind.INTEGER,
    "smallint": Kind.INTEGER,
    "int": Kind.INTEGER,
    "integer": Kind.INTEGER,
    "bigint": Kind.INTEGER,
    "float": Kind.REAL,
    "double": Kind.REAL,
    "string": Kind.TEXT,
    "varchar": Kind.TEXT,
    "char": Kind.TEXT,
    "boolean": Kind.BOOLEAN,
    "date": Kind.DATE,
    "timestamp": Kind.TIMESTAMP,
}
_DECIMAL = re.compile(r"decimal(?:\((\d+), ?(\d+)\))?")
_NAMED = 50


@dataclass(frozen=True)
class Value:
    """How a column is read, and the type of Spark that holds what comes."""

    expression: str
    spark: str


@dataclass(frozen=True)
class Query:
    """One of the queries that together are the table, and the rows it must give."""

    condition: str
    rows: int


@dataclass(frozen=True)
class Partition:
    """A partition by what `SHOW PARTITIONS` prints: the texts of its values by the names of its columns."""

    values: tuple[tuple[str, str], ...]

    @staticmethod
    def of(printed: str) -> Partition:
        """``dt=2026-11-20/hr=7``, with everything else than letters and digits perhaps as %2F."""
        pairs = (piece.partition("=") for piece in printed.split("/"))
        return Partition(tuple((unquote(name).lower(), unquote(value)) for name, _, value in pairs))


def kind_of(type_name: str) -> Kind:
    """What a column of this type can be used for."""
    if decimal := _DECIMAL.fullmatch(type_name):
        return Kind.INTEGER if decimal[2] in (None, "0") else Kind.DECIMAL
    return _KINDS.get(type_name.partition("(")[0], Kind.OTHER)


def value_of(column: Column, *, as_id: bool) -> Value:
    """How a column that has a role is read: integers, reals and booleans as such, all else as text.

    The server sends decimals as text; one that is no id becomes a double there. A float would come rounded.
    """
    name = quoted(column.name)
    if _DECIMAL.fullmatch(column.type):
        return Value(f"CAST({name} AS STRING)", "string") if as_id else Value(f"CAST({name} AS DOUBLE)", "double")
    if column.holds is Kind.INTEGER:
        return Value(name, "bigint")
    if column.holds is Kind.REAL:
        return Value(name if column.type == "double" else f"CAST({name} AS DOUBLE)", "double")
    if column.holds is Kind.BOOLEAN:
        return Value(name, "boolean")
    return Value(name if column.holds is Kind.TEXT else f"CAST({name} AS STRING)", "string")


def has(name: str, type_name: str, value: str | None) -> str:
    """Condition that a partition column has a value, given as text, in its own type, so that the server prunes."""
    column = quoted(name)
    if value is None or value == NO_VALUE:
        return f"{column} IS NULL"
    kind = kind_of(type_name)
    if kind is Kind.TEXT:
        return f"{column} = {literal(value)}"
    if kind is Kind.INTEGER and re.fullmatch(r"-?\d+", value):
        return f"{column} = {value}"
    if kind is Kind.DATE:
        return f"{column} = CAST({literal(value)} AS DATE)"
    return f"CAST({column} AS STRING) = {literal(value)}"


def both(*conditions: str | None) -> str:
    """All of the conditions that there are; one a line, as a comment may end each."""
    given = [f"({condition}\n)" for condition in conditions if condition]
    return " AND ".join(given)


def where(condition: str) -> str:
    return f" WHERE {condition}" if condition else ""


def share(ids: Sequence[str], count: int, number: int | None = None) -> str:
    """Which of ``count`` shares a row is in, by a hash of its ids; with ``number``, whether it is in that one."""
    hashed = f"pmod(hash({', '.join(map(quoted, ids))}), {count})"
    return hashed if number is None else f"{hashed} = {number}"


def dealt(counts: Sequence[tuple[str, int]], slices: int, base: str) -> tuple[tuple[Query, ...], ...]:
    """Queries for partitions, of which (condition, rows) are given, dealt out to at most so many slices of about the
    same rows; ``base`` is a condition of all rows. The same ones in any order give the same slices.
    """
    hands: list[list[tuple[str, int]]] = [[] for _ in range(min(slices, len(counts)))]
    for one in sorted(counts, key=lambda one: (-one[1], one[0])):
        min(hands, key=lambda hand: sum(rows for _, rows in hand)).append(one)
    return tuple(
        tuple(_joined(hand[first : first + _NAMED], base) for first in range(0, len(hand), _NAMED)) for hand in hands
    )


def _joined(partitions: Sequence[tuple[str, int]], base: str) -> Query:
    """One query for some partitions: not for too many, as Hive's parser is recursive."""
    condition = " OR ".join(f"({condition})" for condition, _ in partitions)
    return Query(both(condition, base), sum(rows for _, rows in partitions))
