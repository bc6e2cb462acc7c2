"""From the staged table to part files, in this process and with Spark: the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from fedspark.buckets import BucketFile, InProcessRunner, SparkRunner
from fedspark.crypto.hashing import bucket_digest, bucket_of
from fedspark.errors import CryptoError, TableError
from fedspark.psi.align import Preparation, align_part, distribute, part_files, place, plain_schema, write_part
from fedspark.psi.sizes import Plan, make_plan
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import assert_intersection, names, options, role_of, source, staged

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

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


def test_pieces_in_any_order_give_the_same_part_file():
    run = Federation().run("guest", "psi")
    plan = make_plan({"guest": 300, "host": 0}, [300], 300, SALT)
    preparation = Preparation(part_files(run, "prepared"), plan, plain_schema(PEOPLE.schema), "guest")
    digests, part = place(preparation, PEOPLE["key"])
    assert (part == 0).all()
    pieces = [(PEOPLE.slice(start, 50), digests[start : start + 50]) for start in range(0, 300, 50)]
    assert write_part(preparation, 0, pieces) == write_part(preparation, 0, reversed(pieces)) == 300


def test_a_row_of_another_part_is_never_dropped_silently():
    preparation = Preparation(
        part_files(Federation().run("guest", "psi"), "prepared"), PLAN, plain_schema(PEOPLE.schema), "guest"
    )
    digests, part = place(preparation, PEOPLE["key"])
    stray = [*np.flatnonzero(part == 1), int(np.flatnonzero(part == 2)[0])]
    with pytest.raises(ValueError, match="rows of other parts"):
        write_part(preparation, 1, [(PEOPLE.take(stray), digests[stray])])


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


def frame(spark: SparkSession, table: pa.Table) -> DataFrame:
    """The table as Spark reads its staged Parquet files: in several partitions, and in another order."""
    schema = ", ".join(
        f"`{column.name}` {'string' if column.type == pa.string() else 'double'}" for column in table.schema
    )
    rows = [tuple(row.values()) for row in table.to_pylist()]
    return spark.createDataFrame(rows[::-1], schema).repartition(3)


def spark_federation(spark: SparkSession, base: Path) -> Federation:
    return Federation(base=str(base), runner=lambda: SparkRunner(lambda: spark, 0.05), session=lambda: spark)


@pytest.mark.spark
def test_spark_tasks_and_this_process_leave_equal_bytes_everywhere(spark: SparkSession, tmp_path: Path, protocol: str):
    tables = {"guest": staged(names(0, 60), label=True), "host": staged(names(30, 120))}

    def half(name: str, opened: Any) -> Any:
        return lambda run: role_of(run, protocol)(run, options(32, protocol), source(tables[name], opened))

    frames = {name: frame(spark, table) for name, table in tables.items()}
    here = Federation(base=str(tmp_path / "here"), runner=InProcessRunner)
    there = spark_federation(spark, tmp_path / "there")
    results = here.play("psi", {name: half(name, None) for name in tables})
    by_spark = there.play("psi", {name: half(name, lambda name=name: frames[name]) for name in tables})

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
    files = distribute(run, source(empty, lambda: frame(spark, PEOPLE).where("false")), PLAN)
    assert [files.read(part).rows for part in range(PLAN.parts)] == [0] * PLAN.parts
    assert files.read(0).read(0).schema == prepare(Federation().run("host", "psi"), empty)[0].read(0).schema


@pytest.mark.spark
def test_what_a_spark_task_refuses_arrives_as_the_same_error(spark: SparkSession, tmp_path: Path):
    run = spark_federation(spark, tmp_path).run("guest", "psi")
    twice = pa.concat_tables([PEOPLE.slice(0, 299), PEOPLE.slice(0, 1)])
    with pytest.raises(TableError, match="1 rows whose key is there already") as caught:
        distribute(run, source(twice, lambda: frame(spark, twice)), PLAN)
    assert caught.value.remedy
