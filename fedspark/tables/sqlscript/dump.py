"""One table of a dump, from the lines of its file: its columns, then its rows. Executors import this file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from fedspark.errors import TableError
from fedspark.tables.problems import listed, meant
from fedspark.tables.sqlscript.columns import DumpColumn, columns_of, rows_of
from fedspark.tables.sqlscript.statements import Statement, statements


@dataclass(frozen=True)
class DumpTable:
    """The table ``name`` (of ``database``, if any is said) of a dump of at most ``limit`` characters."""

    where: str
    name: str
    database: str | None
    limit: int

    def definition(self, files: Iterable[Iterable[str]]) -> str:
        """Its CREATE TABLE, from the first of the files that has it; TableError that names all tables when none has."""
        others: dict[str, None] = {}
        for lines in files:
            for statement, database in self._placed(lines):
                if not statement.creates_table():
                    continue
                said, name, _ = statement.target()
                if self._is(said or database, name):
                    return statement.source()
                others[name if self.database is None else f"{said or database}.{name}"] = None
        wanted = self.name if self.database is None else f"{self.database}.{self.name}"
        among = f", which has {listed(map(repr, others))}" if others else ""
        raise TableError(
            f"{self.where}: there is no CREATE TABLE of {wanted!r} in the dump{among}.",
            remedy=meant(wanted, others, "Correct `table`, or have the dump written with its CREATE TABLE statements."),
        )

    def columns(self, definition: str) -> tuple[DumpColumn, ...]:
        """The columns of its CREATE TABLE."""
        return self._columns(next(iter(statements(self.where, definition.split("\n"), self.limit))))

    def rows(self, lines: Iterable[str], columns: tuple[DumpColumn, ...]) -> Iterator[tuple[list[pa.Array], int]]:
        """The rows of a file, an INSERT at a time, each with the number of zero dates that became nulls.

        TableError where they cannot be known without a server.
        """
        created: list[str | None] = []
        for statement, database in self._placed(lines):
            if statement.creates_table() or statement.kind == "INSERT":
                said, name, _ = statement.target()
                if not self._is(said or database, name):
                    continue
                if statement.kind == "INSERT":
                    yield rows_of(self.where, statement, columns)
                    continue
                created.append(said or database)
                self._check_again(statement, columns, created)
            elif created and statement.changes(self.name):
                problem = (
                    f"{statement.kind} at line {statement.line} of the dump changes the table after it was created"
                )
                remedy = "Write a dump of what the table holds, with mysqldump and without --replace."
                raise TableError(f"{self.where}: {problem}, which takes a server.", remedy=remedy)

    def _placed(self, lines: Iterable[str]) -> Iterator[tuple[Statement, str | None]]:
        """Every statement with the database it is in."""
        database = None
        for statement in statements(self.where, lines, self.limit):
            if statement.kind == "USE" and len(statement.tokens) > 1:
                database = statement.tokens[1].text
            yield statement, database

    def _is(self, database: str | None, name: str) -> bool:
        return name == self.name and self.database in (None, database)

    def _columns(self, statement: Statement) -> tuple[DumpColumn, ...]:
        found = columns_of(statement)
        if not found:
            problem = f"the CREATE TABLE at line {statement.line} of the dump lists no columns"
            raise TableError(f"{self.where}: {problem}.", remedy="Write the dump with mysqldump.")
        return found

    def _check_again(self, statement: Statement, columns: tuple[DumpColumn, ...], created: list[str | None]) -> None:
        if len(created) > 1:
            databases = [name for name in dict.fromkeys(created) if name is not None]
            if len(databases) > 1:
                problem, remedy = f"it is in databases {listed(map(repr, databases))}", "Say which in `database`."
            else:
                problem, remedy = "it is created twice", "Write one dump of it."
            raise TableError(f"{self.where}: {problem} of one dump (line {statement.line}).", remedy=remedy)
        if self._columns(statement) != columns:
            problem = f"CREATE TABLE at line {statement.line} of one of its dumps has other columns than the first"
            raise TableError(f"{self.where}: {problem}.", remedy="Give all dumps of one table the same columns.")
