"""What every kind of source hands over, and how Spark's many ways of failing to read one become a plain sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from fedspark.errors import FedsparkError, StoreError, TableError
from fedspark.tables.direct import Direct
from fedspark.tables.problems import listed
from fedspark.tables.roles import Column
from fedspark.tables.sink import carried, uncarried

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SPARK_ERRORS = (PySparkException, Py4JError)
_FROM_TASK = "fedspark says: "


@dataclass(frozen=True)
class Source:
    """A table as read, nothing computed yet.

    ``where`` names it and ``kind`` its format in messages. ``frame`` has the columns c0, c1, ... in the order of
    ``columns`` (names of sources may hold anything, these need no quoting; columns without a role may be left out of
    the frame), and, where ``checks_lines``, the boolean
    column ``malformed``, the text of such a ``line`` and the URL of its ``file``. ``skips_lines``: these are left out.
    ``notes`` are words for people about what was read; ``rows`` is their number where the source told it beforehand.
    ``origin`` is what tells the state of the source that is read from others, as names, sizes and times of files.
    ``direct`` is a way to the same rows without the JVM, where there is one.

    Three of them for a source on a server: ``lost`` says of an error of the job that reads whether it may go away when
    all rows are read again, as after a lost connection; ``settled`` takes the number of rows that were read, and raises
    TableError when rows were added or removed meanwhile; ``unaltered`` raises it when a column, or
    a file, is another one by now.
    """

    where: str
    kind: str
    frame: DataFrame
    columns: tuple[Column, ...]
    checks_lines: bool = False
    skips_lines: bool = False
    notes: tuple[str, ...] = ()
    rows: int | None = None
    origin: Mapping[str, str | int] = field(default_factory=dict)
    lost: Callable[[BaseException], bool] | None = None
    settled: Callable[[int], None] | None = None
    direct: Direct | None = None
    unaltered: Callable[[], None] | None = None


def check_unaltered(where: str, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """TableError unless all columns of ``before`` have the same type ``now``: values would be cast in silence."""
    changed = [
        f"{name!r} was {kind}, now it is {now.get(name, 'gone')}"
        for name, kind in before.items()
        if now.get(name) != kind
    ]
    if changed:
        remedy = "Load it again when nobody changes its columns."
        raise TableError(f"{where}: its columns changed while it was read: {listed(changed)}.", remedy=remedy)


def spark_path(url: str) -> str:
    """``url`` as Spark wants it: Spark takes ``%20`` in a file:// URL for three characters of a name."""
    parts = urlsplit(url)
    return f"file://{unquote(parts.path)}" if parts.scheme == "file" else url


def locate(path: str, directory: Path) -> str:
    """A table's path as Spark wants it: URLs and absolute paths as they are, others from ``directory``."""
    if "://" in path:
        return spark_path(path)
    if path.startswith("/"):
        return path
    return literally(str(directory.absolute())) + "/" + path


def literally(path: str) -> str:
    """A path that Spark's readers take as it is: they see a glob in brackets, braces, stars and question marks."""
    return re.sub(r"([\\*?\[\]{}])", r"\\\1", path)


def own_session(spark: SparkSession) -> SparkSession:
    """A session on the same application, with the settings of ``spark`` but names that are case-sensitive, and UTC
    wherever a time says no zone.

    Threads that share ``spark`` do not see the difference.
    """
    session = spark.newSession()
    wanted = {key: value for key, value in spark.conf.getAll.items() if session.conf.isModifiable(key)}
    wanted |= {"spark.sql.caseSensitive": "true", "spark.sql.session.timeZone": "UTC"}
    for key, value in wanted.items():
        session.conf.set(key, value)
    return session


@contextmanager
def reading(where: str, kind: str) -> Iterator[None]:
    """Turn what Spark raises while a source is read into a TableError or StoreError that names the source."""
    try:
        yield
    except SPARK_ERRORS as error:
        raise explain(error, where, kind) from error


def explain(error: BaseException, where: str, kind: str) -> FedsparkError:
    """The error of our own that says what Spark's one means for the source ``where`` of that kind."""
    text = _full_text(error)
    if "PATH_NOT_FOUND" in text:
        return TableError(f"{where}: there is no such file.", remedy="Correct `path`; a glob must match a file.")
    if "UNABLE_TO_INFER_SCHEMA" in text:
        return TableError(f"{where}: there is no {kind} file in it.", remedy="Correct `path` or `kind`.")
    if "COLUMN_ALREADY_EXISTS" in text:
        named = re.search(r"The column `(.*?)` already exists", text)
        which = f"called {named.group(1)!r}" if named else "of one name"
        return TableError(f"{where}: more than one column is {which}.", remedy="Rename the columns of the source.")
    if "CSV header does not conform" in text:
        remedy = "Give all files the same columns in the same order."
        return TableError(f"{where}: its files begin with different header lines.", remedy=remedy)
    if "PARQUET_COLUMN_DATA_TYPE_MISMATCH" in text:
        remedy = "Rewrite them with one schema."
        return TableError(f"{where}: its files have different types for one column: {_reason(text)}", remedy=remedy)
    if re.search(r"AccessControlException|Permission denied", text):
        remedy = "Let the user that runs Spark read it."
        return StoreError(f"{where}: reading is not permitted: {_reason(text)}", remedy=remedy)
    if re.search(r"No FileSystem for scheme|ClassNotFoundException: Class org\.apache\.hadoop\.fs", text):
        remedy = "Add the connector's jars to Spark, or copy the table to a place that Spark can read."
        return StoreError(f"{where}: this Spark cannot read such a URL: {_reason(text)}", remedy=remedy)
    if "CANNOT_READ_FILE_FOOTER" in text or "FAILED_READ_FILE" in text:
        remedy = "Correct `path` or `kind`, or write the file again."
        return TableError(f"{where}: it is not readable as {kind}: {_reason(text)}", remedy=remedy)
    if "java.sql.SQLSyntaxErrorException" in text:
        remedy = "Correct the table's conditions; if its columns changed while it was read, load it again."
        return TableError(f"{where}: the server refused the query: {_reason(text)}", remedy=remedy)
    if re.search(r"java\.sql\.SQL\w*Exception", text):
        remedy = "See that the server runs, then run the same command again."
        return StoreError(f"{where}: the {kind} server failed while rows were read: {_reason(text)}", remedy=remedy)
    return StoreError(f"{where}: Spark failed while reading it: {_reason(text)}", remedy="See Spark's log.")


def explain_task(error: BaseException, where: str, kind: str) -> FedsparkError:
    """As ``explain``, for the one job that reads the source and stages its rows."""
    text = _full_text(error)
    if said := re.search(rf"^\w+: {_FROM_TASK}(\[.*\])$", text, flags=re.MULTILINE):
        return uncarried(said[1])
    if any(sign in text for sign in ("FAILED_READ_FILE", "PATH_NOT_FOUND", "java.sql.SQL")):
        return explain(error, where, kind)
    if "CAST_INVALID_INPUT" in text:  # with the value
        remedy = "Put what is compared with text in quotes, declare types in `types`, or use try_cast."
        return TableError(
            f"{where}: `where` needs a number, date or truth value, and some text is none.", remedy=remedy
        )
    remedy = "See Spark's log."
    if "No module named" in text:
        remedy = "Install fedspark for the Python of Spark's executors too, or hand it to spark-submit by --py-files."
    return StoreError(f"Staging {where} failed: {_reason(text)}", remedy=remedy)


@contextmanager
def telling_driver() -> Iterator[None]:
    """For a reader's Python in a task: its errors reach the driver as they are, through Spark's stack traces."""
    try:
        yield
    except FedsparkError as error:
        raise RuntimeError(_FROM_TASK + carried(error)) from None


def _full_text(error: BaseException) -> str:
    return "\n".join(text for text in (str(error), getattr(error, "_stackTrace", None)) if text)


def _reason(text: str) -> str:
    """The innermost cause in one line, without Java's class names, at most 300 characters."""
    causes = re.findall(r"^\s*Caused by: (.+)$", text, flags=re.MULTILINE)
    if "Traceback (most recent call last)" in text:
        causes = re.findall(r"^\w*(?:Error|Exception): .+$", text, flags=re.MULTILINE) or causes
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    line = causes[-1] if causes else next(iter(lines), "no reason given")
    line = re.sub(r"^(?:[\w$]+\.)+[\w$]*(?:Exception|Error): ", "", line.strip())
    return line if len(line) <= 300 else line[:300] + " ..."
