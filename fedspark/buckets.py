"""Bucket files and part tasks: the only place that turns a function into Spark tasks.

A *bucket* is the unit of the mathematics, a *part* (a run of consecutive buckets) the unit of task, file, message
object, retry and resume. A part file is Parquet with one row group per bucket, so that a task reads bucket by bucket
in bounded memory. A part task is a plain top-level function of (context, part): it does its I/O itself, through
references carried in its context, and returns something small.

A task can run twice (Spark retries and speculates). What it writes is create-only and a function of its input, so the
second run changes nothing.
"""

from __future__ import annotations

import functools
import gc
import io
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from fedspark.errors import FedsparkError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PartFunction = Callable[[Any, int], Any]
"""``function(context, part) -> small result``; top-level, so that executors find it by name."""


def write_buckets(tables: Iterable[pa.Table]) -> bytes:
    """A part file: one Parquet row group per table (an empty table gives an empty row group); equal input, equal bytes.

    All tables have the schema of the first one; there must be at least one.
    """
    buckets = iter(tables)
    first, sink = next(buckets), io.BytesIO()
    # No dictionaries: digests, ids and numbers hardly repeat, and looking for repeats takes longer than all the rest.
    with pq.ParquetWriter(
        sink, first.schema, compression="lz4", use_dictionary=False, write_statistics=False
    ) as writer:
        for table in itertools.chain([first], buckets):
            writer.write_table(table.combine_chunks(), row_group_size=max(1, table.num_rows))
    return sink.getvalue()


class BucketFile:
    """A part file in memory: ``buckets`` row groups, read one at a time."""

    def __init__(self, data: bytes) -> None:
        self._file = pq.ParquetFile(pa.BufferReader(data))
        self.buckets: int = self._file.num_row_groups
        self.rows: int = self._file.metadata.num_rows
        self.schema: pa.Schema = self._file.schema_arrow

    def read(self, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of the ``bucket``-th bucket of this part (numbered from 0 within the part)."""
        return self._file.read_row_group(bucket, columns=_columns(columns))

    def read_all(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of the part, bucket after bucket."""
        return self._file.read(columns=_columns(columns))

    def __iter__(self) -> Iterator[pa.Table]:
        return (self.read(bucket) for bucket in range(self.buckets))


def _columns(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)


class PartRunner(Protocol):
    """Runs one function over consecutive parts and returns the results in part order."""

    def run(self, function: PartFunction, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        """``on_done(number of parts finished so far)`` is called now and then, from any thread."""


class InProcessRunner:
    """One part after the other in this process: for tests, small data and parties without Spark."""

    def run(self, function: PartFunction, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        results = []
        for part in parts:
            results.append(function(context, part))
            on_done(len(results))
        return results


@dataclass(frozen=True)
class _Failed:
    error: FedsparkError


def _guarded(function: PartFunction, context: Any, part: int) -> Any:
    # A user's error would fail again on every retry, and Spark would bury its text in a Java stack trace: carry it
    # back.
    try:
        return function(context, part)
    except FedsparkError as error:
        return _Failed(error)


_settled = 0


def _settle() -> None:
    """Take what this worker has imported out of the garbage collector's sight.

    Spark's workers collect garbage after every task, and going through modules that never become garbage takes longer
    than many a task.
    """
    global _settled
    if len(sys.modules) != _settled:
        _settled = len(sys.modules)
        gc.collect()
        gc.freeze()


class SparkRunner:
    """One Spark task per part. ``session`` is called at the first use, so that a run that needs no Spark starts
    none.
    """

    def __init__(self, session: Callable[[], SparkSession], poll_seconds: float = 0.5) -> None:
        self._session = session
        self._poll_seconds = poll_seconds

    def run(self, function: PartFunction, parts: range, context: Any, on_done: Callable[[int], None]) -> list[Any]:
        if not parts:
            return []
        spark = self._session().sparkContext
        finished = spark.accumulator(0)
        task = functools.partial(_guarded, function, context)

        def counted(part: int) -> Any:
            result = task(part)
            finished.add(1)
            _settle()
            return result

        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(self._poll_seconds):
                on_done(min(finished.value, len(parts)))

        watcher = threading.Thread(target=watch, name="part-progress", daemon=True)
        watcher.start()
        try:
            # One small result per part comes back; rows never do.
            results = spark.parallelize(parts, len(parts)).map(counted).collect()
        finally:
            stop.set()
            watcher.join()
        on_done(len(parts))
        for result in results:
            if isinstance(result, _Failed):
                raise result.error
        return results
