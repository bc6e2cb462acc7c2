"""The public half of a Paillier key: its form, its checks, its text, its engine.

p = q = 3 mod 4 and gcd(p - 1, q - 1) = 2, so that -x^2 generates the numbers of Jacobi symbol 1 that the short
obfuscator needs (Damgard, Jurik, Nielsen 2010). Such keys are ordinary Paillier keys for every other library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import gmpy2

from fedspark.crypto.engine_choice import engine_for_modulus
from fedspark.crypto.moduli import check_key_bits, check_modulus, modulus_from_json
from fedspark.crypto.paillier_engine import Engine
from fedspark.errors import CryptoError


@dataclass(frozen=True)
class PublicKey:
    """The modulus n of a Paillier key; 2048, 3072 or 4096 bits, else CryptoError. From a peer: ``from_json``."""

    n: int = field(repr=False)

    def __post_init__(self) -> None:
        check_key_bits(self.bits)

    @property
    def bits(self) -> int:
        """Bits of n."""
        return int(self.n).bit_length()

    @property
    def width(self) -> int:
        """Bytes of one ciphertext."""
        return self.bits // 4

    def to_json(self) -> dict[str, str]:
        """The key as a flat JSON object with the modulus in hexadecimal."""
        return {"kind": "paillier", "bits": str(self.bits), "n": f"{self.n:x}"}

    @staticmethod
    def from_json(data: Mapping[str, object], bits: int) -> PublicKey:
        """The key in a received object, checked against the agreed ``bits`` (``check_public_key``). Raises
        CryptoError.
        """
        n = modulus_from_json(data, "paillier", bits)
        check_public_key(n, bits)
        return PublicKey(n)


def check_public_key(n: int, bits: int) -> None:
    """Refuse (CryptoError) a modulus of other than the agreed bits or that shows not to be of the stated form.

    Checked: 2048, 3072 or 4096 bits; odd, n = 1 mod 4, no prime factor below 2^16, neither prime nor a perfect power.
    That n has exactly two primes with p = q = 3 mod 4 is the key owner's word (semi-honest).
    """
    check_key_bits(bits)
    check_modulus(n, bits, "Paillier")
    if n % 4 != 1 or gmpy2.is_power(n) or gmpy2.is_prime(n):
        raise CryptoError(
            "The Paillier modulus is not a product of two different primes that are 3 mod 4.",
            remedy="The peer's key is defective; stop, and have it make a new one.",
        )


def engine_for(public: PublicKey) -> Engine:
    """The fastest engine for this key; one per process and key."""
    return engine_for_modulus(public.n)
