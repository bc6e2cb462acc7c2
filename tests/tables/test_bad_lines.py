"""Malformed lines of CSV files: named with their place, or left out and counted, as the party file says."""

from __future__ import annotations

import gzip
import json

import pytest

from fedspark.conf.tables import CsvTable
from fedspark.errors import TableError
from fedspark.steps.load_record import record_of, told
from fedspark.tables.card import TableCard

LINES = ["id,sick,age", "anna,0,31", "bernd,1", "clara,1,44", "dora,1,2,3,4", '"emil,0,5', "fritz,0,60"]
TEXT = "\n".join(LINES) + "\n"
SHOWN = (
    "people.csv line 3: b***1 (7 characters)",
    "people.csv line 5: d***4 (12 characters)",
    'people.csv line 6: "***5 (9 characters)',
)


def test_a_table_with_malformed_lines_is_refused_with_three_of_them_masked_and_their_places(refused):
    message = refused(TEXT, label="sick")
    assert "3 rows with too few or too many fields" in message
    assert f"for example {', '.join(SHOWN)}." in message
    assert "`on_bad_row: skip`" in message
    assert "bernd" not in message


def test_malformed_lines_are_left_out_counted_and_shown_masked_where_the_party_says_so(bench):
    card = bench.stage(TEXT, label="sick", on_bad_row="skip")
    assert bench.snapshot()["key"] == ["anna", "clara", "fritz"]
    assert (card.rows, card.dropped, card.skipped) == (3, 0, 3)
    assert card.skipped_lines == SHOWN
    assert TableCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    words = f"3 malformed lines left out, for example {', '.join(SHOWN)}"
    table = record_of("load", [card])["tables"][0]
    assert words in table["note"]
    assert words in told(card, CsvTable(path="/t", id="id", label="sick", features=["age"]))[0]


def test_a_card_from_before_lines_could_be_skipped_is_still_read(bench):
    data = bench.stage(TEXT, label="sick", on_bad_row="skip").to_json()
    del data["skipped"], data["skipped_lines"]
    assert TableCard.from_json(data).skipped_lines == ()


def test_a_malformed_line_does_not_stand_for_a_sound_one_where_duplicates_are_dropped(bench):
    card = bench.stage("id,age\na,2\na\na,1\nb\n", on_bad_row="skip", duplicates="drop", training=False)
    assert bench.snapshot() == {"key": ["a"], "id.id": [None], "x.age": [1.0]}
    assert (card.rows, card.dropped, card.skipped) == (1, 1, 2)


def test_other_faults_are_counted_among_the_lines_that_are_not_skipped(refused):
    message = refused("id,age\n,1\n,2,3\nb,x\nc,1\nd,\n", on_bad_row="skip")
    assert "1 row with no id" in message
    assert "feature column 'age' has no value in 1 row" in message
    assert "does not read" not in message
    assert "too many fields" not in message


VALUES = """id,sick,age,since
1001,0,31,2020-01-31
1002,1,old,2020-02-01
1003,1,44,soon
x004,0,5,2020-02-03
1005,si,6,2020-01-01
1006,1,60,2020-01-02
"""
TYPES = {"id": "integer", "since": "date"}


def test_lines_with_values_that_do_not_read_are_left_out_and_counted_by_column(bench):
    options = {"label": "sick", "types": TYPES, "features": ["age", "since"], "on_bad_row": "skip"}
    card = bench.stage(VALUES + "1007,0\n", **options)
    assert bench.snapshot()["key"] == ["1001", "1006"]
    assert (card.rows, card.dropped, card.skipped, card.unread) == (2, 0, 1, 4)
    assert card.unread_values == (
        "id column 'id': 1 row with an id that is not of type integer, for example x***4 (4 characters)",
        "label column 'sick': 1 row with neither 0 nor 1 but 'si', for example 1***5 (4 characters)",
        "feature columns 'age' (1 row), 'since' (1 row) do not read as a date or a number (values like 'aaa', 'aaaa'), "
        "for example 1***2 (4 characters), 1***3 (4 characters)",
    )
    assert TableCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    assert (
        "4 lines with values of no fitting type left out: id column 'id'" in told(card, CsvTable(path="/t", id="id"))[0]
    )


def test_a_line_with_a_wrong_value_does_not_stand_for_a_sound_one_where_duplicates_are_dropped(bench):
    card = bench.stage("id,age\na,2\na,x\na,1\nb,y\n", on_bad_row="skip", duplicates="drop", training=False)
    assert bench.snapshot() == {"key": ["a"], "id.id": [None], "x.age": [1.0]}
    assert (card.rows, card.dropped, card.skipped, card.unread) == (1, 1, 0, 2)


def test_a_table_whose_every_value_is_of_another_type_is_refused_with_the_column(refused):
    message = refused("id,age,city\na,1,Rome\nb,2,Oslo\n", on_bad_row="skip")
    assert "each of its 2 rows has a value that is not of its column's type: feature column 'city'" in message
    assert "(values like 'Aaaa')" not in message  # shapes are of letters and digits, without case
    assert "(values like 'aaaa')" in message


def test_a_table_whose_every_line_would_be_skipped_is_refused(refused):
    message = refused("id,age\na;1\nb;2\n", on_bad_row="skip")
    assert "all its 2 rows have too few or too many fields" in message
    assert "people.csv line 2: a***1" not in message  # three characters are masked whole
    assert "people.csv line 2: *** (3 characters)" in message


def test_lines_of_several_and_of_compressed_files_have_their_own_numbers(bench):
    (bench.directory / "1.csv").write_text("id,age\nanna,1\nbernd,2,2\n")
    (bench.directory / "2.csv.gz").write_bytes(gzip.compress(b"id,age\r\nclara\r\ndora,4\r\n"))
    with pytest.raises(TableError, match=r"1\.csv line 3: b\*\*\*2 .*, 2\.csv\.gz line 2: c\*\*\*a"):
        bench.stage_conf(CsvTable(path=str(bench.directory / "*.csv*"), id="id"))
