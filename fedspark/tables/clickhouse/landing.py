"""Where an import's slices lie in ClickHouse until all of them are shown: as the parts of a sink, made by types."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fedspark.errors import TableError
from fedspark.tables.clickhouse.columns import Target
from fedspark.tables.clickhouse.destination import Sink
from fedspark.tables.clickhouse.sink import execute, insistently, is_there, tables_of
from fedspark.tables.clickhouse.sql import literal, quoted


@dataclass(frozen=True)
class Landing(Sink):
    """A table to be made of ``targets``, ordered by columns ``order``, or replaced by one with those columns."""

    targets: tuple[Target, ...] = ()
    order: tuple[str, ...] = ()

    def create(self, table: str, like: str | None) -> str:
        """The statement that makes an empty table."""
        if like is not None:
            return super().create(table, like)
        columns = ", ".join(f"{quoted(target.name)} {target.sql_type}" for target in self.targets)
        order = f"({', '.join(map(quoted, self.order))})" if self.order else "tuple()"
        return f"CREATE TABLE {self.sql(table)} ({columns}) ENGINE = MergeTree ORDER BY {order}"


def columns_of(landing: Landing) -> dict[str, str] | None:
    """Types of the columns of the table, or None when there is none; TableError when it must stay as it is."""

    def look() -> dict[str, str] | None:
        with landing.server.client(landing.where) as client:
            try:
                if not is_there(client, landing):
                    return None
            except TableError as error:
                if landing.if_exists == "refuse":
                    remedy = "Name another table, or set `if_exists: replace`, which removes all its rows."
                    raise TableError(error.message, remedy=remedy) from None
                raise
            described = execute(client, landing, f"DESCRIBE TABLE {landing.sql(landing.table)}")
            return {name: kind for name, kind, *_ in described}

    return insistently(look)


def version_of(landing: Landing) -> tuple[int, int]:
    """The server's version: 18, 16."""

    def look() -> tuple[int, int]:
        with landing.server.client(landing.where) as client:
            year, number, *_ = str(execute(client, landing, "SELECT version()")[0][0]).split(".")
            return int(year), int(number)

    return insistently(look)


def slices_there(landing: Landing) -> set[int]:
    """The numbers of the slices that are there."""
    prefix = landing.part(0)[:-1]

    def look() -> set[int]:
        with landing.server.client(landing.where) as client:
            return {int(name.removeprefix(prefix)) for name in tables_of(client, landing, prefix)}

    return insistently(look)


def rows_there(landing: Landing) -> int:
    """The rows of slices that are there or being written."""
    prefix = f"fedspark_{landing.tag}_"
    condition = f"database = {literal(landing.server.database)} AND active"
    condition += f" AND substring(table, 1, {len(prefix)}) = {literal(prefix)}"
    with landing.server.client(landing.where) as client:
        return int(execute(client, landing, f"SELECT sum(rows) FROM system.parts WHERE {condition}")[0][0])


def drop_slices(landing: Landing, numbers: Iterable[int]) -> None:
    """Drop slices, to be read again."""
    names = [landing.sql(landing.part(number)) for number in numbers]

    def drop() -> None:
        with landing.server.client(landing.where) as client:
            for name in names:
                execute(client, landing, f"DROP TABLE IF EXISTS {name}")

    insistently(drop)


def drop_attempts(landing: Landing) -> None:
    """Drop what attempts left that did not become slices."""

    def drop() -> None:
        with landing.server.client(landing.where) as client:
            for name in tables_of(client, landing, f"fedspark_{landing.tag}_"):
                if not name.startswith(landing.part(0)[:-1]) and name != landing.done:
                    execute(client, landing, f"DROP TABLE IF EXISTS {landing.sql(name)}")

    insistently(drop)
