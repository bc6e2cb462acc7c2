"""The normal form of text ids. Executors import this file, so it imports nothing but Arrow and numpy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_SPACE = 0x20


def normalise_text(values: pa.Array) -> pa.Array:
    """Texts trimmed and in Unicode NFC; null where nothing is left. ``values`` itself where all have that form.

    Raises pa.ArrowInvalid where a text is not UTF-8.
    """
    if _is_plain(values):
        return values
    trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(values), form="NFC")
    return pc.if_else(pc.equal(pc.binary_length(trimmed), 0), pa.scalar(None, trimmed.type), trimmed)


def is_ascii(values: pa.StringArray) -> bool:
    """Whether no text has a byte above 127."""
    return bool(text_bytes(values).view(np.int8).min(initial=0) >= 0)


def text_bytes(values: pa.StringArray) -> np.ndarray:
    """The texts one after the other, uint8[bytes], without a copy."""
    ends = text_offsets(values)
    data = values.buffers()[2]
    whole = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return whole[ends[0] : ends[-1]]


def text_offsets(values: pa.StringArray) -> np.ndarray:
    """Where the texts begin and the last one ends in Arrow's buffer, int32[len + 1], without a copy."""
    if not len(values):
        return np.zeros(1, np.int32)
    return np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, 4 * values.offset)


def _is_plain(values: pa.Array) -> bool:
    """Whether there is nothing to do: no text is empty, and all bytes are ASCII that nobody sees as a space."""
    if values.type != pa.string() or values.null_count or not len(values):
        return False
    return bool(np.diff(text_offsets(values)).min() > 0 and text_bytes(values).view(np.int8).min() > _SPACE)
