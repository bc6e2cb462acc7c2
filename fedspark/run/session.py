"""This party's Spark session: started late, once per process, with checks that name the setting."""

from __future__ import annotations

import logging
import os
import re
import secrets
import sys
from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import TYPE_CHECKING

from fedspark.conf.party_file import OwnConf
from fedspark.conf.secrets import hide_from_java_log, is_secret_key, resolve_settings
from fedspark.errors import ConfigError, StoreError
from fedspark.run.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MINIMUM = (4, 1)
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_JAVA_ENVIRONMENT = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")

# Settings for a session that this process starts on its own machine; a cluster brings its own.
_LOCAL_DEFAULTS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

# On every session: staged tables may hold columns whose names differ by case only.
_ALWAYS = {"spark.sql.caseSensitive": "true"}

# Unless the party file says otherwise. Spark's own pattern lets keys of storage accounts into event logs.
_REDACTED = "spark.redaction.regex"
_REDACTED_KEYS = "(?i)secret|password|token|access[.]?key|account[.]?key|private[.]?key|credential|sas"

# What Java must know when it starts. Of other settings, secret ones come later: pyspark puts these on a command line.
_AT_START = re.compile(r"spark\.(driver|jars|submit|files|archives|pyspark)\b")

# Part tasks carry keys of the run in their closures: on a cluster these must not cross the network in clear.
_CLUSTER_REQUIRED = {
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.io.encryption.enabled": "true",
}


def start_session(conf: OwnConf, name: str) -> SparkSession:
    """The session of the party file's ``spark`` section, or the one that spark-submit prepared.

    ConfigError when pyspark is missing or too old or a cluster lacks encryption; StoreError when Java does not start.
    """
    _check_pyspark()
    from pyspark.sql import SparkSession

    settings = {_REDACTED: _REDACTED_KEYS} | resolve_settings(conf.spark.conf, conf.directory)
    resolved = {key: value for key, value in settings.items() if value != conf.spark.conf.get(key, value)}
    settings[_REDACTED] = "|".join([settings[_REDACTED], *(f"^{re.escape(key)}$" for key in resolved)])
    settings |= _ALWAYS
    hide_from_java_log(resolved.values())
    under_spark_submit = "PYSPARK_GATEWAY_PORT" in os.environ
    builder = SparkSession.builder.appName(name)
    if not under_spark_submit:
        builder = builder.master(conf.spark.master)
        if is_local(conf.spark.master):
            # Workers would otherwise run whatever python3 is first on the PATH, which has none of our packages.
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            settings = _LOCAL_DEFAULTS | settings
            given = settings.get(_JAVA_OPTIONS, "")
            settings[_JAVA_OPTIONS] = f"{_quiet_log()} {_collector(conf.spark.master, given)} {given}".strip()
    for key, value in settings.items():
        builder = builder.config(key, value)
    try:
        if resolved and not under_spark_submit:
            _start_java(
                {"spark.master": conf.spark.master, "spark.app.name": name} | _without_secrets(settings, resolved)
            )
        session = builder.getOrCreate()
    except Exception as error:
        raise StoreError(
            f"Spark did not start (master {conf.spark.master}): {_first_line(error)}",
            remedy="Check that Java 17 or 21 is installed (java -version) and the spark section of the party file.",
        ) from error
    _check_cluster(session)
    session.sparkContext.setLogLevel("ERROR")
    _keep_traces_from_people()
    return session


def _keep_traces_from_people() -> None:
    """PySpark logs a Java stack trace as JSON for a fault in a user's SQL, besides the exception, which says it."""
    from pyspark.logger import PySparkLogger

    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)


def _without_secrets(settings: Mapping[str, str], resolved: Collection[str]) -> dict[str, str]:
    def shown(key: str) -> bool:
        return key not in resolved or (_AT_START.match(key) is not None and not is_secret_key(key))

    return {key: value for key, value in settings.items() if shown(key)}


def _start_java(settings: Mapping[str, str]) -> None:
    """Start the JVM of this process, unless it runs already: with these settings on its command line."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized(conf=SparkConf(loadDefaults=False).setAll([*settings.items()]))


def _quiet_log() -> str:
    """JVM option: log errors only. Spark's own default is a page of warnings about a laptop."""
    return f"-Dlog4j2.configurationFile={files('fedspark.run').joinpath('log4j2.properties').as_uri()}"  # type: ignore[attr-defined]


def _collector(master: str, given: str) -> str:
    """JVM option: the collector of least work for one or two task threads, unless somebody has chosen one.

    Java's default keeps pauses short on many cores, which here only costs: a twelfth of the CPU time of a load.
    """
    chosen = " ".join([given, *(os.environ.get(name, "") for name in _JAVA_ENVIRONMENT)])
    threads = re.match(r"local\[(\d+|\*)", master)
    count = threads.group(1) if threads else "1"
    small = (os.cpu_count() or 1 if count == "*" else int(count)) <= 2
    return "-XX:+UseSerialGC" if small and not re.search(r"-XX:\+Use\w+GC", chosen) else ""


def is_local(master: str) -> bool:
    """Whether all of Spark runs in this one process."""
    return master == "local" or master.startswith("local[")


def in_cluster_mode() -> bool:
    """Whether spark-submit runs this driver inside the cluster, where YARN takes every exit status but 0 for a
    failure.
    """
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return False
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    return SparkConf().get("spark.submit.deployMode", "client") == "cluster"


def probe_executors(session: SparkSession, workspace: Workspace) -> None:
    """StoreError unless driver and executors see each other's files in the workspace.

    Each lays an object and looks for the other's. A directory that every machine has of its own would lose parts.
    """
    if is_local(session.sparkContext.master or ""):
        return
    nonce = secrets.token_hex(8)
    mine, theirs = f"probes/{nonce}-driver", f"probes/{nonce}-executor"
    workspace.create(mine, b"driver")

    def look(_: int) -> bool:
        workspace.create(theirs, b"executor")
        return workspace.exists(mine)

    seen = session.sparkContext.parallelize([0], 1).map(look).collect()[0]
    if not seen or not workspace.exists(theirs):
        raise StoreError(
            f"Driver and executors do not share {workspace.url('')}: "
            f"{'the driver' if seen else 'an executor'} does not see what the other one wrote.",
            remedy="Set workspace.files in the party file to a mount that all of them have, or to an object store.",
        )
    for path in (mine, theirs):
        workspace.store.delete(workspace.name(path))


def _check_pyspark() -> None:
    try:
        import pyspark
    except ImportError:
        raise ConfigError(
            "pyspark is not installed, and this step needs it.", remedy="Install fedspark[spark]."
        ) from None
    version = tuple(int(part) for part in pyspark.__version__.split(".")[:2])
    if version < _MINIMUM:
        raise ConfigError(
            f"pyspark {pyspark.__version__} is too old: fedspark needs {'.'.join(map(str, _MINIMUM))} or newer.",
            remedy="Install fedspark[spark].",
        )


def _check_cluster(session: SparkSession) -> None:
    settings = session.sparkContext.getConf()
    master = settings.get("spark.master", "") or ""
    if is_local(master):
        return
    missing = [key for key, value in _CLUSTER_REQUIRED.items() if settings.get(key, "false") != value]
    if missing:
        session.stop()
        raise ConfigError(
            f"Spark at {master} would send tasks that carry keys of the run in clear: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not true.",
            remedy="Set them under spark.conf in the party file, or give them to spark-submit with --conf.",
        )


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
