"""Parquet files read by Python tasks, row group by row group. Executors import this file: no Spark in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from fedspark.tables.direct import Batches, Piece, Unplain, numbers_in, spoken

_ROWS = 65_536
_BYTES = 16 << 20
_BUFFER = 1 << 20


@dataclass(frozen=True)
class ParquetPieces:
    """Reads the row groups whose first byte is in a piece.

    ``columns`` are (name to hand on, name in the file, Spark type); ``tasks`` have the pieces of each. Unplain where a
    file has not these columns, or is not readable.
    """

    tasks: tuple[tuple[Piece, ...], ...]
    columns: tuple[tuple[str, str, str], ...]

    def __call__(self, batches: Batches) -> Batches:
        """The rows of the tasks with the given numbers; called by Spark."""
        for number in numbers_in(batches):
            for piece in self.tasks[number]:
                try:
                    yield from self._rows(piece)
                except (pa.ArrowException, OSError) as error:
                    raise Unplain(f"{spoken(piece.path)}: {str(error).splitlines()[0]}") from None

    def _rows(self, piece: Piece) -> Batches:
        with pq.ParquetFile(piece.path, buffer_size=_BUFFER, pre_buffer=False) as file:
            if not fits(file.schema_arrow, self.columns):
                raise Unplain(f"the columns of {spoken(piece.path)} are others")
            groups = [k for k in range(file.num_row_groups) if piece.start <= _first_byte(file, k) < piece.end]
            if not groups:
                return
            names = [name for _, name, _ in self.columns]
            rows = max(1, min(_ROWS, _BYTES // (16 * len(names))))
            for batch in file.iter_batches(rows, row_groups=groups, columns=names, use_threads=False):
                columns = [batch.column(name) for name in names]
                yield pa.RecordBatch.from_arrays(columns, names=[field for field, _, _ in self.columns])


def fits(schema: pa.Schema, columns: Sequence[tuple[str, str, str]]) -> bool:
    """Whether a file has the columns, once each, in types that Arrow and Spark take for the same."""
    return all(
        len(schema.get_all_field_indices(name)) == 1 and _same(schema.field(name).type, spark_type)
        for _, name, spark_type in columns
    )


def first_fits(path: str, columns: Sequence[tuple[str, str, str]]) -> bool:
    """Whether a file is readable and has the columns."""
    try:
        return fits(pq.read_schema(path), columns)
    except (pa.ArrowException, OSError):
        return False


def _same(data_type: pa.DataType, spark_type: str) -> bool:
    types = pa.types
    if types.is_dictionary(data_type):
        return spark_type == "string" and types.is_string(data_type.value_type)
    same = {
        "string": types.is_string(data_type) or types.is_large_string(data_type),
        "boolean": types.is_boolean(data_type),
        "float": types.is_float32(data_type),
        "double": types.is_float64(data_type),
    }
    integer = spark_type in ("tinyint", "smallint", "int", "bigint")
    return same.get(spark_type, False) or (integer and bool(types.is_integer(data_type)))


def _first_byte(file: pq.ParquetFile, group: int) -> int:
    """Where a row group begins, which is in exactly one piece of the file."""
    column = file.metadata.row_group(group).column(0)
    return int(column.dictionary_page_offset or column.data_page_offset)
