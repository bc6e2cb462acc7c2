"""A key-value store that is linear: a table whose rows, XORed at an item's cells, give the item's value.

The 3-hash garbled cuckoo table of Garimella, Pinkas, Rosulek, Trieu, Yanai (CRYPTO 2021, eprint 2021/883; PaXoS,
CRYPTO 2020, eprint 2020/193, has two hashes) at the sizes of Raghuraman and Rindal (CCS 2022, eprint 2022/320,
section 4): three sparse cells in three disjoint thirds and a random subset of the dense cells for each item. Peeling
removes items that are alone in a cell; what cannot be peeled (the 2-core, most often empty) is solved by Gaussian
elimination over its sparse and the dense cells. Both hashes are fixed by the bucket's label and never re-drawn until
they peel: that an accepted hash peels is information about the items.

Cells that no equation binds stay zero. The table need not be oblivious here: nobody sees it but under a pad.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fedspark.crypto.ot.codewords import Cells
from fedspark.crypto.ot.kernels import Kernels
from fedspark.crypto.ot.parameters import Parameters
from fedspark.errors import CryptoError

_LARGEST_CORE = 4096

Words = npt.NDArray[np.uint64]


def solve(parameters: Parameters, cells: Cells, values: Words, kernels: Kernels) -> Words:
    """The table uint64[rows, w] that decodes to ``values`` uint64[N, w] at the items' cells.

    A function of cells and values alone, whichever kernels compute it. Raises CryptoError if there is none.
    """
    sparse = 3 * parameters.third
    table = np.zeros((parameters.rows, values.shape[1]), np.uint64)
    peeled = kernels.peel(cells.positions, sparse)
    if len(peeled[0]) < len(values):
        core = np.ones(len(values), bool)
        core[peeled[0]] = False
        _solve_core(np.flatnonzero(core), cells, values, table, sparse)
        if table[sparse:].any():
            values = values ^ dense_part(subset_sums(table[sparse:]), cells.selected)
    kernels.assign(cells.positions, peeled, values, table)
    return table


def _solve_core(core: npt.NDArray[np.intp], cells: Cells, values: Words, table: Words, sparse: int) -> None:
    """Set the cells of the 2-core by elimination: lowest cell first, free cells zero."""
    if len(core) > _LARGEST_CORE:
        raise _unsolvable(len(core))
    used = np.unique(cells.positions[core])
    columns = [int(cell) for cell in used] + list(range(sparse, len(table)))
    at = np.searchsorted(used, cells.positions[core])
    reduced: list[tuple[int, int, int]] = []  # pivot (one bit), equation without it, value
    for item, places in zip(core, at, strict=True):
        equation = int(cells.selected[item]) << len(used)
        for place in places:
            equation |= 1 << int(place)
        value = int.from_bytes(values[item].tobytes(), "little")
        for pivot, others, known in reduced:
            if equation & pivot:
                equation ^= others | pivot
                value ^= known
        if not equation:
            raise _unsolvable(len(core))
        pivot = equation & -equation
        reduced.append((pivot, equation ^ pivot, value))
    solution: dict[int, int] = {}
    for pivot, others, value in reversed(reduced):
        while others:
            lowest = others & -others
            value ^= solution.get(lowest, 0)
            others ^= lowest
        solution[pivot] = value
    width = 8 * table.shape[1]
    for pivot, value in solution.items():
        row = np.frombuffer(value.to_bytes(width, "little"), np.uint64)
        table[columns[pivot.bit_length() - 1]] = row


def _unsolvable(core: int) -> CryptoError:
    return CryptoError(
        f"The ids of a bucket do not fit their table ({core} of them stay entangled).",
        remedy="By chance this happens in one of 2^40 runs; otherwise digests are not keyed hashes. Start a new run.",
    )


def subset_sums(rows: Words) -> Words:
    """For every eight dense rows the XORs of all their subsets: uint64[rows / 8 rounded up, 256, w]."""
    groups = -(-len(rows) // 8)
    sums = np.zeros((groups, 256, rows.shape[1]), np.uint64)
    for i, row in enumerate(rows):
        half = 1 << i % 8
        np.bitwise_xor(sums[i // 8, :half], row, out=sums[i // 8, half : 2 * half])
    return sums


def dense_part(sums: Words, selected: Words) -> Words:
    """What the dense cells add to every item, uint64[N, w]."""
    numbers = selected.view(np.uint8).reshape(-1, 8)
    total = np.zeros((len(selected), sums.shape[2]), np.uint64)
    for x, group in enumerate(sums):
        total ^= group[numbers[:, x]]
    return total
