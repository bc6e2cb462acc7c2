from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedspark.crypto.vector.compiled import kernels, runnable
from fedspark.crypto.vector.modulus import Modulus, exponent_digits

pytestmark = pytest.mark.skipif(not runnable(), reason="llvmlite is absent, or the processor has no AVX2")

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.sampled_from([2048, 3072, 4096, 6144, 8192])  # p^2 and n^2 of all key sizes


@st.composite
def runs(draw, bits: int) -> int:
    """A number with long runs of equal bits, where carries and borrows travel far."""
    cuts = draw(st.lists(st.integers(0, bits), max_size=6))
    return sum(1 << cut for cut in cuts) - sum(1 << cut for cut in draw(st.lists(st.integers(0, bits), max_size=6)))


@st.composite
def moduli(draw) -> int:
    bits = draw(SIZES)
    low, high = 1 << (bits - 1), (1 << bits) - 1
    n = draw(
        st.one_of(st.just(low + 1), st.just(high), st.integers(low, high), runs(bits).map(lambda x: low + x % low))
    )
    return n | 1


@st.composite
def numbers(draw) -> tuple[int, list[int], list[int]]:
    n = draw(moduli())
    number = st.one_of(
        st.sampled_from([0, 1, 2, n - 1, n - 2, n // 2]),
        st.integers(0, n - 1),
        runs(n.bit_length()).map(lambda x: x % n),
    )
    count = draw(st.integers(1, 9))
    return (
        n,
        draw(st.lists(number, min_size=count, max_size=count)),
        draw(st.lists(number, min_size=count, max_size=count)),
    )


@pytest.mark.parametrize("name", runnable())
@given(numbers())
@QUICK
def test_products_squares_and_sums_are_those_of_integers(name, drawn):
    n, left, right = drawn
    m = Modulus(kernels(name), mpz(n))
    a, b = m.from_integers(list(map(mpz, left))), m.from_integers(list(map(mpz, right)))

    def found(blocks):
        return [int(value) for value in m.integers(blocks)[: len(left)]]

    inverse = pow(int(m.r), -1, n)
    assert found(m.multiply(a, b)) == [x * y * inverse % n for x, y in zip(left, right, strict=True)]
    assert found(m.multiply(m.enter(a), b)) == [x * y % n for x, y in zip(left, right, strict=True)]
    assert found(m.multiply(m.add(m.enter(a), m.enter(b)), b)) == [
        (x + y) * y % n for x, y in zip(left, right, strict=True)
    ]
    squares = m.enter(a)
    m.square(squares, 3)
    assert found(m.multiply(squares, m.plain_one)) == [pow(x, 8, n) for x in left]
    assert found(m.multiply_plain(a.copy(), b)) == [x * y % n for x, y in zip(left, right, strict=True)]


@pytest.mark.parametrize("name", runnable())
@given(moduli(), st.data())
@QUICK
def test_numbers_below_twice_the_modulus_may_be_multiplied(name, n, data):
    values = [2 * n - 1, n, data.draw(st.integers(n, 2 * n - 1))]
    m = Modulus(kernels(name), mpz(n))
    a = np.concatenate([m.constant(mpz(value)) for value in values])
    for b, others in ((a, values), (a[::-1].copy(), values[::-1])):
        lanes = m.integers(m.multiply_plain(a.copy(), b))
        expected = [x * y % n for x, y in zip(values, others, strict=True)]
        assert lanes == [value for value in expected for _ in range(m.lanes)]


@pytest.mark.parametrize("name", runnable())
@given(moduli(), st.integers(1, 600), st.data())
@settings(QUICK, max_examples=15)
def test_powers_with_one_exponent_for_all_are_those_of_integers(name, n, bits, data):
    exponent = data.draw(st.one_of(st.sampled_from([0, 1, (1 << bits) - 1]), st.integers(0, (1 << bits) - 1)))
    values = [0, 1, n - 1, 2, n // 3]
    m = Modulus(kernels(name), mpz(n))
    powers = m.power_of_all(m.enter(m.from_integers(list(map(mpz, values)))), mpz(exponent), bits)
    assert m.integers(m.multiply(powers, m.plain_one))[:5] == [pow(value, exponent, n) for value in values]


@given(st.integers(1, 300), st.integers(1, 6), st.data())
@QUICK
def test_digits_make_up_the_exponent(bits, width, data):
    exponents = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=1, max_size=3))
    rows = np.frombuffer(b"".join(e.to_bytes(-(-bits // 8), "little") for e in exponents), np.uint8)
    digits = exponent_digits(rows.reshape(len(exponents), -1), bits, width)
    assert digits.shape == (len(exponents), -(-bits // width))
    assert [sum(int(d) << (width * k) for k, d in enumerate(row[::-1])) for row in digits] == exponents
