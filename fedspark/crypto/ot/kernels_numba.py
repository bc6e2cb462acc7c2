"""The array kernels compiled by numba: the same bits as ``kernels_numpy``, several times faster.

Import it through ``kernels.fastest()``, which decides where compiled code is cached. Every kernel has one explicit
signature and is compiled on import: 3 s of CPU once per machine and numba version, and from the cache 0.4 s in each
process, import of numba included (1.3 s where Python may not keep bytecode). Equal processes write equal cache files,
each by an atomic rename, so any number of them may start at once.

Compiled from Python as it stands here: integer types are written out because numba widens u32 + u32 to u64.
"""
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,no-any-return"

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit, types

from fedspark.crypto.ot.blake2s_lanes import IV, LANES, compress, prefetch

name = "numba"

_U64 = np.uint64
_U32 = np.uint32
_PARAMETERS = 0x01010010  # BLAKE2s: 16 bytes of output, no key, sequential
_LAST = 0xFFFFFFFF


def _array(kind: types.Type, dimensions: int) -> types.Array:
    """A C-contiguous input; numba then takes writable and read-only arrays alike."""
    return types.Array(kind, dimensions, "C", readonly=True)


def _output(kind: types.Type, dimensions: int) -> types.Array:
    return types.Array(kind, dimensions, "C")


_OPTIONS = {"cache": True, "nogil": True, "boundscheck": False, "error_model": "numpy"}


# ---- bit transposition -------------------------------------------------------------------------------------------


@njit(nogil=True, boundscheck=False)
def _swap(block, shift, mask):
    """Exchange the ``mask`` bits of words that lie ``shift`` apart; a word is 8 neighbouring columns wide."""
    s, m, step = _U64(shift), _U64(mask), 8 * shift
    for start in range(0, 512, 2 * step):
        for x in range(step):
            low, high = block[_U64(start + x)], block[_U64(start + x + step)]
            t = ((low >> s) ^ high) & m
            block[_U64(start + x + step)] = high ^ t
            block[_U64(start + x)] = low ^ (t << s)


@njit(types.void(_array(types.uint64, 2), _output(types.uint64, 2)), **_OPTIONS)
def _transpose(columns, rows):
    groups, words = columns.shape[0] // 64, columns.shape[1]
    block = np.zeros(512, np.uint64)
    for first in range(0, words, 8):
        count = min(8, words - first)
        for g in range(groups):
            for c in range(64):
                for x in range(count):
                    block[_U64(8 * c + x)] = columns[64 * g + c, first + x]
            _swap(block, 32, 0x00000000FFFFFFFF)
            _swap(block, 16, 0x0000FFFF0000FFFF)
            _swap(block, 8, 0x00FF00FF00FF00FF)
            _swap(block, 4, 0x0F0F0F0F0F0F0F0F)
            _swap(block, 2, 0x3333333333333333)
            _swap(block, 1, 0x5555555555555555)
            for x in range(count):
                for r in range(64):
                    rows[64 * (first + x) + r, g] = block[_U64(8 * r + x)]


def columns_to_rows(columns: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    rows = np.empty((64 * columns.shape[1], columns.shape[0] // 64), np.uint64)
    _transpose(columns, rows)
    return rows


# ---- peeling and assignment --------------------------------------------------------------------------------------


@njit(types.int64(_array(types.int32, 2), types.int64, *[_output(types.int32, 1)] * 2), **_OPTIONS)
def _peel(positions, cells, order, pivots):
    """Rounds: all cells of one item give up that item at once; an item's pivot is its lowest such cell."""
    n = positions.shape[0]
    one = _U64(1) << _U64(32)
    load = np.zeros(cells, np.uint64)  # degree above, XOR of items below
    for i in range(n):
        for h in range(3):
            p = positions[i, h]
            load[p] = (load[p] + one) ^ _U64(i)
    lowest = np.full(n, cells, np.int32)
    front, behind, owner = np.empty(cells, np.int32), np.empty(cells, np.int32), np.empty(cells, np.int32)
    size = 0
    for p in range(cells):
        if load[p] >> _U64(32) == _U64(1):
            front[size] = p
            size += 1
    peeled = 0
    while size:
        for x in range(size):
            p = front[x]
            owner[x] = -1
            if load[p] >> _U64(32) == _U64(1):
                item = np.int32(load[p] & _U64(0xFFFFFFFF))
                owner[x] = item
                lowest[item] = min(lowest[item], p)
        following = 0
        for x in range(size):
            item = owner[x]
            if item < 0 or lowest[item] != front[x]:
                continue
            order[peeled] = item
            pivots[peeled] = front[x]
            peeled += 1
            for h in range(3):
                q = positions[item, h]
                load[q] = (load[q] - one) ^ _U64(item)
                if load[q] >> _U64(32) == _U64(1):
                    behind[following] = q
                    following += 1
        front, behind, size = behind, front, following
    return peeled


def peel(positions: npt.NDArray[np.int32], cells: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], None]:
    order, pivots = np.empty((2, len(positions)), np.int32)
    peeled = _peel(positions, cells, order, pivots)
    return order[:peeled], pivots[:peeled], None


@njit(
    types.void(
        _array(types.int32, 2),
        *[_array(types.int32, 1)] * 2,
        _array(types.uint64, 2),
        _output(types.uint64, 2),
    ),
    **_OPTIONS,
)
def _assign(positions, order, pivots, values, table):
    for x in range(order.shape[0] - 1, -1, -1):
        i, pivot = order[x], pivots[x]
        a, b, c = positions[i, 0], positions[i, 1], positions[i, 2]
        for j in range(values.shape[1]):
            table[pivot, j] = values[i, j] ^ table[a, j] ^ table[b, j] ^ table[c, j]


def assign(
    positions: npt.NDArray[np.int32],
    peeled: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], object],
    values: npt.NDArray[np.uint64],
    table: npt.NDArray[np.uint64],
) -> None:
    _assign(positions, peeled[0], peeled[1], values, table)


# ---- sums with Delta ---------------------------------------------------------------------------------------------


@njit(types.void(_output(types.uint64, 2), *[_array(types.uint64, 2)] * 2), **_OPTIONS)
def _add_product(rows, factors, planes):
    width = planes.shape[1]
    for i in range(rows.shape[0]):
        for plane in range(planes.shape[0]):
            for j in range(width):
                rows[i, plane * width + j] ^= factors[i, j] & planes[plane, j]


def add_product(rows: npt.NDArray[np.uint64], factors: npt.NDArray[np.uint64], planes: npt.NDArray[np.uint64]) -> None:
    _add_product(rows, factors, planes)


# ---- row hashes --------------------------------------------------------------------------------------------------


@njit(
    types.void(
        _array(types.uint64, 2), _array(types.int32, 2), _array(types.uint64, 1), _array(types.uint64, 3),
        _array(types.uint64, 2), _array(types.uint64, 2), _array(types.uint32, 1), _output(types.uint32, 2),
    ),
    **_OPTIONS,
)  # fmt: skip
def _hash_decoded(table, positions, selected, dense, codes, planes, label, hashes):
    n, width = positions.shape[0], table.shape[1]
    blocks = (width + 7) // 8
    states, message = np.empty(8 * LANES, np.uint32), np.zeros(blocks * 16 * LANES, np.uint32)
    row, byte = np.zeros(width, np.uint64), _U64(255)
    for first in range(0, n, LANES):
        count = min(LANES, n - first)
        for i in range(first + LANES, min(first + 2 * LANES, n)):  # the next ones' rows, while these are hashed
            for h in range(3):
                start = np.int64(positions[i, h]) * width
                for line in range(start, start + width, 8):
                    prefetch(table, line)
                prefetch(table, start + width - 1)
        for lane in range(count):
            i = first + lane
            a, b, c = positions[i, 0], positions[i, 1], positions[i, 2]
            k = selected[i]
            k0, k1, k2, k3 = k & byte, k >> _U64(8) & byte, k >> _U64(16) & byte, k >> _U64(24) & byte
            k4, k5, k6, k7 = k >> _U64(32) & byte, k >> _U64(40) & byte, k >> _U64(48) & byte, k >> _U64(56)
            for j in range(width):  # one pass over the row: eleven loads a word, no store in between
                row[j] = (
                    table[a, j] ^ table[b, j] ^ table[c, j]
                    ^ dense[0, k0, j] ^ dense[1, k1, j] ^ dense[2, k2, j] ^ dense[3, k3, j]
                    ^ dense[4, k4, j] ^ dense[5, k5, j] ^ dense[6, k6, j] ^ dense[7, k7, j]
                )  # fmt: skip
            for plane in range(planes.shape[0]):
                for j in range(planes.shape[1]):
                    row[plane * planes.shape[1] + j] ^= codes[i, j] & planes[plane, j]
            for j in range(width):
                message[2 * LANES * j + lane] = _U32(row[j] & _U64(0xFFFFFFFF))
                message[2 * LANES * j + LANES + lane] = _U32(row[j] >> _U64(32))
        for j in range(8):
            word = _U32(IV[j]) ^ (label[j - 4] if j >= 4 else _U32(_PARAMETERS if j == 0 else 0))
            for lane in range(LANES):
                states[LANES * j + lane] = word
        for block in range(blocks):
            done = block == blocks - 1
            compress(
                states, message, _U32(block), _U32(8 * width if done else 64 * (block + 1)), _U32(_LAST if done else 0)
            )
        for lane in range(count):
            for j in range(4):
                hashes[first + lane, j] = states[LANES * j + lane]


def hash_decoded(
    table: npt.NDArray[np.uint64],
    positions: npt.NDArray[np.int32],
    selected: npt.NDArray[np.uint64],
    dense: npt.NDArray[np.uint64],
    product: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]] | None,
    label: bytes,
) -> npt.NDArray[np.uint8]:
    codes, planes = product if product is not None else (np.empty((0, 0), np.uint64),) * 2
    eight = np.zeros((8, 256, table.shape[1]), np.uint64)
    eight[: len(dense)] = dense
    hashes = np.empty((len(positions), 4), np.uint32)
    _hash_decoded(table, positions, selected, eight, codes, planes, np.frombuffer(label, np.uint32), hashes)
    return hashes.view(np.uint8)
