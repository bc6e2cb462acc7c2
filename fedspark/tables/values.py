"""From columns as they were read to normalised keys and numbers, as Spark expressions.

Keys must come out alike at every party, whatever a party's source is. Text is trimmed (Unicode white space) and brought
to NFC; integers become decimal text; dates ISO text. With the id type "integer", text is read as an integer first:
an optional sign and digits, leading zeros dropped. Components of a composite key have ``\\`` and U+001F escaped by a
``\\`` and are joined by U+001F. Whatever has no key (null, nothing but white space, no integer) has a null.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812 - its usual name

from fedspark.tables.normal_form import normalise_text
from fedspark.tables.roles import Column, Kind

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression

SEPARATOR = "\x1f"
_ESCAPE = "\\"
_SPACE = r"[\s\p{IsWhite_Space}]"
# What Spark takes for a date as well: 202401 for the year, and after a date any text at all.
_FORMS = {
    Kind.DATE: r"^\s*\d{4}(-\d\d?(-\d\d?)?)?\s*$",
    Kind.TIMESTAMP: r"^\s*\d{4}(-\d\d?(-\d\d?([T ].*)?)?)?\s*$",
}
_EXACT = {
    Kind.INTEGER: "bigint",  # a decimal would round fractions
    Kind.BOOLEAN: "boolean",
}


def key(ids: Sequence[Column], id_type: str) -> Expression:
    """The key: the normalised id, or null where a component has none."""
    parts = [_component(column, id_type) for column in ids]
    if len(parts) == 1:
        return parts[0]
    joined: list[Expression] = []
    for part in parts:
        escaped = F.replace(part, F.lit(_ESCAPE), F.lit(_ESCAPE * 2))
        escaped = F.replace(escaped, F.lit(SEPARATOR), F.lit(_ESCAPE + SEPARATOR))
        joined += [F.lit(SEPARATOR), escaped]
    return F.concat(*joined[1:])


def is_plain_text(column: Column, id_type: str) -> bool:
    """Whether the key of this id alone is its text in normal form (`normalise_text`), and nothing is to be parsed."""
    return column.kind is Kind.TEXT and id_type != "integer"


def reads_as_key(column: Column) -> bool:
    """Whether this id alone, cast to text, is the key: integers and dates that the source holds as such."""
    return column.kind in (Kind.INTEGER, Kind.DATE) and column.holds is column.kind


def _component(column: Column, id_type: str) -> Expression:
    value = at(column)
    if reads_as_key(column):
        return value.cast("string")
    if column.kind is Kind.INTEGER or id_type == "integer":
        return _whole(value) if column.holds in (Kind.REAL, Kind.DECIMAL) else _integer_text(value.cast("string"))
    if column.kind is Kind.DATE:
        return _date(value, column).cast("string")
    return F.arrow_udf(normalise_text, "string")(value.cast("string"))  # type: ignore[call-overload]


def _whole(value: Expression) -> Expression:
    """Decimal text of a number that is whole, and that a double holds exactly; null of another."""
    real = value.try_cast("double")
    return F.when((real % 1 == 0) & (F.abs(real) <= 2.0**53), real.cast("bigint").cast("string"))


def _integer_text(text: Expression) -> Expression:
    """Decimal text of an integer of any length, without + and leading zeros and with 0 for -0; null if it is none."""
    trimmed = F.regexp_replace(text, f"^{_SPACE}+|{_SPACE}+$", "")
    digits = F.regexp_replace(trimmed, "^[+-]?0*(?=[0-9])", "")
    negative = trimmed.startswith("-") & (digits != "0")
    signed = F.when(negative, F.concat(F.lit("-"), digits)).otherwise(digits)
    return F.when(trimmed.rlike("^[+-]?[0-9]+$"), signed)


def at(column: Column) -> Expression:
    """The column of the source's frame, as read."""
    return F.col(f"c{column.position}")


def number(raw: Expression, column: Column) -> Expression:
    """A value as double; null where it is missing or does not read as the column's type.

    True is 1 and False is 0. Dates and times are days since 1970-01-01, in UTC and with a fraction. Text is one
    as ISO 8601 has it, with four digits of the year; a date has no time of day.
    """
    if column.kind is Kind.DATE:
        return F.unix_date(_date(raw, column)).cast("double")
    if column.kind is Kind.TIMESTAMP:
        return _days(raw, column)
    if column.holds is Kind.TEXT:
        return _parsed(raw, column)
    value = raw.cast("double")
    if column.kind is Kind.INTEGER and column.holds in (Kind.REAL, Kind.DECIMAL):
        return F.when(value % 1 == 0, value)
    if column.kind is Kind.BOOLEAN and column.holds is not Kind.BOOLEAN:
        return F.when(is_label(value), value)
    return value


def _date(raw: Expression, column: Column) -> Expression:
    date = raw.try_cast("date")
    return F.when(has_form(raw, Kind.DATE), date) if column.holds is Kind.TEXT else date


def has_form(text: Expression, kind: Kind) -> Expression:
    """Whether a text that Spark casts to a type of that kind is to count as one; null where there is none."""
    return text.rlike(_FORMS[kind]) if kind in _FORMS else F.lit(True)


def _days(raw: Expression, column: Column) -> Expression:
    days = F.unix_micros(raw.try_cast("timestamp")) / F.lit(86_400e6)
    # Spark takes a time of day alone for one of today.
    return F.when(has_form(raw, Kind.TIMESTAMP), days) if column.holds is Kind.TEXT else days


def _parsed(raw: Expression, column: Column) -> Expression:
    if column.kind in _EXACT:
        return raw.try_cast(_EXACT[column.kind]).cast("double")
    # Java's parser also takes 1d, 1f and 0x1p3 for numbers; the letters of NaN and Infinity may stay.
    value = raw.try_cast("double")
    return F.when(~(raw.rlike("[dDfFxX]") & is_finite(value)), value)


def label(raw: Expression, column: Column, meanings: Sequence[tuple[str, int]]) -> Expression:
    """A label as double; where ``meanings`` says what stands for 0 and 1, null for what it does not name.

    Texts are compared without white space around them, numbers as numbers.
    """
    if not meanings:
        return number(raw, column)
    text = F.btrim(raw.cast("string"))
    pairs = [(_is_called(text, called), F.lit(float(value))) for called, value in meanings]
    chain = F.when(*pairs[0])
    for pair in pairs[1:]:
        chain = chain.when(*pair)
    return chain


def _is_called(text: Expression, called: str) -> Expression:
    same = text == called.strip()
    try:
        value = float(called)
    except ValueError:
        return same
    return same | F.coalesce(text.try_cast("double") == value, F.lit(False))


def is_finite(value: Expression) -> Expression:
    """Whether a double is there and neither NaN nor infinite. (Spark sorts NaN above infinity.)"""
    return F.coalesce(F.abs(value) < F.lit(float("inf")), F.lit(False))


def is_label(value: Expression) -> Expression:
    """Whether a double is 0 or 1."""
    return F.coalesce(value.isin(0.0, 1.0), F.lit(False))


def is_missing(raw: Expression) -> Expression:
    """Whether a value as read is null or, as text, blank."""
    return F.coalesce(F.btrim(raw.cast("string")) == "", F.lit(True))


def any_of(conditions: Sequence[Expression]) -> Expression:
    """Whether one of many conditions holds, as an expression that does not grow deep."""
    return F.exists(F.array(*conditions), lambda condition: condition)
