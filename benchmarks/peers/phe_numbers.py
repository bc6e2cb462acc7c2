"""phe (python-paillier): one Python object per ciphertext, the same key and the same precision as ours.

Residuals are floats with 20 fractional bits, so that all exponents are equal and nothing is re-encoded; matrix
entries are 16-bit integers, so a product is one power with a short exponent (phe inverts the base of negative ones).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phe import EncodedNumber, paillier

from benchmarks.inputs import matrix16, residuals
from benchmarks.worker import Work

_PRECISION = 2.0**-20


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one case on ``config['rows']`` rows, under the key with ``config['primes']`` in hexadecimal."""
    rows, (p, q) = config["rows"], (int(prime, 16) for prime in config["primes"])
    public = paillier.PaillierPublicKey(p * q)
    private = paillier.PaillierPrivateKey(public, p, q)
    numbers = residuals(rows)

    def encrypt() -> list[paillier.EncryptedNumber]:
        return [public.encrypt(EncodedNumber.encode(public, number, precision=_PRECISION)) for number in numbers]

    if case in ("encrypt", "encrypt-owner"):
        width = public.nsquare.bit_length() // 8
        return lambda: Work(rows, width * len(encrypt()))
    column = encrypt()
    if case in ("decrypt", "decrypt-packed"):
        assert [private.decrypt(cell) for cell in column[:8]] == numbers[:8]
        return lambda: Work(len([private.decrypt(cell) for cell in column]))
    if case == "add":
        return lambda: Work(len([cell + cell for cell in column]))
    if case == "matvec16":
        matrix = matrix16(rows, config["features"])

        def linear() -> Work:
            sums = [0] * config["features"]
            for cell, entries in zip(column, matrix, strict=True):
                for feature, entry in enumerate(entries):
                    sums[feature] = cell * entry + sums[feature]
            return Work(rows, per=len(sums))

        return linear
    raise ValueError(f"no case {case}")
