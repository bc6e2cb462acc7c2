from __future__ import annotations

import copy
import pickle

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import paillier_engine
from fedspark.crypto.ciphertexts import Ciphertexts, Derived, encrypt
from fedspark.crypto.encoding import FixedPoint
from fedspark.crypto.paillier_engine import Gmpy2Engine
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError

QUICK = settings(max_examples=12, deadline=None)
NUMBER = st.one_of(st.integers(-(2**1000), 2**1000), st.sampled_from([0, 1, -1]))


def stream(*label: str | int) -> Stream:
    return Stream(derive(bytes(32), "test ciphertexts", *label))


@pytest.fixture
def column(private_key) -> Ciphertexts:
    return encrypt(private_key.public, [3, -4, 5], 10, stream("column"))


@given(st.lists(st.tuples(NUMBER, NUMBER), max_size=4))
@QUICK
def test_arithmetic_on_ciphertexts_is_arithmetic_on_numbers(private_key, pairs):
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    a, b = (encrypt(private_key.public, values, 7, stream(side)) for side, values in enumerate((left, right)))
    assert private_key.decrypt(a.add(b)) == [x + y for x, y in pairs]
    assert private_key.decrypt(a.add_plain(right)) == [x + y for x, y in pairs]
    assert private_key.decrypt(a.multiply_plain(right)) == [x * y for x, y in pairs]
    assert private_key.decrypt(a.total()) == [sum(left)]


def test_factors_at_the_ends_of_the_range_multiply_modulo_n(private_key):
    half = (private_key.public.n - 1) // 2
    ones = encrypt(private_key.public, [1, 1, 2, 0], 0, stream("ones"))
    assert private_key.decrypt(ones.multiply_plain([half, -half, half, half])) == [half, -half, -1, 0]
    with pytest.raises(CryptoError, match="row 2"):
        ones.multiply_plain([0, 0, half + 1, 0])


@given(data=st.data(), bits=st.sampled_from([2, 3, 12, 16, 17, 40, 62]))
@QUICK
def test_linear_is_the_transposed_matrix_times_the_column(private_key, data, bits):
    rows, features = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 3))
    ends = st.sampled_from([-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 0])
    entry = st.one_of(ends, st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1))
    matrix = np.asarray(data.draw(st.lists(entry, min_size=rows * features, max_size=rows * features)), dtype=np.int64)
    matrix = matrix.reshape(rows, features)
    values = data.draw(st.lists(NUMBER, min_size=rows, max_size=rows))
    result = encrypt(private_key.public, values, 20, stream("linear")).linear(matrix, bits=bits, scale=12)
    assert result.scale == 32
    expected = [sum(int(x) * v for x, v in zip(matrix[:, j], values, strict=True)) for j in range(features)]
    assert private_key.decrypt(result) == expected


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint8, np.bool_])
def test_narrow_matrices_are_as_good_as_wide_ones(private_key, column, kind):
    matrix = np.array([[1, 0], [0, 1], [1, 1]], kind)
    if matrix.dtype.kind == "i":
        matrix[0, 0], matrix[2, 1] = -128, 127
    wide = column.linear(matrix.astype(np.int64), bits=16).to_private()
    assert column.linear(matrix, bits=16).to_private() == wide


@pytest.mark.parametrize("beyond", [-(2**15) - 1, 2**15])
def test_a_matrix_entry_one_above_the_agreed_bits_is_refused(column, beyond):
    with pytest.raises(CryptoError, match="1 of 6 matrix entries do not fit into 16 bits"):
        column.linear(np.array([[1, 2], [3, beyond], [5, 6]]), bits=16)


@pytest.mark.parametrize(
    "matrix", [np.zeros((3, 2)), np.zeros((2, 2), np.int64), np.zeros(3, np.int64), np.zeros((3, 1), np.uint64)]
)
def test_a_matrix_of_another_type_or_length_is_refused(column, matrix):
    with pytest.raises(CryptoError, match=r"int64\[3, F\]"):
        column.linear(matrix)


@pytest.mark.parametrize("bits", [0, 1, 63])
def test_an_impossible_size_of_matrix_entries_is_refused(column, bits):
    with pytest.raises(CryptoError, match="2 to 62 bits"):
        column.linear(np.zeros((3, 1), np.int64), bits=bits)


def test_the_bits_of_a_fixed_point_encoding_are_the_bits_of_linear(private_key, column):
    encoding = FixedPoint(12, 8.0)
    matrix = encoding.encode([[8.0], [-8.0], [0.25]])
    sums = column.linear(matrix, bits=encoding.bits, scale=encoding.fraction_bits)
    assert encoding.decode(private_key.decrypt(sums), sums.scale).tolist() == [(3 * 8 + 4 * 8 + 5 / 4) / 1024]


def test_blocks_of_rows_and_features_do_not_change_a_byte(private_key, monkeypatch):
    monkeypatch.setattr("fedspark.crypto.paillier_keys.engine_for_modulus", Gmpy2Engine)
    values, matrix = list(range(-5, 6)), np.arange(-33, 33).reshape(11, 6)

    def everything() -> list[bytes]:
        a = encrypt(private_key.public, values, 0, stream("blocks"))
        derived = [a.add(a), a.add_plain(values), a.multiply_plain(values), a.total(), a.linear(matrix, bits=8)]
        sent = [d.for_receiver(stream("blocks", "r")).to_bytes() for d in derived[:1]]
        return [a.to_bytes(), *sent, *(d.to_private() for d in derived)]

    whole = everything()
    monkeypatch.setattr(paillier_engine, "_BLOCK", 3)
    monkeypatch.setattr(paillier_engine, "_BUCKET_BYTES", 1)
    assert everything() == whole


def test_plaintexts_may_be_residues_as_bytes(private_key):
    n = private_key.public.n
    values = [0, 1, 2**64, n // 2, n - 1]
    rows = np.frombuffer(b"".join(value.to_bytes(256, "little") for value in values), np.uint8).reshape(-1, 256)
    assert private_key.decrypt(encrypt(private_key.public, rows, 0, stream("rows"))) == [*values[:4], -1]
    same = [*values[:4], -1]
    assert (
        encrypt(private_key.public, same, 0, stream("rows")).to_bytes()
        == encrypt(private_key.public, rows, 0, stream("rows")).to_bytes()
        == private_key.encrypt(rows, 0, stream("rows")).to_bytes()
    )
    assert private_key.decrypt(encrypt(private_key.public, [5] * 5, 0, stream("five")).add_plain(rows))[1] == 6


@pytest.mark.parametrize("above", [0, 1, 2**40])
def test_plaintexts_that_are_not_below_n_are_refused_with_their_row(private_key, above):
    row = np.frombuffer((private_key.public.n + above).to_bytes(256, "little"), np.uint8)
    with pytest.raises(CryptoError, match="plaintext in row 1 is not below"):
        encrypt(private_key.public, np.stack([np.zeros(256, np.uint8), row]), 0, stream("above"))


def test_plaintexts_of_another_width_are_refused(private_key):
    with pytest.raises(CryptoError, match="Rows of 255 bytes"):
        encrypt(private_key.public, np.zeros((2, 255), np.uint8), 0, stream("width"))


def test_columns_of_no_rows_are_columns(private_key):
    nothing = encrypt(private_key.public, [], 4, stream("nothing"))
    assert nothing.to_bytes() == b""
    assert len(Ciphertexts.from_bytes(private_key.public, b"", 4)) == 0
    assert private_key.decrypt(nothing) == []
    assert private_key.decrypt(nothing.total().for_receiver(stream("total"))) == [0]


def test_partial_sums_of_tasks_combine_to_the_whole(private_key):
    values, matrix = list(range(9)), np.arange(18).reshape(9, 2)
    whole = encrypt(private_key.public, values, 3, stream("parts")).linear(matrix)
    parts = []
    for first in range(0, 9, 4):
        part = encrypt(private_key.public, values[first : first + 4], 3, stream("parts", first))
        kept = part.linear(matrix[first : first + 4]).to_private()
        parts.append(Derived.from_private(private_key.public, kept, 3))
    assert private_key.decrypt(Derived.combine(parts)) == private_key.decrypt(whole)
    assert Derived.combine(parts).scale == 3


def test_columns_are_laid_one_below_the_other(private_key, column):
    assert private_key.decrypt(Derived.concatenate([column, column.total()])) == [3, -4, 5, 4]


def test_combining_nothing_is_refused():
    for join in (Derived.combine, Derived.concatenate):
        with pytest.raises(CryptoError, match="There are no"):
            join([])


def test_what_arithmetic_made_has_no_way_to_a_peer(column):
    derived = [
        column.add(column),
        column.add_plain([1, 2, 3]),
        column.multiply_plain([1, 2, 3]),
        column.total(),
        column.linear(np.ones((3, 1), np.int64)),
        Derived.combine([column]),
        Derived.concatenate([column]),
    ]
    for result in derived:
        assert type(result) is Derived
        assert {name for name in dir(result) if not name.startswith("_")} == {
            *("public", "scale", "add", "add_plain", "multiply_plain", "total", "linear", "combine", "concatenate"),
            *("content_digest", "for_receiver", "for_owner", "to_private", "from_private"),
        }
        with pytest.raises(TypeError):
            bytes(result)


def test_columns_are_neither_pickled_nor_copied(column):
    for value in (column, column.total()):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(value)
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(value)


def test_both_ways_to_a_peer_keep_the_numbers_and_change_every_ciphertext(private_key, column):
    derived = column.add_plain([10, 20, 30])
    before = derived.to_private()
    for send in (derived.for_receiver, derived.for_owner):
        sent = send(stream("send"))
        assert type(sent) is Ciphertexts
        assert sent.scale == column.scale
        assert private_key.decrypt(sent) == [13, 16, 35]
        after = sent.to_bytes()
        assert all(after[i : i + 512] != before[i : i + 512] for i in range(0, len(before), 512))
        assert send(stream("send")).to_bytes() == after
        assert send(stream("send", "again")).to_bytes() != after


def test_only_the_full_nonce_hides_the_jacobi_symbol_from_the_owner(private_key):
    derived = encrypt(private_key.public, [0] * 24, 0, stream("symbol")).add_plain([0] * 24)
    short, full = derived.for_receiver(stream("short")).to_bytes(), derived.for_owner(stream("full")).to_bytes()

    def symbols(data: bytes) -> set[int]:
        return {
            gmpy2.jacobi(int.from_bytes(data[i : i + 512], "little"), private_key.public.n)
            for i in range(0, len(data), 512)
        }

    assert symbols(short) == {1}
    assert symbols(full) == {1, -1}


def test_received_ciphertexts_are_checked_for_range_and_factors(private_key):
    public = private_key.public
    good = (5).to_bytes(512, "little")
    for wrong in (0, public.n**2, public.n**2 + 1, public.n, int(private_key.p), int(private_key.q) * 12):
        with pytest.raises(CryptoError, match="Ciphertext 2 of 4"):
            Ciphertexts.from_bytes(public, good * 2 + wrong.to_bytes(512, "little") + good, 0)
    assert len(Ciphertexts.from_bytes(public, good + (public.n**2 - 1).to_bytes(512, "little"), 0)) == 2


def test_a_wrong_ciphertext_is_found_in_a_later_block(private_key, monkeypatch):
    monkeypatch.setattr("fedspark.crypto.paillier_keys.engine_for_modulus", Gmpy2Engine)
    monkeypatch.setattr(paillier_engine, "_BLOCK", 2)
    data = (5).to_bytes(512, "little") * 5 + bytes(512)
    with pytest.raises(CryptoError, match="Ciphertext 5 of 6"):
        Ciphertexts.from_bytes(private_key.public, data, 0)


@pytest.mark.parametrize("size", [1, 511, 513])
def test_bytes_that_are_no_column_are_refused(private_key, size):
    for read in (Ciphertexts.from_bytes, Derived.from_private):
        with pytest.raises(CryptoError, match="512-byte ciphertexts"):
            read(private_key.public, bytes(size), 0)


def test_a_column_survives_the_wire(private_key, column):
    received = Ciphertexts.from_bytes(private_key.public, column.to_bytes(), 10)
    assert private_key.decrypt(received) == [3, -4, 5]
    assert received.content_digest() == column.content_digest()
    assert len(column.to_bytes()) == 3 * private_key.public.width == 3 * 512


def test_the_content_digest_tells_contents_scales_and_keys_apart(private_key, column):
    others = [encrypt(private_key.public, [3, -4, 6], 10, stream("column")), column.total()]
    others.append(Ciphertexts.from_bytes(private_key.public, column.to_bytes(), 11))
    assert len({c.content_digest() for c in [column, *others]}) == 4


def test_columns_of_other_keys_scales_or_lengths_do_not_mix(private_key, other_private_key, column):
    foreign = encrypt(other_private_key.public, [1, 2, 3], 10, stream("foreign"))
    rescaled = encrypt(private_key.public, [1, 2, 3], 11, stream("rescaled"))
    shorter = encrypt(private_key.public, [1], 10, stream("shorter"))
    for other, rule in [(foreign, "different keys"), (rescaled, "10 and 11 fraction bits"), (shorter, "3 and 1 rows")]:
        with pytest.raises(CryptoError, match=rule):
            column.add(other)
        with pytest.raises(CryptoError, match=rule):
            Derived.combine([column, other])
    for operation in (column.add_plain, column.multiply_plain):
        with pytest.raises(CryptoError, match="do not match 3 ciphertexts"):
            operation([1, 2])


def test_the_scales_of_factors_add_up(private_key, column):
    assert column.multiply_plain([1, 2, 3], scale=12).scale == 22
    assert column.add_plain(np.array([1, 2, 3])).scale == 10


@pytest.mark.parametrize("scale", [-1, 1.5, True, None])
def test_a_scale_that_is_no_count_of_bits_is_refused(private_key, scale):
    with pytest.raises(CryptoError, match="fraction bits"):
        encrypt(private_key.public, [1], scale, stream("scale"))


def test_a_column_shows_its_size_only(column):
    assert repr(column) == "Ciphertexts(rows=3, bits=2048, scale=10)"
    assert repr(column.total()) == "Derived(rows=1, bits=2048, scale=10)"
