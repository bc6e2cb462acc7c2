"""PyMySQL alone: the same columns to Arrow batches in one process, rows fetched unbuffered, no Spark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pymysql

from benchmarks.people import READ, check
from benchmarks.worker import Work

_BATCH = 100_000


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of reading ``config['table']``."""
    table = config["table"]
    password = Path(table["password"].removeprefix("file:")).read_text()
    place = {key: table[key] for key in ("host", "port", "user", "database")}

    def work() -> Work:
        rows = 0
        with (
            pymysql.connect(**place, password=password, cursorclass=pymysql.cursors.SSCursor) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT {', '.join(READ)} FROM {table['table']}")
            while fetched := cursor.fetchmany(_BATCH):
                columns = [pa.array(column) for column in zip(*fetched, strict=True)]
                rows += pa.RecordBatch.from_arrays(columns, names=list(READ)).num_rows
        check(rows, config["rows"])
        return Work(rows)

    work()
    return work
