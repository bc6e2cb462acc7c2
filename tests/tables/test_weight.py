"""A weight per row: staged beside the label, refused where it is none, and no part of tables that have none."""

from __future__ import annotations

import pytest

PEOPLE = "id,y,w,x\nann1,0,2.5,1\nbob2,1,0,2\neve3,1,1,3\n"


def test_a_weight_is_staged_beside_the_label_and_is_no_feature(bench):
    card = bench.stage(PEOPLE, label="y", weight="w", needs_label=True)
    assert bench.chunks.columns == ("key", "id.id", "label", "weight", "x.x")
    assert bench.snapshot()["weight"] == [2.5, 0.0, 1.0]
    assert bench.snapshot()["x.x"] == [1.0, 2.0, 3.0]
    assert card.features == ("x",)
    assert [column.role for column in card.columns] == ["id", "label", "weight", "feature"]


def test_weights_of_parquet_are_any_number(bench):
    bench.stage({"id": ["a", "b"], "w": [3, 1], "x": [1.0, 2.0]}, weight="w")
    assert bench.snapshot()["weight"] == [3.0, 1.0]


def test_another_weight_is_another_content(bench):
    first = bench.stage(PEOPLE, label="y", weight="w").checksum
    assert bench.stage(PEOPLE.replace("2.5", "2.6"), label="y", weight="w").checksum != first
    assert bench.stage(PEOPLE, label="y", ignore=["w"]).checksum != first


def test_of_a_repeated_id_a_row_with_a_bad_weight_is_not_hidden(refused):
    people = "id,w,x\na,1,1\na,-2,0\n"
    assert "1 row with no number of zero or more" in refused(people, weight="w", duplicates="drop")


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        ("", "weight column 'w': 1 row with no weight"),
        ("-1", "weight column 'w': 1 row with no number of zero or more"),
        ("much", "weight column 'w': 1 row with no number of zero or more"),
        ("NaN", "weight column 'w': 1 row with no number of zero or more"),
        ("Infinity", "weight column 'w': 1 row with no number of zero or more"),
    ],
)
def test_what_is_no_weight_is_counted_and_refused(refused, weight, problem):
    message = refused(f"id,w,x\nann1,1,1\nbob2,{weight},2\n", weight="w")
    assert problem in message
    assert "b***2 (4 characters)" in message


def test_weights_that_are_all_zero_are_refused_where_something_is_to_be_learned(bench, refused):
    people = "id,y,w,x\na,0,0,1\nb,1,0,2\n"
    assert "weight column 'w' is 0 in all 2 rows" in refused(people, label="y", weight="w", needs_label=True)
    assert bench.stage(people, label="y", weight="w").rows == 2


def test_a_weight_that_is_not_there_or_cannot_be_a_number_is_refused(refused):
    assert "`weight` names column 'v', which is not among 'id', 'w'" in refused("id,w\na,1\n", weight="v")
    table = {"id": ["a"], "w": [True], "x": [1.0]}
    assert "weight column 'w' is of type boolean, not a number" in refused(table, weight="w")


def test_a_table_without_a_weight_has_the_content_that_it_always_had(bench):
    card = bench.stage({"id": ["a", "b"], "y": [0, 1], "x": [1.5, 2.5]}, label="y")
    assert bench.chunks.columns == ("key", "id.id", "label", "x.x")
    assert card.checksum == "15590714668815063260"
