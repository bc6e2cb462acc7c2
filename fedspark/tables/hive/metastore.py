"""Spark sessions that know the tables of a Hive metastore, beside the one that a run has.

Spark fixes the catalog of a session when it is made. So the run's own session stays as it is, whoever made it, and
every metastore gets a session of its own on the same Spark application: no setting of the application has to be known
when that starts, and a party may have tables of several metastores. Kerberos, and what a secured Hive does with users,
come with Spark's own settings (hive-site.xml, --principal); neither is tested here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from fedspark.conf.tables.hive import HivePlace
from fedspark.errors import ConfigError, FedsparkError, StoreError, TableError
from fedspark.tables.hive.names import full_name, quoted
from fedspark.tables.problems import meant
from fedspark.tables.source import SPARK_ERRORS, explain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KIND = "Hive"

_SUPPORT = "org.apache.spark.sql.hive.HiveSessionStateBuilder"
_URIS = "hive.metastore.uris"
_OWN = {
    # Hive's names have no case, and files written by others may have columns in any: Spark would take these for absent.
    "spark.sql.caseSensitive": "false",
    "spark.sql.session.timeZone": "UTC",
    # A metastore cannot filter by every name and value; then Spark does it.
    "spark.sql.hive.metastorePartitionPruningFallbackOnException": "true",
}
UNREACHABLE = (
    r"Could not connect to meta ?store|Unable to instantiate .*MetaStoreClient|TTransportException|MetaException"
)

_lock = threading.Lock()
_sessions: dict[tuple[str, str], SparkSession] = {}


def session_of(spark: SparkSession, where: str, place: HivePlace) -> SparkSession:
    """The session for the metastore of ``place``, with the settings of ``spark``; it has been answered once.

    ``where`` begins messages. ConfigError when this Spark has no Hive, or nothing says where the metastore is;
    StoreError when it does not answer.
    """
    key = (spark.sparkContext.applicationId, place.metastore or "")
    with _lock:
        if key not in _sessions:
            session = _made(spark, where, place.metastore)
            with explained(where):
                session.sql("SHOW DATABASES LIKE 'default'").collect()
            _sessions[key] = session
    return _sessions[key]


def _made(spark: SparkSession, where: str, metastore: str | None) -> SparkSession:
    from pyspark.sql import SparkSession

    _check_support(spark, where)
    java: Any = spark._jvm
    options = java.java.util.HashMap()
    options["spark.sql.catalogImplementation"] = "hive"
    if metastore is not None:
        options[_URIS] = metastore
    with explained(where):
        own = SparkSession._get_j_spark_session_class(java)(spark.sparkContext._jsc.sc(), options)
        if (
            not own.sharedState().hadoopConf().get(_URIS, "")
        ):  # Hive would make a metastore of its own, in ./metastore_db
            raise ConfigError(
                f"{where}: nothing says where Hive's metastore is: `metastore` is not set, and Spark's hive-site.xml "
                f"has no {_URIS}.",
                remedy="Set `metastore: thrift://host:port`, or put hive-site.xml into Spark's conf directory.",
            )
        session = SparkSession(spark.sparkContext, own)
        for name, value in spark.conf.getAll.items():
            if session.conf.isModifiable(name):
                session.conf.set(name, value)
        for name, value in _OWN.items():
            session.conf.set(name, value)
    return session


def _check_support(spark: SparkSession, where: str) -> None:
    try:
        java: Any = spark._jvm
        java.java.lang.Thread.currentThread().getContextClassLoader().loadClass(_SUPPORT)
    except (Py4JError, PySparkException):
        raise ConfigError(
            f"{where}: this Spark was built without Hive.",
            remedy="Use a Spark with its Hive jars (pyspark of PyPI has them), or read the table as kind hiveserver2.",
        ) from None


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Raise what Spark and Hive raise as errors of our own."""
    try:
        yield
    except SPARK_ERRORS as error:
        raise meaning(error, where) from None


def meaning(error: BaseException, where: str) -> FedsparkError:
    """What an error of the metastore means; of a query, what it means for any source."""
    text = f"{error}\n{getattr(error, '_stackTrace', '') or ''}"
    if re.search(r"AccessControlException|Permission denied|HiveAccessControlException", text):
        return explain(error, where, KIND)
    if re.search(UNREACHABLE, text) and not re.search("NoSuchObjectException|AlreadyExistsException", text):
        causes = re.findall(r"(?:ConnectException|UnknownHostException|SocketTimeoutException): ([^\n]{1,200})", text)
        remedy = "See that it is up and `metastore` is its address; run the same command again."
        reason = f" ({causes[-1].strip()})" if causes else ""
        return StoreError(f"{where}: Hive's metastore does not answer{reason}.", remedy=remedy)
    return explain(error, where, KIND)


def check_there(session: SparkSession, where: str, place: HivePlace) -> None:
    """TableError unless the database and the table are there, with the one that was meant."""
    databases = [row[0] for row in session.sql("SHOW DATABASES").collect()]
    if place.database.lower() not in databases:
        remedy = meant(place.database, databases, "Correct `database`.")
        raise TableError(f"{where}: there is no database {place.database!r}.", remedy=remedy)
    if not session.catalog.tableExists(full_name(place.database, place.table)):
        listing = session.sql(f"SHOW TABLES IN {quoted(place.database)}").collect()
        tables = [row.tableName for row in listing if not row.isTemporary]
        remedy = meant(place.table, tables, f"Correct `table`; {place.database} has {len(tables)} tables.")
        raise TableError(f"{where}: there is no such table.", remedy=remedy)
