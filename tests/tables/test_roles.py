"""Columns find their roles without Spark, and a wrong role is named together with the nearest right one."""

from __future__ import annotations

import pytest

from fedspark.conf.tables import CsvTable, ParquetTable
from fedspark.errors import TableError
from fedspark.tables.problems import mask, nearest
from fedspark.tables.roles import Column, Kind, resolve_roles

COLUMNS = [
    Column(0, "patient", "string", Kind.TEXT),
    Column(1, "sick", "int", Kind.INTEGER),
    Column(2, "age", "int", Kind.INTEGER),
    Column(3, "city", "string", Kind.TEXT),
    Column(4, "income", "double", Kind.REAL),
    Column(5, "seen", "timestamp", Kind.OTHER),
]


def roles(columns=COLUMNS, id_type="string", needs_label=False, needs_features=True, **conf):
    conf = ParquetTable(**{"path": "/t.parquet", "id": "patient", **conf})
    flags = {"id_type": id_type, "needs_label": needs_label, "needs_features": needs_features}
    return resolve_roles("Table 't' (t.parquet)", columns, conf, **flags)


def names(columns):
    return [column.name for column in columns]


def test_without_a_list_every_other_numeric_column_is_a_feature():
    found = roles(label="sick")
    assert names(found.features) == ["age", "income"]
    assert names(found.ignored) == ["city", "seen"]


def test_declared_features_keep_their_declared_order():
    assert names(roles(features=["income", "age"]).features) == ["income", "age"]


def test_text_of_unknown_content_counts_as_a_feature_until_somebody_says_otherwise():
    unknown = [COLUMNS[0], Column(1, "age", "text", Kind.TEXT, read_as_text=True, declared=False)]
    assert names(roles(unknown).features) == ["age"]
    declared = [COLUMNS[0], Column(1, "age", "string", Kind.TEXT, read_as_text=True), COLUMNS[2]]
    assert names(roles([*declared[:2], Column(2, "bmi", "double", Kind.REAL)]).features) == ["bmi"]


def test_a_missing_column_is_refused_with_the_nearest_name_and_all_names():
    with pytest.raises(TableError, match=r"`label` names column 'Sick'.*'patient', 'sick'.*Did you mean 'sick'"):
        roles(label="Sick")


def test_all_wrong_roles_are_reported_at_once():
    with pytest.raises(TableError) as caught:
        roles(label="sik", features=["aeg"])
    assert "'sik'" in str(caught.value)
    assert "Did you mean 'age'?" in str(caught.value)


def test_a_column_in_two_roles_is_refused():
    conf = ParquetTable.model_construct(id=["patient"], label="sick", features=["sick", "age"], ignore=[])
    with pytest.raises(TableError, match="'sick' is named in `label` and again in `features`"):
        resolve_roles("Table 't'", COLUMNS, conf, id_type="string")


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(TableError, match="more than one column is called 'age'"):
        roles([*COLUMNS, Column(6, "age", "int", Kind.INTEGER)])


def test_columns_that_differ_by_case_are_two_columns():
    assert names(roles([*COLUMNS, Column(6, "Age", "int", Kind.INTEGER)], label="sick").features)[-1] == "Age"


@pytest.mark.parametrize("kind", [Kind.REAL, Kind.DECIMAL, Kind.BOOLEAN, Kind.OTHER])
def test_ids_that_parties_would_write_differently_are_refused_with_the_cast_as_remedy(kind):
    with pytest.raises(TableError, match=r"cannot be an? string id.*(?i:cast) it to an integer or to text"):
        roles([Column(0, "patient", "double", kind), COLUMNS[2]])


def test_a_date_is_no_integer_id():
    with pytest.raises(TableError, match="cannot be an integer id"):
        roles([Column(0, "patient", "date", Kind.DATE), COLUMNS[2]], id_type="integer")


def test_a_feature_that_cannot_be_a_number_is_refused_with_its_type():
    with pytest.raises(TableError, match=r"'seen' \(timestamp\)"):
        roles(features=["age", "seen"])


def test_a_table_without_features_is_refused_where_features_are_needed():
    with pytest.raises(TableError, match=r"no feature column.*'city' \(string\)"):
        roles([COLUMNS[0], COLUMNS[3]])
    assert roles([COLUMNS[0], COLUMNS[3]], needs_features=False).features == ()


def test_a_label_that_is_needed_and_not_declared_is_refused():
    with pytest.raises(TableError, match="no column is declared as label"):
        roles(needs_label=True)


@pytest.mark.parametrize(
    ("text", "masked"),
    [("patient-007", "p***7 (11 characters)"), ("1234", "1***4 (4 characters)"), ("133", "*** (3 characters)")],
)
def test_a_masked_id_shows_its_ends_and_length_and_of_a_short_one_the_length(text, masked):
    assert mask(text) == masked


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_header_of_one_column_with_another_delimiter_in_it_is_told_apart_from_a_missing_column(mark):
    header = [Column(0, f"id{mark}age", "text", Kind.TEXT, read_as_text=True, declared=False)]
    with pytest.raises(TableError, match=r"its header line is one column.*Set `delimiter: ") as caught:
        resolve_roles("Table 't'", header, CsvTable(path="/t.csv", id="id", features=["age"]), id_type="string")
    assert "names column" not in str(caught.value)


def test_the_nearest_name_is_found_whatever_its_case():
    assert nearest("MEAN_RADIOUS", ["mean_area", "Mean_Radius"]) == "Mean_Radius"
    assert nearest(" Age ", ["age", "page"]) == "age"
    assert nearest("zinc", ["iron"]) is None
