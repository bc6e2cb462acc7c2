"""prod_i c_i^(x_ij) for every column j of a matrix: Pippenger's buckets, one table to each lane.

A table belongs to a column, a window of its entries' bits, and, where columns and windows are too few to fill the
lanes, a share of the rows. As many tables as there are lanes are filled at a time, by one pass over the rows, and
folded; they stay in the second-level cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from fedspark.crypto.paillier_engine import Matrix
from fedspark.crypto.vector.modulus import Blocks, Modulus, aligned

_STEPS = 1 << 13  # rows whose digits exist at a time
_WIDEST = 10  # bits of a window; the tables in work then take 5 MiB (2048-bit keys, 8 lanes)


def bucket_sums(m: Modulus, numbers: Blocks, matrix: Matrix, bits: int) -> tuple[Blocks, mpz]:
    """prod_i c_i^(x_ij + 2^(bits-1)) for every column j of int64[N, F], and prod_i c_i; ``numbers`` uint64[N, limbs]
    and the first result (blocks) in Montgomery form, the second as it is.
    """
    rows, features = matrix.shape
    window, shares = plan(rows, features, bits, m.lanes)
    windows = -(-bits // window)
    # table (share, window, column), the column running fastest
    tables = shares * windows * features
    weighted = np.empty((-(-tables // m.lanes) * m.lanes, m.limbs), np.uint64)
    products = np.empty_like(weighted)
    room = aligned(m.lanes * (1 << window) * m.limbs).reshape(m.lanes, 1 << window, m.limbs)
    for first in range(0, tables, m.lanes):
        places = [min(first + lane, tables - 1) for lane in range(m.lanes)]
        room[:] = m.one[0, :, 0]
        _fill(m, room, numbers, matrix, [_place(place, features, windows) for place in places], shares, bits, window)
        for found, into in zip(m.fold_buckets(room), (weighted, products), strict=True):
            into[first : first + m.lanes] = found[0].T
    by_share = weighted[:tables].reshape(shares, windows, features, m.limbs)
    sums = _blocks(m, by_share[0].reshape(-1, m.limbs))
    for share in by_share[1:]:
        m.multiply(sums, _blocks(m, share.reshape(-1, m.limbs)), sums)
    total = mpz(1)
    for share in range(shares):
        value = m.integers(m.multiply(_blocks(m, products[share * windows * features :][:1]), m.plain_one))[0]
        total = total * value % m.n
    return _horner(m, _lines(sums)[: windows * features].reshape(windows, features, m.limbs), window), total


def _place(place: int, features: int, windows: int) -> tuple[int, int, int]:
    """Share, window and column of a table."""
    rest, feature = divmod(place, features)
    share, window = divmod(rest, windows)
    return share, window, feature


def plan(rows: int, features: int, bits: int, lanes: int) -> tuple[int, int]:
    """The bits of a window and the shares of the rows with which kernels make the fewest products. A function of
    public sizes only.
    """

    def cost(choice: tuple[int, int]) -> int:
        window, shares = choice
        passes = -(-(-(-bits // window) * features * shares) // lanes)
        return passes * (-(-rows // shares) + (2 << window))

    shares = [1 << k for k in range(lanes.bit_length())]
    return min(((window, share) for window in range(1, _WIDEST + 1) for share in shares), key=cost)


def _fill(
    m: Modulus,
    room: Blocks,
    numbers: Blocks,
    matrix: Matrix,
    places: list[tuple[int, int, int]],
    shares: int,
    bits: int,
    window: int,
) -> None:
    """One pass over the rows for as many tables as there are lanes. Row i belongs to share i modulo ``shares``."""
    whole = len(matrix) // shares * shares
    for first in range(0, whole, _STEPS * shares):
        chunk = matrix[first : min(first + _STEPS * shares, whole)]
        digits = np.empty((len(chunk) // shares, m.lanes), np.uint16)
        for lane, (share, at, feature) in enumerate(places):
            digits[:, lane] = _digits(chunk[share::shares, feature], bits, window, at)
        m.fill_buckets(room, numbers[first:], [share for share, _, _ in places], shares, digits)
    for row in range(whole, len(matrix)):
        # What is left over goes to the first shares, in turn; the other lanes multiply by one.
        last = aligned(2 * m.limbs).reshape(2, m.limbs)
        last[0], last[1] = numbers[row], m.one[0, :, 0]
        digits = np.zeros((1, m.lanes), np.uint16)
        firsts = []
        for lane, (share, at, feature) in enumerate(places):
            firsts.append(0 if share == row - whole else 1)
            if share == row - whole:
                digits[0, lane] = _digits(matrix[row : row + 1, feature], bits, window, at)[0]
        m.fill_buckets(room, last, firsts, 0, digits)


def _digits(entries: npt.NDArray[np.signedinteger], bits: int, window: int, at: int) -> npt.NDArray[np.int64]:
    """Digit ``at`` of the entries, offset to be unsigned."""
    shifted = entries.astype(np.int64) + (1 << (bits - 1))
    return (shifted >> (window * at)) & ((1 << window) - 1)


def _horner(m: Modulus, by_window: Blocks, window: int) -> Blocks:
    """prod_w a_w^(2^(window w)) column by column."""
    result = _blocks(m, by_window[-1])
    for lower in by_window[-2::-1]:
        m.square(result, window)
        m.multiply(result, _blocks(m, lower), result)
    return result


def _blocks(m: Modulus, lines: Blocks) -> Blocks:
    """uint64[N, limbs] as blocks; the last one filled with zeros."""
    out = m.blocks(-(-len(lines) // m.lanes))
    padded = np.zeros((len(out) * m.lanes, m.limbs), np.uint64)
    padded[: len(lines)] = lines
    out[:] = padded.reshape(len(out), m.lanes, m.limbs).transpose(0, 2, 1)
    return out


def _lines(blocks: Blocks) -> Blocks:
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])
