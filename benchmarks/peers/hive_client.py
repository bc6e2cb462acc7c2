"""PyHive alone: the same columns to Arrow batches in one process, one query, no Spark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyhive import hive

from benchmarks.people import READ, check
from benchmarks.worker import Work

_BATCH = 100_000


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of reading ``config['table']``, in pages ten times as large as the driver's default."""
    table = config["table"]

    def work() -> Work:
        rows = 0
        connection = hive.connect(table["host"], port=table["port"], username=table["user"], auth="NONE")
        try:
            cursor = connection.cursor(arraysize=10_000)
            cursor.execute(f"SELECT {', '.join(READ)} FROM {table['database']}.{table['table']}")
            while fetched := cursor.fetchmany(_BATCH):
                columns = [pa.array(column) for column in zip(*fetched, strict=True)]
                rows += pa.RecordBatch.from_arrays(columns, names=list(READ)).num_rows
        finally:
            connection.close()
        check(rows, config["rows"])
        return Work(rows)

    work()
    return work
