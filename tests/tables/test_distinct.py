"""The share of different keys: exact for few, near for many, and the same however rows are cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fedspark.tables.distinct import SIZE, KeySample

RNG = np.random.default_rng(11)
HASHES = RNG.integers(0, 2**64, 200_000, np.uint64)


def sample_of(hashes: np.ndarray, pieces: int = 1) -> KeySample:
    whole = KeySample()
    for piece in np.array_split(hashes, pieces):
        part = KeySample()
        for batch in np.array_split(piece, 3):
            part.add(batch)
        whole.merge(KeySample.from_json(json.loads(json.dumps(part.to_json()))))
    return whole


@pytest.mark.parametrize(("keys", "times"), [(1, 50), (SIZE, 3), (700, 1)])
def test_the_share_of_few_keys_is_exact(keys, times):
    rows = np.tile(HASHES[:keys], times)
    assert sample_of(rows, 4).share(len(rows)) == 1 / times


def test_a_table_in_which_every_key_is_there_once_has_the_share_one():
    assert sample_of(HASHES, 7).share(len(HASHES)) == 1.0


@pytest.mark.parametrize("times", [2, 10])
def test_keys_that_are_repeated_alike_are_found(times):
    rows = np.tile(HASHES[:20_000], times)
    assert sample_of(rows, 5).share(len(rows)) == pytest.approx(1 / times)


def test_some_repeated_keys_are_found_about():
    rows = np.concatenate([HASHES[:50_000], HASHES[:12_500]])
    assert sample_of(rows, 3).share(len(rows)) == pytest.approx(0.8, rel=0.05)


def test_one_key_with_most_of_the_rows_is_found_about():
    rows = np.concatenate([HASHES[:20_000], np.full(180_000, HASHES.max())])
    assert sample_of(rows, 3).share(len(rows)) == pytest.approx(0.1, rel=0.15)


def test_a_sample_does_not_depend_on_the_order_of_rows_or_on_where_batches_end():
    rows = np.concatenate([HASHES[:30_000], HASHES[:7_000]])
    first, second = sample_of(rows), sample_of(RNG.permutation(rows), 9)
    assert first.limit == second.limit
    assert first.hashes.tolist() == second.hashes.tolist()
    assert first.rows.tolist() == second.rows.tolist()
    assert len(first.hashes) == SIZE


def test_no_row_has_no_share():
    assert KeySample().share(0) is None
    assert sample_of(HASHES[:0]).share(0) is None
