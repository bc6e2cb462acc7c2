"""Curve25519 in plain Python integers, written from RFC 7748 and RFC 9380 alone: what both engines must equal."""

from __future__ import annotations

P = 2**255 - 19
A = 486662


def plain_multiply(scalar: bytes, point: bytes, *, clamp: bool = True) -> bytes:
    """X25519(scalar, u) as in RFC 7748, section 5; zero for the neutral element."""
    k = int.from_bytes(scalar, "little")
    if clamp:
        k = k & ~7 & (2**255 - 1) | 2**254
    u = int.from_bytes(point, "little") % 2**255 % P
    x2, z2, x3, z3 = 1, 0, u, 1
    for place in reversed(range(255)):
        if k >> place & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
        plus, minus = (x2 + z2) ** 2, (x2 - z2) ** 2
        one, other = (x3 - z3) * (x2 + z2), (x3 + z3) * (x2 - z2)
        x3, z3 = (one + other) ** 2 % P, u * (one - other) ** 2 % P
        x2, z2 = plus * minus % P, (plus - minus) * (plus + 121665 * (plus - minus)) % P
        if k >> place & 1:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def plain_map(r: int) -> int:
    """The x of map_to_curve_elligator2_curve25519(r) of RFC 9380, section 6.7.1, with J = 486662, K = 1, Z = 2."""
    denominator = (1 + 2 * r * r) % P
    x1 = -A * pow(denominator, -1, P) % P
    if denominator == 0:
        x1 = -A % P
    return x1 if plain_is_square(x1) else (-x1 - A) % P


def plain_is_square(x: int) -> bool:
    """Whether x^3 + A x^2 + x has a square root."""
    return pow(x**3 + A * x**2 + x, (P - 1) // 2, P) in (0, 1)


def plain_point(digest: bytes) -> bytes:
    """The point of a hash of 64 bytes."""
    return plain_map(int.from_bytes(digest, "little") % P).to_bytes(32, "little")
