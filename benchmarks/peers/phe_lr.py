"""One LR round the way of libraries that work ciphertext by ciphertext, on phe: an emulation, not a system.

Per row the host encrypts u/4, the guest adds its own part, and guest and host each multiply every feature into a
running sum (16-bit integers); the arbiter decrypts one number per feature. No masks, no messages, no re-randomising,
no loss: everything left out would only make it slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phe import EncodedNumber, EncryptedNumber, paillier

from benchmarks.inputs import matrix16, residuals
from benchmarks.peers.lr_rounds import measured
from benchmarks.worker import Work

_PRECISION = 2.0**-20


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one round on ``config['rows']`` rows with ``config['features']`` at each of guest and host."""
    rows, features = config["rows"], config["features"]
    public, private = paillier.generate_paillier_keypair(n_length=config["bits"])
    u, own, matrix = residuals(rows), residuals(rows), matrix16(rows, 2 * features)

    def encoded(number: float) -> EncodedNumber:
        return EncodedNumber.encode(public, number, precision=_PRECISION)

    def sums() -> list[EncryptedNumber]:
        encrypted = [public.encrypt(encoded(number)) for number in u]
        d = [cell + encoded(number) for cell, number in zip(encrypted, own, strict=True)]
        totals = [0] * (2 * features)
        for cell, entries in zip(d, matrix, strict=True):
            for feature, entry in enumerate(entries):
                totals[feature] = cell * entry + totals[feature]
        return totals

    def decrypt(encrypted: list[EncryptedNumber]) -> list[float]:
        return [private.decrypt(total) for total in encrypted]

    # Multiples of 2^-20 below 2^23: floats add them up exactly.
    expected = [
        sum((a + b) * entries[feature] for a, b, entries in zip(u, own, matrix, strict=True))
        for feature in range(2 * features)
    ]
    return lambda: measured(config, sums, decrypt, expected.__eq__)
