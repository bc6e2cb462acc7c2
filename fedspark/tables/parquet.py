"""Parquet and ORC files: their own types decide what a column can be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fedspark.conf.tables import OrcTable, ParquetTable
from fedspark.tables.chosen import chosen
from fedspark.tables.fingerprint import origin_of
from fedspark.tables.look import KINDS
from fedspark.tables.roles import Column, Kind
from fedspark.tables.source import Source, locate, reading

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType


def read(spark: SparkSession, name: str, conf: ParquetTable | OrcTable, directory: Path) -> Source:
    """The table ``name`` of a party file whose paths begin at ``directory``; TableError when it cannot be opened."""
    path = locate(conf.path, directory)
    where = f"Table {name!r} ({conf.path})"
    kind = KINDS[conf.kind]
    with reading(where, kind):
        frame = spark.read.format(conf.kind).load(path)
        fields = frame.schema.fields
        frame = frame.toDF(*(f"c{position}" for position in range(len(fields))))
        origin = origin_of(spark, frame)
    columns = tuple(
        Column(position, field.name, field.dataType.simpleString(), kind_of(field.dataType))
        for position, field in enumerate(fields)
    )
    return chosen(Source(where, kind, frame, columns, origin=origin), conf.where)


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
