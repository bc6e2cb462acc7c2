"""1-of-n oblivious transfer over RSA: Even, Goldreich and Lempel, "A Randomized Protocol for Signing Contracts"
(Communications of the ACM 28(6), 1985), with RSA as the trapdoor permutation.

The textbook protocol, for those who want to read or reuse it; nothing in this package is built on it. A transfer
costs the sender n private powers, against one multiplication and n additions on a curve (``transfer.py``).

    sender -> receiver   x_0 .. x_{n-1} uniform in Z_n          n residues     offer
    receiver -> sender   v = x_s + k^e, k uniform in Z_n*       1 residue      choose
    sender               k_i = (v - x_i)^d, so k_s = k          keys H(k_i)    respond
    receiver             k                                      key H(k)       receive

v is uniform whatever s is, since k -> k^e permutes Z_n (the ownership proof of ``rsa.py`` says so: verify it first).
For i other than s, (v - x_i)^d is a root that a semi-honest receiver would have to extract itself. The textbook adds
k_i to the message; here SHA-256 of k_i is the key (hash as random oracle), so that messages of any length are
masked by ``transfer.mask``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.hashing import prefixed
from fedspark.crypto.ot.transfer import KEY_BYTES, check_choices
from fedspark.crypto.randomness import Stream
from fedspark.crypto.rsa import EXPONENT, RsaKey, RsaPublic, from_array, sign, to_array
from fedspark.errors import CryptoError

_KEY_LABEL = b"fedspark ot rsa key v1"

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class RsaChoice:
    """What the receiver keeps between its two steps; it stays in this party."""

    context: bytes
    public: RsaPublic
    blinds: tuple[int, ...] = field(repr=False)
    choices: tuple[int, ...] = field(repr=False)


def offer(public: RsaPublic, count: int, n: int, stream: Stream) -> Bytes:
    """Sender: n random residues for each of ``count`` transfers, uint8[count, n, bits/8]."""
    check_choices((), n)
    return to_array(public, stream.units(public.n, count * n)).reshape(count, n, public.width)


def choose(
    public: RsaPublic, context: bytes, offered: Bytes, choices: Sequence[int], stream: Stream
) -> tuple[RsaChoice, Bytes]:
    """Receiver: its state and the message uint8[count, bits/8]. Raises CryptoError for an offer of another form or a
    choice outside [0, n).
    """
    residues = _residues(public, offered)
    n = offered.shape[1]
    check_choices(choices, n)
    if len(choices) != len(offered):
        raise CryptoError(f"{len(offered)} transfers were offered, not {len(choices)}.", remedy="Choose in each.")
    modulus = mpz(public.n)
    blinds = stream.units(public.n, len(choices))
    sent = [
        (residues[row * n + choice] + gmpy2.powmod(blind, EXPONENT, modulus)) % modulus
        for row, (choice, blind) in enumerate(zip(choices, blinds, strict=True))
    ]
    return RsaChoice(context, public, tuple(blinds), tuple(int(c) for c in choices)), to_array(public, sent)


def respond(key: RsaKey, context: bytes, offered: Bytes, received: Bytes) -> Bytes:
    """Sender: its keys uint8[count, n, 32]. Raises CryptoError for a message of another form."""
    public = key.public
    if received.shape != (len(offered), public.width):
        raise CryptoError(
            f"The choices of {len(offered)} transfers are uint8[{len(offered)}, {public.width}], got "
            f"{received.dtype}{list(received.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    modulus, n = mpz(public.n), offered.shape[1]
    chosen = from_array(public, received)
    shifted = [(chosen[i // n] - x) % modulus for i, x in enumerate(_residues(public, offered))]
    roots = sign(key, shifted)
    keys = b"".join(_key(public, context, i // n, i % n, root) for i, root in enumerate(roots))
    return np.frombuffer(keys, np.uint8).reshape(len(offered), n, KEY_BYTES)


def receive(choice: RsaChoice) -> Bytes:
    """Receiver: the chosen key of every transfer, uint8[count, 32]."""
    keys = b"".join(
        _key(choice.public, choice.context, row, chosen, mpz(blind))
        for row, (chosen, blind) in enumerate(zip(choice.choices, choice.blinds, strict=True))
    )
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)


def _residues(public: RsaPublic, offered: Bytes) -> list[mpz]:
    if offered.ndim != 3 or offered.shape[2] != public.width:
        raise CryptoError(
            f"An offer is uint8[count, n, {public.width}], got {offered.dtype}{list(offered.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    return from_array(public, offered.reshape(-1, public.width))


def _key(public: RsaPublic, context: bytes, row: int, i: int, root: mpz) -> bytes:
    place = row.to_bytes(8, "big") + i.to_bytes(4, "big")
    return hashlib.sha256(
        prefixed(_KEY_LABEL) + prefixed(context) + place + root.to_bytes(public.width, "big")
    ).digest()
