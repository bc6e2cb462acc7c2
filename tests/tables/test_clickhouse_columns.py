"""Columns in ClickHouse's native format, and hashes that the server computes alike. Expected hashes are a server's."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from fedspark.tables.clickhouse.columns import (
    NULL_HASH,
    Target,
    encoded,
    fitted,
    hash_sql,
    hashes,
    int_hash,
    siphash,
    target_type,
)
from fedspark.tables.clickhouse.intake import Refused, Sums


def column(meaning: str, *, modern: bool = False, nullable: bool = True) -> Target:
    kind = target_type(meaning, modern)
    assert kind is not None
    return Target("x", kind, nullable, meaning)


def test_hashes_are_those_of_the_server():
    assert int_hash(np.array([0, 1, 2**64 - 1], np.uint64)).tolist() == [
        4761183170873013810,
        10577349846663553072,
        14600443904207254319,
    ]
    texts = pa.array([b"abc", b"", b"\x00\xff"], pa.large_binary())
    assert siphash(texts).tolist() == [4596069200710135518, 2202906307356721367, 4584532329431035208]
    assert hashes(pa.array([-0.1, 0.0, 2.0])).tolist() == [
        13786276575118945339,
        4761183170873013810,
        5951612698278622707,
    ]
    assert hashes(pa.array([4], pa.int32()).view(pa.date32())).tolist() == [7766709361750702608]
    assert hashes(pa.array([None, 1], pa.int64())).tolist() == [NULL_HASH, 10577349846663553072]


@pytest.mark.parametrize(
    ("meaning", "values", "kind", "stored"),
    [
        ("int8", [-128, 127, 128], "Int8", [-128, 127, None]),
        ("uint64", [Decimal(2**64 - 1), Decimal(-1), None], "UInt64", [2**64 - 1, None, None]),
        ("float32", [0.5, 0.1, float("inf")], "Float32", [0.5, None, float("inf")]),
        ("boolean", [True, False, None], "UInt8", [1, 0, None]),
        ("decimal(9,2)", [Decimal("-1.25"), None], "Decimal(9, 2)", [Decimal("-1.25"), None]),
        ("date", ["2020-01-02", "0000-00-00", "1969-12-31"], "Date", [datetime.date(2020, 1, 2), None, None]),
        ("date", [datetime.date(2105, 12, 31), datetime.date(2106, 1, 1)], "Date", [datetime.date(2105, 12, 31), None]),
        ("text", ["", None, "ä"], "String", [b"", None, "ä".encode()]),
        ("int64", ["12", "1.5", "x"], "Int64", [12, None, None]),
        ("int64", ["0x1A", "+7", " -8 ", "1_0", "", None], "Int64", [None, 7, -8, None, None, None]),
        ("boolean", ["TRUE", "n", "1", "7", "", None], "UInt8", [1, 0, 1, None, None, None]),
        ("float64", ["0x1A", " 1.5", "1d"], "Float64", [None, 1.5, None]),
        ("date", ["202401", "2024-01-01 garbage", "2024-02-30"], "Date", [None, None, None]),
    ],
)
def test_a_value_is_stored_as_it_is_or_refused(meaning, values, kind, stored):
    target = column(meaning)
    array = pa.array(values)
    fit, wrong = fitted(array, target)
    assert (target.type, fit.to_pylist()) == (kind, stored)
    refused = [value is not None and there is None for value, there in zip(values, stored, strict=True)]
    assert (wrong.to_pylist() if wrong is not None else [False] * len(values)) == refused


def test_dates_before_1970_and_fractions_of_seconds_have_types_on_current_servers_only():
    assert (column("date", modern=True).type, column("timestamp").type) == ("Date32", "String")
    assert column("timestamp", modern=True).type == "DateTime64(6, 'UTC')"
    first = datetime.date(1900, 1, 1)
    fit, wrong = fitted(pa.array([first, datetime.date(1899, 12, 31)]), column("date", modern=True))
    assert (fit.to_pylist(), wrong.to_pylist()) == ([first, None], [False, True])


def test_times_written_as_text_are_of_their_zone_or_of_utc():
    texts = ["2024-03-31T02:30:00+02:00", "2024-03-31 02:30:00.5", "2024-03-31T00:00:00Z", "2024-03-31", "202403", None]
    fit, wrong = fitted(pa.array(texts), column("timestamp", modern=True))
    day = datetime.datetime(2024, 3, 31)
    half = day + datetime.timedelta(hours=2, minutes=30, milliseconds=500)
    assert fit.to_pylist() == [day + datetime.timedelta(minutes=30), half, day, day, None, None]
    assert wrong.to_pylist() == [False, False, False, False, True, False]


def test_a_null_is_refused_where_the_column_has_none():
    _, wrong = fitted(pa.array([1, None]), column("int64", nullable=False))
    assert wrong.to_pylist() == [False, True]


@pytest.mark.parametrize("kind", ["struct<a:int>", "", "decimal(60,2)"])
def test_other_types_have_none_there(kind):
    assert target_type(kind, True) is None


def test_texts_are_encoded_after_their_lengths_of_any_number_of_digits():
    texts = [b"", b"a", None, b"b" * 127, b"c" * 128, b"d" * 20_000, b"e" * 3_000_000, b"\x00"]
    whole = pa.array([b"before", *texts], pa.large_binary())

    def varint(number: int) -> bytes:
        return bytes([number]) if number < 128 else bytes([number & 0x7F | 0x80]) + varint(number >> 7)

    nulls, written = encoded(whole[1:], column("text"))
    assert nulls == bytes([0, 0, 1, 0, 0, 0, 0, 0])
    assert written == b"".join(varint(len(text or b"")) + (text or b"") for text in texts)
    assert encoded(whole[:0], column("text")) == [b"", b""]


def test_numbers_are_encoded_little_endian_in_the_width_of_their_type():
    assert encoded(pa.array([1, -2], pa.int16()), column("int16", nullable=False)) == [b"\x01\x00\xfe\xff"]
    day = pa.array([datetime.date(1970, 1, 3)])
    assert encoded(day, column("date", nullable=False)) == [b"\x02\x00"]
    assert encoded(day, column("date", modern=True, nullable=False)) == [b"\x02\x00\x00\x00"]
    large = pa.array([Decimal("-0.01"), Decimal("1.00")], pa.decimal128(20, 2))
    assert encoded(large[1:], column("decimal(20,2)", nullable=False)) == [(100).to_bytes(16, "little")]
    small = pa.array([Decimal("-0.01")], pa.decimal128(9, 2))
    assert encoded(small, column("decimal(9,2)", nullable=False)) == [b"\xff\xff\xff\xff"]


def test_names_cannot_become_sql():
    assert "`a\\` , 1`" in hash_sql(Target("a` , 1", "Int64", True, ""))


def sums(*columns: list[object], batches: int = 1) -> Sums:
    targets = [column("text" if any(isinstance(value, str) for value in values) else "int64") for values in columns]
    arrays = [fitted(pa.array(values), target)[0] for values, target in zip(columns, targets, strict=True)]
    found = Sums.zero(len(columns))
    size = -(-len(columns[0]) // batches)
    for start in range(0, len(columns[0]), size):
        other = Sums.zero(len(columns))
        other.add([array[start : start + size] for array in arrays])
        found.merge(other)
    return found


def test_sums_do_not_depend_on_the_order_of_rows_or_on_batches():
    ids, names = list(range(50)), [f"n{k}" for k in range(50)]
    assert sums(ids, names) == sums(ids[::-1], names[::-1], batches=7)


@pytest.mark.parametrize(
    ("ids", "names", "said"),
    [
        ([1, 2, 3], ["a", "", None], None),
        ([1, 2, 3], ["a", None, None], "column 'names' has other values"),
        ([1, 2, 3], ["a", "", ""], "column 'names' has other values"),
        ([1, 2], ["a", ""], "3 rows were read and 2 are there"),
        ([1, 2, 3, 3], ["a", "", None, None], "3 rows were read and 4 are there"),
        ([1, 2, 2], ["a", "", None], "column 'ids' has other values"),
        ([2, 1, 3], ["a", "", None], "values of its columns are in other rows"),
    ],
)
def test_what_is_stored_otherwise_is_told(ids, names, said):
    targets = [Target("ids", "Int64", True, ""), Target("names", "String", True, "")]
    found = sums([1, 2, 3], ["a", "", None]).differences(sums(ids, names), targets)
    assert (found[0] if found else None) == said


def test_swapped_columns_are_told():
    targets = [Target("a", "Int64", True, ""), Target("b", "Int64", True, "")]
    assert sums([1, 2], [3, 4]).differences(sums([3, 4], [1, 2]), targets) == [
        "column 'a' has other values",
        "column 'b' has other values",
    ]


def test_values_in_other_rows_are_told_between_columns_of_any_two_groups():
    rows = [[k * 1000 + row for row in range(5)] for k in range(120)]
    other = [*rows[:110], rows[110][::-1], *rows[111:]]
    targets = [Target(str(k), "Int64", True, "") for k in range(120)]
    assert sums(*rows).differences(sums(*other), targets) == ["values of its columns are in other rows"]


def test_refused_values_are_counted_over_slices_and_shown_masked():
    one, two = Refused(lines=1), Refused()
    one.add(1, ["1960-01-01", "1961-01-01"], 2)
    two.add(1, ["0000-00-00", "1962-02-02"], 1000)
    two.add(0, [None], 3)
    one.merge(two)
    targets = [Target("id", "Int64", False, "int"), Target("born", "Date", True, "date")]
    found = "\n".join(f"{problem} {remedy}" for problem, remedy in one.problems("t", targets, ["id"]).found)
    assert "1 malformed line" in found
    assert "column 'id': 3 rows with no value, and it orders the table Name other columns in `order_by`" in found
    shown = "for example 1***1 (10 characters), 1***1 (10 characters), 0***0 (10 characters)"
    assert f"column 'born': 1,002 rows of type date that Date cannot hold, {shown} Add 'born' to `as_text`" in found
