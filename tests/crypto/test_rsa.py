from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.crypto import constant_time, rsa
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


def with_faults(monkeypatch, faults):
    """Multiply the CRT halves of some rows: faults[row] = (factor mod p, factor mod q)."""
    honest = rsa.power_pairs

    def faulty(values, first, second):
        for row, (a, b) in enumerate(honest(values, first, second)):
            f, g = faults.get(row, (1, 1))
            yield a * f % first[1], b * g % second[1]

    monkeypatch.setattr(rsa, "power_pairs", faulty)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 30])
def test_one_faulty_half_of_a_power_releases_nothing_and_is_named(rsa_key, monkeypatch, half, rows):
    with_faults(monkeypatch, {rows - 1: (2, 1) if half == 0 else (1, 2)})
    with pytest.raises(CryptoError, match=rf"power in row {rows - 1} came out wrong and nothing was released"):
        rsa.sign(rsa_key, range(2, 2 + rows))


def test_several_faulty_powers_release_nothing(rsa_key, monkeypatch):
    with_faults(monkeypatch, {1: (3, 1), 2: (5, 1), 4: (1, 7)})
    with pytest.raises(CryptoError, match="row 1 came out wrong and nothing was released"):
        rsa.sign(rsa_key, range(2, 10))


def test_a_number_that_is_no_unit_does_not_hide_the_fault_of_another_row(rsa_key, monkeypatch):
    values = [2, int(rsa_key.p) * 3, 5]
    assert [pow(int(s), 65537, rsa_key.public.n) for s in rsa.sign(rsa_key, values)] == values
    with_faults(monkeypatch, {2: (2, 1)})  # modulo p the product of the values is 0, whatever row 2 is
    with pytest.raises(CryptoError, match="row 2 came out wrong and nothing was released"):
        rsa.sign(rsa_key, values)


def test_a_fault_in_the_check_itself_releases_nothing(rsa_key, monkeypatch):
    monkeypatch.setattr(rsa, "product", lambda values, n: mpz(len(list(values)) + int(values[0])))
    with pytest.raises(CryptoError, match="The check of private RSA powers came out wrong and nothing was released"):
        rsa.sign(rsa_key, [2, 3])


def test_faults_that_cancel_pass_the_signer_and_not_the_receiver(rsa_key, monkeypatch):
    inverse = pow(9, -1, int(rsa_key.p))
    with_faults(monkeypatch, {1: (9, 1), 3: (inverse, 1)})
    signatures = rsa.sign(rsa_key, range(2, 8))
    with pytest.raises(CryptoError, match="signature in row 1"):
        rsa.check_signatures(rsa_key.public, range(2, 8), signatures)


@pytest.fixture(scope="module")
def many(rsa_key) -> tuple[list[mpz], list[mpz]]:
    """Enough rows to be screened by subsets, and their signatures."""
    values = rsa.full_domain_hash(rsa_key.public, b"many", [str(i) for i in range(1100)])
    return values, rsa.sign(rsa_key, values)


def test_right_signatures_pass_the_subsets_without_a_check_of_rows(rsa_key, many, monkeypatch):
    monkeypatch.setattr(rsa, "_wrong_row", None)
    rsa.check_signatures(rsa_key.public, *many, subsets=stream("subsets"))


@pytest.mark.parametrize("rows", [1, 2, 1023, 1024, 1100])
def test_one_corrupted_signature_among_few_or_many_is_refused_with_its_row(rsa_key, many, rows):
    values, signatures = (column[:rows] for column in many)
    signatures[rows // 2] ^= 1 << 7
    with pytest.raises(CryptoError, match=f"row {rows // 2} does not belong"):
        rsa.check_signatures(rsa_key.public, values, signatures, stream("subsets"))


@pytest.mark.parametrize("order", ["large", "two"])
def test_answers_shifted_by_factors_that_cancel_are_refused(rsa_key, many, order):
    n, p, q = rsa_key.public.n, int(rsa_key.p), int(rsa_key.q)
    root_of_one = (p * pow(p, -1, q) - q * pow(q, -1, p)) % n  # -1 mod p, 1 mod q: only who knows p and q has it
    t = root_of_one if order == "two" else 12345
    values, signatures = list(many[0]), list(many[1])
    signatures[5] = signatures[5] * t % n
    signatures[900] = signatures[900] * pow(t, -1, n) % n
    assert rsa.product(signatures, mpz(n)) == rsa.product(many[1], mpz(n))
    with pytest.raises(CryptoError, match="row 5 does not belong"):
        rsa.check_signatures(rsa_key.public, values, signatures, stream("subsets"))


def test_answers_in_swapped_rows_are_refused(rsa_key, many):
    values, signatures = many
    with pytest.raises(CryptoError, match="row 0 does not belong"):
        rsa.check_signatures(rsa_key.public, values, signatures[1::-1] + signatures[2:], stream("subsets"))


def test_a_value_that_is_no_unit_hides_nothing_from_the_subsets(rsa_key, many):
    values = [*many[0], *[mpz(rsa_key.p)] * 40]  # in all 16 subsets
    signatures = [*many[1], *rsa.sign(rsa_key, values[-40:])]
    rsa.check_signatures(rsa_key.public, values, signatures, stream("subsets"))
    only_mod_p = (1 + rsa_key.q * int(pow(int(rsa_key.q), -1, int(rsa_key.p)))) % rsa_key.public.n  # 2 mod p, 1 mod q
    signatures[3] = signatures[3] * only_mod_p % rsa_key.public.n
    with pytest.raises(CryptoError, match="row 3 does not belong"):
        rsa.check_signatures(rsa_key.public, values, signatures, stream("subsets"))


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_subset_products_are_the_products_of_the_rows_whose_bit_is_set(data):
    n = mpz(data.draw(st.integers(2, 10**9)))
    values = data.draw(st.lists(st.integers(0, 10**9), max_size=20))
    rows_in = data.draw(st.binary(min_size=len(values), max_size=len(values)))
    expected = [
        math.prod(v for v, byte in zip(values, rows_in, strict=True) if byte >> bit & 1) % n for bit in range(7, -1, -1)
    ]
    assert [product % n for product in rsa._subset_products(n, values, rows_in)] == expected


def test_without_openssl_every_number_is_the_same(rsa_key, many, monkeypatch):
    def numbers() -> list[object]:
        values, signatures = many
        rsa.check_signatures(rsa_key.public, values, signatures, stream("subsets"))
        r = stream("r").units(rsa_key.public.n, 30)
        return [rsa.blind(rsa_key.public, values[:30], r), rsa.sign(rsa_key, values[:30]), rsa.prove(rsa_key, b"run")]

    expected = numbers()
    monkeypatch.setattr(constant_time, "fastest", constant_time.GmpPowers)
    assert numbers() == expected


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
    rsa.check_signatures(key.public, [7], [signature])
    assert rsa.to_array(key.public, [signature]).shape == (1, 384)
