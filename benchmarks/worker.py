"""The child process in which one side of a case is measured: ``python -m benchmarks.worker MODULE``.

MODULE has ``prepare(case, config) -> work``, which does what is not measured (keys, tables, inputs, a self-check),
and ``work() -> Work`` is what is. The parent sends one JSON line per request and gets one back; standard library
only, so that it runs in a peer's environment. What a side prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.cpu import own_peak_mb, process_cpu


@dataclass(frozen=True)
class Work:
    """What one repeat did: ``rows`` rows, ``bytes`` that would cross the network, and anything else for the record.

    ``per`` is how many units of work a row has, for instance its features: figures are then per row and feature.

    ``cpu_s`` and ``peak_rss_mb`` replace the worker's own measurement where the work measures itself, for instance in
    processes of its own.
    """

    rows: int
    bytes: int | None = None
    per: int = 1
    cpu_s: float | None = None
    peak_rss_mb: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def measure(work: Callable[[], Work]) -> dict[str, Any]:
    """Do it once: CPU seconds, wall seconds, peak MiB, rows, units of work, bytes, extra."""
    wall, cpu = time.perf_counter(), process_cpu()
    done = work()
    cpu, wall = process_cpu() - cpu, time.perf_counter() - wall
    return {
        "rows": done.rows,
        "units": done.rows * done.per,
        "bytes": done.bytes,
        "cpu_s": cpu if done.cpu_s is None else done.cpu_s,
        "wall_s": wall,
        "peak_rss_mb": own_peak_mb() if done.peak_rss_mb is None else done.peak_rss_mb,
        "extra": done.extra,
    }


def main() -> None:
    """Answer requests ``{"prepare": case, "config": {...}}`` and ``{"measure": true}`` until standard input ends.

    Both may name a ``module`` other than MODULE, for a peer that is measured in the same process.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    works: dict[str, Callable[[], Work]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request.get("module", sys.argv[1])
        try:
            if "prepare" in request:
                works[name] = importlib.import_module(name).prepare(request["prepare"], request["config"])
                answer = {"ready": True}
            else:
                answer = measure(works[name])
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
