"""A ClickHouse server: connections to it, and what its errors mean in plain words. Executors import this file."""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
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
# What is quoted with these are names, and words of statements; with all others it may be a value of a row.
_OF_NAMES = (
    *(NO_DATABASE, NO_TABLE, TABLE_EXISTS, SYNTAX, UNKNOWN_COLUMN, NOT_IMPLEMENTED),
    *(*_DENIED, 10, 16, 20, 42, 43, 46, 63, 115, 386),  # no such column, wrong arguments, no such function or setting
)
_OF_VALUES = (6, 25, 26, 27, 38, 41, 53, 70, 72, 376, 407, 675, 676, 691)  # text that is no number, date, UUID, ...
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
    a connection is opened. ``base`` is the directory that ``file:`` references are taken from, ``ca`` a certificate.
    """

    host: str
    port: int
    database: str
    user: str
    password: str | None
    base: str
    secure: bool
    compression: bool
    ca: str | None = field(default=None, repr=False)

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
            secure=conf.secure or conf.ca is not None,
            compression=conf.compression,
            ca=None if conf.ca is None else _certificate(conf.ca),  # executors have no such file
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
        with self._authority() as authority:
            client = self._client(settings, authority)
            try:
                with self.explained(where):
                    yield client
            finally:
                client.disconnect()

    @contextlib.contextmanager
    def _authority(self) -> Iterator[dict[str, str]]:
        """The driver's option for `ca`, which it reads from a file whenever it connects."""
        if self.ca is None:
            yield {}
            return
        with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".pem") as file:
            file.write(self.ca)
            file.flush()
            yield {"ca_certs": file.name}

    def _client(self, settings: dict[str, Any], authority: dict[str, str]) -> Any:
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
            **authority,
        )

    @contextlib.contextmanager
    def explained(self, where: str) -> Iterator[None]:
        """Raise what the driver raises as an error of ours, without the server's stack trace."""
        from clickhouse_driver.errors import Error, NetworkError, ServerException

        try:
            yield
        except ServerException as error:
            raise self._meaning(where, error.code, _first_line(error.message, error.code)) from None
        except (NetworkError, EOFError, OSError) as error:
            remedy = "See that the server is up and `host` and `port` (the native one, not HTTP's) are right."
            reason = _first_line(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                unproven = f"{where}: {self.address} did not prove who it is: {reason}."
                remedy = (
                    "Name in `ca` the authority that signed the server's certificate, and the server as it is named "
                    "there."
                )
                raise StoreError(unproven, remedy=remedy) from None
            raise Lost(f"{where}: {LOST} ({self.address}: {reason}).", remedy=remedy) from None
        except Error as error:
            reason = re.sub(r">: .* for column ", "> for column ", _first_line(str(error)))  # with the value
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
    **dict.fromkeys(
        _OF_VALUES,
        "A value in the table is not what the server is to make of it: let `where` pass over such values, as "
        "toInt32OrNull(...) does, or take the column as text.",
    ),
}


def _certificate(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="ascii")
        ssl.create_default_context(cadata=text)
    except ssl.SSLError:
        raise ConfigError(f"`ca` ({path}) is no certificate in PEM.", remedy="Name a file with one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The certificate `ca` cannot be read from {path}: {error}.", remedy="Correct it.") from None
    return text


def _first_line(text: str, code: int = SYNTAX) -> str:
    """What a server says, without its stack trace, its own prefix and its full stop; at most 300 characters.

    What is quoted in errors that are not of names is left out: from the first quotation mark, as values may have some.
    """
    line = " ".join(text.replace("DB::Exception:", "").split())
    if code not in _OF_NAMES:
        line = re.sub(r"'.*('|$)", "'***'", line)
        line = re.sub(r"(?i)(\buuid:? ).*", r"\1***", line) if code in _OF_VALUES else line  # unquoted
    line = re.sub(r"^Code: \d+\. *", "", line.partition("Stack trace")[0]).rstrip(". ")
    return line if len(line) <= 300 else f"{line[:300]} ..."
