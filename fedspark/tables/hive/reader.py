"""Tables of a Hive metastore: Spark reads the files of the partitions that are asked for, and of no others."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.conf.tables.hive import HiveTable
from fedspark.errors import TableError
from fedspark.tables.chosen import chosen
from fedspark.tables.direct import local_files
from fedspark.tables.fingerprint import check_origin, origin_of
from fedspark.tables.hive.metastore import KIND, UNREACHABLE, check_there, explained, session_of
from fedspark.tables.hive.names import NO_VALUE, full_name, literal, quoted, role_kind, spec
from fedspark.tables.parquet import direct_to, kind_of
from fedspark.tables.problems import listed, meant
from fedspark.tables.roles import Column
from fedspark.tables.source import Source

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

_SHOWN = 5


def read(spark: SparkSession, name: str, conf: HiveTable, directory: Path) -> Source:
    """The table ``name`` of a party file; TableError, StoreError or ConfigError when it cannot be opened."""
    where = f"Table {name!r} ({conf.database}.{conf.table} of {conf.metastore or 'the metastore of hive-site.xml'})"
    session = session_of(spark, where, conf)
    table = full_name(conf.database, conf.table)
    with explained(where):
        check_there(session, where, conf)
        _check_readable(session, where, table)
        session.catalog.refreshTable(table)  # files that others wrote since this session last looked
        partitioned = [column.name for column in session.catalog.listColumns(table) if column.isPartition]
        frame = session.table(table)
        fields = frame.schema.fields
        frame = _only(session, where, conf, frame, partitioned)
        files = _files(session, table, frame)
        by_spark = "HiveTableRelation" not in frame._jdf.queryExecution().optimizedPlan().toString()
        # Of what Hive's classes read, Spark knows the folder alone, which changes with any other partition.
        origin = origin_of(session, frame) if by_spark else {}
        frame = frame.toDF(*(f"c{position}" for position in range(len(fields))))
    columns = tuple(
        Column(
            position,
            field.name,
            field.dataType.simpleString(),
            role_kind(field.name, kind_of(field.dataType), conf, partitioned),
        )
        for position, field in enumerate(fields)
    )
    names = [field.name for field in fields]
    direct = None if files is None else direct_to(session, frame, files, names, partitioned)
    source = Source(where, KIND, frame, columns, notes=_notes(conf), origin=origin, lost=_is_lost, direct=direct)
    if by_spark:
        source = replace(source, unaltered=partial(check_origin, session, source, frame))
    return chosen(source, conf.where)


def _files(session: SparkSession, table: str, frame: DataFrame) -> list[str] | None:
    """The files on this machine whose rows are those of ``frame``, if they are Parquet; None where it is not so.

    Not of a view, whose rows are made of those of its files, and not where Hive's classes read: these files are more
    than those of the partitions that were asked for.
    """
    is_view = session.catalog.getTable(table).tableType == "VIEW"
    by_spark = session.conf.get("spark.sql.hive.convertMetastoreParquet", "true") == "true"
    return None if is_view or not by_spark else local_files(frame.inputFiles())


def _check_readable(session: SparkSession, where: str, table: str) -> None:
    properties = {row[0]: row[1] for row in session.sql(f"SHOW TBLPROPERTIES {table}").collect()}
    if properties.get("transactional", "").lower() == "true":
        problem = f"{where}: it is a transactional table (ACID), whose files only Hive itself can put together."
        raise TableError(problem, remedy="Read it as kind hiveserver2, or have it copied to a plain table.")


def _only(
    session: SparkSession, where: str, conf: HiveTable, frame: DataFrame, partitioned: Sequence[str]
) -> DataFrame:
    """The rows of the partitions that `partitions` names; TableError when one of them is not there."""
    known = {name.lower(): name for name in partitioned}
    for column in conf.partitions:
        if column.lower() not in known:
            there = f"those are {listed(map(repr, partitioned))}" if partitioned else "the table has none"
            remedy = meant(column, partitioned, "Name a partition column, or write a condition as `where`.")
            raise TableError(f"{where}: `partitions` names {column!r}, no partition column: {there}.", remedy=remedy)
    chosen_values = [(known[column.lower()], values) for column, values in conf.partitions.items()]
    if chosen_values:
        names = [column for column, _ in chosen_values]
        for combination in itertools.product(*(values for _, values in chosen_values)):
            _check_partition(session, where, conf, list(zip(names, combination, strict=True)))
    types = {field.name: field.dataType for field in frame.schema.fields}
    for column, values in chosen_values:
        frame = frame.where(_among(F.col(quoted(column)), values, types[column]))
    return frame


def _among(column: Expression, values: Sequence[str], data_type: object) -> Expression:
    """Whether a partition column has one of the values: with constants of its own type, which the metastore gets."""
    wanted = [F.lit(value).try_cast(data_type) for value in values if value != NO_VALUE]  # type: ignore[arg-type]
    found = column.isin(wanted) if wanted else F.lit(False)
    return found | column.isNull() if NO_VALUE in values else found


def _check_partition(session: SparkSession, where: str, conf: HiveTable, wanted: Sequence[tuple[str, str]]) -> None:
    table = full_name(conf.database, conf.table)
    types = {field.name: field.dataType.simpleString() for field in session.table(table).schema.fields}
    fits = ", ".join(f"try_cast({literal(value)} AS {types[column]}) IS NOT NULL" for column, value in wanted)
    listing = f"SHOW PARTITIONS {table} PARTITION {spec(wanted)}"
    if all(session.sql(f"SELECT {fits}").collect()[0]) and session.sql(listing).take(1):
        return
    there = [row[0] for row in session.sql(f"SHOW PARTITIONS {table}").collect()]
    said = "/".join(f"{column}={value}" for column, value in wanted)
    last = f"; the last of its {len(there)} are {', '.join(there[-_SHOWN:])}" if there else "; it has none"
    raise TableError(f"{where}: there is no partition {said}{last}.", remedy="Correct `partitions`.")


def _notes(conf: HiveTable) -> tuple[str, ...]:
    said = [f"{column} = {', '.join(values)}" for column, values in conf.partitions.items()]
    return (f"only partitions {'; '.join(said)}",) if said else ()


def _is_lost(error: BaseException) -> bool:
    return re.search(UNREACHABLE, f"{error}\n{getattr(error, '_stackTrace', '') or ''}") is not None
