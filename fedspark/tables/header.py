"""Columns of delimited text, from its header line and the declared types. Pure: neither Spark nor a file is needed."""

from __future__ import annotations

from collections.abc import Sequence

from fedspark.conf.tables import CsvTable
from fedspark.tables.problems import Problems
from fedspark.tables.roles import Column, Kind


def columns_of(where: str, conf: CsvTable, first: Sequence[str | None]) -> tuple[Column, ...]:
    """Columns from the fields of the first line: names from it, or in order from the declared types.

    What has no declared type may be anything. TableError, beginning with ``where``, when the line is no text in the
    table's encoding, or has not as many fields as types are declared where these are its columns.
    """
    problems = Problems(where)
    if conf.header:
        names = [(value or "").strip() or f"_c{position}" for position, value in enumerate(first)]
        if any("\0" in name or "\ufffd" in name for name in names) or names[0].startswith("PAR1"):
            problems.add(f"its first line is no {conf.encoding} text", "Correct `kind` or `encoding`.")
            problems.check()
    else:
        names = list(conf.types)
        if len(names) != len(first):
            counts = f"`types` declares {len(names)} columns, and the first line has {len(first)} fields"
            problems.add(counts, "Declare every column, in the file's order, and check `delimiter`.")
    problems.check()
    columns = [Column(place, name, "text", Kind.TEXT, True, declared=False) for place, name in enumerate(names)]
    return tuple(column.read_as(conf.types[column.name]) if column.name in conf.types else column for column in columns)
