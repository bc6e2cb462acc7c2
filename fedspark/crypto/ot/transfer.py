"""1-of-n oblivious transfer over ristretto255, and the masking of messages under transferred keys.

Naor and Pinkas, "Efficient Oblivious Transfer Protocols" (SODA 2001), the 1-of-n protocol under a Diffie-Hellman
assumption with a random oracle; for n = 2 it is Bellare and Micali (CRYPTO 1989) as that paper improves it. Two
messages for a whole batch:

    receiver -> sender   PK_0 of every transfer                 32 bytes each      choose
    sender -> receiver   A = rG, and what is masked             32 bytes in all    respond, mask
                         receiver: its key of every transfer                       receive, unmask

C_1 .. C_{n-1} are hashes of the context to the group, so nobody knows their logarithms; the keys of a transfer are
PK_0 and PK_i = C_i - PK_0. Who chose s sends PK_0 = kG (s = 0) or C_s - kG: uniform in the group whatever s is, so
the receiver is hidden perfectly. The sender's n keys are hashes of rPK_i; the receiver knows kA = rPK_s, and any
other one would give it rC_i or r(C_i - C_j): computational Diffie-Hellman, hash as random oracle, with one r for the
batch since every hash takes the transfer's number. Chou and Orlandi's "simplest" transfer is as fast but takes a
message more, and its later analyses found its keys malleable between instances; Masny and Rindal (CCS 2019) is
secure against malicious parties for twice the bytes and a hash to the group per transfer. Everything above these
transfers is semi-honest, so they are too.

Keys are 32 bytes; ``mask`` encrypts messages of any one length under them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedspark.crypto.hashing import prefixed
from fedspark.crypto.ot import ristretto
from fedspark.crypto.ot.ristretto import Element, FixedBase, FixedScalar
from fedspark.crypto.randomness import Stream
from fedspark.errors import CryptoError

KEY_BYTES = 32
LARGEST_N = 1024

_POINT_LABEL = b"fedspark ot ristretto255 point v1"
_KEY_LABEL = b"fedspark ot ristretto255 key v1"
_MASK_LABEL = b"fedspark ot mask v1"

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Choice:
    """What the receiver keeps between its two steps; it stays in this party."""

    context: bytes
    sent: tuple[bytes, ...]
    scalars: tuple[int, ...] = field(repr=False)
    choices: tuple[int, ...] = field(repr=False)


def choose(context: bytes, choices: Sequence[int], n: int, stream: Stream) -> tuple[Choice, Bytes]:
    """Receiver: its state and the message uint8[M, 32] for M transfers with choices in [0, n).

    ``context`` names run, pair and purpose, and is the same on both sides; the stream is used for nothing else.
    Raises CryptoError for a choice outside [0, n).
    """
    check_choices(choices, n)
    points = _points(context, n)
    base = ristretto.generator()
    scalars = tuple(stream.below_many(int(ristretto.ORDER), len(choices)))
    sent = []
    for choice, scalar in zip(choices, scalars, strict=True):
        mine = base.multiply(scalar)
        # Both forms are computed, and the choice is an index: no branch on it, no shorter sum for one of them.
        forms = ristretto.subtract(points[max(choice, 1)], mine), mine
        sent.append(ristretto.encode(forms[choice == 0]))
    return Choice(context, tuple(sent), scalars, tuple(int(c) for c in choices)), _array(sent, ristretto.ELEMENT_BYTES)


def respond(context: bytes, received: Bytes, n: int, stream: Stream) -> tuple[Bytes, bytes]:
    """Sender: its keys uint8[M, n, 32], and the message (32 bytes) that lets the receiver compute the chosen ones.

    Raises CryptoError for a message of another form, and for rows that are no group elements or the identity.
    """
    if received.ndim != 2 or received.dtype != np.uint8 or received.shape[1] != ristretto.ELEMENT_BYTES:
        raise CryptoError(
            f"Choices of transfers are uint8[M, {ristretto.ELEMENT_BYTES}], got {received.dtype}"
            f"{list(received.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    points = _points(context, n)
    secret = stream.below(int(ristretto.ORDER) - 1) + 1
    public = ristretto.encode(ristretto.generator().multiply(secret))
    times_secret = FixedScalar(secret)
    shifted = [times_secret.multiply(point) for point in points[1:]]
    keys = bytearray()
    for number, row in enumerate(received):
        sent = row.tobytes()
        zeroth = times_secret.multiply(_element(sent, number))
        for i in range(n):
            shared = zeroth if i == 0 else ristretto.subtract(shifted[i - 1], zeroth)
            keys += _key(context, number, i, public, sent, shared)
    return np.frombuffer(bytes(keys), np.uint8).reshape(len(received), n, KEY_BYTES), public


def receive(choice: Choice, public: bytes) -> Bytes:
    """Receiver: the chosen key of every transfer, uint8[M, 32]. Raises CryptoError if the sender's 32 bytes are no
    group element.
    """
    shared = FixedBase(_element(public, None))
    keys = [
        _key(choice.context, number, chosen, public, sent, shared.multiply(scalar))
        for number, (chosen, scalar, sent) in enumerate(zip(choice.choices, choice.scalars, choice.sent, strict=True))
    ]
    return _array(keys, KEY_BYTES)


def mask(keys: Bytes, messages: Bytes) -> Bytes:
    """Messages uint8[..., B] under keys uint8[..., 32], one message a key: XOR with SHAKE-256 of the key.

    The same function takes the mask off. Only for keys of ``respond``, ``receive`` and their RSA counterparts, each
    used for one message. Raises CryptoError for other shapes.
    """
    if keys.shape[:-1] != messages.shape[:-1] or keys.shape[-1:] != (KEY_BYTES,) or messages.dtype != np.uint8:
        raise CryptoError(
            f"Messages {messages.dtype}{list(messages.shape)} do not go with keys {list(keys.shape)}.",
            remedy="Pass one message of bytes for every key.",
        )
    width = messages.shape[-1]
    pads = b"".join(hashlib.shake_256(_MASK_LABEL + row.tobytes()).digest(width) for row in keys.reshape(-1, KEY_BYTES))
    return messages ^ np.frombuffer(pads, np.uint8).reshape(messages.shape)


def check_choices(choices: Sequence[int], n: int) -> None:
    """Refuse (CryptoError) n outside 2 to 1024 and choices outside [0, n), without naming a choice."""
    if not 2 <= n <= LARGEST_N:
        raise CryptoError(f"A transfer offers 2 to {LARGEST_N} messages, not {n}.", remedy="Split the table.")
    if any(not 0 <= choice < n for choice in choices):
        raise CryptoError(f"A choice among {n} messages is 0 to {n - 1}.", remedy="Check the choices.")


def _points(context: bytes, n: int) -> list[Element]:
    """The identity, then C_1 .. C_{n-1}."""
    check_choices((), n)
    label = prefixed(_POINT_LABEL) + prefixed(context)
    hashes = (hashlib.sha512(label + i.to_bytes(4, "big")).digest() for i in range(1, n))
    return [ristretto.IDENTITY, *map(ristretto.from_uniform, hashes)]


def _key(context: bytes, number: int, i: int, public: bytes, sent: bytes, shared: Element) -> bytes:
    place = number.to_bytes(8, "big") + i.to_bytes(4, "big")
    transcript = prefixed(_KEY_LABEL) + prefixed(context) + place + public + sent
    return hashlib.sha256(transcript + ristretto.encode(shared)).digest()


def _element(data: bytes, number: int | None) -> Element:
    element = ristretto.decode(data)
    if not any(data):
        where = "the sender's answer" if number is None else f"transfer {number}"
        raise CryptoError(f"The group element of {where} is the identity.", remedy="Nothing was used; ask the peer.")
    return element


def _array(rows: Sequence[bytes], width: int) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)
