from __future__ import annotations

import pickle
import threading

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import fixed_base as tables
from fedspark.crypto.fixed_base import FixedBase, fixed_base
from fedspark.crypto.paillier import Ciphertexts, Derived, PrivateKey, PublicKey, check_public_key, encrypt, engine_for
from fedspark.crypto.paillier_engine import Gmpy2Engine
from fedspark.crypto.primes import prime
from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError


def stream(*label: str | int) -> Stream:
    return Stream(derive(bytes(32), "test paillier", *label))


def test_the_ends_of_the_plaintext_range_survive_and_one_more_is_refused(private_key):
    half = (private_key.public.n - 1) // 2
    values = [0, 1, -1, half, -half, half - 1, 1 - half]
    assert private_key.decrypt(encrypt(private_key.public, values, 0, stream("ends"))) == values
    for beyond in (half + 1, -half - 1, private_key.public.n):
        with pytest.raises(CryptoError, match="row 1"):
            encrypt(private_key.public, [0, beyond], 0, stream("beyond"))


@given(st.lists(st.integers(-(2**2046), 2**2046), max_size=4), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_owner_encrypts_to_the_same_bytes_and_decrypts_what_went_in(private_key, values, label):
    column = encrypt(private_key.public, values, 20, stream(label))
    assert private_key.encrypt(values, 20, stream(label)).to_bytes() == column.to_bytes()
    assert private_key.decrypt(column) == values
    assert column.scale == 20


def test_the_stream_alone_decides_the_ciphertexts(private_key):
    first, again, other = (encrypt(private_key.public, [5, 5], 0, stream(label)).to_bytes() for label in (1, 1, 2))
    assert first == again
    assert len({first[:512], first[512:], other[:512], other[512:]}) == 4


def test_a_fresh_ciphertext_is_the_stated_formula(private_key):
    n, n2 = private_key.public.n, private_key.public.n**2
    engine = Gmpy2Engine(n)
    r = int.from_bytes(stream("formula").bytes(128), "little")
    expected = (1 + 41 * n) * pow(int(engine.hs), r, n2) % n2
    assert encrypt(private_key.public, [41], 0, stream("formula")).to_bytes() == expected.to_bytes(512, "little")


def test_the_obfuscators_base_is_minus_a_square_to_the_n(private_key):
    n = private_key.public.n
    hs = Gmpy2Engine(n).hs
    assert gmpy2.gcd(hs, n) == 1
    for r in (private_key.p, private_key.q):
        assert gmpy2.jacobi(hs % r, r) == -1
        assert gmpy2.powmod(hs, r - 1, r * r) == 1  # an n-th power: encrypts zero


def test_a_fresh_ciphertext_does_not_show_its_plaintext(private_key):
    n = private_key.public.n
    cell = int.from_bytes(encrypt(private_key.public, [1], 0, stream("hidden")).to_bytes(), "little")
    assert (cell - 1) % n != 0


def test_a_generated_key_has_the_stated_form_and_repeats_with_its_stream(private_key):
    p, q = private_key.p, private_key.q
    assert p % 4 == q % 4 == 3
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert private_key.public.bits == 2048
    check_public_key(private_key.public.n, 2048)
    assert PrivateKey.generate(Stream(derive(bytes(32), "tests", "paillier"))) == private_key
    assert PrivateKey.from_primes(int(q), int(p)) == private_key


@pytest.mark.parametrize("bits", [1024, 2046, 2050])
def test_other_key_sizes_are_refused_everywhere(bits):
    for make in (
        lambda: PrivateKey.generate(stream(), bits),
        lambda: PublicKey((1 << bits) - 3),
        lambda: check_public_key((1 << bits) - 3, bits),
    ):
        with pytest.raises(CryptoError, match="2048, 3072 or 4096"):
            make()


def test_primes_of_another_form_are_refused(private_key):
    p = private_key.p
    one_modulo_four = prime(stream("form"), 1024, lambda r: r % 4 == 1)
    for wrong in (
        one_modulo_four,
        p,
        private_key.q + 4 if not gmpy2.is_prime(private_key.q + 4) else private_key.q + 8,
    ):
        with pytest.raises(CryptoError, match="q = 3 mod 4"):
            PrivateKey.from_primes(int(p), int(wrong))


def test_a_received_modulus_of_another_form_is_refused(private_key):
    n, p = private_key.public.n, private_key.p
    a_prime = prime(stream("modulus"), 2048, lambda r: r % 4 == 1)
    for wrong, rule in [
        (n + 1, "even"),
        (n >> 1 | 1, "2047 bits"),
        (65521 * (n // 65521 | 1), "factor below"),
        (a_prime, "two different primes"),
        (int(p) ** 2, "two different primes"),
    ]:
        with pytest.raises(CryptoError, match=rule):
            check_public_key(int(wrong), 2048)


def test_a_public_key_survives_json_and_no_other_size_or_kind(private_key):
    public = private_key.public
    assert PublicKey.from_json(public.to_json(), 2048) == public
    with pytest.raises(CryptoError, match="3072 bits"):
        PublicKey.from_json(public.to_json(), 3072)
    with pytest.raises(CryptoError, match="paillier public key"):
        PublicKey.from_json(public.to_json() | {"kind": "rsa"}, 2048)
    with pytest.raises(CryptoError, match="hexadecimal"):
        PublicKey.from_json(public.to_json() | {"n": public.to_json()["n"].upper()}, 2048)


def test_a_column_under_another_key_is_not_decrypted(private_key, other_private_key):
    column = encrypt(private_key.public, [1], 0, stream("other"))
    with pytest.raises(CryptoError, match="another key"):
        other_private_key.decrypt(column)


def test_no_private_number_is_shown(private_key):
    assert repr(private_key) == "PrivateKey(bits=2048)"


def test_a_key_is_sent_to_an_own_task_without_its_tables(private_key):
    private_key.encrypt([1], 0, stream("warm"))
    data = pickle.dumps(private_key)
    assert len(data) < 1000
    assert pickle.loads(data) == private_key


def test_one_engine_serves_a_key_in_a_process(private_key):
    assert engine_for(private_key.public) is engine_for(PublicKey(private_key.public.n))


@given(st.binary(min_size=6, max_size=6))
@settings(deadline=None)
def test_a_tabled_power_is_the_power(exponent):
    modulus = mpz(2) ** 127 - 1
    expected = pow(3, int.from_bytes(exponent, "little"), int(modulus))
    assert fixed_base(modulus, mpz(3), 6).power(exponent) == expected


def test_a_tabled_power_of_another_size_is_refused():
    with pytest.raises(ValueError, match="the table is for 6"):
        fixed_base(mpz(101), mpz(3), 6).power(bytes(7))


def test_threads_that_want_one_table_at_once_build_it_once(monkeypatch):
    built = []

    class Counting(FixedBase):
        def __init__(self, *arguments):
            built.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr(tables, "FixedBase", Counting)
    monkeypatch.setattr(tables, "_tables", tables.OrderedDict())
    found = []
    threads = [threading.Thread(target=lambda: found.append(fixed_base(mpz(10007), mpz(5), 64))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({id(table) for table in found}) == 1


def test_tables_of_old_keys_are_let_go(monkeypatch):
    monkeypatch.setattr(tables, "_tables", tables.OrderedDict())
    for modulus in range(101, 141, 2):
        fixed_base(mpz(modulus), mpz(5), 1)
    assert len(tables._tables) == tables._KEPT


def test_a_3072_bit_key_encrypts_and_decrypts():
    key = PrivateKey.generate(stream("3072"), 3072)
    half = (key.public.n - 1) // 2
    zero = Derived.from_private(key.public, (1).to_bytes(key.public.width, "little"), 0)
    sent = zero.add_plain([half]).for_owner(stream("sent")).to_bytes()
    assert len(sent) == 768
    assert key.decrypt(Ciphertexts.from_bytes(key.public, sent, 0)) == [half]
