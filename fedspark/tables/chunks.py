"""A staged table: chunks of its rows, Parquet objects in the party's private store.

Later steps read chunks in plain tasks, without Spark's SQL engine; nothing but names and numbers of rows travels.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedspark.errors import StoreError
from fedspark.exchange.store import Missing, Store, StoreRef

CHUNK_ROWS = 1 << 20
CHUNK_BYTES = 64 << 20

_REMEDY = "Start a new run (another label): nothing but a load step may write into a staged table."


@dataclass(frozen=True)
class Chunks:
    """The rows of a staged table. Travels in task closures: it holds a reference, names and numbers of rows only.

    ``files`` are (full object name, rows), none for an empty table. ``columns`` are those of the table, in order:
    ``key`` string; ``id.<column>`` string, an id as read and null where that is the key (people are shown
    coalesce(id, key)); ``label``, ``weight`` and ``x.<feature>`` float64. Neither order nor size of the chunks means
    anything.
    """

    ref: StoreRef
    files: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every chunk."""
        return chunk_schema(self.columns)

    @property
    def rows(self) -> int:
        """Rows of the whole table."""
        return sum(rows for _, rows in self.files)

    def __len__(self) -> int:
        return len(self.files)

    def read(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One chunk, or ``columns`` of it in that order. StoreError when it is lost, damaged, or not what was written.

        The whole object is fetched, whatever the columns.
        """
        name, rows = self.files[index]
        schema = self.schema if columns is None else pa.schema([self.schema.field(column) for column in columns])
        try:
            data = self.ref.open().read(name)
            file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
            if file.schema_arrow != self.schema or file.metadata.num_rows != rows:
                raise self._changed(name, f"{file.metadata.num_rows:,} rows instead of {rows:,}, or other columns")
            table = file.read(columns=schema.names, use_threads=False)
        except Missing as error:
            raise self._changed(name, "it is not there any more") from error
        except (pa.ArrowException, OSError) as error:
            raise self._changed(name, str(error).splitlines()[0].rstrip(".")) from error
        return table.select(schema.names)

    def to_json(self) -> dict[str, Any]:
        """JSON data without the reference, for records; ``from_json`` gives it back."""
        return {"files": [list(file) for file in self.files], "columns": list(self.columns)}

    @staticmethod
    def from_json(ref: StoreRef, value: dict[str, Any]) -> Chunks:
        """The chunks that ``to_json`` described, in the store ``ref``."""
        return Chunks(ref, tuple((str(name), int(rows)) for name, rows in value["files"]), tuple(value["columns"]))

    def _changed(self, name: str, how: str) -> StoreError:
        return StoreError(f"The staged rows {name} in {self.ref.url} are not what was written: {how}.", remedy=_REMEDY)


def chunk_schema(columns: Sequence[str]) -> pa.Schema:
    """Arrow schema of staged columns, by their names."""
    return pa.schema([(name, pa.float64() if _is_number(name) else pa.string()) for name in columns])


def _is_number(column: str) -> bool:
    return column in ("label", "weight") or column.startswith("x.")


class ChunkWriter:
    """Writes tables of one schema, in order, into chunks of at most ``rows`` rows and about ``size`` bytes in memory.

    Names begin with ``folder`` and are unique to this writer: two attempts of one task never touch each other's
    objects. Only what ``close`` returns counts, not what a writer leaves behind that never gets there.
    """

    def __init__(
        self, store: Store, folder: str, schema: pa.Schema, rows: int = CHUNK_ROWS, size: int = CHUNK_BYTES
    ) -> None:
        self._store = store
        self._prefix = f"{folder}/{secrets.token_hex(8)}"
        self._schema = schema
        self._limit = (rows, size)
        self._files: list[tuple[str, int, int]] = []
        self._begin()

    def write(self, table: pa.Table) -> None:
        """Append rows; StoreError when a chunk that is full cannot be written."""
        while table.num_rows:
            fits = self._fitting(table)
            head, table = table.slice(0, fits), table.slice(fits)
            self._writer.write_table(head, row_group_size=fits)
            self._rows += fits
            self._size += head.nbytes
            if self._rows >= self._limit[0] or self._size >= self._limit[1]:
                self._flush()

    def close(self) -> list[tuple[str, int, int]]:
        """Write what is left; (name, rows, bytes in the store) of every chunk."""
        if self._rows:
            self._flush()
        return self._files

    def _fitting(self, table: pa.Table) -> int:
        each = max(1, table.nbytes // table.num_rows)
        return max(1, min(table.num_rows, self._limit[0] - self._rows, (self._limit[1] - self._size) // each + 1))

    def _begin(self) -> None:
        self._rows = self._size = 0
        self._sink = pa.BufferOutputStream()
        # No dictionaries and statistics: ids and numbers hardly repeat, and nothing is looked for by range.
        self._writer = pq.ParquetWriter(
            self._sink,
            self._schema,
            compression="lz4",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )

    def _flush(self) -> None:
        self._writer.close()
        data = self._sink.getvalue().to_pybytes()
        name = f"{self._prefix}-{len(self._files):05d}.parquet"
        if not self._store.create(name, data):
            raise StoreError(f"{name} in {self._store.url} is there already.", remedy="Run the same command again.")
        self._files.append((name, self._rows, len(data)))
        self._begin()
