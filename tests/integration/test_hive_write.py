"""Rows into a real Hive metastore's tables: what is there afterwards, whatever is repeated or breaks off."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf.tables.hive import HiveSink, HiveTable
from fedspark.errors import StoreError
from fedspark.exchange.store import StoreRef
from fedspark.scoring import check_sinks, deliver
from fedspark.tables.hive import writer
from fedspark.tables.hive.metastore import session_of
from fedspark.tables.sinks import Scratch, Sink
from tests.integration.servers.hive import Metastore
from tests.integration.servers.ports import free_port
from tests.scoring import given_scores

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("Größe", pa.int64()),
        pa.field("score", pa.float64()),
    ]
)
PARTS = (
    pa.table({"id": ["a", "ü'\"\n"], "Größe": [1, -(2**63)], "score": [0.5, None]}, schema=SCHEMA),
    SCHEMA.empty_table(),
    pa.table({"id": ["c"], "Größe": [None], "score": [-1e300]}, schema=SCHEMA),
)
ROWS = [("a", 1, 0.5), ("c", None, -1e300), ("ü'\"\n", -(2**63), None)]


class Hive:
    """The metastore, and sinks in it."""

    def __init__(self, spark: Any, server: Metastore, place: Path) -> None:
        self.server, self.place = server, place
        self.session = session_of(spark, "Tests", HiveTable(**server.conf(table="t", id="id")))
        self.session.sql("CREATE DATABASE IF NOT EXISTS fed")
        self.session.sql("DROP TABLE IF EXISTS fed.scores")

    def sink(self, content: str = "one", run: str = "monday", **more: Any) -> Sink:
        conf = HiveSink.model_validate(self.server.conf(**{"table": "scores", **more}))
        place = Scratch(StoreRef(self.place.as_uri()), f"parts/{content}")
        return Sink.of(conf, Path(), SCHEMA, content, run, place)

    def written(self, sink: Sink, parts: tuple[pa.Table, ...] = PARTS) -> None:
        sink.check()
        sink.begin()
        sink.finish([sink.write_part(rows, part) for part, rows in enumerate(parts)])
        sink.clear()

    def rows(self, columns: str = "id, `größe`, score", table: str = "scores") -> list[tuple[Any, ...]]:
        self.session.catalog.refreshTable(f"fed.{table}")
        found = self.session.sql(f"SELECT {columns} FROM fed.{table}").collect()
        return sorted((tuple(row) for row in found), key=lambda row: list(map(str, row)))

    def location(self) -> Path:
        """Where the table's files are."""
        rows = self.session.sql("DESCRIBE FORMATTED fed.scores").collect()
        return Path(next(row[1] for row in rows if row[0] == "Location").removeprefix("file:"))

    def files(self) -> list[Path]:
        """Everything that lies in the table's own directory of the warehouse."""
        rows = self.session.sql("DESCRIBE DATABASE fed").collect()
        warehouse = next(row[1] for row in rows if row[0] == "Location").removeprefix("file:")
        return list(Path(warehouse, "scores").rglob("*.parquet"))


@pytest.fixture
def hive(spark: Any, metastore: Metastore, tmp_path: Path) -> Hive:
    return Hive(spark, metastore, tmp_path)


def test_a_table_that_is_made_has_all_rows_in_hive_s_own_form(hive: Hive) -> None:
    hive.written(hive.sink())
    assert hive.rows() == ROWS
    found = {row[0]: row[1] for row in hive.session.sql("DESCRIBE FORMATTED fed.scores").collect()}
    assert [found[name] for name in ("id", "größe", "score")] == ["string", "bigint", "double"]
    assert found["Provider"] == "hive"
    assert "parquet" in found["Serde Library"]
    assert not list(hive.place.rglob("*.parquet"))


def test_a_table_that_is_there_is_refused_and_its_own_write_is_not(hive: Hive) -> None:
    sink = hive.sink()
    hive.written(sink)
    hive.written(sink, ())  # as after a kill before it was noted: all of it once more
    assert hive.rows() == ROWS
    for step in (hive.sink("two").check, hive.sink("two").begin):
        with pytest.raises(StoreError, match="it is there already") as caught:
            step()
        assert "if_exists: replace" in str(caught.value)


def test_a_table_is_replaced_with_all_its_files(hive: Hive) -> None:
    hive.session.sql("CREATE TABLE fed.scores (id STRING, `größe` BIGINT, score DOUBLE, more STRING) STORED AS PARQUET")
    hive.session.sql("INSERT INTO fed.scores SELECT 'old', 1, 1D, 'x'")
    for content in ("one", "two"):
        hive.written(hive.sink(content, if_exists="replace"))
        assert hive.rows("id, `größe`, score, more") == [(*row, None) for row in ROWS]
        assert hive.files() == list(hive.location().rglob("*.parquet"))


def test_rows_of_other_runs_stay_and_those_of_the_same_run_give_way(hive: Hive) -> None:
    other = (pa.table({"id": ["z"], "Größe": [9], "score": [1.0]}, schema=SCHEMA),)
    hive.written(hive.sink("one", "monday", if_exists="append"))
    hive.written(hive.sink("two", "tue'sday", if_exists="append"), other)
    assert hive.rows("id, run") == [("a", "monday"), ("c", "monday"), ("z", "tue'sday"), ("ü'\"\n", "monday")]
    hive.written(hive.sink("three", "monday", if_exists="append"), other)
    assert hive.rows("id, run") == [("z", "monday"), ("z", "tue'sday")]
    assert [row[0] for row in hive.session.sql("SHOW PARTITIONS fed.scores").collect()] == [
        "run=monday",
        "run=tue%27sday",
    ]
    assert {path.parent.name[:9] for path in hive.files()} == {"fedspark-"}
    assert len({path.parent for path in hive.files()}) == 2


def test_rows_go_to_one_partition_and_others_stay(hive: Hive) -> None:
    hive.session.sql(
        "CREATE TABLE fed.scores (id STRING, `größe` BIGINT, score DOUBLE) PARTITIONED BY (dt STRING, hr INT) "
        "STORED AS PARQUET"
    )
    hive.session.sql("INSERT INTO fed.scores PARTITION (dt = '2026-11-20', hr = 1) SELECT 'old', 1, 1D")
    there = {"dt": "2026-11-20", "hr": 1}
    with pytest.raises(StoreError, match=r"its partition .* is there already"):
        hive.sink(partition=there).check()
    hive.written(hive.sink(partition={"dt": "2026-11-21", "hr": 1}))
    assert hive.rows("id, dt") == [
        ("a", "2026-11-21"), ("c", "2026-11-21"), ("old", "2026-11-20"), ("ü'\"\n", "2026-11-21"),
    ]  # fmt: skip
    hive.written(hive.sink("two", partition=there, if_exists="replace"), PARTS[2:])
    assert hive.rows("id, dt, hr") == [
        ("a", "2026-11-21", 1), ("c", "2026-11-20", 1), ("c", "2026-11-21", 1), ("ü'\"\n", "2026-11-21", 1),
    ]  # fmt: skip


def test_nothing_is_seen_before_the_end_and_half_a_write_is_never_shown(
    hive: Hive, monkeypatch: pytest.MonkeyPatch
) -> None:
    hive.written(hive.sink("one", if_exists="replace"))
    sink = hive.sink("two", if_exists="replace")
    sink.begin()
    counts = [sink.write_part(rows, part) for part, rows in enumerate(PARTS[:2])]
    with pytest.raises(StoreError, match="part 2 is not what was written; nothing is shown"):
        sink.finish([*counts, 1])
    with pytest.raises(StoreError, match="part 0 is not what was written"):
        sink.finish([1, 0])
    assert hive.rows() == ROWS
    sink.write_part(PARTS[0], 1)  # an attempt that is late
    with monkeypatch.context() as patch:
        patch.setattr(writer, "empty", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sink.finish([2, 2])
    sink.finish([2, 2])
    sink.clear()
    assert hive.files() == list(hive.location().rglob("*.parquet"))
    assert [row[0] for row in hive.rows()] == ["a", "a", "ü'\"\n", "ü'\"\n"]


@pytest.mark.parametrize("by", ["the table", "a new partition"])
@pytest.mark.parametrize("moment", ["_write", "_is_done"])
def test_two_processes_that_finish_at_the_same_time_leave_every_row_once(
    hive: Hive, monkeypatch: pytest.MonkeyPatch, moment: str, by: str
) -> None:
    hive.written(hive.sink("old", "tuesday" if by == "a new partition" else "monday", if_exists="append"), PARTS[2:])
    if by == "the table":
        hive.session.sql("DROP TABLE fed.scores")
        hive.written(hive.sink("old"), PARTS[2:])
    sink = hive.sink("new", if_exists="replace" if by == "the table" else "append")
    sink.begin()
    counts = [sink.write_part(rows, part) for part, rows in enumerate(PARTS)]
    first, written, others = getattr(writer, moment), [], []
    write = writer._write

    def meanwhile(*arguments: Any) -> Any:
        """As soon as the first has files, and looked whether somebody was faster, the other does all there is to do."""
        result = first(*arguments)
        if moment == "_write":
            written.append(True)
        if written and not others:
            others.append(True)
            sink.finish(counts)
        return result

    def noted(*arguments: Any) -> None:
        write(*arguments)
        written.append(True)

    with monkeypatch.context() as patch:
        if moment != "_write":
            patch.setattr(writer, "_write", noted)
        patch.setattr(writer, moment, meanwhile)
        sink.finish(counts)
    assert others
    rest = [("c", None, -1e300)] if by == "a new partition" else []
    assert hive.rows() == sorted([*ROWS, *rest], key=lambda row: row[0])
    sink.finish(counts)
    assert hive.rows() == sorted([*ROWS, *rest], key=lambda row: row[0])
    sink.clear()
    assert len({path.parent for path in hive.files()}) == (2 if rest else 1)


@pytest.mark.parametrize("if_exists", ["refuse", "append"])
def test_a_write_whose_files_are_gone_is_written_again(hive: Hive, if_exists: str) -> None:
    sink = hive.sink(if_exists=if_exists)
    sink.begin()
    counts = [sink.write_part(rows, part) for part, rows in enumerate(PARTS)]
    for _ in range(2):
        sink.begin()
        sink.finish(counts)
        assert hive.rows() == ROWS
        for folder in {path.parent for path in hive.files()}:
            shutil.rmtree(folder)
    sink.finish(counts)
    sink.clear()
    assert hive.rows() == ROWS


def test_a_directory_that_is_not_ours_keeps_its_files_whatever_it_is_called(hive: Hive, tmp_path: Path) -> None:
    place = tmp_path / "lake" / "fedspark-export"
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("foreign")
    hive.session.sql(
        f"CREATE EXTERNAL TABLE fed.scores (id STRING, `größe` BIGINT, score DOUBLE) STORED AS PARQUET "
        f"LOCATION '{place.as_uri()}'"
    )
    hive.session.sql("INSERT INTO fed.scores SELECT 'old', 1, 1D")
    before = {path for path in place.iterdir() if not path.name.startswith(".")}
    for content in ("one", "two"):
        hive.written(hive.sink(content, if_exists="replace"))
        assert hive.rows() == ROWS
        assert hive.location().parent == place
        assert {path for path in place.iterdir() if not path.name.startswith(".")} == {*before, hive.location()}
    assert [path.name for path in place.parent.iterdir()] == ["fedspark-export"]


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def test_what_attempts_left_is_removed(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = hive.sink("one")
    sink.begin()
    counts = [sink.write_part(rows, part) for part, rows in enumerate(PARTS)]
    write = writer._write

    def killed(*arguments: Any) -> None:
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write", killed)  # the files are there, and the table does not know of them
        with pytest.raises(KeyboardInterrupt):
            sink.finish(counts)
    assert hive.rows() == []
    left = hive.files()
    sink.finish(counts)
    assert hive.rows() == ROWS
    assert left
    assert not set(left) & set(hive.files())


@pytest.mark.parametrize(
    ("columns", "change", "words"),
    [
        ("id STRING, score DOUBLE", {}, "it has no column 'größe'"),
        ("id BIGINT, `größe` BIGINT, score DOUBLE", {}, "column 'id' is bigint, not string"),
        (
            "id STRING, `größe` BIGINT, score DOUBLE",
            {"if_exists": "append"},
            "partitioned by nothing, and the rows by run",
        ),
        (
            "id STRING, `größe` BIGINT, score DOUBLE",
            {"partition": {"dt": "x"}},
            "partitioned by nothing, and the rows by dt",
        ),
        ("id STRING", {"table": "view"}, "is a view, no table"),
        ("id STRING", {"table": "orc"}, "its files are no Parquet files"),
        ("id STRING", {"database": "fedd"}, "there is no database 'fedd'"),
    ],
)
def test_what_cannot_hold_the_rows_is_named_with_a_remedy(
    hive: Hive, columns: str, change: dict[str, Any], words: str
) -> None:
    hive.session.sql(f"CREATE TABLE fed.scores ({columns}) STORED AS PARQUET")
    hive.session.sql("CREATE OR REPLACE VIEW fed.view AS SELECT 1 AS id")
    hive.session.sql("CREATE TABLE IF NOT EXISTS fed.orc (id STRING) STORED AS ORC")
    with pytest.raises(StoreError) as caught:
        hive.sink(**{"if_exists": "replace", **change}).begin()
    assert words in str(caught.value)
    assert caught.value.remedy


def test_ids_may_be_of_another_type_as_long_as_nobody_knows_theirs(hive: Hive) -> None:
    hive.session.sql("CREATE TABLE fed.scores (id BIGINT, `größe` BIGINT, score DOUBLE) STORED AS PARQUET")
    hive.sink(if_exists="replace").check()
    with pytest.raises(StoreError, match="column 'id' is bigint, not string"):
        hive.sink(if_exists="replace").begin()


@pytest.mark.parametrize("if_exists", ["refuse", "append"])
def test_scores_of_a_run_arrive_from_their_part_files(hive: Hive, spark: Any, tmp_path: Path, if_exists: str) -> None:
    sink = hive.server.conf(table="scores", if_exists=if_exists)
    run = given_scores.guest({"predict": sink}, base=tmp_path, label="2026-11-21")
    object.__setattr__(run, "_session", lambda: spark)
    check_sinks(run, ["person"])
    (delivery,) = deliver(run, given_scores.written(run), {"person": "bigint"})
    assert delivery.rows == sum(given_scores.COUNTS)
    assert delivery.place.startswith("hive://127.0.0.1:")
    found = hive.rows("person, score, probability")
    assert sorted(found, key=lambda row: row[0]) == given_scores.expected(integers=True)
    if if_exists == "append":
        assert hive.rows("DISTINCT run") == [("2026-11-21",)]


def test_names_that_hive_cannot_have_are_refused(hive: Hive) -> None:
    conf = HiveSink.model_validate(hive.server.conf(table="scores"))
    for names, words in ((("id", "ID"), "would be called 'id'"), (("a,b",), "can be called 'a,b'")):
        with pytest.raises(StoreError, match=words):
            Sink.of(conf, Path(), pa.schema([(name, pa.string()) for name in names]), "x", "x")


def test_sql_in_names_stays_a_name(hive: Hive) -> None:
    hive.session.sql("CREATE TABLE IF NOT EXISTS fed.keep (id INT)")
    with pytest.raises(StoreError):
        hive.written(hive.sink(table="x (a INT); DROP TABLE fed.keep; --`"))
    assert hive.session.catalog.tableExists("fed.keep")


def test_a_metastore_that_is_down_is_named_with_or_without_spark(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = hive.sink(metastore=f"thrift://127.0.0.1:{free_port()}")
    with pytest.raises(StoreError, match="Hive's metastore does not answer"):
        sink.check()
    with monkeypatch.context() as patch:
        patch.setattr("pyspark.SparkContext._active_spark_context", None)
        with pytest.raises(StoreError, match=r"does not answer \(thrift://127.0.0.1:\d+: Connection refused\)"):
            sink.check()
        hive.sink().check()
