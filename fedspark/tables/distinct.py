"""About how many different keys a table has, from a sample of them that costs next to nothing.

Kept are the smallest of the keys' hashes, with the rows that each has (bottom-k sketch; Bar-Yossef et al. 2002, Beyer
et al. 2007): k hashes that are all below a limit say that there are k * 2^64 / limit in all, within 1/sqrt(k); and
since chance has picked them by key, their rows say how often keys occur. Executors import this file: no Spark in it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 1024
"""Keys that a sample has at most."""

_ALL = 1 << 64
_SURE = 4.0

Words = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


@dataclass
class KeySample:
    """The keys of some rows whose hash is below ``limit``: their ``hashes`` in order, how many ``rows`` each has."""

    limit: int = _ALL
    hashes: Words = field(default_factory=lambda: np.zeros(0, np.uint64))
    rows: Counts = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, hashes: Words) -> None:
        """Count rows whose keys have these hashes, which are as good as random 64-bit numbers."""
        below = hashes if self.limit == _ALL else hashes[hashes < np.uint64(self.limit)]
        if len(below):
            values, counts = np.unique(below, return_counts=True)
            self._join(values, counts)

    def merge(self, other: KeySample) -> None:
        """Make this the sample of both."""
        self.limit = min(self.limit, other.limit)
        self._join(other.hashes, other.rows)

    def share(self, rows: int) -> float | None:
        """About how many different keys there are for each of the ``rows`` that were counted; None without any.

        Exact for a table with few keys, and 1.0 for one in which each key is there once.
        """
        if not rows:
            return None
        found = len(self.hashes)
        if self.limit == _ALL:
            return found / rows
        in_sample, in_all = found / int(self.rows.sum()), min(1.0, found * (_ALL / self.limit) / rows)
        # A key with very many rows is hardly ever in the sample: then only the number of keys shows it.
        return in_sample if abs(in_sample - in_all) <= _SURE * in_sample / found**0.5 else in_all

    def to_json(self) -> list[Any]:
        """JSON data that ``from_json`` takes back."""
        texts = [base64.b64encode(column.tobytes()).decode() for column in (self.hashes, self.rows)]
        return [self.limit, *texts]

    @staticmethod
    def from_json(value: list[Any]) -> KeySample:
        """The sample that ``to_json`` wrote."""
        limit, hashes, rows = value
        read = base64.b64decode
        return KeySample(limit, np.frombuffer(read(hashes), np.uint64), np.frombuffer(read(rows), np.int64))

    def _join(self, hashes: Words, rows: Counts) -> None:
        values, places = np.unique(np.concatenate([self.hashes, hashes]), return_inverse=True)
        counts = np.bincount(places, np.concatenate([self.rows, rows]), len(values)).astype(np.int64)
        if len(values) > SIZE:
            self.limit = min(self.limit, int(values[SIZE]))
        end = len(values) if self.limit == _ALL else int(np.searchsorted(values, np.uint64(self.limit)))
        self.hashes, self.rows = values[:end], counts[:end]
