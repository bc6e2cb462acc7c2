"""A first look at a table, without Spark: what it refuses, and what it leaves to the load step."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import CsvTable, ParquetTable
from fedspark.errors import TableError
from fedspark.tables.look import kind_of, look_at
from fedspark.tables.roles import Kind


def look(conf, **flags):
    look_at("t", conf, **{"id_type": "string", **flags})


def refused(conf, **flags):
    with pytest.raises(TableError) as caught:
        look(conf, **flags)
    assert str(caught.value).startswith("Table 't' (")
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16"])
def test_the_header_is_read_in_the_encoding_and_with_the_delimiter_of_the_table(tmp_path, encoding):
    (tmp_path / "t.csv").write_text('"größe;m"|id\n1|a\n', encoding=encoding)
    options = {"path": str(tmp_path / "t.csv"), "id": "id", "delimiter": "|", "encoding": encoding}
    look(CsvTable(**options, features=["größe;m"]))
    assert "Did you mean 'größe;m'?" in refused(CsvTable(**options, features=["Größe;M"]))


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    (tmp_path / "t.csv").write_text("id,x\na,1\n", encoding="utf-8-sig")
    look(CsvTable(path=str(tmp_path / "t.csv"), id="id"))


def test_a_compressed_file_is_looked_into(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"id,x\na,1\n"))
    look(CsvTable(path=str(tmp_path / "t.csv.gz"), id="id"))
    assert "'nr'" in refused(CsvTable(path=str(tmp_path / "t.csv.gz"), id="nr"))


def test_the_first_file_of_a_directory_or_glob_stands_for_all(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "_SUCCESS").write_text("")
    assert "there is no csv file in it" in refused(CsvTable(path=str(tmp_path / "d"), id="id"))
    (tmp_path / "d" / "1.csv").write_text("id,x\n")
    look(CsvTable(path=str(tmp_path / "d"), id="id"))
    look(CsvTable(path=(tmp_path / "d").as_uri() + "/*.csv", id="id"))


@pytest.mark.parametrize("path", ["s3a://bucket/t.csv", "/nowhere/{a,b}.csv"])
def test_what_cannot_be_looked_at_from_here_passes(path):
    look(CsvTable(path=path, id="id"))


def test_columns_of_a_partitioned_directory_are_left_to_spark(tmp_path):
    pq.write_to_dataset(pa.table({"id": ["a"], "x": [1.0], "year": [2025]}), tmp_path / "t", partition_cols=["year"])
    look(ParquetTable(path=str(tmp_path / "t"), id="id", features=["x", "year"]))


def test_columns_without_a_header_come_from_the_types(tmp_path):
    (tmp_path / "t.csv").write_text("a,1\n")
    options = {"path": str(tmp_path / "t.csv"), "id": "id", "header": False}
    look(CsvTable(**options, types={"id": "string", "x": "double"}))
    assert "declares 1 columns, and the first line has 2" in refused(CsvTable(**options, types={"id": "string"}))


def test_a_label_that_training_needs_is_missed(tmp_path):
    (tmp_path / "t.csv").write_text("id,x\n")
    assert "no column is declared as label" in refused(
        CsvTable(path=str(tmp_path / "t.csv"), id="id"), needs_label=True
    )


def test_files_of_another_kind_and_empty_ones_are_refused(tmp_path):
    (tmp_path / "t").write_text("id,x\n")
    assert "not readable as Parquet" in refused(ParquetTable(path=str(tmp_path / "t"), id="id"))
    pq.write_table(pa.table({"id": ["a"], "x": [1.0]}), tmp_path / "p")
    assert "its first line is no utf-8 text" in refused(CsvTable(path=str(tmp_path / "p"), id="id"))
    (tmp_path / "e").write_text("\n")
    assert "without even a header line" in refused(CsvTable(path=str(tmp_path / "e"), id="id"))


@pytest.mark.parametrize(
    ("data_type", "kind"),
    [
        (pa.int64(), Kind.INTEGER),
        (pa.decimal128(10, 0), Kind.INTEGER),
        (pa.decimal128(10, 2), Kind.DECIMAL),
        (pa.float32(), Kind.REAL),
        (pa.bool_(), Kind.BOOLEAN),
        (pa.date32(), Kind.DATE),
        (pa.large_string(), Kind.TEXT),
        (pa.dictionary(pa.int32(), pa.string()), Kind.TEXT),
        (pa.timestamp("us"), Kind.TIMESTAMP),
        (pa.time64("us"), Kind.OTHER),
        (pa.binary(), Kind.OTHER),
    ],
)
def test_arrow_types_are_used_as_spark_would(data_type, kind):
    assert kind_of(data_type) is kind
