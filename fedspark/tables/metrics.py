"""Exact aggregates of staged rows, gathered batch by batch while they are written and merged by the driver.

Executors import this file: no Spark in it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedspark.tables.normal_form import is_ascii, text_bytes, text_offsets

UNDECODABLE = "\ufffd"

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

# Odd numbers without pattern: the golden ratio's bits, and MurmurHash3's finaliser.
_STEP, _MIX1, _MIX2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))
_HALF = np.uint64(32)
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_LONG = 64


@dataclass
class Metrics:
    """Of some rows of a table.

    ``read`` counts the source's rows that they stand for, ``unsampled`` those of them outside the sample, ``keys`` the
    rows with a key, ``undecodable`` those with U+FFFD in it, ``labels`` those with label 0 and with label 1.
    ``counts``, ``smallest`` and ``largest`` have an entry per feature, and behind them one for the weight if there is
    one, where NaN counts as larger than infinity and None says that there is no value. ``checksum`` is the sum modulo
    2^64 of a hash of every row's content: the order of rows and the way in which they came do not matter.
    """

    rows: int = 0
    read: int = 0
    keys: int = 0
    malformed: int = 0
    unsampled: int = 0
    undecodable: int = 0
    checksum: int = 0
    labels: list[int] = field(default_factory=lambda: [0, 0])
    counts: list[int] = field(default_factory=list)
    smallest: list[float | None] = field(default_factory=list)
    largest: list[float | None] = field(default_factory=list)

    @staticmethod
    def of(features: int) -> Metrics:
        """Those of no row, for a table with so many features."""
        return Metrics(counts=[0] * features, smallest=[None] * features, largest=[None] * features)

    @staticmethod
    def total(pieces: Iterable[Metrics], features: int) -> Metrics:
        """The metrics of all pieces together."""
        total = Metrics.of(features)
        for piece in pieces:
            total.add(piece)
        return total

    def add(self, other: Metrics) -> None:
        """Make these the metrics of both."""
        for name in ("rows", "read", "keys", "malformed", "unsampled", "undecodable"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.checksum = (self.checksum + other.checksum) % (1 << 64)
        self.labels = [mine + theirs for mine, theirs in zip(self.labels, other.labels, strict=True)]
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        for feature, (low, high) in enumerate(zip(other.smallest, other.largest, strict=True)):
            self._widen(feature, low, high)

    def add_rows(
        self,
        key: pa.StringArray,
        ids: Sequence[pa.StringArray],
        label: npt.NDArray[np.float64] | None,
        features: Sequence[npt.NDArray[np.float64]],
        hashes: Words | None = None,
    ) -> None:
        """Count rows as staged, but for their features; a number that is missing comes as NaN. ``hashes`` are those of
        the keys (`text_hash`), where they are known.
        """
        self.rows += len(key)
        self.keys += len(key) - key.null_count
        if not is_ascii(key):
            self.undecodable += pc.sum(pc.match_substring(key, UNDECODABLE)).as_py() or 0
        if label is not None:
            self.labels = [count + int(np.count_nonzero(label == n)) for n, count in enumerate(self.labels)]
        numbers = [*features] if label is None else [label, *features]
        self.checksum = (self.checksum + content_sum(key, ids, numbers, hashes)) % (1 << 64)

    def add_feature(self, feature: int, values: npt.NDArray[np.float64]) -> None:
        """Count the values of one feature, those that are there."""
        self.counts[feature] += len(values)
        if len(values):
            low, high = float(values.min()), float(values.max())
            if math.isnan(high):
                numbers = values[~np.isnan(values)]
                low = float(numbers.min()) if len(numbers) else low
            self._widen(feature, low, high)

    def _widen(self, feature: int, low: float | None, high: float | None) -> None:
        if low is None or high is None:
            return
        held = self.smallest[feature], self.largest[feature]
        self.smallest[feature] = low if held[0] is None else min(held[0], low, key=_order)
        self.largest[feature] = high if held[1] is None else max(held[1], high, key=_order)

    def to_json(self) -> dict[str, Any]:
        """JSON data (with Python's NaN and Infinity) that ``Metrics(**data)`` takes back."""
        return asdict(self)


def _order(value: float) -> tuple[bool, float]:
    return (True, 0.0) if math.isnan(value) else (False, value)


def content_sum(
    key: pa.StringArray,
    ids: Sequence[pa.StringArray],
    numbers: Sequence[npt.NDArray[np.float64]],
    hashes: Words | None = None,
) -> int:
    """Sum modulo 2^64 of a 64-bit hash per row. For equality of honest data: the hash has no key. ``hashes`` are those
    of the keys, where they are known; they are left as they are.
    """
    state = text_hash(key) if hashes is None else hashes
    for place, column in zip(np.arange(1, len(ids) + 1, dtype=np.uint64) * _MIX2, ids, strict=True):
        if column.null_count < len(column):
            there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
            state = state.copy()
            state[there] = _absorb(state[there], text_hash(column.drop_null()) ^ place)
    for values in numbers:
        state = _absorb(state, values.view(np.uint64))
    return int(spread(state).sum(dtype=np.uint64))


def spread(state: Words) -> Words:
    """Every bit of a state in every bit of a new one: MurmurHash3's finaliser."""
    spread = state ^ (state >> np.uint64(33))
    spread *= _MIX1
    spread ^= spread >> np.uint64(33)
    spread *= _MIX2
    spread ^= spread >> np.uint64(33)
    return spread


def text_hash(values: pa.StringArray) -> Words:
    """A 64-bit hash per text (null as ""), uint64[len]: eight bytes a step, BLAKE2b for what is longer than 64."""
    offsets = text_offsets(values)
    data = np.zeros(int(offsets[-1] - offsets[0]) + 8, np.uint8)
    data[:-8] = text_bytes(values)
    # Eight bytes from every byte on, as numbers: a view, so no element is aligned.
    words = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    starts = (offsets[:-1] - offsets[0]).astype(np.int64)
    lengths = np.diff(offsets).astype(np.int64)
    shortest, longest = int(lengths.min(initial=_LONG)), int(lengths.max(initial=0))
    state = _absorb(np.full(len(values), _MIX1), lengths.astype(np.uint64))
    for step in range(0, min(longest, _LONG), 8):
        if shortest > step and longest <= _LONG:
            state = _absorb(state, _word(words, starts, lengths, step, uniform=shortest == longest))
        else:
            rows = np.flatnonzero((lengths > step) & (lengths <= _LONG))
            state[rows] = _absorb(state[rows], _word(words, starts[rows], lengths[rows], step))
    for row in np.flatnonzero(lengths > _LONG) if longest > _LONG else ():
        text = data[starts[row] : starts[row] + lengths[row]].tobytes()
        state[row] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return state


def _word(words: Words, starts: Places, lengths: Places, step: int, uniform: bool = False) -> Words:
    """Eight bytes of every text from its byte ``step`` on, zeros after its end."""
    if uniform:
        return words[starts + step] & _MASKS[min(int(lengths[0]) - step, 8)]
    return words[starts + step] & _MASKS[np.minimum(lengths - step, 8)]


def _absorb(state: Words, word: Words) -> Words:
    """Mix a word into every state; for one state, different words give different results, and the reverse."""
    mixed: Words = state ^ word
    mixed *= _STEP
    mixed ^= mixed >> _HALF
    return mixed
