"""The objects of the first pass of ``distribute``: rows of all parts, part after part, in one object.

Object: (parts + 1) offsets as little-endian uint64, then a slice per part, empty where a part has no rows. Slice: the
length of what follows as uint64; an Arrow record batch message, without schema, of all columns that are no numbers;
the numbers row by row as float64. A record batch has some 70 bytes of its own for every column: with hundreds of
numbers and few rows they would outweigh the rows.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.exchange.store import Store

_WORD = np.dtype("<u8")

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Slices:
    """How rows of one schema are written and read; travels in task closures. Numbers are its float64 columns, and have
    no nulls.
    """

    schema: pa.Schema

    @property
    def numbers(self) -> list[str]:
        return [column.name for column in self.schema if column.type == pa.float64()]

    @property
    def others(self) -> pa.Schema:
        return pa.schema([column for column in self.schema if column.type != pa.float64()])

    def write(self, table: pa.Table, ends: npt.NDArray[np.int64]) -> bytes:
        """The object of a table whose rows lie part after part and end at ``ends`` (int64[parts])."""
        others = table.select(self.others.names).combine_chunks()
        (batch,) = others.to_batches() or [None]
        numbers = self._matrix(table)
        out, offsets, start = io.BytesIO(), np.zeros(len(ends) + 1, _WORD), 0
        out.write(offsets.tobytes())
        for part, end in enumerate(ends.tolist()):
            if end > start:
                message = batch.slice(start, end - start).serialize()
                out.write(np.array([message.size], _WORD).tobytes())
                out.write(message)
                out.write(numbers[start:end].data)
            offsets[part + 1] = out.tell() - offsets.nbytes
            start = end
        out.seek(0)
        out.write(offsets.tobytes())
        return out.getvalue()

    def read(self, store: Store, name: str, parts: range, of: int) -> list[memoryview]:
        """The slices of consecutive ``parts`` of an object that has ``of`` parts; two requests."""
        width, head = _WORD.itemsize, (of + 1) * _WORD.itemsize
        offsets = np.frombuffer(store.read_range(name, parts.start * width, (len(parts) + 1) * width), _WORD).tolist()
        first, last = offsets[0], offsets[-1]
        data = memoryview(store.read_range(name, head + first, last - first) if last > first else b"")
        return [data[start - first : end - first] for start, end in itertools.pairwise(offsets)]

    def table(self, slices: Sequence[memoryview]) -> tuple[pa.Table, Numbers]:
        """The rows of some slices: the columns that are no numbers, and the numbers (float64[rows, columns])."""
        batches, width = [], len(self.numbers)
        matrices = [np.zeros((0, width))]
        for data in slices:
            if len(data):
                size = int(np.frombuffer(data[: _WORD.itemsize], _WORD)[0])
                begun = _WORD.itemsize + size
                batches.append(pa.ipc.read_record_batch(pa.py_buffer(data[_WORD.itemsize : begun]), self.others))
                matrices.append(np.frombuffer(data[begun:], np.float64).reshape(-1, width))
        return pa.Table.from_batches(batches, self.others), np.concatenate(matrices)

    def whole(self, others: pa.Table, numbers: Numbers) -> pa.Table:
        """All columns of the schema, in its order."""
        columns = dict(zip(self.numbers, _columns(numbers), strict=True))
        every = [columns[name] if name in columns else others[name] for name in self.schema.names]
        return pa.table(every, schema=self.schema)

    def _matrix(self, table: pa.Table) -> Numbers:
        numbers = np.empty((table.num_rows, len(self.numbers)))
        for place, name in enumerate(self.numbers):
            if table[name].null_count:
                raise ValueError(f"column {name} has nulls; staged numbers have none")
            numbers[:, place] = table[name].to_numpy()
        return numbers


def _columns(numbers: Numbers) -> Iterator[pa.Array]:
    for column in numbers.T:
        buffer = pa.py_buffer(np.ascontiguousarray(column))
        yield pa.Array.from_buffers(pa.float64(), len(column), [None, buffer])
