"""ORC files: the same rows as Parquet, and the same sentences when something is wrong."""

from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pytest
from pyarrow import orc

from fedspark.conf.tables import OrcTable
from fedspark.errors import TableError
from fedspark.tables.look import look_at

PEOPLE = {
    "id": pa.array([decimal.Decimal(2**64 - 1), decimal.Decimal(7)], pa.decimal128(20, 0)),
    "Größe": pa.array([1.5, 2.5]),
    "age": pa.array([40, 30], pa.int16()),
    "born": pa.array([datetime.date(1931, 5, 7), datetime.date(1970, 1, 1)]),
    "note": pa.array(["x" * 1_000_000, ""]),
}


def test_an_orc_table_has_the_snapshot_of_the_same_table_in_parquet(bench):
    parquet = bench.stage(pa.table(PEOPLE), ignore=["note"])
    snapshot = bench.snapshot()
    card = bench.stage_conf(_written(bench, PEOPLE, ignore=["note"]))
    assert card.checksum == parquet.checksum
    assert card.features == parquet.features == ("Größe", "age")
    assert bench.snapshot() == snapshot
    assert snapshot["key"] == ["18446744073709551615", "7"]


def test_dates_before_1970_are_ids_of_an_orc_table(bench):
    bench.stage_conf(_written(bench, PEOPLE, id="born"), needs_features=False)
    assert bench.snapshot()["key"] == ["1931-05-07", "1970-01-01"]


def test_a_file_that_is_no_orc_is_refused_by_the_load_step_and_by_the_first_look(bench):
    conf = _written(bench, PEOPLE)
    look_at("people", conf, id_type="string")
    (bench.directory / "people.orc").write_text("id,age\na,1\n")
    with pytest.raises(TableError, match="not readable as ORC"):
        bench.stage_conf(conf)
    with pytest.raises(TableError, match="not readable as ORC"):
        look_at("people", conf, id_type="string")


def test_a_directory_without_orc_files_and_a_missing_path_are_refused(bench):
    (bench.directory / "empty").mkdir()
    with pytest.raises(TableError, match="there is no ORC file in it"):
        bench.stage_conf(OrcTable(path=str(bench.directory / "empty"), id="id"))
    with pytest.raises(TableError, match="there is no such file"):
        bench.stage_conf(OrcTable(path=str(bench.directory / "nothing-*.orc"), id="id"))


def test_a_missing_column_of_an_orc_table_is_named_with_the_nearest_one(bench):
    conf = _written(bench, PEOPLE, features=["Age"])
    with pytest.raises(TableError, match="Did you mean 'age'"):
        bench.stage_conf(conf)
    with pytest.raises(TableError, match="Did you mean 'age'"):
        look_at("people", conf, id_type="string")


def _written(bench, columns, **conf):
    path = bench.directory / "people.orc"
    orc.write_table(pa.table(columns), path)
    return OrcTable(**{"path": str(path), "id": "id", **conf})
