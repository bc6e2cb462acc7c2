"""How the rows of a source come to the function that stages them: through Spark's expressions, or directly.

Directly is for the plain case, that of most tables: one id that is text or an integer, label and features that the
source holds as numbers, or as text that is to be read as such. What Arrow makes of these is what `values` would make of
them. Executors import this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fedspark.tables.direct import Batches, Direct, Reading, Unplain
from fedspark.tables.roles import Column, Kind
from fedspark.tables.text_numbers import numbers_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from fedspark.tables.layout import Layout

_NUMBERS = (Kind.INTEGER, Kind.REAL, Kind.DECIMAL, Kind.BOOLEAN)


@dataclass(frozen=True)
class Arrival:
    """Reads by ``reading``, gives the columns the names and types of `Layout.sinkable`, hands them to ``function``.

    ``key`` and ``numbers`` are columns of the source's frame. ``malformed``: so is that.
    """

    reading: Reading
    key: str
    numbers: tuple[tuple[str, str], ...]
    malformed: bool
    function: Callable[[Batches], Batches]

    def __call__(self, batches: Batches) -> Batches:
        """What ``function`` makes of the rows of one task; called by Spark."""
        return self.function(self._laid_out(batch) for batch in self.reading(batches))

    def _laid_out(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            columns = {"key": pc.cast(batch.column(self.key), pa.string())}
            columns |= {name: numbers_of(batch.column(field)) for name, field in self.numbers}
        except pa.ArrowException as error:  # whose text may have a value in it
            raise Unplain(f"Arrow makes no ids and numbers of these columns ({type(error).__name__})") from None
        if self.malformed:
            columns["malformed"] = batch.column("malformed")
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def arriving(layout: Layout, function: Callable[[Batches], Batches], result: str) -> DataFrame:
    """The rows of type ``result`` that ``function`` makes, in the tasks of a job, of batches as `Layout.sinkable` has.

    Where they came directly, ``function`` may find Unplain raised: then only `by_spark` gives them.
    """
    direct = direct_of(layout)
    if direct is None:
        return by_spark(layout, function, result)
    roles = layout.roles
    labels = [("y", _field(roles.label))] if roles.label else []
    numbers = (*labels, *((f"v{k}", _field(column)) for k, column in enumerate(roles.measured)))
    wanted = dict.fromkeys([_field(roles.ids[0]), *(field for _, field in numbers)])
    try:
        reading = direct.reader(tuple(wanted))
    except Unplain:
        return by_spark(layout, function, result)
    arrival = Arrival(reading, _field(roles.ids[0]), numbers, layout.source.checks_lines, function)
    return direct.pieces.mapInArrow(arrival, result)


def by_spark(layout: Layout, function: Callable[[Batches], Batches], result: str) -> DataFrame:
    """As `arriving`, always through Spark's rows."""
    return layout.sinkable().mapInArrow(function, result)


def direct_of(layout: Layout) -> Direct | None:
    """The source's own way to its rows, where it has one and the roles are plain."""
    source, roles = layout.source, layout.roles
    direct = source.direct
    if direct is None or direct.frame is not source.frame or layout.drop or layout.ids_come:
        return None
    if source.skips_lines or roles.label_values:
        return None
    types = {field.name: field.dataType for field in source.frame.schema.fields}
    numbers = (*([roles.label] if roles.label else []), *roles.measured)
    plain = _plain_key(roles.ids[0], layout.raw_key, types) and all(_plain_number(column, types) for column in numbers)
    return direct if plain else None


def _field(column: Column) -> str:
    return f"c{column.position}"


def _plain_key(column: Column, raw: bool, types: dict[str, DataType]) -> bool:
    from pyspark.sql.types import IntegralType, StringType

    found = types[_field(column)]
    return isinstance(found, StringType) or (not raw and isinstance(found, IntegralType))


def _plain_number(column: Column, types: dict[str, DataType]) -> bool:
    """Whether `numbers_of` makes of it what `values.number` does."""
    from pyspark.sql.types import BooleanType, DoubleType, FloatType, IntegralType, StringType

    found = types[_field(column)]
    if isinstance(found, StringType):
        return column.holds is Kind.TEXT and column.kind in (Kind.TEXT, Kind.REAL, Kind.DECIMAL)
    known = isinstance(found, (IntegralType, FloatType, DoubleType, BooleanType)) and column.kind in _NUMBERS
    return known and (column.kind is column.holds or (column.kind is Kind.REAL and column.holds is Kind.INTEGER))
