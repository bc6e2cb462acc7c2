"""Primes drawn from a stream, so that a key is a function of its seed and can be made again after a crash."""

from __future__ import annotations

from collections.abc import Callable

import gmpy2
from gmpy2 import mpz

from fedspark.crypto.randomness import Stream
from fedspark.errors import CryptoError

ROUNDS = 40
"""Rounds given to GMP's probable-prime test: Baillie-PSW and 16 Miller-Rabin rounds; errs with probability far below
2^-80.
"""

_SIEVE = gmpy2.primorial(2000)


def prime(stream: Stream, bits: int, accept: Callable[[mpz], bool] = lambda candidate: True) -> mpz:
    """A prime of exactly ``bits`` bits for which ``accept`` holds, the same one for the same stream.

    Candidates are independent (no walk to the next prime, which favours primes after long gaps) with their two
    highest bits set, so that the product of two such primes has exactly twice as many bits. ``accept`` is asked
    before the costly test and must be cheap. Raises CryptoError for sizes under 16 bits.
    """
    if bits < 16:
        raise CryptoError(f"A prime of {bits} bits is too small to be drawn.", remedy="Ask for at least 16 bits.")
    top = mpz(3) << (bits - 2)
    while True:
        candidate = mpz(stream.below(1 << (bits - 2))) | top | 1
        trial = bits < 32 or gmpy2.gcd(candidate, _SIEVE) == 1
        if trial and accept(candidate) and gmpy2.is_prime(candidate, ROUNDS):
            return candidate


def product_of_primes(
    stream: Stream, bits: int, accept: Callable[[mpz], bool], pair: Callable[[mpz, mpz], bool]
) -> tuple[mpz, mpz]:
    """Two primes p > q of ``bits / 2`` bits, each accepted, fit for each other (``pair``) and not close to each other.

    The gap is at least 2^(bits/2 - 100), as FIPS 186-5 asks, so that Fermat's factoring finds nothing.
    """
    half = bits // 2
    p = prime(stream, half, accept)
    q = prime(
        stream,
        half,
        lambda candidate: accept(candidate) and abs(p - candidate) >> (half - 100) > 0 and pair(p, candidate),
    )
    return (p, q) if p > q else (q, p)
