from __future__ import annotations

import hashlib
import hmac
import pickle
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import CryptoError

KEY = bytes(range(32))
FIELDS = st.lists(st.one_of(st.text(max_size=3), st.integers(-300, 300), st.binary(max_size=3)), max_size=4)


def test_a_derived_key_is_hkdf_sha256_of_the_encoded_label():
    info = b"s" + (4).to_bytes(8, "big") + b"blur" + b"i" + (2).to_bytes(8, "big") + b"\x01\x00" + b"b" + bytes(8)
    extracted = hmac.digest(bytes(32), KEY, "sha256")
    assert derive(KEY, "blur", 256, b"") == hmac.digest(extracted, info + b"\x01", "sha256")


@given(FIELDS, FIELDS)
def test_two_labels_give_one_key_only_if_they_are_equal(left, right):
    same = [(type(f), f) for f in left] == [(type(f), f) for f in right]
    assert (derive(KEY, *left) == derive(KEY, *right)) == same


def test_the_type_and_the_cut_of_fields_matter():
    labels = [("a", "bc"), ("ab", "c"), ("abc",), (b"abc",), (1,), ("1",), (-1,), (255,), (), ("",)]
    assert len({derive(KEY, *label) for label in labels}) == len(labels)


def test_numpy_integers_are_labels_equal_to_python_integers():
    assert derive(KEY, np.int64(7)) == derive(KEY, 7)


@pytest.mark.parametrize("field", [True, 1.5, None])
def test_a_label_of_another_type_is_refused(field):
    with pytest.raises(CryptoError, match="text, integers and bytes"):
        derive(KEY, field)


def test_a_short_key_is_refused():
    with pytest.raises(CryptoError, match="at least 32 bytes"):
        derive(b"password", "x")


def test_the_content_digest_depends_on_values_types_and_cuts_only():
    assert content_digest([1, b"ab"]) == content_digest(iter([np.int64(1), bytearray(b"ab")]))
    contents = [[1, 2], [12], [-1, 2], [b"\x01", 2], [b"ab", b"c"], [b"a", b"bc"], [], [2**4096]]
    assert len({content_digest(content) for content in contents}) == len(contents)


def test_the_content_digest_is_sha256_of_type_length_and_bytes():
    encoded = b"i" + (2).to_bytes(8, "big") + b"\xff\x7f" + b"b" + (1).to_bytes(8, "big") + b"z"
    assert content_digest([-129, b"z"]) == hashlib.sha256(encoded).digest()


def test_text_in_a_content_digest_is_refused():
    with pytest.raises(CryptoError, match="bytes and integers"):
        content_digest(["text"])


def test_the_stream_of_the_zero_key_is_aes_256_of_the_counter():
    expected = "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"
    assert Stream(bytes(32)).bytes(32).hex() == expected


@given(st.lists(st.integers(0, 70), max_size=8))
def test_the_bytes_of_a_stream_do_not_depend_on_how_they_are_asked_for(sizes):
    stream = Stream(KEY)
    assert b"".join(stream.bytes(size) for size in sizes) == Stream(KEY).bytes(sum(sizes))


@given(st.one_of(st.integers(1, 300), st.integers(1, 2**2100)), st.integers(0, 20))
def test_numbers_below_n_are_below_n_and_repeat_with_the_key(n, count):
    drawn = Stream(KEY).below_many(n, count)
    assert len(drawn) == count
    assert all(type(value) is int and 0 <= value < n for value in drawn)
    assert drawn == Stream(KEY).below_many(n, count)


def test_every_number_below_n_is_about_equally_frequent():
    counts = np.bincount(Stream(KEY).below_many(5, 5000), minlength=5)
    assert ((counts - 1000) ** 2 / 1000).sum() < 18.5  # chi-square, 4 degrees of freedom, 0.1 %


@given(st.integers(2, 2000), st.integers(0, 30))
@settings(deadline=None)
def test_units_are_coprime_to_n_and_not_zero(n, count):
    units = Stream(KEY).units(n, count)
    assert len(units) == count
    assert all(0 < unit < n and gcd(unit, n) == 1 for unit in units)


def test_every_unit_can_come():
    assert set(Stream(KEY).units(15, 200)) == {1, 2, 4, 7, 8, 11, 13, 14}


def test_words_are_little_endian_and_of_the_native_type():
    words = Stream(KEY).uint64(3)
    assert words.dtype == np.uint64
    assert words.tolist() == [int.from_bytes(Stream(KEY).bytes(24)[i : i + 8], "little") for i in (0, 8, 16)]


@pytest.mark.parametrize("n", [0, -5])
def test_an_empty_range_is_refused(n):
    with pytest.raises(CryptoError, match="no integer"):
        Stream(KEY).below(n)


def test_the_units_of_a_modulus_below_two_are_refused():
    with pytest.raises(CryptoError, match="at least 2"):
        Stream(KEY).units(1, 1)


@pytest.mark.parametrize("size", [0, 16, 33])
def test_a_stream_key_of_another_size_is_refused(size):
    with pytest.raises(CryptoError, match="32 bytes"):
        Stream(bytes(size))


def test_a_stream_is_not_pickled_into_a_task():
    with pytest.raises(TypeError, match="send its key"):
        pickle.dumps(Stream(KEY))
