"""The group ristretto255 (RFC 9496): prime order, canonical 32-byte encodings, a map from hashes to elements.

Plain GMP arithmetic on the twisted Edwards curve: a run needs fewer than a thousand base transfers, 0.2 to 0.7 ms
each, so no native library is asked for. Scalars are ephemeral, and every scalar takes the same sequence of group
operations (signed radix 16, complete additions, digit zero included); GMP's own multiplications are not constant-time
to the last cycle, and table look-ups are not hidden from somebody on the same processor. Peers see times only as
objects that appear in a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import gmpy2
from gmpy2 import mpz

from fedspark.errors import CryptoError

ELEMENT_BYTES = 32
UNIFORM_BYTES = 64

P = mpz(2) ** 255 - 19
ORDER = mpz(2) ** 252 + 27742317777372353535851937790883648493
"""The number of group elements: scalars live modulo this prime."""

_D = mpz(-121665) * gmpy2.invert(mpz(121666), P) % P
_SQRT_M1 = gmpy2.powmod(mpz(2), (P - 1) // 4, P)
_ONE_MINUS_D_SQ = (1 - _D * _D) % P
_D_MINUS_ONE_SQ = (_D - 1) ** 2 % P
_DIGITS = 64  # signed radix-16 digits of a scalar below 2^253


class Element(NamedTuple):
    """One representative (X : Y : Z : T) of a group element; compare elements by ``encode``, never by coordinates."""

    x: mpz
    y: mpz
    z: mpz
    t: mpz


IDENTITY = Element(mpz(0), mpz(1), mpz(1), mpz(0))

_Cached = tuple[mpz, mpz, mpz, mpz]
"""(Y - X, Y + X, 2dT, 2Z): what an addition needs of its second operand."""


def decode(data: bytes) -> Element:
    """The element with this canonical encoding (RFC 9496, 4.3.1), else CryptoError."""
    s = mpz.from_bytes(data, "little")
    if len(data) == ELEMENT_BYTES and s < P and s % 2 == 0:
        ss = s * s % P
        u1, u2 = 1 - ss, 1 + ss
        u2_sq = u2 * u2 % P
        v = (-_D * u1 * u1 - u2_sq) % P
        square, inverse = _sqrt_ratio(mpz(1), v * u2_sq % P)
        den_x = inverse * u2 % P
        den_y = inverse * den_x * v % P
        x = _abs(2 * s * den_x % P)
        y = u1 * den_y % P
        t = x * y % P
        if square and t % 2 == 0 and y != 0:
            return Element(x, y, mpz(1), t)
    raise CryptoError(
        f"{len(data)} bytes are not the encoding of a ristretto255 element.", remedy="Nothing was used; ask the peer."
    )


def encode(element: Element) -> bytes:
    """The canonical 32 bytes of an element (RFC 9496, 4.3.2)."""
    x0, y0, z0, t0 = element
    u1 = (z0 + y0) * (z0 - y0) % P
    u2 = x0 * y0 % P
    _, inverse = _sqrt_ratio(mpz(1), u1 * u2 * u2 % P)
    den1, den2 = inverse * u1 % P, inverse * u2 % P
    z_inverse = den1 * den2 * t0 % P
    rotate = t0 * z_inverse % P % 2
    x, y, den = (y0 * _SQRT_M1 % P, x0 * _SQRT_M1 % P, den1 * _INVSQRT_A_MINUS_D % P) if rotate else (x0, y0, den2)
    if x * z_inverse % P % 2:
        y = -y
    encoded: bytes = _abs(den * (z0 - y) % P).to_bytes(ELEMENT_BYTES, "little")
    return encoded


def from_uniform(data: bytes) -> Element:
    """The element that 64 uniform bytes stand for (RFC 9496, 4.3.4): uniform, and nobody knows its logarithm."""
    if len(data) != UNIFORM_BYTES:
        raise CryptoError(f"A hash to the group has {UNIFORM_BYTES} bytes, this one has {len(data)}.")
    halves = (mpz.from_bytes(half, "little") % 2**255 for half in (data[:32], data[32:]))
    first, second = (_map(half % P) for half in halves)
    return add(first, second)


def add(left: Element, right: Element) -> Element:
    """left + right."""
    return _add(left, _cached(right))


def subtract(left: Element, right: Element) -> Element:
    """left - right."""
    x, y, z, t = right
    return _add(left, _cached(Element(-x, y, z, -t)))


def multiply(scalar: int, element: Element) -> Element:
    """scalar times element, for a scalar in [0, order)."""
    multiples = _multiples(element)
    total = IDENTITY
    for digit in reversed(_recode(scalar)):
        total = _double(_double(_double(_double(total))))
        total = _add(total, _pick(multiples, digit))
    return total


class FixedBase:
    """Multiples of one element from a table (8 multiples for each of 64 digits, built in about 3 ms)."""

    def __init__(self, element: Element) -> None:
        self._tables: list[list[_Cached]] = []
        for _ in range(_DIGITS):
            self._tables.append(_multiples(element))
            element = _double(_double(_double(_double(element))))

    def multiply(self, scalar: int) -> Element:
        """scalar times the element, for a scalar in [0, order)."""
        total = IDENTITY
        for table, digit in zip(self._tables, _recode(scalar), strict=True):
            total = _add(total, _pick(table, digit))
        return total


@cache
def generator() -> FixedBase:
    """The generator of RFC 9496, with its table."""
    y = 4 * gmpy2.invert(mpz(5), P) % P
    _, x = _sqrt_ratio((y * y - 1) % P, (_D * y * y + 1) % P)
    return FixedBase(Element(x, y, mpz(1), x * y % P))


def _recode(scalar: int) -> list[int]:
    """64 digits in [-8, 8], lowest first, whose sum with weights 16^i is the scalar."""
    if not 0 <= scalar < ORDER:
        raise CryptoError("A ristretto255 scalar lies outside 0 to the order of the group.", remedy="Reduce it.")
    digits, carry = [], 0
    for byte in int(scalar).to_bytes(_DIGITS // 2, "little"):
        for nibble in (byte & 15, byte >> 4):
            digit = nibble + carry
            carry = digit + 8 >> 4
            digits.append(digit - (carry << 4))
    return digits


def _multiples(element: Element) -> list[_Cached]:
    """0 to 8 times the element."""
    step = _cached(element)
    found, current = [_cached(IDENTITY)], IDENTITY
    for _ in range(8):
        current = _add(current, step)
        found.append(_cached(current))
    return found


def _pick(multiples: Sequence[_Cached], digit: int) -> _Cached:
    below, above, t2d, z2 = multiples[abs(digit)]
    return ((below, above, t2d, z2), (above, below, -t2d, z2))[digit < 0]


def _cached(element: Element) -> _Cached:
    x, y, z, t = element
    return y - x, y + x, _2D * t % P, 2 * z


def _add(left: Element, right: _Cached) -> Element:
    """Hisil, Wong, Carter, Dawson (ASIACRYPT 2008), 3.1: complete for a = -1, so no case is special."""
    x, y, z, t = left
    below, above, t2d, z2 = right
    a, b = (y - x) * below % P, (y + x) * above % P
    c, d = t * t2d % P, z * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return Element(e * f % P, g * h % P, f * g % P, e * h % P)


def _double(element: Element) -> Element:
    """The same paper, 3.3."""
    x, y, z, _ = element
    a, b = x * x % P, y * y % P
    h, g = a + b, a - b
    e, f = h - (x + y) ** 2, 2 * z * z + g
    e, f = e % P, f % P
    return Element(e * f % P, g * h % P, f * g % P, e * h % P)


def _map(t: mpz) -> Element:
    """Elligator 2 onto the Jacobi quartic (RFC 9496, MAP)."""
    r = _SQRT_M1 * t * t % P
    u = (r + 1) * _ONE_MINUS_D_SQ % P
    v = (-1 - r * _D) * (r + _D) % P
    square, s = _sqrt_ratio(u, v)
    c = mpz(-1)
    if not square:
        s = -_abs(s * t % P) % P
        c = r
    n = (c * (r - 1) * _D_MINUS_ONE_SQ - v) % P
    ss = s * s % P
    w0, w1, w2, w3 = 2 * s * v, n * _SQRT_AD_MINUS_ONE, 1 - ss, 1 + ss
    return Element(w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P)


def _sqrt_ratio(u: mpz, v: mpz) -> tuple[bool, mpz]:
    """(u/v is a square, the non-negative root of u/v or of i u/v), RFC 9496, 4.2 SQRT_RATIO_M1."""
    v3 = v * v * v % P
    r = u * v3 * gmpy2.powmod(u * v3 * v3 * v % P, (P - 5) // 8, P) % P
    check = v * r * r % P
    minus_u = -u % P
    if check in (minus_u, minus_u * _SQRT_M1 % P):
        r = r * _SQRT_M1 % P
    return check in (u % P, minus_u), _abs(r)


def _abs(value: mpz) -> mpz:
    """The one of value and -value that is even ("non-negative" in the RFC)."""
    return P - value if value % 2 else value


_2D = 2 * _D % P
# The RFC's constants: the odd root of ad - 1 = -d - 1, and 1 / sqrt(a - d).
_SQRT_AD_MINUS_ONE = P - _sqrt_ratio((-_D - 1) % P, mpz(1))[1]
_INVSQRT_A_MINUS_D = _sqrt_ratio(mpz(1), (-1 - _D) % P)[1]
