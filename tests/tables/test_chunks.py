"""Chunks: what was written is what is read, in pieces of bounded size, and what was changed since is refused."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from fedspark.errors import StoreError
from fedspark.exchange.store import StoreRef
from fedspark.tables.chunks import Chunks, ChunkWriter, chunk_schema

COLUMNS = ("key", "id.pid", "label", "x.age")


@pytest.fixture
def ref(tmp_path):
    return StoreRef(tmp_path.as_uri())


def people(rows: int) -> pa.Table:
    columns = [
        [f"p{n}" for n in range(rows)],
        [f" p{n}" if n % 3 else None for n in range(rows)],
        [float(n % 2) for n in range(rows)],
        [n / 7 for n in range(rows)],
    ]
    return pa.table(columns, schema=chunk_schema(COLUMNS))


def written(ref: StoreRef, *tables: pa.Table, **limits: int) -> Chunks:
    writer = ChunkWriter(ref.open(), "people", chunk_schema(COLUMNS), **limits)
    for table in tables:
        writer.write(table)
    return Chunks(ref, tuple((name, rows) for name, rows, _ in writer.close()), COLUMNS)


def whole(chunks: Chunks) -> pa.Table:
    return pa.concat_tables([chunks.read(index) for index in range(len(chunks))])


@pytest.mark.parametrize(("rows", "sizes"), [(7, [7]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_no_chunk_has_more_rows_than_the_limit_and_none_is_empty(ref, rows, sizes):
    chunks = written(ref, people(rows).slice(0, 3), people(rows).slice(3), rows=10)
    assert [count for _, count in chunks.files] == sizes
    assert whole(chunks).equals(people(rows))
    assert chunks.rows == rows


def test_no_chunk_takes_much_more_memory_than_the_limit(ref):
    chunks = written(ref, people(5000), size=40_000)
    assert max(chunks.read(index).nbytes for index in range(len(chunks))) < 45_000
    assert len(chunks) < 2 * people(5000).nbytes / 40_000
    assert whole(chunks).equals(people(5000))


def test_one_row_that_is_larger_than_the_limit_is_a_chunk(ref):
    chunks = written(ref, people(3), size=1)
    assert [count for _, count in chunks.files] == [1, 1, 1]


def test_a_table_without_rows_has_no_chunks(ref):
    chunks = written(ref, people(0))
    assert (chunks.files, chunks.rows) == ((), 0)
    assert ref.open().list() == []


def test_two_attempts_never_touch_each_others_objects(ref):
    first, second = written(ref, people(5)), written(ref, people(5))
    assert not set(first.files) & set(second.files)


def test_chunks_travel_without_the_stores_secrets_in_sight(tmp_path):
    ref = StoreRef(tmp_path.as_uri(), (("create", "true"),))
    chunks = pickle.loads(pickle.dumps(written(ref, people(5))))
    assert "create" not in repr(chunks)
    assert whole(chunks).equals(people(5))


def test_a_chunk_that_is_gone_shortened_damaged_or_another_one_is_refused_with_its_name(ref):
    chunks = written(ref, people(5000), rows=4000)
    (first, _), (second, _) = chunks.files
    store, data = ref.open(), ref.open().read(first)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    other = people(4000).append_column("x.bmi", [[1.0] * 4000])
    writer = ChunkWriter(store, "other", other.schema)
    writer.write(other)
    wider = store.read(writer.close()[0][0])
    for content in (data[:-9], bytes(flipped), store.read(second), wider, b""):
        store.replace(first, content)
        with pytest.raises(StoreError, match=f"staged rows {first} .* not what was written"):
            chunks.read(0)
    store.delete(first)
    with pytest.raises(StoreError, match="not there any more"):
        chunks.read(0)
    assert chunks.read(1).num_rows == 1000
