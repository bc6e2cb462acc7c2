"""Tables of MySQL and MariaDB: rows through Spark's JDBC source in slices, all else through PyMySQL.

The query is a derived table that both servers merge into the slices' queries, so that these use indexes and read only
the columns that are needed. It gives columns names that need no quotes: Spark quotes by the URL's scheme, and with
``jdbc:mariadb:`` (double quotes, where MariaDB wants backticks) every value would silently be the column's name. The
URL is therefore made here, and the answer to a known question looked at before any row is taken for true.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError, Py4JJavaError  # type: ignore[import-untyped]

from fedspark.conf.secrets import hide_from_java_log, resolve
from fedspark.conf.tables.mysql import MysqlTable
from fedspark.errors import ConfigError, StoreError, TableError
from fedspark.tables.mysql.server import CONNECT_SECONDS, Server, ServerColumn, full_name, quoted
from fedspark.tables.problems import meant
from fedspark.tables.roles import Column, Kind
from fedspark.tables.source import Source, check_unaltered, reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KIND = "MySQL"
DRIVER = "org.mariadb.jdbc.Driver"
JARS = ("/usr/share/java/mariadb-java-client.jar",)
FETCHED_ROWS = 10_000
_ONE_SLICE = 50_000
_SLICE_ROWS = 1_000_000
_MOST_SLICES = 256
_TALKATIVE = "org.apache.spark.sql.execution.datasources.jdbc.connection.BasicConnectionProvider"
_PROBE = "right"
_SLICE = "fedspark_slice"
_BOUND = 2**63 - 1

Reading = tuple[str, Kind, bool]

_answered: set[tuple[str, str]] = set()


@dataclass(frozen=True)
class Slicing:
    """Slices of equal width by the SQL ``expression``, whose values go from ``low`` to below ``high``.

    The outer ones are open, and the first has the rows without a value: each row is in exactly one.
    """

    expression: str
    low: int
    high: int
    count: int

    def options(self) -> dict[str, str]:
        """Those of Spark's JDBC source."""
        if self.count == 1:
            return {}
        bounds = {"lowerBound": self.low, "upperBound": self.high, "numPartitions": self.count}
        return {"partitionColumn": _SLICE, **{key: str(value) for key, value in bounds.items()}}


def read(
    spark: SparkSession,
    name: str,
    conf: MysqlTable,
    directory: Path,
    reading_of: Callable[[ServerColumn], Reading | None] = ServerColumn.reading,
) -> Source:
    """The table ``name`` of a party file in ``directory``: TableError or StoreError when it cannot be opened.

    ``reading_of`` says how a column is selected, what it can be used for, and whether it comes as text.
    """
    where = _where(name, conf)
    server = Server(where, conf, directory)
    with server:
        found = server.columns()
        by = _slice_column(where, conf, found)
        count, low, high = _extent(server, conf, by)
        origin = _origin(server, conf, count)
    wanted = conf.slices or slices_for(count, spark.sparkContext.defaultParallelism)
    slicing = _ranges(by, low, high, wanted) if by else _hashes(conf, found, wanted)
    readings = [reading_of(column) for column in found]
    columns = _columns(found, readings)
    _find_driver(spark, where, conf)
    with reading(where, KIND):
        _check_quoting(spark, where, conf, directory)
        frame = _frame(spark, conf, directory, readings, slicing)
    settled = _settled(server, conf, count) if slicing.count > 1 else None  # one statement sees one moment
    unaltered = partial(_check_columns, server, {column.name: column.type for column in found})
    source = Source(where, KIND, frame, columns, rows=count, origin=origin, lost=was_lost, settled=settled)
    return replace(source, unaltered=unaltered)


def look(name: str, conf: MysqlTable, directory: Path) -> tuple[str, tuple[Column, ...]]:
    """How messages about the table begin, and its columns, without Spark; errors as those of `read`."""
    where = _where(name, conf)
    with Server(where, conf, directory) as server:
        found = server.columns()
    _slice_column(where, conf, found)
    return where, _columns(found, [column.reading() for column in found])


def slices_for(rows: int, parallelism: int) -> int:
    """How many slices so many rows are worth."""
    if rows <= _ONE_SLICE:
        return 1
    return min(_MOST_SLICES, max(parallelism, -(-rows // _SLICE_ROWS)))


def _where(name: str, conf: MysqlTable) -> str:
    return f"Table {name!r} ({conf.host}:{conf.port}, {conf.database}.{conf.table})"


def _columns(found: Sequence[ServerColumn], readings: Sequence[Reading | None]) -> tuple[Column, ...]:
    return tuple(_column(*both) for both in zip(range(len(found)), found, readings, strict=True))


def _column(position: int, column: ServerColumn, reading: Reading | None) -> Column:
    _, kind, as_text = reading or ("", Kind.OTHER, False)
    shown = column.base if column.base in ("enum", "set") else column.type
    return Column(position, column.name, shown, kind, read_as_text=as_text)


def _frame(
    spark: SparkSession, conf: MysqlTable, directory: Path, columns: list[Reading | None], slicing: Slicing
) -> DataFrame:
    from pyspark.sql import functions

    readings = {f"c{position}": reading for position, reading in enumerate(columns)}
    selected = [f"{reading[0]} AS {name}" for name, reading in readings.items() if reading is not None]
    # On a line of its own: a comment at the end of the condition must not hide the parenthesis.
    condition = f" WHERE ({conf.where}\n)" if conf.where else ""
    query = f"SELECT {', '.join([*selected, f'{slicing.expression} AS {_SLICE}'])} FROM {full_name(conf)}{condition}"
    frame = _jdbc(spark, conf, f"({query}) AS source", directory, slicing.options())
    nothing = functions.lit(None).cast("string")
    return frame.select(
        *(functions.col(name) if reading else nothing.alias(name) for name, reading in readings.items())
    )


def url(conf: MysqlTable) -> str:
    """The JDBC URL, in the one scheme for which Spark quotes as the server does; version 3 of the driver asks why."""
    host = f"[{conf.host}]" if ":" in conf.host else conf.host
    return f"jdbc:mysql://{host}:{conf.port}/?permitMysqlScheme=true"


def _properties(conf: MysqlTable, directory: Path) -> dict[str, str]:
    properties = {
        "driver": DRIVER,
        "user": conf.user,
        "password": resolve(conf.password, directory).decode(),
        "fetchsize": str(FETCHED_ROWS),
        "connectTimeout": str(CONNECT_SECONDS * 1000),
        "tcpKeepAlive": "true",
        "allowLocalInfile": "false",
        "sessionVariables": "time_zone='+00:00'",  # in which TIMESTAMP becomes text, without an hour that comes twice
    }
    if conf.ca:
        certificate = _certificate(conf.ca)
        # The two versions of the driver name it differently, and each passes over the other's word.
        properties |= {"useSsl": "true", "sslMode": "verify-full", "serverSslCert": certificate}
    return properties


def _certificate(path: str) -> str:
    """The certificate itself: executors have no such file."""
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The certificate `ca` cannot be read from {path}: {error}.", remedy="Correct it.") from None


def _slice_column(where: str, conf: MysqlTable, found: list[ServerColumn]) -> ServerColumn | None:
    if conf.slice_by is None:
        return next((column for column in found if column.leads_key and column.integer), None)
    names = [column.name for column in found]
    if conf.slice_by not in names:
        remedy = meant(conf.slice_by, names, "Name a column that is there.")
        raise TableError(f"{where}: `slice_by` names column {conf.slice_by!r}, which it does not have.", remedy=remedy)
    column = found[names.index(conf.slice_by)]
    if not column.integer:
        remedy = "Name an integer column, or leave `slice_by` out."
        raise TableError(f"{where}: `slice_by` column {column.name!r} is of type {column.type}.", remedy=remedy)
    return column


def _extent(server: Server, conf: MysqlTable, by: ServerColumn | None) -> tuple[int, int, int]:
    ends = f", MIN({quoted(by.name)}), MAX({quoted(by.name)})" if by else ", 0, 0"
    condition = f" WHERE ({conf.where}\n)" if conf.where else ""
    ((count, low, high),) = server.query(f"SELECT COUNT(*){ends} FROM {full_name(conf)}{condition}")
    return count, int(low or 0), int(high or 0)


def _origin(server: Server, conf: MysqlTable, rows: int) -> dict[str, str | int]:
    """Version, rows that the table's conditions leave, and when the server says that it last changed, if it does."""
    ((version,),) = server.query("SELECT VERSION()")
    sql = "SELECT UPDATE_TIME FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    changed = [str(time) for (time,) in server.query(sql, (conf.database, conf.table)) if time is not None]
    return {"server": version, "rows": rows, **({"last change": changed[0]} if changed else {})}


def _ranges(by: ServerColumn, low: int, high: int, slices: int) -> Slicing:
    """Ranges of a column. Spark's bounds have 64 bits with sign: beyond them by half its values, without its index."""
    expression = quoted(by.name)
    if high > _BOUND:
        expression, low, high = f"{expression} DIV 2", low // 2, high // 2
    low, high = max(-_BOUND, low), min(_BOUND, high + 1)
    return Slicing(expression, low, high, max(1, min(slices, high - low)))


def _hashes(conf: MysqlTable, found: list[ServerColumn], slices: int) -> Slicing:
    """Remainders of CRC32 of the ids; a row without ids is in the first. Columns that are not there are told later."""
    names = [column.name for column in found if column.name in conf.id]
    if not names:
        return Slicing("0", 0, 1, 1)
    # MOD of a sum rather than of one CRC32 of a concatenation: that fails for columns of different collations.
    total = " + ".join(f"COALESCE(CRC32({quoted(name)}), 0)" for name in names)
    return Slicing(f"MOD({total}, {slices})", 0, slices, slices)


def _find_driver(spark: SparkSession, where: str, conf: MysqlTable) -> None:
    """ConfigError unless Spark has the driver, or gets it here, also when it has long been running."""
    jars = (conf.jar,) if conf.jar else () if _has_driver(spark) else JARS
    jar = next((jar for jar in jars if Path(jar).is_file()), None)
    if jar is not None:
        _add_jar(spark, Path(jar).absolute().as_uri())
    if (conf.jar and jar is None) or not _has_driver(spark):
        looked = f" in {conf.jar}" if conf.jar else f": neither in Spark's own jars nor in {', '.join(JARS)}"
        raise ConfigError(
            f"{where}: the JDBC driver {DRIVER} was not found{looked}.",
            remedy="Set `jar` of the table to the file of MariaDB Connector/J, which serves MySQL too (package "
            "libmariadb-java of Debian and Ubuntu, org.mariadb.jdbc:mariadb-java-client of Maven), or add it to "
            "spark.jars.",
        )


def _add_jar(spark: SparkSession, url: str) -> None:
    """Make the classes of a jar known to the executors and to all threads of the driver.

    Spark's own ADD JAR does it for the calling thread: errors of tasks would be of classes that nobody knows.
    """
    java: Any = spark._jvm
    spark.sparkContext._jsc.addJar(url)
    loader = java.java.lang.Thread.currentThread().getContextClassLoader()
    mutable = None
    while loader is not None:
        mutable = loader if loader.getClass().getName().endswith("MutableURLClassLoader") else mutable
        loader = loader.getParent()
    if mutable is None:
        session: Any = spark._jsparkSession
        session.sessionState().resourceLoader().addJar(url)
    else:
        mutable.addURL(java.java.net.URL(url))


def _has_driver(spark: SparkSession) -> bool:
    try:
        java: Any = spark._jvm
        java.java.lang.Thread.currentThread().getContextClassLoader().loadClass(DRIVER)
    except Py4JJavaError:
        return False
    return True


def _jdbc(spark: SparkSession, conf: MysqlTable, query: str, base: Path, slices: dict[str, str]) -> DataFrame:
    """The rows of a query; the password is resolved here and kept nowhere.

    Not by ``read.jdbc`` with predicates: it puts the driver's options into lower case, which the driver passes over,
    and with them the wish for encryption.
    """
    options = {"url": url(conf), "dbtable": query, **slices, **_properties(conf, base)}
    hide_from_java_log([options["password"]])
    _silence(spark)
    return spark.read.format("jdbc").options(**options).load()


def _silence(spark: SparkSession) -> None:
    """Keep Spark from logging the password: its class that connects does so at level DEBUG. Executors have own logs."""
    java: Any = spark._jvm
    with suppress(Py4JError, TypeError):  # another system of logs than Spark's own
        logging = java.org.apache.logging.log4j
        logging.core.config.Configurator.setLevel(_TALKATIVE, logging.Level.INFO)


def _check_quoting(spark: SparkSession, where: str, conf: MysqlTable, directory: Path) -> None:
    """StoreError if Spark, this driver and this server do not understand each other about names of columns."""
    asked = (spark.sparkContext.applicationId, url(conf))
    if asked in _answered:
        return
    probe = _jdbc(spark, conf, f"(SELECT '{_PROBE}' AS c0) AS probe", directory, {})
    answer = probe.select("c0").collect()
    if [row[0] for row in answer] != [_PROBE]:
        raise StoreError(
            f"{where}: asked for a known value, the driver gave {[row[0] for row in answer]!r}: it quotes columns in "
            "a way that this server takes for texts, and every value would be wrong.",
            remedy="Set `jar` to MariaDB Connector/J 2.7 or 3, and remove other drivers from Spark's jars.",
        )
    _answered.add(asked)


def was_lost(error: BaseException) -> bool:
    """Whether the connection was lost, so that the same rows may come when they are read again."""
    text = f"{error}\n{getattr(error, '_stackTrace', '')}"
    signs = r"SQL(NonTransient|Transient)ConnectionException|SQLRecoverable|Connection reset|Broken pipe|EOFException"
    signs += r"|executionResults\" is null"  # version 2 of the driver, when it is lost while it closes a statement
    return re.search(rf"{signs}|unexpected end of stream|Socket error|Connection was killed", text) is not None


def _check_columns(server: Server, before: Mapping[str, str]) -> None:
    with server:
        now = {column.name: column.type for column in server.columns()}
    check_unaltered(server.where, before, now)


def _settled(server: Server, conf: MysqlTable, before: int) -> Callable[[int], None]:
    def settled(read: int) -> None:
        with server:
            after, _, _ = _extent(server, conf, None)
        if not before == read == after:
            raise TableError(
                f"{server.where}: it changed while it was read: {before} rows before, {read} read, {after} now.",
                remedy="Load it when nothing writes to it, leave new rows out by `where`, or set `slices: 1`, which "
                "reads the rows of one moment.",
            )

    return settled
