"""One LR round the way of libraries that work ciphertext by ciphertext, on phe: an emulation, not a system.

Per row the host encrypts u/4, the guest adds its own part, and guest and host each multiply every feature into a
running sum (16-bit integers); the arbiter decrypts one number per feature. No masks, no messages, no re-randomising,
no loss: everything left out would only make it slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from phe import EncodedNumber, paillier

from benchmarks.inputs import matrix16, residuals
from benchmarks.worker import Work

_PRECISION = 2.0**-20


def prepare(case: str, config: dict[str, Any]) -> Callable[[], Work]:
    """Work of one round on ``config['rows']`` rows with ``config['features']`` at each of guest and host."""
    rows, features = config["rows"], config["features"]
    public, private = paillier.generate_paillier_keypair(n_length=config["bits"])
    u, own, matrix = residuals(rows), residuals(rows), matrix16(rows, 2 * features)

    def encoded(number: float) -> EncodedNumber:
        return EncodedNumber.encode(public, number, precision=_PRECISION)

    def work() -> Work:
        encrypted = [public.encrypt(encoded(number)) for number in u]
        d = [cell + encoded(number) for cell, number in zip(encrypted, own, strict=True)]
        sums = [0] * (2 * features)
        for cell, entries in zip(d, matrix, strict=True):
            for feature, entry in enumerate(entries):
                sums[feature] = cell * entry + sums[feature]
        assert len([private.decrypt(total) for total in sums]) == 2 * features
        return Work(rows)

    return work
