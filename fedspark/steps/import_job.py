"""The Spark side of an import: of a frame's partitions those are read that are wanted, each into one slice."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fedspark.errors import FedsparkError, StoreError
from fedspark.run.progress import Progress, duration, rate
from fedspark.tables.clickhouse.intake import RESULT, Intake, Refused
from fedspark.tables.clickhouse.landing import rows_there, slices_there
from fedspark.tables.sink import uncarried
from fedspark.tables.source import SPARK_ERRORS, Source, explain_task

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PAUSES = (1.0, 5.0)
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_LINES = 5.0
_BATCH = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(32 << 20),
}


def read_slices(
    spark: SparkSession,
    source: Source,
    frame: DataFrame,
    intake: Intake,
    pending: Sequence[int],
    progress: Progress,
) -> Refused | None:
    """Read the ``pending`` slices; values of any of them that cannot be stored, or None.

    What a lost connection keeps from being read is read again, twice at most. Raises what reading and writing raise.
    """
    frame.sparkSession.conf.set("spark.sql.execution.arrow.pyspark.enabled", "true")
    for key, value in _BATCH.items():
        if spark.sparkContext.getConf().get(key) is None:
            frame.sparkSession.conf.set(key, value)
    job = frame.mapInArrow(intake, RESULT).rdd
    refused = Refused()
    for pause in (*_PAUSES, None):
        left = [number for number in pending if number not in slices_there(intake.landing)]
        try:
            lost = _run(spark, job, intake, left, len(intake.slices), source, progress, refused)
        except SPARK_ERRORS as error:
            if pause is None or source.lost is None or not source.lost(error):
                raise explain_task(error, source.where, source.kind) from error
        else:
            if lost is None or refused:
                return refused or None
            if pause is None:
                raise lost
        progress.say("a connection was lost; what it kept from being read is read again")
        time.sleep(pause)
    raise AssertionError


def _run(
    spark: SparkSession,
    job: Any,
    intake: Intake,
    left: Sequence[int],
    slices: int,
    source: Source,
    progress: Progress,
    refused: Refused,
) -> FedsparkError | None:
    """One Spark job; the error of a connection to the target that was lost."""
    if not left:
        return None
    wanted = set(left)
    partitions = [place for place, number in enumerate(intake.slices) if number in wanted]
    with _watched(intake, slices, source.rows, progress):
        results = spark.sparkContext.runJob(job, list, partitions)
    lost = None
    for row in results:
        if row.error is not None and not row.lost:
            raise uncarried(row.error)
        if row.error is not None:
            lost = uncarried(row.error)
        if row.refused is not None:
            lines, columns = json.loads(row.refused)
            refused.merge(Refused(lines, {place: (count, shown) for place, (count, shown) in columns}))
    return lost


@contextlib.contextmanager
def _watched(intake: Intake, slices: int, rows: int | None, progress: Progress) -> Iterator[None]:
    """Says, every few seconds, how far the slices are, by the rows that the target has of them."""
    stop = threading.Event()

    def watch() -> None:
        began, first, said = time.monotonic(), None, time.monotonic()
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                done, there = len(slices_there(intake.landing)), rows_there(intake.landing)
            except (StoreError, FedsparkError):
                continue  # who reads or writes will say so
            first = there if first is None else first
            now = time.monotonic()
            if now - said >= _SECONDS_BETWEEN_LINES:
                said = now
                progress.say(progress_line(done, slices, there, rows, there - first, now - began))

    watcher = threading.Thread(target=watch, name="import-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def progress_line(done: int, slices: int, there: int, rows: int | None, fresh: int, seconds: float) -> str:
    """'3 of 12 slices, 1,200,000 of 5,000,000 rows, 45,000 rows/s, 2 min left'; ``fresh`` rows came in ``seconds``."""
    words = [f"{done} of {slices} slices", f"{there:,}{'' if rows is None else f' of {rows:,}'} rows"]
    if fresh > 0 and seconds > 0:
        pace = fresh / seconds
        words.append(f"{rate(pace)} rows/s")
        if rows is not None and rows > there:
            words.append(f"{duration((rows - there) / pace)} left")
    return ", ".join(words)
