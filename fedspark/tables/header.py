"""Columns of delimited text, from its header line and the declared types. Pure: neither Spark nor a file is needed."""

from __future__ import annotations

from collections.abc import Sequence

from fedspark.conf.tables import CsvTable
from fedspark.tables.problems import Problems, listed, meant
from fedspark.tables.roles import Column, Kind, wrong_delimiter

# Declared type -> what the column can be used for. An id is an integer or a text; a fraction is not an id.
_KINDS = {
    "string": Kind.TEXT,
    "integer": Kind.INTEGER,
    "double": Kind.REAL,
    "decimal": Kind.DECIMAL,
    "date": Kind.DATE,
    "boolean": Kind.BOOLEAN,
    "timestamp": Kind.OTHER,
}


def columns_of(where: str, conf: CsvTable, first: Sequence[str | None]) -> tuple[Column, ...]:
    """Columns from the fields of the first line: names from it, or in order from the declared types.

    What has no declared type may be anything. TableError, beginning with ``where``, when the line is no text in the
    table's encoding, or does not fit the declared types.
    """
    declared = conf.types or {}
    problems = Problems(where)
    if conf.header:
        names = [(value or "").strip() or f"_c{position}" for position, value in enumerate(first)]
        if any("\0" in name or "\ufffd" in name for name in names) or names[0].startswith("PAR1"):
            problems.add(f"its first line is no {conf.encoding} text", "Correct `kind` or `encoding`.")
            problems.check()
        missing = [name for name in declared if name not in names]
        one_column = wrong_delimiter(names, conf) if missing else None
        if one_column:
            problems.add(*one_column)
            problems.check()
        for name in missing:
            problem = f"`schema` names column {name!r}, which is not among {listed(map(repr, names))}"
            problems.add(problem, meant(name, names, "Declare the columns that are there."))
    else:
        names = list(declared)
        if len(names) != len(first):
            counts = f"`schema` declares {len(names)} columns, and the first line has {len(first)} fields"
            problems.add(counts, "Declare every column, in the file's order, and check `delimiter`.")
    problems.check()
    return tuple(
        Column(position, name, declared.get(name, "text"), _KINDS[declared.get(name, "string")], True, name in declared)
        for position, name in enumerate(names)
    )
