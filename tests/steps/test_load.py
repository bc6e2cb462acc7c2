"""What the load step tells people about a table that it staged."""

from __future__ import annotations

from fedspark.conf import CsvTable, ParquetTable
from fedspark.steps.load import _record, _summary
from fedspark.tables.card import ColumnCard, TableCard


def card(*columns: tuple[str, str, str]) -> TableCard:
    features = tuple(name for name, _, role in columns if role == "feature")
    return TableCard("patients", 1450, 0, tuple(ColumnCard(*c) for c in columns), features, None, (), "0", 0, 0.0)


COLUMNS = [("id", "string", "id"), ("age", "bigint", "feature"), ("tariff", "string", "ignored")]


def test_columns_that_are_left_out_because_they_are_no_numbers_are_named():
    conf = ParquetTable(path="/t", id="id")
    assert _summary(card(*COLUMNS), conf) == "patients: 1,450 rows, 1 feature; left out: tariff (string)"


def test_columns_that_the_user_leaves_out_are_not_named():
    plain = "patients: 1,450 rows, 1 feature"
    assert _summary(card(*COLUMNS), ParquetTable(path="/t", id="id", ignore=["tariff"])) == plain
    assert _summary(card(*COLUMNS), ParquetTable(path="/t", id="id", features=["age"])) == plain
    assert _summary(card(*COLUMNS[:2]), CsvTable(path="/t", id="id")) == plain


def test_the_report_says_which_numbers_were_read_from_text():
    columns = [
        ("id", "text", "id"),
        ("age", "text", "feature"),
        ("bmi", "double", "feature"),
        ("city", "text", "ignored"),
    ]
    (table,) = _record("load", [card(*columns)])["tables"]
    assert [row[1] for row in table["rows"]] == ["text", "number (from text)", "double", "text"]
