"""Residues modulo n: what is a unit, inverses in bulk, and signed integers as residues around zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gmpy2
from gmpy2 import mpz

from fedspark.errors import CryptoError


def all_units(values: Iterable[mpz], modulus: mpz) -> bool:
    """True if every value is coprime to ``modulus``: one greatest common divisor for all, of their product."""
    return bool(gmpy2.gcd(product(values, modulus), modulus) == 1)


def product(values: Iterable[mpz], modulus: mpz) -> mpz:
    """The product of all values modulo ``modulus``; 1 of none."""
    result = mpz(1)
    for value in values:
        result = result * value % modulus
    return result


def batch_inverse(modulus: int, values: Sequence[int]) -> list[mpz]:
    """The inverse of every value modulo ``modulus`` by one inversion and 3 N products (Montgomery's trick).

    Raises CryptoError if a value has no inverse.
    """
    n, numbers = mpz(modulus), [mpz(value) for value in values]
    before = [mpz(1)]
    for number in numbers:
        before.append(before[-1] * number % n)
    try:
        inverse = gmpy2.invert(before[-1], n)
    except ZeroDivisionError:
        raise CryptoError(
            f"One of {len(values)} numbers has a factor in common with the modulus and no inverse.",
            remedy="Draw blinds with Stream.units(); check received columns when they arrive.",
        ) from None
    inverses = [mpz(0)] * len(numbers)
    for row in range(len(numbers) - 1, -1, -1):
        inverses[row] = inverse * before[row] % n
        inverse = inverse * numbers[row] % n
    return inverses


def to_residues(values: Iterable[int], modulus: int) -> list[mpz]:
    """Signed integers as residues modulo an odd ``modulus``; each must lie in (-n/2, n/2), else CryptoError with its
    row.
    """
    n = mpz(modulus)
    half = n >> 1
    residues = []
    for row, value in enumerate(values):
        number = mpz(int(value))
        if not -half <= number <= half:
            raise CryptoError(
                f"The number in row {row} has {number.bit_length()} bits and does not fit in (-n/2, n/2) of a "
                f"{n.bit_length()}-bit modulus.",
                remedy="Use fewer fraction bits, or a longer key.",
            )
        residues.append(number % n)
    return residues


def from_residues(residues: Iterable[int], modulus: int) -> list[int]:
    """Residues in [0, n) as the signed integers in (-n/2, n/2) that they stand for."""
    n = mpz(modulus)
    half = n >> 1
    return [int(residue - n) if residue > half else int(residue) for residue in residues]
