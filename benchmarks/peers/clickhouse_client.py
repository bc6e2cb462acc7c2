"""clickhouse-driver alone: the same columns to Arrow batches in one process, one query, no Spark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from clickhouse_driver import Client

from benchmarks.people import READ, check
from benchmarks.worker import Work


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of reading ``config['table']``, compressed as our side has it, else with the driver's defaults.

    With ``config['use_numpy']`` numbers come as numpy arrays, which is the driver's fastest way and ours.
    """
    table = config["table"]
    password = Path(table["password"].removeprefix("file:")).read_text()

    def work() -> Work:
        client = Client(
            table["host"],
            port=table["port"],
            user=table["user"],
            password=password,
            compression=True,
            settings={"use_numpy": config["use_numpy"]},
        )
        try:
            batches = client.query_arrow_stream(f"SELECT {', '.join(READ)} FROM {table['table']}")
            check(sum(batch.num_rows for batch in batches), config["rows"])
        finally:
            client.disconnect()
        return Work(config["rows"])

    work()
    return work
