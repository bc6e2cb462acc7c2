"""Residues modulo n: what is a unit, inverses in bulk, and signed integers as residues around zero."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import gmpy2
import numpy as np
import numpy.typing as npt
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


def residue_rows(
    values: Iterable[int] | npt.NDArray[np.int64] | npt.NDArray[np.uint8], modulus: int
) -> npt.NDArray[np.uint8]:
    """Signed integers as uint8[N, bits / 8], a little-endian residue a row; CryptoError as in ``to_residues``.

    int64 arrays, and uint8[N, bits / 8] arrays that hold residues already (CryptoError with the first row that is not
    below the modulus), pass without one Python integer a row.
    """
    width = -(-int(modulus).bit_length() // 8)
    if isinstance(values, np.ndarray) and values.dtype == np.uint8 and values.ndim == 2:
        return _checked_rows(values.view(np.uint8), modulus, width)
    if isinstance(values, np.ndarray) and values.ndim == 1 and np.can_cast(values.dtype, np.int64) and width % 8 == 0:
        return _small_rows(values.astype(np.int64), modulus, width)
    data = [residue.to_bytes(width, "little") for residue in to_residues(values, modulus)]
    return np.frombuffer(b"".join(data), np.uint8).reshape(-1, width)


def _small_rows(values: npt.NDArray[np.int64], modulus: int, width: int) -> npt.NDArray[np.uint8]:
    words = np.frombuffer(int(modulus).to_bytes(width, "little"), "<u8")
    rows = np.zeros((len(values), len(words)), "<u8")
    negative = np.nonzero(values < 0)[0]
    rows[:, 0] = values.view(np.uint64)
    if len(negative):
        magnitudes = -values[negative].view(np.uint64)
        rows[negative] = words
        rows[negative, 0] = words[0] - magnitudes
        borrowing, place = negative[magnitudes > words[0]], 1
        while len(borrowing) and not words[place]:
            rows[borrowing, place] = np.uint64(2**64 - 1)
            place += 1
        rows[borrowing, place] -= np.uint64(1)
    return rows.view(np.uint8)


def _checked_rows(rows: npt.NDArray[np.uint8], modulus: int, width: int) -> npt.NDArray[np.uint8]:
    if rows.shape[1] != width:
        raise CryptoError(
            f"Rows of {rows.shape[1]} bytes are no residues of a {8 * width}-bit modulus.",
            remedy=f"Pass uint8[N, {width}], little-endian.",
        )
    limit = np.frombuffer(int(modulus).to_bytes(width, "little"), np.uint8)
    for row in np.nonzero(rows[:, -1] >= limit[-1])[0]:
        if int.from_bytes(rows[row].tobytes(), "little") >= modulus:
            raise CryptoError(
                f"The plaintext in row {row} is not below the {8 * width}-bit modulus.", remedy="Use a longer key."
            )
    return np.ascontiguousarray(rows)


def from_residues(residues: Iterable[int], modulus: int) -> list[int]:
    """Residues in [0, n) as the signed integers in (-n/2, n/2) that they stand for."""
    n = mpz(modulus)
    half = n >> 1
    return [int(residue - n) if residue > half else int(residue) for residue in residues]
