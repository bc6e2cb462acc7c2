"""Identity keys: a party's long-lived Ed25519 key, with which it signs hellos and manifests."""

from __future__ import annotations

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedspark.errors import ConfigError

_PREFIX = "ed25519-private:"


def new_identity() -> Ed25519PrivateKey:
    """A fresh key from the operating system: the one key that is not derived from a run's seed."""
    return Ed25519PrivateKey.generate()


def private_text(key: Ed25519PrivateKey) -> str:
    """The way a private identity key is written to its file: ``ed25519-private:`` and 43 base64url characters."""
    return _PREFIX + base64.urlsafe_b64encode(key.private_bytes_raw()).decode().rstrip("=")


def parse_private(text: bytes, reference: str) -> Ed25519PrivateKey:
    """The key of a key file's content; ConfigError names ``reference``, never the content."""
    try:
        decoded = text.decode("ascii").strip()
        if not decoded.startswith(_PREFIX):
            raise ValueError
        raw = base64.b64decode(decoded[len(_PREFIX) :] + "=", altchars=b"-_", validate=True)
        if len(raw) != 32:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ConfigError(
            f"What {reference} names is not a private identity key.",
            remedy="Name the .key file that 'fedspark keygen' made (not the .pub file).",
        ) from None
    return Ed25519PrivateKey.from_private_bytes(raw)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw 32-byte public key."""
    return key.public_key().public_bytes_raw()
