"""Parquet and ORC files: their own types decide what a column can be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from fedspark.conf.tables import OrcTable, ParquetTable
from fedspark.tables.chosen import chosen
from fedspark.tables.direct import Direct, Unplain, cut, local_files, numbered
from fedspark.tables.fingerprint import check_origin, origin_of
from fedspark.tables.look import KINDS
from fedspark.tables.parquet_pieces import ParquetPieces, first_fits
from fedspark.tables.roles import Column, Kind
from fedspark.tables.source import Source, locate, reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType


def read(spark: SparkSession, name: str, conf: ParquetTable | OrcTable, directory: Path) -> Source:
    """The table ``name`` of a party file whose paths begin at ``directory``; TableError when it cannot be opened."""
    path = locate(conf.path, directory)
    where = f"Table {name!r} ({conf.path})"
    kind = KINDS[conf.kind]
    with reading(where, kind):
        frame = spark.read.format(conf.kind).load(path)
        fields = frame.schema.fields
        files = local_files(frame.inputFiles()) if conf.kind == "parquet" else None
        frame = frame.toDF(*(f"c{position}" for position in range(len(fields))))
        origin = origin_of(spark, frame)
    columns = tuple(
        Column(position, field.name, field.dataType.simpleString(), kind_of(field.dataType))
        for position, field in enumerate(fields)
    )
    names = [field.name for field in fields]
    direct = None if files is None else direct_to(spark, frame, files, names, named_by_folders(files))
    source = Source(where, kind, frame, columns, origin=origin, direct=direct)
    source = replace(source, unaltered=partial(check_origin, spark, source, frame))
    return chosen(source, conf.where)


def direct_to(
    spark: SparkSession, frame: DataFrame, files: Sequence[str], names: Sequence[str], partitioned: Collection[str]
) -> Direct:
    """A way to the rows of Parquet files; the columns of ``frame``, in the order of ``names``, are c0, c1, ...

    Values of the ``partitioned`` columns are not those of the files, even where these have a column of that name.
    """
    tasks = cut(files, spark.sparkContext.defaultParallelism)
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    in_file = {f"c{position}": name for position, name in enumerate(names)}
    elsewhere = {name.lower() for name in partitioned}

    def reader(wanted: Sequence[str]) -> ParquetPieces:
        columns = tuple((field, in_file[field], types[field]) for field in wanted)
        if any(name.lower() in elsewhere for _, name, _ in columns):
            raise Unplain("columns whose values are in names of folders")
        if not first_fits(files[0], columns):
            raise Unplain("columns that are in no file, or in none of Spark's types")
        return ParquetPieces(tasks, columns)

    return Direct(frame, numbered(spark, len(tasks)), reader)


def named_by_folders(files: Sequence[str]) -> set[str]:
    """Columns that a folder ``name=value`` above one of the files may give a value to, as Spark would have it."""
    segments = {segment for folder in {PurePosixPath(file).parent for file in files} for segment in folder.parts}
    return {unquote(segment.partition("=")[0]) for segment in segments if "=" in segment}


def kind_of(data_type: DataType) -> Kind:
    """What a column of this Spark type can be used for."""
    from pyspark.sql import types

    if isinstance(data_type, types.DecimalType):
        return Kind.INTEGER if data_type.scale == 0 else Kind.DECIMAL
    if isinstance(data_type, types.IntegralType):
        return Kind.INTEGER
    if isinstance(data_type, types.FractionalType):
        return Kind.REAL
    plain = {types.StringType: Kind.TEXT, types.BooleanType: Kind.BOOLEAN, types.DateType: Kind.DATE}
    plain |= {types.TimestampType: Kind.TIMESTAMP, types.TimestampNTZType: Kind.TIMESTAMP}
    return plain.get(type(data_type), Kind.OTHER)
