"""Sizes that make the OT-extension PRF secure and exact over ALL buckets of a run, each from a formula or computed.

Statistical errors are at most 2^-40 each per run, computational security is 128 bits:

    code width      Two different codewords (and a codeword and what the table decodes to at an id that is not in it)
                    differ in d positions or more, d f = 128: otherwise the row hash has fewer than 128 secret bits.
                    Kolesnikov, Kumaresan, Rosulek, Trieu (CCS 2016, eprint 2016/799), "pseudorandom codes"; their
                    k = 448 is for 2^24 ids. The width of each f leaves room for 2^30 ids, and ``choose`` computes
                    the exact probability for the ids at hand.
    table           e by the fit of Raghuraman and Rindal (CCS 2022, eprint 2022/320, section 4 and their code) for
                    weight 3, with lambda = 40 + log2(buckets); lambda + g dense columns.
    tags            40 + log2(pairs that are compared) bits.

Columns are sized for the agreed capacity of a bucket (dummies included), never for the ids in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil, comb, floor, log2

from fedspark.errors import CryptoError

STATISTICAL_BITS = 40
SECRET_BITS = 128
CODE_WIDTHS = {1: 464, 2: 288, 4: 192}
"""Bits of a codeword for each field F_{2^f}."""

LARGEST_BUCKET = 1 << 48
LARGEST_ATTEMPT = 1 << 16
LARGEST_CAPACITY = 1 << 24
_SMALLEST_TABLE = 1 << 10  # the fit for e was made on tables of this size and more
_LARGEST_DENSE = 64


@dataclass(frozen=True)
class Parameters:
    """Public sizes that both parties agree on for a run. Make them with ``choose``.

    ``third`` is the number of sparse cells in each of three disjoint ranges, ``dense`` the number of dense cells;
    a table has ``rows`` = 3 third + dense rows of ``row_bytes`` bytes.
    """

    field_bits: int
    width: int
    third: int
    dense: int
    tag_bytes: int
    buckets: int
    receiver_capacity: int
    sender_capacity: int

    @property
    def rows(self) -> int:
        return 3 * self.third + self.dense

    @property
    def row_bytes(self) -> int:
        return self.width // 8

    @property
    def words(self) -> int:
        """64-bit words that hold a codeword."""
        return -(-self.width // 64)

    @property
    def bytes_received(self) -> int:
        """Bytes of a bucket's table, receiver to sender."""
        return self.rows * self.row_bytes

    @property
    def bytes_sent(self) -> int:
        """Bytes of a bucket's tags, sender to receiver."""
        return self.sender_capacity * self.tag_bytes


def choose(field_bits: int, buckets: int, receiver_capacity: int, sender_capacity: int) -> Parameters:
    """The sizes for ``buckets`` buckets of at most so many ids of each party.

    ``field_bits`` is 1, 2 or 4: fewer bytes and more hashing as it grows. Raises CryptoError for other values, and
    for so many ids that an error bound would exceed 2^-40.
    """
    if field_bits not in CODE_WIDTHS:
        raise CryptoError(f"The field has 1, 2 or 4 bits, not {field_bits}.", remedy="2 suits 10 Gbit/s, 4 suits 1.")
    for what, value, largest in (
        ("buckets", buckets, LARGEST_BUCKET),
        ("ids of the receiver in a bucket", receiver_capacity, LARGEST_CAPACITY),
        ("ids of the sender in a bucket", sender_capacity, LARGEST_CAPACITY),
    ):
        if not 1 <= value <= largest:
            raise CryptoError(f"The number of {what} is 1 to {largest}, not {value}.", remedy="Use other buckets.")
    width = CODE_WIDTHS[field_bits]
    if buckets * sender_capacity * close_codewords(field_bits, width) > Fraction(1, 2**STATISTICAL_BITS):
        raise CryptoError(
            f"A code of {width} bits is too short for {buckets} buckets of {sender_capacity} ids.",
            remedy="Split the run.",
        )
    third, dense = table_size(receiver_capacity, STATISTICAL_BITS + log2(buckets))
    tag_bytes = ceil((STATISTICAL_BITS + log2(buckets * sender_capacity * receiver_capacity)) / 8)
    if dense > _LARGEST_DENSE or tag_bytes > SECRET_BITS // 8:
        raise CryptoError(f"{buckets} buckets are too many for one run.", remedy="Use larger buckets or split it.")
    return Parameters(field_bits, width, third, dense, tag_bytes, buckets, receiver_capacity, sender_capacity)


@cache
def close_codewords(field_bits: int, width: int) -> Fraction:
    """Exactly Pr[a uniform word of ``width`` bits has fewer than d ones], d = 128 / f rounded up."""
    distance = -(-SECRET_BITS // field_bits)
    return Fraction(sum(comb(width, weight) for weight in range(distance)), 2**width)


def table_size(capacity: int, error_bits: float) -> tuple[int, int]:
    """(sparse cells in each third, dense cells) so that encoding fails with probability 2^-error_bits at most.

    Raghuraman-Rindal's fit for weight 3: lambda = r (e - 1.223) - 9.2 with log2 r = 0.555 log2(n) + c, and a gap of
    at most g = floor(lambda / log2(e n)) rows that the sparse cells cannot carry; lambda + g binary dense columns.
    """
    n = max(capacity, _SMALLEST_TABLE)
    w = log2(3)
    rate = 2 ** (0.555 * log2(n) + 0.093 * w**3 - 1.01 * w**2 + 2.925 * w - 0.133)
    expansion = 1.223 + (error_bits + 9.2) / rate
    gap = floor(error_bits / log2(expansion * n))
    return ceil(ceil(expansion * n) / 3), ceil(error_bits) + gap
