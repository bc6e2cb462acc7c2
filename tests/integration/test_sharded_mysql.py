"""One table over several databases of MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedspark.conf.tables import ShardedTable
from fedspark.errors import TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables import staging
from tests.integration.servers.mariadb import MariaDB
from tests.tables.conftest import Bench

pytestmark = pytest.mark.spark


# Without slices a shard of so few rows is read by one statement, which does not see that it grew.
GROWN = {
    2: r"fed_2\.user_03\): it changed while it was read: 11 rows before, .*12 now",
    None: r"12 shards\): it changed while it was read: 66 rows before, 67 read",
}


@pytest.fixture
def bench(spark: Any, tmp_path: Path) -> Bench:
    return Bench(spark, tmp_path)


@pytest.fixture
def users(mariadb: MariaDB) -> Iterator[dict[str, Any]]:
    """fed_{0..2}.user_{00..03}, with one row more in each; the pattern."""
    for database in range(3):
        mariadb.execute(f"CREATE DATABASE fed_{database}")
        for table in range(4):
            shard = 4 * database + table
            name = f"fed_{database}.user_{table:02d}"
            mariadb.execute(f"CREATE TABLE {name} (id VARCHAR(20), visits INT)")
            rows = [(f"u{shard:02d}-{n}", n) for n in range(shard)]
            if rows:
                mariadb.execute(f"INSERT INTO {name} VALUES (%s, %s)", rows)
    yield mariadb.conf(database="fed_{0..2}", table="user_{00..03}")
    for database in range(3):
        mariadb.execute(f"DROP DATABASE fed_{database}")


def sharded(pattern: dict[str, Any], **more: Any) -> ShardedTable:
    return ShardedTable.model_validate({"id": "id", "shards": [pattern], **more})


def test_all_shards_are_one_table_with_the_rows_of_each_in_the_card(bench: Bench, users: dict[str, Any]) -> None:
    card = bench.stage_conf(sharded(users))
    assert card.rows == 66
    assert bench.snapshot()["key"] == [
        f"u{shard:02d}-{n}" for shard in range(12) for n in sorted(range(shard), key=str)
    ]
    (note,) = card.notes
    expected = ", ".join(f"fed_{shard // 4}.user_{shard % 4:02d} {shard}" for shard in range(12))
    assert note == f"rows by shard: {expected}"


def test_differences_of_columns_are_named_exactly(bench: Bench, mariadb: MariaDB, users: dict[str, Any]) -> None:
    mariadb.execute("ALTER TABLE fed_1.user_02 MODIFY visits DECIMAL(5,1), ADD extra INT")
    mariadb.execute("ALTER TABLE fed_2.user_03 DROP visits")
    with pytest.raises(TableError) as caught:
        bench.stage_conf(sharded(users))
    assert str(caught.value).startswith(
        "Table 'people' (fed_0.user_00 to fed_2.user_03, 12 shards): shards differ from fed_0.user_00: fed_1.user_02 "
        "has a column 'extra' more, has 'visits' as decimal(5,1) instead of int(11), fed_2.user_03 has no column "
        "'visits'."
    )


def test_a_shard_that_is_missing_is_named(bench: Bench, mariadb: MariaDB, users: dict[str, Any]) -> None:
    mariadb.execute("DROP TABLE fed_1.user_01")
    with pytest.raises(TableError, match=r"fed_1\.user_01\): there is no such table\. Did you mean 'user_0"):
        bench.stage_conf(sharded(users))


@pytest.mark.parametrize("slices", GROWN)
def test_a_shard_that_grows_while_all_are_read_is_told(
    bench: Bench, mariadb: MariaDB, users: dict[str, Any], monkeypatch: pytest.MonkeyPatch, slices: int | None
) -> None:
    write = staging._write

    def grown(*args: Any) -> Any:
        mariadb.execute("INSERT INTO fed_2.user_03 VALUES ('new', 1)")
        return write(*args)

    monkeypatch.setattr(staging, "_write", grown)
    with pytest.raises(TableError, match=GROWN[slices]):
        bench.stage_conf(sharded({**users, "slices": slices}))
    assert not bench.files()


def test_a_server_that_starts_again_in_the_middle_leaves_no_gap_and_no_duplicate(
    bench: Bench, mariadb: MariaDB, users: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = staging._collect

    def stopped(*args: Any) -> Any:
        mariadb.stop()
        threading.Thread(target=mariadb.start).start()
        return collect(*args)

    monkeypatch.setattr(staging, "_collect", stopped)
    card = bench.stage_conf(sharded(users), ref=StoreRef((bench.directory / "store").as_uri()))
    assert card.rows == 66
    assert len(set(bench.snapshot()["key"])) == 66
