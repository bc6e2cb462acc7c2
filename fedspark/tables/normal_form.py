"""The normal form of text ids. Executors import this file, so it imports nothing but Arrow."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def normalise_text(values: pa.Array) -> pa.Array:
    """Texts trimmed and in Unicode NFC; null where nothing is left."""
    trimmed = pc.utf8_normalize(pc.utf8_trim_whitespace(values), form="NFC")
    return pc.if_else(pc.equal(pc.binary_length(trimmed), 0), pa.scalar(None, trimmed.type), trimmed)
