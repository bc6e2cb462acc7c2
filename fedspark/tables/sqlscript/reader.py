"""Reader of dumps: one task turns a dump's lines into rows, which Spark keeps on its executors' disks until staged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark import StorageLevel

from fedspark.conf.tables import SqlScriptTable
from fedspark.errors import ConfigError
from fedspark.tables.chosen import chosen
from fedspark.tables.fingerprint import check_origin, origin_of
from fedspark.tables.roles import Column
from fedspark.tables.source import SPARK_ERRORS, Source, explain_task, locate, reading, telling_driver
from fedspark.tables.sqlscript.columns import DumpColumn
from fedspark.tables.sqlscript.dump import DumpTable
from fedspark.tables.sqlscript.statements import too_large

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_KIND = "SQL script"
_SETTINGS = {
    # A file is one piece, so that its lines come in order.
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.files.maxPartitionBytes": str(1 << 40),
    # A line of a dump is a megabyte.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 << 20),
}
_SPARK_TYPES: list[tuple[Callable[[pa.DataType], bool], str]] = [
    (pa.types.is_int64, "bigint"),
    (pa.types.is_float64, "double"),
    (pa.types.is_date32, "date"),
    (pa.types.is_timestamp, "timestamp_ntz"),
]


def read(spark: SparkSession, name: str, conf: SqlScriptTable, directory: Path) -> Source:
    """The table ``name`` of a party file whose paths begin at ``directory``; TableError when it cannot be read."""
    where = f"Table {name!r} ({conf.path})"
    if find_spec("sqlglot") is None:
        remedy = "Install it here and for Spark's executors: pip install 'fedspark[sqlscript]'."
        raise ConfigError(f"{where}: kind sqlscript needs the package sqlglot.", remedy=remedy)
    path, limit = locate(conf.path, directory), conf.max_megabytes << 20
    table = DumpTable(where, conf.table, conf.database, limit)
    with reading(where, _KIND):
        files = spark.read.text(path)
        origin = origin_of(spark, files)
        lengths = spark.read.format("binaryFile").load(path).agg({"length": "sum"}).first()
        lines = spark.read.option("lineSep", "\n").text(path)
        file = lines.metadataColumn("_metadata")["file_path"].alias("file")
        lines = lines.select("value", file)
    if lengths is not None and (lengths[0] or 0) > limit:
        raise too_large(where, limit)
    with _settings(spark), _explained(where):
        found = lines.mapInArrow(_Definition(table), "definition string").first()
        columns = table.columns(found[0] if found else "")
        rows = lines.mapInArrow(_Rows(table, columns), _schema(columns))
        rows = rows.localCheckpoint(storageLevel=StorageLevel.DISK_ONLY)
        zeros = rows.agg({"zeros": "sum"}).first()
    notes = () if not zeros or not zeros[0] else (f"{zeros[0]:,} zero dates (0000-00-00) became nulls",)
    source = Source(where, _KIND, rows.drop("zeros"), _described(columns), notes=notes, origin=origin)
    source = replace(source, unaltered=partial(check_origin, spark, source, files))
    return chosen(source, conf.where)


@dataclass(frozen=True)
class _Definition:
    """The CREATE TABLE of a table, as the only row; called by Spark with the lines."""

    table: DumpTable

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with telling_driver():
            text = self.table.definition(_files(batches))
        yield pa.RecordBatch.from_arrays([pa.array([text], pa.string())], names=["definition"])


@dataclass(frozen=True)
class _Rows:
    """The rows of a table, c0, c1, ..., and ``zeros``, dates that became nulls; called by Spark with the lines."""

    table: DumpTable
    columns: tuple[DumpColumn, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        names = [*(f"c{place}" for place in range(len(self.columns))), "zeros"]
        with telling_driver():
            for lines in _files(batches):
                for arrays, zeros in self.table.rows(lines, self.columns):
                    counts = pa.array([zeros, *[0] * (len(arrays[0]) - 1)], pa.int64())
                    yield pa.RecordBatch.from_arrays([*arrays, counts], names=names)


def _files(batches: Iterator[pa.RecordBatch]) -> Iterator[Iterator[str]]:
    """The lines of every file, file after file; what is not UTF-8 in them becomes U+FFFD."""
    pairs = (
        (file, line)
        for batch in batches
        for file, line in zip(
            batch.column("file").to_pylist(), batch.column("value").cast(pa.binary()).to_pylist(), strict=True
        )
    )
    for _, lines in groupby(pairs, key=itemgetter(0)):
        yield (line.decode(errors="replace") for _, line in lines)


def _schema(columns: Sequence[DumpColumn]) -> str:
    return ", ".join(
        [*(f"c{place} {_spark_type(column.arrow)}" for place, column in enumerate(columns)), "zeros bigint"]
    )


def _spark_type(arrow: pa.DataType) -> str:
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    return next((name for fits, name in _SPARK_TYPES if fits(arrow)), "string")


def _described(columns: Sequence[DumpColumn]) -> tuple[Column, ...]:
    return tuple(Column(place, column.name, column.type, column.kind) for place, column in enumerate(columns))


@contextmanager
def _settings(spark: SparkSession) -> Iterator[None]:
    before = {key: spark.conf.get(key, None) for key in _SETTINGS}
    for key, value in _SETTINGS.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, held in before.items():
            if held is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, held)


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except SPARK_ERRORS as error:
        raise explain_task(error, where, _KIND) from None
