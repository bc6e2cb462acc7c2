"""Small-field VOLE: correlated pads u, v = w + Delta u, stretched from trees of seeds.

Roy, "SoftSpokenOT" (CRYPTO 2022, eprint 2022/192), the small-field protocol, semi-honest (no consistency check);
Ishai, Kilian, Nissim, Petrank (CRYPTO 2003) is the case f = 1. For each of L coordinates there are 2^f seeds. The
receiver knows all, r_x for x in F_2^f; the sender misses the one at its secret Delta. With the seeds' streams

    receiver   u = sum r_x                    v = sum x r_x
    sender                                    w = sum (x + Delta) r_x = v + Delta u

over F_{2^f}: f bit planes, added by XOR, and u a bit. Whoever lacks r_Delta sees u as uniform.

The stream of a seed is AES-128 of (counter, bucket, attempt): one key a seed, one input a block, so streams of
different buckets and attempts are independent. **A pad masks one table.** Whoever masks a second one with it (a task
that ran twice on other content) shows the difference of both: store the table create-only and mask the stored copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from fedspark.crypto.ot import transfer, trees
from fedspark.crypto.ot.codewords import BLOCK_BYTES, BucketLabel
from fedspark.crypto.ot.parameters import LARGEST_ATTEMPT, Parameters
from fedspark.crypto.randomness import Stream, content_digest, derive
from fedspark.errors import CryptoError

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

_ROWS_PER_BLOCK = 8 * BLOCK_BYTES


@dataclass(frozen=True)
class ReceiverKeys:
    """All seeds, uint8[L, 2^f, 16]. Secret; for one run and one peer."""

    seeds: Bytes = field(repr=False)


@dataclass(frozen=True)
class SenderKeys:
    """Delta, uint8[L] below 2^f, and all seeds but those at Delta, uint8[L, 2^f, 16]. Secret; for one run and peer."""

    delta: Bytes = field(repr=False)
    seeds: Bytes = field(repr=False)


@dataclass(frozen=True)
class Started:
    """What the sender keeps between its two steps of the set-up."""

    delta: Bytes = field(repr=False)
    choice: transfer.Choice


def start(parameters: Parameters, context: bytes, key: bytes) -> tuple[Started, bytes]:
    """Sender of the extension (receiver of the base transfers): its state, and 32 bytes for each of L f transfers.

    ``context`` is shared (run, pair, direction); ``key`` is 32 secret bytes for this run, pair and direction alone.
    """
    depth = parameters.field_bits
    drawn = np.frombuffer(Stream(derive(key, "ot delta")).bytes(parameters.width), np.uint8)
    delta = drawn & np.uint8((1 << depth) - 1)
    sides = trees.choices(delta, depth).reshape(-1).tolist()
    choice, message = transfer.choose(context, sides, 2, Stream(derive(key, "ot choices")))
    return Started(delta, choice), message.tobytes()


def answer(parameters: Parameters, context: bytes, message: bytes, key: bytes) -> tuple[ReceiverKeys, bytes]:
    """Receiver of the extension: its keys, and the answer (32 bytes and 32 (f - 1) a coordinate). Raises CryptoError
    for a message of another length or with rows that are no group elements.
    """
    count = parameters.width * parameters.field_bits
    received = _of_length(message, count * 32, "base transfers").reshape(count, 32)
    stream = Stream(derive(key, "ot answers", content_digest([message])))
    keys, public = transfer.respond(context, received, 2, stream)
    leaves, sums = trees.grow(keys.reshape(parameters.width, parameters.field_bits, 2, -1))
    return ReceiverKeys(leaves), public + sums.tobytes()


def finish(parameters: Parameters, started: Started, reply: bytes) -> SenderKeys:
    """Sender of the extension: its keys. Raises CryptoError for an answer of another length or form."""
    shape = (parameters.width, parameters.field_bits - 1, 2, trees.SEED_BYTES)
    _of_length(reply, 32 + int(np.prod(shape)), "answers to base transfers")
    keys = transfer.receive(started.choice, reply[:32]).reshape(parameters.width, parameters.field_bits, -1)
    sums = np.frombuffer(reply[32:], np.uint8).reshape(shape)
    return SenderKeys(started.delta, trees.puncture(keys, started.delta, sums))


class Streams:
    """The streams of all seeds that this party has, opened once per process (5 us a seed) and used for many buckets,
    by one thread.

    ``shift`` = Delta makes row y of a coordinate the stream of seed x = y + Delta, so that both parties fold rows the
    same way; row 0, which the sender misses, is zero.
    """

    def __init__(self, parameters: Parameters, seeds: Bytes, shift: Bytes | None = None) -> None:
        shape = (parameters.width, 1 << parameters.field_bits, trees.SEED_BYTES)
        if seeds.shape != shape or seeds.dtype != np.uint8:
            raise CryptoError(f"Seeds are uint8{list(shape)}, got {seeds.dtype}{list(seeds.shape)}.")
        self._parameters = parameters
        self._open = [
            [None if shift is not None and y == 0 else _opened(seeds[j, y ^ (0 if shift is None else int(shift[j]))])
             for y in range(shape[1])]
            for j in range(shape[0])
        ]  # fmt: skip

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("Streams are not sent to another process: send the keys and open them there.")

    def columns(self, label: BucketLabel, with_sum: bool) -> tuple[Words | None, Words]:
        """(u uint64[64 g, w] if asked for, v uint64[f 64 g, w]): the columns of L coordinates, padded with zero columns
        to whole words of a row (g = words); w words of 64 rows each, the table's rows rounded up to 128.
        """
        parameters = self._parameters
        depth, padded = parameters.field_bits, 64 * parameters.words
        blocks = -(-parameters.rows // _ROWS_PER_BLOCK)
        total = np.empty((padded, 2 * blocks), np.uint64) if with_sum else None
        planes = np.empty((depth, padded, 2 * blocks), np.uint64)
        planes[:, parameters.width :] = 0
        if total is not None:
            total[parameters.width :] = 0
        halves = [np.empty((1 << bits, 2 * blocks), np.uint64) for bits in range(depth)]
        for j, rows in enumerate(self._rows(label, blocks)):
            for plane, half in zip(planes, reversed(halves), strict=True):
                even, odd = rows[0::2], rows[1::2]
                if len(odd) == 2:  # a reduction copies first
                    np.bitwise_xor(odd[0], odd[1], out=plane[j])
                else:
                    np.bitwise_xor.reduce(odd, axis=0, out=plane[j])
                if len(half) > 1:
                    rows = np.bitwise_xor(even, odd, out=half)
                elif total is not None:
                    np.bitwise_xor(even[0], odd[0], out=total[j])
        return total, planes.reshape(depth * padded, 2 * blocks)

    def _rows(self, label: BucketLabel, blocks: int) -> Iterator[Words]:
        """For each coordinate its 2^f streams, uint64[2^f, 2 blocks], in one buffer that is used again."""
        counter = np.empty((blocks, 2), np.uint64)
        counter[:, 0] = np.arange(blocks, dtype=np.uint64)
        counter[:, 1] = np.uint64(label.bucket * LARGEST_ATTEMPT + label.attempt)
        inputs = counter.view(np.uint8).reshape(-1).data
        count, size = 1 << self._parameters.field_bits, counter.nbytes
        buffer = np.zeros(count * size + BLOCK_BYTES, np.uint8)  # the library asks for room for one block more
        room = buffer.data
        rows = buffer[: count * size].view(np.uint64).reshape(count, -1)
        for coordinate in self._open:
            for y, stream in enumerate(coordinate):
                if stream is not None:
                    stream.update_into(inputs, room[y * size : (y + 1) * size + BLOCK_BYTES])
            yield rows


def planes_of(parameters: Parameters, delta: Bytes) -> Words:
    """Delta as f rows of bits, uint64[f, words]: bit j of plane b is bit b of Delta_j."""
    bits = np.zeros((parameters.field_bits, 64 * parameters.words), np.uint8)
    bits[:, : parameters.width] = delta >> np.arange(parameters.field_bits, dtype=np.uint8)[:, None] & 1
    return np.packbits(bits, axis=1, bitorder="little").view(np.uint64)


def _opened(seed: Bytes) -> CipherContext:
    return Cipher(algorithms.AES(seed.tobytes()), modes.ECB()).encryptor()


def _of_length(message: bytes, length: int, what: str) -> Bytes:
    if len(message) != length:
        raise CryptoError(
            f"The message of {what} has {len(message)} bytes instead of {length}.",
            remedy="Nothing was used; ask the peer.",
        )
    return np.frombuffer(message, np.uint8)
