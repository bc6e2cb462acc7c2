"""Both makers of the array kernels against loops and hashlib, and how a process chooses between them."""

from __future__ import annotations

import hashlib
import importlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedspark.crypto.ot import kernels as all_kernels
from fedspark.crypto.ot import kernels_numpy, okvs
from fedspark.crypto.ot.kernels import Kernels
from fedspark.errors import CryptoError


@pytest.mark.parametrize(("groups", "words"), [(1, 1), (3, 2), (2, 9), (1, 130)])
def test_transposition_moves_every_bit(kernels: Kernels, groups: int, words: int) -> None:
    columns = np.random.default_rng(1).integers(0, 2**64, (64 * groups, words), dtype=np.uint64)
    rows = kernels.columns_to_rows(columns)
    bits = np.unpackbits(columns.view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little"), bits.T)


def test_peeling_takes_the_lowest_cell_of_every_item_round_by_round(kernels: Kernels) -> None:
    positions = np.array([[0, 3, 6], [0, 4, 7], [1, 4, 7], [2, 5, 8], [2, 5, 8]], np.int32)
    order, pivots, *_ = kernels.peel(positions, 9)
    assert dict(zip(order.tolist(), pivots.tolist(), strict=True)) == {0: 3, 2: 1, 1: 0}
    assert set(order.tolist()[:2]) == {0, 2}


@pytest.mark.parametrize("n", [0, 1, 50, 500])
def test_peeling_is_that_of_plain_sets(kernels: Kernels, n: int) -> None:
    third = 1 + n * 42 // 100
    positions = np.random.default_rng(n).integers(0, third, (n, 3)).astype(np.int32)
    positions += np.arange(3, dtype=np.int32) * np.int32(third)
    left, expected = set(range(n)), {}
    while True:
        alone: dict[int, int] = {}
        holders: dict[int, list[int]] = {}
        for i in left:
            for cell in positions[i].tolist():
                holders.setdefault(cell, []).append(i)
        for cell, items in holders.items():
            if len(items) == 1:
                alone[items[0]] = min(cell, alone.get(items[0], cell))
        if not alone:
            break
        expected.update(alone)
        left -= set(alone)
    order, pivots, *_ = kernels.peel(positions, 3 * third)
    assert dict(zip(order.tolist(), pivots.tolist(), strict=True)) == expected
    values = np.random.default_rng(2).integers(0, 2**64, (n, 3), dtype=np.uint64)
    table = np.zeros((3 * third, 3), np.uint64)
    kernels.assign(positions, kernels.peel(positions, 3 * third), values, table)
    decoded = np.bitwise_xor.reduce(table[positions], axis=1)
    peeled = sorted(expected)
    assert np.array_equal(decoded[peeled], values[peeled])


@pytest.mark.parametrize("width", [1, 3, 8, 9, 10, 12, 16, 17])
@pytest.mark.parametrize("with_product", [False, True])
def test_row_hashes_are_those_of_hashlib(kernels: Kernels, width: int, with_product: bool) -> None:
    rng = np.random.default_rng(width)
    n, rows = 37, 20
    table = rng.integers(0, 2**64, (rows, width), dtype=np.uint64)
    dense_rows = rng.integers(0, 2**64, (43, width), dtype=np.uint64)
    positions = rng.integers(0, rows, (n, 3)).astype(np.int32)
    selected = rng.integers(0, 2**43, n, dtype=np.uint64)
    codes = rng.integers(0, 2**64, (n, width), dtype=np.uint64)
    planes = rng.integers(0, 2**64, (1, width), dtype=np.uint64)
    product = (codes, planes) if with_product else None
    label = bytes(range(16))
    hashes = kernels.hash_decoded(table, positions, selected, okvs.subset_sums(dense_rows), product, label)
    for i in range(n):
        row = table[positions[i, 0]] ^ table[positions[i, 1]] ^ table[positions[i, 2]]
        for k in range(43):
            if int(selected[i]) >> k & 1:
                row = row ^ dense_rows[k]
        if with_product:
            row = row ^ (codes[i] & planes[0])
        expected = hashlib.blake2s(row.tobytes(), digest_size=16, salt=label[:8], person=label[8:]).digest()
        assert hashes[i].tobytes() == expected


def test_products_are_added_plane_after_plane(kernels: Kernels) -> None:
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 2**64, (7, 6), dtype=np.uint64)
    factors = rng.integers(0, 2**64, (7, 3), dtype=np.uint64)
    planes = rng.integers(0, 2**64, (2, 3), dtype=np.uint64)
    expected = rows ^ np.concatenate([factors & planes[0], factors & planes[1]], axis=1)
    kernels.add_product(rows, factors, planes)
    assert np.array_equal(rows, expected)


@pytest.fixture
def choice() -> Iterator[None]:
    all_kernels.fastest.cache_clear()
    yield
    all_kernels.fastest.cache_clear()


@pytest.mark.usefixtures("choice")
def test_without_numba_a_process_says_so_once_and_uses_numpy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def absent() -> Kernels:
        raise ImportError("numba")

    monkeypatch.delenv("FEDSPARK_KERNELS", raising=False)
    monkeypatch.setattr(all_kernels, "compiled", absent)
    with caplog.at_level(logging.INFO, "fedspark.crypto.ot"):
        assert all_kernels.fastest().name == "numpy"
        assert all_kernels.fastest().name == "numpy"
    assert len(caplog.records) == 1
    all_kernels.fastest.cache_clear()
    monkeypatch.setenv("FEDSPARK_KERNELS", "numba")
    with pytest.raises(CryptoError, match=r"fedspark\[fast\]"):
        all_kernels.fastest()


@pytest.mark.usefixtures("choice")
def test_the_environment_forces_one_kind_of_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSPARK_KERNELS", "numpy")
    assert all_kernels.fastest() is kernels_numpy
    all_kernels.fastest.cache_clear()
    monkeypatch.setenv("FEDSPARK_KERNELS", "cython")
    with pytest.raises(CryptoError, match="cython"):
        all_kernels.fastest()


def test_few_rows_are_not_worth_loading_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = object()
    monkeypatch.setattr(all_kernels, "fastest", lambda: compiled)
    monkeypatch.delenv("FEDSPARK_KERNELS", raising=False)
    assert all_kernels.suited(1000) is kernels_numpy
    assert all_kernels.suited(1 << 20) is compiled
    monkeypatch.setenv("FEDSPARK_KERNELS", "numba")
    assert all_kernels.suited(1000) is compiled


def test_compiled_code_is_cached_where_nobody_else_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(all_kernels.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    first = all_kernels._cache_directory("numba-1-cpu")
    assert first == tmp_path / "home" / "fedspark" / "numba-1-cpu"
    assert first.stat().st_mode & 0o077 == 0
    first.chmod(0o777)
    second = all_kernels._cache_directory("numba-1-cpu")
    assert second.is_relative_to(tmp_path / "tmp")
    second.parent.chmod(0o777)
    monkeypatch.setattr(all_kernels.tempfile, "tempdir", str(tmp_path))
    third = all_kernels._cache_directory("numba-1-cpu")
    assert third not in (first, second)
    assert third.is_dir()


def test_numba_keeps_its_own_cache_directory_for_others() -> None:
    numba = pytest.importorskip("numba")
    before = numba.config.CACHE_DIR
    all_kernels.compiled()
    assert before == numba.config.CACHE_DIR
    module = importlib.import_module("fedspark.crypto.ot.kernels_numba")
    assert len(module._hash_decoded.signatures) == 1
