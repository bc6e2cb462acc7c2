"""Rows that tasks read without the JVM are those that Spark gives, or Spark reads them."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import ColumnsConf, CsvTable, ParquetTable
from fedspark.errors import TableError
from fedspark.tables import direct
from fedspark.tables.arrival import Arrival, arriving, by_spark, direct_of
from fedspark.tables.csv_pieces import CsvPieces
from fedspark.tables.direct import Piece, Unplain, cut
from fedspark.tables.layout import Layout
from fedspark.tables.registry import open_source
from fedspark.tables.roles import resolve_roles
from fedspark.tables.source import own_session
from fedspark.tables.text_numbers import number, numbers_of
from tests.tables.conftest import Bench

ROWS = "line binary"


def shown(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Every batch as the bytes of an Arrow stream."""
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        yield pa.RecordBatch.from_pydict({"line": [sink.getvalue().to_pybytes()]})


def rows(frame: Any) -> list[list[tuple[str, Any]]]:
    """The rows that a sink is given, in order, each by the names of its columns."""
    tables = [pa.ipc.open_stream(row.line).read_all() for row in frame.collect()]
    found = [list(row.items()) for table in tables for row in table.to_pylist()]
    return sorted(found, key=repr)


def both(spark: Any, conf: ColumnsConf, **roles: Any) -> tuple[Any, Any]:
    """What comes directly, and what Spark makes of it."""
    layout = layout_of(spark, conf, **roles)
    way = direct_of(layout)
    assert way is not None
    way.reader(wanted(layout))  # Unplain here would be Spark compared with itself
    return rows(arriving(layout, shown, ROWS)), rows(by_spark(layout, shown, ROWS))


def layout_of(spark: Any, conf: ColumnsConf, id_type: str = "string") -> Layout:
    session = own_session(spark)
    source = open_source(session, "people", conf, Path())
    return Layout(source, resolve_roles(source.where, source.columns, conf, id_type=id_type), id_type)


def wanted(layout: Layout) -> tuple[str, ...]:
    """Names of the columns that are staged, in the source's frame."""
    roles = layout.roles
    return tuple(f"c{column.position}" for column in (roles.ids[0], roles.label, *roles.measured) if column is not None)


def csv(path: Path, content: str | bytes, **more: Any) -> CsvTable:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CsvTable(path=str(path), **{"id": "id", **more})


PEOPLE = [
    "id,x,y\r\na,1,0\r\n\r\n   \r\nb,,1",
    '"id","x","y"\n"a","1","0"\n"b, ""the second""","2","1"\n"",3,1\n,4,0\n"""",5,0\n',
    "id,x,y\nä, 1 ,+1\nb,1e3,.5\nc,5.,0\nd,1d,0x1p3\ne,NaN,Infinity\nf,nan,-inf\ng,1_0,x\nh,1e400,-1e400\ni,nan(1),١\n",
    "\ufeffid,x,y\n a ,1,0\n",
    "id,x,y\n" + "".join(f"p{k},{k / 7},{k % 2}\n" for k in range(5000)),
    "id,x,y\n",
]


@pytest.mark.spark
@pytest.mark.parametrize("content", PEOPLE)
def test_csv_comes_as_spark_reads_it(spark: Any, tmp_path: Path, content: str) -> None:
    ours, sparks = both(spark, csv(tmp_path / "people.csv", content, label="y", features=["x"]))
    assert repr(ours) == repr(sparks)  # NaN is not equal to itself


@pytest.mark.spark
def test_csv_without_a_header_with_tabs_in_several_files(spark: Any, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(f"{name}1\t1\n{name}2\t2\n")
    types = {"id": "string", "x": "double"}
    table = CsvTable(path=str(tmp_path), id="id", header=False, delimiter="\t", types=types)
    ours, sparks = both(spark, table)
    assert ours == sparks
    assert len(ours) == 4


@pytest.mark.spark
@pytest.mark.parametrize("more", [{"on_bad_row": "skip"}, {"encoding": "iso-8859-1"}, {"types": {"x": "integer"}}])
def test_text_that_is_more_than_numbers_and_lines_comes_by_spark(
    spark: Any, tmp_path: Path, more: dict[str, Any]
) -> None:
    assert direct_of(layout_of(spark, csv(tmp_path / "people.csv", "id,x\na,1\n"))) is not None
    assert direct_of(layout_of(spark, csv(tmp_path / "people.csv", "id,x\na,1\n", **more))) is None


UNPLAIN_TEXTS = [
    "id,x\na,1\rb,2\n",
    'id,x\na "b",1\n',
    'id,x\n"a,1\nb,2\n',
    "id,x\na\0,1\n",
    "id,x\na,1\nb\n",
    b"id,x\n\xff,1\n",
    b"id,x\xff\na,1\n",
    'id,"x"y\na,1\n',
    'id,"x\na,1\n',
]


@pytest.mark.parametrize("content", UNPLAIN_TEXTS)
def test_what_only_spark_knows_to_read_is_left_to_it(tmp_path: Path, content: str | bytes) -> None:
    path = csv(tmp_path / "people.csv", content).path
    pieces = CsvPieces(cut([path], 1), 2, ("c0", "c1"), ",", ("id", "x"))
    with pytest.raises(Unplain):
        list(pieces(iter([pa.RecordBatch.from_pydict({"id": [0]})])))


@pytest.mark.spark
def test_what_is_left_to_spark_is_staged_all_the_same_and_nothing_twice(spark: Any, tmp_path: Path) -> None:
    bench = Bench(spark, tmp_path)
    card = bench.stage('id,x\na,1\nb "2",2\nc,3\n')
    assert card.rows == 3
    assert bench.snapshot()["x.x"] == [1, 2, 3]
    assert len(bench.files()) == len(bench.chunks)


@pytest.mark.spark
@pytest.mark.parametrize("header", ['"id",x"y\n', 'id,"x"y\n'])
def test_files_whose_headers_python_does_not_read_are_staged_or_refused_as_spark_reads_them(
    spark: Any, tmp_path: Path, header: str
) -> None:
    (tmp_path / "t").mkdir()
    for name, first in (("a", "id,x\n"), ("b", header)):
        (tmp_path / "t" / f"{name}.csv").write_text(f"{first}{name},1\n")
    bench = Bench(spark, tmp_path)
    with pytest.raises(TableError, match="its files begin with different header lines"):
        bench.stage_conf(CsvTable(path=str(tmp_path / "t"), id="id"), training=False)
    (tmp_path / "t" / "a.csv").unlink()
    assert bench.stage_conf(CsvTable(path=str(tmp_path / "t"), id="id"), training=False).rows == 1


@pytest.mark.spark
def test_lines_come_once_wherever_a_file_is_cut(spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_SMALLEST", 40)
    monkeypatch.setattr(direct, "_LARGEST", 40)
    content = "id,x\n" + "".join(f"{'p' * (k % 9)}{k},{k}\n" for k in range(20))
    ours, sparks = both(spark, csv(tmp_path / "people.csv", content))
    assert ours == sparks


def parquet(path: Path, columns: dict[str, Any], **more: Any) -> ParquetTable:
    pq.write_table(pa.table(columns), path, row_group_size=100)
    return ParquetTable(path=str(path), **{"id": "id", **more})


@pytest.mark.spark
@pytest.mark.parametrize("limit", [8_000, 128 << 20])
def test_parquet_comes_as_spark_reads_it(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(direct, "_SMALLEST", limit)
    monkeypatch.setattr(direct, "_LARGEST", limit)
    columns = {
        "id": pa.array([None if k == 7 else k - 500 for k in range(1000)], pa.int32()),
        "y": pa.array([k % 3 == 0 for k in range(1000)]),
        "f": pa.array([k / 3 for k in range(1000)], pa.float32()),
        "d": pa.array([math.nan, None, *(k / 7 for k in range(998))]),
        "big": pa.array([2**63 - 1 - k for k in range(1000)]),
        "small": pa.array([k % 200 for k in range(1000)], pa.uint8()),
        "text": pa.array([str(k) for k in range(1000)]).dictionary_encode(),
        "d.e": pa.array([1.0] * 1000),
    }
    features = ["big", "f", "d", "small", "text"]
    ours, sparks = both(spark, parquet(tmp_path / "people.parquet", columns, label="y", features=features))
    assert repr(ours) == repr(sparks)
    assert len(ours) == 1000


@pytest.mark.spark
@pytest.mark.parametrize(
    "change",
    [
        {"x": pa.array([1], pa.decimal128(9, 2))},
        {"id": pa.array([datetime.date(2026, 1, 1)])},
        {"x": pa.array([1], pa.uint64())},
    ],
)
def test_types_that_arrow_and_spark_take_for_different_things_are_spark_s(
    spark: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    table = parquet(tmp_path / "people.parquet", {"id": ["a"], "x": [1.0], **change}, features=["x"])
    assert direct_of(layout_of(spark, table)) is None


@pytest.mark.spark
def test_rows_that_were_chosen_or_dropped_come_by_spark(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    table = parquet(path, {"id": ["a", "b"], "x": [1.0, 2.0]}, where="x > 1")
    layout = layout_of(spark, table)
    assert direct_of(layout) is None
    assert [dict(row)["key"] for row in rows(arriving(layout, shown, ROWS))] == ["b"]
    whole = layout_of(spark, ParquetTable(path=str(path), id="id"))
    assert direct_of(whole) is not None
    assert direct_of(Layout(whole.source, whole.roles, "string", drop=True)) is None


CATEGORIES = [" 2", "1e3", None, "1", " 2", "NaN"]


@pytest.mark.spark
def test_numbers_in_a_dictionary_of_texts_come_as_spark_reads_them(spark: Any, tmp_path: Path) -> None:
    texts = pa.array(CATEGORIES).dictionary_encode()
    columns = {"id": pa.array(list("abcabc")).dictionary_encode(), "x": texts, "y": texts}
    ours, sparks = both(spark, parquet(tmp_path / "people.parquet", columns, features=["x", "y"]))
    assert repr(ours) == repr(sparks)
    assert [repr(dict(row)["v0"]) for row in ours] == ["1.0", "2.0", "1000.0", "2.0", "None", "nan"]


def test_a_dictionary_of_texts_is_read_like_the_texts() -> None:
    plain = pa.array([*CATEGORIES, "secret"])
    assert repr(numbers_of(plain.dictionary_encode()).to_pylist()) == repr(numbers_of(plain).to_pylist())


@pytest.mark.spark
def test_what_is_no_number_in_a_dictionary_of_texts_is_counted(spark: Any, tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "x": pa.array(["1", "secret"]).dictionary_encode()}
    bench = Bench(spark, tmp_path)
    with pytest.raises(TableError, match=r"feature column 'x'.* in 1 row"):
        bench.stage_conf(parquet(tmp_path / "people.parquet", columns, features=["x"]))


def test_what_arrow_makes_no_numbers_of_is_left_to_spark_without_a_word_about_the_value() -> None:
    batch = pa.RecordBatch.from_pydict({"c0": ["a"], "c1": pa.array([{"name": "secret"}])})
    arrival = Arrival(lambda batches: batches, "c0", (("v0", "c1"),), False, lambda batches: batches)
    with pytest.raises(Unplain) as caught:
        list(arrival(iter([batch])))
    assert "secret" not in str(caught.value)


@pytest.mark.spark
@pytest.mark.parametrize("folder", ["g", "%67", "G"])
def test_a_column_that_names_of_folders_give_values_to_is_theirs_though_the_files_have_one(
    spark: Any, tmp_path: Path, folder: str
) -> None:
    for value in (1, 2):
        (tmp_path / "t" / f"{folder}={value}").mkdir(parents=True)
        columns = {"id": [f"p{value}"], "x": [value / 2], "g": [98 + value]}
        pq.write_table(pa.table(columns), tmp_path / "t" / f"{folder}={value}" / "f.parquet")
    path = str(tmp_path / "t")
    layout = layout_of(spark, ParquetTable(path=path, id="id", features=["x", "g"]))
    assert direct_of(layout) is not None
    assert rows(arriving(layout, shown, ROWS)) == rows(by_spark(layout, shown, ROWS))
    assert all(
        dict(row)["v1"] == (98 if folder == "G" else 0) + dict(row)["v0"] * 2
        for row in rows(by_spark(layout, shown, ROWS))
    )
    ours, sparks = both(spark, ParquetTable(path=path, id="id", features=["x"]))  # the others still come directly
    assert ours == sparks


@pytest.mark.spark
def test_a_file_with_another_type_is_told_by_spark(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    parquet(tmp_path / "t" / "a.parquet", {"id": ["a"], "x": [1.0]})
    parquet(tmp_path / "t" / "b.parquet", {"id": ["b"], "x": ["2"]})
    bench = Bench(spark, tmp_path)
    with pytest.raises(Exception, match=r"its files have different types for one column|not readable as Parquet"):
        bench.stage_conf(ParquetTable(path=str(tmp_path / "t"), id="id", features=["x"]))
    assert not bench.files()


def test_files_are_cut_into_pieces_that_touch_and_small_ones_share_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_SMALLEST", 10)
    monkeypatch.setattr(direct, "_LARGEST", 10)
    for name, size in (("a", 25), ("b", 3), ("c", 4), ("d", 0)):
        (tmp_path / name).write_bytes(b"x" * size)
    a, b, c, d = (str(tmp_path / name) for name in "abcd")
    tasks = cut([a, b, c, d], 2)
    assert [piece for task in tasks for piece in task if piece.path == a] == [
        Piece(a, 0, 8), Piece(a, 8, 16), Piece(a, 16, 25)
    ]  # fmt: skip
    assert tasks[-1] == (Piece(b, 0, 3), Piece(c, 0, 4), Piece(d, 0, 0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1.0), (" 2\t", 2.0), ("+3.", 3.0), (".5e1", 5.0), ("1e400", math.inf), ("-Infinity", -math.inf),
     ("INF", math.inf), ("1d", None), ("0x1p3", None), ("1_0", None), ("", None), ("\u00a01", None), ("٣", None)],
)  # fmt: skip
def test_a_text_is_a_number_where_java_says_so(text: str, expected: float | None) -> None:
    assert number(text) == expected
    assert numbers_of(pa.array([text, "7", None])).to_pylist() == [expected, 7.0, None]
