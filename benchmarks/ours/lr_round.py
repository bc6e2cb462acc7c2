"""One round of vertical logistic regression with an arbiter: all three parties, their part tasks in Spark.

The real protocol (fedspark.models.vertical_lr) with sealed messages over a folder, from aligned files on. The parties
are threads of one process and share a Spark session; the clock is the CPU time of the whole process tree. It is read
when the arbiter has decided round 0 and the last round, when every party waits for it: what lies between is whole
rounds and nothing else (keys, statistics, obfuscator tables and first uses are before).

``spark_share`` is the part of it that is neither in the part tasks' functions nor in the parties' own threads: JVM,
scheduling, serialising, Python workers. ``config['spark']`` false runs the tasks in the process itself.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.aligned_rows import align
from benchmarks.cpu import TreeClock, adopt_orphans, tree_peak_mb
from benchmarks.worker import Work
from fedspark.buckets import InProcessRunner, PartFunction, SparkRunner
from fedspark.conf.options import TrainOptions
from fedspark.crypto.paillier import PrivateKey, engine_for
from fedspark.crypto.randomness import Stream
from fedspark.models.vertical_lr import train
from fedspark.psi.align import Alignment
from fedspark.run import Progress, Run
from tests.federation import Federation

SHARE = 0.25
_STEPS = ({"step": "load", "tables": ["people"]}, {"step": "psi", "table": "people"})
_ROUND = ("u", "d", "g", "opened", "loss", "sums", "go")
_PATIENCE_SECONDS = 24 * 3600.0


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of ``config['rounds']`` rounds on about ``config['rows']`` training rows."""
    adopt_orphans()
    spark = _session(config["cores"], config["memory"]) if config["spark"] else None

    def work() -> Work:
        folder = tempfile.mkdtemp(prefix="lr-", dir=config.get("folder"))
        try:
            return _rounds(config, folder, spark)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return work


def _session(cores: int, memory: str) -> Any:
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    built = SparkSession.builder.master(f"local[{cores}]").config("spark.ui.enabled", "false")
    built = built.config("spark.ui.showConsoleProgress", "false")
    return built.config("spark.driver.memory", memory).getOrCreate()


def _rounds(config: dict[str, Any], folder: str, spark: Any) -> Work:
    rounds, bits, people = config["rounds"], config["bits"], round(config["rows"] / (1 - SHARE))
    settings = {"table": "people", "key_bits": bits, "max_rounds": rounds, "tolerance": 1e-300, "validation": SHARE}
    options = TrainOptions(**settings)
    runners: list[TimedRunner] = []

    def runner() -> TimedRunner:
        runners.append(TimedRunner(SparkRunner(lambda: spark) if spark else InProcessRunner()))
        return runners[-1]

    federation = Federation(
        base=folder, steps=(*_STEPS, {"step": "train", **settings}), runner=runner, patience=_PATIENCE_SECONDS
    )
    alignments: dict[str, Alignment] = {}
    for name in ("guest", "host"):
        alignments[name] = align(federation.run(name, "psi"), people, config["features"], name == "guest")
    clock = Clock(TreeClock(), runners)

    def half(run: Run) -> Any:
        with clock.of_thread():
            if run.me.name == "arbiter":
                run = dataclasses.replace(run, progress=Listening("arbiter", clock.read))
            return train(run, alignments.get(run.me.name), options)

    results = federation.play("train", dict.fromkeys(("guest", "host", "arbiter"), half))
    assert results["guest"].rounds == rounds, results["guest"]
    first, last = clock.readings[0], clock.readings[-1]
    rows = results["guest"].part.rows
    sent = federation.run("guest", "train").mailbox.traffic("train")
    whole = last.tree - first.tree
    inside = last.tasks - first.tasks + last.threads - first.threads
    return Work(
        rows,
        round(sum(item.bytes for item in sent if item.tag in _ROUND) / (rounds + 1)),
        cpu_s=whole / rounds,
        peak_rss_mb=tree_peak_mb(),
        extra={
            "round_wall_s": (last.wall - first.wall) / rounds,
            "tasks_cpu_us": 1e6 * (last.tasks - first.tasks) / rounds / rows,
            "spark_share": max(0.0, 1 - inside / whole) if spark else None,
            "set_up_cpu_s": first.tree,
            "engine": _engine(bits),
        },
    )


def _engine(bits: int) -> str:
    return engine_for(PrivateKey.generate(Stream(bytes(32)), bits).public).name


# ---- clocks ----------------------------------------------------------------------------------------------------------


class TimedRunner:
    """Another runner, which also adds up the CPU seconds of the part tasks' functions."""

    def __init__(self, runner: Any) -> None:
        self._runner, self.seconds = runner, 0.0

    def run(self, function: PartFunction, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        pairs = self._runner.run(partial(_timed, function), parts, context, on_done)
        self.seconds += sum(seconds for _, seconds in pairs)
        return [result for result, _ in pairs]


def _timed(function: PartFunction, context: Any, part: int) -> tuple[Any, float]:
    began = time.thread_time()
    result = function(context, part)
    return result, time.thread_time() - began


class Listening(Progress):
    """Progress of the arbiter: it says something at the end of every round."""

    def __init__(self, name: str, heard: Callable[[], None]) -> None:
        super().__init__(name, quiet=True)
        self._heard = heard

    def say(self, text: str) -> None:
        self._heard()


@dataclasses.dataclass(frozen=True)
class Reading:
    """Seconds so far: CPU of the process tree, of task functions, of the parties' threads, and of the wall clock."""

    tree: float
    tasks: float
    threads: float
    wall: float


class Clock:
    """Readings at the ends of rounds."""

    def __init__(self, tree: TreeClock, runners: list[TimedRunner]) -> None:
        self._tree, self._runners, self._threads = tree, runners, list[int]()
        self.readings: list[Reading] = []
        self._began = tree()

    def of_thread(self) -> Any:
        """Count the thread in whose `with` block we are."""
        return _Counted(self._threads)

    def read(self) -> None:
        tasks = sum(runner.seconds for runner in self._runners)
        threads = sum(time.clock_gettime(clock) for clock in self._threads)
        self.readings.append(Reading(self._tree() - self._began, tasks, threads, time.perf_counter()))


class _Counted:
    def __init__(self, clocks: list[int]) -> None:
        self._clocks = clocks

    def __enter__(self) -> None:
        self._clocks.append(time.pthread_getcpuclockid(threading.get_ident()))

    def __exit__(self, *_: object) -> None: ...
