"""Sealing: equal content gives equal bytes, other content another key.

A part task may run twice, so sealing draws no random numbers; and no key-nonce pair may ever cover two contents. Both
follow from deriving the key from the content (a synthetic key, as the synthetic IV of SIV modes, Rogaway and
Shrimpton 2006):

    k_mac, k_enc = HKDF-SHA256(X25519 secret of this run, salt = transcript hash, info = sender | receiver)
                   and from these, for one message: HKDF(k_mac | k_enc, info = message address)
    t            = HMAC-SHA256(k_mac, object name | position | plaintext)
    key          = HKDF(k_enc, info = t)
    sealed       = version byte | t | AES-256-GCM frames of 4 MiB, each under nonce = (frame number, last flag)

Every frame authenticates version, t, object name and position; number and last flag in the nonce make order and end
of the frames authentic (as STREAM, Hoang, Reyhanitabar, Rogaway and Vizar 2015); t is recomputed after opening, which
also commits to the key. What an observer learns is the length, and whether two objects of one name are equal, of
which there is only one.
"""

from __future__ import annotations

import hmac
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedspark.errors import Mismatch, Oversized, Tampered

VERSION = 1
FRAME_BYTES = 4 * 2**20
_TAG_BYTES = 16
_HEADER_BYTES = 1 + 32


@dataclass(frozen=True)
class SealKeys:
    """A pair of 32-byte keys: ``mac`` for the synthetic tag, ``enc`` from which part keys are derived."""

    mac: bytes = field(repr=False)
    enc: bytes = field(repr=False)


def direction_keys(shared_secret: bytes, transcript: bytes, sender: str, receiver: str) -> SealKeys:
    """Keys for all messages of one run from ``sender`` to ``receiver`` (party names), equal on both sides."""
    return _derive_pair(shared_secret, transcript, b"fedspark seal direction", sender, receiver)


def message_keys(keys: SealKeys, address: str) -> SealKeys:
    """Keys for the one message of this address: what a task closure carries, which so can open or seal nothing else."""
    return _derive_pair(keys.mac + keys.enc, b"", b"fedspark seal message", address)


def sealed_size(plaintext_bytes: int) -> int:
    """Bytes of the sealed form of so many bytes of plaintext."""
    frames = max(1, -(-plaintext_bytes // FRAME_BYTES))
    return _HEADER_BYTES + plaintext_bytes + frames * _TAG_BYTES


def seal(keys: SealKeys, name: str, position: int, plaintext: bytes | memoryview) -> bytes:
    """Seal ``plaintext`` as the object ``name`` at ``position`` of its message; a function of its arguments alone."""
    header = bytes([VERSION]) + _synthetic_tag(keys, name, position, plaintext)
    cipher, bound = _cipher(keys, header), _bound(header, name, position)
    out = io.BytesIO()
    out.write(header)
    for nonce, frame in _frames(memoryview(plaintext), FRAME_BYTES):
        out.write(cipher.encrypt(nonce, frame, bound))
    return out.getvalue()


def unseal(keys: SealKeys, name: str, position: int, sealed: bytes, limit: int) -> bytes:
    """Open what ``seal`` made for this name and position.

    Raises Oversized when the content is larger than ``limit`` bytes, Mismatch for a later format version, Tampered
    when the bytes were changed, cut, reordered, or sealed for another receiver, run, name or position.
    """
    if len(sealed) > sealed_size(limit):
        raise Oversized(f"The object {name} has {len(sealed)} sealed bytes; its content may have {limit} at most.")
    if len(sealed) < sealed_size(0):
        raise Tampered(f"The object {name} has only {len(sealed)} bytes, fewer than an empty one: it was cut.")
    if sealed[0] != VERSION:
        raise Mismatch(
            f"The object {name} is sealed in format version {sealed[0]}; "
            f"this installation understands version {VERSION}.",
            remedy="Install the same version of fedspark at all parties.",
        )
    header = bytes(sealed[:_HEADER_BYTES])
    cipher, bound = _cipher(keys, header), _bound(header, name, position)
    out = io.BytesIO()
    for number, (nonce, frame) in enumerate(_frames(memoryview(sealed)[_HEADER_BYTES:], FRAME_BYTES + _TAG_BYTES)):
        try:
            out.write(cipher.decrypt(nonce, frame, bound))
        except InvalidTag:
            raise Tampered(
                f"Frame {number} of the object {name} does not open: "
                "its bytes were changed, or it was sealed for another receiver, run, message or position."
            ) from None
    plaintext = out.getvalue()
    if not hmac.compare_digest(header[1:], _synthetic_tag(keys, name, position, plaintext)):
        raise Tampered(f"The object {name} opens, but its content is not the one that its header commits to.")
    return plaintext


def _frames(data: memoryview, width: int) -> Iterator[tuple[bytes, memoryview]]:
    """(nonce, slice) for consecutive slices of ``width`` bytes; the last may be shorter, no data is one empty slice."""
    starts = range(0, max(len(data), 1), width)
    for number, start in enumerate(starts):
        last = number == len(starts) - 1
        yield number.to_bytes(11, "big") + bytes([last]), data[start : start + width]


def _cipher(keys: SealKeys, header: bytes) -> AESGCM:
    return AESGCM(_hkdf(keys.enc, b"", b"fedspark seal part" + header, 32))


def _bound(header: bytes, name: str, position: int) -> bytes:
    return header + position.to_bytes(8, "big") + name.encode()


def _synthetic_tag(keys: SealKeys, name: str, position: int, plaintext: bytes | memoryview) -> bytes:
    encoded = name.encode()
    tag = hmac.new(keys.mac, digestmod=sha256)
    tag.update(
        len(encoded).to_bytes(8, "big") + encoded + position.to_bytes(8, "big") + len(plaintext).to_bytes(8, "big")
    )
    tag.update(plaintext)
    return tag.digest()


def _derive_pair(secret: bytes, salt: bytes, purpose: bytes, *fields: str) -> SealKeys:
    encoded = [field.encode() for field in fields]
    info = purpose + b"".join(len(field).to_bytes(8, "big") + field for field in encoded)
    both = _hkdf(secret, salt, info, 64)
    return SealKeys(mac=both[:32], enc=both[32:])


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)
