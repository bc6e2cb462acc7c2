"""Reading tables where they live: ``python -m benchmarks.tables --rows 1000000 5000000 --case csv --case mysql``.

Every case reads one table of 15 columns, of them the 13 that have a role, into Python tasks as Arrow batches: what the
sink of a load step is given. Cases ``csv``, ``parquet`` and ``hive`` (Parquet files of a metastore) beside Spark's own
reader in the same session with a sink that does nothing; ``clickhouse``, ``hiveserver2`` and ``mysql`` beside the plain
Python client that makes Arrow of all rows in one process. ``--master local[1]`` has one task at a time, as a client
has. Servers are started in a folder of the benchmark's own, and their CPU time is nobody's.

``ratio`` is the other side's CPU time by ours, process trees whole: from 0.8 on a case meets its goal. ``jvm_peak_mb``
and ``worker_peak_mb`` are the peaks of a round, their medians; over sizes they must stay the same.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.harness import Case, Peer, parser, print_cases
from benchmarks.people import FLOATS
from benchmarks.table_sources import KINDS, Unavailable, source

_SPARK = Peer("spark.read, noop", "benchmarks.peers.spark_scan", beside=True)
_CLICKHOUSE = ("benchmarks.peers.clickhouse_client", "clickhouse_driver")
PEERS: dict[str, list[tuple[Peer, dict[str, Any]]]] = {
    "csv": [(_SPARK, {})],
    "parquet": [(_SPARK, {})],
    "hive": [(Peer("spark.table, noop", "benchmarks.peers.spark_scan", beside=True), {})],
    "clickhouse": [
        (Peer("clickhouse-driver", *_CLICKHOUSE), {"use_numpy": False}),
        (Peer("clickhouse-driver with use_numpy", *_CLICKHOUSE), {"use_numpy": True}),
    ],
    "hiveserver2": [(Peer("PyHive", "benchmarks.peers.hive_client", "pyhive"), {})],
    "mysql": [(Peer("PyMySQL", "benchmarks.peers.mysql_client", "pymysql"), {})],
}
"""The other sides of every case, each with what only it is told."""


def main() -> None:
    """Measure what the command line asks for."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="fedspark-tables-", dir=options.folder) as folder:
        for kind in options.case or KINDS:
            with contextlib.ExitStack() as stack:
                try:
                    place = stack.enter_context(source(kind, Path(folder)))
                except Unavailable as missing:
                    print(f"{kind}: {missing}", file=sys.stderr)
                    continue
                for rows in options.rows:
                    print_cases(cases(kind, rows, place(rows), Path(folder), options), options.repeats)


def cases(kind: str, rows: int, table: dict[str, Any], folder: Path, options: argparse.Namespace) -> list[Case]:
    """The cases of that kind and size, one for each other side; ``table`` are the keys that say where the rows are."""
    roles = {"id": "id", "features": [*FLOATS, "age", "visits"]}
    config: dict[str, Any] = {
        "rows": rows,
        "table": {**table, **roles},
        "folder": str(folder),
        "master": options.master,
        "driver_memory": options.driver_memory,
    }
    extra = {"master": options.master, "unit": "row", "columns": 1 + len(roles["features"])}
    return [
        Case("tables", kind, "benchmarks.ours.table_reader", config, peer, told, extra) for peer, told in PEERS[kind]
    ]


def _parser() -> argparse.ArgumentParser:
    made = parser(__doc__.splitlines()[0], rows=[100_000])
    made.add_argument("--case", action="append", choices=KINDS, help="may be repeated; default: all")
    made.add_argument("--master", default="local[1]", help="Spark master")
    made.add_argument("--driver-memory", default="1g", help="JVM heap")
    made.add_argument("--folder", help="where tables and servers are put, and removed again; default: /tmp")
    return made


if __name__ == "__main__":
    main()
