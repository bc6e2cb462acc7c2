"""What is RSA's own: keys that are refused, numbers that are no blinded id or no signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from fedspark.crypto import rsa
from fedspark.crypto.randomness import Stream, derive
from fedspark.crypto.rsa import RsaKey, RsaPublic
from fedspark.errors import CryptoError, FedsparkError, Mismatch, PeerError, PolicyRefused
from fedspark.exchange.columns import pack_values
from fedspark.psi import rsa_blind
from fedspark.psi.agree import agree
from fedspark.run import Run
from tests.federation import Federation
from tests.psi.people import intersect, names, options, source, staged, tags_sent

GUEST, HOST = staged(names(0, 40), label=True), staged(names(20, 70))
TABLES = {"guest": GUEST, "host": HOST}


def error_of(federation: Federation) -> FedsparkError:
    with pytest.raises(FedsparkError) as caught:
        intersect(federation, TABLES, protocol="rsa")
    return caught.value


# ---- keys ------------------------------------------------------------------------------------------------------------


def honest_guest(run: Run) -> Any:
    return rsa_blind.guest(run, options(), source(GUEST))


def honest_host(run: Run) -> Any:
    return rsa_blind.host(run, options(), source(HOST))


def host_with(message: Callable[[Run], dict[str, Any]]) -> Callable[[Run], None]:
    """A host that sends this as its key."""

    def host(run: Run) -> None:
        agree(run, source(HOST), value_bytes=256, bucket_rows=65536)
        run.send("key", run.roster.guest, message(run))

    return host


def _key(run: Run) -> RsaKey:
    return RsaKey.generate(run.stream("rsa key"))


def _small_factor(run: Run) -> dict[str, Any]:
    n = 65521 * (2**2047 // 65521 + 2)
    n += 65521 * (n % 2 == 0)
    return {"key": RsaPublic(n, 2048).to_json(), "proof": "00" * 2048}


def _short(run: Run) -> dict[str, Any]:
    n = generate_private_key(65537, 1024).public_key().public_numbers().n
    return {"key": RsaPublic(n, 2048).to_json(), "proof": "00" * 2048}


def _longer_than_agreed(run: Run) -> dict[str, Any]:
    n = generate_private_key(65537, 3072).public_key().public_numbers().n
    return {"key": RsaPublic(n, 3072).to_json(), "proof": "00" * 3072}


def _even(run: Run) -> dict[str, Any]:
    return {"key": RsaPublic(2**2047, 2048).to_json(), "proof": "00" * 2048}


def _proof_of_another_run(run: Run) -> dict[str, Any]:
    key = _key(run)
    return {"key": key.public.to_json(), "proof": rsa.prove(key, b"another run").hex()}


def _short_proof(run: Run) -> dict[str, Any]:
    return {"key": _key(run).public.to_json(), "proof": "00" * 256}


def _without_proof(run: Run) -> dict[str, Any]:
    return {"key": _key(run).public.to_json()}


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (_small_factor, "prime factor below 2\\^16"),
        (_short, "1024 bits where 2048 were agreed"),
        (_longer_than_agreed, "not an rsa public key of 2048 bits"),
        (_even, "is even"),
        (_proof_of_another_run, "did not prove"),
        (_short_proof, "proof has 256 bytes"),
        (_without_proof, "malformed"),
        (lambda run: {"key": 7, "proof": ""}, "malformed|refused"),
    ],
)
def test_a_bad_key_is_refused_before_anything_is_blinded(message: Callable[[Run], dict[str, Any]], rule: str):
    federation = Federation()
    with pytest.raises(Mismatch, match=rule):
        federation.play("psi", {"guest": honest_guest, "host": host_with(message)})
    assert tags_sent(federation) == {"size", "nonce", "key"}


def test_a_key_below_our_own_limit_is_refused_before_anything_is_sent():
    federation = Federation(policy={"host": {"min_key_bits": 3072}})
    with pytest.raises(PolicyRefused, match="min_key_bits is 3072"):
        federation.play("psi", {"host": honest_host})
    assert federation.objects(federation.exchange) == {}


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [bytes(256), b"\xff" * 256], ids=["zero", "above the modulus"])
def test_a_blinded_value_out_of_range_is_refused_and_nothing_is_signed(monkeypatch: pytest.MonkeyPatch, value: bytes):
    original = rsa_blind.blind_bucket

    def blind_bucket(*arguments: Any) -> Any:
        values = original(*arguments).copy()
        values[3] = np.frombuffer(value, np.uint8)
        return values

    monkeypatch.setattr(rsa_blind, "blind_bucket", blind_bucket)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, PeerError)
    assert "'blinded' of guest is refused" in error.message
    assert "row 3 is not in 1..n-1" in error.message
    assert "signed" not in tags_sent(federation)


def test_a_value_that_shares_a_factor_with_the_modulus_is_refused(monkeypatch: pytest.MonkeyPatch):
    def sign_part(signing: Any, outgoing: Any, part: int) -> Any:
        values = [signing.key.p] * signing.pair.plan.values_per_part("guest")
        return outgoing.write(part, pack_values("signed", rsa.to_array(signing.pair.public, values))), None

    monkeypatch.setattr(rsa_blind, "sign_part", sign_part)
    error = error_of(Federation())
    assert isinstance(error, PeerError)
    assert "'signed' of host is refused: The residue in row 0" in error.message


def test_signatures_of_something_else_are_refused(monkeypatch: pytest.MonkeyPatch):
    original = rsa_blind.sign_part

    def sign_part(signing: Any, outgoing: Any, part: int) -> Any:
        class Swapped:
            def write(self, part: int, data: bytes) -> Any:
                size, width = signing.pair.plan.values_per_part("guest"), signing.pair.public.width
                values = rsa_blind.unpack_values(data, "signed", size, width)
                return outgoing.write(part, pack_values("signed", values[::-1]))

        return original(signing, Swapped(), part)

    monkeypatch.setattr(rsa_blind, "sign_part", sign_part)
    error = error_of(Federation())
    assert isinstance(error, PeerError)
    assert "does not belong to what was sent" in error.message


def test_a_faulty_private_power_is_never_released(monkeypatch: pytest.MonkeyPatch):
    original = rsa.power_pairs

    def power_pairs(values: Any, *halves: Any) -> Any:
        pairs = list(original(values, *halves))
        if len(values) == GUEST.num_rows:  # the guest's blinded ids
            pairs[7] = (pairs[7][0] + 1, pairs[7][1])
        return pairs

    monkeypatch.setattr(rsa, "power_pairs", power_pairs)
    federation = Federation()
    error = error_of(federation)
    assert isinstance(error, CryptoError)
    assert "nothing was released" in error.message
    assert "signed" not in tags_sent(federation)


def test_a_bucket_with_answers_that_are_shifted_against_each_other_is_not_unblinded():
    key = RsaKey.generate(Stream(derive(bytes(32), "shifted")))
    public, secret = key.public, bytes(32)
    hashes = rsa.full_domain_hash(public, b"run", [f"id {i}" for i in range(1100)])
    blinded = rsa.from_array(public, rsa_blind.blind_bucket(public, secret, hashes, 1105))
    signed = rsa.sign(key, blinded)
    assert (
        rsa_blind.unblind_bucket(public, secret, hashes, signed) == rsa.to_array(public, rsa.sign(key, hashes))
    ).all()
    signed[1] = signed[1] * 3 % public.n
    signed[1090] = signed[1090] * pow(3, -1, public.n) % public.n
    with pytest.raises(CryptoError, match="row 1 does not belong"):
        rsa_blind.unblind_bucket(public, secret, hashes, signed)
