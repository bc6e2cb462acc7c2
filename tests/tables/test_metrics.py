"""Metrics of staged rows: exact, and the same however the rows are cut and ordered."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from fedspark.tables.metrics import Metrics, content_sum, text_hash

KEYS = ["", "a", "12345678", "123456789", "b" * 64, "c" * 65, "c" * 64 + "d", "жена", "a\0", "\0a", "x" * 1000]


def texts(values: list[str | None]) -> pa.StringArray:
    return pa.array(values, pa.string())


def rows(count: int = 200) -> tuple[list[str], list[str | None], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    keys = [KEYS[n % len(KEYS)] + str(n) for n in range(count)]
    ids = [f" {key}" if n % 4 == 0 else None for n, key in enumerate(keys)]
    return keys, ids, rng.normal(size=count), rng.integers(0, 3, count).astype(float)


def total(keys, ids, *numbers, order=None) -> int:
    order = np.arange(len(keys)) if order is None else order
    columns = [[column[n] for n in order] for column in (keys, ids)]
    return content_sum(texts(columns[0]), [texts(columns[1])], [column[order] for column in numbers])


def test_the_checksum_does_not_depend_on_the_order_of_rows_or_on_where_batches_end():
    table = rows()
    order = np.random.default_rng(1).permutation(200)
    pieces = [order[:1], order[1:90], order[90:90], order[90:]]
    assert sum(total(*table, order=piece) for piece in pieces) % 2**64 == total(*table)


def test_the_hash_of_a_text_does_not_depend_on_the_texts_beside_it():
    together = text_hash(texts([*KEYS, None]))
    alone = [text_hash(texts([text]))[0] for text in [*KEYS, None]]
    sliced = text_hash(texts(["before", *KEYS, None, "after"]).slice(1, len(KEYS) + 1))
    assert together.tolist() == alone == sliced.tolist()
    assert len(set(together.tolist())) == len(KEYS)


def test_every_change_of_content_changes_the_checksum():
    keys, ids, x, y = rows()
    base = total(keys, ids, x, y)
    swapped = np.array([1, 0, *range(2, 200)])
    changed = [
        total(["z", *keys[1:]], ids, x, y),
        total(keys, [None, *ids[1:]], x, y),
        total(keys, ids, y, x),
        total(keys, ids, x[swapped], y),
        total(keys, ids, x, np.nextafter(y, 9.0)),
        total(keys[1:], ids[1:], x[1:], y[1:]),
        total([*keys, keys[0]], [*ids, ids[0]], np.append(x, x[0]), np.append(y, y[0])),
    ]
    assert len({base, *changed}) == len(changed) + 1


def test_an_id_in_another_column_is_another_content():
    key, one, none = texts(["k"]), texts(["i"]), texts([None])
    assert content_sum(key, [one, none], []) != content_sum(key, [none, one], [])


def test_sums_of_many_similar_rows_do_not_meet():
    keys = texts([f"u{n:09d}" for n in range(20_000)])
    hashes = text_hash(keys)
    assert len(np.unique(hashes)) == len(hashes)
    sums = {content_sum(keys.slice(n, 2), [], [np.array([float(n), 0.0])]) for n in range(0, 2000, 2)}
    assert len(sums) == 1000


@pytest.mark.parametrize("cut", [0, 1, 3, 5])
def test_metrics_of_pieces_add_up_and_survive_json(cut):
    keys, label = texts(["a", None, "b\ufffd", "ж", "c"]), np.array([0.0, 1.0, 1.0, 2.0, math.nan])
    x = np.array([math.inf, -1.0, math.nan, 2.0, 3.0])

    def of(piece: slice) -> Metrics:
        metrics = Metrics.of(2)
        metrics.add_rows(keys[piece], [], label[piece], [x[piece], x[piece]])
        metrics.add_feature(0, x[piece])
        metrics.add_feature(1, x[piece][1:2])
        return Metrics(**json.loads(json.dumps(metrics.to_json())))

    found = Metrics.total([of(slice(0, cut)), of(slice(cut, 5))], 2)
    assert (found.rows, found.keys, found.undecodable, found.labels) == (5, 4, 1, [1, 2])
    assert found.counts[0] == 5
    assert found.smallest[0] == -1.0
    assert math.isnan(found.largest[0])
    assert found.checksum == of(slice(0, 5)).checksum


def test_a_feature_without_values_has_no_ends_and_one_of_nan_alone_has_nan():
    metrics = Metrics.of(2)
    metrics.add_feature(0, np.zeros(0))
    metrics.add_feature(1, np.array([math.nan]))
    assert (metrics.smallest[0], metrics.largest[0]) == (None, None)
    assert math.isnan(metrics.smallest[1])
    metrics.add_feature(1, np.array([5.0]))
    assert metrics.smallest[1] == 5.0
    assert math.isnan(metrics.largest[1])
