from __future__ import annotations

import hashlib

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import rsa
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey, RsaPublic
from fedspark.errors import CryptoError

IDS = [f"patient-{i}" for i in range(20)] + ["", "Zoë", "\u6f22\u5b57"]


def stream(*label: str) -> Stream:
    return Stream(derive(bytes(32), "test rsa", *label))


def test_a_blind_signature_without_its_blind_is_the_signature_of_the_hash(rsa_key):
    public = rsa_key.public
    hashes = rsa.full_domain_hash(public, b"run", IDS)
    r = stream("r").units(public.n, len(IDS))
    blinded = rsa.blind(public, hashes, r)
    signed = rsa.sign(rsa_key, blinded)
    rsa.check_signatures(public, blinded, signed)
    unblinded = rsa.unblind(public, signed, rsa.batch_inverse(public.n, r))
    assert unblinded == rsa.sign(rsa_key, hashes)
    assert [pow(int(s), 65537, public.n) for s in unblinded] == hashes
    assert set(blinded).isdisjoint(hashes)


def test_the_hash_is_shake_256_with_128_surplus_bits_over_context_and_id(rsa_key):
    def prefixed(field: bytes) -> bytes:
        return len(field).to_bytes(8, "big") + field

    plain = prefixed(b"fedspark rsa full-domain hash v1") + prefixed(b"run") + "Zoë".encode()
    expected = int.from_bytes(hashlib.shake_256(plain).digest(256 + 16), "big") % rsa_key.public.n
    assert rsa.full_domain_hash(rsa_key.public, b"run", ["Zoë"]) == [expected]


def test_the_hash_tells_contexts_and_the_cut_before_the_id_apart(rsa_key):
    pairs = [(b"run", "a"), (b"runa", ""), (b"", "runa"), (b"ru", "na")]
    assert len({rsa.full_domain_hash(rsa_key.public, context, [text])[0] for context, text in pairs}) == len(pairs)


@pytest.mark.parametrize("half", [0, 1])
def test_one_faulty_power_among_many_releases_nothing(rsa_key, monkeypatch, half):
    honest = rsa.power_pairs

    def faulty(values, first, second):
        for row, (a, b) in enumerate(honest(values, first, second)):
            yield (a + (half == 0), b + (half == 1)) if row == 2 else (a, b)

    monkeypatch.setattr(rsa, "power_pairs", faulty)
    with pytest.raises(CryptoError, match="nothing was released"):
        rsa.sign(rsa_key, [2, 3, 4, 5])


def test_only_numbers_from_1_to_n_minus_1_are_signed(rsa_key):
    n = rsa_key.public.n
    assert rsa.sign(rsa_key, [1, n - 1]) == [1, n - 1]
    for wrong in (0, n, -1, n + 1):
        with pytest.raises(CryptoError, match="row 1 lies outside"):
            rsa.sign(rsa_key, [1, wrong])


def test_a_wrong_signature_is_refused_with_its_row(rsa_key):
    signatures = rsa.sign(rsa_key, [2, 3])
    with pytest.raises(CryptoError, match="row 1"):
        rsa.check_signatures(rsa_key.public, [2, 3], [signatures[0], signatures[1] + 1])


def test_columns_of_unequal_length_are_refused(rsa_key):
    for function in (rsa.blind, rsa.unblind, rsa.check_signatures):
        with pytest.raises(CryptoError, match="2 and 1 rows"):
            function(rsa_key.public, [1, 2], [1])


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_residues_survive_the_wire_as_fixed_width_big_endian_bytes(rsa_key, data):
    public = rsa_key.public
    values = data.draw(st.lists(st.one_of(st.integers(1, 300), st.integers(public.n - 300, public.n - 1)), max_size=5))
    array = rsa.to_array(public, values)
    assert array.shape == (len(values), 256)
    assert [int.from_bytes(row.tobytes(), "big") for row in array] == values
    assert rsa.from_array(public, array) == values


def test_residues_out_of_range_or_with_a_factor_of_n_are_refused_on_arrival(rsa_key):
    public = rsa_key.public
    for wrong in (0, public.n, public.n + 1, rsa_key.p, 7 * rsa_key.q):
        with pytest.raises(CryptoError, match="residue in row 2"):
            rsa.from_array(public, rsa.to_array(public, [1, 2, wrong, 4]))


@pytest.mark.parametrize(
    "array",
    [np.zeros((1, 255), np.uint8), np.zeros(256, np.uint8), np.zeros((1, 256), np.int64), np.zeros((1, 384), np.uint8)],
)
def test_a_column_of_another_shape_is_refused(rsa_key, array):
    with pytest.raises(CryptoError, match=r"uint8\[N, 256\]"):
        rsa.from_array(rsa_key.public, array)


def test_an_ownership_proof_holds_for_its_key_and_run_only(rsa_key):
    proof = rsa.prove(rsa_key, b"run 1")
    rsa.verify_proof(rsa_key.public, b"run 1", proof)
    other = RsaPublic(rsa_key.public.n - 2, 2048)
    for public, context, given_proof in [
        (rsa_key.public, b"run 2", proof),
        (other, b"run 1", proof),
        (rsa_key.public, b"run 1", proof[256:] + proof[:256]),
        (rsa_key.public, b"run 1", bytes([proof[0] ^ 1]) + proof[1:]),
        (rsa_key.public, b"run 1", proof[:-256]),
        (rsa_key.public, b"run 1", b""),
    ]:
        with pytest.raises(CryptoError):
            rsa.verify_proof(public, context, given_proof)


def test_the_same_stream_makes_the_same_key(rsa_key):
    again = RsaKey.generate(Stream(derive(bytes(32), "tests", "rsa")))
    assert again == rsa_key
    assert again.public.n.bit_length() == 2048
    assert again.p * again.q == again.public.n


@pytest.mark.parametrize("bits", [512, 1024, 2047, 2056])
def test_other_key_sizes_are_refused_on_both_sides(bits):
    with pytest.raises(CryptoError, match="2048, 3072 or 4096"):
        RsaKey.generate(stream(), bits)
    with pytest.raises(CryptoError, match="2048, 3072 or 4096"):
        rsa.check_public(RsaPublic((1 << bits) - 1, bits))


def test_a_received_modulus_is_checked_for_size_parity_and_small_factors(rsa_key):
    n = rsa_key.public.n
    rsa.check_public(rsa_key.public)
    with_small_factor = 65521 * (n // 65521 - 1 | 1)
    for wrong, rule in [(n + 1, "even"), (n >> 1 | 1, "2047 bits"), (with_small_factor, "factor below"), (-n, "bits")]:
        with pytest.raises(CryptoError, match=rule):
            rsa.check_public(RsaPublic(wrong, 2048))


def test_a_public_key_survives_json(rsa_key):
    assert RsaPublic.from_json(rsa_key.public.to_json(), 2048) == rsa_key.public


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "paillier"},
        {"bits": "3072"},
        {"bits": 2048},
        {"n": 7},
        {"n": "0x12"},
        {"n": "F" * 512},
        {"n": "0" + "f" * 511},
        {"n": "f" * 513},
        {"n": ""},
        {"e": "3"},
    ],
)
def test_a_public_key_that_is_written_otherwise_is_refused(rsa_key, change):
    with pytest.raises(CryptoError):
        RsaPublic.from_json(rsa_key.public.to_json() | change, 2048)


def test_no_private_number_is_shown(rsa_key):
    for secret in (rsa_key.p, rsa_key.q):
        assert str(secret) not in repr(rsa_key)
        assert f"{secret:x}" not in repr(rsa_key)


def test_a_3072_bit_key_signs(rsa_key):
    key = RsaKey.generate(stream("3072"), 3072)
    (signature,) = rsa.sign(key, [mpz(7)])
    assert pow(int(signature), 65537, key.public.n) == 7
    assert rsa.to_array(key.public, [signature]).shape == (1, 384)
