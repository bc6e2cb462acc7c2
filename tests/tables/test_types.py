"""Types that a party file declares: the same for every kind of source, and a value that does not read so is a fault."""

from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pytest
from pyspark.sql import Row

from fedspark.conf.tables import OrcTable


def staged(bench, column, type_name, **options):
    """What the values of one column become when it is read as that type, in the order of the ids."""
    ids = [f"p{n}" for n in range(len(column))]
    table = {"id": ids, "x": column}
    bench.stage(table, features=["x"], types={"x": type_name}, training=False, **options)
    return bench.snapshot()["x.x"]


@pytest.mark.parametrize(
    ("type_name", "texts", "numbers"),
    [
        ("double", ["12.5", " 1e3 ", "-.5"], [12.5, 1000.0, -0.5]),
        ("decimal", ["12.50", "7"], [12.5, 7.0]),
        ("integer", ["007", "+12", "-3"], [7.0, 12.0, -3.0]),
        ("boolean", ["true", "No", "1", "f"], [1.0, 0.0, 1.0, 0.0]),
        ("date", ["1970-01-02", "1969-12-31", " 2024-02-29 "], [1.0, -1.0, 19782.0]),
        ("date", ["1970", "1970-02", "1970-1-3"], [0.0, 31.0, 2.0]),
        ("timestamp", ["1970", "1970-02", "1970-1-3 6:00"], [0.0, 31.0, 2.25]),
        (
            "timestamp",
            ["1970-01-01 12:00:00", "1969-12-31T18:00:00Z", "1970-01-02 00:00:00+02:00"],
            [0.5, -0.25, 11 / 12],
        ),
    ],
)
def test_texts_read_as_the_declared_type_become_numbers(bench, type_name, texts, numbers):
    assert staged(bench, texts, type_name) == pytest.approx(numbers, abs=1e-12)


@pytest.mark.parametrize(
    ("type_name", "text"),
    [
        ("double", "1,234.50"),
        ("double", "0x10"),
        ("double", "12 EUR"),
        ("integer", "2.5"),
        ("boolean", "maybe"),
        ("date", "31.12.2024"),
        ("date", "2023-02-29"),
        ("timestamp", "12:30"),
        ("date", "202401"),
        ("date", "20240131"),
        ("date", "2024-01-01 garbage"),
        ("date", "2024-01-01T08:00"),
        ("timestamp", "202401"),
        ("timestamp", "+2024-01-01"),
    ],
)
def test_a_text_that_does_not_read_so_is_refused_with_column_and_type(refused, type_name, text):
    table = {"id": ["ann1", "bob2"], "x": [text, None]}
    message = refused(table, features=["x"], types={"x": type_name})
    article = "an" if type_name == "integer" else "a"
    assert f"feature column 'x' does not read as {article} {type_name} in 1 row" in message
    assert "a***1 (4 characters)" in message
    assert text not in message
    assert f"(values like {look(text)!r})" in message


def look(text: str) -> str:
    return "".join("a" if character.isalpha() else "9" if character.isdigit() else character for character in text)


def test_columns_of_other_types_are_read_as_the_declared_one_where_nothing_is_lost(bench):
    stamps = [datetime.datetime(1970, 1, 3, 6), datetime.datetime(1969, 12, 31, 12)]
    assert staged(bench, pa.array(stamps, pa.timestamp("us")), "timestamp") == [2.25, -0.5]
    assert staged(bench, pa.array(stamps, pa.timestamp("us", "UTC")), "timestamp") == [2.25, -0.5]
    assert staged(bench, pa.array(stamps, pa.timestamp("us")), "date") == [2.0, -1.0]
    assert staged(bench, [stamp.date() for stamp in stamps], "timestamp") == [2.0, -1.0]
    assert staged(bench, [1, 0], "boolean") == [1.0, 0.0]
    assert staged(bench, [1.0, 2.0], "integer") == [1.0, 2.0]
    assert staged(bench, [decimal.Decimal("3.00"), decimal.Decimal("-4.00")], "integer") == [3.0, -4.0]
    assert staged(bench, [True, False], "integer") == [1.0, 0.0]


@pytest.mark.parametrize(("column", "type_name"), [([1, 2], "boolean"), ([1.5, 2.0], "integer")])
def test_numbers_that_are_none_of_the_declared_type_are_refused(refused, column, type_name):
    message = refused({"id": ["ann1", "bob2"], "x": column}, features=["x"], types={"x": type_name})
    assert f" {type_name} in 1 row" in message


@pytest.mark.parametrize(
    ("column", "type_name", "problem"),
    [
        ([datetime.date(2024, 1, 1)], "double", "is of type date, which cannot be read as double"),
        ([20240101], "date", "is of type bigint, which cannot be read as date"),
        ([1.5], "string", "is of type double, which cannot be read as string"),
        ([[1]], "double", "is of type array<bigint>, which cannot be read as double"),
    ],
)
def test_types_that_do_not_fit_each_other_are_refused_before_anything_is_read(refused, column, type_name, problem):
    assert problem in refused({"id": ["a"], "x": column, "y": [1.0]}, types={"x": type_name})


def test_dates_and_times_are_features_where_they_are_named_and_only_there(bench):
    table = {"id": ["a", "b"], "born": [datetime.date(1970, 1, 11), datetime.date(2000, 1, 1)], "x": [1.0, 2.0]}
    assert bench.stage(table).features == ("x",)
    bench.stage(table, features=["born", "x"])
    assert bench.snapshot()["x.born"] == [10.0, 10957.0]


def test_text_declared_a_number_is_a_feature_and_text_declared_text_is_none(bench):
    table = {"id": ["a", "b"], "income": ["1.5", "2.5"], "city": ["Rome", "Oslo"]}
    assert bench.stage(table, types={"income": "double"}).features == ("income",)
    assert bench.stage("id,age,city\na,1,Rome\nb,2,Oslo\n", types={"city": "string"}).features == ("age",)


def test_the_type_of_one_column_of_csv_says_nothing_about_the_others(bench):
    bench.stage("id,age,since\na,1,1970-01-02\nb,2.5,1970-01-03\n", types={"since": "date"}, features=["age", "since"])
    assert bench.snapshot() == {"key": ["a", "b"], "id.id": [None, None], "x.age": [1.0, 2.5], "x.since": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("ids", "type_name", "keys"),
    [
        ([7.0, 1e15, -0.0], "integer", ["0", "1000000000000000", "7"]),
        ([decimal.Decimal("12.00")], "integer", ["12"]),
        (["007", " +8"], "integer", ["7", "8"]),
        ([7, 8], "string", ["7", "8"]),
        ([datetime.datetime(2024, 5, 6, 23, 59)], "date", ["2024-05-06"]),
        ([datetime.date(2024, 5, 6)], "string", ["2024-05-06"]),
        (["2024-5-6"], "date", ["2024-05-06"]),
    ],
)
def test_ids_are_read_as_the_declared_type(bench, ids, type_name, keys):
    assert bench.keys({"id": ids}, types={"id": type_name}) == keys


@pytest.mark.parametrize("text", ["202405", "2024-05-06 or later", "12024-05-06"])
def test_ids_that_spark_would_take_for_dates_of_other_days_are_no_dates(refused, text):
    message = refused({"id": ["2024-05-06", text], "x": [1, 2]}, types={"id": "date"})
    assert "1 row with an id that is not of type date" in message


def test_float_ids_with_a_fraction_or_too_large_to_be_exact_are_no_integers(refused):
    message = refused({"id": [1.5, 2.0**54, 3.0], "x": [1, 2, 3]}, types={"id": "integer"})
    assert "2 rows with an id that is not of type integer" in message


def test_types_of_columns_that_are_not_there_are_refused_with_the_nearest_name(refused):
    assert "`types` names column 'Age', which is not among 'id', 'age'. Did you mean 'age'?" in refused(
        "id,age\na,1\n", types={"Age": "integer"}
    )


def test_orc_is_read_as_the_declared_types_too(bench):
    rows = [Row(id="a", x="1.5", t=datetime.date(1970, 1, 2)), Row(id="b", x="2", t=datetime.date(1970, 1, 3))]
    bench.spark.createDataFrame(rows).write.orc(str(bench.directory / "t.orc"))
    bench.stage_conf(OrcTable(path=str(bench.directory / "t.orc"), id="id", types={"x": "double"}, features=["x", "t"]))
    assert bench.snapshot() == {"key": ["a", "b"], "id.id": [None, None], "x.x": [1.5, 2.0], "x.t": [1.0, 2.0]}


# ---- labels of other values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "meanings"),
    [
        (["sick", " well", "sick"], {"well": 0, "sick": 1}),
        ([2, 1, 2], {1: 0, 2: 1}),
        ([2.0, 1.0, 2.0], {"1": 0, "2": 1}),
        (["M", "B", "D"], {"B": 0, "M": 1, "D": 1}),
        ([True, False, True], {"false": 0, "true": 1}),
    ],
)
def test_a_label_of_other_values_becomes_0_and_1(bench, column, meanings):
    table = {"id": ["a", "b", "c"], "y": column, "x": [1, 2, 3]}
    bench.stage(table, label="y", label_values=meanings, needs_label=True)
    assert bench.snapshot()["label"] == [1.0, 0.0, 1.0]


def test_a_label_declared_a_boolean_may_be_yes_and_no(bench):
    bench.stage("id,y,x\na,yes,1\nb,no,2\n", label="y", types={"y": "boolean"}, needs_label=True)
    assert bench.snapshot()["label"] == [1.0, 0.0]


def test_a_label_with_a_value_that_nobody_named_is_refused(refused):
    table = {"id": ["a", "b", "c"], "y": ["sick", "well", "dead"], "x": [1, 2, 3]}
    message = refused(table, label="y", label_values={"well": 0, "sick": 1})
    assert "label column 'y': 1 row with neither 'well' nor 'sick' but 'dead'" in message


def test_of_a_repeated_id_a_row_with_an_unnamed_label_is_not_hidden(refused):
    people = "id,y,x\na,well,1\na,dead,2\n"
    message = refused(people, label="y", label_values={"well": 0, "sick": 1}, duplicates="drop")
    assert "but 'dead'" in message


# ---- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column", [["2024-01-31", "2024-02-01 08:00:00"], [datetime.date(2024, 1, 31), datetime.date(2024, 2, 1)]]
)
def test_a_time_is_no_feature_and_not_staged(bench, column):
    card = bench.stage({"id": ["a", "b"], "t": column, "x": [1.0, 2.0]}, time="t")
    assert bench.chunks.columns == ("key", "id.id", "x.x")
    assert [column.role for column in card.columns] == ["id", "time", "feature"]
    assert card.period == ("2024-01-31", "2024-02-01")


def test_a_weight_and_a_time_do_not_change_places(bench):
    bench.stage("id,w,t,x\na,2,1970-01-09,1\nb,3,1970-01-10,2\n", weight="w", time="t")
    assert bench.snapshot() == {"key": ["a", "b"], "id.id": [None, None], "weight": [2.0, 3.0], "x.x": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1 row with no time"),
        ("soon", "1 row with no timestamp (values like 'aaaa')"),
        ("31.12.2024", "1 row with no timestamp (values like '99.99.9999')"),
        ("202412", "1 row with no timestamp (values like '999999')"),
    ],
)
def test_what_is_no_time_is_counted_and_refused(refused, text, problem):
    message = refused(f"id,t,x\nann1,2024-01-01,1\nbob2,{text},2\n", time="t")
    assert f"time column 't': {problem}, for example b***2 (4 characters)" in message


def test_a_number_is_no_time(refused):
    message = refused({"id": ["a"], "t": [1700000000], "x": [1.0]}, time="t")
    assert "time column 't' is of type bigint, not a date or time" in message
