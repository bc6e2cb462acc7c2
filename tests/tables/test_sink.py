"""The sink at the end of the one job: errors come back as ours, and of many attempts one counts."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import ParquetTable
from fedspark.errors import FedsparkError, StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables import staging
from fedspark.tables.shapes import IdShapes, Pattern
from fedspark.tables.sink import Sink, Written, carried, uncarried

CHECKOUT = Path(__file__).resolve().parents[2]


def sink(ref: StoreRef, **changes: object) -> Sink:
    settings = {"ids": 1, "features": 0, "label": False, "raw_key": True, "ids_come": False, "chunk_rows": 2}
    return Sink(ref, "people", "Table 'people' (p)", ("key", "id.pid"), **{**settings, **changes})


def batches(*texts: bytes) -> Iterator[pa.RecordBatch]:
    for text in texts:
        yield pa.record_batch({"key": pa.array([text], pa.binary()).view(pa.string())})


def result_of(sink: Sink, *texts: bytes) -> Written:
    rows = [row for batch in sink(batches(*texts)) for row in batch.to_pylist()]
    return Written.of([(row["result"], row["error"]) for row in rows], sink.features)


def test_texts_that_are_not_utf_8_are_refused_with_the_table(tmp_path):
    with pytest.raises(TableError, match=r"Table 'people' .* not text in UTF-8"):
        result_of(sink(StoreRef(tmp_path.as_uri())), b"a", b"J\xfcrgen")


def test_a_store_that_fails_in_a_task_fails_as_itself(tmp_path):
    (tmp_path / "people").write_text("a file in the way")
    with pytest.raises(StoreError, match=r"Writing people/.* failed"):
        result_of(sink(StoreRef(tmp_path.as_uri())), b"a", b"b", b"c")


@pytest.mark.parametrize("kind", [TableError, StoreError, FedsparkError])
def test_an_error_crosses_to_the_driver_whole(kind):
    class Special(kind):
        pass

    there = uncarried(carried(Special("what", remedy="how")))
    assert (type(there), there.message, there.remedy) == (kind, "what", "how")


def test_no_task_at_all_is_an_empty_table():
    assert Written.of([], 3).metrics.rows == 0
    assert Written.of([], 3, "integer").shapes == IdShapes("integer", {})


def test_one_batch_of_every_chunk_says_what_ids_look_like(tmp_path):
    looked = sink(StoreRef(tmp_path.as_uri()), chunk_rows=3)
    ids = [b"1", b"+491511234567", b"x@y.example", b"z", b"007"]  # the first, and that after three more rows
    shapes = result_of(looked, *ids).shapes
    assert {(shape.pattern, shape.length, shape.zero): count for shape, count in shapes.counts.items()} == {
        (Pattern.DIGITS, 1, False): 1,
        (Pattern.DIGITS, 3, True): 1,
    }
    assert (shapes.kind, shapes.total) == ("text", 2)


class Stumbling(Sink):
    """Loses its first attempt at every task after all of its rows were written."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        results = list(super().__call__(batches))
        if TaskContext.get().attemptNumber() == 0:
            raise ValueError("the machine of this attempt is lost")
        yield from results


def test_a_job_that_fails_leaves_no_object(bench, monkeypatch):
    monkeypatch.setattr(staging, "Sink", Stumbling)
    with pytest.raises(StoreError, match=r"Staging Table 'people' .* the machine of this attempt is lost"):
        bench.stage({"id": [str(n) for n in range(500)]}, needs_features=False, chunk_rows=100)
    assert not bench.files()


def test_an_interrupt_leaves_no_object(bench, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        assert bench.files()
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "_check", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bench.stage({"id": ["a", "b"]}, needs_features=False)
    assert not bench.files()


RETRY = """
    from pathlib import Path
    from pyspark.sql import SparkSession
    from tests.tables import test_sink

    quick = {{"ui.enabled": "false", "driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}}
    builder = SparkSession.builder.master("local[1,2]")
    for key, value in quick.items():
        builder.config("spark." + key, value)
    test_sink.retry(builder.getOrCreate(), Path({directory!r}))
"""


def retry(spark: Any, directory: Path) -> None:
    """With a master that tries every task twice: rows of the second attempts only, and nothing else in the store."""
    ref = StoreRef((directory / "store").as_uri())
    pq.write_table(pa.table({"id": [f"p{n}" for n in range(950)]}), directory / "people.parquet")
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staging, "Sink", Stumbling)
        patch.setattr(staging, "_check", lambda *_, **__: seen.extend(name for name, _ in ref.open().list()))
        table = ParquetTable(path=str(directory / "people.parquet"), id="id")
        options: dict[str, Any] = {"id_type": "string", "needs_features": False, "chunk_rows": 50}
        _, chunks = staging.stage(spark, "people", table, directory, ref=ref, folder="people", **options)
    keys = [key for index in range(len(chunks)) for key in chunks.read(index)["key"].to_pylist()]
    assert sorted(keys) == sorted(f"p{n}" for n in range(950))
    assert len(seen) == 2 * len(chunks), "the first attempt left nothing: this shows nothing"
    assert [name for name, _ in ref.open().list()] == sorted(name for name, _ in chunks.files)


@pytest.mark.slow
@pytest.mark.spark
def test_of_a_task_that_spark_tries_again_only_the_attempt_that_ended_counts(tmp_path):
    script = textwrap.dedent(RETRY).format(directory=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
