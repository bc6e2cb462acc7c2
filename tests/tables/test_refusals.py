"""Bad tables: each is refused with its source, column, count, masked ids and a remedy, and nothing of it is left."""

from __future__ import annotations

import pytest

from fedspark.conf.tables import CsvTable, ParquetTable
from fedspark.errors import StoreError, TableError


@pytest.mark.parametrize("path", ["nowhere.csv", "nothing-*.csv"])
def test_a_missing_file_or_an_empty_glob_is_refused_with_its_path(bench, path):
    with pytest.raises(TableError, match=r"there is no such file\. Correct `path`") as caught:
        bench.stage_conf(CsvTable(path=str(bench.directory / path), id="id"))
    assert path in str(caught.value)


def test_a_file_of_another_kind_is_refused(bench):
    (bench.directory / "people.parquet").write_text("id,age\na,1\n")
    with pytest.raises(TableError, match=r"not readable as Parquet: .*is not a Parquet file"):
        bench.stage_conf(ParquetTable(path=str(bench.directory / "people.parquet"), id="id"))
    bench.stage({"id": ["a", "b"], "age": [1, 2]})
    with pytest.raises(TableError, match="its first line is no utf-8 text"):
        bench.stage_conf(CsvTable(path=str(bench.directory / "people.parquet"), id="id"))


def test_a_directory_without_files_and_a_file_without_a_line_are_refused(bench, refused):
    (bench.directory / "empty").mkdir()
    with pytest.raises(TableError, match="there is no Parquet file in it"):
        bench.stage_conf(ParquetTable(path=str(bench.directory / "empty"), id="id"))
    assert "without even a header line" in refused("")


def test_a_damaged_parquet_file_is_refused_and_leaves_nothing(bench):
    bench.stage({"id": [str(n) for n in range(1000)], "age": list(range(1000))})
    path = bench.directory / "people.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(bytes(data))
    before = bench.files()
    with pytest.raises(TableError, match="not readable as Parquet"):
        bench.stage_conf(ParquetTable(path=str(path), id="id"))
    assert bench.files() == before


def test_a_url_that_this_spark_cannot_read_is_a_store_error_with_the_remedy(bench):
    with pytest.raises(StoreError, match="jars"):
        bench.stage_conf(ParquetTable(path="nosuch://bucket/people", id="id"))


def test_files_with_different_header_lines_are_refused(bench):
    (bench.directory / "1.csv").write_text("id,age\na,1\n")
    (bench.directory / "2.csv").write_text("id,size\nb,2\n")
    with pytest.raises(TableError, match="different header lines"):
        bench.stage_conf(CsvTable(path=str(bench.directory / "*.csv"), id="id"))
    assert not bench.files()


def test_a_missing_column_is_refused_with_the_nearest_name(refused):
    assert "Did you mean 'Age'?" in refused("id,Age\na,1\n", features=["age"])


def test_two_columns_of_one_name_are_refused(refused):
    assert "more than one column is called 'age'" in refused("id,age,age\na,1,2\n")


def test_text_in_a_feature_column_is_refused_with_counts_for_all_columns(refused):
    message = refused("id,age,bmi,city\np001,x,1,Rome\np002,2,0x1p3,Oslo\np003,3,2d,Bonn\n")
    assert "feature columns 'age' (1 row), 'bmi' (2 rows), 'city' (3 rows) do not read as a number" in message
    assert "p***1 (4 characters), p***2 (4 characters), p***3 (4 characters)" in message
    assert "`ignore`" in message
    assert "`features`" in message


def test_missing_and_infinite_values_are_counted_per_column_at_once(refused):
    nan, inf = float("nan"), float("inf")
    table = {"id": ["a1", "a2", "a3", "a4"], "x": [nan, inf, 1, 2], "y": [-inf, 1, 2, 3], "z": [None, None, 1, 2]}
    message = refused(table)
    assert "feature column 'z' has no value in 2 rows" in message
    assert "feature columns 'x' (2 rows), 'y' (1 row) have NaN or infinity" in message


def test_a_value_that_contradicts_the_declared_type_is_refused(refused):
    types = {"id": "integer", "age": "integer"}
    message = refused("id,age\n1,2.5\nseven,3\n", types=types)
    assert "feature column 'age' does not read as an integer in 1 row" in message
    assert "1 row with an id that is not of type integer, for example s***n (5 characters)" in message


def test_null_and_blank_ids_are_counted_and_refused(refused):
    message = refused("id,age\n,1\n  ,2\nc,3\n")
    assert "id column 'id': 2 rows with no id (null or blank)" in message


def test_null_ids_are_refused_even_where_duplicates_are_dropped(refused):
    assert "2 rows with no id" in refused("id,age\n,1\n  ,2\nc,3\n", duplicates="drop")


def test_a_composite_id_without_one_component_is_no_id(refused):
    message = refused({"a": ["x", "y"], "b": [1, None], "v": [1.0, 2.0]}, id=["a", "b"])
    assert "id columns 'a', 'b': 1 row with no id" in message


def test_ids_that_are_no_integers_are_counted_and_shown_masked(refused):
    message = refused("id,age\n12,1\n1_000,2\n12.0,3\n0x1F,4\n٣٤٥٦,5\n", id_type="integer")
    assert "4 rows with an id that is not of type integer" in message
    assert "1***0 (5 characters)" in message
    assert "1_000" not in message


def test_repeated_ids_are_counted_in_rows_beside_what_else_is_wrong(refused):
    message = refused("id,age\nann7,1\nann7,2\n ann7,3\nbob8,4\nbob8,5\neve,x\n")
    assert "3 rows whose key is there already, for example a***7 (4 characters), b***8 (4 characters)" in message
    assert "`duplicates: drop`" in message


def test_ids_that_become_equal_when_normalised_are_repeated(refused):
    assert "1 row whose key is there already" in refused("id,age\n007,1\n7,\n", id_type="integer")


def test_repeated_ids_alone_are_left_to_the_intersection(bench):
    assert bench.stage("id,age\na,1\na,2\n").rows == 2


def test_a_bad_row_is_not_hidden_by_dropping_duplicates(refused):
    message = refused("id,age\na1,1\na1,zwei\n", duplicates="drop")
    assert "feature column 'age' does not read as a number in 1 row" in message


def test_ids_in_another_encoding_are_refused(refused):
    message = refused("id,age\nJürgen,1\nAnn,2\n".encode("iso-8859-1"))
    assert "characters that could not be decoded" in message


@pytest.mark.parametrize("line", ["c,3,4", "d", '"e,5'])
def test_malformed_lines_are_counted_and_refused(refused, line):
    message = refused(f"id,age\na,1\nb,2\n{line}\n")
    assert "1 row with too few or too many fields" in message


def test_a_label_that_is_not_zero_or_one_is_refused_with_its_values(refused):
    message = refused("id,y,x\na,0,1\nb,yes,2\nc,2,3\nd,,4\n", label="y")
    assert "label column 'y': 1 row with no label" in message
    assert "label column 'y': 2 rows with neither 0 nor 1 but '2', 'yes'" in message


def test_a_label_of_one_class_is_refused_where_it_is_to_be_learned(bench, refused):
    table = "id,y,x\na,1,1\nb,1.0,2\n"
    assert "label column 'y' is 1 in all 2 rows" in refused(table, label="y", needs_label=True)
    assert bench.stage(table, label="y").label_counts == {"0": 0, "1": 2}


def test_constant_features_are_named_and_refused(refused):
    message = refused("id,a,b,c\n1,5,1,7\n2,5,2,7\n")
    assert "feature columns 'a', 'c' have one value in all 2 rows" in message
    assert "`ignore`" in message


def test_several_problems_come_in_one_message(refused):
    message = refused("id,y,a\nx,0,1\nx,3,\n", label="y", needs_label=True)
    assert "has 3 problems: (1)" in message
    assert message.endswith("Nothing of it was staged: correct all of them, then load it again.")


def test_a_float_id_is_refused_with_the_cast_as_remedy(refused):
    assert "cast it to an integer or to text" in refused({"id": [1.0, 2.0], "x": [1, 2]})
