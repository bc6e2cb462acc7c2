"""Every table of README's section on sources, read as it is written there from a real source of that kind.

What is replaced is where the server is and who logs in, and no more.
"""

from __future__ import annotations

import datetime
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedspark.conf.tables import TABLE_KINDS
from fedspark.tables.card import TableCard
from tests import readme
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.hive import HiveServer2, Metastore
from tests.integration.servers.mariadb import MariaDB
from tests.tables.conftest import Bench

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROWS = [(f"c{number}", 20 + number, 1000.5 * number, "Ulm", f"2025-0{1 + number % 9}-01") for number in range(1, 8)]
COLUMNS = "customer VARCHAR(20), age INT, income DOUBLE, city VARCHAR(20), since DATE"
LITERALS = ", ".join(f"('{customer}', {age}, {income}, '{city}', '{day}')" for customer, age, income, city, day in ROWS)
NUMBERS = {"key": [row[0] for row in ROWS], "x.age": [row[1] for row in ROWS], "x.income": [row[2] for row in ROWS]}

Load = Callable[..., tuple[TableCard, dict[str, Any]]]


@pytest.fixture
def load(spark: Any, tmp_path: Path) -> Load:
    bench = Bench(spark, tmp_path)

    def staged(kind: str, **place: Any) -> tuple[TableCard, dict[str, Any]]:
        """Stage README's table of that kind with other keys of ``place``, None for none; its card and the snapshot."""
        conf = {key: value for key, value in (readme.table(kind) | place).items() if value is not None}
        table = TABLE_KINDS[kind].model_validate(conf, context={"directory": tmp_path})
        card = bench.stage_conf(table)
        return card, bench.snapshot()

    return staged


def numbers(snapshot: dict[str, Any]) -> dict[str, Any]:
    return {name: snapshot[name] for name in NUMBERS}


def place(conf: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Where a test's server is."""
    return {key: conf[key] for key in (*keys, "host", "port", "user", "password") if key in conf}


def test_csv(load: Load, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    header = "customer;age;income;city;since;churned;importance;read_on\n"
    first = "c1;41;1000.5;Ulm;2025-01-01;stayed;1;2026-01-01\nc2;17;5;Ulm;2025-01-01;stayed;1;2026-01-01\n"
    second = "c3;51;2000;Ulm;1969-12-31;left;2.5;2026-02-01\nc4;33;much;Ulm;2025-01-01;stayed;1;2026-02-01\n"
    again = "c1;30;900;Ulm;2025-01-01;stayed;1;2026-01-01\n"
    (tmp_path / "data/customers-1.csv").write_text(header + first)
    (tmp_path / "data/customers-2.csv").write_text(header + second + again)
    card, snapshot = load("csv")
    assert sorted(zip(snapshot["key"], snapshot["x.since"], snapshot["weight"], snapshot["label"], strict=True)) == [
        ("c1", 20089.0, 1.0, 0.0),
        ("c3", -1.0, 2.5, 1.0),
    ]
    assert card.unread == 1
    assert "x.city" not in snapshot


def test_a_dump(load: Load, tmp_path: Path) -> None:
    (tmp_path / "dumps").mkdir()
    script = f"CREATE TABLE `customers` ({COLUMNS});\nINSERT INTO `customers` VALUES {LITERALS};\n"
    (tmp_path / "dumps/shop.sql.gz").write_bytes(gzip.compress(script.encode()))
    assert numbers(load("sqlscript")[1]) == NUMBERS


@pytest.fixture
def customers(mariadb: MariaDB) -> Iterator[None]:
    tables = ["fed.customers", *(f"fed_shop_{shard // 2}.customers_0{shard % 2}" for shard in range(4))]
    for database in range(2):
        mariadb.execute(f"CREATE DATABASE fed_shop_{database}")
    for table in tables:
        mariadb.execute(f"CREATE TABLE {table} ({COLUMNS})")
    mariadb.execute(f"INSERT INTO fed.customers VALUES {LITERALS}, ('later', 30, 1, 'Ulm', '2026-01-01')")
    for number, row in enumerate(ROWS):
        mariadb.execute(f"INSERT INTO {tables[1 + number % 4]} VALUES (%s, %s, %s, %s, %s)", [row])
    yield
    mariadb.execute("DROP TABLE fed.customers")
    for database in range(2):
        mariadb.execute(f"DROP DATABASE fed_shop_{database}")


@pytest.mark.usefixtures("customers")
def test_mysql(load: Load, mariadb: MariaDB) -> None:
    assert numbers(load("mysql", **place(mariadb.conf(), "database"), ca=str(mariadb.ca))[1]) == NUMBERS


@pytest.mark.usefixtures("customers")
def test_one_table_over_many(load: Load, mariadb: MariaDB) -> None:
    (shard,) = readme.table("sharded")["shards"]
    ranges = {
        key: shard[key].replace("shop", "fed_shop").replace("15", "1").replace("63", "01")
        for key in ("database", "table")
    }
    card, snapshot = load("sharded", shards=[shard | place(mariadb.conf()) | ranges])
    assert numbers(snapshot) == NUMBERS
    assert any("fed_shop_1.customers_01 1" in note for note in card.notes)


def test_clickhouse(load: Load, clickhouse: ClickHouse) -> None:
    clickhouse.execute("CREATE DATABASE shop")
    try:
        columns = "customer String, age Int32, income Float64, city String, since Date"
        clickhouse.execute(f"CREATE TABLE shop.customers ({columns}) ENGINE = MergeTree ORDER BY customer")
        rows = [(*row[:4], datetime.date.fromisoformat(row[4])) for row in ROWS]
        clickhouse.execute("INSERT INTO shop.customers VALUES", rows)
        assert numbers(load("clickhouse", **place(clickhouse.conf()))[1]) == NUMBERS
    finally:
        clickhouse.execute("DROP DATABASE shop")


@pytest.fixture
def hive_customers(hiveserver2: HiveServer2) -> Iterator[None]:
    columns = "customer STRING, age INT, income DOUBLE, city STRING, since DATE"
    values = LITERALS.replace("'2025", "DATE '2025").replace(".5,", ".5D,").replace(".0,", ".0D,")
    hiveserver2.execute(
        "CREATE DATABASE shop",
        f"CREATE TABLE shop.customers ({columns}) PARTITIONED BY (day STRING) STORED AS PARQUET",
        f"INSERT INTO shop.customers PARTITION (day='2026-11-20') VALUES {values}",
        "INSERT INTO shop.customers PARTITION (day='2026-11-19') VALUES ('old', 1, 1D, 'Ulm', DATE '2025-01-01')",
    )
    yield
    hiveserver2.execute("DROP DATABASE shop CASCADE")


@pytest.mark.usefixtures("hive_customers")
def test_hive(load: Load, metastore: Metastore) -> None:
    assert numbers(load("hive", metastore=metastore.uri)[1]) == NUMBERS


@pytest.mark.usefixtures("hive_customers")
def test_hiveserver2(load: Load, hiveserver2: HiveServer2) -> None:
    open_server = {"auth": None, "password": None, "ca": None}  # the test's server asks for no password
    snapshot = load("hiveserver2", **place(hiveserver2.conf()), **open_server)[1]
    assert sorted(snapshot["key"]) == sorted(["old", *NUMBERS["key"]])


def test_every_kind_of_table_is_in_the_readme_and_here() -> None:
    assert set(readme.TABLES) == set(TABLE_KINDS) - {"parquet", "orc"}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    words = {"sqlscript": "a_dump", "sharded": "one_table_over_many"}
    assert {words.get(kind, kind) for kind in readme.TABLES} <= tested
