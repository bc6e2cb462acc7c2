"""The SQL for ClickHouse, as text: names, literals, types, slices."""

from __future__ import annotations

import pytest

from fedspark.tables.clickhouse.sql import Selection, column_of, id_of, literal, quoted, row_hash, value_of
from fedspark.tables.roles import Kind


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", "`id`"),
        ("Größe", "`Größe`"),
        ("a`b", "`a\\`b`"),
        ("a\\", "`a\\\\`"),
        ("x`; DROP TABLE t; --", "`x\\`; DROP TABLE t; --`"),
    ],
)
def test_a_name_is_one_identifier_whatever_is_in_it(name: str, text: str) -> None:
    assert quoted(name) == text


def test_a_text_is_one_literal_whatever_is_in_it() -> None:
    assert literal("it's \\") == "'it\\'s \\\\'"


@pytest.mark.parametrize(
    ("type_name", "kind"),
    [
        ("UInt64", Kind.INTEGER),
        ("Int256", Kind.INTEGER),
        ("Decimal(20, 0)", Kind.INTEGER),
        ("Decimal(20, 2)", Kind.DECIMAL),
        ("Nullable(Float32)", Kind.REAL),
        ("LowCardinality(Nullable(String))", Kind.TEXT),
        ("FixedString(16)", Kind.TEXT),
        ("Enum8('a(' = 1, 'Nullable(' = 2)", Kind.TEXT),
        ("Bool", Kind.BOOLEAN),
        ("Date32", Kind.DATE),
        ("DateTime64(3, 'UTC')", Kind.TIMESTAMP),
        ("Nullable(DateTime)", Kind.TIMESTAMP),
        ("Array(Nullable(UInt8))", Kind.OTHER),
        ("Map(String, UInt8)", Kind.OTHER),
        ("Dynamic", Kind.OTHER),
    ],
)
def test_a_type_says_what_a_column_can_be_used_for(type_name: str, kind: Kind) -> None:
    assert column_of(0, "a", type_name).kind is kind


@pytest.mark.parametrize(
    ("type_name", "as_id", "as_value"),
    [
        ("Int32", ("`a`", "bigint"), ("`a`", "bigint")),
        ("UInt64", ("`a`", "string"), ("`a`", "double")),
        ("Nullable(UInt256)", ("CAST(`a` AS Nullable(String))", "string"), ("toFloat64(`a`)", "double")),
        ("Decimal(18, 0)", ("toInt64(`a`)", "bigint"), ("toFloat64(`a`)", "double")),
        ("Decimal(38, 0)", ("`a`", "string"), ("toFloat64(`a`)", "double")),
        ("LowCardinality(UInt8)", ("CAST(`a` AS UInt8)", "bigint"), ("CAST(`a` AS UInt8)", "bigint")),
        (
            "LowCardinality(Nullable(FixedString(2)))",
            ("toStringCutToZero(CAST(`a` AS Nullable(FixedString(2))))", "string"),
            ("toStringCutToZero(CAST(`a` AS Nullable(FixedString(2))))", "string"),
        ),
    ],
)
def test_ids_are_read_exactly_and_values_as_numbers(
    type_name: str, as_id: tuple[str, str], as_value: tuple[str, str]
) -> None:
    column = column_of(0, "a", type_name)
    assert (id_of(column).expression, id_of(column).spark) == as_id
    assert (value_of(column).expression, value_of(column).spark) == as_value


def test_a_condition_cannot_hide_the_slice_behind_a_comment() -> None:
    key = row_hash([id_of(column_of(0, "a", "String")), id_of(column_of(1, "b", "Int8"))])
    selection = Selection("`d`.`t`", "x = 1 OR y = 2 -- both", ("`a`",), key, 4)
    hashed = "(ifNull(cityHash64(`a`), 0) + 3 * ifNull(cityHash64(`b`), 0))"
    assert selection.slice(3) == (
        f"SELECT `a`, {hashed} FROM `d`.`t` WHERE (x = 1 OR y = 2 -- both\n) AND {hashed} % 4 = 3"
    )
    assert selection.totals() == (
        f"SELECT {hashed} % 4, count(), sum({hashed}) FROM `d`.`t` "
        f"WHERE (x = 1 OR y = 2 -- both\n) GROUP BY {hashed} % 4"
    )
