"""Digests of ids: where a row goes (bucket), how rows are ordered inside it, which split it belongs to, and tags of
group elements.

Ids are text, hashed as UTF-8. Every encoding of several fields is injective: fields before the last carry their length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fedspark.errors import CryptoError

SALT_BYTES = 32
DIGEST_BYTES = 16
TAG_BYTES = 12


def bucket_digest(key: bytes, ids: Sequence[str]) -> npt.NDArray[np.uint8]:
    """The first 128 bits of SHA-256(key | id) of every id, shape uint8[N, 16]; ``key`` is the run's 32-byte salt.

    The key has one length, so (key, id) is encoded injectively, and who does not know it cannot choose ids that fall
    into one bucket. SHA-256, because SQL engines have it: the JVM computes it in a quarter of the time that a row
    takes to a Python worker and back. Raises CryptoError for a key of another length, and for an id that is not text
    or not valid Unicode.
    """
    if len(key) != SALT_BYTES:
        raise CryptoError(
            f"A bucket key has {SALT_BYTES} bytes, this one has {len(key)}.", remedy="Pass the run's salt."
        )
    keyed = hashlib.sha256(key)
    digests = bytearray()
    for text in utf8(ids):
        digest = keyed.copy()
        digest.update(text)
        digests += digest.digest()[:DIGEST_BYTES]
    return np.frombuffer(digests, dtype=np.uint8).reshape(-1, DIGEST_BYTES)


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
