"""Fixed point: floats as integers with one public number of fraction bits for a whole column.

A scale per number would tell a reader the magnitude of each value; here the scale belongs to the message and says
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedspark.crypto.residues import from_residues, to_residues
from fedspark.errors import CryptoError

__all__ = ["FixedPoint", "decode", "from_residues", "to_residues"]


@dataclass(frozen=True)
class FixedPoint:
    """Numbers of magnitude at most ``bound`` as multiples of 2^-fraction_bits.

    ``bound`` is agreed with the peers before any data is seen. Raises CryptoError at once if bound x 2^fraction_bits
    does not fit into signed 64 bits.
    """

    fraction_bits: int
    bound: float

    def __post_init__(self) -> None:
        if not 0 <= self.fraction_bits <= 62:
            raise CryptoError(
                f"Fraction bits are 0 to 62, got {self.fraction_bits}.", remedy="20 is enough for residuals."
            )
        if not 0 < self.bound < 2.0 ** (62 - self.fraction_bits):
            raise CryptoError(
                f"A bound of {self.bound} with {self.fraction_bits} fraction bits does not fit into 64-bit integers.",
                remedy=f"Take a bound above 0 and below 2^{62 - self.fraction_bits}, or fewer fraction bits.",
            )

    @property
    def largest(self) -> int:
        """The largest magnitude that ``encode`` returns."""
        return int(np.rint(np.ldexp(self.bound, self.fraction_bits)))

    @property
    def bits(self) -> int:
        """Bits of a signed integer that holds every encoded value: -2^(bits-1) <= v < 2^(bits-1)."""
        return self.largest.bit_length() + 1

    def encode(self, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The values x 2^fraction_bits, rounded half to even, as int64 of the same shape.

        Raises CryptoError with the count and the place of the first offender for NaN, infinity and magnitudes above
        the bound; the value itself is not shown.
        """
        floats = np.asarray(values, dtype=np.float64)
        fits = np.abs(floats) <= self.bound  # False for NaN too
        if not fits.all():
            wrong = np.argwhere(~np.atleast_1d(fits))
            place = ", ".join(str(int(index)) for index in wrong[0])
            kind = (
                "not a finite number" if not np.isfinite(np.atleast_1d(floats)[tuple(wrong[0])]) else "above the bound"
            )
            raise CryptoError(
                f"{len(wrong)} of {floats.size} values do not fit the agreed bound |x| <= {self.bound}; the "
                f"first, at [{place}], is {kind}.",
                remedy="Standardise or clip the column, remove missing values, or agree on a larger bound.",
            )
        return np.asarray(np.rint(np.ldexp(floats, self.fraction_bits)), dtype=np.int64)

    def decode(self, integers: Iterable[int], scale: int | None = None) -> npt.NDArray[np.float64]:
        """The floats float64[N] that integers with ``scale`` fraction bits (default: this encoding's) stand for."""
        return decode(integers, self.fraction_bits if scale is None else scale)


def decode(integers: Iterable[int], scale: int) -> npt.NDArray[np.float64]:
    """Integers of any size x 2^-scale, each rounded once to the nearest double, float64[N]. Raises CryptoError above
    1.8e308.
    """
    unit = 1 << scale
    try:
        return np.asarray([int(value) / unit for value in integers], dtype=np.float64)
    except OverflowError:
        raise CryptoError(
            f"A decrypted number is too large for a double at {scale} fraction bits.",
            remedy="The plaintext sum overflowed or was masked; remove the mask before decoding.",
        ) from None
