"""What the sender sends of its outputs, and how outputs are compared.

A tag is the first ``tag_bytes`` bytes of an output: 40 + log2 of all pairs that are compared in the run, so that a
false match has probability 2^-40 in the whole run (KKRT16, section on PSI). Tags are padded to the agreed capacity
and sorted by value, so that neither their number nor their order says anything about the sender's rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedspark.crypto.hashing import digest_order
from fedspark.crypto.ot.parameters import Parameters
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import CryptoError

_LARGEST_RUN = 8  # tags with equal first 8 bytes: chance gives two once in many runs

Bytes = npt.NDArray[np.uint8]


def seal(parameters: Parameters, outputs: Bytes, key: bytes) -> tuple[Bytes, npt.NDArray[np.int32]]:
    """Sender: the tags of a bucket, uint8[sender_capacity, tag_bytes], in ascending order, dummies among them; and for
    each place the row of ``outputs`` that it belongs to, int32[sender_capacity], -1 for a dummy. The rows stay here.

    ``key`` is 32 secret bytes for this bucket and attempt; dummies are a function of it and of the outputs. Raises
    CryptoError for outputs of another width or above the capacity.
    """
    _check(parameters, outputs, "outputs")
    missing = parameters.sender_capacity - len(outputs)
    if missing < 0:
        raise CryptoError(
            f"A bucket holds more ids than the agreed {parameters.sender_capacity}.",
            remedy="Start a run with more or larger buckets.",
        )
    stream = Stream(derive(key, "ot dummy tags", content_digest([outputs.tobytes()])))
    drawn = stream.bytes(missing * parameters.tag_bytes)
    dummies = np.frombuffer(drawn, np.uint8).reshape(missing, parameters.tag_bytes)
    every = np.concatenate([outputs, dummies])
    order = digest_order(every)
    return np.take(every, order, axis=0), np.where(order < len(outputs), order, -1).astype(np.int32)


def find(parameters: Parameters, outputs: Bytes, tags: Bytes) -> npt.NDArray[np.int32]:
    """The place of each of this party's outputs among the peer's tags, int32[N], -1 for one that is not there.

    Raises CryptoError unless the tags have the agreed width and count and ascend strictly.
    """
    _check(parameters, outputs, "outputs")
    _check(parameters, tags, "tags")
    if len(tags) != parameters.sender_capacity:
        raise CryptoError(
            f"A bucket has {parameters.sender_capacity} tags, got {len(tags)}.",
            remedy="Nothing was used; ask the peer.",
        )
    high, low = _numbers(tags)
    equal_high = high[:-1] == high[1:]
    if not ((high[:-1] < high[1:]) | (equal_high & (low[:-1] < low[1:]))).all():
        raise CryptoError("The tags of a bucket do not ascend.", remedy="Nothing was used; ask the peer.")
    repeats = _longest_run(equal_high)
    if repeats > _LARGEST_RUN:
        raise CryptoError("The tags of a bucket resemble each other.", remedy="Nothing was used; ask the peer.")
    mine, mine_low = _numbers(outputs)
    order = digest_order(outputs)  # neighbours in the tags are looked up together: they share cache lines
    mine, mine_low = mine[order], mine_low[order]
    found = np.full(len(outputs), -1, np.int32)
    at = np.searchsorted(high, mine)
    for step in range(1 + repeats):
        place = np.minimum(at + step, len(tags) - 1)
        hit = (high[place] == mine) & (low[place] == mine_low)
        found[order[hit]] = place[hit]
    return found


def _longest_run(equal: npt.NDArray[np.bool_]) -> int:
    """The most equal neighbours in a row: 0 unless 64-bit prefixes collide."""
    ends = np.flatnonzero(~equal)
    return int(np.diff(np.concatenate([[-1], ends, [len(equal)]])).max()) - 1


def _numbers(tags: Bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Tags as pairs of big-endian numbers (first 8 bytes, the rest), which order them by value."""
    padded = np.zeros((len(tags), 16), np.uint8)
    padded[:, : tags.shape[1]] = tags
    numbers = padded.view(">u8").astype(np.uint64)
    return np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1])


def _check(parameters: Parameters, rows: Bytes, what: str) -> None:
    if rows.ndim != 2 or rows.dtype != np.uint8 or rows.shape[1] != parameters.tag_bytes:
        raise CryptoError(
            f"{what.capitalize()} are uint8[N, {parameters.tag_bytes}], got {rows.dtype}{list(rows.shape)}.",
            remedy="Both parties must agree on the sizes of the run.",
        )
