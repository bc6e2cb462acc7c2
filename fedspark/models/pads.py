"""Pads that cancel: parties hide their numbers from the receiver of a sum, who learns only the sum.

Every two contributors agree on a secret (X25519, public keys sent sealed under tag `pad_key`); for one message each of
them derives the same pad from it, one adds it and the other subtracts it. Bonawitz et al. 2017 without the recovery of
drop-outs: all contributors must deliver. The receiver must not collude with all contributors but one.

A pad's label does not depend on what it hides, so a caller stores the plain numbers in its workspace first and only
ever hides that stored copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedspark.crypto.randomness import Stream, derive
from fedspark.errors import CryptoError, Mismatch
from fedspark.party import Party
from fedspark.run import Run

WIDE_BITS = 256
WIDE_FRACTION = 128
_LARGEST = 2.0**100


@dataclass(frozen=True)
class Pads:
    """The pads of one contributor: (secret, sign) for every other contributor. Travels in task closures."""

    secrets: tuple[tuple[bytes, int], ...] = field(repr=False)

    def words(self, count: int, *label: str | int) -> npt.NDArray[np.uint64]:
        """``count`` numbers modulo 2^64 to add to a column; over all contributors they sum to zero."""
        total = np.zeros(count, dtype=np.uint64)
        for secret, sign in self.secrets:
            pad = Stream(derive(secret, *label)).uint64(count)
            total = total + pad if sign > 0 else total - pad
        return total

    def hide(self, values: Sequence[float], *label: str | int) -> list[int]:
        """Floats below 2^100 as hidden integers modulo 2^256 with 128 fractional bits; `reveal` opens their sum."""
        if not all(abs(value) < _LARGEST for value in values):
            raise CryptoError(
                f"A number to hide is not finite or reaches {_LARGEST:.0e}.",
                remedy="Raise l2, or rescale the features.",
            )
        hidden = [int(float(value) * 2.0**WIDE_FRACTION) for value in values]
        for secret, sign in self.secrets:
            pad = Stream(derive(secret, *label)).below_many(1 << WIDE_BITS, len(hidden))
            hidden = [value + sign * mask for value, mask in zip(hidden, pad, strict=True)]
        return [value % (1 << WIDE_BITS) for value in hidden]


def reveal(hidden: Sequence[Sequence[int]]) -> list[float]:
    """The sums over all contributors' lists made by `Pads.hide`."""
    half, sums = 1 << (WIDE_BITS - 1), [sum(column) % (1 << WIDE_BITS) for column in zip(*hidden, strict=True)]
    return [(value - (1 << WIDE_BITS) if value >= half else value) / (1 << WIDE_FRACTION) for value in sums]


def agree(run: Run, contributors: Sequence[Party]) -> Pads:
    """Agree on secrets with the other contributors, once per step. Mismatch for a public key of another form."""
    others = [party for party in contributors if party.name != run.me.name]
    own = {other.name: X25519PrivateKey.from_private_bytes(run.subkey("pad_key", other.name)) for other in others}
    for other in others:
        run.send("pad_key", other, {"public": own[other.name].public_key().public_bytes_raw().hex()})
    secrets = []
    for other in others:
        shared = _shared(own[other.name], run.receive("pad_key", other).json(), other)
        first, second = sorted((run.me.name, other.name))
        secrets.append((derive(shared, "pad", run.id, run.step_name, first, second), 1 if run.me.name == first else -1))
    return Pads(tuple(secrets))


def _shared(own: X25519PrivateKey, message: object, other: Party) -> bytes:
    try:
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(message["public"]))  # type: ignore[index]
        return own.exchange(public)
    except (KeyError, TypeError, ValueError):
        raise Mismatch(
            f"The key that {other.name} sent for hiding sums is not an X25519 public key.",
            remedy="Nothing of it was used. Ask the peer which fedspark version sent it.",
        ) from None
