"""Tables behind a real server of HiveServer2's protocol: types, slices, names, and what can go wrong meanwhile."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import HiveServer2Table, HiveTable
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables.hive import reader, server, slices
from fedspark.tables.hive.names import literal, quoted
from fedspark.tables.hive.server import Server
from fedspark.tables.hive.slices import Slices, plan
from fedspark.tables.staging import stage
from tests.integration.servers.hive import HiveServer2, Metastore
from tests.integration.servers.mariadb import make_certificate
from tests.integration.servers.ports import free_port
from tests.integration.servers.proxy import Proxy
from tests.integration.servers.refusing import Refusing

HERE = Path()
PASSWORD = "pw-18c3f0aa71"
HOSTILE = "it's${x} \\ x; DROP TABLE fed.keep; -- \n%/="


def conf(hive: HiveServer2, **more: Any) -> HiveServer2Table:
    return HiveServer2Table.model_validate(hive.conf(**{"table": "t", "id": "id", **more}))


def sliced(table: HiveServer2Table, parallel: int = 3) -> Slices:
    return plan("people", table, HERE, parallel)[1]


def rows_of(table: HiveServer2Table, parallel: int = 3) -> list[dict[str, Any]]:
    """All rows by the names of their columns, as executors get them, without Spark."""
    columns, read = plan("people", table, HERE, parallel)
    names = [columns[int(field[1:])].name for field, _ in read.fields]
    numbers = pa.RecordBatch.from_pydict({"id": list(range(len(read.queries)))})
    return [row for batch in read(iter([numbers])) for row in batch.rename_columns(names).to_pylist()]


def staged(spark: Any, table: HiveServer2Table | HiveTable, place: Path, **options: Any) -> pa.Table:
    arguments = {"id_type": "string", "needs_features": False, "training": False, **options}
    _, chunks = stage(spark, "people", table, HERE, ref=StoreRef(place.as_uri()), folder="t", **arguments)
    return pa.concat_tables([chunks.schema.empty_table(), *map(chunks.read, range(len(chunks)))])


@pytest.fixture(scope="module")
def hive(hiveserver2: HiveServer2) -> HiveServer2:
    """The tables days, of three days of two hours with 1,000 people in each and a day without; people, of 20,000."""
    hiveserver2.execute(
        "DROP TABLE IF EXISTS fed.days",
        "CREATE TABLE fed.days (id BIGINT, x DOUBLE) PARTITIONED BY (dt STRING, hr INT) STORED AS PARQUET",
        "SET hive.exec.dynamic.partition.mode = nonstrict",
        "INSERT INTO fed.days PARTITION (dt, hr) SELECT id, id / 8, concat('2026-11-', 19 + id DIV 2000), "
        "CAST(id DIV 1000 % 2 AS INT) FROM range(6000)",
        "ALTER TABLE fed.days ADD PARTITION (dt = '2026-11-30', hr = 0)",
        "DROP TABLE IF EXISTS fed.people",
        "CREATE TABLE fed.people STORED AS PARQUET AS SELECT concat('p', id) AS id, id / 8 AS x FROM range(20000)",
    )
    return hiveserver2


def made(hive: HiveServer2, columns: str, *rows: str, name: str = "t", form: str = "PARQUET") -> None:
    statements = [
        f"DROP TABLE IF EXISTS fed.{quoted(name)}",
        f"CREATE TABLE fed.{quoted(name)} ({columns}) STORED AS {form}",
    ]
    hive.execute(*statements, *(f"INSERT INTO fed.{quoted(name)} SELECT {row}" for row in rows))


def test_values_of_all_types_and_their_nulls_arrive(hive: HiveServer2) -> None:
    made(
        hive,
        "id STRING, ti TINYINT, si SMALLINT, i INT, bi BIGINT, f FLOAT, d DOUBLE, m DECIMAL(10,2), b BOOLEAN, "
        "v VARCHAR(9), day DATE, ts TIMESTAMP, w DECIMAL(38,0)",
        "'Zoë', -128Y, 7S, -5, -9223372036854775808, float(0.1), -0.5D, -1.25BD, true, 'x', DATE '1869-12-31', "
        "TIMESTAMP '1969-12-31 23:59:59.5', 12345678901234567890123BD",
        "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    )
    features = ["ti", "si", "i", "bi", "f", "d", "m", "v", "day", "w"]
    full, empty = sorted(
        rows_of(conf(hive, label="b", time="ts", features=features)), key=lambda row: row["id"] is None
    )
    assert full == {
        "id": "Zoë", "ti": -128, "si": 7, "i": -5, "bi": -(2**63), "f": 0.10000000149011612, "d": -0.5, "m": -1.25,
        "b": True, "v": "x", "day": "1869-12-31", "ts": "1969-12-31 23:59:59.5", "w": 12345678901234567890123.0,
    }  # fmt: skip
    assert set(empty.values()) == {None}


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("DECIMAL(38,0)", "12345678901234567890123BD", "12345678901234567890123"),
        ("DATE", "DATE '0987-01-02'", "0987-01-02"),
        ("BIGINT", "9223372036854775807", 2**63 - 1),
    ],
)
def test_an_id_arrives_exactly_as_the_server_shows_it(
    hive: HiveServer2, type_name: str, value: str, expected: str | int
) -> None:
    made(hive, f"id {type_name}", value)
    assert rows_of(conf(hive)) == [{"id": expected}]


def test_nulls_are_in_their_rows_wherever_a_page_begins(hive: HiveServer2) -> None:
    made(hive, "id INT, x INT", "id, IF(id % 3 = 0, NULL, id) FROM range(1234)")
    found = rows_of(conf(hive, features=["x"]))
    assert sorted((row["id"], row["x"]) for row in found if row["x"] is not None) == [
        (k, k) for k in range(1234) if k % 3
    ]
    assert sorted(row["id"] for row in found if row["x"] is None) == list(range(0, 1234, 3))


@pytest.mark.parametrize("parallel", [1, 5])
def test_shares_of_a_table_without_partitions_are_the_table(hive: HiveServer2, parallel: int) -> None:
    read = sliced(conf(hive, table="people"), parallel)
    assert len(read.queries) == parallel
    assert read.rows == 20_000
    found = rows_of(conf(hive, table="people", where="x < 1000 -- the first ones"), parallel)
    assert sorted(row["x"] for row in found) == [number / 8 for number in range(8000)]


@pytest.mark.parametrize("parallel", [4, 32])
def test_partitions_are_dealt_out_to_slices_of_about_the_same_rows(hive: HiveServer2, parallel: int) -> None:
    read = sliced(conf(hive, table="days"), parallel)
    sizes = [sum(query.rows for query in queries) for queries in read.queries]
    assert sorted(sizes) == {4: [1000, 1000, 2000, 2000], 32: [1000] * 6}[parallel]
    assert all("`dt` = '2026-11-" in query.condition for queries in read.queries for query in queries)
    assert sorted(row["id"] for row in rows_of(conf(hive, table="days"), parallel)) == list(range(6000))


def test_only_the_partitions_that_are_asked_for_are_read(hive: HiveServer2) -> None:
    table = conf(hive, table="days", partitions={"dt": ["2026-11-19", "2026-11-21"], "HR": 1})
    assert sorted(row["id"] for row in rows_of(table)) == [*range(1000, 2000), *range(5000, 6000)]
    (query,) = sliced(table, 1).queries[0]
    plan = "\n".join(row[0] for row in hive.execute(f"EXPLAIN SELECT id FROM fed.days WHERE {query.condition}"))
    filters = plan[plan.index("PartitionFilters: [") :].split("\n")[0]
    assert "2026-11-21" in filters
    assert "hr" in filters


def test_one_partition_is_cut_into_shares(hive: HiveServer2) -> None:
    read = sliced(conf(hive, table="days", partitions={"dt": "2026-11-20", "hr": "01"}), 3)
    assert len(read.queries) == 3
    assert read.rows == 1000


def test_rows_of_partitions_of_every_type_are_found_again(hive: HiveServer2) -> None:
    hive.execute(
        "DROP TABLE IF EXISTS fed.odd",
        "CREATE TABLE fed.odd (id INT) PARTITIONED BY (s STRING, d DATE, m DECIMAL(5,1)) STORED AS PARQUET",
        f"INSERT INTO fed.odd PARTITION (s = {literal(HOSTILE)}, d = DATE '1969-12-31', m = -1.5) SELECT 1",
        "INSERT INTO fed.odd PARTITION (s = 'a b', d = DATE '2026-01-01', m = 2) SELECT 2",
        "SET hive.exec.dynamic.partition.mode = nonstrict",
        "INSERT INTO fed.odd PARTITION (s, d, m) SELECT 3, NULL, NULL, NULL",
        "INSERT INTO fed.odd PARTITION (s, d, m) SELECT 4, 'Ü', NULL, 0",
    )
    assert sorted(row["id"] for row in rows_of(conf(hive, table="odd"))) == [1, 2, 3, 4]
    chosen = conf(hive, table="odd", partitions={"s": HOSTILE, "d": "1969-12-31"})
    assert rows_of(chosen) == [{"id": 1}]
    assert [row["id"] for row in rows_of(conf(hive, table="odd", partitions={"s": "Ü"}))] == [4]


@pytest.mark.parametrize(("table", "partitions"), [("empty", {}), ("days", {"dt": "2026-11-30"})])
def test_a_table_or_partition_without_rows_is_staged(
    spark: Any, hive: HiveServer2, tmp_path: Path, table: str, partitions: dict[str, Any]
) -> None:
    made(hive, "id STRING, x DOUBLE", name="empty")
    assert staged(spark, conf(hive, table=table, partitions=partitions), tmp_path).num_rows == 0


def test_a_table_is_the_same_by_either_way(spark: Any, hive: HiveServer2, metastore: Metastore, tmp_path: Path) -> None:
    made(
        hive,
        "id DECIMAL(20,0), y INT, f FLOAT, m DECIMAL(12,4), day DATE",
        "CAST(id AS DECIMAL(20,0)), CAST(id % 2 AS INT), CAST(id / 7 AS FLOAT), CAST(id / 3 AS DECIMAL(12,4)), "
        "date_add(DATE '1900-01-01', CAST(id AS INT)) FROM range(1000)",
    )
    more = {"table": "t", "id": "id", "label": "y", "features": ["f", "m", "day"]}
    tables = [HiveServer2Table.model_validate(hive.conf(**more)), HiveTable.model_validate(metastore.conf(**more))]
    found = []
    for number, table in enumerate(tables):
        (tmp_path / str(number)).mkdir()
        found.append(staged(spark, table, tmp_path / str(number), needs_label=True).sort_by("key"))
    assert found[0].num_rows == 1000
    assert found[0] == found[1]


def test_names_with_quotes_and_sql_in_them_are_names(hive: HiveServer2) -> None:
    column = "ident` from x; drop table fed.keep -- ü'\""
    made(hive, "id INT", name="keep")
    made(hive, f"{quoted(column)} INT, `größe` DOUBLE", "1, 2.0", name="names")
    assert rows_of(conf(hive, table="names", id=column)) == [{column: 1, "größe": 2.0}]
    for change in ({"table": "names`; DROP TABLE fed.keep"}, {"database": "fed`; DROP TABLE fed.keep; --"}):
        with pytest.raises(TableError, match="there is no"):
            rows_of(conf(hive, **change))
    assert rows_of(conf(hive, table="keep")) == []


def test_two_thousand_columns(hive: HiveServer2, tmp_path: Path) -> None:
    names = [f"f{k}" for k in range(2000)]
    rows = {
        name: pa.array([None if k == 1999 else row + k / 8 for row in range(150)], pa.float64())
        for k, name in enumerate(names)
    }
    pq.write_table(pa.table({"id": [f"p{row}" for row in range(150)], **rows}), tmp_path / "wide.parquet")
    columns = ", ".join(["id STRING", *(f"{name} DOUBLE" for name in names)])
    hive.execute(
        "DROP TABLE IF EXISTS fed.wide",
        f"CREATE EXTERNAL TABLE fed.wide ({columns}) STORED AS PARQUET LOCATION '{tmp_path}'",
    )
    found = rows_of(conf(hive, table="wide"), 1)
    assert sorted(row["id"] for row in found) == sorted(f"p{row}" for row in range(150))
    assert all(f"p{int(row['f0'])}" == row["id"] and row["f1998"] == row["f0"] + 1998 / 8 for row in found)
    assert {row["f1999"] for row in found} == {None}


def test_texts_of_a_megabyte_come_in_pages_that_memory_can_hold(
    hive: HiveServer2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_FIRST_PAGE", 10)
    made(hive, "id STRING", "concat(id, repeat('x', 1000000)) FROM range(30)")
    read = sliced(conf(hive), 1)
    pages = [batch.column(0) for batch in read.slice(0)]
    assert sum(map(len, pages)) == 30
    assert len(pages[0]) == 10
    assert max(map(len, pages[1:])) <= 8
    assert {len(text) for page in pages for text in page.to_pylist()} <= {1_000_001, 1_000_002}


def test_a_page_is_at_most_twice_the_one_before(hive: HiveServer2, monkeypatch: pytest.MonkeyPatch) -> None:
    from TCLIService import TCLIService

    fetch, asked = TCLIService.Client.FetchResults, []

    def noted(self: Any, request: Any) -> Any:
        asked.append(request.maxRows)
        return fetch(self, request)

    monkeypatch.setattr(TCLIService.Client, "FetchResults", noted)
    read = sliced(conf(hive, table="people"), 1)
    asked.clear()
    assert sum(batch.num_rows for batch in read.slice(0)) == 20_000
    assert asked[:4] == [100, 200, 400, 800]
    assert max(asked) == 10_000
    assert all(later <= 2 * before for before, later in pairwise(asked))


@pytest.mark.parametrize("where", ["CAST(id AS INT) > 5", "id > 5", "to_date(id) > '2020-01-01'"])
def test_a_value_that_a_condition_cannot_use_is_not_shown(hive: HiveServer2, where: str) -> None:
    made(hive, "id STRING", "'PATIENT-1'")
    with pytest.raises(TableError, match="`where` needs a number, date or truth value") as caught:
        sliced(conf(hive, where=where))
    assert "PATIENT" not in str(caught.value)


def test_a_row_that_a_failed_query_was_busy_with_is_not_shown(hive: HiveServer2) -> None:
    said = (
        "Error while processing statement: FAILED: Execution Error, return code 2 from TezTask. Vertex failed: "
        'HiveException: Hive Runtime Error while processing row {"id":"PATIENT-1","x":{"y":2}} near \'PATIENT-1\''
    )
    with Server.of(conf(hive), HERE).session("Table t") as session:
        error = session._meaning(said)
    assert "Hive Runtime Error while processing row ***" in str(error)
    assert "PATIENT" not in str(error)


def test_columns_of_many_values_are_refused_by_name(hive: HiveServer2) -> None:
    made(hive, "id STRING, a ARRAY<INT>, m MAP<STRING,INT>")
    with pytest.raises(TableError, match=r"'a' \(array<int>\), 'm' \(map<string,int>\)"):
        sliced(conf(hive, features=["a", "m"]))


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"table": "day"}, TableError, "there is no such table. Did you mean 'days'?"),
        ({"database": "fedd"}, TableError, "there is no database 'fedd'. Did you mean 'fed'?"),
        ({"id": "ID"}, TableError, "Did you mean 'id'"),
        ({"where": "nothing = 1"}, TableError, "`nothing` cannot be resolved"),
        ({"where": "x ="}, TableError, "Correct `where`"),
        (
            {"partitions": {"dt": "2026-11-22"}},
            TableError,
            "there is no partition dt=2026-11-22; the last of its 7 are",
        ),
        ({"partitions": {"hr": "noon"}}, TableError, "there is no partition hr=noon"),
        ({"partitions": {"x": 1}}, TableError, "no partition column: those are 'dt', 'hr'"),
        ({"port": free_port()}, StoreError, "does not answer"),
        ({"host": "nowhere.invalid"}, StoreError, "does not answer"),
        ({"auth": "ldap", "password": "env:FEDSPARK_TEST_ABSENT"}, ConfigError, "FEDSPARK_TEST_ABSENT"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(
    hive: HiveServer2, change: dict[str, Any], kind: type[FedsparkError], words: str
) -> None:
    with pytest.raises(kind) as caught:
        sliced(conf(hive, **{"table": "days", **change}))
    text = str(caught.value)
    assert words in text
    assert caught.value.remedy
    assert "org.apache" not in text
    assert "\n" not in text


@pytest.fixture
def closing() -> Iterator[int]:
    """The port of a server that closes connections once something was said, as HiveServer2 does for another log-in."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                peer.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize("auth", ["none", "nosasl"])
def test_a_log_in_that_the_server_does_not_understand_has_a_sentence(
    hive: HiveServer2, closing: int, monkeypatch: pytest.MonkeyPatch, auth: str
) -> None:
    monkeypatch.setattr(server, "_SECONDS_TO_CONNECT", 3)
    table = conf(hive, table="days", auth=auth)
    for table in (conf(hive, auth=auth, port=closing), *([conf(hive, auth=auth)] if auth == "nosasl" else [])):
        with pytest.raises(StoreError) as caught:
            sliced(table)
        assert f"its authentication may be another than {auth}" in str(caught.value)
        assert "hive.server2.authentication" in str(caught.value)


def test_a_wrong_password_is_told_and_not_shown(hive: HiveServer2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDSPARK_TEST_WRONG", PASSWORD)
    server = Refusing()
    try:
        with pytest.raises(StoreError) as caught:
            sliced(conf(hive, auth="ldap", password="env:FEDSPARK_TEST_WRONG", port=server.port))
    finally:
        server.close()
    assert server.heard == [b"PLAIN", b"\0fed\0" + PASSWORD.encode()]
    assert "does not let user 'fed' in" in str(caught.value)
    assert "Correct `user`, `auth` or what `password` refers to; the server said: Error validating the login." in str(
        caught.value
    )
    assert PASSWORD not in str(caught.value)


def test_a_password_is_sent_and_shown_nowhere(
    spark: Any, hive: HiveServer2, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    table = conf(hive, table="days", auth="ldap", password=f"file:{secret}")  # this server takes any
    source = slices.read(spark, "people", table, HERE)
    shown = [source.frame._jdf.queryExecution().toString(), repr(source), repr(table), repr(sliced(table))]
    (tmp_path / "work").mkdir()
    assert staged(spark, table, tmp_path / "work").num_rows == 6000
    with pytest.raises(StoreError) as caught:
        sliced(conf(hive, auth="ldap", password=f"file:{secret}", port=free_port()))
    shown += [caplog.text, str(caught.value), repr(caught.value), str(spark.sparkContext.getConf().getAll())]
    assert not [text for text in shown if PASSWORD in text]
    files = [path for path in (tmp_path / "work").rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]


def test_a_certificate_that_is_none_is_named(hive: HiveServer2, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`ca` cannot be read"):
        sliced(conf(hive, ca=str(tmp_path / "absent.pem")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        sliced(conf(hive, ca=str(tmp_path / "ca.pem")))


def test_a_server_is_asked_to_prove_who_it_is_where_its_authority_is_named(hive: HiveServer2, tmp_path: Path) -> None:
    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "key.pem")
    between = Proxy(hive.port, context)
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")
    try:
        table = conf(hive, table="days", port=between.port, ca=str(tmp_path / "ca.pem"), partitions={"hr": 0})
        assert len(rows_of(table, 2)) == 3000
        other = str(tmp_path / "other" / "ca.pem")
        with pytest.raises(StoreError, match="did not prove who it is"):
            sliced(conf(hive, port=between.port, ca=other))
    finally:
        between.close()


def test_what_another_program_wrote_is_seen_through_the_metastore(
    spark: Any, hive: HiveServer2, metastore: Metastore
) -> None:
    table = HiveTable.model_validate(metastore.conf(table="t", id="id"))
    for count in (1, 2):
        made(hive, "id INT", f"id FROM range({count})")
        assert reader.read(spark, "people", table, HERE).frame.count() == count
