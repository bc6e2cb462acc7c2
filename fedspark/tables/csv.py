"""Delimited text files. Every field is read as text; types are applied afterwards, where failures can be counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fedspark.conf.tables import CsvTable
from fedspark.errors import TableError
from fedspark.tables.chosen import chosen
from fedspark.tables.csv_pieces import CsvPieces
from fedspark.tables.direct import Direct, cut, local_files, numbered
from fedspark.tables.fingerprint import check_origin, origin_of
from fedspark.tables.header import columns_of
from fedspark.tables.look import OPENERS, UNKNOWN_TO_PYTHON
from fedspark.tables.source import Source, locate, reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def read(spark: SparkSession, name: str, conf: CsvTable, directory: Path) -> Source:
    """The table ``name`` of a party file whose paths begin at ``directory``; TableError when it cannot be opened.

    Quotes are doubled inside quoted fields (RFC 4180). A record is one line: a line break in quotes is malformed.
    """
    path = locate(conf.path, directory)
    where = f"Table {name!r} ({conf.path})"
    options = {"sep": conf.delimiter, "encoding": conf.encoding, "quote": '"', "escape": '"'}
    with reading(where, "CSV"):
        first = spark.read.options(header="false", **options).csv(path).head()
    if first is None:
        raise TableError(f"{where}: it is empty, without even a header line.", remedy="Write the file again.")
    columns = columns_of(where, conf, list(first))
    with reading(where, "CSV"):
        header = [value or "" for value in first]
        frame = _frame(spark, where, path, conf, options, header)
        origin, direct = origin_of(spark, frame), _direct(spark, frame, conf, header)
    skips = conf.on_bad_row == "skip"
    source = Source(where, "CSV", frame, columns, checks_lines=True, skips_lines=skips, origin=origin, direct=direct)
    source = replace(source, unaltered=partial(check_origin, spark, source, frame))
    return chosen(source, conf.where)


def _direct(spark: SparkSession, frame: DataFrame, conf: CsvTable, header: Sequence[str]) -> Direct | None:
    """A way to the rows of files that are neither compressed nor in another encoding than UTF-8, all to be read."""
    files = local_files(frame.inputFiles())
    packed = (*OPENERS, *UNKNOWN_TO_PYTHON)
    if files is None or any(path.endswith(packed) for path in files):
        return None
    plain = conf.delimiter.isascii() and conf.delimiter not in '"\r\n\0' and len(header) > 1
    if conf.on_bad_row == "skip" or conf.encoding != "utf-8" or not plain:
        return None
    tasks = cut(files, spark.sparkContext.defaultParallelism)
    begins = tuple(header) if conf.header else None

    def reader(wanted: Sequence[str]) -> CsvPieces:
        return CsvPieces(tasks, len(header), tuple(wanted), conf.delimiter, begins)

    return Direct(frame, numbered(spark, len(tasks)), reader)


def _frame(
    spark: SparkSession, where: str, path: str, conf: CsvTable, options: dict[str, str], header: list[str]
) -> DataFrame:
    from pyspark.sql import functions
    from pyspark.sql.types import StringType, StructField, StructType

    # Spark compares the header lines of all files with the schema, unless some column has no name or two have the same.
    comparable = conf.header and all(header) and len(set(header)) == len(header)
    places = [f"c{position}" for position in range(len(header))]
    names = header if comparable else places
    line = _unused("malformed", names)
    schema = StructType([StructField(name, StringType()) for name in [*names, line]])
    frame = (
        spark.read.schema(schema)
        .options(header=str(conf.header).lower(), enforceSchema=str(not comparable).lower(), **options)
        # With pruning, Spark does not look at the fields it does not need, and finds no line too short or too long.
        .options(mode="PERMISSIVE", columnNameOfCorruptRecord=line, columnPruning="false")
        .csv(path)
    )
    if conf.header and not comparable and len(frame.inputFiles()) > 1:
        remedy = "Give every column a name of its own: only then can the header lines of several files be compared."
        raise TableError(f"{where}: some columns of its files have no name, or share one.", remedy=remedy)
    file = frame.metadataColumn("_metadata")["file_path"].alias("file")
    frame = frame.select("*", file).toDF(*places, "line", "file")
    return frame.withColumn("malformed", functions.col("line").isNotNull())


def _unused(name: str, names: list[str]) -> str:
    while name in names:
        name = f"_{name}"
    return name
