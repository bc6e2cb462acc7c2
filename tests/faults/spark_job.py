"""A Spark job that plays all parties of an intersection, with tasks that fail at first, and that can be killed.

    python -m tests.faults.spark_job <base> <protocol> <record>

Tasks in ``FAILING`` fail at their first attempt. The job itself is killed when it is about to write the first object
whose name contains <record>, but once only. Every attempt leaves a file in <base>/attempts.
"""

from __future__ import annotations

import os
import signal
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedspark.buckets import SparkRunner
from fedspark.exchange.store import Store
from fedspark.psi import distribute
from tests.faults import mortal
from tests.psi.people import chunks_of, source

SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
CHUNK_ROWS = 10

# How the first attempt of a task ends: before its work, after it, or with the worker killed after it. A failed task
# costs Spark a worker, and its next one a second of imports: one failure per function is enough.
FAILING = {
    ("guest", "scatter"): (1, "before"),
    ("guest", "gather"): (2, "after"),
    ("host", "gather"): (1, "killed"),
    ("guest", "blind_part"): (1, "after"),
    ("host", "tag_part"): (1, "killed"),
    ("host", "evaluate_part"): (2, "after"),
    ("guest", "match_part"): (3, "killed"),
    ("host", "keep_part"): (0, "after"),
}


@dataclass(frozen=True)
class Flaky:
    """A task function whose first attempts fail as a machine would fail them: with no error of ours."""

    function: Callable[[Any, int], Any]
    attempts: Path
    submission: str
    party: str

    def __call__(self, context: Any, part: int) -> Any:
        function = mortal.name_of(self.function)
        part_failing, how = FAILING.get((self.party, function), (None, ""))
        name = f"{self.submission}-{self.party}-{function}-{part}"
        fails = part == part_failing and not any(self.attempts.glob(f"{name}-*"))
        (self.attempts / f"{name}-{uuid.uuid4().hex}").touch()
        if fails and how == "before":
            raise OSError("the disk is gone")
        result = self.function(context, part)
        if fails and how == "after":
            raise OSError("the network is gone")
        if fails:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class FlakyRunner(SparkRunner):
    """Gives Spark flaky tasks."""

    def __init__(self, session: Callable[[], Any], flaky: Callable[[Any], Flaky]) -> None:
        super().__init__(session, 0.05)
        self._flaky = flaky

    def run(self, function: Any, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        return super().run(self._flaky(function), parts, context, on_done)


def die_before(record: str, mark: Path) -> None:
    """This process, not its tasks, is killed when it is about to write ``record``, unless ``mark`` is there."""
    original = Store.create

    def create(self: Store, name: str, data: bytes) -> bool:
        if record in name and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, name, data)

    Store.create = create  # type: ignore[method-assign]


def main(base: Path, protocol: str, record: str) -> None:
    from pyspark.sql import SparkSession

    attempts, mark = base / "attempts", base / "died"
    attempts.mkdir(exist_ok=True)
    submission = "second" if mark.exists() else "first"
    die_before(record, mark)
    builder = SparkSession.builder.master("local[1,3]").appName("fedspark-tests")  # a task may run three times
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    parties = mortal.federation(base / "stores")
    distribute.GROUP_ROWS = CHUNK_ROWS  # several tasks scatter

    def half(name: str) -> Callable[[Any], Any]:
        def play(run: Any) -> Any:
            table = mortal.TABLES[name]
            flaky = FlakyRunner(lambda: session, lambda function: Flaky(function, attempts, submission, name))
            object.__setattr__(run, "runner", flaky)
            chunks = chunks_of(table, base / f"{submission}-{name}", CHUNK_ROWS)
            return mortal.role(protocol)(run, source(table, chunks))

        return play

    parties.play("psi", {name: half(name) for name in mortal.TABLES})
    session.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
