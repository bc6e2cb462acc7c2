"""Sealing is a function of content and place, and opens in that place only."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from fedspark.errors import Mismatch, Oversized, Tampered
from fedspark.exchange import seal as module
from fedspark.exchange.seal import FRAME_BYTES, SealKeys, direction_keys, message_keys, seal, sealed_size, unseal

KEYS = direction_keys(b"s" * 32, b"t" * 32, "guest", "host")
MIB4 = 4 * 2**20


@pytest.mark.parametrize("size", [0, 1, MIB4 - 1, MIB4, MIB4 + 1])
def test_what_is_sealed_opens_again_around_the_frame_limit(size):
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    sealed = seal(KEYS, "a", 3, content)
    assert len(sealed) == sealed_size(size)
    assert unseal(KEYS, "a", 3, sealed, size) == content


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200), name=st.text(max_size=20), position=st.integers(0, 2**40), frame=st.integers(1, 9)
)
def test_any_content_opens_again_for_any_number_of_frames(content, name, position, frame):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FRAME_BYTES", frame)
        sealed = seal(KEYS, name, position, content)
        assert len(sealed) == sealed_size(len(content))
        assert unseal(KEYS, name, position, sealed, len(content)) == content


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_bit_and_no_cut_is_accepted(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FRAME_BYTES", 8)
        sealed = seal(KEYS, "a", 0, b"some twenty-nine bytes to seal")
        bit = data.draw(st.integers(8, 8 * len(sealed) - 1))
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Tampered):
            unseal(KEYS, "a", 0, bytes(changed), 100)
        with pytest.raises(Tampered):
            unseal(KEYS, "a", 0, sealed[: data.draw(st.integers(0, len(sealed) - 1))], 100)


def test_frames_cannot_be_dropped_swapped_or_repeated(monkeypatch):
    monkeypatch.setattr(module, "FRAME_BYTES", 8)
    sealed = seal(KEYS, "a", 0, b"aaaaaaaabbbbbbbbcccccccc")
    head, (a, b, c) = sealed[:33], (sealed[33:57], sealed[57:81], sealed[81:])
    for frames in ((a, b), (b, c), (b, a, c), (a, a, b, c), (a, b, c, c), (a,), ()):
        with pytest.raises(Tampered):
            unseal(KEYS, "a", 0, head + b"".join(frames), 100)


def test_equal_content_gives_equal_bytes():
    assert seal(KEYS, "a", 0, b"x" * 100) == seal(KEYS, "a", 0, b"x" * 100)


def test_other_content_name_position_or_direction_gives_another_key():
    other = direction_keys(b"s" * 32, b"t" * 32, "host", "guest")
    sealed = [
        seal(KEYS, "a", 0, b"\0" * 32),
        seal(KEYS, "a", 0, b"\0" * 31 + b"\1"),
        seal(KEYS, "b", 0, b"\0" * 32),
        seal(KEYS, "a", 1, b"\0" * 32),
        seal(other, "a", 0, b"\0" * 32),
        seal(message_keys(KEYS, "m"), "a", 0, b"\0" * 32),
    ]
    # equal keys would show: the key stream of two all but equal contents would be equal in the first 31 bytes
    assert len({data[1:33] for data in sealed}) == len(sealed)
    assert len({data[33:48] for data in sealed}) == len(sealed)


def test_name_and_position_cannot_flow_into_each_other():
    ambiguous = [("a", 0, b"bc"), ("ab", 0, b"c"), ("a", 0, b"b\0c"), ("a\0", 0, b"bc")]
    assert len({seal(KEYS, *case)[:33] for case in ambiguous}) == len(ambiguous)


@pytest.mark.parametrize(
    ("name", "position", "keys"),
    [
        ("b", 0, KEYS),
        ("a", 1, KEYS),
        ("a", 0, direction_keys(b"s" * 32, b"t" * 32, "host", "guest")),
        ("a", 0, direction_keys(b"s" * 32, b"t" * 32, "guest", "arbiter")),
        ("a", 0, direction_keys(b"s" * 32, b"u" * 32, "guest", "host")),
        ("a", 0, direction_keys(b"x" * 32, b"t" * 32, "guest", "host")),
    ],
)
def test_a_seal_opens_only_in_its_place_for_its_receiver_in_its_run(name, position, keys):
    with pytest.raises(Tampered):
        unseal(keys, name, position, seal(KEYS, "a", 0, b"content"), 100)


def test_content_that_its_header_does_not_commit_to_is_refused():
    """A sender who knows the keys encrypts something under a tag of his choice."""
    header = bytes([1]) + b"x" * 32
    key = HKDF(algorithm=SHA256(), length=32, salt=b"", info=b"fedspark seal part" + header).derive(KEYS.enc)
    forged = header + AESGCM(key).encrypt(bytes(11) + b"\1", b"content", header + bytes(8) + b"a")
    with pytest.raises(Tampered, match="commits to"):
        unseal(KEYS, "a", 0, forged, 100)


def test_a_sealed_object_above_the_limit_is_refused_unopened():
    with pytest.raises(Oversized, match="may have 6 at most"):
        unseal(KEYS, "a", 0, seal(KEYS, "a", 0, b"content"), 6)


def test_a_later_version_is_named():
    with pytest.raises(Mismatch, match="format version 2"):
        unseal(KEYS, "a", 0, b"\2" + seal(KEYS, "a", 0, b"content")[1:], 100)


def test_keys_are_not_shown():
    assert repr(KEYS) == "SealKeys()"


def test_the_format_is_the_one_described_and_never_changes():
    """Known answer, computed here by hand and frozen: a change would break resumed runs and other versions."""

    def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
        return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)

    def field(text: bytes) -> bytes:
        return len(text).to_bytes(8, "big") + text

    direction = hkdf(b"s" * 32, b"t" * 32, b"fedspark seal direction" + field(b"guest") + field(b"host"), 64)
    both = hkdf(direction, b"", b"fedspark seal message" + field(b"psi/0000/y.0/guest.host"), 64)
    content, place = b"z" * (FRAME_BYTES + 1), (5).to_bytes(8, "big")
    tag = hmac.new(both[:32], field(b"name") + place + field(content), hashlib.sha256).digest()
    header = b"\1" + tag
    cipher = AESGCM(hkdf(both[32:], b"", b"fedspark seal part" + header, 32))
    frames = [(content[:FRAME_BYTES], bytes(12)), (content[FRAME_BYTES:], bytes(10) + b"\1\1")]
    expected = header + b"".join(cipher.encrypt(nonce, frame, header + place + b"name") for frame, nonce in frames)

    keys = message_keys(KEYS, "psi/0000/y.0/guest.host")
    assert keys == SealKeys(both[:32], both[32:])
    sealed = seal(keys, "name", 5, content)
    assert sealed == expected
    assert hashlib.sha256(sealed).hexdigest() == "800ae57413fff2d0c97303f4ba626b4bca1324bf534a391e29d1e4407c95f408"
