"""Tables of MySQL and MariaDB with all columns and what their types mean, to be copied instead of learned from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fedspark.conf.tables import ColumnsConf
from fedspark.tables.mysql import reader
from fedspark.tables.mysql.server import LONGEST_DECIMAL, ServerColumn, quoted
from fedspark.tables.roles import Kind
from fedspark.tables.source import Source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "bigint": 64}
_TEXT = (
    *("varchar", "tinytext", "text", "mediumtext", "longtext", "char"),
    *("enum", "set", "json", "uuid", "inet4", "inet6", "time"),
)
_BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_CAST = ("date", "datetime", "timestamp", "time", "json")
_MEANINGS = {"float": "float32", "double": "float64", "year": "uint16", "bit": "uint64", "date": "date"}
_MEANINGS |= {"datetime": "timestamp", "timestamp": "timestamp"}


def read(spark: SparkSession, name: str, conf: ColumnsConf, directory: Path) -> Source:
    """As the reader's own, with all columns in the frame that have a meaning; dates and times come as text, in UTC."""
    return reader.read(spark, name, conf, directory, reading)  # type: ignore[arg-type]


def meaning(type_name: str) -> str:
    """What a type of the server means, in the words of `fedspark.tables.whole`, or nothing."""
    base = ServerColumn("", type_name).base
    if base in _BITS:
        return f"{'u' if 'unsigned' in type_name.lower() else ''}int{_BITS[base]}"
    if base == "decimal":
        digits, scale = (int(found) for found in re.findall(r"\d+", type_name)[:2])
        return f"decimal({digits},{scale})" if digits <= LONGEST_DECIMAL else "text"
    if base in _TEXT:
        return "text"
    return "bytes" if base in _BYTES else _MEANINGS.get(base, "")


def reading(column: ServerColumn) -> reader.Reading | None:
    """How a column is selected without any change to its values; None if it has no meaning."""
    name, means = quoted(column.name), meaning(column.type)
    if column.base in ("date", "datetime", "timestamp", "time", "json") or (
        means == "text" and column.base == "decimal"
    ):
        return f"CAST({name} AS CHAR)", Kind.TEXT, True
    if means == "bytes":
        return name, Kind.OTHER, False
    return column.reading() if means else None
