"""Two makers of the same bits for ``curve``: which one this process uses.

OpenSSL's X25519 (through ``cryptography``, which is there anyway) with GMP for the map; and the AVX-512 IFMA kernels
of ``curve_kernel`` where the processor has the instructions, llvmlite is installed and both agree on a self-test.
``FEDSPARK_KERNELS=numpy`` asks for OpenSSL.
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import gmpy2
import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from gmpy2 import mpz

from fedspark.crypto.curve_field import PRIME
from fedspark.crypto.curve_kernel import COEFFICIENT, ifma_curve
from fedspark.crypto.kernel_choice import wanted_kernels
from fedspark.crypto.residues import batch_inverse

Bytes = npt.NDArray[np.uint8]

_P, _A = mpz(PRIME), mpz(COEFFICIENT)


class Engine(Protocol):
    """A maker of points."""

    name: str

    def multiply(self, points: Bytes, scalar: bytes) -> Bytes:
        """X25519 of RFC 7748 for every row of uint8[N, 32] under one clamped scalar; zero where the result is the
        neutral element.
        """
        ...

    def map_hashes(self, hashes: Bytes) -> Bytes:
        """Elligator 2 of every row of uint8[N, 64]: uint8[N, 32], canonical, on the curve."""
        ...

    def on_curve(self, points: Bytes) -> npt.NDArray[np.bool_]:
        """Which rows of uint8[N, 32] are canonical u of points on the curve other than (0, 0)."""
        ...


@cache
def fastest() -> Engine:
    """The IFMA kernels where they run, are not declined and agree with OpenSSL and GMP, else these. Decided once per
    process.
    """
    library, kernels = LibraryCurve(), None if wanted_kernels() == "numpy" else ifma_curve()
    return kernels if kernels is not None and agree(kernels, library) else library


class LibraryCurve:
    """OpenSSL and GMP, present everywhere.

    OpenSSL's ladder is constant-time in the scalar. The map and the check see no scalar; their run time depends on
    points and on hashes of ids, which only the own machine could observe.
    """

    name = "openssl"

    def multiply(self, points: Bytes, scalar: bytes) -> Bytes:
        exchange, load = X25519PrivateKey.from_private_bytes(scalar).exchange, X25519PublicKey.from_public_bytes
        raw = points.tobytes()
        products = []
        for start in range(0, len(raw), 32):
            try:
                products.append(exchange(load(raw[start : start + 32])))
            except ValueError:  # what ``cryptography`` makes of the neutral element
                products.append(bytes(32))
        return _rows(products)

    def map_hashes(self, hashes: Bytes) -> Bytes:
        raw = hashes.tobytes()
        denominators = []
        for start in range(0, len(raw), 64):
            r = mpz.from_bytes(raw[start : start + 64], "little") % _P
            denominators.append((2 * r * r + 1) % _P)
        points = []
        for d, inverse in zip(denominators, batch_inverse(PRIME, denominators), strict=True):
            on_curve = gmpy2.legendre(-_A * d * ((d - _A * _A) * d + _A * _A) % _P, _P) == 1
            u = _P - _A * inverse % _P if on_curve else (_A * inverse - _A) % _P
            points.append(u.to_bytes(32, "little"))
        return _rows(points)

    def on_curve(self, points: Bytes) -> npt.NDArray[np.bool_]:
        raw = points.tobytes()
        numbers = (mpz.from_bytes(raw[start : start + 32], "little") for start in range(0, len(raw), 32))
        return np.fromiter(
            (u < _P and gmpy2.legendre(u * (u * (u + _A) + 1) % _P, _P) == 1 for u in numbers), np.bool_, len(points)
        )


def agree(one: Engine, other: Engine) -> bool:
    """True if both give the same bits on edge cases of every function and on pseudo-random rows."""
    edges = [0, 1, 2, 9, *range(PRIME - 2, PRIME + 3), PRIME + 18, 2**51 - 1, 2**52, 2**204, 2**254, 2**256 - 1]
    hashed = [pow(3, 1000 + k, 2**512 - 569) for k in range(19)]
    points = _rows([(value % 2**256).to_bytes(32, "little") for value in edges + hashed])
    hashes = _rows([value.to_bytes(64, "little") for value in (0, 1, 2**255, 2**256 - 1, 2**512 - 1, *hashed)], 64)
    scalars = (bytes(31) + b"\x40", b"\xf8" + b"\xff" * 30 + b"\x7f", b"\xa8" + bytes(range(30)) + b"\x55")
    return (
        np.array_equal(one.map_hashes(hashes), other.map_hashes(hashes))
        and np.array_equal(one.on_curve(points), other.on_curve(points))
        and all(np.array_equal(one.multiply(points, k), other.multiply(points, k)) for k in scalars)
    )


def _rows(values: list[bytes], width: int = 32) -> Bytes:
    return np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)
