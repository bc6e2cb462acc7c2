"""Tables of MariaDB that change, and connections to it that are lost, while they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedspark.conf.tables.mysql import MysqlTable
from fedspark.errors import StoreError, TableError
from fedspark.exchange.store import StoreRef
from fedspark.tables import staging
from fedspark.tables.mysql import reader
from tests.integration.servers.mariadb import MariaDB
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


def test_a_table_that_grows_while_it_is_read_is_refused(
    bench: Bench, mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = staging._write

    def grown(*args: Any) -> Any:
        mariadb.execute("INSERT INTO people VALUES (9999, 1, 1, 1)")
        return write(*args)

    monkeypatch.setattr(staging, "_write", grown)
    with pytest.raises(TableError, match=r"2000 rows before, 2001 read, 2001 now.*`slices: 1`"):
        bench.stage_conf(MysqlTable(**mariadb.conf(table=people, id="id", slices=2)))
    assert not bench.files()
    mariadb.execute("DELETE FROM people WHERE id = 9999")
    assert bench.stage_conf(MysqlTable(**mariadb.conf(table=people, id="id", slices=1))).rows == 2001


def test_a_column_that_goes_while_the_table_is_read_is_told(
    bench: Bench, mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = staging._write

    def changed(*args: Any) -> Any:
        mariadb.execute("ALTER TABLE people DROP COLUMN bmi")
        return write(*args)

    monkeypatch.setattr(staging, "_write", changed)
    with pytest.raises(TableError, match=r"the server refused the query: .*Unknown column 'bmi'.*load it again"):
        bench.stage_conf(MysqlTable(**mariadb.conf(table=people, id="id", slices=2)))
    assert not bench.files()


class Killer(threading.Thread):
    """Kills connections that read slices, ``times`` of them, while a slice is on its way."""

    def __init__(self, server: MariaDB, times: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.left = times
        self.over = threading.Event()

    def run(self) -> None:
        while self.left and not self.over.is_set():
            found = self.server.execute(
                "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT `c0`%`fedspark_slice` >= %'"
            )
            for (number,) in found[: self.left]:
                self.server.execute(f"KILL {number}")
                self.left -= 1
            self.over.wait(0.02)


@pytest.fixture
def slow(mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch) -> MysqlTable:
    """The people in two slices, which take about a second each."""
    monkeypatch.setattr(staging, "_PAUSES", (0.1, 0.1))
    monkeypatch.setattr(reader, "_extent", lambda *_: (2000, 1, 2000))
    return MysqlTable(**mariadb.conf(table=people, id="id", where="SLEEP(0.001) = 0", slices=2))


def test_a_connection_that_is_lost_in_a_slice_makes_no_gap_and_no_duplicate(
    bench: Bench, mariadb: MariaDB, slow: MysqlTable
) -> None:
    killer = Killer(mariadb, times=1)
    killer.start()
    card = bench.stage_conf(slow)
    killer.over.set()
    killer.join()
    assert killer.left == 0
    assert card.rows == 2000
    assert sorted(map(int, bench.snapshot()["key"])) == list(range(1, 2001))


def test_a_connection_that_is_lost_again_and_again_is_an_error_that_leaves_nothing(
    bench: Bench, mariadb: MariaDB, slow: MysqlTable
) -> None:
    killer = Killer(mariadb, times=1000)
    killer.start()
    with pytest.raises(StoreError, match=r"the MySQL server failed while rows were read: .*See that the server runs"):
        bench.stage_conf(slow)
    killer.over.set()
    killer.join()
    assert not bench.files()


def test_a_server_that_starts_again_in_the_middle_is_read_from_the_beginning(
    bench: Bench, mariadb: MariaDB, people: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = staging._collect
    ref = StoreRef((bench.directory / "store").as_uri())

    def stopped(*args: Any) -> Any:
        mariadb.stop()
        threading.Thread(target=mariadb.start).start()
        return collect(*args)

    monkeypatch.setattr(staging, "_collect", stopped)
    assert bench.stage_conf(MysqlTable(**mariadb.conf(table=people, id="id", slices=2)), ref=ref).rows == 2000
