"""One table in many files, of one kind each: all rows, once, and every difference of columns by its name."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import ShardedTable
from fedspark.errors import TableError

pytestmark = pytest.mark.spark


def shards(bench, *tables, kind="parquet", last=None, **more):
    for number, table in enumerate(tables):
        path = bench.directory / f"users-{number}.{kind}"
        if isinstance(table, str):
            path.write_text(table)
        else:
            pq.write_table(pa.table(table), path)
    last = len(tables) - 1 if last is None else last
    pattern = {"kind": kind, "path": str(bench.directory / f"users-{{0..{last}}}.{kind}")}
    return ShardedTable.model_validate({"id": "id", "shards": [pattern], **more})


def test_shards_are_one_table_whatever_the_order_of_their_columns(bench):
    card = bench.stage_conf(
        shards(bench, {"id": ["a", "b"], "x": [1.0, 2.0]}, {"x": [3.0], "id": ["c"]}, {"id": ["d"], "x": [4.0]})
    )
    assert card.rows == 4
    assert bench.snapshot() == {"key": ["a", "b", "c", "d"], "id.id": [None] * 4, "x.x": [1, 2, 3, 4]}
    (note,) = card.notes
    assert note.startswith("rows by shard: ")
    assert [word.split()[-1] for word in note.removeprefix("rows by shard: ").split(", ")] == ["2", "1", "1"]
    assert "users-2.parquet 1" in note
    assert (card.origin["shards"], card.origin["files"]) == (3, 3)
    assert card.origin["size"] == sum(path.stat().st_size for path in bench.directory.glob("users-*.parquet"))


def test_every_difference_is_named_and_columns_to_ignore_may_differ(bench):
    tables = (
        {"id": ["a"], "x": [1.0], "y": [1]},
        {"id": ["b"], "x": [1]},
        {"id": ["c"], "x": [2.0], "y": [1], "new": ["?"]},
    )
    with pytest.raises(TableError) as caught:
        bench.stage_conf(shards(bench, *tables))
    message = str(caught.value)
    assert "users-1.parquet has no column 'y', has 'x' as bigint instead of double" in message
    assert "users-2.parquet has a column 'new' more" in message
    tables[1]["x"] = [1.5]
    assert bench.stage_conf(shards(bench, tables[0], tables[1], ignore=["y"])).rows == 2


def test_a_shard_that_is_not_there_is_named(bench):
    with pytest.raises(TableError, match=r"users-1\.parquet\): there is no such file"):
        bench.stage_conf(shards(bench, {"id": ["a"], "x": [1]}, last=1))


def test_an_id_in_two_shards_is_found_and_empty_shards_are_none_of_it(bench):
    one, none = {"id": ["a", "b"], "x": [1, 2]}, {"id": pa.array([], "string"), "x": pa.array([], "int64")}
    assert bench.stage_conf(shards(bench, one, none)).rows == 2
    assert bench.stage_conf(shards(bench, one, one, duplicates="drop")).dropped == 2


def test_lines_that_are_malformed_are_counted_over_all_shards(bench):
    good, bad = "id,x\na,1\n", "id,x\nb\nc,2,3\n"
    with pytest.raises(TableError, match=r"2 rows with too few or too many fields"):
        bench.stage_conf(shards(bench, good, bad, kind="csv"))
