"""Digests of ids: where a row goes (bucket), how rows are ordered inside it, which split it belongs to, and tags of
group elements.

Ids are text, hashed as UTF-8. Every encoding of several fields is injective: fields before the last carry their length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from fedspark.errors import CryptoError

SALT_BYTES = 32
DIGEST_BYTES = 16
TAG_BYTES = 12

_SLICE = 1 << 16
_LONG = 1 << 10

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int32] | npt.NDArray[np.int64]


def bucket_digest(key: bytes, ids: Sequence[str]) -> Bytes:
    """`bucket_digest_utf8` of ids in a list, uint8[N, 16].

    Raises CryptoError for a key of another length, and for an id that is not text or not valid Unicode.
    """
    encoded = list(utf8(ids))
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
    return bucket_digest_utf8(key, np.frombuffer(b"".join(encoded), np.uint8), offsets)


def bucket_digest_utf8(key: bytes, data: Bytes, offsets: Offsets) -> Bytes:
    """AES-256-CMAC (RFC 4493, NIST SP 800-38B) of every id under the run's 32-byte salt, uint8[N, 16].

    Id r is ``data[offsets[r] : offsets[r + 1]]``, UTF-8: the buffers of an Arrow string column, whose offsets (int32 or
    int64, N + 1) need not begin at 0. A null is hashed like the empty id. Raises CryptoError for a key of another
    length and for offsets that descend or leave ``data``. Memory beside the result: 64 bytes for each of 65536 ids,
    and a copy of these ids.

    Why this is sound. CMAC is a pseudorandom function on messages of any length as long as AES is one on blocks
    (Iwata, Kurosawa, FSE 2003). The salt is drawn when both tables are committed to, so ids do not depend on it, and
    some two of all rows' ids collide with probability about rows^2 / 2^129 plus AES's advantage; nobody could choose
    ids that fall into one bucket. Who knows the salt can find ids of one digest: CMAC is no hash function. By then its
    table is frozen; whoever cheats here confuses or overfills its own rows' buckets, and the protocols that raise ids
    to group elements hash the ids themselves. With kept signatures the host draws the salt alone, and the guest knows
    it before its next table is frozen: harmless too, as an overfull bucket stops one's own run only, and tags hash the
    id again.
    """
    if len(key) != SALT_BYTES:
        raise CryptoError(
            f"A bucket key has {SALT_BYTES} bytes, this one has {len(key)}.", remedy="Pass the run's salt."
        )
    rows = len(offsets) - 1
    if rows < 0 or (offsets[1:] < offsets[:-1]).any() or offsets[0] < 0 or offsets[-1] > data.size:
        raise CryptoError(
            f"The offsets of {rows} ids descend, or lie outside their {data.size} bytes.",
            remedy="Pass N + 1 offsets of a string column with its own data.",
        )
    digests = np.empty((rows, DIGEST_BYTES), np.uint8)
    cmac = _Cmac(key)
    for first in range(0, rows, _SLICE):
        here = offsets[first : first + _SLICE + 1].astype(np.int64)
        digests[first : first + _SLICE] = cmac.of_slice(data[here[0] : here[-1]], here - here[0])
    return digests


class _Cmac:
    """AES-256-CMAC of many messages under one key, column by column: block i of all that have one, in one call."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        # Subkeys: zero block encrypted, then doubled in GF(2^128), once and twice (SP 800-38B, 6.1).
        subkeys, value = [], int.from_bytes(self._aes.update(bytes(DIGEST_BYTES)), "big")
        for _ in range(2):
            value = (value << 1 & (1 << 128) - 1) ^ (0x87 if value >> 127 else 0)
            subkeys.append(np.frombuffer(value.to_bytes(DIGEST_BYTES, "big"), np.uint8))
        # By the bytes of a last block, 0 to 16: which of them count, and what is added (padding 10..0 and a subkey).
        kept = np.tri(DIGEST_BYTES + 1, DIGEST_BYTES, -1, dtype=np.uint8) * np.uint8(255)
        added = np.eye(DIGEST_BYTES + 1, DIGEST_BYTES, dtype=np.uint8) * np.uint8(0x80)
        added ^= np.where(np.arange(DIGEST_BYTES + 1)[:, None] < DIGEST_BYTES, subkeys[1], subkeys[0])
        self._kept, self._added = kept.view(np.uint64), added.view(np.uint64)

    def of_slice(self, data: Bytes, offsets: npt.NDArray[np.int64]) -> Bytes:
        """The CMAC of every ``data[offsets[r] : offsets[r + 1]]``, uint8[N, 16]."""
        starts, lengths = offsets[:-1], np.diff(offsets)
        # 16 bytes from anywhere, also from the last byte on.
        padded = np.concatenate([data, np.zeros(DIGEST_BYTES, np.uint8)])
        blocks = np.ndarray((len(data) + 1,), f"V{DIGEST_BYTES}", padded, strides=(1,))
        longest = int(lengths.max())
        if longest <= DIGEST_BYTES:
            return self._last(blocks, starts, lengths, None)
        digests = np.empty((len(lengths), DIGEST_BYTES), np.uint8)
        if longest > _LONG:
            for row in np.flatnonzero(lengths > _LONG):
                one = CMAC(algorithms.AES(self._key))
                one.update(data[offsets[row] : offsets[row + 1]].tobytes())
                digests[row] = np.frombuffer(one.finalize(), np.uint8)
        rows = np.flatnonzero(lengths <= _LONG)
        starts, lengths, state = starts[rows], lengths[rows], np.zeros((len(rows), 2), np.uint64)
        while rows.size:
            more = lengths > DIGEST_BYTES
            ends = ~more
            digests[rows[ends]] = self._last(blocks, starts[ends], lengths[ends], state[ends])
            rows, starts, lengths = rows[more], starts[more], lengths[more] - DIGEST_BYTES
            state = self._encrypted(state[more] ^ _words(blocks[starts])).view(np.uint64)
            starts += DIGEST_BYTES
        return digests

    def _last(
        self,
        blocks: npt.NDArray[np.void],
        starts: npt.NDArray[np.int64],
        left: npt.NDArray[np.int64],
        state: Words | None,
    ) -> Bytes:
        """The CMACs of messages that have 0 to 16 bytes left."""
        block = _words(blocks[starts])
        block &= np.take(self._kept, left, axis=0)
        block ^= np.take(self._added, left, axis=0)
        if state is not None:
            block ^= state
        return self._encrypted(block)

    def _encrypted(self, blocks: Words) -> Bytes:
        buffer = np.empty(blocks.nbytes + DIGEST_BYTES, np.uint8)  # the library asks for room for one block more
        self._aes.update_into(blocks.reshape(-1).view(np.uint8).data, buffer.data)
        return buffer[: blocks.nbytes].reshape(-1, DIGEST_BYTES)


def _words(blocks: npt.NDArray[np.void]) -> Words:
    return blocks.view(np.uint64).reshape(-1, 2)


def bucket_of(digests: npt.NDArray[np.uint8], buckets: int) -> npt.NDArray[np.int32]:
    """The bucket of every digest, int32[N] in [0, buckets): floor(first 32 bits x buckets / 2^32).

    The map is monotone in the digest, so rows sorted by digest have their buckets in order, one after the other.
    """
    if digests.ndim != 2 or digests.dtype != np.uint8 or digests.shape[1] < 4:
        raise CryptoError(
            f"Digests are uint8[N, 16], got {digests.dtype}{list(digests.shape)}.", remedy="Use bucket_digest()."
        )
    if not 1 <= buckets < 2**31:
        raise CryptoError(f"The number of buckets is 1 to 2^31 - 1, got {buckets}.", remedy="Use the agreed number.")
    first = np.ascontiguousarray(digests[:, :4]).view(">u4").reshape(-1).astype(np.uint64)
    return ((first * np.uint64(buckets)) >> np.uint64(32)).astype(np.int32)


def digest_order(rows: Bytes) -> npt.NDArray[np.int64]:
    """The permutation that sorts digests or tags uint8[N, 1 to 16] as big-endian numbers, int64[N]; equal ones keep
    their order.

    Sorting words is three times as fast as sorting their places, so each word is the front of a digest with its place
    below; rows of equal fronts, one in many runs where digests are random, are then sorted in full.
    """
    if rows.ndim != 2 or rows.dtype != np.uint8 or not 1 <= rows.shape[1] <= DIGEST_BYTES:
        raise CryptoError(
            f"What is sorted is uint8[N, 1 to {DIGEST_BYTES}], got {rows.dtype}{list(rows.shape)}.",
            remedy="Use bucket_digest().",
        )
    fronts = leading_words(rows)
    places = np.uint64((1 << len(rows).bit_length()) - 1)
    words = (fronts & ~places) | np.arange(len(rows), dtype=np.uint64)
    words.sort()
    same = (words[1:] ^ words[:-1]) <= places
    order = (words & places).view(np.int64)
    if same.any():
        # Runs of equal fronts stay where they are: sorting all of them together sorts each of them.
        tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
        found = order[tied]
        rest = leading_words(rows[found, 8:])
        order[tied] = found[np.lexsort((rest, fronts[found]))]
    return order


def leading_words(rows: Bytes) -> Words:
    """The first eight bytes of every row as a big-endian number, uint64[N]; shorter rows are filled up with zeros."""
    if rows.shape[1] < 8:
        filled = np.zeros((len(rows), 8), np.uint8)
        filled[:, : rows.shape[1]] = rows
        rows = filled
    rows = np.ascontiguousarray(rows)
    return np.ndarray((len(rows),), ">u8", rows, strides=rows.strides[:1]).astype(np.uint64)


def split_fraction(ids: Sequence[str], salt: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for every id, float64[N]: the first 32 bits of SHA-256("salt|id") as a fraction.

    Every party computes the same number without talking, so "below 0.3" is one validation set for all.
    """
    fractions = [
        int.from_bytes(hashlib.sha256(salt.encode("utf-8") + b"|" + text).digest()[:4], "big") / 2**32
        for text in utf8(ids)
    ]
    return np.asarray(fractions, dtype=np.float64)


def tag96(context: bytes, ids: Sequence[str], group_elements: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """BLAKE2b-96 of (context, id, group element) row by row, shape uint8[N, 12]: the tags that two parties compare.

    The id is inside, so that one who can solve for a group element still cannot tie it to another id. Raises
    CryptoError if there are not as many elements as ids.
    """
    if len(ids) != len(group_elements):
        raise CryptoError(
            f"A tag needs one group element for each id, got {len(ids)} ids and {len(group_elements)} elements.",
            remedy="Pass both columns of the same rows.",
        )
    begun = hashlib.blake2b(digest_size=TAG_BYTES)
    begun.update(prefixed(context))
    tags = bytearray()
    for text, element in zip(utf8(ids), group_elements, strict=True):
        digest = begun.copy()
        digest.update(prefixed(text))
        digest.update(element)
        tags += digest.digest()
    return np.frombuffer(tags, dtype=np.uint8).reshape(-1, TAG_BYTES)


def prefixed(field: bytes) -> bytes:
    """The field after its length (8 bytes, big-endian), so that concatenated fields can be told apart."""
    return len(field).to_bytes(8, "big") + field


def utf8(ids: Sequence[str]) -> Iterator[bytes]:
    """The ids as UTF-8. Raises CryptoError that names the row, never the id, for one that is not encodable text."""
    for row, text in enumerate(ids):
        try:
            yield text.encode("utf-8")
        except (AttributeError, UnicodeEncodeError):
            raise CryptoError(
                f"The id in row {row} is not Unicode text (type {type(text).__name__}).",
                remedy="Normalise ids to text before they are hashed; nulls and lone surrogates are refused.",
            ) from None
