"""Samples by id: whatever holds the table, the same people are in it, and no other rows count."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fedspark.conf import LoadOptions
from fedspark.tables.sink import sampled

IDS = [str(n) for n in range(1000, 2000)]


def test_the_same_people_are_in_the_sample_of_every_party(bench):
    text = "id,age\n" + "".join(f" 0{text} ,{n}\n" for n, text in enumerate(reversed(IDS)))
    first = bench.keys(text, id_type="integer", sample=0.1)
    second = bench.keys({"id": pa.array(map(int, IDS), pa.int64()), "x": range(1000)}, id_type="integer", sample=0.1)
    assert first == second
    assert first == [text for text, inside in zip(IDS, sampled(pa.array(IDS), 0.1).to_pylist(), strict=True) if inside]
    assert 60 < len(first) < 140


def test_a_smaller_sample_is_part_of_a_larger_one():
    keys = pa.array(IDS)
    small, large = sampled(keys, 0.2).to_pylist(), sampled(keys, 0.5).to_pylist()
    assert all(inside or not less for less, inside in zip(small, large, strict=True))


def test_rows_outside_the_sample_are_counted_apart_from_repeated_ones(bench):
    table = {"id": [*IDS, *IDS], "x": [float(n) for n in range(2000)]}
    card = bench.stage(table, sample=0.5, duplicates="drop")
    assert card.rows == sum(sampled(pa.array(IDS), 0.5).to_pylist())
    assert card.dropped == card.rows
    assert card.notes == (f"{2000 - 2 * card.rows:,} rows are not in the sample",)


def test_rows_without_an_id_are_found_whatever_the_sample(refused):
    assert "2 rows with no id" in refused({"id": [None, *IDS, None], "x": [1.0] * 1002}, sample=0.01)


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5])
def test_a_sample_is_a_share_between_none_and_all(share):
    with pytest.raises(ValueError, match="sample"):
        LoadOptions(tables=["people"], sample=float(share))
