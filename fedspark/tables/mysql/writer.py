"""Rows into a table of MySQL or MariaDB: parts are written by tasks, and all of them are seen at once or none.

Tasks write to a staging table whose primary key is the place of a row (part, number), by REPLACE: a part that is
written again, or by two attempts at a time, has every row once. The driver compares the counts. Then it copies the rows
to a table of their own columns and renames that in one statement; the comment of the table names the write, so that
finishing again does nothing. Or, to append, one transaction deletes the rows of the same run and copies ours. A lock of
the server keeps out another process that finishes the same write.

The functions are those of `fedspark.tables.sinks.Writer`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fedspark.conf.tables.mysql import MysqlSink
from fedspark.conf.tables.sinks import RUN
from fedspark.errors import StoreError, TableError
from fedspark.tables.mysql.server import Lost, Server, quoted
from fedspark.tables.problems import listed

_TYPES = {pa.string(): "LONGTEXT", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}
_PLACE = ("fedspark_part", "fedspark_row")
_VARCHAR = 512
_RUN_TYPE = "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
_TRANSACTIONAL = "InnoDB"
_PAUSES = (1.0, 5.0)
_LONGEST_WAIT, _WAIT = 7200, 20
_FORMAT = f"ENGINE={_TRANSACTIONAL} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@dataclass(frozen=True)
class Writing:
    """One write: travels in task closures, with references instead of secrets.

    ``tag`` is unique to the content: the same one continues what was begun. ``run`` is what `append` puts in the column
    of that name.
    """

    conf: MysqlSink
    directory: Path
    schema: pa.Schema
    tag: str
    run: str

    @property
    def where(self) -> str:
        """How messages begin."""
        return f"Table {self.conf.database}.{self.conf.table} of {self.conf.host}:{self.conf.port}"

    def server(self) -> Server:
        return Server(self.where, self.conf, self.directory)

    def name(self, use: str) -> str:
        """Quoted name of a table of this write: ``rows``, ``new`` or ``old``."""
        return self.sibling(f"fedspark_{self._short}_{use}")

    @property
    def lock(self) -> str:
        """Name, among all of the server's, of the lock that one process has to finish this write."""
        return f"fedspark_{self._short}"

    @property
    def _short(self) -> str:
        text = "\0".join((self.tag, self.conf.database, self.conf.table))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def sibling(self, table: str) -> str:
        """A table of the sink's database, quoted."""
        return f"{quoted(self.conf.database)}.{quoted(table)}"

    @property
    def comment(self) -> str:
        return f"fedspark {hashlib.sha256(self.tag.encode()).hexdigest()[:32]}"

    @property
    def target(self) -> str:
        return self.sibling(self.conf.table)

    @property
    def appends(self) -> bool:
        """Whether rows of other runs stay."""
        return self.conf.if_exists == "append"

    @property
    def columns(self) -> list[str]:
        """The columns of the table."""
        return [*self.schema.names, *([RUN] if self.appends else [])]


@dataclass(frozen=True)
class _Existing:
    """What is known of a table: its comment and its engine."""

    comment: str
    engine: str


def target(conf: MysqlSink, directory: Path, schema: pa.Schema, tag: str, run: str) -> Writing:
    """One write of rows of ``schema`` (string, int64, float64); TableError for a column that cannot be stored."""
    writing = Writing(conf, directory, schema, tag, run)
    strange = [field.name for field in schema if field.type not in _TYPES]
    if strange:
        remedy = "Cast them to string, int64 or float64."
        raise TableError(f"{writing.where}: columns of other types: {', '.join(strange)}.", remedy=remedy)
    return writing


def check(writing: Writing) -> None:
    """Look whether rows could be written: a table that is there, and all rights, by a small table made for that."""
    with writing.server() as server:
        _is_done(server, writing)
        _fit(server, writing)
        first, second = (writing.sibling(f"fedspark_check_{secrets.token_hex(8)}") for _ in range(2))
        server.query(f"CREATE TABLE {first} (x INT PRIMARY KEY) {_FORMAT}")
        try:
            server.query(f"REPLACE INTO {first} VALUES (1)")
            server.query(f"DELETE FROM {first} WHERE x = 1")
            server.query(f"RENAME TABLE {first} TO {second}")
        finally:
            server.query(f"DROP TABLE IF EXISTS {first}, {second}")


def begin(writing: Writing) -> None:
    """Make the staging table, or find it; TableError when the table is there and must not be replaced."""
    columns = [f"{quoted(field.name)} {_TYPES[field.type]}" for field in writing.schema]
    places = [f"{name} BIGINT NOT NULL" for name in _PLACE]
    key = f"PRIMARY KEY ({', '.join(_PLACE)})"
    with writing.server() as server:
        _is_done(server, writing)
        _fit(server, writing)
        content = ", ".join([*places, *columns, key])
        server.query(f"CREATE TABLE IF NOT EXISTS {writing.name('rows')} ({content}) {_FORMAT}")


def write_part(writing: Writing, rows: pa.Table, part: int) -> int:
    """Write the rows of one part, all or none, however often; their number. A lost connection is tried again."""
    for pause in (*_PAUSES, None):
        try:
            with writing.server() as server:
                _write(server, writing, rows, part)
            break
        except Lost:
            if pause is None:
                raise
            time.sleep(pause)
    return int(rows.num_rows)


def _write(server: Server, writing: Writing, rows: pa.Table, part: int) -> None:
    found = server.query(f"SELECT COUNT(*) FROM {writing.name('rows')} WHERE {_PLACE[0]} = {part}")[0][0]
    if found == rows.num_rows:  # a part is one transaction
        return
    values = rows.select(writing.schema.names).cast(writing.schema)
    names = ", ".join([*_PLACE, *(quoted(name).replace("%", "%%") for name in writing.schema.names)])
    marks = ", ".join(["%s"] * (len(_PLACE) + len(writing.schema)))
    sql = f"REPLACE INTO {writing.name('rows').replace('%', '%%')} ({names}) VALUES ({marks})"
    content = zip(*(column.to_pylist() for column in values.columns), strict=True)
    server.many(sql, [(part, number, *row) for number, row in enumerate(content)])


def finish(writing: Writing, rows: Sequence[int]) -> None:
    """Show all parts at once; ``rows`` are the numbers of rows that ``write_part`` gave, part by part.

    StoreError when a part is not there in full; then nothing is shown. Repeated as often as one likes until ``clear``.
    """
    with writing.server() as server:
        _lock(server, writing)
        if _is_done(server, writing):
            return
        _compare(server, writing, rows)
        if writing.appends:
            _append(server, writing, sum(rows))
            return
        _copy(server, writing, sum(rows))
        renamed = f"{writing.name('new')} TO {writing.target}"
        if _existing(server, writing) is not None:
            server.query(f"DROP TABLE IF EXISTS {writing.name('old')}")
            renamed = f"{writing.target} TO {writing.name('old')}, {renamed}"
        server.query(f"RENAME TABLE {renamed}")


def clear(writing: Writing) -> None:
    """Drop the tables that only this write needed."""
    with writing.server() as server:
        server.query(f"DROP TABLE IF EXISTS {', '.join(writing.name(use) for use in ('rows', 'new', 'old'))}")


def _lock(server: Server, writing: Writing) -> None:
    """Keep other processes from finishing this write until the connection ends, or wait until they have."""
    for _ in range(0, _LONGEST_WAIT, _WAIT):  # a connection that is silent for long may be cut
        if server.query("SELECT GET_LOCK(%s, %s)", (writing.lock, _WAIT))[0][0] == 1:
            return
    raise StoreError(
        f"{writing.where}: another process has been finishing the same write for more than {_LONGEST_WAIT} seconds.",
        remedy=f"Wait for it or end it (the server's lock {writing.lock}), then run the same command again.",
    )


def _compare(server: Server, writing: Writing, rows: Sequence[int]) -> None:
    part = _PLACE[0]
    found = dict(server.query(f"SELECT {part}, COUNT(*) FROM {writing.name('rows')} GROUP BY {part}"))
    wrong = [
        number for number in {*range(len(rows)), *found} if found.get(number, 0) != dict(enumerate(rows)).get(number, 0)
    ]
    if wrong:
        listed = ", ".join(map(str, sorted(wrong)[:10]))
        raise StoreError(
            f"{writing.where}: the rows of {len(wrong)} parts are not what was written ({listed}); nothing is shown.",
            remedy="Run the same command again, with a new run label if it happens again.",
        )


def _copy(server: Server, writing: Writing, expected: int) -> None:
    """The rows without their places, in a table with no more room for text than they need; StoreError unless all."""
    server.query(f"DROP TABLE IF EXISTS {writing.name('new')}")
    columns = ", ".join(_columns(server, writing))
    server.query(f"CREATE TABLE {writing.name('new')} ({columns}) {_FORMAT} COMMENT '{writing.comment}'")
    names = ", ".join(map(quoted, writing.schema.names))
    rows = f"SELECT {names} FROM {writing.name('rows')} ORDER BY {', '.join(_PLACE)}"
    server.query(f"INSERT INTO {writing.name('new')} ({names}) {rows}")
    copied = server.query(f"SELECT COUNT(*) FROM {writing.name('new')}")[0][0]
    if copied != expected:  # servers that share their data do not always share their locks
        raise StoreError(
            f"{writing.where}: of {expected:,} rows {copied:,} were copied; nothing is shown.",
            remedy="See that no other process writes the same run, then run the same command again.",
        )


def _append(server: Server, writing: Writing, rows: int) -> None:
    """Our rows in place of those that the table has of this run, in one transaction."""
    run = quoted(RUN)
    if _existing(server, writing) is None:
        # The rows of a later run may be longer.
        columns = [*_columns(server, writing, shortest=255), f"{run} {_RUN_TYPE}", f"KEY ({run})"]
        server.query(f"CREATE TABLE IF NOT EXISTS {writing.target} ({', '.join(columns)}) {_FORMAT}")
    names, source, table = (
        text.replace("%", "%%")
        for text in (", ".join(map(quoted, writing.schema.names)), writing.name("rows"), writing.target)
    )
    with server.transaction() as changed:
        # Whatever the collation of a table that somebody else made, upper case is not lower case here.
        ours = f"{run} = %s AND CAST({run} AS BINARY) = %s"
        changed(f"DELETE FROM {table} WHERE {ours}", (writing.run, writing.run))
        insert = f"INSERT INTO {table} ({names}, {run}) SELECT {names}, %s FROM {source}"
        copied = changed(f"{insert} ORDER BY {', '.join(_PLACE)}", (writing.run,))
        if copied != rows:
            raise StoreError(
                f"{writing.where}: of {rows:,} rows {copied:,} came; nothing is changed.",
                remedy="See whether it has triggers that drop rows.",
            )


def _columns(server: Server, writing: Writing, shortest: int = 64) -> list[str]:
    """The columns of a table that is made, texts with room for those that were written."""
    texts = [field.name for field in writing.schema if field.type == pa.string()]
    longest = {}
    if texts:
        lengths = ", ".join(f"MAX(CHAR_LENGTH({quoted(name)}))" for name in texts)
        longest = dict(zip(texts, server.query(f"SELECT {lengths} FROM {writing.name('rows')}")[0], strict=True))
    columns = []
    for field in writing.schema:
        length = longest.get(field.name) or 0
        short = field.type == pa.string() and length <= _VARCHAR
        kind = f"VARCHAR({max(shortest, length)})" if short else _TYPES[field.type]
        columns.append(f"{quoted(field.name)} {kind}")
    return columns


def _is_done(server: Server, writing: Writing) -> bool:
    """Whether the table is this write's already; TableError if it is another's and must stay."""
    existing = _existing(server, writing)
    if existing is None or writing.appends:
        return False
    if existing.comment != writing.comment and writing.conf.if_exists == "refuse":
        remedy = "Name a new table, or set `if_exists` to replace or append."
        raise TableError(f"{writing.where} is there already.", remedy=remedy)
    return existing.comment == writing.comment


def _fit(server: Server, writing: Writing) -> None:
    """TableError where rows cannot be appended to the table that is there."""
    existing = _existing(server, writing) if writing.appends else None
    if existing is None:
        return
    if existing.engine.lower() != _TRANSACTIONAL.lower():
        remedy = f"Make its engine {_TRANSACTIONAL}, name a new table, or set `if_exists: replace`."
        reason = f"its engine {existing.engine} has no transactions, which `if_exists: append` needs"
        raise TableError(f"{writing.where}: {reason}.", remedy=remedy)
    there = {column.name.lower() for column in server.columns()}
    missing = [name for name in writing.columns if name.lower() not in there]
    if missing:
        raise TableError(
            f"{writing.where}: it has no column {listed(map(repr, missing))}.",
            remedy="Add what is missing, or name a table that is not there yet.",
        )


def _existing(server: Server, writing: Writing) -> _Existing | None:
    """The table, if there is one of that name."""
    conf = writing.conf
    found = server.query(
        "SELECT table_name, table_type, table_comment, engine FROM information_schema.tables "
        "WHERE table_schema = %s AND table_name = %s",
        (conf.database, conf.table),
    )
    folded = server.query("SELECT @@lower_case_table_names")[0][0] != 0
    for name, kind, comment, engine in found:
        if name == conf.table or folded:
            if kind != "BASE TABLE":
                raise TableError(f"{writing.where} is a {kind.lower()}, no table.", remedy="Name another table.")
            return _Existing(str(comment), str(engine))
    return None
