"""Signed documents: one line that says format, kind, signer and signature, then canonical JSON.

    fedspark/1 manifest ed25519:<43 characters> <86 characters>
    {"attempt":0,...}

The signature (Ed25519) covers format, kind and every byte of the JSON, so it is checked before anything is parsed,
and a document of one kind never passes for another.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedspark.errors import ConfigError, Mismatch, Oversized, PeerError, Tampered
from fedspark.party import identity_text, parse_identity

VERSION = 1
_FORMAT = "fedspark/"


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8. ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def parse_json(data: bytes, name: str) -> Any:
    """Strict JSON: Tampered (naming object ``name``) for repeated keys, NaN, infinity, wrong encoding, deep nesting."""
    try:
        return json.loads(
            data.decode(), object_pairs_hook=_without_repeats, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise Tampered(f"The object {name} is not strict JSON: {error}.") from None


def sign(kind: str, body: Mapping[str, Any], identity: Ed25519PrivateKey) -> bytes:
    """The signed document; ``body`` gets the format version as ``version``."""
    content = canonical_json({**body, "version": VERSION})
    signature = identity.sign(_signed_bytes(kind, content))
    head = f"{_FORMAT}{VERSION} {kind} {identity_text(raw_public_key(identity))} {_text(signature)}\n"
    return head.encode() + content


def open_signed(
    data: bytes, kind: str, pinned: bytes, signer: str, name: str, limit: int, other_key: type[PeerError] = Tampered
) -> dict[str, Any]:
    """Body of a document that party ``signer``, whose public key is ``pinned``, signed; ``name`` is where it lay.

    Raises Oversized above ``limit`` bytes, Mismatch for another format version, ``other_key`` when it is validly
    signed by another key, Tampered for all else: unsigned, cut, changed, not canonical.
    """
    if len(data) > limit:
        raise Oversized(f"The object {name} has {len(data)} bytes; a {kind} may have {limit} at most.")
    head, _, content = data.partition(b"\n")
    key, signature = _parse_head(head, kind, name)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _signed_bytes(kind, content))
    except (InvalidSignature, ValueError):
        raise Tampered(
            f"The signature of {name} is wrong: its bytes are not the ones that were signed.",
            remedy=f"Ask {signer} whether this object was written by them; nothing of it was used.",
        ) from None
    if key != pinned:
        raise other_key(
            f"{name} is signed by {identity_text(key)}, but the key of {signer} pinned in our party file is "
            f"{identity_text(pinned)}.",
            remedy=f"Compare keys with {signer} on another channel; correct peers.{signer} in the party file only if "
            f"theirs changed.",
        )
    body = parse_json(content, name)
    if not isinstance(body, dict) or not _is_canonical(body, content):
        raise Tampered(f"The object {name} is signed, but not in canonical form.")
    version = body.get("version")
    if type(version) is not int or version != VERSION:
        raise _other_version(name, version)
    return body


def raw_public_key(identity: Ed25519PrivateKey) -> bytes:
    """The 32 bytes of the public key."""
    return identity.public_key().public_bytes_raw()


def _is_canonical(body: Any, content: bytes) -> bool:
    try:
        return canonical_json(body) == content
    except ValueError:  # lone surrogates have no UTF-8
        return False


def _signed_bytes(kind: str, content: bytes) -> bytes:
    return f"{_FORMAT}{VERSION} {kind}\n".encode() + content


def _parse_head(head: bytes, kind: str, name: str) -> tuple[bytes, bytes]:
    fields = head[:300].decode("ascii", "replace").split(" ")
    if fields[0].startswith(_FORMAT) and fields[0] != f"{_FORMAT}{VERSION}":
        raise _other_version(name, fields[0].removeprefix(_FORMAT)[:20])
    try:
        if len(fields) != 4 or fields[:2] != [f"{_FORMAT}{VERSION}", kind]:
            raise ValueError
        signature = base64.b64decode(fields[3] + "==", altchars=b"-_", validate=True)
        if _text(signature) != fields[3]:
            raise ValueError
        return parse_identity(fields[2]), signature
    except (ValueError, binascii.Error, ConfigError):
        raise Tampered(
            f"The object {name} is not a signed {kind}: its first line is not the one that fedspark writes."
        ) from None


def _other_version(name: str, version: object) -> Mismatch:
    return Mismatch(
        f"The object {name} has format version {version!r}; this installation understands version {VERSION}.",
        remedy="Install the same version of fedspark at all parties.",
    )


def _text(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).decode().rstrip("=")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value
