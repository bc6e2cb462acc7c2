"""Staging: a source is read once, checked, and written as the Parquet snapshot that all later steps read instead of it.

One job reads, normalises, writes, and gathers the aggregates that the checks need; one more finds repeated keys in what
was written. A table that does not pass is deleted again, and one TableError says everything that is wrong with it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedspark.conf.table_conf import ColumnsConf
from fedspark.errors import StoreError
from fedspark.tables.card import ColumnCard, TableCard
from fedspark.tables.checks import find_bad_rows, find_duplicates, find_nothing_to_learn
from fedspark.tables.layout import Layout
from fedspark.tables.problems import Problems
from fedspark.tables.registry import open_source
from fedspark.tables.roles import Column, Roles, resolve_roles
from fedspark.tables.source import (
    SPARK_ERRORS,
    Source,
    delete,
    exists,
    explain_write,
    literally,
    own_session,
    spark_path,
    stored_bytes,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def stage(
    spark: SparkSession,
    name: str,
    conf: ColumnsConf,
    directory: Path,
    *,
    id_type: Literal["string", "integer"],
    target: str,
    needs_label: bool = False,
    needs_features: bool = True,
    training: bool = True,
) -> TableCard:
    """Stage the table ``name`` of a party file in ``directory`` as Parquet at ``target``, a URL where nothing is yet.

    The snapshot has the columns ``key`` string, ``id.<column>`` string (ids as read), ``label`` double 0.0 or 1.0 (if a
    label is declared) and ``x.<feature>`` double, in the order of the card. Every key occurs once.

    ``needs_label`` requires a label of both classes; ``training`` refuses constant features, which a table to be scored
    may have. An empty table passes, and its card says so. Raises TableError with all that is wrong (counts, masked ids,
    remedies), StoreError when reading or writing itself fails; then nothing is left at ``target``.
    """
    started = time.monotonic()
    session = own_session(spark)
    source = open_source(session, name, conf, directory)
    roles = resolve_roles(
        source.where, source.columns, conf, id_type=id_type, needs_label=needs_label, needs_features=needs_features
    )
    layout = Layout(source, roles, id_type)
    place = spark_path(target)
    _refuse_existing(session, place, source, target)
    try:
        metrics = _write_and_check(session, layout, conf, place, one_class=needs_label, constant=training)
    except BaseException as error:
        with contextlib.suppress(*SPARK_ERRORS):
            delete(session, place)
        if isinstance(error, SPARK_ERRORS):
            raise explain_write(error, source.where, source.kind, target) from error
        raise
    size = stored_bytes(session, place)
    return _card(name, layout, metrics, size, time.monotonic() - started)


def read_staged(spark: SparkSession, card: TableCard, target: str) -> DataFrame:
    """The snapshot at ``target`` that ``card`` describes; its types are known, so no job looks at the files.

    Where two features differ by case only, ``spark.sql.caseSensitive`` must be true.
    """
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType

    numbers = [column for column in card.staged_columns if column == "label" or column.startswith("x.")]
    fields = [
        StructField(column, DoubleType() if column in numbers else StringType()) for column in card.staged_columns
    ]
    return spark.read.schema(StructType(fields)).parquet(literally(spark_path(target)))


def _refuse_existing(session: SparkSession, place: str, source: Source, target: str) -> None:
    try:
        taken = exists(session, place)
    except SPARK_ERRORS as error:
        raise explain_write(error, source.where, source.kind, target) from error
    if taken:
        raise StoreError(f"{target} exists already.", remedy="Stage to a new directory.")


def _write_and_check(
    session: SparkSession, layout: Layout, conf: ColumnsConf, place: str, *, one_class: bool, constant: bool
) -> Mapping[str, Any]:
    from pyspark.sql import Observation

    drop = conf.duplicates == "drop"
    frame = layout.frame(drop_duplicates=drop)
    # Metrics of a write's own stage are exact: Spark counts every partition once, however often a task runs.
    observation = Observation("staging")
    frame.observe(observation, *layout.metrics()).select(*layout.staged()).write.parquet(place)
    metrics = observation.get
    problems = Problems(layout.source.where)
    find_bad_rows(layout, layout.frame(drop_duplicates=False), metrics, problems)
    find_nothing_to_learn(layout, metrics, problems, one_class=one_class, constant=constant)
    if not drop and metrics["rows"] > 1:
        find_duplicates(session.read.schema("key string").parquet(literally(place)), layout.roles, problems)
    problems.check()
    return metrics


def _card(name: str, layout: Layout, metrics: Mapping[str, Any], size: int, seconds: float) -> TableCard:
    roles, count = layout.roles, metrics["rows"]
    labels = {str(value): metrics[f"label{value}"] for value in (0, 1)} if roles.label else None
    return TableCard(
        name=name,
        rows=count,
        dropped=(metrics["read"] or 0) - count,
        columns=tuple(_column_card(column, roles, count) for column in layout.source.columns),
        features=tuple(column.name for column in roles.features),
        label_counts=labels,
        constant=layout.constant_features(metrics),
        checksum=str(int(metrics["checksum"] or 0)),
        bytes=size,
        seconds=round(seconds, 3),
    )


def _column_card(column: Column, roles: Roles, count: int) -> ColumnCard:
    role = "ignored"
    if column in roles.ids:
        role = "id"
    elif column == roles.label:
        role = "label"
    elif column in roles.features:
        role = "feature"
    return ColumnCard(column.name, column.type, role, None if role == "ignored" or not count else 0.0)
