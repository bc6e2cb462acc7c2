"""What the load step tells people about a table that it staged, and which ids they see in the end."""

from __future__ import annotations

import numpy as np
import pytest

from fedspark.conf import CsvTable, ParquetTable
from fedspark.exchange.store import StoreRef
from fedspark.scoring.output import score_table
from fedspark.steps.load import _record, _summary
from fedspark.tables.card import ColumnCard, TableCard
from fedspark.tables.staging import stage


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


@pytest.mark.spark
@pytest.mark.parametrize("id_type", ["string", "integer"])
def test_people_see_ids_as_the_source_has_them_whatever_their_keys_are(spark, tmp_path, id_type):
    ids = [" 17", "007", "8", "-0"]
    (tmp_path / "people.csv").write_text("id,age\n" + "".join(f"{text},{n}\n" for n, text in enumerate(ids)))
    table, ref = CsvTable(path=str(tmp_path / "people.csv"), id="id"), StoreRef((tmp_path / "store").as_uri())
    _, chunks = stage(spark, "people", table, tmp_path, id_type=id_type, ref=ref, folder="people")
    rows = chunks.read(0)
    assert set(rows["key"].to_pylist()) == ({"17", "007", "8", "-0"} if id_type == "string" else {"17", "7", "8", "0"})
    written = score_table(rows, rows["x.age"].to_numpy()).sort_by("score")
    assert written["id"].to_pylist() == ids
    assert np.array_equal(written["score"], [0.0, 1.0, 2.0, 3.0])
