"""Rows into a table of MySQL or MariaDB: parts are written by tasks, and all of them are seen at once or none.

Tasks write to a staging table whose primary key is the place of a row (part, number), by REPLACE: a part that is
written again, or by two attempts at a time, has every row once. The driver compares the counts, copies the rows to a
table of their own columns, and renames that in one statement. The comment of the table names the write, so that
finishing again does nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fedspark.conf.tables.mysql import MysqlSink
from fedspark.errors import StoreError, TableError
from fedspark.tables.mysql.server import Lost, Server, quoted

_TYPES = {pa.string(): "LONGTEXT", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}
_PLACE = ("fedspark_part", "fedspark_row")
_VARCHAR = 512
_PAUSES = (1.0, 5.0)
_FORMAT = "ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"


@dataclass(frozen=True)
class Writing:
    """One write: travels in task closures, with references instead of secrets.

    ``label`` is unique to the content (a run and a step): the same label continues what was begun.
    """

    conf: MysqlSink
    directory: Path
    schema: pa.Schema
    label: str

    @property
    def where(self) -> str:
        """How messages begin."""
        return f"Table {self.conf.database}.{self.conf.table} of {self.conf.host}:{self.conf.port}"

    def server(self) -> Server:
        return Server(self.where, self.conf, self.directory)

    def name(self, use: str) -> str:
        """Quoted name of a table of this write: ``rows``, ``new`` or ``old``."""
        text = "\0".join((self.label, self.conf.database, self.conf.table))
        short = hashlib.sha256(text.encode()).hexdigest()[:16]
        return f"{quoted(self.conf.database)}.{quoted(f'fedspark_{short}_{use}')}"

    @property
    def comment(self) -> str:
        return f"fedspark {hashlib.sha256(self.label.encode()).hexdigest()[:32]}"

    @property
    def target(self) -> str:
        return f"{quoted(self.conf.database)}.{quoted(self.conf.table)}"


def begin(conf: MysqlSink, directory: Path, schema: pa.Schema, label: str) -> Writing:
    """Make the staging table for rows of ``schema`` (string, int64, float64), or find it; the driver calls it.

    TableError when the table is there and must not be replaced, or a column cannot be stored.
    """
    writing = Writing(conf, directory, schema, label)
    strange = [field.name for field in schema if field.type not in _TYPES]
    if strange:
        remedy = "Cast them to string, int64 or float64."
        raise TableError(f"{writing.where}: columns of other types: {', '.join(strange)}.", remedy=remedy)
    columns = [f"{quoted(field.name)} {_TYPES[field.type]}" for field in schema]
    places = [f"{name} BIGINT NOT NULL" for name in _PLACE]
    key = f"PRIMARY KEY ({', '.join(_PLACE)})"
    with writing.server() as server:
        _is_done(server, writing)
        content = ", ".join([*places, *columns, key])
        server.query(f"CREATE TABLE IF NOT EXISTS {writing.name('rows')} ({content}) {_FORMAT}")
    return writing


def write_part(writing: Writing, rows: pa.Table, part: int) -> int:
    """Write the rows of one part, all or none, however often; their number. A lost connection is tried again."""
    values = rows.select(writing.schema.names).cast(writing.schema)
    names = ", ".join([*_PLACE, *(quoted(name).replace("%", "%%") for name in writing.schema.names)])
    marks = ", ".join(["%s"] * (len(_PLACE) + len(writing.schema)))
    sql = f"REPLACE INTO {writing.name('rows').replace('%', '%%')} ({names}) VALUES ({marks})"
    content = list(zip(*(column.to_pylist() for column in values.columns), strict=True))
    numbered = [(part, number, *row) for number, row in enumerate(content)]
    for pause in (*_PAUSES, None):
        try:
            with writing.server() as server:
                server.many(sql, numbered)
            break
        except Lost:
            if pause is None:
                raise
            time.sleep(pause)
    return len(numbered)


def finish(writing: Writing, rows: Sequence[int]) -> None:
    """Show all parts at once; ``rows`` are the numbers of rows that ``write_part`` gave, part by part.

    StoreError when a part is not there in full; then nothing is shown.
    """
    with writing.server() as server:
        if not _is_done(server, writing):
            _compare(server, writing, rows)
            _copy(server, writing)
            renamed = f"{writing.name('new')} TO {writing.target}"
            if _existing(server, writing) is not None:
                renamed = f"{writing.target} TO {writing.name('old')}, {renamed}"
            server.query(f"RENAME TABLE {renamed}")
        for use in ("rows", "new", "old"):
            server.query(f"DROP TABLE IF EXISTS {writing.name(use)}")


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


def _copy(server: Server, writing: Writing) -> None:
    """The rows without their places, in a table with no more room for text than they need."""
    texts = [field.name for field in writing.schema if field.type == pa.string()]
    longest = {}
    if texts:
        lengths = ", ".join(f"MAX(CHAR_LENGTH({quoted(name)}))" for name in texts)
        longest = dict(zip(texts, server.query(f"SELECT {lengths} FROM {writing.name('rows')}")[0], strict=True))
    columns = []
    for field in writing.schema:
        length = longest.get(field.name) or 0
        short = field.type == pa.string() and length <= _VARCHAR
        columns.append(f"{quoted(field.name)} {f'VARCHAR({max(64, length)})' if short else _TYPES[field.type]}")
    names = ", ".join(quoted(field.name) for field in writing.schema)
    server.query(f"DROP TABLE IF EXISTS {writing.name('new')}")
    server.query(f"CREATE TABLE {writing.name('new')} ({', '.join(columns)}) {_FORMAT} COMMENT '{writing.comment}'")
    rows = f"SELECT {names} FROM {writing.name('rows')} ORDER BY {', '.join(_PLACE)}"
    server.query(f"INSERT INTO {writing.name('new')} ({names}) {rows}")


def _is_done(server: Server, writing: Writing) -> bool:
    """Whether the table is this write's already; TableError if it is another's and must stay."""
    comment = _existing(server, writing)
    if comment is not None and comment != writing.comment and writing.conf.if_exists == "refuse":
        raise TableError(f"{writing.where} is there already.", remedy="Name a new table, or set `if_exists: replace`.")
    return comment == writing.comment


def _existing(server: Server, writing: Writing) -> str | None:
    """The comment of the table; None if there is none of that name."""
    conf = writing.conf
    found = server.query(
        "SELECT table_name, table_type, table_comment FROM information_schema.tables "
        "WHERE table_schema = %s AND table_name = %s",
        (conf.database, conf.table),
    )
    folded = server.query("SELECT @@lower_case_table_names")[0][0] != 0
    for name, kind, comment in found:
        if name == conf.table or folded:
            if kind != "BASE TABLE":
                raise TableError(f"{writing.where} is a {kind.lower()}, no table.", remedy="Name another table.")
            return str(comment)
    return None
