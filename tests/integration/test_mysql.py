"""Tables of MariaDB, read through Spark's JDBC source and staged."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fedspark.conf.tables.mysql import MysqlTable
from fedspark.errors import ConfigError, StoreError, TableError
from fedspark.tables.mysql import reader
from fedspark.tables.source import own_session
from tests.integration.servers.mariadb import PASSWORD, MariaDB
from tests.tables.conftest import Bench

pytestmark = pytest.mark.spark


@pytest.fixture
def bench(spark: Any, tmp_path: Path) -> Bench:
    return Bench(spark, tmp_path)


@pytest.fixture
def people(mariadb: MariaDB) -> Iterator[str]:
    """A table of 2,000 people with id, age, bmi and a label."""
    mariadb.execute("CREATE TABLE people (id INT PRIMARY KEY, age INT, bmi DOUBLE, sick TINYINT(1))")
    mariadb.execute("INSERT INTO people VALUES (%s, %s, %s, %s)", [(n, n % 90, n / 7, n % 2) for n in range(1, 2001)])
    yield "people"
    mariadb.execute("DROP TABLE people")


@pytest.fixture
def made(mariadb: MariaDB) -> Iterator[Callable[..., MysqlTable]]:
    """Make a table of one's own columns and rows; the conf for it."""
    names: list[str] = []

    def make(
        columns: str, rows: list[tuple[Any, ...]], name: str = "made", engine: str = "InnoDB", **conf: Any
    ) -> MysqlTable:
        quoted = "`" + name.replace("`", "``") + "`"
        mariadb.execute(f"CREATE TABLE {quoted} ({columns}) ENGINE={engine}")
        names.append(quoted)
        if rows:
            marks = ", ".join(["%s"] * len(rows[0]))
            mariadb.execute(f"INSERT INTO {quoted.replace('%', '%%')} VALUES ({marks})", rows)
        return MysqlTable(**mariadb.conf(table=name, **{"id": "id", **conf}))

    yield make
    for name in names:
        mariadb.execute(f"DROP TABLE {name}")


def test_rows_come_once_each_by_ranges_by_hashes_and_in_one_slice(bench: Bench, mariadb: MariaDB, people: str) -> None:
    checksums = set()
    for more in ({"slices": 1}, {"slices": 5}, {"slices": 5, "slice_by": "age"}, {"slices": 3, "id": ["id", "age"]}):
        conf = {"id": "id", "label": "sick", "features": ["bmi"], **more}
        card = bench.stage_conf(MysqlTable(**mariadb.conf(table=people, **conf)), needs_label=True)
        assert (card.rows, card.label_counts) == (2000, {"0": 1000, "1": 1000})
        checksums.add((card.checksum, card.ids))
    assert len(checksums) == 2  # one for the key of one column, whatever the slices
    assert bench.snapshot()["x.bmi"] == pytest.approx(
        [int(key.split("\x1f")[0]) / 7 for key in bench.snapshot()["key"]]
    )


def test_rows_without_an_id_are_in_a_slice_and_refused(bench: Bench, made: Callable[..., MysqlTable]) -> None:
    conf = made("id VARCHAR(20), x INT", [(None, 1), ("a", 2), ("b", 3), (None, 4)], slices=3)
    with pytest.raises(TableError, match=r"id column 'id': 2 rows with no id"):
        bench.stage_conf(conf)


def test_only_the_columns_that_are_needed_and_the_rows_asked_for_are_queried(
    spark: Any, mariadb: MariaDB, people: str
) -> None:
    conf = MysqlTable(**mariadb.conf(table=people, id="id", where="age < 10 -- the young", slices=2))
    source = reader.read(own_session(spark), "people", conf, Path())
    assert source.frame.count() == sum(n % 90 < 10 for n in range(1, 2001))
    assert source.frame.rdd.getNumPartitions() == 2
    plan = source.frame.select("c0")._jdf.queryExecution().toString()
    assert "ReadSchema: struct<c0:int>" in plan or "ReadSchema: struct<c0:bigint>" in plan


def test_a_range_of_the_primary_key_is_read_by_its_index(spark: Any, mariadb: MariaDB, people: str) -> None:
    conf = MysqlTable(**mariadb.conf(table=people, id="id", where="age >= 0", slices=100))
    source = reader.read(own_session(spark), "people", conf, Path())
    plan = source.frame._jdf.queryExecution().toString()
    query = plan[plan.index("JDBCRelation(") + len("JDBCRelation(") : plan.index(") [numPartitions")]
    explained = mariadb.execute(f"EXPLAIN SELECT c0 FROM {query} WHERE fedspark_slice >= 100 AND fedspark_slice < 120")
    assert [row[3] for row in explained] == ["range"]


@pytest.mark.parametrize("first", [2**63, 2**64 - 1000, 2**63 - 500, 0])
def test_unsigned_ids_of_64_bits_are_cut_into_slices_of_about_the_same_rows(
    spark: Any, made: Callable[..., MysqlTable], first: int
) -> None:
    ids = range(first, first + 1000)
    conf = made("id BIGINT UNSIGNED PRIMARY KEY, x INT", [(n, n % 7) for n in ids], slices=4)
    frame = reader.read(own_session(spark), "people", conf, Path()).frame
    slices = [[int(row.c0) for row in rows] for rows in frame.select("c0").rdd.glom().collect()]
    assert sorted(n for rows in slices for n in rows) == list(ids)
    assert all(240 <= len(rows) <= 260 for rows in slices)


def test_values_are_those_of_the_server(bench: Bench, made: Callable[..., MysqlTable]) -> None:
    conf = made(
        "id BIGINT UNSIGNED, f FLOAT, t TINYINT(1), `DEC` DECIMAL(20,6), `Größe` DOUBLE, b BIT(3), y YEAR, "
        "num TEXT, blob_ BLOB, at DATETIME, big DECIMAL(50,3), neg BIGINT",
        [
            (
                2**64 - 1,
                1234567.0,
                5,
                Decimal("12345678901234.123456"),
                0.1,
                5,
                1999,
                "1.5",
                b"\xff",
                None,
                2,
                -(2**53),
            ),
            (0, -0.1, -3, Decimal("0.000001"), 1e300, 1, 2001, "2", b"", datetime.datetime(1900, 1, 1), 1, 7),
        ],
        features=["f", "t", "DEC", "Größe", "b", "y", "num", "big", "neg"],
    )
    bench.stage_conf(conf)
    found = bench.snapshot()
    assert found["key"] == ["0", "18446744073709551615"]
    assert found["x.f"] == [pytest.approx(-0.1, rel=1e-7), 1234567.0]  # not 1234570, as drivers say
    assert found["x.t"] == [-3, 5]
    assert found["x.DEC"] == [0.000001, 12345678901234.123456]
    assert found["x.Größe"] == [1e300, 0.1]
    assert found["x.b"] == [1, 5]
    assert found["x.y"] == [2001, 1999]
    assert found["x.num"] == [2, 1.5]
    assert found["x.big"] == [1, 2]
    assert found["x.neg"] == [7, -(2**53)]


def test_dates_before_1970_are_ids_and_zero_dates_are_counted(
    bench: Bench, mariadb: MariaDB, made: Callable[..., MysqlTable]
) -> None:
    conf = made("id DATE", [("1492-10-12",), ("1969-12-31",), ("1582-10-10",)])
    assert bench.stage_conf(conf, needs_features=False).rows == 3
    assert bench.snapshot()["key"] == ["1492-10-12", "1582-10-10", "1969-12-31"]
    mariadb.execute("SET STATEMENT sql_mode='' FOR INSERT INTO made VALUES ('0000-00-00')")
    with pytest.raises(TableError, match=r"1 row with an id that is not of type date, for example 0\*\*\*0"):
        bench.stage_conf(conf, needs_features=False)


def test_weights_times_and_texts_of_declared_types_are_staged(
    bench: Bench, mariadb: MariaDB, made: Callable[..., MysqlTable]
) -> None:
    columns = "id DOUBLE, w DECIMAL(5,1), seen TIMESTAMP NULL, at DATETIME(6), y VARCHAR(9), x VARCHAR(9), born DATE"
    roles = {"weight": "w", "time": "at", "label": "y", "label_values": {"well": 0, "sick": 1}}
    table = made(columns, [], types={"id": "integer", "x": "double"}, features=["x", "seen", "born"], **roles)
    values = "7, 2.5, FROM_UNIXTIME(216000), '1969-12-31 18:00:00', 'sick', '12.5', '1970-01-11'"
    mariadb.execute(f"INSERT INTO made VALUES ({values})")
    card = bench.stage_conf(table, training=False)
    assert bench.snapshot() == {
        "key": ["7"],
        "id.id": ["7.0"],
        "label": [1.0],
        "weight": [2.5],
        "x.x": [12.5],
        "x.seen": [2.5],
        "x.born": [10.0],
    }
    assert card.period == ("1969-12-31", "1969-12-31")
    assert card.origin["rows"] == 1
    assert "MariaDB" in str(card.origin["server"])


def test_long_texts_padded_chars_and_an_empty_table(bench: Bench, made: Callable[..., MysqlTable]) -> None:
    long = "ü" * 500_000
    conf = made("id LONGTEXT, x INT, c CHAR(9), e ENUM('yes','no')", [(long, 1, "a", "yes"), ("b", 2, "b", "no")])
    assert bench.stage_conf(conf).rows == 2
    assert bench.snapshot()["key"] == ["b", long]
    padded = MysqlTable(**{**conf.model_dump(), "id": ["c", "e"]})
    bench.stage_conf(padded)
    found = bench.snapshot()
    assert (found["key"], found["id.c"]) == (["a\x1fyes", "b\x1fno"], ["a", "b"])
    empty = made("id INT, x INT", [], name="empty")
    assert bench.stage_conf(empty).empty


def test_two_of_two_thousand_columns(bench: Bench, mariadb: MariaDB, made: Callable[..., MysqlTable]) -> None:
    columns = ", ".join(f"x{n} TINYINT" for n in range(2000))
    conf = made(f"id INT, {columns}", [], engine="MyISAM", features=["x0", "x1999"])
    mariadb.execute(f"INSERT INTO made VALUES (1, {', '.join(['1'] * 2000)}), (2, {', '.join(['2'] * 2000)})")
    assert len(bench.stage_conf(conf).columns) == 2001
    assert bench.snapshot()["x.x1999"] == [1, 2]


HOSTILE = ["a`b", "x'; DROP TABLE people; --", 'q"uote', "c /* */", "50%s", "${env}", "semi;colon", "back\\slash"]


def test_names_are_names_whatever_they_hold(
    bench: Bench, mariadb: MariaDB, people: str, made: Callable[..., MysqlTable]
) -> None:
    columns = ", ".join("`" + name.replace("`", "``") + "` INT" for name in HOSTILE)
    for name in ("t`able; DROP TABLE people; -- ", "x' OR '1'='1", "100%s"):
        name = name.rstrip()
        conf = made(f"id INT, {columns}", [], name=name, slices=2, slice_by=HOSTILE[0])
        mariadb.execute(
            "INSERT INTO `" + name.replace("`", "``") + "` VALUES (1, 1,2,3,4,5,6,7,8), (2, 2,3,4,5,6,7,8,9)"
        )
        assert bench.stage_conf(conf).features == tuple(HOSTILE)
    for wrong in ({"table": "people` WHERE 1=0; -- "}, {"database": "fed`.`people"}):
        with pytest.raises((TableError, StoreError), match=r"there is no such|does not allow"):
            bench.stage_conf(MysqlTable(**{**mariadb.conf(table="people", id="id"), **wrong}))
    assert mariadb.execute("SELECT COUNT(*) FROM people") == [(2000,)]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"port": 1}, StoreError, r"127\.0\.0\.1:1 does not answer: .*Start the server, or correct `host` and `port`"),
        ({"user": "nobody"}, StoreError, r"does not let user 'nobody' in: .*env:FEDSPARK_TEST_MARIADB"),
        ({"database": "fedd"}, (StoreError, TableError), r"there is no such database|does not allow it"),
        ({"database": "fed2"}, TableError, r"there is no such database\. Did you mean 'fed'\?"),
        ({"table": "peple"}, TableError, r"there is no such table\. Did you mean 'people'\?"),
        ({"id": "ID"}, TableError, r"`id` names column 'ID', .*Did you mean 'id'\?"),
        ({"slice_by": "aeg"}, TableError, r"`slice_by` names column 'aeg'.*Did you mean 'age'\?"),
        ({"slice_by": "bmi"}, TableError, r"`slice_by` column 'bmi' is of type double"),
        ({"where": "nothing > 1"}, TableError, r"Unknown column 'nothing'.*Correct `where`"),
        ({"where": "age > "}, TableError, r"does not understand the query.*Correct `where`"),
        ({"where": "1=1); DROP TABLE people; --"}, TableError, r"does not understand the query"),
        (
            {"jar": "/nowhere.jar"},
            ConfigError,
            r"org\.mariadb\.jdbc\.Driver was not found in /nowhere\.jar.*spark\.jars",
        ),
        ({"password": "env:NO_SUCH_PASSWORD"}, ConfigError, r"env:NO_SUCH_PASSWORD is missing"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy_and_without_a_stack_trace(
    bench: Bench, mariadb: MariaDB, people: str, change: dict[str, Any], kind: Any, message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        bench.stage_conf(MysqlTable(**{**mariadb.conf(table=people, id="id"), **change}))
    assert PASSWORD not in str(caught.value)
    assert "\tat " not in str(caught.value)
    assert not bench.files()


def test_a_text_that_is_no_number_is_counted_with_masked_examples(
    bench: Bench, made: Callable[..., MysqlTable]
) -> None:
    conf = made("id VARCHAR(9), x VARCHAR(9)", [("p001", "1"), ("p002", "x"), ("p003", "?")], features=["x"])
    with pytest.raises(
        TableError, match=r"'x' does not read as a number in 2 rows \(values like '\?', 'a'\), for example p\*\*\*2"
    ):
        bench.stage_conf(conf)


def test_a_session_without_the_driver_says_what_to_set(
    spark: Any, mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "JARS", ("/nowhere/connector.jar",))
    monkeypatch.setattr(reader, "_has_driver", lambda _: False)
    with pytest.raises(ConfigError, match=r"was not found: .*/nowhere/connector\.jar\. Set `jar`.*libmariadb-java"):
        reader.read(own_session(spark), "people", MysqlTable(**mariadb.conf(table=people, id="id")), Path())


def test_a_driver_that_takes_columns_for_texts_is_found_out(
    bench: Bench, mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "url", lambda conf: f"jdbc:mariadb://{conf.host}:{conf.port}/")
    with pytest.raises(StoreError, match=r"asked for a known value, the driver gave \['c0'\]"):
        bench.stage_conf(MysqlTable(**mariadb.conf(table=people, id="id")))


def test_an_encrypted_connection_checks_the_server(bench: Bench, mariadb: MariaDB, people: str, tmp_path: Path) -> None:
    cipher = "SELECT variable_value <> '' FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
    conf = mariadb.conf(table=people, id="id", where=f"({cipher})")
    assert bench.stage_conf(MysqlTable(**conf, ca=str(mariadb.ca))).rows == 2000
    assert bench.stage_conf(MysqlTable(**conf)).rows == 0
    other = tmp_path / "other.pem"
    other.write_bytes((mariadb.directory / "server.pem").read_bytes())
    with pytest.raises(StoreError, match="certificate"):
        bench.stage_conf(MysqlTable(**conf, ca=str(other)))


def test_the_password_is_nowhere(
    spark: Any, bench: Bench, mariadb: MariaDB, people: str, caplog: Any, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    conf = MysqlTable(**mariadb.conf(table=people, id="id", slices=2))
    source = reader.read(own_session(spark), "people", conf, Path())
    seen = [source.frame._jdf.queryExecution().toString(), repr(source), repr(conf), caplog.text]
    seen.append(source.frame._jdf.queryExecution().logical().toJSON())
    seen.append(str(bench.stage_conf(conf)))
    captured = capfd.readouterr()
    for text in (*seen, captured.out, captured.err, caplog.text, *map(str, bench.files())):
        assert PASSWORD not in text
    for path in bench.directory.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()
