from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from fedspark.crypto.hashing import bucket_digest, bucket_digest_utf8, bucket_of, digest_order, split_fraction, tag96
from fedspark.errors import CryptoError

KEY = bytes(range(32))
IDS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12), max_size=12)


def cmac(key, message):
    """One message by the library."""
    computed = CMAC(algorithms.AES(key))
    computed.update(message)
    return computed.finalize()


def digests_of(messages, key, kind=np.int64):
    """Bucket digests of byte strings."""
    offsets = np.concatenate([[0], np.cumsum([len(message) for message in messages])]).astype(kind)
    return bucket_digest_utf8(key, np.frombuffer(b"".join(messages), np.uint8), offsets)


@given(IDS)
def test_a_bucket_digest_is_the_cmac_of_the_utf8_id(ids):
    digests = bucket_digest(KEY, ids)
    assert digests.shape == (len(ids), 16)
    assert digests.dtype == np.uint8
    assert [row.tobytes() for row in digests] == [cmac(KEY, text.encode()) for text in ids]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "028962f61b7bf89efc6b551f4667d983"),
        (16, "28a7023f452e8f82bd4bf28d8c37c35c"),
        (20, "156727dc0878944a023c1fe03bad6d93"),
        (40, "aaf3d8f1de5640c232f5b169b9c911e6"),
        (64, "e1992190549f6ed5696a2c056c315410"),
    ],
)
def test_bucket_digests_are_those_of_sp_800_38b(length, expected):
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    message = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )[:length]
    assert digests_of([message], key)[0].tobytes().hex() == expected


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_bucket_digests_are_the_librarys_cmac_at_every_length(kind):
    lengths = [*range(101), *np.random.default_rng(1).integers(0, 101, 400).tolist(), 1023, 1024, 1025, 70_000, 0]
    messages = [np.random.default_rng(length).bytes(length) for length in lengths]
    assert [row.tobytes() for row in digests_of(messages, KEY, kind)] == [cmac(KEY, message) for message in messages]


def test_bucket_digests_of_many_ids_do_not_depend_on_where_slices_end():
    lengths = np.random.default_rng(2).integers(0, 20, (1 << 16) + 3)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    data = np.random.default_rng(3).integers(0, 256, offsets[-1], dtype=np.uint8)
    digests = bucket_digest_utf8(KEY, data, offsets)
    for row in (0, 1, 65534, 65535, 65536, 65537, 65538):
        assert digests[row].tobytes() == cmac(KEY, data[offsets[row] : offsets[row + 1]].tobytes())
    assert np.array_equal(bucket_digest_utf8(KEY, data, offsets[7:]), digests[7:])


@pytest.mark.parametrize("column", [pa.array(["a", "", "ünïcode", "b" * 40, "c"]), pa.array(["x" * 16, "y"] * 3)])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_slice_of_an_arrow_column_is_hashed_in_place(column, kind):
    for first, rows in ((0, len(column)), (1, 3), (2, 0), (len(column) - 1, 1)):
        piece = column.cast(kind).slice(first, rows)
        _, offsets, data = piece.buffers()
        width = np.int32 if kind == pa.string() else np.int64
        at = np.frombuffer(offsets, width)[piece.offset : piece.offset + rows + 1]
        digests = bucket_digest_utf8(KEY, np.frombuffer(data, np.uint8), at)
        assert np.array_equal(digests, bucket_digest(KEY, piece.to_pylist()))


@pytest.mark.parametrize("offsets", [[], [0, 5], [-1, 2], [0, 3, 2], [3, 2], [0, 2**31 - 1, -(2**31), 4]])
def test_offsets_that_do_not_fit_their_data_are_refused(offsets):
    with pytest.raises(CryptoError, match="offsets"):
        bucket_digest_utf8(KEY, np.zeros(4, np.uint8), np.asarray(offsets, np.int32))


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33)])
def test_a_bucket_key_of_another_length_is_refused(key):
    with pytest.raises(CryptoError, match="32 bytes"):
        bucket_digest(key, ["a"])


@pytest.mark.parametrize("bad", [None, 7, "\ud800"])
def test_an_id_that_is_not_text_is_refused_with_its_row(bad):
    with pytest.raises(CryptoError, match="row 1"):
        bucket_digest(KEY, ["fine", bad])


def test_the_refusal_of_an_id_does_not_show_it():
    with pytest.raises(CryptoError) as refusal:
        bucket_digest(KEY, ["secret-\ud800"])
    assert "secret" not in str(refusal.value)


@given(IDS, st.integers(1, 2**31 - 1))
def test_buckets_of_sorted_digests_are_in_order_and_in_range(ids, buckets):
    digests = bucket_digest(KEY, ids)
    ordered = digests[np.lexsort(digests.T[::-1])]
    found = bucket_of(ordered, buckets)
    assert found.dtype == np.int32
    assert found.tolist() == sorted(int.from_bytes(row[:4].tobytes(), "big") * buckets >> 32 for row in digests)


def order_by_bytes(rows):
    """The same by numpy, key by key."""
    return np.lexsort(rows.T[::-1]) if len(rows) else np.zeros(0, np.int64)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 255, 256, 257, 5000])
@pytest.mark.parametrize("width", [1, 5, 8, 9, 11, 16])
def test_the_order_of_digests_is_that_of_their_bytes(rows, width):
    digests = np.random.default_rng(rows).integers(0, 256, (rows, width), dtype=np.uint8)
    order = digest_order(digests)
    assert order.dtype == np.int64
    assert np.array_equal(order, order_by_bytes(digests))


@pytest.mark.parametrize("tied", [1, 4, 6, 7, 8, 9, 15, 16])
def test_digests_of_one_front_are_sorted_by_what_follows(tied):
    random = np.random.default_rng(tied)
    digests = random.integers(0, 256, (3000, 16), dtype=np.uint8)
    digests[:, :tied] = random.integers(0, 256, (5, tied), dtype=np.uint8)[random.integers(0, 5, 3000)]
    assert np.array_equal(digest_order(digests), order_by_bytes(digests))


@given(st.integers(0, 40), st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_digests_of_two_bytes_alone_are_sorted_too(rows, width, seed):
    digests = np.random.default_rng(seed).integers(0, 2, (rows, width), dtype=np.uint8) * np.uint8(255)
    assert np.array_equal(digest_order(digests), order_by_bytes(digests))


def test_equal_digests_keep_their_order():
    assert np.array_equal(digest_order(np.full((1000, 16), 255, np.uint8)), np.arange(1000))


def test_columns_of_a_wider_array_are_sorted_in_place():
    wide = np.random.default_rng(5).integers(0, 3, (500, 40), dtype=np.uint8)
    for rows in (wide[:, 3:19], wide[::2, 20:31]):
        assert np.array_equal(digest_order(rows), order_by_bytes(rows))


@pytest.mark.parametrize("rows", [np.zeros(16, np.uint8), np.zeros((2, 17), np.uint8), np.zeros((2, 16), np.int8)])
def test_rows_that_are_no_digests_are_not_sorted(rows):
    with pytest.raises(CryptoError, match="What is sorted"):
        digest_order(rows)


def test_the_largest_digest_falls_into_the_last_bucket():
    assert bucket_of(np.full((1, 16), 255, dtype=np.uint8), 2**31 - 1).tolist() == [2**31 - 2]
    assert bucket_of(np.full((1, 16), 255, dtype=np.uint8), 1).tolist() == [0]


def test_many_ids_spread_evenly_over_buckets():
    counts = np.bincount(bucket_of(bucket_digest(KEY, [f"id{i}" for i in range(4000)]), 8), minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # chi-square, 7 degrees of freedom, 0.1 %


@pytest.mark.parametrize("digests", [np.zeros(16, np.uint8), np.zeros((1, 3), np.uint8), np.zeros((1, 16), np.int64)])
def test_digests_of_another_shape_are_refused(digests):
    with pytest.raises(CryptoError, match="Digests are uint8"):
        bucket_of(digests, 4)


@pytest.mark.parametrize("buckets", [0, -1, 2**31])
def test_an_impossible_number_of_buckets_is_refused(buckets):
    with pytest.raises(CryptoError, match="number of buckets"):
        bucket_of(np.zeros((1, 16), np.uint8), buckets)


@given(IDS)
def test_a_split_fraction_follows_its_public_formula(ids):
    expected = [int(hashlib.sha256(f"v1|{text}".encode()).hexdigest()[:8], 16) / 2**32 for text in ids]
    assert split_fraction(ids, "v1").tolist() == expected


def test_a_tag_is_blake2b_of_context_id_and_element_with_lengths():
    plain = (3).to_bytes(8, "big") + b"run" + (2).to_bytes(8, "big") + b"id" + b"element"
    tags = tag96(b"run", ["id"], [b"element"])
    assert tags.tobytes() == hashlib.blake2b(plain, digest_size=12).digest()
    assert tags.shape == (1, 12)


def test_tags_tell_the_cut_between_context_id_and_element_apart():
    parts = [(b"ab", "c", b"d"), (b"a", "bc", b"d"), (b"a", "b", b"cd"), (b"", "abc", b"d"), (b"abc", "", b"d")]
    assert len({tag96(context, [text], [element]).tobytes() for context, text, element in parts}) == len(parts)


def test_tags_need_one_element_for_each_id():
    with pytest.raises(CryptoError, match="2 ids and 1 elements"):
        tag96(b"run", ["a", "b"], [b"x"])


def test_no_ids_give_empty_arrays_of_the_right_shape():
    assert bucket_digest(KEY, []).shape == (0, 16)
    assert bucket_digest_utf8(KEY, np.zeros(3, np.uint8), np.asarray([2], np.int32)).shape == (0, 16)
    assert tag96(b"run", [], []).shape == (0, 12)
    assert split_fraction([], "v1").shape == (0,)
    assert bucket_of(bucket_digest(KEY, []), 4).shape == (0,)
