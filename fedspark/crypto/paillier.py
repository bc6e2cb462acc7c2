"""Paillier's additively homomorphic encryption on columns of integers.

Pascal Paillier, "Public-Key Cryptosystems Based on Composite Degree Residuosity Classes", EUROCRYPT 1999, with the
short nonces of Damgard, Jurik and Nielsen, "A generalization of Paillier's public-key system with applications to
electronic voting", International Journal of Information Security 9 (2010), and bucket multi-exponentiation
(Pippenger, "On the evaluation of powers and related problems", FOCS 1976) for X^T [[d]].

    c = (1 + m n) hs^r mod n^2,   hs = h^n mod n^2,   h = -x^2 mod n,   x = expand(hash(n)),   r uniform of |n|/2 bits

    key = PrivateKey.generate(stream)                      the arbiter column = encrypt(key.public, values, scale,
    stream)    anybody; key.encrypt(...) gives the owner the same bytes sooner sums = column.linear(matrix, bits=16,
    scale=12)        Derived: has no way to a peer ... sums.for_owner(stream).to_bytes()                      ... but
    this one key.decrypt(Ciphertexts.from_bytes(key.public, data, scale))
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import gmpy2
from gmpy2 import mpz

from fedspark.crypto.ciphertexts import Ciphertexts, Column, Derived, Plaintexts, encrypt
from fedspark.crypto.engine_choice import OwnersEngine, owner_engine
from fedspark.crypto.moduli import check_key_bits
from fedspark.crypto.paillier_engine import Engine, Gmpy2Engine
from fedspark.crypto.paillier_keys import PublicKey, check_public_key, engine_for
from fedspark.crypto.primes import ROUNDS, product_of_primes
from fedspark.crypto.randomness import Stream
from fedspark.crypto.residues import from_residues, residue_rows
from fedspark.errors import CryptoError

__all__ = [
    "Ciphertexts",
    "Column",
    "Derived",
    "Engine",
    "Gmpy2Engine",
    "PrivateKey",
    "PublicKey",
    "check_public_key",
    "encrypt",
    "engine_for",
]


@dataclass(frozen=True)
class PrivateKey:
    """The decryption key: primes p > q, both 3 mod 4, with gcd(p - 1, q - 1) = 2. The primes are left out of
    ``repr``.
    """

    p: mpz = field(repr=False)
    q: mpz = field(repr=False)

    @staticmethod
    def generate(stream: Stream, bits: int = 2048) -> PrivateKey:
        """The key that belongs to ``stream``: the same stream gives the same key. ``bits`` is 2048, 3072 or 4096,
        else CryptoError.
        """
        check_key_bits(bits)
        return PrivateKey(*product_of_primes(stream, bits, lambda r: r % 4 == 3, _fit))

    @staticmethod
    def from_primes(p: int, q: int) -> PrivateKey:
        """The key with these primes. Raises CryptoError unless they are primes of the stated form and of one allowed
        size.
        """
        high, low = mpz(max(p, q)), mpz(min(p, q))
        check_key_bits((high * low).bit_length())
        formed = high % 4 == low % 4 == 3 and high.bit_length() == low.bit_length() and _fit(high, low)
        if not (formed and gmpy2.is_prime(high, ROUNDS) and gmpy2.is_prime(low, ROUNDS)):
            raise CryptoError(
                "These numbers are not two primes of equal length with p = q = 3 mod 4 and gcd(p - 1, q - 1) = 2.",
                remedy="Make a key with PrivateKey.generate(); keys of other libraries are mostly of another form.",
            )
        return PrivateKey(high, low)

    def __repr__(self) -> str:
        return f"PrivateKey(bits={self.public.bits})"

    def __reduce__(self) -> tuple[object, ...]:
        return PrivateKey, (self.p, self.q)  # without what is cached

    @cached_property
    def public(self) -> PublicKey:
        """The key to give away."""
        return PublicKey(int(self.p * self.q))

    @property
    def _engine(self) -> OwnersEngine:
        return owner_engine(self.p, self.q)

    def encrypt(self, values: Plaintexts, scale: int, stream: Stream) -> Ciphertexts:
        """What ``encrypt(self.public, ...)`` returns, byte for byte, in less time: tables modulo p^2 and q^2."""
        return Ciphertexts(self.public, self._engine.encrypt(residue_rows(values, self.public.n), stream), scale)

    def decrypt(self, column: Ciphertexts | Derived) -> list[int]:
        """The plaintexts as signed integers in (-n/2, n/2), at ``column.scale``; by CRT with constant-time powers.

        m mod p = L_p(c^(p-1) mod p^2) / -q mod p with L_p(x) = (x - 1) / p, likewise for q. Raises CryptoError for a
        column under another key.
        """
        if column.public != self.public:
            raise CryptoError(
                "This column is encrypted under another key.", remedy="Check which party's key it was sent for."
            )
        p, q = self.p, self.q
        hp, hq, q_inverse = gmpy2.invert(-q, p), gmpy2.invert(-p, q), gmpy2.invert(q, p)
        residues = []
        for a, b in self._engine.half_powers(column._cells):
            modulo_p, modulo_q = (a - 1) // p * hp % p, (b - 1) // q * hq % q
            residues.append(modulo_q + q * ((modulo_p - modulo_q) * q_inverse % p))
        return from_residues(residues, self.public.n)


def _fit(p: mpz, q: mpz) -> bool:
    return bool(p != q and gmpy2.gcd(p - 1, q - 1) == 2)
