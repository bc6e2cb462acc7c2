"""The group ristretto255 (RFC 9496): prime order, canonical 32-byte encodings, a map from hashes to elements.

GMP arithmetic on the twisted Edwards curve, and the X25519 of ``cryptography`` where one scalar meets many elements
(``FixedScalar``): a run needs fewer than a thousand base transfers, 0.1 to 0.2 ms each. Scalars are ephemeral, and
every scalar takes the same sequence of group operations (signed digits, complete additions, digit zero included);
GMP's own multiplications are not constant-time to the last cycle, and table look-ups are not hidden from somebody on
the same processor. Peers see times only as objects that appear in a store.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import gmpy2
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
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
_SCALAR_BYTES = 32


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
    multiples = _multiples(element, 8)
    total = IDENTITY
    for digit in reversed(_recode(scalar, 4)):
        total = _double(_double(_double(_double(total))))
        total = _add(total, multiples[digit + 8])
    return total


class FixedBase:
    """Multiples of one element from a table (those by -128 to 128 for each of 32 digits, built in about 10 ms)."""

    def __init__(self, element: Element) -> None:
        self._tables: list[list[_Cached]] = []
        for _ in range(_SCALAR_BYTES):
            self._tables.append(_multiples(element, 128))
            for _ in range(8):
                element = _double(element)

    def multiply(self, scalar: int) -> Element:
        """scalar times the element, for a scalar in [0, order)."""
        total = IDENTITY
        for table, digit in zip(self._tables, _recode(scalar, 8), strict=True):
            total = _add(total, table[digit + 128])
        return total


class FixedScalar:
    """Multiples of many elements by one scalar in [0, order): X25519 (RFC 7748) does it in an eighth of the time.

    X25519 takes numbers s = 8 j with 2^254 <= s < 2^255 only, and points up to their sign. So s is the scalar r or -r
    modulo the order and 0 modulo 8, which also clears what tells the representatives of an element apart; the sign of
    rE is the one for which rE + rG has the u-coordinate of r(E + G), a second X25519.
    """

    def __init__(self, scalar: int) -> None:
        _check_scalar(scalar)
        self._scalar = scalar
        order, base = int(ORDER), generator()
        number = scalar * 8 * pow(8, -1, order) % (8 * order)
        self._negative = number < 1 << 254
        number = 8 * order - number if self._negative else number
        self._native = X25519PrivateKey.from_private_bytes(number.to_bytes(32, "little")) if not number >> 255 else None
        self._base = base.multiply(1)
        self._shift = _cached(base.multiply(number % order))

    def multiply(self, element: Element) -> Element:
        """scalar times the element."""
        u, shifted = self._u(element), self._u(add(element, self._base))
        if u is not None and shifted is not None:
            x, y, z, t = lifted = _lift(u)
            forms = [form for form in (lifted, Element(-x, y, z, -t)) if _has_u(_add(form, self._shift), shifted)]
            if len(forms) == 1:
                x, y, z, t = forms[0]
                return (forms[0], Element(-x, y, z, -t))[self._negative]
        return multiply(self._scalar, element)  # neutral elements, and those that the generator makes neutral

    def _u(self, element: Element) -> mpz | None:
        """The u-coordinate of s times the element, or None where X25519 does not go."""
        below = (element.z - element.y) % P
        if self._native is None or not below:
            return None
        u = (element.z + element.y) * gmpy2.invert(below, P) % P
        try:
            product = self._native.exchange(X25519PublicKey.from_public_bytes(u.to_bytes(32, "little")))
        except ValueError:  # the neutral element
            return None
        return mpz.from_bytes(product, "little")


@cache
def generator() -> FixedBase:
    """The generator of RFC 9496, with its table."""
    y = 4 * gmpy2.invert(mpz(5), P) % P
    _, x = _sqrt_ratio((y * y - 1) % P, (_D * y * y + 1) % P)
    return FixedBase(Element(x, y, mpz(1), x * y % P))


def _lift(u: mpz) -> Element:
    """One of the two points with this u-coordinate (RFC 7748, 4.1): y = (u - 1) / (u + 1)."""
    y, z = u - 1, u + 1
    yy, zz = y * y, z * z
    _, x = _sqrt_ratio((yy - zz) % P, (_D * yy + zz) % P)
    return Element(x * z % P, y, z, x * y % P)


def _has_u(element: Element, u: mpz) -> bool:
    return not (u * (element.z - element.y) - element.z - element.y) % P


def _check_scalar(scalar: int) -> None:
    if not 0 <= scalar < ORDER:
        raise CryptoError("A ristretto255 scalar lies outside 0 to the order of the group.", remedy="Reduce it.")


def _recode(scalar: int, bits: int) -> list[int]:
    """64 or 32 digits of 4 or 8 bits, -2^bits / 2 to 2^bits / 2, lowest first, whose sum with weights 2^(bits i) is
    the scalar.
    """
    _check_scalar(scalar)
    raw = int(scalar).to_bytes(_SCALAR_BYTES, "little")
    plain = raw if bits == 8 else [nibble for byte in raw for nibble in (byte & 15, byte >> 4)]
    half, digits, carry = 1 << bits - 1, [], 0
    for part in plain:
        digit = part + carry
        carry = digit + half >> bits
        digits.append(digit - (carry << bits))
    return digits


def _multiples(element: Element, most: int) -> list[_Cached]:
    """-most to most times the element."""
    step = _cached(element)
    found, current = [_cached(IDENTITY)], IDENTITY
    for _ in range(most):
        current = _add(current, step)
        found.append(_cached(current))
    return [(above, below, -t2d, z2) for below, above, t2d, z2 in found[:0:-1]] + found


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
