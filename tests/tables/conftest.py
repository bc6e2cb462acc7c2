"""A bench for staging: write a file, stage it, look at the snapshot and the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedspark.conf.tables import ColumnsConf, CsvTable, ParquetTable
from fedspark.exchange.store import StoreRef
from fedspark.tables.card import TableCard
from fedspark.tables.chunks import Chunks
from fedspark.tables.staging import stage


class Bench:
    """Staging into one temporary directory. ``content`` of a table: CSV text (or bytes), or Arrow columns by name."""

    def __init__(self, spark: Any, directory: Path) -> None:
        self.spark = spark
        self.directory = directory
        self.ref = StoreRef((directory / "store").as_uri())
        self.chunks = Chunks(self.ref, (), ())
        self._staged = 0

    def stage(self, content: str | bytes | Mapping[str, Sequence[Any]] | pa.Table, **options: Any) -> TableCard:
        """Stage ``content``; options that ``stage`` does not know go to the table's conf."""
        known = ("id_type", "needs_label", "needs_features", "training", "sample", "chunk_rows", "chunk_bytes")
        arguments = {"id_type": "string", **{key: options.pop(key) for key in known if key in options}}
        conf = {"id": "id", **options}
        table: ColumnsConf
        if isinstance(content, (str, bytes)):
            path = self.directory / "people.csv"
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            table = CsvTable(**{"path": str(path), **conf})
        else:
            path = self.directory / "people.parquet"
            pq.write_table(content if isinstance(content, pa.Table) else pa.table(dict(content)), path)
            table = ParquetTable(**{"path": str(path), **conf})
        return self.stage_conf(table, **arguments)

    def stage_conf(self, table: ColumnsConf, **arguments: Any) -> TableCard:
        """Stage a table whose file is already there."""
        self._staged += 1
        arguments = {"id_type": "string", "ref": self.ref, "folder": f"tables/{self._staged}", **arguments}
        card, self.chunks = stage(self.spark, "people", table, self.directory, **arguments)
        return card

    def files(self) -> list[str]:
        """Names of all objects in the store."""
        return [name for name, _ in self.ref.open().list()]

    def snapshot(self) -> dict[str, list[Any]]:
        """The columns that were staged last, rows in the order of their keys."""
        pieces = [self.chunks.read(index) for index in range(len(self.chunks))]
        return pa.concat_tables([self.chunks.schema.empty_table(), *pieces]).sort_by("key").to_pydict()

    def keys(self, *args: Any, **options: Any) -> list[str]:
        """Keys that a table gets, in order."""
        self.stage(*args, **{"needs_features": False, **options})
        return self.snapshot()["key"]


@pytest.fixture
def bench(spark: Any, tmp_path: Path) -> Bench:
    return Bench(spark, tmp_path)


@pytest.fixture
def refused(bench: Bench) -> Callable[..., str]:
    """Stage a table that must be refused with a TableError, see that nothing is left of it, and return the message."""
    from fedspark.errors import TableError

    def attempt(*args: Any, **options: Any) -> str:
        with pytest.raises(TableError) as caught:
            bench.stage(*args, **options)
        assert not bench.files()
        assert str(caught.value).startswith("Table 'people' (")
        return str(caught.value)

    return attempt
