from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedspark.crypto.encoding import FixedPoint, decode, from_residues, to_residues
from fedspark.crypto.residues import all_units, batch_inverse
from fedspark.errors import CryptoError

ODD = st.integers(1, 2**256).map(lambda k: 2 * k + 1)


@given(st.integers(0, 40), st.floats(0.001, 1000), st.lists(st.floats(-1, 1), max_size=20))
def test_decoding_gives_back_every_value_within_half_a_unit(fraction_bits, bound, fractions):
    encoding = FixedPoint(fraction_bits, bound)
    values = np.asarray(fractions) * bound
    integers = encoding.encode(values)
    assert integers.dtype == np.int64
    assert (np.abs(integers) <= encoding.largest).all()
    assert (integers >= -(1 << (encoding.bits - 1))).all()
    assert (integers < 1 << (encoding.bits - 1)).all()
    assert np.abs(encoding.decode(integers) - values).max(initial=0) <= 2.0 ** -(fraction_bits + 1)


def test_the_bound_itself_is_encoded_and_the_next_double_is_refused():
    encoding = FixedPoint(4, 2.0)
    assert encoding.encode([2.0, -2.0]).tolist() == [32, -32]
    assert encoding.bits == 7
    with pytest.raises(CryptoError, match=r"1 of 3 values .* first, at \[1\], is above the bound"):
        encoding.encode([0.0, math.nextafter(2.0, 3.0), 1.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place_in_the_matrix(bad):
    matrix = np.zeros((2, 3))
    matrix[1, 2] = bad
    with pytest.raises(CryptoError, match=r"1 of 6 .* \[1, 2\], is not a finite number"):
        FixedPoint(20, 8.0).encode(matrix)


def test_the_refusal_does_not_show_the_value():
    with pytest.raises(CryptoError) as refusal:
        FixedPoint(20, 8.0).encode([123456.0])
    assert "123456" not in str(refusal.value)


def test_a_matrix_keeps_its_shape_and_halves_round_to_even():
    assert FixedPoint(0, 10.0).encode([[0.5, 1.5], [-0.5, -2.5]]).tolist() == [[0, 2], [0, -2]]


@pytest.mark.parametrize(("fraction_bits", "bound"), [(-1, 1.0), (63, 0.1), (20, 2.0**42), (20, 0.0), (20, math.nan)])
def test_an_encoding_that_does_not_fit_64_bits_is_refused(fraction_bits, bound):
    with pytest.raises(CryptoError):
        FixedPoint(fraction_bits, bound)


def test_the_largest_encoding_fits_64_bits():
    encoding = FixedPoint(61, 1.9999)
    assert encoding.encode([1.9999, -1.9999]).tolist() == [encoding.largest, -encoding.largest]


def test_decoding_takes_another_scale_and_integers_of_any_size():
    assert FixedPoint(20, 8.0).decode([3 << 40, -(1 << 39)], 40).tolist() == [3.0, -0.5]
    assert decode([2**3000 + 1], 3000).tolist() == [1.0]


def test_a_number_too_large_for_a_double_is_refused():
    with pytest.raises(CryptoError, match="mask"):
        decode([2**1100], 20)


@given(ODD, st.integers())
def test_signed_numbers_survive_the_residues_and_only_those_that_fit(n, number):
    if abs(number) <= (n - 1) // 2:
        residues = to_residues([number], n)
        assert 0 <= residues[0] < n
        assert from_residues(residues, n) == [number]
    else:
        with pytest.raises(CryptoError, match="row 0"):
            to_residues([number], n)


@given(ODD)
def test_both_ends_of_the_signed_range_fit_and_one_more_does_not(n):
    half = (n - 1) // 2
    assert from_residues(to_residues([half, -half, 0], n), n) == [half, -half, 0]
    for beyond in (half + 1, -half - 1):
        with pytest.raises(CryptoError):
            to_residues([beyond], n)


@given(st.lists(st.integers(1, 10**9), max_size=10))
def test_inverses_in_bulk_are_inverses(values):
    modulus = 2**127 - 1
    assert [v * i % modulus for v, i in zip(values, batch_inverse(modulus, values), strict=True)] == [1] * len(values)


def test_a_number_without_inverse_is_refused():
    with pytest.raises(CryptoError, match="no inverse"):
        batch_inverse(35, [2, 10, 3])


def test_one_common_factor_among_many_units_is_found():
    assert all_units([2, 3, 4, 36], 35)
    assert all_units([], 35)
    assert not all_units([2, 3, 21, 4], 35)
    assert not all_units([2, 0], 35)
