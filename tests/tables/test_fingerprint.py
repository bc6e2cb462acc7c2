"""The card keeps what tells the state of the files that were read: another state is another fingerprint."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import CsvTable, ParquetTable
from fedspark.tables import fingerprint

NOON = 1_700_000_000


def put(path, text: str, time: int = NOON) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (time, time))


def origin(bench, pattern: str) -> dict:
    table = CsvTable(path=str(bench.directory / pattern), id="id")
    return dict(bench.stage_conf(table, training=False).origin)


def test_files_are_counted_with_their_size_and_last_change(bench):
    put(bench.directory / "x/1.csv", "id,age\na,1\n")
    put(bench.directory / "x/2.csv", "id,age\nb,2\nc,3\n", NOON + 60)
    found = origin(bench, "x/*.csv")
    assert (found["files"], found["size"], found["last change"]) == (2, 26, "2023-11-14T22:14:20Z")
    assert len(found["fingerprint"]) == 16


def test_another_name_size_or_time_is_another_fingerprint_and_another_folder_is_not(bench):
    text = "id,age\na,1\n"
    states = [("1.csv", text, NOON), ("2.csv", text, NOON), ("1.csv", text + "b,2\n", NOON), ("1.csv", text, NOON + 1)]
    found = []
    for number, (name, content, time) in enumerate([*states, states[0]]):
        put(bench.directory / f"odd [{number}] {{a,b}} 100%" / name, content, time)
        found.append(origin(bench, f"odd ?{number}? *100%/*.csv")["fingerprint"])
    assert len(set(found)) == 4
    assert found[-1] == found[0]


def test_files_that_only_spark_can_look_at_have_the_same_fingerprint(bench, monkeypatch):
    put(bench.directory / "x [1]/1 100%.csv", "id,age\na,1\n")
    put(bench.directory / "x [1]/3%41#4?.csv", "id,age\nd,4\n")
    put(bench.directory / "x [1]/2.csv", "id,age\nb,2\n", NOON + 60)
    here = origin(bench, "x ?1?/*.csv")
    monkeypatch.setattr(fingerprint, "_looked_at", lambda urls: [])
    assert origin(bench, "x ?1?/*.csv") == here


@pytest.mark.parametrize("name", ["plain", "a b", "a%20b", "100%", "#1", "ä+ö", "t=2024-01-01 00%3A00/a"])
def test_files_of_another_file_system_may_have_any_name(bench, name):
    here = bench.directory / "data" / f"{name}.parquet"
    here.parent.mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a", "b"], "x": [1.0, 2.0]}), here)
    mount = f"fs.viewfs.mounttable.{bench.directory.name.replace('_', '-').lower()}"
    hadoop = bench.spark.sparkContext._jsc.hadoopConfiguration()
    hadoop.set(f"{mount}.link./data", (bench.directory / "data").as_uri())
    url = f"viewfs://{mount.rpartition('.')[2]}/data/{name}.parquet"
    found = bench.stage_conf(ParquetTable(path=str(here), id="id").model_copy(update={"path": url}))
    assert found.rows == 2
    assert found.origin == bench.stage_conf(ParquetTable(path=str(here), id="id")).origin


def test_parquet_has_a_fingerprint_too(bench):
    card = bench.stage({"id": ["a", "b"], "x": [1.0, 2.0]})
    assert card.origin["files"] == 1
    assert card.origin["size"] == (bench.directory / "people.parquet").stat().st_size
    again = bench.stage_conf(ParquetTable(path=str(bench.directory / "people.parquet"), id="id"))
    assert again.origin == card.origin


def test_the_card_knows_about_how_many_different_keys_there_are(bench):
    assert bench.stage("id,age\na,1\na,2\nb,3\nb,4\n").distinct_share == 0.5
    assert bench.stage("id,age\na,1\na,2\nb,3\nb,4\n", duplicates="drop").distinct_share == 1.0
    assert bench.stage("id,age\n").distinct_share is None
