"""Whole runs of RSA and ECDH once more, by Python's integers and hashlib: every message per row, byte for byte.

What is random (keys, blinds, dummies) is overheard; everything else is computed here from the formulas, in the order
of digests that a plain CMAC gives. (For OT see ``test_ot`` and ``tests/crypto/ot/reference``.)
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from fedspark.crypto.curve import Scalar
from fedspark.crypto.rsa import RsaKey
from fedspark.psi import ecdh, rsa_blind, sizes
from tests.crypto.plain_curve import plain_multiply, plain_point
from tests.federation import Federation
from tests.psi.people import intersect, names, staged

GUEST, HOST = [*names(0, 15), "Zoë"], [*names(8, 30), "Zoë"]
COMMON = set(GUEST) & set(HOST)
TABLES = {"guest": staged(GUEST, label=True), "host": staged(HOST)}
BUCKETS, BUCKET_ROWS = 2, 16


@pytest.fixture(autouse=True)
def one_wave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "WAVE_PARTS", BUCKETS)


def prefixed(field: bytes) -> bytes:
    return len(field).to_bytes(8, "big") + field


def field(kind: str, body: bytes) -> bytes:
    """One field of a label or of a digested sequence: type, length, bytes."""
    return kind.encode() + prefixed(body)


def hkdf(key: bytes, *words: str) -> bytes:
    """32 bytes of RFC 5869 with SHA-256, no salt, and the words as label."""
    extracted = hmac.digest(bytes(32), key, "sha256")
    return hmac.digest(extracted, b"".join(field("s", word.encode()) for word in words) + b"\x01", "sha256")


def number_field(number: int) -> bytes:
    return field("i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def blake_tag(context: bytes, text: str, element: bytes) -> bytes:
    return hashlib.blake2b(prefixed(context) + prefixed(text.encode()) + element, digest_size=12).digest()


@dataclass(frozen=True)
class Seen:
    """One run as its parties saw it: messages by tag, and the ids of each party by bucket in digest order."""

    federation: Federation
    context: bytes
    ids: dict[str, list[list[str]]]

    def rows(self, tag: str, bucket: int) -> list[Any]:
        """The rows of a message that belong to one bucket."""
        sender = "guest" if tag in ("blinded", "matched") else "host"
        receiver = "host" if sender == "guest" else "guest"
        run = self.federation.run(receiver, "psi")
        data = run.receive(tag, run.roster[sender]).read(bucket)
        with pa.ipc.open_stream(data) as reader:
            return list(reader.read_all().column(0).to_pylist())

    def check_tags_and_matches(self, bucket: int, tags: dict[str, bytes]) -> None:
        """The host's tags among its dummies, ascending, and the guest's marks at those of common people."""
        sent = self.rows("tags", bucket)
        assert sent == sorted(sent)
        assert len(sent) > len(tags)
        assert set(tags.values()) < set(sent)
        marked = {tag for tag, mark in zip(sent, self.rows("matched", bucket), strict=True) if mark}
        assert marked == {tags[text] for text in self.ids["host"][bucket] if text in COMMON}


def seen(protocol: str) -> Seen:
    federation = Federation()
    results = intersect(federation, TABLES, BUCKET_ROWS, protocol)
    assert results["guest"].rows == len(COMMON)
    assert results["guest"].parts == BUCKETS
    guest, host = federation.run("guest", "psi"), federation.run("host", "psi")
    told = host.receive("nonce", host.roster["guest"]).json(), guest.receive("nonce", guest.roster["host"]).json()
    salt = hkdf(b"".join(bytes.fromhex(nonce["nonce"]) for nonce in told), "fedspark psi salt", guest.id, "psi")

    def digest(text: str) -> bytes:
        computed = CMAC(AES(salt))
        computed.update(text.encode())
        return computed.finalize()

    ids = {
        name: [
            sorted((text for text in table if digest(text)[0] * BUCKETS // 256 == bucket), key=digest)
            for bucket in range(BUCKETS)
        ]
        for name, table in (("guest", GUEST), ("host", HOST))
    }
    context = hashlib.sha256(field("b", guest.id.encode()) + field("b", b"psi")).digest()
    return Seen(federation, context, ids)


def overheard(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and result of every call of ``place.name`` from now on."""
    calls: list[tuple[tuple[Any, ...], Any]] = []
    original = getattr(place, name)

    def call(*arguments: Any) -> Any:
        calls.append((arguments, original(*arguments)))
        return calls[-1][1]

    monkeypatch.setattr(place, name, staticmethod(call) if isinstance(place, type) else call)
    return calls


def test_a_run_of_rsa_is_that_of_plain_integers(monkeypatch: pytest.MonkeyPatch):
    keys, blinds = overheard(monkeypatch, RsaKey, "generate"), overheard(monkeypatch, rsa_blind, "draw_blinds")
    run = seen("rsa")
    ((_, key),) = keys
    n, d = key.public.n, pow(65537, -1, (int(key.p) - 1) * (int(key.q) - 1))
    label = prefixed(b"fedspark rsa full-domain hash v1") + prefixed(run.context)

    def hashed(text: str) -> int:
        return int.from_bytes(hashlib.shake_256(label + text.encode()).digest(272), "big") % n

    drawn = {tuple(map(int, hashes)): list(map(int, r)) for (_, _, hashes), r in blinds}
    for bucket in range(BUCKETS):
        ids = run.ids["guest"][bucket]
        hashes = [hashed(text) for text in ids]
        blinded = [int.from_bytes(row, "big") for row in run.rows("blinded", bucket)]
        r = drawn[tuple(hashes)]
        assert blinded[: len(ids)] == [h * pow(x, 65537, n) % n for h, x in zip(hashes, r, strict=True)]
        assert len(set(blinded)) == len(blinded) > len(ids)
        assert run.rows("signed", bucket) == [pow(y, d, n).to_bytes(256, "big") for y in blinded]
        signatures = {text: pow(hashed(text), d, n).to_bytes(256, "big") for text in run.ids["host"][bucket]}
        run.check_tags_and_matches(
            bucket, {text: blake_tag(run.context, text, signature) for text, signature in signatures.items()}
        )


def test_a_run_of_ecdh_is_that_of_plain_integers(monkeypatch: pytest.MonkeyPatch):
    blinds = overheard(monkeypatch, ecdh, "draw_blind")
    run = seen("ecdh")
    b = Scalar.draw(run.federation.run("host", "psi").stream("ecdh scalar"))
    scalars = {hashes.tobytes(): a.clamped for (_, hashes), a in blinds}
    label = prefixed(b"fedspark curve25519 blake2b-512 elligator2 v1") + prefixed(run.context)

    def hashed(text: str) -> bytes:
        return hashlib.blake2b(label + text.encode()).digest()

    for bucket in range(BUCKETS):
        ids = run.ids["guest"][bucket]
        a = scalars[b"".join(hashed(text) for text in ids)]
        blinded = run.rows("blinded", bucket)
        assert blinded[: len(ids)] == [plain_multiply(a, plain_point(hashed(text))) for text in ids]
        assert len(set(blinded)) == len(blinded) > len(ids)
        assert run.rows("evaluated", bucket) == [plain_multiply(b.clamped, point) for point in blinded]
        context = hashlib.sha256(field("b", run.context) + number_field(bucket)).digest()
        run.check_tags_and_matches(
            bucket,
            {
                text: blake_tag(context, text, plain_multiply(b.clamped, plain_point(hashed(text))))
                for text in run.ids["host"][bucket]
            },
        )
