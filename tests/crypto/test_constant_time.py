from __future__ import annotations

import ctypes
from collections import Counter

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import constant_time
from fedspark.crypto.constant_time import GmpPowers, LibcryptoPowers, fastest, power_pairs, public_powers
from fedspark.errors import CryptoError

ODD = st.integers(1, 2**1030).map(lambda k: mpz(2 * k + 1))
EXPONENT = st.integers(1, 2**1030).map(mpz)


@pytest.mark.parametrize("maker", [fastest(), GmpPowers()], ids=["fastest", "gmp"])
@given(first=st.tuples(EXPONENT, ODD), second=st.tuples(EXPONENT, ODD), values=st.lists(st.integers(0, 2**2100)))
@settings(max_examples=25, deadline=None)
def test_every_maker_of_powers_agrees_with_plain_powers(maker, first, second, values):
    expected = [(pow(v, int(first[0]), int(first[1])), pow(v, int(second[0]), int(second[1]))) for v in values]
    assert list(maker.pairs(map(mpz, values), first, second)) == expected


@pytest.mark.parametrize("maker", [fastest(), GmpPowers()], ids=["fastest", "gmp"])
@given(exponent=st.sampled_from([1, 2, 3, 65537]), modulus=ODD, values=st.lists(st.integers(0, 2**2100)))
@settings(max_examples=25, deadline=None)
def test_every_maker_of_public_powers_agrees_with_plain_powers(maker, exponent, modulus, values):
    expected = [pow(value, exponent, int(modulus)) for value in values]
    assert list(maker.public(map(mpz, values), exponent, modulus)) == expected


@pytest.mark.parametrize("wrong", [(mpz(0), mpz(15)), (mpz(3), mpz(16)), (mpz(3), mpz(1))])
def test_an_exponent_or_modulus_that_no_key_has_is_refused(wrong):
    for pair in ((wrong, (mpz(3), mpz(7))), ((mpz(3), mpz(7)), wrong)):
        with pytest.raises(CryptoError, match="odd modulus"):
            power_pairs([mpz(2)], *pair)
    with pytest.raises(CryptoError, match="odd modulus"):
        public_powers([mpz(2)], *wrong)


def test_a_library_that_computes_one_wrong_power_is_not_used():
    class Wrong(GmpPowers):
        def pairs(self, values, first, second):
            for a, b in super().pairs(values, first, second):
                yield a, b + (a > 5)

    class WrongPublic(GmpPowers):
        def public(self, values, exponent, modulus):
            for power in super().public(values, exponent, modulus):
                yield power + (exponent == 65537 and power > 5)

    assert not constant_time._agrees_with_gmp(Wrong())
    assert not constant_time._agrees_with_gmp(WrongPublic())
    assert constant_time._agrees_with_gmp(GmpPowers())


@pytest.mark.parametrize("version", [0x1010117F, 0x30000040])
def test_an_old_or_faulty_openssl_is_passed_over(monkeypatch, version):
    class Library:
        class OpenSSL_version_num:  # noqa: N801
            def __new__(cls):
                return version

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    assert constant_time._libcrypto("libcrypto.so.3") is None


def test_without_openssl_powers_come_from_gmp(monkeypatch):
    monkeypatch.setattr(constant_time, "_LIBRARIES", ("libcrypto-that-does-not-exist.so",))
    assert fastest.__wrapped__().name == "gmp"


class FailingLibrary:
    """Counts what is allocated; one named function reports failure."""

    def __init__(self, failing: str) -> None:
        self.failing, self.held, self.made = failing, Counter(), 0

    def __getattr__(self, name: str):
        def call(*arguments):
            if name == self.failing:
                return 0
            if name.endswith("_new"):
                self.made += 1
                self.held[self.made] += 1
                return self.made
            if name.endswith("free"):
                self.held[arguments[0]] -= 1
            return arguments[2] if name == "BN_bn2lebinpad" else 1

        self.__dict__[name] = call
        return call


@pytest.mark.parametrize(
    "failing",
    [
        "BN_mod_exp_mont_consttime_x2",
        "BN_MONT_CTX_set",
        "BN_secure_new",
        "BN_MONT_CTX_new",
        "BN_lebin2bn",
        "BN_bn2lebinpad",
    ],
)
def test_a_failure_inside_openssl_is_reported_and_everything_is_freed_once(failing):
    library = FailingLibrary(failing)
    with pytest.raises(CryptoError, match="OpenSSL"):
        list(LibcryptoPowers(library).pairs([mpz(5)], (mpz(3), mpz(77)), (mpz(5), mpz(35))))
    assert library.made > 0
    assert set(library.held.values()) == {0}


@pytest.mark.parametrize(
    "failing", ["BN_mod_exp_mont", "BN_MONT_CTX_set", "BN_new", "BN_MONT_CTX_new", "BN_lebin2bn", "BN_bn2lebinpad"]
)
def test_a_failure_in_a_public_power_is_reported_and_everything_is_freed_once(failing):
    library = FailingLibrary(failing)
    with pytest.raises(CryptoError, match="OpenSSL"):
        list(LibcryptoPowers(library).public([mpz(5)], 3, mpz(77)))
    assert library.made > 0
    assert set(library.held.values()) == {0}
