from __future__ import annotations

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto.primes import prime, product_of_primes
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError


def stream(label: object = 0) -> Stream:
    return Stream(derive(bytes(32), "primes", str(label)))


@given(st.integers(16, 300), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_prime_has_the_asked_bits_two_of_them_set_and_repeats_with_the_stream(bits, label):
    found = prime(stream(label), bits)
    assert found.bit_length() == bits
    assert found >> (bits - 2) == 3
    assert gmpy2.is_prime(found)
    assert found == prime(stream(label), bits)


def test_only_an_accepted_prime_is_returned():
    assert prime(stream(), 64, lambda candidate: candidate % 8 == 3) % 8 == 3


def test_two_primes_fit_each_other_and_their_product_has_the_asked_bits():
    p, q = product_of_primes(stream(), 512, lambda r: r % 4 == 3, lambda p, q: gmpy2.gcd(p - 1, q - 1) == 2)
    assert p > q
    assert (p * q).bit_length() == 512
    assert p % 4 == q % 4 == 3
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert p - q >= 2**156


def test_a_tiny_prime_is_refused():
    with pytest.raises(CryptoError, match="at least 16 bits"):
        prime(stream(), 8)
