"""Rows of a source that its party file chooses with `where`: a condition in Spark SQL, over the source's own names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.errors import TableError
from fedspark.tables.problems import listed
from fedspark.tables.roles import Column, Kind
from fedspark.tables.source import Source
from fedspark.tables.values import at, has_form

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression

_TYPES = {
    Kind.INTEGER: "bigint",
    Kind.REAL: "double",
    Kind.DECIMAL: "decimal(38,18)",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamp",
}


def chosen(source: Source, where: str | None) -> Source:
    """The source with the rows that meet ``where``, all if it is None; TableError when it is no condition over them.

    A malformed line stays: it is to be counted, and who knows what it was.
    """
    if where is None:
        return source
    own = source.frame.columns
    hidden = "_"
    while any(column.name.startswith(hidden) for column in source.columns):
        hidden += "_"
    named = source.frame.select(
        *(_typed(column, strict=not source.skips_lines).alias(column.name) for column in source.columns),
        *(F.col(name).alias(hidden + name) for name in own),
    )
    condition = F.expr(f"(\n{where}\n)")  # in parentheses, or what is left over at its end would count as a name for it
    if source.checks_lines:
        condition = F.coalesce(condition, F.lit(False)) | F.col(f"{hidden}malformed")
    try:
        frame = named.where(condition).select(*(F.col(hidden + name).alias(name) for name in own))
    except (ParseException, AnalysisException) as error:
        names = listed(repr(column.name) for column in source.columns)
        reason = (error.getCondition() or "no condition").split(".")[0].replace("_", " ").lower()
        remedy = f"Write a condition in Spark SQL, with text in single quotes, over the columns {names}."
        raise TableError(f"{source.where}: `where` cannot be used ({reason}): {where}", remedy=remedy) from None
    return replace(source, frame=frame, notes=(*source.notes, f"only rows where {where}"))


def _typed(column: Column, strict: bool) -> Expression:
    """A column of the frame in the type that it was declared to have.

    ``strict``: text that does not read so ends the query, or its row would be left out without a word. Else it is null.
    """
    if not (column.read_as_text and column.declared and column.kind in _TYPES):
        return at(column)
    text = F.when(F.trim(at(column)) != "", at(column))
    text = F.when(~has_form(text, column.kind), F.lit("none")).otherwise(text)  # which is of no type
    return text.cast(_TYPES[column.kind]) if strict else text.try_cast(_TYPES[column.kind])
