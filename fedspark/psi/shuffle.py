"""Fixed-width values of many tasks in one order, that of the values themselves: where a value came from does not show.

Two passes of part tasks. *Scatter*: a task cuts its values into a slice for every part, by their first 32 bits, and
writes them as one object of the workspace. *Gather*: a task reads its part's slice of every object and sorts them.
Values that look random make parts of about one size.

Object: (parts + 1) offsets in rows as little-endian uint64, then the values, part after part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedspark.crypto.hashing import bucket_of
from fedspark.exchange.columns import Values
from fedspark.run import Workspace

_OFFSET = np.dtype("<u8")


@dataclass(frozen=True)
class Shuffle:
    """Values of ``width`` bytes from ``parts`` tasks to as many parts, through ``folder``; travels in task closures."""

    workspace: Workspace
    folder: str
    parts: int
    width: int

    def scatter(self, part: int, values: Values) -> int:
        """Write the values uint8[N, width] of one task; returns N."""
        target = bucket_of(values, self.parts)
        order = np.argsort(target, kind="stable")
        offsets = np.zeros(self.parts + 1, _OFFSET)
        np.cumsum(np.bincount(target, minlength=self.parts), out=offsets[1:])
        self.workspace.keep(self._path(part), offsets.tobytes() + values[order].tobytes())
        return len(values)

    def gather(self, part: int) -> Values:
        """uint8[N, width]: all values of one part, ascending as big-endian numbers."""
        raw = b"".join(self._slice(task, part) for task in range(self.parts))
        # numpy ignores trailing zeros of byte strings, which is harmless here: all have one width.
        ordered = np.sort(np.frombuffer(raw, f"S{self.width}"))
        return ordered.view(np.uint8).reshape(-1, self.width)

    def remove(self) -> None:
        """Delete what the first pass wrote."""
        self.workspace.remove(self.folder)

    def _slice(self, task: int, part: int) -> bytes:
        store, name = self.workspace.store, self.workspace.name(self._path(task))
        first, last = np.frombuffer(store.read_range(name, part * _OFFSET.itemsize, 2 * _OFFSET.itemsize), _OFFSET)
        start, length = int(first) * self.width, int(last - first) * self.width
        return store.read_range(name, (self.parts + 1) * _OFFSET.itemsize + start, length) if length else b""

    def _path(self, task: int) -> str:
        return f"{self.folder}/task-{task:05d}"
