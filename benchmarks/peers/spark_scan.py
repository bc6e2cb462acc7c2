"""Spark alone, in the session of our side: the same columns of the table into a sink that does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cpu import TreeClock
from benchmarks.people import FLOATS, READ
from benchmarks.worker import Work

_SCHEMA = ", ".join(["id string", *(f"{name} double" for name in FLOATS), "age bigint", "visits bigint"])
_REST = "code string, born date"


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of reading ``config['table']``; a CSV file with its columns' types declared."""
    from pyspark.sql import SparkSession

    table = config["table"]
    spark = SparkSession.getActiveSession()
    assert spark is not None
    if table["kind"] == "hive":  # whose catalog is that of a session of its own
        from fedspark.conf.tables import HiveTable
        from fedspark.tables.hive.metastore import session_of

        spark = session_of(
            spark, "The table", HiveTable(**{key: table[key] for key in ("metastore", "database", "table", "id")})
        )
    clock = TreeClock()

    def scan() -> Any:
        if table["kind"] == "csv":
            return spark.read.csv(table["path"], header=True, schema=f"{_SCHEMA}, {_REST}")
        if table["kind"] == "parquet":
            return spark.read.parquet(table["path"])
        return spark.table(f"{table['database']}.{table['table']}")

    def work() -> Work:
        started = clock()
        scan().select(*READ).write.format("noop").mode("overwrite").save()
        return Work(config["rows"], cpu_s=clock() - started)

    work()
    return work
