"""The key-value store: what it decodes to, also where items cannot be peeled, and that its bytes are canonical."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fedspark.crypto.ot import kernels_numpy, okvs
from fedspark.crypto.ot.codewords import BucketLabel, Cells, cells, codewords
from fedspark.crypto.ot.kernels import Kernels
from fedspark.crypto.ot.oprf import encode
from fedspark.crypto.ot.parameters import Parameters, choose
from fedspark.errors import CryptoError
from tests.crypto.ot.reference import Reference

Bytes = npt.NDArray[np.uint8]
Digests = Callable[[int, str], Bytes]

CONTEXT = bytes(range(32))


def tight(third: int, capacity: int) -> Parameters:
    """A table much too small for its items, so that some of them always entangle."""
    return Parameters(2, 288, third, 43, 9, 1, capacity, capacity)


def decoded(parameters: Parameters, table: npt.NDArray[np.uint64], at: Cells) -> npt.NDArray[np.uint64]:
    sparse = np.bitwise_xor.reduce(table[at.positions], axis=1)
    return sparse ^ okvs.dense_part(okvs.subset_sums(table[3 * parameters.third :]), at.selected)


@pytest.mark.parametrize("n", [0, 1, 2, 500, 1000])
def test_a_table_decodes_to_the_codewords(kernels: Kernels, digests: Digests, n: int) -> None:
    parameters, label = choose(1, 4, 1000, 1000), BucketLabel(CONTEXT, 3)
    items = digests(n, "store")
    at, values = cells(parameters, label, items), codewords(parameters, label, items)
    table = okvs.solve(parameters, at, values, kernels)
    assert table.shape == (parameters.rows, 8)
    assert np.array_equal(decoded(parameters, table, at), values)


def test_entangled_items_are_solved_by_dense_cells(kernels: Kernels, digests: Digests) -> None:
    parameters, items = tight(9, 30), digests(30, "core")
    solved_cores = 0
    for bucket in range(40):
        label = BucketLabel(CONTEXT, bucket)
        at, values = cells(parameters, label, items), codewords(parameters, label, items)
        entangled = len(items) - len(kernels.peel(at.positions, 3 * parameters.third)[0])
        table = okvs.solve(parameters, at, values, kernels)
        assert np.array_equal(decoded(parameters, table, at), values)
        assert np.array_equal(table, okvs.solve(parameters, at, values, kernels_numpy))
        solved_cores += entangled > 0
    assert solved_cores > 20


def test_entangled_tables_are_those_of_plain_elimination(kernels: Kernels, digests: Digests) -> None:
    cores = []
    for bucket in range(6):
        parameters, label = tight(10, 24), BucketLabel(CONTEXT, bucket, 2)
        items = digests(24, "elimination")
        expected, core = Reference(2, 288, 10, 43, 9, CONTEXT, bucket, 2).table([row.tobytes() for row in items])
        table = encode(parameters, label, items, kernels)
        assert [int.from_bytes(row.tobytes(), "little") for row in table] == expected
        cores.append(core)
    assert max(cores) > 0


def test_two_items_in_the_same_three_cells_differ_in_dense_cells_only(kernels: Kernels) -> None:
    positions = np.array([[0, 4, 8]] * 2, np.int32)
    at = Cells(positions, np.array([5, 6], np.uint64))
    values = np.array([[1, 2, 3], [4, 5, 6]], np.uint64)
    parameters = Parameters(4, 192, 3, 43, 9, 1, 2, 2)
    table = okvs.solve(parameters, at, values, kernels)
    assert np.array_equal(decoded(parameters, table, at), values)
    assert table[9:].any()


def test_items_with_equal_cells_throughout_have_no_table(kernels: Kernels) -> None:
    at = Cells(np.array([[0, 4, 8]] * 2, np.int32), np.array([5, 5], np.uint64))
    parameters = Parameters(4, 192, 3, 43, 9, 1, 2, 2)
    with pytest.raises(CryptoError, match="do not fit"):
        okvs.solve(parameters, at, np.array([[1, 2, 3], [4, 5, 6]], np.uint64), kernels)


def test_a_whole_table_is_the_same_from_both_kernels(kernels: Kernels, digests: Digests) -> None:
    parameters, label, items = choose(4, 1, 3000, 10), BucketLabel(CONTEXT, 9), digests(3000, "whole")
    assert np.array_equal(encode(parameters, label, items, kernels), encode(parameters, label, items, kernels_numpy))


def test_tables_depend_on_run_bucket_and_attempt(digests: Digests) -> None:
    parameters, items = choose(1, 1, 50, 50), digests(50, "labels")
    labels = [
        BucketLabel(CONTEXT, 1),
        BucketLabel(CONTEXT, 2),
        BucketLabel(CONTEXT, 1, 1),
        BucketLabel(bytes(32), 1),
    ]
    tables = {encode(parameters, label, items, kernels_numpy).tobytes() for label in labels}
    assert len(tables) == len(labels)


def test_digests_out_of_order_repeated_or_too_many_are_refused(digests: Digests) -> None:
    parameters, label, items = choose(1, 1, 20, 20), BucketLabel(CONTEXT, 0), digests(20, "order")
    high_bytes_equal = items.copy()
    high_bytes_equal[:, :8] = 7
    for wrong, text in (
        (items[::-1], "rows 0 and 1"),
        (np.concatenate([items[:5], items[4:]])[:20], "rows 4 and 5"),
        (digests(21, "order"), "more ids"),
        (items[:, :15], "uint8"),
        (items.astype(np.int8), "int8"),
        (high_bytes_equal, "ascending"),
    ):
        with pytest.raises(CryptoError, match=text):
            encode(parameters, label, wrong, kernels_numpy)


@pytest.mark.parametrize(("bucket", "attempt"), [(-1, 0), (1 << 48, 0), (0, -1), (0, 1 << 16)])
def test_labels_outside_their_range_are_refused(bucket: int, attempt: int) -> None:
    with pytest.raises(CryptoError):
        BucketLabel(CONTEXT, bucket, attempt)
    with pytest.raises(CryptoError, match="context"):
        BucketLabel(b"short", 0)
