"""A ClickHouse server: connections to it, and what its errors mean in plain words. Executors import this file."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedspark.conf.secrets import resolve
from fedspark.conf.tables.clickhouse import ClickHousePlace
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError

LOST = "the connection to ClickHouse was lost"

_REFUSED = (192, 193, 194, 516)  # unknown user, wrong or missing password, authentication failed
_DENIED = (164, 497)  # read-only user, missing privileges
_PASSING = (202, 209, 210, 236, 394, 425)  # too many queries, network, aborted or cancelled as a server shuts down
NO_DATABASE, NO_TABLE, TABLE_EXISTS = 81, 60, 57
SYNTAX, UNKNOWN_COLUMN, NOT_IMPLEMENTED = 62, 47, 48
_SECONDS_TO_CONNECT = 10
_SECONDS_TO_ANSWER = 300


class Lost(StoreError):
    """The server cannot be reached or went away: the same may work a little later."""


class Refused(TableError):
    """The server refused a statement. ``code`` is its number for the reason."""

    code = 0


@dataclass(frozen=True)
class Server:
    """Where a server is and who we are there. Travels in task closures: the password is a reference, looked up where
    a connection is opened. ``base`` is the directory that ``file:`` references are taken from.
    """

    host: str
    port: int
    database: str
    user: str
    password: str | None
    base: str
    secure: bool
    compression: bool

    @staticmethod
    def of(conf: ClickHousePlace, directory: Path) -> Server:
        """The server of a party file's table; the party file is in ``directory``."""
        return Server(
            host=conf.host,
            port=conf.port,
            database=conf.database,
            user=conf.user,
            password=conf.password,
            base=str(directory.absolute()),
            secure=conf.secure,
            compression=conf.compression,
        )

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return f"{self.host}:{self.port}"

    @contextlib.contextmanager
    def client(self, where: str, **settings: Any) -> Iterator[Any]:
        """A client of clickhouse-driver with the driver's own ``settings`` (``use_numpy``), closed at the end.

        What fails inside is raised as Lost, Refused, StoreError or ConfigError; ``where`` begins the message.
        """
        client = self._client(settings)
        try:
            with self.explained(where):
                yield client
        finally:
            client.disconnect()

    def _client(self, settings: dict[str, Any]) -> Any:
        try:
            from clickhouse_driver import Client
        except ImportError:
            remedy = "Install fedspark[clickhouse], on a cluster for the Python of the executors too."
            raise ConfigError("Tables of kind clickhouse need clickhouse-driver.", remedy=remedy) from None
        # It logs what it raises, with a stack trace; what fails is told by us.
        logging.getLogger("clickhouse_driver").setLevel(logging.CRITICAL)
        return Client(
            self.host,
            port=self.port,
            database=self.database,
            user=self.user,
            password="" if self.password is None else resolve(self.password, self.base).decode(),
            secure=self.secure,
            compression=self.compression,
            client_name="fedspark",
            connect_timeout=_SECONDS_TO_CONNECT,
            send_receive_timeout=_SECONDS_TO_ANSWER,
            settings=settings,
        )

    @contextlib.contextmanager
    def explained(self, where: str) -> Iterator[None]:
        """Raise what the driver raises as an error of ours, without the server's stack trace."""
        from clickhouse_driver.errors import Error, NetworkError, ServerException

        try:
            yield
        except ServerException as error:
            raise self._meaning(where, error.code, _first_line(error.message)) from None
        except (NetworkError, EOFError, OSError) as error:
            remedy = "See that the server is up and `host` and `port` (the native one, not HTTP's) are right."
            reason = _first_line(str(error)) or type(error).__name__
            raise Lost(f"{where}: {LOST} ({self.address}: {reason}).", remedy=remedy) from None
        except Error as error:
            reason = _first_line(str(error))
            raise StoreError(f"{where}: {self.address}: {reason}.", remedy="See the server's log.") from None

    def _meaning(self, where: str, code: int, reason: str) -> FedsparkError:
        if code in _REFUSED:
            remedy = "Correct `user`, or what `password` refers to."
            return StoreError(f"{where}: {self.address} does not let user {self.user!r} in.", remedy=remedy)
        if code in _DENIED:
            return StoreError(f"{where}: {reason}.", remedy=f"Grant it to user {self.user!r}.")
        if code in _PASSING:
            return Lost(f"{where}: {LOST} ({self.address}: {reason}).", remedy="Run again when the server is up.")
        refused = Refused(f"{where}: {reason}.", remedy=_REMEDIES.get(code, "See the server's log."))
        refused.code = code
        return refused


_REMEDIES = {
    NO_DATABASE: "Correct `database`.",
    NO_TABLE: "Correct `database` or `table`.",
    SYNTAX: "Correct `where`.",
    UNKNOWN_COLUMN: "Correct `where`.",
}


def _first_line(text: str) -> str:
    """What a server says, without its stack trace, its own prefix and its full stop; at most 300 characters."""
    line = text.partition("Stack trace")[0].replace("DB::Exception:", "")
    line = re.sub(r"^Code: \d+\. *", "", " ".join(line.split())).rstrip(". ")
    return line if len(line) <= 300 else f"{line[:300]} ..."
