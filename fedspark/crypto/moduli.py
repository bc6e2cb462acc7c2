"""Moduli of keys: which sizes are allowed, how one is written in a message, and what is checked when one arrives."""

from __future__ import annotations

import re
from collections.abc import Mapping

import gmpy2

from fedspark.errors import CryptoError

KEY_BITS = (2048, 3072, 4096)

_SMALL_PRIMES = gmpy2.primorial(2**16)  # one greatest common divisor finds every prime factor below 2^16


def check_key_bits(bits: int) -> None:
    """Refuse key sizes other than 2048, 3072 and 4096 bits (CryptoError)."""
    if bits not in KEY_BITS:
        raise CryptoError(
            f"A key of {bits} bits is refused; keys have 2048, 3072 or 4096 bits.",
            remedy="Set key_bits to one of these sizes.",
        )


def modulus_from_json(data: Mapping[str, object], kind: str, bits: int) -> int:
    """The field ``n`` of a public key object of this kind and exactly these bits, in canonical hexadecimal. Raises
    CryptoError.
    """
    check_key_bits(bits)
    text = data.get("n")
    if set(data) != {"kind", "bits", "n"} or data.get("kind") != kind or data.get("bits") != str(bits):
        raise CryptoError(
            f"This is not an {kind} public key of {bits} bits: kind {data.get('kind')!r}, bits "
            f"{data.get('bits')!r}, fields {sorted(map(str, data))}.",
            remedy="Both sides must run the same pipeline with the same key_bits.",
        )
    if not isinstance(text, str) or len(text) > bits // 4 or not re.fullmatch(r"[1-9a-f][0-9a-f]*", text):
        raise CryptoError(
            f"The modulus of the {kind} key is not a canonical hexadecimal number.",
            remedy="Ask the peer for its key again.",
        )
    return int(text, 16)


def check_modulus(n: int, bits: int, kind: str) -> None:
    """Checks on any received modulus: odd, exactly ``bits`` bits, no prime factor below 2^16. Raises CryptoError."""
    remedy = "The peer's key is defective; stop, and have it make a new one."
    if n < 0 or n.bit_length() != bits:
        raise CryptoError(f"The {kind} modulus has {n.bit_length()} bits where {bits} were agreed.", remedy=remedy)
    if n % 2 == 0:
        raise CryptoError(f"The {kind} modulus is even.", remedy=remedy)
    if gmpy2.gcd(n, _SMALL_PRIMES) != 1:
        raise CryptoError(f"The {kind} modulus has a prime factor below 2^16.", remedy=remedy)
