"""A bench for imports: a party file, its tables, and what arrives in ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from fedspark.conf.own_file import load_own
from fedspark.errors import StoreError
from fedspark.steps import import_table as steps
from tests.integration.servers.clickhouse import ClickHouse
from tests.integration.servers.mariadb import MariaDB


class Bench:
    """A party file of one's own, which imports a table ``people`` to a table ``people``."""

    def __init__(self, directory: Path, clickhouse: ClickHouse) -> None:
        self.directory = directory
        self.clickhouse = clickhouse
        self.file = directory / "party.yaml"

    def write(self, table: dict[str, Any], *, to: dict[str, Any] | None = None, **conf: Any) -> Path:
        target = self.clickhouse.conf(table="people", **(to or {}))
        content = {
            "party": "clinic",
            "workspace": {"files": "workspace"},
            "spark": {"master": "local[2]"},
            "tables": {"people": table},
            "imports": {"people": {"from": "people", "to": target, **conf}},
        }
        self.file.write_text(yaml.safe_dump(content))
        return self.file

    def run(self, table: dict[str, Any], *, label: str = "1", restart: bool = False, **conf: Any) -> dict[str, Any]:
        return steps.import_table(load_own(self.write(table, **conf)), None, label, restart=restart)

    def parquet(self, files: int, rows: int = 100, start: int = 0) -> dict[str, Any]:
        """A table of ``files`` files, of as many slices."""
        for k in range(files):
            ids = range(start + k * rows, start + (k + 1) * rows)
            table = pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{n}" for n in ids]})
            path = self.directory / f"people/{k:02}.parquet"
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path)
        return {"kind": "parquet", "path": "people", "id": "id"}

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return list(self.clickhouse.execute(f"SELECT {columns} FROM people ORDER BY id"))

    def tables(self) -> list[str]:
        """Names of what is in the database besides the imported table."""
        names = self.clickhouse.execute("SELECT name FROM system.tables WHERE database = 'default'")
        return sorted(name for (name,) in names if name != "people")


@pytest.fixture
def bench(
    tmp_path: Path, clickhouse: ClickHouse, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:  # fmt: skip
    monkeypatch.setattr(steps, "start_session", lambda conf, name: spark)
    made = Bench(tmp_path, clickhouse)
    yield made
    for name in [*made.tables(), "people"]:
        clickhouse.execute(f"DROP TABLE IF EXISTS `{name}`")


@pytest.fixture
def mysql(mariadb: MariaDB) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make a table of MariaDB; its keys in a party file."""
    names: list[str] = []

    def make(columns: str, rows: list[tuple[Any, ...]], name: str = "people", **conf: Any) -> dict[str, Any]:
        mariadb.execute(f"CREATE TABLE {name} ({columns}) CHARACTER SET utf8mb4")
        names.append(name)
        mariadb.execute(f"INSERT INTO {name} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)
        return mariadb.conf(table=name, id="id", **conf)

    yield make
    for name in names:
        mariadb.execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture
def stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do an import up to the moment when its rows would be shown."""

    def stop(table: dict[str, Any], **conf: Any) -> None:
        with monkeypatch.context() as patch:

            def finish(*_: Any) -> None:
                raise StoreError("stopped here")

            patch.setattr(steps._Import, "_finish", finish)
            with pytest.raises(StoreError, match="stopped here"):
                bench.run(table, **conf)

    return stop
