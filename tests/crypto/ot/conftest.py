"""Kernels of both makes, and keys of the extension from a dealer (the set-up has tests of its own)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fedspark.crypto.ot import kernels as all_kernels
from fedspark.crypto.ot import kernels_numpy
from fedspark.crypto.ot.kernels import Kernels
from fedspark.crypto.ot.parameters import Parameters
from fedspark.crypto.ot.vole import ReceiverKeys, SenderKeys
from fedspark.crypto.randomness import Stream, derive

Bytes = npt.NDArray[np.uint8]


@pytest.fixture(scope="session", params=["numpy", "numba"])
def kernels(request: pytest.FixtureRequest) -> Kernels:
    if request.param == "numpy":
        return kernels_numpy
    pytest.importorskip("numba")
    return all_kernels.compiled()


@pytest.fixture(scope="session")
def deal() -> Callable[[Parameters], tuple[ReceiverKeys, SenderKeys]]:
    def dealt(parameters: Parameters) -> tuple[ReceiverKeys, SenderKeys]:
        leaves = 1 << parameters.field_bits
        stream = Stream(derive(bytes(32), "tests", "dealer", parameters.field_bits))
        seeds = np.frombuffer(stream.bytes(16 * leaves * parameters.width), np.uint8).reshape(-1, leaves, 16)
        delta = np.frombuffer(stream.bytes(parameters.width), np.uint8) % np.uint8(leaves)
        known = seeds.copy()
        known[np.arange(parameters.width), delta] = 0
        return ReceiverKeys(seeds), SenderKeys(delta, known)

    return dealt


@pytest.fixture(scope="session")
def digests() -> Callable[[int, str], Bytes]:
    """``count`` digests of a name, ascending."""

    def drawn(count: int, name: str) -> Bytes:
        raw = Stream(derive(bytes(32), "tests", "digests", name)).bytes(16 * count)
        rows = sorted(raw[i : i + 16] for i in range(0, len(raw), 16))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(count, 16)

    return drawn
