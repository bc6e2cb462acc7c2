"""Imports whose source changes while it is read or before they go on, and those that go on with what they have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.errors import TableError
from fedspark.steps import import_table as steps
from fedspark.tables.mysql import reader
from tests.integration.imports.conftest import Bench
from tests.integration.servers.hive import Metastore
from tests.integration.servers.mariadb import MariaDB
from tests.integration.test_hive import Hive

pytestmark = pytest.mark.spark


@pytest.fixture
def killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do an import until some of its slices are read, after something that happens once it has been planned."""

    def kill(table: dict[str, Any], read_first: int, before: Callable[[], Any] = lambda: None, **conf: Any) -> None:
        with monkeypatch.context() as patch:
            read_slices = steps.read_slices

            def read(session: Any, source: Any, frame: Any, intake: Any, pending: Sequence[int], progress: Any) -> None:
                before()
                read_slices(session, source, frame, intake, list(pending)[:read_first], progress)
                raise KeyboardInterrupt

            patch.setattr(steps, "read_slices", read)
            with pytest.raises(KeyboardInterrupt):
                bench.run(table, **conf)

    return kill


def shown(bench: Bench) -> bool:
    return ("people",) in bench.clickhouse.execute("SHOW TABLES")


def in_capitals(directory: Path) -> None:
    for path in directory.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.set_column(1, "name", pa.array([name.as_py().upper() for name in table["name"]])), path)


def test_files_that_are_written_again_while_they_are_read_are_never_shown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = bench.parquet(files=4)
    read_slices = steps.read_slices
    with monkeypatch.context() as patch:

        def read(session: Any, source: Any, frame: Any, intake: Any, pending: Sequence[int], progress: Any) -> Any:
            read_slices(session, source, frame, intake, list(pending)[:2], progress)
            in_capitals(bench.directory / "people")
            return read_slices(session, source, frame, intake, list(pending)[2:], progress)

        patch.setattr(steps, "read_slices", read)
        with pytest.raises(TableError, match=r"its files changed while they were read\..*--restart"):
            bench.run(table, slices=4)
    assert not shown(bench)
    with pytest.raises(TableError, match="changed since the import was begun: 4 of 4 slices are others"):
        bench.run(table, slices=4)
    bench.run(table, slices=4, restart=True)
    assert bench.rows() == [(n, f"N{n}") for n in range(400)]


def test_rows_that_came_and_went_are_noticed_when_all_is_read_already(
    bench: Bench, mysql: Callable[..., dict[str, Any]], mariadb: MariaDB, killed: Any
) -> None:
    mysql("id INT PRIMARY KEY, name VARCHAR(9)", [(n, f"n{n}") for n in range(50)], "base")
    mariadb.execute("CREATE VIEW people AS SELECT * FROM base")  # of which the server knows no last change
    try:
        table = mariadb.conf(table="people", id="id")
        killed(table, 2, lambda: mariadb.execute("INSERT INTO base VALUES (51, 'new')"), slices=2)
        mariadb.execute("DELETE FROM base WHERE id = 51")
        with pytest.raises(TableError, match=r"50 rows before, 51 read, 50 now\..*--restart"):
            bench.run(table, slices=2)
    finally:
        mariadb.execute("DROP VIEW people")
    assert not shown(bench)


def last_change(mariadb: MariaDB) -> Any:
    asked = (
        "SELECT UPDATE_TIME FROM information_schema.tables WHERE table_name = 'people' AND table_schema = DATABASE()"
    )
    return mariadb.execute(asked)


def test_values_that_change_in_place_between_attempts_are_refused(
    bench: Bench, mysql: Callable[..., dict[str, Any]], mariadb: MariaDB, killed: Any
) -> None:
    table = mysql("id INT PRIMARY KEY, name VARCHAR(30)", [(n, f"n{n}") for n in range(400)])
    killed(table, 2, slices=4)
    before = last_change(mariadb)
    while last_change(mariadb) == before:  # the server tells seconds
        mariadb.execute("UPDATE people SET name = CONCAT('N', RAND())")
    with pytest.raises(TableError, match=r"begun: last change \d.* then, \d.* now\..*--restart"):
        bench.run(table, slices=4)
    assert not shown(bench)
    bench.run(table, slices=4, restart=True)
    assert {name[0] for _, name in bench.rows()} == {"N"}


def test_an_import_goes_on_and_says_so_when_the_server_has_forgotten_the_last_change(
    bench: Bench, mysql: Callable[..., dict[str, Any]], killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = mysql("id INT PRIMARY KEY, name VARCHAR(9)", [(n, f"n{n}") for n in range(400)])
    killed(table, 2, slices=4)
    origin = reader._origin

    def forgetful(*asked: Any) -> dict[str, Any]:  # as after a restart, of a newer version
        return {"server": "newer", "rows": origin(*asked)["rows"]}

    monkeypatch.setattr(reader, "_origin", forgetful)
    record = bench.run(table, slices=4)
    assert record["slices"] == {"all": 4, "read by the last attempt": 2}
    assert any("does not say any more what it said" in note and "last change" in note for note in record["notes"])
    assert bench.rows() == [(n, f"n{n}") for n in range(400)]


def test_a_column_that_cannot_be_read_is_told_instead_of_becoming_nothing(
    bench: Bench, mysql: Callable[..., dict[str, Any]]
) -> None:
    table = mysql("id INT PRIMARY KEY, place POINT", [(1, None)])
    for as_text in ([], ["place"]):
        with pytest.raises(TableError, match=r"column 'place' of type point cannot be read.*Add it to `ignore`"):
            bench.run(table, as_text=as_text)
    bench.run({**table, "ignore": ["place"]})
    assert bench.rows() == [(1,)]


@pytest.mark.slow
@pytest.mark.parametrize("stored", ["PARQUET", "TEXTFILE"])
def test_an_import_from_hive_goes_on_with_what_it_has(
    bench: Bench, spark: Any, metastore: Metastore, killed: Any, stored: str
) -> None:
    hive = Hive(spark, metastore)
    hive.sql(
        "DROP TABLE IF EXISTS fed.people",
        f"CREATE TABLE fed.people (id BIGINT, name STRING) PARTITIONED BY (day STRING) STORED AS {stored}",
        *(f"INSERT INTO fed.people PARTITION (day = '{day}') SELECT id + {day * 100}, concat('n', id) FROM range(100)"
          for day in (1, 2, 3)),
    )  # fmt: skip
    table = metastore.conf(table="people", id="id")
    killed(table, 1, slices=3)
    record = bench.run(table, slices=3)
    assert record["slices"]["read by the last attempt"] == record["slices"]["all"] - 1 > 0
    assert bench.rows("id, name") == [(day * 100 + n, f"n{n}") for day in (1, 2, 3) for n in range(100)]


@pytest.mark.slow
def test_a_text_file_of_hive_that_is_written_again_in_the_same_length_is_another_one(
    bench: Bench, spark: Any, metastore: Metastore, killed: Any
) -> None:
    hive = Hive(spark, metastore)
    folder = bench.directory / "text"
    folder.mkdir()
    for k in range(2):
        (folder / f"{k}.txt").write_text(f"{k}\n")
    hive.sql(
        "DROP TABLE IF EXISTS fed.people",
        f"CREATE EXTERNAL TABLE fed.people (id BIGINT) STORED AS TEXTFILE LOCATION 'file://{folder}'",
    )
    table = metastore.conf(table="people", id="id")
    killed(table, 1, slices=2)
    for k in range(2):
        (folder / f"{k}.txt").write_text(f"{k + 5}\n")
    with pytest.raises(TableError, match=r"changed since the import was begun: \d of \d slices are others"):
        bench.run(table, slices=2)


def test_an_import_of_dumps_goes_on_unless_one_of_them_is_another(bench: Bench, killed: Any) -> None:
    pytest.importorskip("sqlglot")
    folder = bench.directory / "dumps"
    folder.mkdir()

    def write(k: int, name: str) -> None:
        rows = ", ".join(f"({k * 10 + n}, '{name}{n}')" for n in range(10))
        definition = "CREATE TABLE `people` (`id` int NOT NULL, `name` varchar(9));\n" if k == 0 else ""
        (folder / f"{k}.sql").write_text(f"{definition}INSERT INTO `people` VALUES {rows};\n")

    write(0, "n")
    table = {"kind": "sqlscript", "path": "dumps", "table": "people", "id": "id"}
    killed(table, 0)
    assert bench.run(table)["slices"]["all"] == 1
    assert bench.rows() == [(n, f"n{n}") for n in range(10)]
    killed(table, 1, label="2", to={"if_exists": "replace"})
    write(0, "N")
    with pytest.raises(TableError, match="changed since the import was begun"):
        bench.run(table, label="2", to={"if_exists": "replace"})


def test_declared_columns_of_csv_arrive_in_their_types_or_are_refused(bench: Bench) -> None:
    types = {"id": "integer", "b": "boolean", "at": "timestamp", "amount": "decimal"}
    table = {"kind": "csv", "path": "t.csv", "id": "id", "types": types}
    (bench.directory / "t.csv").write_text(
        "id,b,at,amount\n+1,TRUE,2024-03-31T02:30:00+02:00,1.10\n02,n,2024-03-31 02:30:00.5,\n3,,,0x1\n"
    )
    record = bench.run(table)
    version = bench.clickhouse.execute("SELECT version()")[0][0]
    modern = tuple(map(int, version.split(".")[:2])) >= steps._MODERN
    at = "Nullable(DateTime64(6, 'UTC'))" if modern else "Nullable(String)"
    assert [column["to"] for column in record["columns"]] == ["Int64", "Nullable(UInt8)", at, "Nullable(String)"]
    assert bench.rows("id, b, amount") == [(1, 1, "1.10"), (2, 0, None), (3, None, "0x1")]
    times = ["2024-03-31 00:30:00.000000", "2024-03-31 02:30:00.500000"]
    texts = ["2024-03-31T02:30:00+02:00", "2024-03-31 02:30:00.5"]
    assert [row[0] for row in bench.rows("toString(at)")] == [*(times if modern else texts), None]
    (bench.directory / "t.csv").write_text("id,b,at,amount\n0x1A,7,202401,1\n1_0,1,2024-01-01,2\n")
    with pytest.raises(TableError, match=r"'id': 2 rows of type text that Int64 cannot hold.*\n?.*'b': 1 row"):
        bench.run(table, label="2", to={"if_exists": "replace"})
