"""Tables of a real Hive metastore, read by Spark: which files are read, types, names, and what can go wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import HiveTable, ShardedTable
from fedspark.errors import ConfigError, StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables.arrival import arriving
from fedspark.tables.hive import metastore as sessions
from fedspark.tables.hive.metastore import session_of
from fedspark.tables.hive.names import literal, quoted
from fedspark.tables.hive.reader import read
from fedspark.tables.layout import Layout
from fedspark.tables.roles import resolve_roles
from fedspark.tables.staging import stage
from tests.integration.servers.hive import Metastore
from tests.integration.servers.ports import free_port
from tests.integration.servers.proxy import Proxy

HERE = Path()


class Hive:
    """The metastore, and a Spark session to make tables with."""

    def __init__(self, spark: Any, server: Metastore) -> None:
        self.spark, self.server = spark, server
        self.session = session_of(spark, "Tests", self.conf())
        self.sql("CREATE DATABASE IF NOT EXISTS fed")

    def sql(self, *statements: str) -> list[Any]:
        for statement in statements:
            found = self.session.sql(statement)
        return found.collect()

    def conf(self, **more: Any) -> HiveTable:
        return HiveTable.model_validate(self.server.conf(**{"table": "t", "id": "id", **more}))

    def rows(self, **more: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in read(self.spark, "people", self.conf(**more), HERE).frame.collect()]

    def staged(self, place: Path, table: HiveTable | ShardedTable | None = None, **more: Any) -> pa.Table:
        options = {"id_type": "string", "needs_features": False, "training": False}
        table = table or self.conf(**more)
        _, chunks = stage(self.spark, "people", table, HERE, ref=StoreRef(place.as_uri()), folder="t", **options)
        return pa.concat_tables([chunks.schema.empty_table(), *map(chunks.read, range(len(chunks)))])


@pytest.fixture(scope="module")
def hive(spark: Any, metastore: Metastore) -> Hive:
    return Hive(spark, metastore)


@pytest.fixture(scope="module")
def days(hive: Hive) -> Hive:
    """The table t: three days of two hours, 10 people in each, and a day without files."""
    hive.sql(
        "DROP TABLE IF EXISTS fed.t",
        "CREATE TABLE fed.t (id BIGINT, x DOUBLE) PARTITIONED BY (dt STRING, hr INT) STORED AS PARQUET",
        "SET spark.sql.sources.partitionOverwriteMode = dynamic",
        "SET hive.exec.dynamic.partition.mode = nonstrict",
        "INSERT INTO fed.t PARTITION (dt, hr) SELECT id, id / 8, concat('2026-11-', 19 + id DIV 20), "
        "CAST(id DIV 10 % 2 AS INT) FROM range(60)",
        "ALTER TABLE fed.t ADD PARTITION (dt = '2026-11-30', hr = 0)",
    )
    return hive


def test_only_the_partition_that_is_asked_for_is_read(days: Hive) -> None:
    source = read(days.spark, "people", days.conf(partitions={"dt": "2026-11-20", "HR": 1}), HERE)
    plan = source.frame._jdf.queryExecution().executedPlan().toString()
    filters = plan[plan.index("PartitionFilters: [") :].split("]")[0]
    assert "2026-11-20" in filters
    assert "= 1" in filters
    assert "Location: InMemoryFileIndex(1 paths)" in plan
    assert all("/dt=2026-11-20/hr=1/" in file for file in source.frame.inputFiles())
    assert sorted(row[0] for row in source.frame.collect()) == list(range(30, 40))
    assert source.notes == ("only partitions dt = 2026-11-20; HR = 1",)


def test_a_condition_reads_only_partitions_that_can_meet_it(days: Hive) -> None:
    source = read(days.spark, "people", days.conf(where="dt > '2026-11-19' and hr = 0 and x < 3"), HERE)
    plan = source.frame._jdf.queryExecution().executedPlan().toString()
    assert "Location: InMemoryFileIndex(3 paths)" in plan
    assert sorted(row[0] for row in source.frame.collect()) == [20, 21, 22, 23]


def test_several_values_of_a_partition_column_are_read_together(days: Hive) -> None:
    found = days.rows(partitions={"dt": ["2026-11-19", "2026-11-21"], "hr": [0]})
    assert sorted(row[0] for row in found) == [*range(10), *range(40, 50)]


def test_a_partition_column_is_no_feature_unless_it_is_named(days: Hive) -> None:
    kinds = {
        column.name: str(column.kind) for column in read(days.spark, "p", days.conf(partitions={"hr": 0}), HERE).columns
    }
    assert kinds == {"id": "integer", "x": "real", "dt": "other", "hr": "other"}
    named = read(days.spark, "p", days.conf(features=["hr", "x"]), HERE).columns
    assert [str(column.kind) for column in named] == ["integer", "real", "other", "integer"]


def test_a_table_is_staged_from_its_partitions(days: Hive, tmp_path: Path) -> None:
    found = days.staged(tmp_path, partitions={"dt": "2026-11-21"})
    assert {row["key"]: row["x.x"] for row in found.to_pylist()} == {str(k): k / 8 for k in range(40, 60)}


def test_parquet_comes_directly_unless_a_partition_column_counts_or_it_is_a_view(days: Hive) -> None:
    def direct(**more: Any) -> bool:
        conf = days.conf(**more)
        source = read(days.spark, "people", conf, HERE)
        roles = resolve_roles(source.where, source.columns, conf, id_type="string")
        plan = arriving(Layout(source, roles, "string"), lambda batches: batches, "n int")
        return "FileScan" not in plan._jdf.queryExecution().executedPlan().toString()

    assert direct(partitions={"dt": "2026-11-21"})
    assert not direct(partitions={"dt": "2026-11-21"}, features=["x", "hr"])
    days.sql("CREATE OR REPLACE VIEW fed.v AS SELECT id, x FROM fed.t WHERE id < 3")
    assert not direct(table="v")


def test_a_partition_column_has_the_partitions_value_though_its_files_have_a_column_of_that_name(
    hive: Hive, tmp_path: Path
) -> None:
    hive.sql(
        "DROP TABLE IF EXISTS fed.twice",
        "CREATE TABLE fed.twice (id STRING, x DOUBLE) PARTITIONED BY (hr INT) STORED AS PARQUET",
    )
    for hour in (1, 2):
        (tmp_path / f"no {hour}").mkdir()
        pq.write_table(pa.table({"id": [f"p{hour}"], "x": [0.5], "hr": [98]}), tmp_path / f"no {hour}" / "f.parquet")
        hive.sql(f"ALTER TABLE fed.twice ADD PARTITION (hr = {hour}) LOCATION '{tmp_path}/no {hour}'")
    found = hive.staged(tmp_path / "store", table=hive.conf(table="twice", features=["x", "hr"]))
    assert {row["key"]: row["x.hr"] for row in found.to_pylist()} == {"p1": 1.0, "p2": 2.0}
    hive.sql("DROP TABLE fed.twice")


@pytest.mark.parametrize("partitions", [{"dt": "2026-11-30"}, {"hr": 0, "dt": "2026-11-30"}])
def test_a_partition_without_files_has_no_rows(days: Hive, tmp_path: Path, partitions: dict[str, Any]) -> None:
    assert days.staged(tmp_path, partitions=partitions).num_rows == 0


def test_a_table_without_rows_is_staged(hive: Hive, tmp_path: Path) -> None:
    hive.sql("DROP TABLE IF EXISTS fed.nobody", "CREATE TABLE fed.nobody (id STRING, x DOUBLE) STORED AS ORC")
    assert hive.staged(tmp_path, table=hive.conf(table="nobody")).num_rows == 0


def test_shards_of_a_metastore_are_read_as_one(days: Hive, tmp_path: Path) -> None:
    place = days.server.conf(table="t", partitions={"dt": "2026-11-20"})
    other = days.server.conf(table="t", partitions={"dt": "2026-11-19"})
    table = ShardedTable.model_validate({"kind": "sharded", "id": "id", "shards": [place, other]})
    assert sorted(map(int, days.staged(tmp_path, table=table).column("key").to_pylist())) == list(range(40))


IDS = (
    ("a", "STRING", "'Zoë'", "text", "Zoë"),
    ("b", "VARCHAR(9)", "'ab'", "text", "ab"),
    ("c", "CHAR(5)", "'ab'", "text", "ab"),
    ("d", "BIGINT", "-9223372036854775808", "integer", "-9223372036854775808"),
    ("e", "TINYINT", "-128Y", "integer", "-128"),
    ("f", "DECIMAL(38,0)", "12345678901234567890123BD", "integer", "12345678901234567890123"),
    ("g", "DATE", "DATE '1869-12-31'", "date", "1869-12-31"),
)


@pytest.mark.parametrize("form", ["PARQUET", "TEXTFILE"])
def test_ids_of_every_type_become_the_keys_that_others_have(hive: Hive, tmp_path: Path, form: str) -> None:
    hive.sql(
        "DROP TABLE IF EXISTS fed.ids",
        f"CREATE TABLE fed.ids ({', '.join(f'{name} {type_name}' for name, type_name, *_ in IDS)}) STORED AS {form}",
        f"INSERT INTO fed.ids SELECT {', '.join(value for _, _, value, *_ in IDS)}",
    )
    table = hive.conf(table="ids", id=[name for name, *_ in IDS])
    assert [str(column.kind) for column in read(hive.spark, "people", table, HERE).columns] == [one[3] for one in IDS]
    assert hive.staged(tmp_path, table=table).column("key").to_pylist() == ["\x1f".join(one[4] for one in IDS)]


def test_labels_and_features_arrive_as_numbers(hive: Hive, tmp_path: Path) -> None:
    hive.sql(
        "DROP TABLE IF EXISTS fed.numbers",
        "CREATE TABLE fed.numbers (id STRING, y BOOLEAN, d DECIMAL(10,2), f FLOAT, s SMALLINT, t TIMESTAMP) "
        "STORED AS ORC",
        "INSERT INTO fed.numbers SELECT 'p', true, -1.25BD, float(0.1), 7S, TIMESTAMP '1969-12-31 23:59:59'",
    )
    (row,) = hive.staged(tmp_path, table=hive.conf(table="numbers", label="y")).to_pylist()
    assert {name: row[name] for name in ("label", "x.d", "x.f", "x.s")} == {
        "label": 1.0, "x.d": -1.25, "x.f": 0.10000000149011612, "x.s": 7.0,
    }  # fmt: skip


def test_a_column_of_many_values_is_refused_by_its_name(hive: Hive, tmp_path: Path) -> None:
    hive.sql("DROP TABLE IF EXISTS fed.many", "CREATE TABLE fed.many (id STRING, a ARRAY<INT>, m MAP<STRING,INT>)")
    with pytest.raises(TableError, match=r"'a' \(array<int>\), 'm' \(map<string,int>\)"):
        hive.staged(tmp_path, table=hive.conf(table="many", features=["a", "m"]))


def test_names_with_sql_in_them_are_names(hive: Hive) -> None:
    column = "ident` FROM x; DROP TABLE fed.keep -- Ü'\""
    hive.sql(
        "DROP TABLE IF EXISTS fed.keep",
        "DROP TABLE IF EXISTS fed.names",
        "CREATE TABLE fed.keep (id INT)",
        f"CREATE TABLE fed.names ({quoted(column)} INT, `größe` DOUBLE) PARTITIONED BY (`tag''s` STRING) "
        "STORED AS PARQUET",
        f"INSERT INTO fed.names PARTITION (`tag''s` = {literal(HOSTILE)}) SELECT 1, 2.0",
    )
    source = read(hive.spark, "p", hive.conf(table="names", id=column.lower(), partitions={"tag''s": HOSTILE}), HERE)
    assert [one.name for one in source.columns][1:] == ["größe", "tag''s"]
    assert source.columns[0].name.lower() == column.lower()
    assert [tuple(row) for row in source.frame.collect()] == [(1, 2.0, HOSTILE)]
    for change in ({"table": "names` ; DROP TABLE fed.keep"}, {"database": "fed`; DROP TABLE fed.keep; --"}):
        with pytest.raises(TableError, match="there is no"):
            hive.rows(**change)
    with pytest.raises(TableError, match="there is no partition"):
        hive.rows(table="names", partitions={"tag''s": "x') ; DROP TABLE fed.keep; --"})
    assert hive.rows(table="keep") == []


HOSTILE = "it's${x} \\ x; DROP TABLE fed.keep; -- \n%/="


def test_files_with_names_in_capitals_are_read_under_the_names_of_hive(hive: Hive, tmp_path: Path) -> None:
    pq.write_table(pa.table({"Patient_ID": ["a"], "Age": [40.0]}), tmp_path / "f.parquet")
    hive.sql(
        "DROP TABLE IF EXISTS fed.capitals",
        f"CREATE EXTERNAL TABLE fed.capitals (patient_id STRING, age DOUBLE) STORED AS PARQUET LOCATION '{tmp_path}'",
    )
    assert hive.rows(table="capitals", id="patient_id") == [("a", 40.0)]


def test_files_that_came_since_the_last_look_are_read(hive: Hive, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "f.parquet")
    hive.sql(
        "DROP TABLE IF EXISTS fed.grows",
        f"CREATE EXTERNAL TABLE fed.grows (id STRING) STORED AS PARQUET LOCATION '{tmp_path}'",
    )
    assert hive.rows(table="grows") == [("a",)]
    pq.write_table(pa.table({"id": ["b"]}), tmp_path / "g.parquet")
    assert sorted(hive.rows(table="grows")) == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": "tt"}, "there is no such table. Did you mean 't'?"),
        ({"database": "fedd"}, "there is no database 'fedd'. Did you mean 'fed'?"),
        ({"partitions": {"dt": "2026-11-22"}}, "there is no partition dt=2026-11-22; the last of its 7 are"),
        ({"partitions": {"dt": "2026-11-19", "hr": 7}}, "there is no partition dt=2026-11-19/hr=7"),
        ({"partitions": {"hr": "noon"}}, "there is no partition hr=noon"),
        ({"partitions": {"x": 1}}, "`partitions` names 'x', no partition column: those are 'dt', 'hr'"),
        ({"partitions": {"dtt": 1}}, "Did you mean 'dt'?"),
        ({"table": "acid"}, "it is a transactional table (ACID)"),
        ({"where": "nothing = 1"}, "`where` cannot be used (unresolved column): nothing = 1"),
        ({"where": "x ="}, "`where` cannot be used (parse syntax error)"),
    ],
)
def test_what_is_not_there_is_named_with_a_remedy(days: Hive, change: dict[str, Any], words: str) -> None:
    days.sql(
        "CREATE TABLE IF NOT EXISTS fed.acid (id INT) CLUSTERED BY (id) INTO 2 BUCKETS STORED AS ORC "
        "TBLPROPERTIES ('transactional' = 'true')"
    )
    with pytest.raises(TableError) as caught:
        days.rows(**change)
    assert words in str(caught.value)
    assert caught.value.remedy
    assert "JVM stacktrace" not in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_the_one_that_was_meant(days: Hive, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"names column 'ID', which is not among .* Did you mean 'id'\?"):
        days.staged(tmp_path, id="ID")


def test_a_metastore_that_is_down_is_named(hive: Hive) -> None:
    with pytest.raises(StoreError) as caught:
        hive.rows(metastore=f"thrift://127.0.0.1:{free_port()}")
    text = str(caught.value)
    assert "Hive's metastore does not answer (Connection refused" in text
    assert "thrift://127.0.0.1" in text
    assert len(text) < 400


def test_a_metastore_that_nothing_names_is_not_made_in_the_working_directory(hive: Hive) -> None:
    with pytest.raises(ConfigError, match="nothing says where Hive's metastore is"):
        hive.rows(metastore=None)
    assert not Path("metastore_db").exists()


def test_the_metastore_of_spark_s_own_settings_is_the_default(days: Hive) -> None:
    settings = days.spark.sparkContext._jsc.hadoopConfiguration()
    settings.set("hive.metastore.uris", days.server.uri)
    try:
        assert len(days.rows(metastore=None, partitions={"dt": "2026-11-20"})) == 20
    finally:
        settings.unset("hive.metastore.uris")


def test_a_spark_without_hive_is_told_apart(hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_SUPPORT", "org.apache.spark.sql.hive.Nothing")
    with pytest.raises(ConfigError, match="this Spark was built without Hive"):
        hive.rows(metastore="thrift://127.0.0.1:1")


def test_two_metastores_serve_one_application_and_its_own_session_stays_as_it_was(days: Hive) -> None:
    between = Proxy(days.server.port)
    try:
        other = f"thrift://127.0.0.1:{between.port}"
        assert len(days.rows(metastore=other, partitions={"dt": "2026-11-20"})) == 20
        assert between.connections >= 1
    finally:
        between.close()
    assert days.spark.conf.get("spark.sql.catalogImplementation") == "in-memory"
    assert [database.name for database in days.spark.catalog.listDatabases()] == ["default"]


def test_a_metastore_that_is_lost_is_asked_again(days: Hive) -> None:
    between = Proxy(days.server.port)
    between.cuts = [2000]
    try:
        other = f"thrift://127.0.0.1:{between.port}"
        assert len(days.rows(metastore=other, partitions={"dt": "2026-11-20"})) == 20
        assert between.connections >= 2
    finally:
        between.close()
