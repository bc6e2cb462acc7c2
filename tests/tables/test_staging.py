"""What staging writes: normalised keys, ids as read, label and features as numbers, and a card that tells of them."""

from __future__ import annotations

import datetime
import decimal
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import CsvTable, ParquetTable
from fedspark.errors import StoreError
from fedspark.tables.card import TableCard
from fedspark.tables.chunks import Chunks
from fedspark.tables.shapes import IdShapes

PEOPLE = "id,sick,age,bmi\np2,1,40,21.5\np1,0,30,-0.0\n"


def test_a_snapshot_holds_key_ids_label_and_features_in_declared_order(bench):
    bench.stage(PEOPLE, label="sick", features=["bmi", "age"], needs_label=True)
    staged = bench.snapshot()
    assert staged == {
        "key": ["p1", "p2"],
        "id.id": [None, None],
        "label": [0.0, 1.0],
        "x.bmi": [0.0, 21.5],
        "x.age": [30.0, 40.0],
    }
    assert math.copysign(1, staged["x.bmi"][0]) == 1


def test_the_card_tells_rows_roles_and_labels_and_survives_json(bench):
    card = bench.stage(PEOPLE, label="sick", ignore=["age"])
    assert (card.rows, card.dropped, card.empty) == (2, 0, False)
    assert card.features == ("bmi",)
    assert card.label_counts == {"0": 1, "1": 1}
    assert [(column.name, column.role) for column in card.columns] == [
        ("id", "id"),
        ("sick", "label"),
        ("age", "ignored"),
        ("bmi", "feature"),
    ]
    assert card.bytes > 0
    assert TableCard.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_chunks_survive_json_and_are_read_by_column_in_the_order_asked_for(bench):
    bench.stage(PEOPLE, label="sick")
    chunks = Chunks.from_json(bench.ref, json.loads(json.dumps(bench.chunks.to_json())))
    assert chunks == bench.chunks
    assert chunks.columns == ("key", "id.id", "label", "x.age", "x.bmi")
    table = chunks.read(0, ["x.bmi", "key"]).sort_by("key")
    assert table.to_pydict() == {"x.bmi": [0.0, 21.5], "key": ["p1", "p2"]}


def test_csv_and_parquet_of_the_same_people_have_equal_snapshots_and_checksums(bench):
    text = bench.stage("id,age\n7,1\n8,2.5\n")
    parquet = bench.stage({"id": ["8", "7"], "age": [2.5, 1.0]})
    assert text.checksum == parquet.checksum
    assert bench.snapshot() == {"key": ["7", "8"], "id.id": [None, None], "x.age": [1.0, 2.5]}


def test_integer_and_text_ids_of_the_same_people_have_equal_keys(bench):
    assert bench.keys({"id": pa.array([133, -7, 0], pa.int32())}) == ["-7", "0", "133"]
    assert bench.keys({"id": [decimal.Decimal(133), decimal.Decimal(10) ** 20]}) == ["100000000000000000000", "133"]


def test_the_card_knows_what_ids_look_like_and_what_their_column_held(bench):
    numbers = pa.array(range(1000, 1040), pa.int32())
    found = []
    for column in (numbers, numbers.cast(pa.string()), numbers.cast(pa.date32())):
        card = TableCard.from_json(bench.stage({"id": column, "x": range(40)}).to_json())
        found.append(IdShapes.from_json(card.shapes).describe())
    assert found == ["integers of 4 digits", "4 digits", "dates of a date column"]
    pair = bench.stage({"a": numbers, "b": numbers, "x": range(40)}, id=["a", "b"])
    assert IdShapes.from_json(pair.shapes).describe() == "keys of several columns"


def test_integer_ids_in_text_lose_sign_and_leading_zeros(bench):
    texts = ["007", " +12\u00a0", "-0", "-05", "123456789012345678901234567890123456789012"]
    keys = bench.keys({"id": texts}, id_type="integer")
    assert keys == sorted(["7", "12", "0", "-5", "123456789012345678901234567890123456789012"])


def test_text_ids_are_trimmed_and_brought_to_one_unicode_form_and_kept_as_read_where_that_differs(bench):
    bench.stage({"id": [" Ju\u0308rgen\u2003", "007", "жена"]}, needs_features=False)
    staged = bench.snapshot()
    assert staged["key"] == ["007", "J\u00fcrgen", "жена"]
    assert staged["id.id"] == [None, " Ju\u0308rgen\u2003", None]


def test_dates_are_iso_text_as_ids(bench):
    ids = {"id": [datetime.date(1970, 1, 31), datetime.date(2000, 12, 1)]}
    assert bench.keys(ids) == ["1970-01-31", "2000-12-01"]


def test_components_of_composite_keys_never_run_into_each_other(bench):
    table = {"a": ["x", "x\x1fy", "x\\"], "b": ["y\x1fz", "z", "\x1fy"], "c": [1, 1, 1]}
    keys = bench.keys(table, id=["a", "b", "c"])
    assert keys == sorted(["x\x1fy\\\x1fz\x1f1", "x\\\x1fy\x1fz\x1f1", "x\\\\\x1fy\x1f1"])


def test_dropping_duplicates_keeps_the_smallest_row_of_each_id(bench):
    card = bench.stage("id,age,bmi\na,2,1\n a,1,9\na,1,8\nb,5,5\n", duplicates="drop")
    assert (card.rows, card.dropped) == (2, 2)
    assert bench.snapshot() == {
        "key": ["a", "b"],
        "id.id": [" a", None],
        "x.age": [1.0, 5.0],
        "x.bmi": [9.0, 5.0],
    }


def test_names_with_dots_spaces_quotes_and_case_stay_what_they_are(bench):
    names = ["a.b", "a b", "A b", "Größe", "x`y", "key", "label", "n", "malformed"]
    header = ",".join(["my id", *names])
    card = bench.stage(f"{header}\n1,{','.join('123456789')}\n2,{','.join('234567891')}\n", id="my id")
    assert card.features == tuple(names)
    staged = bench.snapshot()
    assert [staged[f"x.{name}"][0] for name in names] == [float(n) for n in range(1, 10)]
    card = bench.stage({"my id": ["1", "2"], **{name: [1.0, 2.0] for name in names}}, id="my id")
    assert card.features == tuple(names)


def test_a_column_without_a_name_is_called_after_its_place(bench):
    bench.stage(",id,age\n0,a,3\n1,b,4\n", ignore=["_c0"])
    assert bench.snapshot()["x.age"] == [3.0, 4.0]


def test_quoted_fields_other_delimiters_encodings_and_a_byte_order_mark_are_read(bench):
    assert bench.keys('\ufeffid;note\n"a;b";1\n"say ""hi""";2\n', delimiter=";") == ["a;b", 'say "hi"']
    assert bench.keys("id,note\nJürgen,1\nAnn,2\n".encode("iso-8859-1"), encoding="iso-8859-1") == ["Ann", "Jürgen"]


def test_a_file_without_header_takes_names_and_types_from_the_party_file(bench):
    types = {"id": "integer", "city": "string", "age": "integer"}
    bench.stage("007,Rome,3\n8,Oslo,4\n", header=False, types=types)
    assert bench.snapshot() == {"key": ["7", "8"], "id.id": ["007", None], "x.age": [3.0, 4.0]}


def test_several_files_are_one_table(bench):
    for number in (1, 2):
        (bench.directory / f"part {number}.csv").write_text(f"id,age\np{number},{number}\n")
    bench.stage_conf(CsvTable(path="part*.csv", id="id").model_copy(update={"path": "part*.csv"}))
    assert bench.snapshot()["key"] == ["p1", "p2"]


def test_an_empty_table_passes_and_says_so(bench):
    card = bench.stage("id,sick,age\n", label="sick", needs_label=True)
    assert card.empty
    assert card.label_counts == {"0": 0, "1": 0}
    assert bench.stage(pa.table({"id": pa.array([], "string"), "age": pa.array([], "double")})).empty
    assert bench.snapshot() == {"key": [], "id.id": [], "x.age": []}


def test_a_table_is_cut_into_chunks_of_bounded_size(bench):
    bench.stage({"id": [f"p{n}" for n in range(25)], "age": list(range(25))}, chunk_rows=10)
    assert sum(rows for _, rows in bench.chunks.files) == 25
    assert max(rows for _, rows in bench.chunks.files) == 10
    assert bench.snapshot()["x.age"] == [float(key[1:]) for key in bench.snapshot()["key"]]


def test_a_table_of_many_columns_is_staged_in_batches_that_memory_holds(bench):
    columns = {f"x{k}": [float(k), float(k) + row] for row, k in enumerate(range(1, 801), 1)}
    card = bench.stage({"id": ["a", "b"], **columns})
    assert len(card.features) == 800
    assert bench.snapshot()["x.x800"] == [800.0, 1600.0]


def test_rows_that_come_in_another_order_and_other_files_have_the_same_checksum(bench):
    people = {"id": [f" p{n}" for n in range(50)], "age": list(range(50))}
    first = bench.stage(people, chunk_rows=7)
    for part in range(3):
        rows = {name: values[part::3][::-1] for name, values in people.items()}
        pq.write_table(pa.table(rows), bench.directory / f"part-{part}.parquet")
    second = bench.stage_conf(ParquetTable(path=str(bench.directory / "part-*.parquet"), id="id"))
    assert first.checksum == second.checksum
    people["age"][1] = 2
    assert bench.stage(people).checksum != first.checksum


def test_a_table_to_be_scored_may_hold_one_person(bench):
    card = bench.stage("id,age\np1,3\n", training=False)
    assert card.constant == ("age",)


def test_booleans_and_numbers_written_as_text_are_numbers_where_they_are_asked_for(bench):
    table = {"id": ["a", "b"], "flag": [True, False], "text": [" 1e3 ", "-.5"]}
    bench.stage(table, features=["flag", "text"])
    staged = bench.snapshot()
    assert (staged["x.flag"], staged["x.text"]) == ([1.0, 0.0], [1000.0, -0.5])


def test_an_existing_folder_is_refused_and_left_alone(bench):
    bench.stage(PEOPLE, label="sick")
    before = bench.files()
    with pytest.raises(StoreError, match=r"tables/1 .* already"):
        bench.stage_conf(_csv(bench), folder="tables/1")
    assert bench.files() == before


def test_names_of_places_may_hold_spaces_brackets_and_percent_signs(bench):
    odd = bench.directory / "a [b] 100%20 ü"
    odd.mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "age": [1, 2]}), odd / "people.parquet")
    bench.directory = odd
    bench.stage_conf(ParquetTable(path="/x", id="id").model_copy(update={"path": "people.parquet"}))
    assert bench.snapshot()["key"] == ["a", "b"]


def test_the_session_of_the_caller_keeps_its_settings(bench, spark):
    before = dict(spark.conf.getAll)
    bench.stage(PEOPLE, label="sick")
    assert dict(spark.conf.getAll) == before


def test_a_real_table_of_both_sides_is_staged_whole(bench, shared_data):
    for side, label, rows in (("guest", "y", 569), ("host", None, 569)):
        path = shared_data / "breast_hetero" / f"{side}.csv"
        card = bench.stage_conf(CsvTable(path=str(path), id="id", label=label), needs_label=label is not None)
        assert card.rows == rows


def _csv(bench):
    (bench.directory / "people.csv").write_text(PEOPLE)
    return CsvTable(path=str(bench.directory / "people.csv"), id="id", label="sick")
