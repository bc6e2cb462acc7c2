"""`where` of tables in files: the rows that meet it are staged, and nothing else is."""

from __future__ import annotations

import pytest

PEOPLE = {"id": ["a", "b", "c", "d"], "Größe m": [1.5, 1.6, 1.7, None], "city": ["Rome", "Oslo", "Rome", None]}
TEXT = "id,age,city\na,9,Rome\nb,10,Oslo\nc,11,Rome\n"


def test_only_rows_that_meet_the_condition_are_staged_and_the_card_says_so(bench):
    card = bench.stage(PEOPLE, where="`Größe m` > 1.55 AND city <> 'Bonn'")
    assert bench.snapshot() == {"key": ["b", "c"], "id.id": [None, None], "x.Größe m": [1.6, 1.7]}
    assert (card.rows, card.dropped) == (2, 0)
    assert card.notes == ("only rows where `Größe m` > 1.55 AND city <> 'Bonn'",)


def test_faults_of_rows_that_are_left_out_do_not_count(bench, refused):
    assert "has no value" in refused(PEOPLE)
    assert bench.stage(PEOPLE, where="city IS NOT NULL").rows == 3


def test_csv_is_text_until_the_party_file_says_what_it_is(bench):
    types = {"id": "string", "age": "integer", "city": "string"}
    bench.stage(TEXT, types=types, where="age >= 10")
    assert bench.snapshot()["key"] == ["b", "c"]
    bench.stage(TEXT, ignore=["city"], where="age >= '9'", training=False)
    assert bench.snapshot()["key"] == ["a"]


def test_malformed_lines_are_counted_whatever_the_condition_says(bench, refused):
    text = TEXT + "d,12\n"
    assert "1 row with too few or too many fields" in refused(text, ignore=["city"], where="city = 'Oslo'")
    card = bench.stage(text, ignore=["city"], where="city = 'Rome'", on_bad_row="skip")
    assert (card.rows, card.skipped) == (2, 1)


def test_names_that_spark_or_the_reader_use_too_are_the_tables_own(bench):
    table = {"id": ["a", "b", "c"], "c0": [1, 2, 3], "_c1": [3, 2, 1], "malformed": [4, 5, 6]}
    bench.stage(table, where="c0 > 1 AND _c1 > 1 AND malformed = 5", training=False)
    assert bench.snapshot()["key"] == ["b"]


@pytest.mark.parametrize("where", ["nope > 1", "city = ", "age + 1", "1; DROP TABLE people", "city = 'secret' OR"])
def test_what_is_no_condition_over_the_columns_is_refused(refused, where):
    message = refused(TEXT, ignore=["city"], where=where)
    assert "`where` cannot be used (" in message
    assert "over the columns 'id', 'age', 'city'" in message
    assert "\n" not in message


def test_text_that_does_not_compare_with_a_number_is_said_without_the_text(refused):
    message = refused(TEXT.replace("10", "secret"), ignore=["city"], where="age > 9")
    assert "`where` needs a number" in message
    assert "secret" not in message


def test_declared_text_that_reads_as_no_number_is_a_fault_and_not_a_row_that_was_not_chosen(bench, refused):
    text = TEXT.replace("10", "many")
    declared = {"types": {"age": "integer"}, "ignore": ["city"], "where": "age > 0"}
    assert "`where` needs a number" in refused(text, **declared)
    bench.stage(text, **declared, on_bad_row="skip", training=False)
    assert "many" not in str(bench.snapshot())
    bench.stage(TEXT.replace("10", '" "'), **declared, training=False)


@pytest.mark.parametrize("text", ["202402", "2024-02-01 or so"])
def test_declared_text_that_only_spark_takes_for_a_date_is_a_fault_of_the_condition(bench, refused, text):
    people = f"id,x,on\na,1,2024-01-31\nb,2,{text}\nc,3,2024-02-01\nd,4,\n"
    declared = {"types": {"on": "date"}, "features": ["x"], "where": "on >= '2024-02-01'"}
    assert "`where` needs a number, date or truth value, and some text is none" in refused(people, **declared)
    bench.stage(people, **declared, on_bad_row="skip", training=False)
    assert bench.snapshot()["key"] == ["c"]
