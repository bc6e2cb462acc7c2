"""The only source of chance in a protocol: streams derived from a party's secret seed.

A Spark task can run twice and must write the same bytes twice, so nothing here asks the operating system. ``derive``
turns a key and a label into another key (HKDF-SHA256, RFC 5869); ``Stream`` turns a key into uniform numbers (AES-256
in counter mode). A label is never used for two contents: callers put ``content_digest`` of what they are about to
mask or encrypt into it.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable

import gmpy2
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gmpy2 import mpz

from fedspark.crypto.residues import all_units
from fedspark.errors import CryptoError

KEY_BYTES = 32


def derive(key: bytes, *fields: str | int | bytes) -> bytes:
    """32 bytes that belong to ``key`` and the label ``fields``, and to no other label.

    The label is encoded injectively (type, length, bytes of every field), so ``derive(k, "a", "bc")``, ``derive(k,
    "ab", "c")`` and ``derive(k, 1)``, ``derive(k, "1")`` are unrelated. Raises CryptoError for a key under 32 bytes
    or a field of another type.
    """
    if len(key) < KEY_BYTES:
        raise CryptoError(
            f"A stream key is derived from at least {KEY_BYTES} bytes, this key has {len(key)}.",
            remedy="Pass the run's seed or a key made by derive().",
        )
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=_encode(fields)).derive(key)


def content_digest(parts: Iterable[bytes | int]) -> bytes:
    """SHA-256 (32 bytes) of a sequence of byte strings and integers, each with its type and length.

    Integers count as signed big-endian numbers of minimal length, so equal numbers give equal digests whatever type
    held them.
    """
    digest = Hash(SHA256())
    for part in parts:
        if isinstance(part, str):
            raise CryptoError(
                "content_digest takes bytes and integers, not text.", remedy="Encode the text as UTF-8 first."
            )
        digest.update(_field(part))
    return digest.finalize()


def _encode(fields: Iterable[str | int | bytes]) -> bytes:
    return b"".join(_field(field) for field in fields)


def _signed_bytes(number: int | mpz) -> bytes:
    return number.to_bytes((number if number >= 0 else ~number).bit_length() // 8 + 1, "big", signed=True)


def _field(field: str | int | bytes) -> bytes:
    if isinstance(field, mpz):  # residues by the thousand: first, and not by way of Python's integers
        kind, body = b"i", _signed_bytes(field)
    elif isinstance(field, str):
        kind, body = b"s", field.encode("utf-8")
    elif isinstance(field, bytes | bytearray | memoryview):
        kind, body = b"b", bytes(field)
    elif isinstance(field, bool) or not hasattr(field, "__index__"):
        raise CryptoError(
            f"A label holds text, integers and bytes, not {type(field).__name__}.",
            remedy="Convert it to one of the three.",
        )
    else:
        kind, body = b"i", _signed_bytes(int(field))
    return kind + len(body).to_bytes(8, "big") + body


class Stream:
    """Uniform random numbers from one 32-byte key: the AES-256-CTR key stream with a zero nonce.

    A key belongs to one stream, and equal keys asked the same questions in the same order give the same numbers. Not
    safe to share between threads, and deliberately not picklable: a task closure carries the key and opens its own
    stream.
    """

    def __init__(self, key: builtins.bytes) -> None:
        if len(key) != KEY_BYTES:
            raise CryptoError(
                f"A stream key has {KEY_BYTES} bytes, this one has {len(key)}.", remedy="Make the key with derive()."
            )
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(builtins.bytes(16))).encryptor()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("A Stream is not sent to another process: send its key and open the stream there.")

    def bytes(self, n: int) -> builtins.bytes:
        """The next ``n`` bytes of the key stream."""
        return self._cipher.update(builtins.bytes(n))

    def below(self, n: int) -> int:
        """One integer uniform in [0, n), by rejection. Raises CryptoError unless n >= 1."""
        return int(self._below(n, 1)[0])

    def below_many(self, n: int, count: int) -> list[int]:
        """``count`` integers independent and uniform in [0, n)."""
        return [int(value) for value in self._below(n, count)]

    def units(self, n: int, count: int) -> list[mpz]:
        """``count`` numbers independent and uniform in Z_n*: from 1 to n-1 with no factor in common with n."""
        if n < 2:
            raise CryptoError(f"Z_n* needs a modulus of at least 2, got {n}.", remedy="Pass the key's modulus.")
        modulus = mpz(n)
        found: list[mpz] = []
        while len(found) < count:
            drawn = self._below(n, count - len(found))
            if not all_units(drawn, modulus):
                drawn = [value for value in drawn if gmpy2.gcd(value, modulus) == 1]
            found += drawn
        return found

    def uint64(self, count: int) -> npt.NDArray[np.uint64]:
        """``count`` uniform 64-bit words, shape [count], the same on machines of either byte order."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8").astype(np.uint64)

    def _below(self, n: int, count: int) -> list[mpz]:
        if n < 1:
            raise CryptoError(f"There is no integer from 0 to below {n}.", remedy="Pass a bound of at least 1.")
        if n == 1:
            return [mpz(0)] * count
        bits = int(n - 1).bit_length()
        width, surplus = -(-bits // 8), -bits % 8
        found: list[mpz] = []
        while len(found) < count:
            raw = self.bytes(width * (count - len(found)))
            drawn = (mpz.from_bytes(raw[i : i + width], "little") >> surplus for i in range(0, len(raw), width))
            found += [value for value in drawn if value < n]
        return found
