"""Malformed lines of CSV files: named with their place, or left out and counted, as the party file says."""

from __future__ import annotations

import gzip
import json

import pytest

from fedspark.conf.tables import CsvTable
from fedspark.errors import TableError
from fedspark.steps.load import _record, _summary
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
    told = f"3 malformed lines left out, for example {', '.join(SHOWN)}"
    (table,) = _record("load", [card])["tables"]
    assert told in table["note"]
    assert told in _summary(card, CsvTable(path="/t", id="id", label="sick", features=["age"]))


def test_a_card_from_before_lines_could_be_skipped_is_still_read(bench):
    data = bench.stage(TEXT, label="sick", on_bad_row="skip").to_json()
    del data["skipped"], data["skipped_lines"]
    assert TableCard.from_json(data).skipped_lines == ()


def test_a_malformed_line_does_not_stand_for_a_sound_one_where_duplicates_are_dropped(bench):
    card = bench.stage("id,age\na,2\na\na,1\nb\n", on_bad_row="skip", duplicates="drop", training=False)
    assert bench.snapshot() == {"key": ["a"], "id.id": [None], "x.age": [1.0]}
    assert (card.rows, card.dropped, card.skipped) == (1, 1, 2)


def test_other_faults_are_counted_among_the_lines_that_are_not_skipped(refused):
    message = refused("id,age\n,1\n,2,3\nb,x\nc,1\n", on_bad_row="skip")
    assert "1 row with no id" in message
    assert "feature column 'age' does not read as a number in 1 row" in message
    assert "too many fields" not in message


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
