"""HiveServer2 and connections that are lost, rows and columns that come and go while a table is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedspark.errors import TableError
from fedspark.tables.hive import slices
from fedspark.tables.hive.server import Lost
from fedspark.tables.source import explain_task
from tests.integration.servers.hive import HiveServer2
from tests.integration.servers.proxy import Proxy
from tests.integration.test_hiveserver2 import HERE, conf, made, sliced, staged


@pytest.fixture(scope="module")
def hive(hiveserver2: HiveServer2) -> HiveServer2:
    """The table people, of 20,000."""
    made(hiveserver2, "id STRING, x DOUBLE", "concat('p', id), id / 8 FROM range(20000)", name="people")
    return hiveserver2


@pytest.fixture
def proxy(hive: HiveServer2) -> Iterator[Proxy]:
    between = Proxy(hive.port)
    yield between
    between.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "_PAUSES", (0.0, 0.0))


@pytest.mark.usefixtures("impatient")
def test_a_connection_lost_before_any_row_is_opened_again(hive: HiveServer2, proxy: Proxy) -> None:
    read = sliced(conf(hive, table="people", port=proxy.port), 1)
    proxy.cuts, before = [5, 700], proxy.connections
    found = [row["c1"] for batch in read.slice(0) for row in batch.to_pylist()]
    assert proxy.connections == before + 3
    assert sorted(found) == [number / 8 for number in range(20_000)]


@pytest.mark.usefixtures("impatient")
def test_a_query_of_which_rows_were_handed_on_is_not_asked_again(hive: HiveServer2, proxy: Proxy) -> None:
    read = sliced(conf(hive, table="people", port=proxy.port), 1)
    proxy.cuts, before = [100_000], proxy.connections
    batches = read.slice(0)
    assert next(batches).num_rows
    with pytest.raises(Lost, match="the connection to HiveServer2 was lost"):
        list(batches)
    assert proxy.connections == before + 1


def test_a_connection_lost_in_the_middle_leaves_no_gap_and_no_duplicate(
    spark: Any, hive: HiveServer2, proxy: Proxy, tmp_path: Path
) -> None:
    proxy.cuts = [None, 100_000]
    found = staged(spark, conf(hive, table="people", port=proxy.port, slices=1), tmp_path)
    assert proxy.connections == 4  # one to look, one that is cut, one anew, one for the columns again
    assert sorted(found.column("key").to_pylist()) == sorted(f"p{k}" for k in range(20_000))


def test_a_table_that_grows_while_it_is_read_is_refused(spark: Any, hive: HiveServer2) -> None:
    made(hive, "id INT, x DOUBLE", "id, id FROM range(100)")
    source = slices.read(spark, "people", conf(hive), HERE)
    hive.execute("INSERT INTO fed.t SELECT 100, 1D")
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of Spark
        source.frame.collect()
    explained = explain_task(caught.value, source.where, source.kind)
    assert isinstance(explained, TableError)
    assert "it changed while it was read" in str(explained)


def test_a_column_that_goes_away_meanwhile_is_named(hive: HiveServer2) -> None:
    made(hive, "id INT, x DOUBLE", "1, 1D")
    read = sliced(conf(hive), 1)
    made(hive, "id INT, y DOUBLE", "1, 1D")
    with pytest.raises(TableError, match="`x` cannot be resolved"):
        list(read.slice(0))
