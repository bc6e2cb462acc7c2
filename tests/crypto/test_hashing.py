from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.crypto.hashing import bucket_digest, bucket_of, split_fraction, tag96
from fedspark.errors import CryptoError

KEY = bytes(range(32))
IDS = st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12), max_size=12)


@given(IDS)
def test_a_bucket_digest_is_the_front_of_sha256_of_salt_and_utf8_id(ids):
    digests = bucket_digest(KEY, ids)
    assert digests.shape == (len(ids), 16)
    assert digests.dtype == np.uint8
    expected = [hashlib.sha256(KEY + text.encode()).digest()[:16] for text in ids]
    assert [row.tobytes() for row in digests] == expected


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
    assert tag96(b"run", [], []).shape == (0, 12)
    assert split_fraction([], "v1").shape == (0,)
    assert bucket_of(bucket_digest(KEY, []), 4).shape == (0,)
