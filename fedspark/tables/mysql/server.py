"""A server of MySQL or MariaDB through PyMySQL: names quoted, columns looked up, errors in plain words. No Spark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedspark.conf.secrets import resolve
from fedspark.conf.tables.mysql import MysqlPlace
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.tables.problems import meant
from fedspark.tables.roles import Kind

if TYPE_CHECKING:
    from pymysql.connections import Connection

CONNECT_SECONDS = 20
LONGEST_DECIMAL = 38
"""Digits of Spark's decimals; the server's have up to 65."""

_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TEXTS = ("varchar", "tinytext", "text", "mediumtext", "longtext")
_AS_TEXT = ("char", "enum", "set", "uuid", "inet4", "inet6")  # of these Spark pads some with spaces
_NO_DATABASE, _NO_TABLE, _NO_COLUMN, _SYNTAX = (1049, 1102), (1146, 1103), 1054, 1064
_LOGIN, _DENIED = (1045, 1698, 1251, 2059, 1862), (1044, 1142, 1143, 1227)
_REPEATED = 1062
_UNREACHABLE, _LOST = (2002, 2003, 2005), (1040, 1053, 1152, 1927, 2006, 2013, 2055)


class Lost(StoreError):
    """The server does not answer, or not any more: the same may succeed a little later."""


def quoted(name: str) -> str:
    """A name as the dialect has it. In backticks, whatever ``sql_mode`` says, nothing but a backtick has a meaning."""
    if "\0" in name:
        raise TableError(f"No table or column can be called {name!r}.", remedy="Correct the name.")
    return "`" + name.replace("`", "``") + "`"


def full_name(place: MysqlPlace) -> str:
    """``database``.``table``, quoted."""
    return f"{quoted(place.database)}.{quoted(place.table)}"


@dataclass(frozen=True)
class ServerColumn:
    """A column of the server: its name, its type in the server's words, and whether the primary key begins with it."""

    name: str
    type: str
    leads_key: bool = False

    @property
    def base(self) -> str:
        """``bigint`` of ``bigint(20) unsigned``."""
        return re.split(r"[ (]", self.type, maxsplit=1)[0].lower()

    @property
    def integer(self) -> bool:
        """Whether it can be cut into ranges."""
        return self.base in _INTEGERS

    def reading(self) -> tuple[str, Kind, bool] | None:
        """How it is selected, what it can be used for, and whether it comes as text then; None if it is of no use.

        Text is what two drivers agree about where each has its own idea: dates and times (among them ``0000-00-00``),
        and numbers beyond Spark's decimals. ``tinyint(1)`` is a number, not a boolean. ``float`` would come rounded to
        six digits.
        """
        name, base = quoted(self.name), self.base
        if base == "bigint":
            return name, Kind.INTEGER, False
        if base in _INTEGERS or base == "year":
            return f"CAST({name} AS SIGNED)", Kind.INTEGER, False
        if base == "bit":
            return f"CAST({name} AS UNSIGNED)", Kind.INTEGER, False
        if base in ("float", "double"):
            return f"({name} + 0e0)", Kind.REAL, False
        if base == "decimal":
            return self._decimal(name)
        if base in _TEXTS:
            return name, Kind.TEXT, False
        if base in _AS_TEXT:
            return f"CAST({name} AS CHAR)", Kind.TEXT, False
        if base == "timestamp":  # whatever time zone the connection has; a zero timestamp becomes a null
            seconds = f"NULLIF(UNIX_TIMESTAMP({name}), 0)"
            return f"CAST(DATE_ADD('1970-01-01', INTERVAL {seconds} SECOND) AS CHAR)", Kind.TIMESTAMP, True
        kind = {"date": Kind.DATE, "datetime": Kind.TIMESTAMP}.get(base)
        return None if kind is None else (f"CAST({name} AS CHAR)", kind, True)

    def _decimal(self, name: str) -> tuple[str, Kind, bool]:
        digits, scale = (int(found) for found in re.findall(r"\d+", self.type)[:2])
        if digits > LONGEST_DECIMAL:
            return (f"({name} + 0e0)", Kind.REAL, False) if scale else (f"CAST({name} AS CHAR)", Kind.TEXT, True)
        return name, Kind.DECIMAL if scale else Kind.INTEGER, False


class Server:
    """A connection to the server of ``place``; ``where`` begins messages, ``directory`` is the base of references.

    A context manager. Nothing is resolved before it is entered: it may travel in a task.
    """

    def __init__(self, where: str, place: MysqlPlace, directory: Path) -> None:
        self.where = where
        self.place = place
        self._directory = directory
        self._connection: Connection[Any] | None = None

    def __enter__(self) -> Server:
        try:
            import pymysql
        except ImportError:
            raise ConfigError(
                f"{self.where}: PyMySQL is not installed.", remedy="Install fedspark[mysql], on executors too."
            ) from None
        password = resolve(self.place.password, self._directory)
        verified = {"ssl_ca": self.place.ca, "ssl_verify_cert": True, "ssl_verify_identity": True}
        with self.explaining():
            self._connection = pymysql.connect(
                host=self.place.host,
                port=self.place.port,
                user=self.place.user,
                password=password,
                charset="utf8mb4",
                connect_timeout=CONNECT_SECONDS,
                autocommit=True,
                **(verified if self.place.ca else {}),
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()

    def query(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, or of another statement none."""
        assert self._connection is not None
        with self.explaining(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(values) or None)
            return list(cursor.fetchall())

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """One INSERT or REPLACE of many rows, in statements of at most a mebibyte, as one transaction."""
        assert self._connection is not None
        with self.explaining(), self._connection.cursor() as cursor:
            self._connection.begin()
            cursor.executemany(sql, rows)
            self._connection.commit()

    @contextmanager
    def transaction(self) -> Iterator[Callable[[str, Sequence[object]], int]]:
        """All statements of a block or none: what is not committed is undone when the connection ends.

        Yields a function of a statement and its values that tells how many rows it changed.
        """
        assert self._connection is not None

        def changed(sql: str, values: Sequence[object]) -> int:
            cursor.execute(sql, tuple(values))
            return int(cursor.rowcount)

        with self.explaining(), self._connection.cursor() as cursor:
            strict = "CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES')"
            cursor.execute(f"SET SESSION sql_mode = {strict}")  # nothing is cut short to fit
            self._connection.begin()
            yield changed
            self._connection.commit()

    def columns(self) -> list[ServerColumn]:
        """The columns of the table in order; TableError when it is not there."""
        name = full_name(self.place)
        found = self.query(f"SHOW COLUMNS FROM {name}")
        keys = self.query(f"SHOW KEYS FROM {name} WHERE Key_name = 'PRIMARY' AND Seq_in_index = 1")
        first = keys[0][4] if keys else None
        return [ServerColumn(row[0], _text(row[1]), row[0] == first) for row in found]

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Turn what PyMySQL raises into a FedsparkError that names the table; without the chain, which has settings."""
        import pymysql

        try:
            yield
        except (pymysql.MySQLError, OSError) as error:
            explained = self._explain(error)
        else:
            return
        raise explained

    def _explain(self, error: Exception) -> FedsparkError:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        reason = _reason(error)
        place = self.place
        server = f"{place.host}:{place.port}"
        if code in _LOGIN:
            remedy = f"Correct `user`, or the password in {place.password}, or let the user log in from here."
            return StoreError(f"{self.where}: {server} does not let user {place.user!r} in: {reason}.", remedy=remedy)
        if code in _UNREACHABLE or isinstance(error, OSError):
            remedy = "Start the server, or correct `host` and `port`."
            return Lost(f"{self.where}: {server} does not answer: {reason}.", remedy=remedy)
        if code in _LOST:
            return Lost(f"{self.where}: the connection to {server} was lost: {reason}.", remedy="Run it again.")
        if code in _DENIED:
            remedy = f"Grant user {place.user!r} the right to it."
            return StoreError(f"{self.where}: the server does not allow it: {reason}.", remedy=remedy)
        if code in (*_NO_DATABASE, *_NO_TABLE):
            return self._missing("table" if code in _NO_TABLE else "database")
        if code == _REPEATED:
            remedy = "Let the key have the column `run` too, or write to a table without it."
            return TableError(f"{self.where}: two rows share a unique key: {reason}.", remedy=remedy)
        if code in (_NO_COLUMN, _SYNTAX):
            remedy = "Correct `where`, which runs as it is."
            return TableError(f"{self.where}: the server does not understand the query: {reason}.", remedy=remedy)
        return StoreError(f"{self.where}: {server} failed with error {code}: {reason}.", remedy="See the server's log.")

    def _missing(self, what: str) -> TableError:
        """That there is no such table, or database, with the name that was meant among those that this user may see."""
        import pymysql

        assert self._connection is not None
        sql = f"SHOW TABLES FROM {quoted(self.place.database)}" if what == "table" else "SHOW DATABASES"
        names: list[str] = []
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(sql)
                names = [_text(row[0]) for row in cursor.fetchall()]
            except pymysql.MySQLError:
                if what == "table":
                    return self._missing("database")
        remedy = meant(getattr(self.place, what), names, f"Correct `{what}`.")
        return TableError(f"{self.where}: there is no such {what}.", remedy=remedy)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _reason(error: Exception) -> str:
    text = str(error.args[1] if len(error.args) > 1 else error) or type(error).__name__
    line = " ".join(text.split()).rstrip(".")
    line = re.sub(r"\b(entry|value):? '.*' for ", r"\1 for ", line)  # it may be somebody's id
    return line if len(line) <= 300 else line[:300] + " ..."
