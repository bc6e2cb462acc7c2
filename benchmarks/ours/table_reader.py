"""A table as a load step gets it: the columns of their roles as Arrow batches in a Python task, counted there.

The party's own session (``run.session``), reader and layout with their normal settings. Measured is everything from
the reader's plan to the last batch, by the CPU time of the process tree: driver, JVM, Python workers. Not measured are
the start of the session, the first reading of the table, in which the JVM compiles what it needs, and what a sink does
with the rows. The server of a table is no part of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from benchmarks.cpu import TreeClock, adopt_orphans, forget_peaks, peaks_mb
from benchmarks.people import check
from benchmarks.worker import Work
from fedspark.conf import party_from
from fedspark.conf.tables import AnyTable
from fedspark.run.session import start_session
from fedspark.tables.arrival import arriving
from fedspark.tables.layout import Layout
from fedspark.tables.registry import open_source
from fedspark.tables.roles import resolve_roles
from fedspark.tables.source import own_session
from fedspark.tables.staging import size_batches


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of reading ``config['table']``, keys of a party file, of ``config['rows']`` rows, after a first time."""
    adopt_orphans()
    spark = start_session(_party(config), "bench")
    conf = TypeAdapter(AnyTable).validate_python(config["table"])
    clock = TreeClock()

    def work() -> Work:
        forget_peaks()
        started = clock()
        session = own_session(spark)
        source = open_source(session, "people", conf, Path(config["folder"]))
        layout = Layout(source, resolve_roles(source.where, source.columns, conf, id_type="string"), "string")
        size_batches(layout)
        check(sum(row.n for row in arriving(layout, _count, "n bigint").collect()), config["rows"])
        spent, peaks = clock() - started, peaks_mb()
        extra = {"jvm_peak_mb": peaks.get("java", 0.0), "worker_peak_mb": peaks.get("python", 0.0)}
        return Work(config["rows"], cpu_s=spent, peak_rss_mb=sum(peaks.values()), extra=extra)

    work()
    return work


def _count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield pa.RecordBatch.from_pydict({"n": [sum(batch.num_rows for batch in batches)]})


def _party(config: dict[str, Any]) -> Any:
    return party_from(
        {
            "party": "guest",
            "identity": "file:guest.key",
            "workspace": {"files": "work"},
            "exchange": {"url": "exchange"},
            "peers": {},
            "spark": {"master": config["master"], "conf": {"spark.driver.memory": config["driver_memory"]}},
            "tables": {},
        },
        directory=config["folder"],
    )
