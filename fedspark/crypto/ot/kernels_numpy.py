"""The array kernels in numpy and hashlib: present everywhere, and the reference for ``kernels_numba``."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

name = "numpy"

Words = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int32]
Indices = npt.NDArray[np.intp]

_SWAPS = (
    (32, 0x00000000FFFFFFFF),
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)
_BLOCK = 128  # words of every column that are transposed together: they stay in the cache
_CHUNK = 4096  # rows that are decoded and hashed together


def columns_to_rows(columns: Words) -> Words:
    """Bit transposition: uint64[64 g, w] -> uint64[64 w, g], bit i of word (c, j) -> bit c % 64 of word (64 j + i,
    c // 64).
    """
    groups, words = columns.shape[0] // 64, columns.shape[1]
    rows = np.empty((64 * words, groups), np.uint64)
    source, target = columns.reshape(groups, 64, words), rows.reshape(words, 64, groups)
    for first in range(0, words, _BLOCK):
        block = source[:, :, first : first + _BLOCK].copy()
        scratch = np.empty((groups, 32, block.shape[2]), np.uint64)
        for shift, mask in _SWAPS:
            pairs = block.reshape(groups, 32 // shift, 2, shift, -1)
            low, high = pairs[:, :, 0], pairs[:, :, 1]
            t, s = scratch.reshape(low.shape), np.uint64(shift)
            np.right_shift(low, s, out=t)
            np.bitwise_xor(t, high, out=t)
            np.bitwise_and(t, np.uint64(mask), out=t)
            np.bitwise_xor(high, t, out=high)
            np.left_shift(t, s, out=t)
            np.bitwise_xor(low, t, out=low)
        target[first : first + _BLOCK] = block.transpose(2, 1, 0)
    return rows


def peel(positions: Positions, cells: int) -> tuple[Indices, Indices, list[int]]:
    """(items, their pivot cells, where each round ends), in the order in which they were peeled.

    A round takes every cell that holds one item only and removes all these items at once; an item with several such
    cells has the lowest as its pivot. So the pivots are a function of the positions, not of a queue.
    """
    n = len(positions)
    items = np.arange(n, dtype=np.float64)
    degree, total = np.zeros(cells, np.int64), np.zeros(cells, np.int64)
    for column in positions.T:
        degree += np.bincount(column, minlength=cells)
        total += np.bincount(column, weights=items, minlength=cells).astype(np.int64)
    pivot = np.full(n, cells, np.int64)
    order: list[Indices] = []
    pivots: list[Indices] = []
    single = np.flatnonzero(degree == 1)
    while single.size:
        owner = total[single]
        np.minimum.at(pivot, owner, single)
        lowest = pivot[owner] == single
        owner, single = owner[lowest], single[lowest]
        order.append(owner)
        pivots.append(single)
        touched = positions[owner].reshape(-1)
        np.subtract.at(degree, touched, 1)
        np.subtract.at(total, touched, np.repeat(owner, 3))
        single = np.unique(touched[degree[touched] == 1])
    if not order:
        return np.empty(0, np.intp), np.empty(0, np.intp), []
    ends = np.cumsum([len(part) for part in order]).tolist()
    return np.concatenate(order), np.concatenate(pivots), ends


def assign(positions: Positions, peeled: tuple[Indices, Indices, list[int]], values: Words, table: Words) -> None:
    """Fill the pivot cells (zero before), last round first, so that every peeled item decodes to its value."""
    order, pivots, ends = peeled
    for first, last in reversed(list(zip([0, *ends], ends, strict=False))):
        items = order[first:last]
        found = np.take(values, items, axis=0)
        for column in positions[items].T:
            found ^= np.take(table, column, axis=0)
        table[pivots[first:last]] = found


def add_product(rows: Words, factors: Words, planes: Words) -> None:
    """rows += Delta factors over F_{2^f}, in place: factors & plane is added to plane after plane of every row."""
    for plane, columns in zip(planes, np.split(rows, len(planes), axis=1), strict=True):
        columns ^= factors & plane


def hash_decoded(
    table: Words,
    positions: Positions,
    selected: Words,
    dense: Words,
    product: tuple[Words, Words] | None,
    label: bytes,
) -> npt.NDArray[np.uint8]:
    """BLAKE2s-128 of every item's decoded row, uint8[N, 16].

    A row is the XOR of the table's rows at the item's positions, of ``dense[x, byte x of selected]`` for every x and,
    with ``product`` = (codes, planes), of codes & plane for every plane, one plane after the other. It is hashed as
    little-endian words, with ``label`` (16 bytes) as salt and personalisation.
    """
    hashes: list[bytes] = []
    begun = hashlib.blake2s(digest_size=16, salt=label[:8], person=label[8:])
    size = 8 * table.shape[1]
    numbers = selected.view(np.uint8).reshape(-1, 8)
    for first in range(0, len(positions), _CHUNK):
        here = slice(first, first + _CHUNK)
        at, number = positions[here], numbers[here]
        rows = np.take(table, at[:, 0], axis=0)
        rows ^= np.take(table, at[:, 1], axis=0)
        rows ^= np.take(table, at[:, 2], axis=0)
        for x, sums in enumerate(dense):
            rows ^= np.take(sums, number[:, x], axis=0)
        if product is not None:
            add_product(rows, product[0][here], product[1])
        raw = rows.tobytes()
        for i in range(0, len(raw), size):
            row = begun.copy()  # a third faster than to begin again
            row.update(raw[i : i + size])
            hashes.append(row.digest())
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)
