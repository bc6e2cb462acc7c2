"""The public functions of a bucket: three table cells, dense columns and a codeword for every digest.

All are AES-128 of the 16-byte digest under keys derived from (context, bucket, attempt), which both parties know. The
context is drawn after both inputs are fixed (PSI salts are), so what is needed of AES is a pseudorandom function on
inputs that do not depend on the key: "peeling fails", "two codewords are close", "the table decodes to something
close to a codeword at an id outside it" are efficient tests that a random function passes with the probabilities of
``parameters.py``. That is the argument of KKRT16 (section on pseudorandom codes) for publishing the key.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedspark.crypto.ot.parameters import LARGEST_ATTEMPT, LARGEST_BUCKET, Parameters
from fedspark.crypto.randomness import KEY_BYTES, derive
from fedspark.errors import CryptoError

DIGEST_BYTES = 16
BLOCK_BYTES = 16

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class BucketLabel:
    """Which bucket of which run: ``context`` (32 bytes that both parties share, one for each run, pair and direction,
    drawn after both inputs are fixed), the bucket's number and the agreed attempt.

    Raises CryptoError outside 0 <= bucket < 2^48, 0 <= attempt < 2^16.
    """

    context: bytes = field(repr=False)
    bucket: int
    attempt: int = 0

    def __post_init__(self) -> None:
        if len(self.context) != KEY_BYTES:
            raise CryptoError(f"A context has {KEY_BYTES} bytes, this one has {len(self.context)}.")
        if not (0 <= self.bucket < LARGEST_BUCKET and 0 <= self.attempt < LARGEST_ATTEMPT):
            raise CryptoError(f"Bucket {self.bucket}, attempt {self.attempt} lies outside 2^48 buckets, 2^16 attempts.")
        if sys.byteorder != "little":
            raise CryptoError("The OT extension runs on little-endian processors only.", remedy="Use ECDH or RSA.")

    def key(self, purpose: str, *fields: int) -> bytes:
        """32 public bytes for one purpose in this bucket."""
        return derive(self.context, "ot extension", purpose, self.bucket, self.attempt, *fields)


@dataclass(frozen=True)
class Cells:
    """Where digests lie in a table: ``positions`` int32[N, 3], one in each third, and ``selected`` uint64[N], whose low
    bits choose dense cells.
    """

    positions: npt.NDArray[np.int32]
    selected: Words


def cells(parameters: Parameters, label: BucketLabel, digests: Bytes) -> Cells:
    """The cells of every digest: 32 bits by multiply-shift for each third, 64 bits masked for the dense columns."""
    first = encrypt(label.key("cells"), digests)
    second = encrypt(label.key("dense"), digests)
    halves = first.view(np.uint32)[:, :3].astype(np.uint64)
    positions = (halves * np.uint64(parameters.third) >> np.uint64(32)).astype(np.int32)
    positions += np.arange(3, dtype=np.int32) * np.int32(parameters.third)
    return Cells(positions, second[:, 0] & np.uint64((1 << parameters.dense) - 1))


def codewords(parameters: Parameters, label: BucketLabel, digests: Bytes) -> Words:
    """The codeword of every digest, uint64[N, words]: bit j is bit j % 64 of word j // 64, zeros above ``width``."""
    words, width = parameters.words, parameters.width
    codes = np.empty((len(digests), words), np.uint64)
    for block in range(-(-words // 2)):
        encrypted = encrypt(label.key("code", block), digests)
        codes[:, 2 * block : 2 * block + 2] = encrypted[:, : words - 2 * block]
    if width % 64:
        codes[:, -1] &= np.uint64((1 << width % 64) - 1)
    return codes


def encrypt(key: bytes, blocks: Bytes) -> Words:
    """AES-128 under the first half of ``key`` of blocks uint8[N, 16], as uint64[N, 2]."""
    buffer = np.empty(blocks.size + BLOCK_BYTES, np.uint8)  # the library asks for room for one block more
    cipher = Cipher(algorithms.AES(key[:BLOCK_BYTES]), modes.ECB()).encryptor()
    cipher.update_into(np.ascontiguousarray(blocks).reshape(-1).data, buffer.data)
    return buffer[: blocks.size].view(np.uint64).reshape(-1, 2)


def check_digests(digests: Bytes, capacity: int) -> None:
    """Refuse (CryptoError) what is not uint8[N, 16] with N <= capacity, in strictly ascending order.

    One order for one content, and no digest twice: otherwise equal content would not give equal bytes.
    """
    if digests.ndim != 2 or digests.dtype != np.uint8 or digests.shape[1] != DIGEST_BYTES:
        raise CryptoError(
            f"Digests are uint8[N, {DIGEST_BYTES}], got {digests.dtype}{list(digests.shape)}.",
            remedy="Use bucket_digest().",
        )
    if len(digests) > capacity:
        raise CryptoError(
            f"A bucket holds more ids than the agreed {capacity}.", remedy="Start a run with more or larger buckets."
        )
    numbers = np.ascontiguousarray(digests).view(">u8").astype(np.uint64)
    high, low = numbers[:, 0], numbers[:, 1]
    ascending = (high[:-1] < high[1:]) | ((high[:-1] == high[1:]) & (low[:-1] < low[1:]))
    if not ascending.all():
        row = int(np.argmin(ascending))
        raise CryptoError(
            f"Digests of rows {row} and {row + 1} are equal or not in ascending order.",
            remedy="Drop duplicates and sort by digest.",
        )
