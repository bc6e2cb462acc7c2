"""Columns of a CREATE TABLE, and values of INSERT statements as Arrow columns. Executors import this file: no Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fedspark.errors import TableError
from fedspark.tables.roles import Kind
from fedspark.tables.sqlscript.statements import Statement, dialect

_NO_COLUMN = {"PRIMARY", "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK", "PERIOD"}
_INTEGERS = {"TINYINT", "SMALLINT", "MEDIUMINT", "INT", "UTINYINT", "USMALLINT", "UMEDIUMINT", "UINT", "BIGINT"}
_TEXTS = {
    "CHAR",
    "NCHAR",
    "VARCHAR",
    "NVARCHAR",
    "TEXT",
    "TINYTEXT",
    "MEDIUMTEXT",
    "LONGTEXT",
    "ENUM",
    "SET",
    "JSON",
    "UUID",
}
_UNSIGNED = pa.decimal128(20, 0)
_ZERO_DATE = "^(0000-|....-00|....-..-00)"


@dataclass(frozen=True)
class DumpColumn:
    """A column of a dumped table: name and type as written, its kind, and the Arrow type that its values get.

    Binary, spatial and generated columns have the Arrow type null: their values are not read. ``default``: it has one
    other than NULL, so that a row that leaves it out cannot be known. ``bits``: BIT, which mysqldump writes as bytes.
    """

    name: str
    type: str
    kind: Kind
    arrow: pa.DataType
    default: bool = False
    generated: bool = False
    bits: bool = False


def columns_of(statement: Statement) -> tuple[DumpColumn, ...]:
    """The columns of a CREATE TABLE; none where it has no list of them."""
    found = (_column(statement, first, last) for first, last in _items(statement))
    return tuple(column for column in found if column is not None)


def _items(statement: Statement) -> Iterator[tuple[int, int]]:
    """First and last token of what stands between the commas of the outermost parentheses."""
    depth, begin = 0, 0
    for at, token in enumerate(statement.tokens):
        kind = token.token_type.name
        if kind == "L_PAREN":
            depth += 1
            begin = at + 1 if depth == 1 else begin
        if depth == 1 and kind in ("COMMA", "R_PAREN") and begin < at:
            yield begin, at - 1
            begin = at + 1
        if kind == "R_PAREN":
            depth -= 1
            if not depth:
                return


def _column(statement: Statement, first: int, last: int) -> DumpColumn | None:
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    name = statement.tokens[first]
    if name.token_type.name != "IDENTIFIER" and name.text.upper().split()[0] in _NO_COLUMN:
        return None
    text = statement.source(first, last)
    for token in statement.tokens[first + 1 : last + 1]:
        if token.text.upper() == "ZEROFILL":  # changes how a client shows the number, and SQLGlot does not know it
            at = token.start - name.start
            text = text[:at] + " " * len(token.text) + text[at + len(token.text) :]
    definition = None
    if last > first:
        try:
            definition = dialect().parse(f"CREATE TABLE t ({text})")[0].find(exp.ColumnDef)
        except (ParseError, TokenError):  # a type that SQLGlot does not know, such as POINT: nobody can use its values
            definition = None
    if definition is None or definition.kind is None:
        said = statement.tokens[min(first + 1, last)].text.upper()
        return DumpColumn(name.text, said, Kind.OTHER, pa.null())
    constraints = [constraint.kind for constraint in definition.constraints]
    generated = any(isinstance(kind, exp.ComputedColumnConstraint) for kind in constraints)
    default = any(
        isinstance(kind, exp.DefaultColumnConstraint) and not isinstance(kind.this, exp.Null) for kind in constraints
    ) or any(isinstance(kind, exp.AutoIncrementColumnConstraint) for kind in constraints)
    kind, arrow = (Kind.OTHER, pa.null()) if generated else _type(definition.kind)
    bits = not generated and definition.kind.this.name == "BIT"
    return DumpColumn(name.text, definition.kind.sql("mysql"), kind, arrow, default, generated, bits)


def _type(data_type: Any) -> tuple[Kind, pa.DataType]:
    """TINYINT(1) is an integer: it holds 0 and 1 by custom only."""
    name = data_type.this.name
    sizes = [int(size.name) for size in data_type.expressions if size.name.isdigit()]
    if name in _INTEGERS or name in ("BOOLEAN", "YEAR"):
        return Kind.INTEGER, pa.int64()
    if name in ("UBIGINT", "SERIAL", "BIT"):
        return Kind.INTEGER, _UNSIGNED
    if name in ("DECIMAL", "UDECIMAL"):
        precision, scale = (*sizes, 0)[:2] if sizes else (10, 0)
        if precision > 38:
            return Kind.TEXT, pa.string()
        return Kind.DECIMAL if scale else Kind.INTEGER, pa.decimal128(precision, scale)
    if name in ("FLOAT", "DOUBLE", "UDOUBLE"):
        return Kind.REAL, pa.float64()
    if name == "DATE":
        return Kind.DATE, pa.date32()
    if name in ("DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMPLTZ"):
        return Kind.TIMESTAMP, pa.timestamp("us")
    if name in _TEXTS:
        return Kind.TEXT, pa.string()
    return Kind.OTHER, pa.null()


def rows_of(where: str, statement: Statement, columns: Sequence[DumpColumn]) -> tuple[list[pa.Array], int]:
    """The values of an INSERT, an array a column, and how many zero dates became nulls; TableError if it has none."""
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        (insert,) = dialect().parser().parse(list(statement.tokens), statement.text)
    except (ParseError, TokenError):
        insert = None
    if (
        not isinstance(insert, exp.Insert)
        or not isinstance(insert.expression, exp.Values)
        or insert.args.get("conflict")
    ):
        raise _refused(where, statement, "is none with plain values", "Write the dump with mysqldump.")
    names = [name.name for name in insert.this.expressions] if isinstance(insert.this, exp.Schema) else []
    places = _places(where, statement, columns, names)
    texts: list[list[str | None]] = [[] for _ in columns]
    for row in insert.expression.expressions:
        values = row.expressions
        if len(values) != len(places):
            raise _refused(where, statement, f"has a row of {len(values)} values for {len(places)} columns", _AGAIN)
        for place, value in zip(places, values, strict=True):
            if type(value) is exp.Literal and not columns[place].bits:
                texts[place].append(value.this)
            else:
                texts[place].append(_text(where, statement, columns[place], value))
    count = len(insert.expression.expressions)
    arrays, zeros = [], 0
    for column, held in zip(columns, texts, strict=True):
        array, changed = _array(where, statement, column, held, count)
        arrays.append(array)
        zeros += changed
    return arrays, zeros


def _places(where: str, statement: Statement, columns: Sequence[DumpColumn], names: Sequence[str]) -> list[int]:
    """Which column each value of a row is for."""
    if not names:
        return list(range(len(columns)))
    known = {column.name.lower(): place for place, column in enumerate(columns)}  # MySQL's rule for names of columns
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        raise _refused(where, statement, f"has a column {unknown[0]!r} that CREATE TABLE does not have", _AGAIN)
    places = [known[name.lower()] for name in names]
    for place, column in enumerate(columns):
        if place not in places and column.default and not column.generated:
            raise _refused(where, statement, f"leaves out column {column.name!r}, which has a default", _AGAIN)
    return places


_AGAIN = "Write the dump again with --complete-insert."


def _text(where: str, statement: Statement, column: DumpColumn, value: Any) -> str | None:
    """A value that is no plain literal, as text; null for one that is not read."""
    from sqlglot import exp

    if isinstance(value, exp.Null) or column.arrow == pa.null():
        return None
    if isinstance(value, exp.Introducer):
        value = value.expression
    numeric = column.arrow not in (pa.string(), pa.null())
    if isinstance(value, exp.Neg) and isinstance(value.this, exp.Literal):
        return f"-{value.this.this}"
    if isinstance(value, exp.Literal):
        if not column.bits or not value.is_string:
            return str(value.this)
        if "\ufffd" in value.this:
            problem = f"has a value in column {column.name!r} that is written as bytes"
            raise _refused(where, statement, problem, "Write the dump again with --hex-blob.")
        return str(int.from_bytes(value.this.encode()))
    if isinstance(value, exp.Boolean):
        return "1" if value.this else "0"
    if isinstance(value, (exp.HexString, exp.BitString)):
        base = 16 if isinstance(value, exp.HexString) else 2
        if numeric:
            return str(int(value.this or "0", base))
        return bytes.fromhex(value.this).decode(errors="replace") if base == 16 else None
    if isinstance(value, exp.Concat) and all(isinstance(part, exp.Literal) for part in value.expressions):
        return "".join(part.this for part in value.expressions)
    problem = f"has an expression where column {column.name!r} needs a value"
    raise _refused(where, statement, problem, "Write the dump with mysqldump, which writes values only.")


def _array(
    where: str, statement: Statement, column: DumpColumn, texts: Sequence[str | None], count: int
) -> tuple[pa.Array, int]:
    """The values of a column in its type, and how many dates among them are none (0000-00-00): they become nulls."""
    if column.arrow == pa.null() or not texts:
        return pa.nulls(count, pa.string() if column.arrow == pa.null() else column.arrow), 0
    values, zeros = pa.array(texts, pa.string()), 0
    if column.arrow in (pa.date32(), pa.timestamp("us")):
        zero = pc.fill_null(pc.match_substring_regex(values, _ZERO_DATE), False)
        zeros = zero.true_count
        values = pc.if_else(zero, pa.scalar(None, pa.string()), values) if zeros else values
    try:
        return values.cast(column.arrow), zeros
    except pa.ArrowInvalid:
        problem = f"has a value in column {column.name!r} that is no {column.type}"
        raise _refused(where, statement, problem, "Correct it at the source and write the dump again.") from None


def _refused(where: str, statement: Statement, problem: str, remedy: str) -> TableError:
    return TableError(f"{where}: the INSERT at line {statement.line} of the dump {problem}.", remedy=remedy)
