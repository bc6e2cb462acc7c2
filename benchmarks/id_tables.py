"""Parquet tables with the ids of ``benchmarks.ids``."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.ids import common

_STRIDE = 7_368_787  # a prime: rows come in an order that has nothing to do with the ids
_PIECE = 1 << 20


def write_table(path: str, party: str, rows: int) -> None:
    """A Parquet table with ``id`` in scattered order and ``number``, piece by piece."""
    first = 0 if party == "guest" else rows - common(rows)
    schema = pa.schema([("id", pa.string()), ("number", pa.float64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, _PIECE):
            places = np.arange(start, min(start + _PIECE, rows), dtype=np.int64)
            digits = pc.utf8_lpad(pa.array(first + places * _STRIDE % rows).cast(pa.string()), 9, "0")
            names = pc.binary_join_element_wise(pa.scalar("u"), digits, pa.scalar(""))
            writer.write_table(pa.table([names, pa.array(places % 97, pa.float64())], schema=schema))
