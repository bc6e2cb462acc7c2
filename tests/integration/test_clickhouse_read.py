"""Tables in a real ClickHouse: types, slices, names, and what can go wrong while they are read."""

from __future__ import annotations

import logging
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fedspark.conf.tables import ClickHouseTable, ShardedTable
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables.clickhouse import reader, server
from fedspark.tables.clickhouse.reader import Slices, plan
from fedspark.tables.clickhouse.server import Lost
from fedspark.tables.clickhouse.sql import quoted
from fedspark.tables.source import explain_task
from fedspark.tables.staging import stage
from tests.integration.servers.clickhouse import PASSWORD, ClickHouse
from tests.integration.servers.mariadb import make_certificate
from tests.integration.servers.proxy import Proxy

HERE = Path()


@pytest.fixture
def people(clickhouse: ClickHouse) -> str:
    """100,000 people with ids at the upper end of UInt64."""
    return made(
        clickhouse,
        "id UInt64, x Float64, y UInt8",
        "SELECT 18446744073709551615 - number, number / 8, number % 2 FROM numbers(100000)",
    )


def made(
    server: ClickHouse, columns: str, rows: str = "", name: str = "t", engine: str = "MergeTree ORDER BY tuple()"
) -> str:
    """A table with these columns and rows; its name."""
    server.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
    server.execute(f"CREATE TABLE {quoted(name)} ({columns}) ENGINE = {engine}")
    if rows:
        server.execute(f"INSERT INTO {quoted(name)} {rows}")
    return name


def conf(server: ClickHouse, **more: Any) -> ClickHouseTable:
    return ClickHouseTable(**server.conf(**{"table": "t", "id": "id", **more}))


def sliced(table: ClickHouseTable, parallel: int = 3) -> Slices:
    return plan("people", table, HERE, parallel)[1]


def rows_of(table: ClickHouseTable, parallel: int = 3) -> list[dict[str, Any]]:
    """All rows by the names of their columns, as executors get them, without Spark."""
    columns, slices = plan("people", table, HERE, parallel)
    names = [columns[int(field[1:])].name for field, _ in slices.fields]
    numbers = pa.RecordBatch.from_pydict({"id": list(range(slices.selection.slices))})
    batches = [batch.rename_columns(names) for batch in slices(iter([numbers]))]
    return [row for batch in batches for row in batch.to_pylist()]


def staged(spark: Any, table: ClickHouseTable | ShardedTable, place: Path, **options: Any) -> pa.Table:
    arguments = {"id_type": "string", "needs_features": False, "training": False, **options}
    _, chunks = stage(spark, "people", table, HERE, ref=StoreRef(place.as_uri()), folder="t", **arguments)
    return pa.concat_tables([chunks.schema.empty_table(), *map(chunks.read, range(len(chunks)))])


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("UInt64", "18446744073709551615", "18446744073709551615"),
        ("Nullable(UInt64)", "18446744073709551615", "18446744073709551615"),
        ("Int64", "toInt64('-9223372036854775808')", -(2**63)),
        ("UInt8", "255", 255),
        ("Decimal(9, 0)", "toDecimal32('-12', 0)", -12),
        ("Decimal(38, 0)", "toDecimal128('12345678901234567890123', 0)", "12345678901234567890123"),
        ("String", "'Zoë'", "Zoë"),
        ("LowCardinality(String)", "'a'", "a"),
        ("LowCardinality(Nullable(String))", "'a'", "a"),
        ("FixedString(5)", "'ab'", "ab"),
        ("Enum8('a' = 1, 'b\\'`, c' = -2)", "'b\\'`, c'", "b'`, c"),
        ("Nullable(Enum8('a' = 1))", "'a'", "a"),
        ("UUID", "toUUID('01234567-89ab-cdef-0123-456789abcdef')", "01234567-89ab-cdef-0123-456789abcdef"),
        ("Date", "toDate('1970-01-02')", "1970-01-02"),
        ("Nullable(Date)", "toDate('2026-12-31')", "2026-12-31"),
    ],
)
def test_an_id_arrives_exactly_as_the_server_shows_it(
    clickhouse: ClickHouse, type_name: str, value: str, expected: str | int
) -> None:
    made(clickhouse, f"id {type_name}", f"SELECT {value}")
    assert rows_of(conf(clickhouse)) == [{"id": expected}]


def test_labels_and_features_arrive_as_numbers_with_their_nulls(clickhouse: ClickHouse) -> None:
    made(
        clickhouse,
        "id String, y Nullable(UInt8), f Float32, nf Nullable(Float64), d Decimal(18, 4), nd Nullable(Decimal(38, 2)), "
        "u UInt64, i Int8, lc LowCardinality(String), t DateTime, a Array(UInt8)",
        "SELECT 'p', NULL, 0.5, NULL, toDecimal64('-1.25', 4), NULL, 18446744073709551615, -3, '1.5', now(), [1]",
    )
    table = conf(clickhouse, label="y", features=["f", "nf", "d", "nd", "u", "i", "lc"])
    assert rows_of(table) == [
        {"id": "p", "y": None, "f": 0.5, "nf": None, "d": -1.25, "nd": None, "u": 2.0**64, "i": -3, "lc": "1.5"}
    ]


def test_dates_and_times_arrive_as_text_of_utc(clickhouse: ClickHouse) -> None:
    made(
        clickhouse,
        "id String, d Date, nd Nullable(Date), t DateTime('Asia/Tokyo'), nt Nullable(DateTime), nn Nullable(DateTime)",
        "SELECT 'p', toDate('1970-01-02'), toDate('2026-12-31'), toDateTime(1700000000), toDateTime(60), NULL",
    )
    table = conf(clickhouse, features=["d", "nd", "nt", "nn"], time="t", types={"d": "date"})
    times = {"t": "2023-11-14 22:13:20", "nt": "1970-01-01 00:01:00", "nn": None}
    assert rows_of(table) == [{"id": "p", "d": "1970-01-02", "nd": "2026-12-31", **times}]


def test_weights_and_texts_of_declared_types_are_staged(spark: Any, clickhouse: ClickHouse, tmp_path: Path) -> None:
    made(
        clickhouse,
        "id Float64, w UInt64, t DateTime, y String, x String, born Date",
        "SELECT 7, 3, toDateTime(86400), 'sick', '12.5', toDate('1970-01-11')",
    )
    types = {"id": "integer", "x": "double"}
    roles = {"weight": "w", "time": "t", "label": "y", "label_values": {"well": 0, "sick": 1}, "types": types}
    found = staged(spark, conf(clickhouse, features=["x", "born"], **roles), tmp_path).to_pylist()
    assert found == [{"key": "7", "id.id": None, "label": 1.0, "weight": 3.0, "x.x": 12.5, "x.born": 10.0}]


def test_null_ids_come_once_in_whatever_slices(clickhouse: ClickHouse) -> None:
    made(clickhouse, "id Nullable(String), x UInt32", "SELECT if(number % 3 = 0, NULL, 'p'), number FROM numbers(999)")
    found = rows_of(conf(clickhouse, slices=7))
    assert sorted(row["x"] for row in found) == list(range(999))
    assert sum(row["id"] is None for row in found) == 333


@pytest.mark.parametrize("slices", [1, 2, 11])
def test_slices_together_are_the_table(clickhouse: ClickHouse, people: str, slices: int) -> None:
    found = rows_of(conf(clickhouse, slices=slices, where="x < 1000 -- the first ones"))
    assert sorted(row["x"] for row in found) == [number / 8 for number in range(8000)]


def test_names_with_quotes_and_sql_in_them_are_names(clickhouse: ClickHouse) -> None:
    table, column = "t`; DROP TABLE keep; -- \\", "id` FROM x; -- '\"\\ Ü%"
    made(clickhouse, "id UInt8", "SELECT 1", name="keep")
    made(clickhouse, f"{quoted(column)} UInt8, `Id` UInt8, `id` UInt8", "SELECT 1, 2, 3", name=table)
    assert rows_of(conf(clickhouse, table=table, id=column)) == [{column: 1, "Id": 2, "id": 3}]
    clickhouse.execute(f"DROP TABLE {quoted(table)}")
    assert clickhouse.execute("SELECT id FROM keep") == [(1,)]


def test_two_thousand_columns(clickhouse: ClickHouse) -> None:
    columns = ", ".join(f"f{k} Nullable(Float64)" for k in range(2000))
    rows = f"SELECT toString(number), {'number, ' * 1999} NULL FROM numbers(50)"
    made(clickhouse, f"id String, {columns}", rows, engine="Memory")
    found = rows_of(conf(clickhouse))
    assert len(found) == 50
    assert all(row["f0"] == float(row["id"]) == row["f1998"] and row["f1999"] is None for row in found)


def test_texts_of_a_megabyte(clickhouse: ClickHouse) -> None:
    texts = sorted(str(number) + "x" * 1_000_000 for number in range(12))
    made(clickhouse, "id String")
    clickhouse.execute("INSERT INTO t VALUES", [(text,) for text in texts])
    assert sorted(row["id"] for row in rows_of(conf(clickhouse))) == texts


def test_text_that_is_not_utf_8_is_refused(clickhouse: ClickHouse) -> None:
    made(clickhouse, "id String", "SELECT unhex('FF00')")
    with pytest.raises(TableError, match="not text in UTF-8"):
        list(sliced(conf(clickhouse), 1).slice(0))


def test_a_table_is_staged_with_its_types_on_the_card(
    spark: Any, clickhouse: ClickHouse, people: str, tmp_path: Path
) -> None:
    found = staged(spark, conf(clickhouse, label="y"), tmp_path, needs_label=True, needs_features=True)
    assert found.num_rows == 100_000
    by_key = {row["key"]: row for row in found.to_pylist()}
    assert by_key["18446744073709551615"]["x.x"] == 0.0
    assert by_key[str(2**64 - 100_000)]["x.x"] == 99_999 / 8


def test_a_table_in_several_tables_is_read_as_one(spark: Any, clickhouse: ClickHouse, tmp_path: Path) -> None:
    for shard in range(2):
        rows = f"SELECT number * 2 + {shard}, 'text', number FROM numbers(10)"
        made(clickhouse, "id UInt64, name String, x Float64", rows, name=f"part_{shard}")
    place = clickhouse.conf(table="part_{0..1}")
    table = ShardedTable.model_validate({"kind": "sharded", "id": "id", "shards": [place]})
    assert sorted(map(int, staged(spark, table, tmp_path).column("key").to_pylist())) == list(range(20))


def test_an_empty_table_has_no_rows(spark: Any, clickhouse: ClickHouse, tmp_path: Path) -> None:
    made(clickhouse, "id String, x Float64")
    assert staged(spark, conf(clickhouse), tmp_path).num_rows == 0


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"table": "T"}, TableError, "there is no such table. Did you mean 't'"),
        ({"database": "nowhere"}, TableError, "Correct `database`"),
        ({"id": "Id"}, TableError, "Did you mean 'id'"),
        ({"where": "nothing = 1"}, TableError, "Correct `where`"),
        ({"where": "x = '"}, TableError, "Correct `where`"),
        ({"user": "mallory"}, StoreError, "does not let user 'mallory' in"),
        ({"password": "env:FEDSPARK_TEST_WRONG"}, StoreError, "Correct `user`, or what `password` refers to"),
        ({"password": "env:FEDSPARK_TEST_ABSENT"}, ConfigError, "FEDSPARK_TEST_ABSENT"),
        ({"password": None}, StoreError, "does not let user"),
        ({"port": 1}, StoreError, "See that the server is up"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_remedy(
    clickhouse: ClickHouse,
    people: str,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    kind: type[FedsparkError],
    words: str,
) -> None:
    monkeypatch.setenv("FEDSPARK_TEST_WRONG", "wrong-8731")
    with pytest.raises(kind) as caught:
        sliced(conf(clickhouse, **change))
    text = str(caught.value)
    assert words in text
    assert "Stack trace" not in text
    assert "wrong-8731" not in text


@pytest.mark.parametrize("patient", ["O'PATIENT-1", "Stack trace PATIENT-1"])
@pytest.mark.parametrize(
    "where",
    [
        "toInt32(id) > 5",
        "toFloat64(id) > 5",
        "toDate(id) > '2020-01-01'",
        "toDateTime(id) > '2020-01-01 00:00:00'",
        "toUUID(id) = toUUID(id)",
        "CAST(id AS Enum8('a' = 1)) = 'a'",
        "throwIf(id != '', 'PATIENT-1') = 0",
    ],
)
def test_a_value_that_a_condition_cannot_use_is_not_shown(clickhouse: ClickHouse, where: str, patient: str) -> None:
    made(clickhouse, "id String")
    clickhouse.execute("INSERT INTO t VALUES", [(patient,)])
    with pytest.raises(TableError) as caught:
        sliced(conf(clickhouse, where=where))
    assert "PATIENT" not in str(caught.value)
    assert caught.value.remedy


def test_a_value_that_the_driver_cannot_send_is_not_shown(clickhouse: ClickHouse) -> None:
    made(clickhouse, "id UInt8")
    place = server.Server.of(conf(clickhouse), HERE)
    with pytest.raises(StoreError, match="Expected UInt8 got") as caught, place.client("Table t") as client:
        client.execute("INSERT INTO t VALUES", [("PATIENT-1",)], types_check=True)
    assert "PATIENT" not in str(caught.value)


def test_a_server_is_asked_to_prove_who_it_is_where_its_authority_is_named(
    clickhouse: ClickHouse, people: str, tmp_path: Path
) -> None:
    make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "key.pem")
    between = Proxy(clickhouse.port, context)
    (tmp_path / "other").mkdir()
    make_certificate(tmp_path / "other")
    try:
        read = sliced(conf(clickhouse, port=between.port, ca=str(tmp_path / "ca.pem")))
        (tmp_path / "ca.pem").unlink()  # executors have no such file
        assert sum(batch.num_rows for batch in read.slice(0)) > 10_000
        for other in ({"ca": str(tmp_path / "other" / "ca.pem")}, {"secure": True}):
            with pytest.raises(StoreError, match=r"did not prove who it is.*Name in `ca`"):
                sliced(conf(clickhouse, port=between.port, **other))
    finally:
        between.close()


def test_a_certificate_that_is_none_is_named(clickhouse: ClickHouse, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`ca` cannot be read"):
        sliced(conf(clickhouse, ca=str(tmp_path / "absent.pem")))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="no certificate in PEM"):
        sliced(conf(clickhouse, ca=str(tmp_path / "ca.pem")))


def test_a_table_that_merges_rows_by_itself_is_told_from_one_that_is_written_to(
    spark: Any, clickhouse: ClickHouse
) -> None:
    made(clickhouse, "id UInt64, x UInt8", "SELECT number, 1 FROM numbers(10)", engine="MergeTree ORDER BY id")
    assert reader.read(spark, "people", conf(clickhouse), HERE).notes == ()
    made(clickhouse, "id UInt64, x UInt8", "SELECT number, 1 FROM numbers(10)", engine="ReplacingMergeTree ORDER BY id")
    clickhouse.execute("INSERT INTO t SELECT number, 2 FROM numbers(10)")
    clickhouse.execute("DROP TABLE IF EXISTS whole")
    clickhouse.execute("CREATE VIEW whole AS SELECT id, x FROM t FINAL")
    try:
        assert {row["x"] for row in rows_of(conf(clickhouse, table="whole"))} == {2}
        source = reader.read(spark, "people", conf(clickhouse), HERE)
        slices = sliced(conf(clickhouse), 1)
        clickhouse.execute("OPTIMIZE TABLE t FINAL")
        with pytest.raises(TableError, match=r"a slice of 20 rows has 10 now.*name a view that has FINAL"):
            list(slices.slice(0))
    finally:
        clickhouse.execute("DROP TABLE whole")
    (note,) = source.notes
    assert "its engine ReplacingMergeTree puts rows of one key together" in note


def test_a_table_that_grows_while_it_is_read_is_refused(spark: Any, clickhouse: ClickHouse, people: str) -> None:
    source = reader.read(spark, "people", conf(clickhouse), HERE)
    clickhouse.execute("INSERT INTO t SELECT 5, 0, 0")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of Spark
        source.frame.collect()
    explained = explain_task(caught.value, source.where, source.kind)
    assert isinstance(explained, TableError)
    assert "it changed while it was read" in str(explained)


def test_an_id_that_takes_another_s_place_is_noticed(clickhouse: ClickHouse) -> None:
    made(clickhouse, "id String, x UInt8", "SELECT 'a', 1")
    slices = sliced(conf(clickhouse), 1)
    made(clickhouse, "id String, x UInt8", "SELECT 'b', 1")
    with pytest.raises(TableError, match="the ids of a slice are others"):
        list(slices.slice(0))


def test_a_column_that_goes_away_while_slices_are_read_is_named(clickhouse: ClickHouse, people: str) -> None:
    slices = sliced(conf(clickhouse))
    clickhouse.execute("ALTER TABLE t DROP COLUMN x")
    with pytest.raises(TableError, match="x"):
        list(slices.slice(0))


@pytest.fixture
def proxy(clickhouse: ClickHouse) -> Iterator[Proxy]:
    between = Proxy(clickhouse.port)
    yield between
    between.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(server, "_SECONDS_TO_ANSWER", 10)


def through(proxy: Proxy, clickhouse: ClickHouse, **more: Any) -> Callable[[], Slices]:
    """Slices whose connections go through the proxy, asked for while it cuts nothing."""
    return lambda: sliced(conf(clickhouse, **{**more, "port": proxy.port}), 1)


@pytest.mark.usefixtures("impatient", "people")
def test_a_connection_lost_before_any_row_is_opened_again(clickhouse: ClickHouse, proxy: Proxy) -> None:
    slices = through(proxy, clickhouse)()
    proxy.cuts, before = [10, 300], proxy.connections
    found = [row for batch in slices.slice(0) for row in batch.to_pylist()]
    assert proxy.connections == before + 3
    assert sorted(row["c1"] for row in found) == [number / 8 for number in range(100_000)]


@pytest.mark.usefixtures("impatient", "people")
def test_a_slice_of_which_rows_were_handed_on_is_not_asked_for_again(clickhouse: ClickHouse, proxy: Proxy) -> None:
    slices = through(proxy, clickhouse, compression=False)()
    proxy.cuts, before = [2_000_000], proxy.connections
    batches = slices.slice(0)
    assert next(batches).num_rows
    with pytest.raises(Lost):
        list(batches)
    assert proxy.connections == before + 1


@pytest.mark.usefixtures("people")
def test_a_connection_lost_in_the_middle_leaves_no_gap_and_no_duplicate(
    spark: Any, clickhouse: ClickHouse, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.cuts = [None, None, 2_000_000]
    table = conf(clickhouse, port=proxy.port, slices=1, compression=False)
    found = staged(spark, table, tmp_path)
    assert proxy.connections == 5  # two for columns and slices, one that is cut, one anew, one for the columns again
    assert sorted(map(int, found.column("key").to_pylist())) == list(range(2**64 - 100_000, 2**64))


@pytest.mark.usefixtures("people")
def test_a_server_that_is_killed_and_comes_back_is_read_to_the_end(clickhouse: ClickHouse, proxy: Proxy) -> None:
    slices = through(proxy, clickhouse)()
    clickhouse.stop(signal.SIGKILL)
    revived = threading.Thread(target=clickhouse.start)
    revived.start()
    found = [row for batch in slices.slice(0) for row in batch.to_pylist()]
    revived.join()
    assert sorted(row["c1"] for row in found) == [number / 8 for number in range(100_000)]


def test_the_password_is_nowhere_but_on_the_wire(
    spark: Any, clickhouse: ClickHouse, people: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    table = conf(clickhouse)
    source = reader.read(spark, "people", table, HERE)
    shown = [
        source.frame._jdf.queryExecution().toString(),
        repr(source),
        repr(table),
        str(spark.sparkContext.getConf().getAll()),
    ]
    staged(spark, table, tmp_path)
    with pytest.raises(StoreError) as caught:
        sliced(conf(clickhouse, user="mallory"))
    shown += [caplog.text, str(caught.value), repr(caught.value)]
    assert not [text for text in shown if PASSWORD in text]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
