"""Part files, and part tasks that give the same results in this process and as Spark tasks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.buckets import BucketFile, InProcessRunner, PartRunner, SparkRunner, write_buckets
from fedspark.errors import Oversized, TableError
from fedspark.exchange.store import StoreRef
from fedspark.run import Workspace


def bucket(*numbers: int) -> pa.Table:
    return pa.table({"key": pa.array([str(n) for n in numbers], pa.string()), "x": pa.array(numbers, pa.float64())})


# ---- part files ------------------------------------------------------------------------------------------------------


def test_a_part_file_has_one_row_group_per_bucket_also_for_empty_ones():
    tables = [bucket(1, 2), bucket(), bucket(3), bucket()]
    data = write_buckets(tables)
    assert pq.ParquetFile(io.BytesIO(data)).metadata.num_row_groups == 4
    file = BucketFile(data)
    assert (file.buckets, file.rows) == (4, 3)
    assert [table.to_pydict() for table in file] == [table.to_pydict() for table in tables]


def test_a_part_file_of_empty_buckets_keeps_its_schema():
    file = BucketFile(write_buckets([bucket(), bucket()]))
    assert (file.buckets, file.rows) == (2, 0)
    assert file.schema.equals(bucket().schema)
    assert file.read_all().schema.equals(bucket().schema)


def test_columns_can_be_read_one_by_one():
    file = BucketFile(write_buckets([bucket(1, 2), bucket(3)]))
    assert file.read(1, ["x"]).to_pydict() == {"x": [3.0]}
    assert file.read_all(["key"]).to_pydict() == {"key": ["1", "2", "3"]}
    assert file.read_all([]).num_columns == 0


def test_a_bucket_larger_than_a_usual_row_group_stays_one():
    table = pa.table({"x": pa.array(range(1_200_000), pa.int32())})
    assert BucketFile(write_buckets([table])).buckets == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(-5, 5), max_size=6), min_size=1, max_size=5), st.integers(1, 3))
def test_equal_rows_give_equal_bytes_however_they_are_chunked(numbers: list[list[int]], chunk: int):
    whole = [bucket(*rows) for rows in numbers]
    chunked = [
        pa.concat_tables([table.slice(start, chunk) for start in range(0, max(len(table), 1), chunk)])
        for table in whole
    ]
    assert write_buckets(whole) == write_buckets(chunked)


def test_a_bucket_of_another_schema_is_refused():
    with pytest.raises(ValueError, match="schema"):
        write_buckets([bucket(1), pa.table({"key": ["1"]})])


# ---- part tasks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Squares:
    """Context of `square`."""

    workspace: Workspace
    offset: int


def square(context: Squares, part: int) -> dict[str, int]:
    context.workspace.keep(f"squares/{part:05d}", f"{context.offset + part**2}".encode())
    return {"part": part, "value": context.offset + part**2}


def refuse(context: str, part: int) -> int:
    if part in (1, 2):
        raise TableError(f"{context}: part {part} holds a wrong value.", remedy="Correct it.")
    return part


def oversize(_context: None, _part: int) -> int:
    raise Oversized("The part is too large.")


def stumble(_context: None, part: int) -> int:
    return {0: 0}[part]


@pytest.fixture(params=["in process", pytest.param("spark", marks=pytest.mark.spark)])
def runner(request: pytest.FixtureRequest) -> PartRunner:
    if request.param == "in process":
        return InProcessRunner()
    session = request.getfixturevalue("spark")
    return SparkRunner(lambda: session, poll_seconds=0.01)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(StoreRef(f"file://{tmp_path}/files"), "runs/1")


def written(workspace: Workspace) -> dict[str, bytes]:
    return {name: workspace.store.read(name) for name, _ in workspace.store.list("")}


@pytest.mark.parametrize("parts", [0, 1, 5])
def test_results_come_in_part_order_and_progress_ends_at_the_number_of_parts(runner, workspace, parts):
    seen: list[int] = []
    results = runner.run(square, range(parts), Squares(workspace, 10), seen.append)
    assert results == [{"part": part, "value": 10 + part**2} for part in range(parts)]
    assert len(written(workspace)) == parts
    assert seen[-1:] == [parts] or parts == 0
    assert seen == sorted(seen)


def test_tasks_that_run_again_write_the_same_bytes(runner, workspace):
    first = runner.run(square, range(3), Squares(workspace, 1), lambda _: None), written(workspace)
    assert (runner.run(square, range(3), Squares(workspace, 1), lambda _: None), written(workspace)) == first


def test_a_users_error_arrives_unchanged_and_is_that_of_the_first_part(runner):
    with pytest.raises(TableError) as caught:
        runner.run(refuse, range(4), "people", lambda _: None)
    assert type(caught.value) is TableError
    assert caught.value.message == "people: part 1 holds a wrong value."
    assert caught.value.remedy == "Correct it."
    assert str(caught.value) == "people: part 1 holds a wrong value. Correct it."


def test_an_error_without_a_remedy_arrives_without_one(runner):
    with pytest.raises(Oversized) as caught:
        runner.run(oversize, range(1), None, lambda _: None)
    assert (caught.value.message, caught.value.remedy) == ("The part is too large.", None)


def test_an_error_of_ours_keeps_its_traceback(runner):
    with pytest.raises(Exception, match=r"KeyError|1") as caught:
        runner.run(stumble, range(2), None, lambda _: None)
    trace = str(caught.value) + "".join(entry.name for entry in caught.traceback)
    assert "stumble" in trace


def test_spark_is_not_asked_for_before_the_first_task():
    def never() -> Any:
        pytest.fail("a session was started")

    SparkRunner(never)
