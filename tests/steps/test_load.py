"""What the load step tells people about a table that it staged, and which ids they see in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf import CsvTable, LoadOptions, ParquetTable
from fedspark.exchange.store import StoreRef
from fedspark.scoring.output import score_table
from fedspark.steps import load
from fedspark.steps.load_record import compared, record_of, told
from fedspark.tables.card import ColumnCard, TableCard
from fedspark.tables.staging import stage
from tests.federation import Federation


def card(*columns: tuple[Any, ...]) -> TableCard:
    features = tuple(column[0] for column in columns if column[2] == "feature")
    return TableCard("patients", 1450, 0, tuple(ColumnCard(*c) for c in columns), features, None, (), "0", 0, 0.0)


COLUMNS = [("id", "string", "id"), ("age", "bigint", "feature"), ("tariff", "string", "ignored")]


def test_columns_that_are_left_out_because_they_are_no_numbers_are_named():
    conf = ParquetTable(path="/t", id="id")
    first = "patients: 1,450 rows, 1 feature, 0 bytes in 0.00 s; left out: tariff (string)"
    assert told(card(*COLUMNS), conf)[0] == first


def test_columns_that_the_user_leaves_out_are_not_named():
    plain = "patients: 1,450 rows, 1 feature, 0 bytes in 0.00 s"
    assert told(card(*COLUMNS), ParquetTable(path="/t", id="id", ignore=["tariff"]))[0] == plain
    assert told(card(*COLUMNS), ParquetTable(path="/t", id="id", features=["age"]))[0] == plain
    assert told(card(*COLUMNS[:2]), CsvTable(path="/t", id="id"))[0] == plain


def test_the_console_shows_what_every_column_in_use_is_read_as():
    columns = [("id", "text", "id", 0.0, "text"), ("age", "text", "feature", 0.25, "number (inferred)"), COLUMNS[2]]
    assert told(card(*columns), CsvTable(path="/t", id="id", features=["age"]))[1:] == [
        "  column  type  role     read as            missing",
        "  id      text  id       text               0.0 %",
        "  age     text  feature  number (inferred)  25.0 %",
    ]


def test_of_a_wide_table_the_console_shows_some_columns_and_says_so():
    wide = card(*((f"x{k}", "double", "feature") for k in range(100)))
    lines = told(wide, ParquetTable(path="/t", id="id"))
    assert len(lines) == 15
    assert lines[-1] == "  and 88 more columns; the report has them all"
    assert len(record_of("load", [wide])["tables"][0]["rows"]) == 100


def test_the_report_says_what_every_column_is_read_as_and_what_is_missing():
    columns = [("id", "text", "id", 0.0, "text"), ("age", "text", "feature", 0.0, "number (inferred)"), COLUMNS[2]]
    table, snapshot = record_of("load", [card(*columns)])["tables"]
    assert [row[3:] for row in table["rows"]] == [["text", 0.0], ["number (inferred)", 0.0], [None, None]]
    assert snapshot["title"] == "patients: snapshot"
    assert ["content", "0"] in snapshot["rows"]


def test_the_snapshot_shows_keys_period_sample_and_the_state_of_the_source():
    origin = {"files": 3, "size": 1_310_000, "last change": "2026-01-02T03:04:05Z", "fingerprint": "ab12"}
    whole = replace(card(*COLUMNS), distinct_share=0.98, period=("2024-01-01", "2024-12-31"), sample=0.1, origin=origin)
    _, snapshot = record_of("load", [whole])["tables"]
    assert dict(snapshot["rows"]) == {
        "rows": "1,450",
        "different keys": "about 98.0 % of the rows",
        "period": "2024-01-01 to 2024-12-31 (UTC)",
        "staged": "0 bytes in 0.00 s",
        "content": "0",
        "sample": "0.1 of all ids, by their hash",
        "source: files": "3",
        "source: size": "1.31 MB",
        "source: last change": "2026-01-02T03:04:05Z",
        "source: fingerprint": "ab12",
    }


def test_a_table_that_another_run_has_read_is_compared_with_it():
    now = replace(card(*COLUMNS), checksum="7", origin={"files": 2, "size": 9, "fingerprint": "b"})
    same = {"run": "may", "rows": 1450, "checksum": "7", "origin": {"files": 1, "size": 9, "fingerprint": "a"}}
    assert compared(now, same) == "the same rows and values as in run may"
    other = {**same, "rows": 1400, "checksum": "8"}
    text = "not the rows and values of run may: 1,400 rows then, 1,450 now; other at the source: files"
    assert compared(now, other) == text
    assert text in told(now, ParquetTable(path="/t", id="id"), other)
    assert ["compared", text] in record_of("load", [now], [other])["tables"][1]["rows"]


@pytest.mark.spark
def test_a_new_run_says_whether_it_reads_what_the_last_one_read_and_a_resumed_one_reads_nothing(spark, tmp_path):
    path = tmp_path / "people.parquet"
    options = LoadOptions(tables=["people"])

    def loaded(federation: Federation) -> list[str]:
        run = federation.run("guest", "load")
        table = ParquetTable(path=str(path), id="id")
        run = replace(run, party_conf=run.party_conf.model_copy(update={"tables": {"people": table}}))
        load.run_step(run, options)
        record = run.read_record("load")
        assert record is not None
        return [row[1] for row in record["tables"][1]["rows"] if row[0] == "compared"]

    def write(*ages: float) -> None:
        pq.write_table(pa.table({"id": [f"p{n}" for n in range(len(ages))], "age": list(ages)}), path)

    write(1.0, 2.0)
    steps = [{"step": "load", "tables": ["people"]}, {"step": "psi", "table": "people"}]
    first = Federation(arbiter=False, session=lambda: spark, base=str(tmp_path / "left"), steps=steps)
    assert loaded(first) == []
    staged = first.objects(first.files("guest"))
    write(1.0, 2.0, 4.0)
    assert loaded(first) == []
    assert first.objects(first.files("guest")) == staged
    (text,) = loaded(first.next_run("june"))
    assert text.startswith("not the rows and values of run run: 2 rows then, 3 now; other at the source: ")
    assert text.endswith("size")
    write(1.0, 2.0, 4.0)
    assert loaded(first.next_run("july")) == ["the same rows and values as in run june"]


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
