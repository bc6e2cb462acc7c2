"""HiveServer2, or Spark's Thrift server, by the messages that PyHive brings. Executors import this: no Spark in it.

PyHive's own cursor makes a tuple of every row. Here columns stay columns.
"""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fedspark.conf.secrets import resolve
from fedspark.conf.tables.hive import HiveServer2Table
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.tables.hive.wire import protocol

LOST = "the connection to HiveServer2 was lost"
NO_TABLE = r"TABLE_OR_VIEW_NOT_FOUND|Table not found|\[Error 10001\]|NoSuchTableException"
NO_DATABASE = r"SCHEMA_NOT_FOUND|Database does not exist|\[Error 10072\]|NoSuchDatabaseException"

_DENIED = r"AccessControlException|Permission denied|[Pp]rivilege|not authorized"
_FAILED = r"return code \d|OutOfMemory|Job aborted|SparkException|TezTask|MapRedTask"
# Errors about a value of a row, which they show.
_OF_VALUES = r"CAST_INVALID_INPUT|CANNOT_PARSE|OUT_OF_RANGE|OVERFLOW|(?:NumberFormat|DateTime(?:Parse)?)Exception"
_SECONDS_TO_CONNECT = 20
_SECONDS_TO_ANSWER = 300
_FIRST_PAGE, _LARGEST_PAGE = 100, 10_000
_PAGE_BYTES = 8 << 20
_RUNNING = (0, 1, 7)  # initialized, running, pending
_FINISHED = 2


class Lost(StoreError):
    """The server cannot be reached or went away: the same may work a little later."""


class Refused(TableError):
    """The server refused a statement, for the ``reason`` in its own words."""

    reason = ""


@dataclass(frozen=True)
class Server:
    """Where a server is and who we are there. Travels in task closures: the password is a reference, looked up where a
    connection is opened; ``base`` is the directory that ``file:`` references are taken from. ``ca`` is a certificate.
    """

    host: str
    port: int
    auth: str
    user: str
    password: str | None
    base: str
    ca: str | None = field(default=None, repr=False)

    @staticmethod
    def of(conf: HiveServer2Table, directory: Path) -> Server:
        """The server of a party file's table; the party file is in ``directory``."""
        certificate = None if conf.ca is None else _certificate(conf.ca)  # executors have no such file
        return Server(conf.host, conf.port, conf.auth, conf.user, conf.password, str(directory.absolute()), certificate)

    @property
    def address(self) -> str:
        """``host:port``, for messages."""
        return f"{self.host}:{self.port}"

    @contextlib.contextmanager
    def session(self, where: str) -> Iterator[Session]:
        """A session, closed at the end. What fails inside is raised as Lost, Refused, StoreError or ConfigError;
        ``where`` begins the message.
        """
        session = self._opened(where)
        try:
            yield session
        finally:
            session.close()

    def _opened(self, where: str) -> Session:
        try:
            from TCLIService import TCLIService, ttypes
            from thrift.Thrift import TException
        except ImportError:
            remedy = "Install fedspark[hive], on a cluster for the Python of the executors too."
            raise ConfigError("Tables of kind hiveserver2 need PyHive.", remedy=remedy) from None
        logging.getLogger("thrift").setLevel(logging.CRITICAL)  # it logs what it raises, with a stack trace
        channel = self._socket()
        transport = self._transport(channel)
        try:
            channel.open()
        except (TException, OSError) as error:
            raise self._unreachable(where, error) from None
        client = TCLIService.Client(protocol(transport))
        wanted = ttypes.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V6  # the first with columns
        try:
            transport.open()
            opened = client.OpenSession(ttypes.TOpenSessionReq(client_protocol=wanted, username=self.user))
            session = Session(self, where, client, transport, opened.sessionHandle)
            session.check(opened.status)
        except (TException, OSError, struct.error, UnicodeDecodeError) as error:
            transport.close()
            raise self._not_let_in(where, error) from None
        except FedsparkError:
            transport.close()
            raise
        channel.setTimeout(_SECONDS_TO_ANSWER * 1000)
        return session

    def _socket(self) -> Any:
        from thrift.transport.TSocket import TSocket
        from thrift.transport.TSSLSocket import TSSLSocket

        if self.ca is None:
            channel = TSocket(self.host, self.port)
        else:
            try:
                context = ssl.create_default_context(cadata=self.ca)
            except ssl.SSLError:
                raise ConfigError("`ca` is no certificate in PEM.", remedy="Name a file with one.") from None
            channel = TSSLSocket(self.host, self.port, ssl_context=context, server_hostname=self.host)
        channel.setTimeout(_SECONDS_TO_CONNECT * 1000)
        return channel

    def _transport(self, channel: Any) -> Any:
        from pyhive.hive import get_installed_sasl
        from thrift.transport.TTransport import TBufferedTransport
        from thrift_sasl import TSaslClientTransport

        if self.auth == "nosasl":
            return TBufferedTransport(channel)
        # Without passwords the server wants one all the same, and takes any.
        password = "none" if self.password is None else resolve(self.password, self.base).decode()

        def client() -> Any:
            return get_installed_sasl(self.host, "PLAIN", username=self.user, password=password)

        return TSaslClientTransport(client, "PLAIN", channel)

    def _unreachable(self, where: str, error: Exception) -> FedsparkError:
        inner = getattr(error, "inner", None) or error
        if isinstance(inner, ssl.SSLError):
            remedy = (
                "Name in `ca` the authority that signed the server's certificate, and the server as it is named there."
            )
            return StoreError(f"{where}: {self.address} did not prove who it is: {_line(str(inner))}.", remedy=remedy)
        remedy = "See that the server is up and `host` and `port` (for binary Thrift, not HTTP's) are right."
        return Lost(f"{where}: {LOST} ({self.address} does not answer: {_line(str(inner))}).", remedy=remedy)

    def _not_let_in(self, where: str, error: Exception) -> FedsparkError:
        said = str(error)
        if refused := re.search(r"Bad status: \d \(b?['\"]?(.*?)['\"]?\)$", said, flags=re.DOTALL):
            remedy = f"Correct `user`, `auth` or what `password` refers to; the server said: {_line(refused[1])}."
            return StoreError(f"{where}: {self.address} does not let user {self.user!r} in.", remedy=remedy)
        # A server that expects another log-in closes the connection, or waits for the rest of what it cannot read.
        problem = f"{self.address} did not go on with the log-in: its authentication may be another than {self.auth}"
        tls = "" if self.ca else ", and `ca` if it wants encryption"
        remedy = f"Set `auth` to what hive.server2.authentication is on the server{tls}; kerberos is not supported."
        return Lost(f"{where}: {LOST}: {problem}.", remedy=remedy)


class Session:
    """One connection: statements one after the other."""

    def __init__(self, server: Server, where: str, client: Any, transport: Any, handle: Any) -> None:
        self._server, self._where = server, where
        self._client, self._transport, self._handle = client, transport, handle

    def close(self) -> None:
        """Tell the server, if it still listens."""
        from TCLIService import ttypes
        from thrift.Thrift import TException

        with contextlib.suppress(TException, OSError, struct.error):
            self._client.CloseSession(ttypes.TCloseSessionReq(self._handle))
        with contextlib.suppress(TException, OSError):
            self._transport.close()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """All rows of a short answer."""
        return [
            row for page in self.pages(statement) for row in zip(*(array.to_pylist() for array in page), strict=True)
        ]

    def pages(self, statement: str) -> Iterator[list[pa.Array]]:
        """The answer in pages of about 8 MB, a column an array; the server's types, text where Arrow has no such.

        We ask for at most twice the rows of the page before: those that come may be larger than those that came.
        """
        from TCLIService import ttypes

        operation = self._executed(statement)
        most = _FIRST_PAGE
        while True:
            request = ttypes.TFetchResultsReq(operation, ttypes.TFetchOrientation.FETCH_NEXT, most)
            with self._explained():
                answer = self._client.FetchResults(request)
            self.check(answer.status)
            page = [_array(column) for column in answer.results.columns]
            del answer
            rows = len(page[0]) if page else 0
            if not rows:
                break
            fitting = _PAGE_BYTES * rows // (sum(array.nbytes for array in page) + 1)
            most = max(1, min(fitting, 2 * most, _LARGEST_PAGE))
            yield page
        with self._explained():
            self._client.CloseOperation(ttypes.TCloseOperationReq(operation))

    def check(self, status: Any) -> None:
        """Raise what a status says unless it is success."""
        if status.statusCode not in (0, 1):
            raise self._meaning(status.errorMessage or "; ".join(status.infoMessages or ()) or "no reason given")

    def _executed(self, statement: str) -> Any:
        from TCLIService import ttypes

        with self._explained():
            # Not waiting inside the call: a query may take longer than a connection should be silent.
            answer = self._client.ExecuteStatement(ttypes.TExecuteStatementReq(self._handle, statement, runAsync=True))
        self.check(answer.status)
        pause = 0.005
        while True:
            with self._explained():
                status = self._client.GetOperationStatus(ttypes.TGetOperationStatusReq(answer.operationHandle))
            self.check(status.status)
            if status.operationState not in _RUNNING:
                break
            time.sleep(pause)
            pause = min(1.0, 1.5 * pause)
        if status.operationState != _FINISHED:
            raise self._meaning(status.errorMessage or "the query was cancelled")
        return answer.operationHandle

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        from thrift.Thrift import TApplicationException, TException

        try:
            yield
        except TApplicationException as error:
            reason = f"{self._where}: {self._server.address}: {_line(str(error))}."
            raise StoreError(reason, remedy="See the server's log.") from None
        except (TException, OSError, struct.error) as error:
            reason = _line(str(getattr(error, "inner", None) or error)) or type(error).__name__
            remedy = "See that the server is up; run the same command again."
            raise Lost(f"{self._where}: {LOST} ({self._server.address}: {reason}).", remedy=remedy) from None

    def _meaning(self, text: str) -> FedsparkError:
        text = re.split(r"\n\s*at ", text, maxsplit=1)[0]  # its Java has all kinds of words
        if re.search(_OF_VALUES, text):
            problem = "`where` needs a number, date or truth value, and the text or number of some row is none"
            remedy = "Put what is compared with text in quotes, or use try_cast."
            refused = Refused(f"{self._where}: the server refused the query: {problem}.", remedy=remedy)
            refused.reason = problem
            return refused
        reason = _line(text)
        if re.search(_DENIED, text):
            remedy = f"Grant it to user {self._server.user!r}."
            return StoreError(f"{self._where}: the server does not allow it: {reason}.", remedy=remedy)
        if re.search(_FAILED, text):
            reason = _line(_without_values(text))
            return StoreError(
                f"{self._where}: the query failed on the server: {reason}.", remedy="See the server's log."
            )
        refused = Refused(f"{self._where}: the server refused the query: {reason}.", remedy="Correct `where`.")
        refused.reason = text
        return refused


def _array(column: Any) -> pa.Array:
    """A column of an answer; bit ``k`` of its ``nulls``, counted from the lowest, says that row ``k`` has no value."""
    held = next(values for values in vars(column).values() if values is not None)
    mask = None
    if any(held.nulls):
        bits = np.unpackbits(np.frombuffer(held.nulls, np.uint8), bitorder="little", count=len(held.values))
        mask = bits.astype(bool)  # count pads with zeros where the server left bytes out
    types = {
        "TBoolColumn": pa.bool_(),
        "TDoubleColumn": pa.float64(),
        "TStringColumn": pa.string(),
        "TBinaryColumn": pa.binary(),
    }
    return pa.array(held.values, types.get(type(held).__name__, pa.int64()), mask=mask)


def _line(text: str) -> str:
    """What a server says, in one line and without its Java; at most 300 characters."""
    text = re.split(r"\n\s*at |\n== SQL|;? ?line \d+ pos \d+|\n\n", text, maxsplit=1)[0]
    text = re.sub(r"\b(?:[a-z]\w*\.){2,}\w*(?:Exception|Error): ?", "", " ".join(text.split()))
    text = re.sub(r"Error (?:running query|operating \w+|while compiling statement): ?", "", text)
    text = re.sub(r"^(\[\w[\w.]*\]) \1", r"\1", text).rstrip(". ")
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _without_values(text: str) -> str:
    """What a failed query says without what is quoted or in braces: Hive shows the row that it was busy with."""
    return re.sub(r"\{.*\}|\".*\"|'.*'", "***", text, flags=re.DOTALL)


def _certificate(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The certificate `ca` cannot be read from {path}: {error}.", remedy="Correct it.") from None
