"""Diffie and Hellman's function on Curve25519 for whole columns: the keyed function under ECDH set intersection.

    points = hash_to_curve(ids, context)          uint8[N, 32]
    a = Scalar.draw_invertible(stream)
    masked = multiply(points, a)                  a H(id)
    multiply(multiply(masked, b), inverse_scalar(a)) == multiply(points, b)

A point is the u-coordinate of RFC 7748, 32 bytes, least significant first; ``multiply`` is its X25519.

**The map.** BLAKE2b-512 of (context, id), reduced modulo p (uniform up to 2^-256), then Elligator 2 (Bernstein,
Hamburg, Krasnova, Lange, CCS 2013; ``map_to_curve_elligator2_curve25519`` of RFC 9380, section 6.7.1, Z = 2). Every
result lies on the curve. A raw hash taken as u lies on the twist half of the time, multiplication keeps the twist,
and so a column of products would show how many ids are of which kind.
One map reaches half of all u, each from four hashes, so its results are not uniform on the curve (RFC 9380 calls this
an encoding). The proofs need less, in the random-oracle model: a point P on the curve is turned back into a uniform
hash with probability 1/2, otherwise another P is drawn. So a simulator chooses the points behind ids freely, with an
instance of DDH in them, and products a H(id) are indistinguishable from random points of the subgroup under DDH.

**Cofactor.** Scalars are clamped: multiples of 8 in [2^254, 2^255). A product therefore lies in the subgroup of
prime order q whatever point of the curve went in, a point of small order gives zero, which is refused, and a peer
cannot read scalar mod 8. Undoing a takes a clamped scalar again: a' = 8 (8 a)^-1 mod 8 q, the only multiple of 8 in
[0, 8q) with a a' = 1 mod q. For about half of all a it is at least 2^254, so a is drawn until it is. Such a are a
quarter of the residues modulo q; that DDH is hard for them is what every use of clamped keys assumes.

**Why not ristretto255.** It has no cofactor and a hash to the whole group, but every point costs a square root to
decode and another to encode, and full additions cost more than an x-only ladder: in libsodium 1.6 times the time of
X25519, and twice the formulas in a vector kernel. X25519 is in OpenSSL, which is installed anyway. What this protocol
asks of a group, the clamped ladder and the map above give.

**Limits.** Multiplication is constant-time in the scalar, in both engines; hashing and the map are not constant-time
in the ids, which only the own machine sees. A ``Scalar`` holds Python bytes: they cannot be wiped, may be copied by
the interpreter, and leave memory with the process. X25519 proves nothing about its scalar: a peer that multiplies by
something else goes unnoticed (semi-honest).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import gmpy2
import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.curve_engines import fastest
from fedspark.crypto.hashing import prefixed, utf8
from fedspark.crypto.randomness import Stream
from fedspark.errors import CryptoError

POINT_BYTES = 32
HASH_BYTES = 64
SCALAR_BYTES = 32

ORDER = 2**252 + 27742317777372353535851937790883648493
"""q, the prime order of the subgroup."""

Points = npt.NDArray[np.uint8]
"""uint8[N, 32]: u-coordinates, least significant byte first."""

Hashes = npt.NDArray[np.uint8]
"""uint8[N, 64]: what ``map_to_curve`` takes."""

_LABEL = b"fedspark curve25519 blake2b-512 elligator2 v1"


@dataclass(frozen=True)
class Scalar:
    """A clamped secret scalar: 32 bytes, least significant first, a multiple of 8 in [2^254, 2^255), else
    CryptoError.
    """

    clamped: bytes = field(repr=False)

    def __post_init__(self) -> None:
        raw = self.clamped
        if len(raw) != SCALAR_BYTES or raw[0] & 7 or raw[31] & 0xC0 != 0x40:
            raise CryptoError(
                "A scalar of Curve25519 is a multiple of 8 from 2^254 to below 2^255.", remedy="Use Scalar.draw()."
            )

    @staticmethod
    def draw(stream: Stream) -> Scalar:
        """Uniform among the 2^251 clamped scalars."""
        raw = bytearray(stream.bytes(SCALAR_BYTES))
        raw[0] &= 0xF8
        raw[31] = raw[31] & 0x7F | 0x40
        return Scalar(bytes(raw))

    @staticmethod
    def draw_invertible(stream: Stream) -> Scalar:
        """Uniform among the clamped scalars that ``inverse_scalar`` can undo: two draws on average."""
        while True:
            scalar = Scalar.draw(stream)
            if _inverse(scalar) is not None:
                return scalar


def inverse_scalar(scalar: Scalar) -> Scalar:
    """The clamped scalar that undoes ``scalar`` on the subgroup of prime order.

    By a constant-time power. Raises CryptoError where there is none: ``scalar`` must come from ``draw_invertible``.
    """
    inverse = _inverse(scalar)
    if inverse is None:
        raise CryptoError(
            "The inverse of this scalar has no clamped form.", remedy="Draw it with Scalar.draw_invertible()."
        )
    return inverse


def _inverse(scalar: Scalar) -> Scalar | None:
    number = mpz.from_bytes(scalar.clamped, "little")
    inverse = 8 * gmpy2.powmod_sec(8 * number % ORDER, ORDER - 2, ORDER)
    if not 2**254 <= inverse < 2**255:
        return None
    return Scalar(inverse.to_bytes(SCALAR_BYTES, "little"))


def hash_ids(ids: Sequence[str], context: bytes) -> Hashes:
    """BLAKE2b-512 of (context, id) for every id, uint8[N, 64]; ``context`` names the run and the purpose.

    Raises CryptoError for an id that is not Unicode text.
    """
    begun = hashlib.blake2b(prefixed(_LABEL) + prefixed(context))
    hashes = bytearray()
    for text in utf8(ids):
        digest = begun.copy()
        digest.update(text)
        hashes += digest.digest()
    return np.frombuffer(hashes, np.uint8).reshape(-1, HASH_BYTES)


def map_to_curve(hashes: Hashes) -> Points:
    """Elligator 2 of 64-byte hashes: points on the curve, canonical, cofactor not yet cleared (``multiply`` does)."""
    return fastest().map_hashes(_column(hashes, HASH_BYTES))


def hash_to_curve(ids: Sequence[str], context: bytes) -> Points:
    """``map_to_curve`` of ``hash_ids``."""
    return map_to_curve(hash_ids(ids, context))


def multiply(points: Points, scalar: Scalar) -> Points:
    """X25519(scalar, u) for every point, uint8[N, 32], canonical.

    Raises CryptoError with the first row whose product is zero: its point has small order, and the product would say
    nothing about the scalar or the id.
    """
    products = fastest().multiply(_column(points, POINT_BYTES), scalar.clamped)
    zero = ~products.any(axis=1)
    if zero.any():
        raise CryptoError(
            f"The point in row {int(zero.argmax())} has small order.", remedy="Nothing was used; ask the peer."
        )
    return products


def check_points(points: Points) -> None:
    """Refuse (CryptoError, with the first row) what no ``multiply`` gave: numbers not below p, zero, points of the
    twist.

    The other points of small order lie on the curve; ``multiply`` refuses them.
    """
    good = fastest().on_curve(_column(points, POINT_BYTES))
    if not good.all():
        raise CryptoError(
            f"The point in row {int(good.argmin())} is not on Curve25519, or not in canonical form.",
            remedy="Nothing was used; ask the peer.",
        )


def _column(values: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    if values.ndim != 2 or values.dtype != np.uint8 or values.shape[1] != width:
        raise CryptoError(
            f"A column is uint8[N, {width}], got {values.dtype}{list(values.shape)}.",
            remedy="Nothing was used; ask the peer.",
        )
    return np.ascontiguousarray(values)
