"""One column of fixed-width values per message part: Arrow IPC on the wire, numpy on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedspark.errors import CryptoError, Mismatch, PeerError

Values = npt.NDArray[np.uint8]
"""uint8[N, width]: N values of ``width`` bytes each."""


def pack_values(name: str, values: Values) -> bytes:
    """An Arrow IPC stream of one batch with the fixed-size-binary column ``name``; equal values, equal bytes."""
    return _write(name, values_array(values))


def unpack_values(data: bytes, name: str, rows: int | None, width: int) -> Values:
    """uint8[rows, width] as sent by a peer; Mismatch when column, type or number of rows is another. Without ``rows``
    any number will do, and the caller checks it.
    """
    return values_of(_read(data, name, pa.binary(width), rows))


def values_array(values: Values) -> pa.Array:
    """The same values as Arrow fixed-size binary, not copied."""
    rows, width = values.shape
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [None, buffer])


def values_of(column: pa.Array | pa.ChunkedArray) -> Values:
    """The values of a fixed-size-binary column without nulls, not copied where they lie together."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    rows, width = len(column), column.type.byte_width
    buffer = column.buffers()[1]
    raw = np.frombuffer(buffer, np.uint8) if buffer is not None else np.zeros(0, np.uint8)
    return raw[column.offset * width : (column.offset + rows) * width].reshape(rows, width)


def pack_flags(name: str, flags: npt.NDArray[np.bool_]) -> bytes:
    """The same with a Boolean column, one bit per row."""
    return _write(name, pa.array(np.asarray(flags, dtype=np.bool_)))


def unpack_flags(data: bytes, name: str, rows: int) -> npt.NDArray[np.bool_]:
    """bool[rows] as sent by a peer; Mismatch when column, type or number of rows is another."""
    flags: npt.NDArray[np.bool_] = _read(data, name, pa.bool_(), rows).to_numpy(zero_copy_only=False)
    return flags


def _write(name: str, column: pa.Array) -> bytes:
    batch = pa.RecordBatch.from_arrays([column], names=[name])
    pieces = _Pieces()
    with pa.PythonFile(pieces, "w") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return b"".join(pieces.written)


class _Pieces:
    """A file that remembers what is written to it, buffers as they are: the column's values are copied once."""

    closed = False

    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, piece: Any) -> None:
        self.written.append(piece)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _read(data: bytes, name: str, kind: pa.DataType, rows: int | None) -> pa.Array:
    try:
        with pa.ipc.open_stream(pa.BufferReader(data)) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise _refused(name, f"it is not an Arrow stream ({error})") from None
    if table.column_names != [name]:
        raise _refused(name, f"its columns are {table.column_names}, not ['{name}']")
    column = table.column(0)
    if column.type != kind:
        raise _refused(name, f"its type is {column.type}, not {kind}")
    if rows is not None and len(column) != rows:
        raise _refused(name, f"it has {len(column):,} rows, and {rows:,} were agreed")
    if column.null_count:
        raise _refused(name, f"{column.null_count:,} of its values are null")
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], kind)


def _refused(name: str, why: str) -> Mismatch:
    return Mismatch(
        f"A part of the peer's message {name!r} is refused: {why}.",
        remedy="Nothing of it was used. Ask the peer which fedspark version sent it.",
    )


@contextmanager
def from_peer(tag: str, sender: str) -> Iterator[None]:
    """What crypto refuses inside came from ``sender``: PeerError with the rule instead of CryptoError."""
    try:
        yield
    except CryptoError as error:
        raise PeerError(
            f"The message {tag!r} of {sender} is refused: {error.message}",
            remedy="Nothing of it was used. " + (error.remedy or "Ask them which fedspark version they run."),
        ) from None
