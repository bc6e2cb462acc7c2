"""From the staged table to part files, in this process and with Spark: the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.buckets import BucketFile, InProcessRunner, SparkRunner
from fedspark.crypto.hashing import bucket_digest, bucket_of
from fedspark.errors import CryptoError, StoreError, TableError
from fedspark.exchange.columns import values_array
from fedspark.psi.align import align_part, part_files, sweep
from fedspark.psi.distribute import (
    Gathering,
    Scattered,
    chunk_groups,
    digests_of,
    distribute,
    part_spans,
    write_part,
)
from fedspark.psi.sizes import Plan, make_plan
from fedspark.psi.slices import Slices
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import assert_intersection, chunks_of, names, options, role_of, source, staged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SALT = bytes(range(32))
PEOPLE = staged(names(0, 300), label=True)
PLAN = make_plan({"guest": 300, "host": 0}, [64, 64], 32, SALT)


def prepare(run: Run, table: pa.Table, plan: Plan = PLAN) -> list[BucketFile]:
    files = distribute(run, source(table), plan)
    return [files.read(part) for part in range(plan.parts)]


def test_every_row_lies_in_its_bucket_sorted_by_digest():
    prepared = prepare(Federation().run("guest", "psi"), PEOPLE)
    assert [file.buckets for file in prepared] == [PLAN.buckets_per_part] * PLAN.parts
    keys = []
    for part, file in enumerate(prepared):
        for bucket, rows in zip(PLAN.buckets_of(part), file, strict=True):
            digests = bucket_digest(SALT, rows["key"].to_pylist())
            assert rows["digest"].to_pylist() == [digest.tobytes() for digest in digests]
            assert rows["digest"].to_pylist() == sorted(rows["digest"].to_pylist())
            assert rows["bucket"].to_pylist() == bucket_of(digests, PLAN.buckets).tolist() == [bucket] * rows.num_rows
            keys += rows["key"].to_pylist()
    assert sorted(keys) == sorted(PEOPLE["key"].to_pylist())


def test_the_order_of_the_source_does_not_matter():
    shuffled = PEOPLE.take(np.random.default_rng(1).permutation(PEOPLE.num_rows))
    one, two = Federation(), Federation()
    prepare(one.run("guest", "psi"), PEOPLE)
    prepare(two.run("guest", "psi"), shuffled)
    assert one.objects(one.files("guest")) == two.objects(two.files("guest"))


def test_a_table_without_rows_has_all_part_files_with_its_columns():
    prepared = prepare(Federation().run("host", "psi"), PEOPLE.slice(0, 0))
    assert [file.rows for file in prepared] == [0] * PLAN.parts
    assert prepared[0].read(0).column_names == ["bucket", "digest", *PEOPLE.column_names]


def test_a_key_that_is_there_twice_is_refused():
    table = pa.concat_tables([PEOPLE.slice(0, 298), PEOPLE.slice(0, 2)])
    with pytest.raises(TableError, match="rows whose key is there already"):
        prepare(Federation().run("guest", "psi"), table)


def test_a_table_with_other_rows_than_announced_is_refused():
    with pytest.raises(TableError, match="has 299 rows, but 300 were announced"):
        prepare(Federation().run("guest", "psi"), PEOPLE.slice(0, 299))


def test_a_bucket_that_outgrows_its_padding_ends_the_run_without_being_named():
    plan = Plan(salt=SALT, buckets=4, buckets_per_part=2, rows={"guest": 300}, padded={"guest": 60})
    with pytest.raises(CryptoError) as caught:
        prepare(Federation().run("guest", "psi"), PEOPLE, plan)
    assert "more rows than the 60" in caught.value.message
    assert "0" not in caught.value.message.replace("60", "").replace("2^40", "")


@pytest.mark.parametrize("rows", [1, 7, 100, 300])
def test_chunks_of_any_size_give_the_same_part_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int):
    monkeypatch.setattr("fedspark.psi.distribute.GROUP_ROWS", 20)
    whole, cut = Federation(), Federation()
    prepare(whole.run("guest", "psi"), PEOPLE)
    distribute(cut.run("guest", "psi"), source(PEOPLE, chunks_of(PEOPLE, tmp_path, rows)), PLAN)
    assert whole.objects(whole.files("guest")) == cut.objects(cut.files("guest"))


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([], ()),
        ([3], (range(1),)),
        ([30, 1], (range(1), range(1, 2))),
        ([4, 3, 4, 0, 9, 1, 1], (range(2), range(2, 4), range(4, 6), range(6, 7))),
    ],
)
def test_chunks_are_read_together_up_to_a_limit(counts, groups):
    assert chunk_groups(counts, 10) == groups


def test_nothing_of_the_first_pass_stays(tmp_path: Path):
    federation = Federation()
    run = federation.run("guest", "psi")
    prepare(run, PEOPLE)
    assert not run.workspace.store.list(run.workspace.name(run.path("psi/scattered")))


def test_a_row_of_another_part_is_never_dropped_silently():
    run = Federation().run("guest", "psi")
    digests = digests_of(PLAN, PEOPLE["key"])
    part = bucket_of(digests, PLAN.buckets) // PLAN.buckets_per_part
    stray = [*np.flatnonzero(part == 1), int(np.flatnonzero(part == 2)[0])]
    placed = PEOPLE.add_column(0, "digest", values_array(digests)).take(stray)
    slices = Slices(placed.schema)
    run.workspace.keep("scattered", slices.write(placed, np.array([len(stray)])))
    rows = slices.read(run.workspace.store, run.workspace.name("scattered"), range(1), 1)
    source = Scattered(run.workspace, "", 1, slices)
    with pytest.raises(ValueError, match="rows of other parts"):
        write_part(Gathering(source, (), PLAN, part_files(run, "prepared"), "guest"), 1, rows)


def test_a_slice_takes_little_more_than_its_rows(tmp_path: Path):
    columns = {f"x.{number}": np.arange(64) * 1.0 + number for number in range(500)}
    table = pa.table({"key": names(0, 64), **columns})
    slices = Slices(table.schema)
    written = slices.write(table, np.arange(1, 33) * 2)  # two rows a slice
    assert len(written) < 1.15 * 64 * 8 * 500
    run = Federation().run("guest", "psi")
    run.workspace.keep("scattered", written)
    for parts in (range(32), range(5, 9), range(31, 32)):
        read = slices.read(run.workspace.store, run.workspace.name("scattered"), parts, 32)
        assert slices.whole(*slices.table(read)).equals(table.slice(2 * parts.start, 2 * len(parts)))


def test_a_number_that_is_null_is_never_written_as_another():
    with pytest.raises(ValueError, match=r"column x\.number has nulls"):
        Slices(PEOPLE.schema).write(
            pa.concat_tables([PEOPLE.drop(["x.number"])]).append_column(
                PEOPLE.schema.field("x.number"), [pa.array([None] * PEOPLE.num_rows, pa.float64())]
            ),
            np.array([PEOPLE.num_rows]),
        )


@pytest.mark.parametrize(
    ("parts", "rows", "limit", "each"), [(1, 0, 100, 1), (4, 400, 100, 1), (64, 6400, 300, 3), (64, 64, 1000, 8)]
)
def test_small_parts_are_made_together_but_leave_work_for_several_tasks(parts, rows, limit, each):
    spans = part_spans(parts, rows, limit)
    assert [part for span in spans for part in span] == list(range(parts))
    assert max(len(span) for span in spans) == each


def test_an_aligned_part_has_the_rows_of_its_masks():
    run = Federation().run("guest", "psi")
    prepare(run, PEOPLE)
    prepared, aligned = part_files(run, "prepared"), part_files(run, "aligned")
    buckets = [prepared.read(1).read(index) for index in range(PLAN.buckets_per_part)]
    masks = [np.arange(bucket.num_rows) % 3 == 0 for bucket in buckets]
    assert align_part(prepared, aligned, 1, masks) == sum(int(mask.sum()) for mask in masks)
    for index, (bucket, mask) in enumerate(zip(buckets, masks, strict=True)):
        assert aligned.read(1).read(index).equals(bucket.filter(pa.array(mask)))


# ---- Spark -----------------------------------------------------------------------------------------------------------


def spark_federation(spark: SparkSession, base: Path) -> Federation:
    return Federation(base=str(base), runner=lambda: SparkRunner(lambda: spark, 0.05), session=lambda: spark)


@pytest.mark.spark
def test_spark_tasks_and_this_process_leave_equal_bytes_everywhere(spark: SparkSession, tmp_path: Path, protocol: str):
    tables = {"guest": staged(names(0, 60), label=True), "host": staged(names(30, 120))}
    chunks = {name: chunks_of(table.slice(7), tmp_path / name, 10) for name, table in tables.items()}
    tables = {name: table.slice(7) for name, table in tables.items()}

    def half(name: str, given: Any) -> Any:
        return lambda run: role_of(run, protocol)(run, options(32, protocol), source(tables[name], given))

    here = Federation(base=str(tmp_path / "here"), runner=InProcessRunner)
    there = spark_federation(spark, tmp_path / "there")
    results = here.play("psi", {name: half(name, None) for name in tables})
    by_spark = there.play("psi", {name: half(name, chunks[name]) for name in tables})

    assert results["host"].parts == 4
    assert results == by_spark
    assert_intersection(there, by_spark, tables)
    assert here.objects(here.exchange) == there.objects(there.exchange)
    for name in tables:
        assert here.objects(here.files(name)) == there.objects(there.files(name))


@pytest.mark.spark
def test_spark_writes_all_parts_of_a_table_without_rows(spark: SparkSession, tmp_path: Path):
    run = spark_federation(spark, tmp_path).run("host", "psi")
    empty = PEOPLE.slice(0, 0)
    files = distribute(run, source(empty, chunks_of(empty, tmp_path, 10)), PLAN)
    assert [files.read(part).rows for part in range(PLAN.parts)] == [0] * PLAN.parts
    assert files.read(0).read(0).schema == prepare(Federation().run("host", "psi"), empty)[0].read(0).schema


@pytest.mark.spark
def test_what_a_spark_task_refuses_arrives_as_the_same_error(spark: SparkSession, tmp_path: Path):
    run = spark_federation(spark, tmp_path).run("guest", "psi")
    chunks = chunks_of(PEOPLE, tmp_path, 100)
    run.workspace.store  # noqa: B018 - opened here, and again by the tasks
    (tmp_path / chunks.files[1][0]).unlink()
    with pytest.raises(StoreError, match="are not what was written") as caught:
        distribute(run, source(PEOPLE, chunks), PLAN)
    assert caught.value.remedy


def test_what_late_tasks_have_written_is_swept_away_and_what_later_steps_read_is_not():
    federation = Federation()
    run = federation.run("guest", "psi")
    left = [part_files(run, kind).pattern.format(part=3) for kind in ("aligned", "unmatched")]
    records = [run.path("psi/alignment.json"), run.path("psi/matched-host/0000.json")]
    stray = [part_files(run, kind).pattern.format(part=3) for kind in ("prepared", "tables-host", "order")]
    stray += [run.path("psi/scattered/0123/group-00001"), run.path("psi/shuffled-tags/task-00000")]
    for path in (*left, *records, *stray):
        run.workspace.create(path, b"{}")
    sweep(run)
    assert [run.workspace.exists(path) for path in (*left, *records)] == [True] * 4
    assert [run.workspace.exists(path) for path in stray] == [False] * 5
