"""Paillier's arithmetic on plaintexts in clear: same messages, same results, no secrecy, a thousand times the speed.

With it a whole training runs over tens of thousands of rows in a test. That it gives the same weights as the real
engine, to the last bit, is a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from fedspark.crypto.paillier import Column, PrivateKey
from fedspark.crypto.randomness import Stream
from fedspark.crypto.residues import from_residues

Cells = npt.NDArray[np.uint8]


class ClearEngine:
    """A cell holds the residue itself."""

    name = "clear"

    def __init__(self, n: int) -> None:
        self.n = int(n)
        self.width = self.n.bit_length() // 4

    def encrypt(self, plain: Cells, stream: Stream) -> Cells:
        return self._column(list(self.integers(plain)))

    def obfuscate(self, cells: Cells, stream: Stream) -> Cells:
        return cells

    def obfuscate_fully(self, cells: Cells, stream: Stream) -> Cells:
        return cells

    def add(self, left: Cells, right: Cells) -> Cells:
        return self._column([a + b for a, b in zip(self.integers(left), self.integers(right), strict=True)])

    def add_plain(self, cells: Cells, plain: Cells) -> Cells:
        return self.add(cells, plain)

    def multiply_plain(self, cells: Cells, factors: Sequence[int]) -> Cells:
        return self._column([a * int(b) for a, b in zip(self.integers(cells), factors, strict=True)])

    def total(self, cells: Cells) -> Cells:
        return self._column([sum(self.integers(cells))])

    def linear(self, cells: Cells, matrix: npt.NDArray[np.int64], bits: int) -> Cells:
        half = self.n // 2
        signed = np.array([v - self.n if v > half else v for v in self.integers(cells)], dtype=object)
        sums = matrix.T.astype(object) @ signed if len(signed) else [0] * matrix.shape[1]
        return self._column(list(sums))

    def refused(self, cells: Cells) -> int | None:
        return None

    def integers(self, cells: Cells) -> Iterator[int]:
        return (int.from_bytes(row.tobytes(), "little") for row in cells)

    def _column(self, values: Sequence[int]) -> Cells:
        data = b"".join((int(value) % self.n).to_bytes(self.width, "little") for value in values)
        return np.frombuffer(data, np.uint8).reshape(-1, self.width)


def without_secrecy(patch: pytest.MonkeyPatch) -> None:
    """Until ``patch`` is undone, ciphertexts are plaintexts."""

    def decrypt(key: PrivateKey, column: Column) -> list[int]:
        return from_residues(ClearEngine(key.public.n).integers(column._cells), key.public.n)

    patch.setattr("fedspark.crypto.paillier_keys.engine_for_modulus", ClearEngine)
    patch.setattr(PrivateKey, "decrypt", decrypt)
