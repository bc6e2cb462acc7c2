"""Which kind of source is read by which function; a file is imported when its kind is first used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fedspark.conf.tables import ColumnsConf
from fedspark.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fedspark.tables.source import Source

READERS = {
    "clickhouse": "fedspark.tables.clickhouse.reader:read",
    "csv": "fedspark.tables.csv:read",
    "hive": "fedspark.tables.hive.reader:read",
    "hiveserver2": "fedspark.tables.hive.slices:read",
    "parquet": "fedspark.tables.parquet:read",
    "mysql": "fedspark.tables.mysql.reader:read",
    "sharded": "fedspark.tables.sharded:read",
    "orc": "fedspark.tables.parquet:read",
    "sqlscript": "fedspark.tables.sqlscript.reader:read",
}


def open_source(spark: SparkSession, name: str, conf: ColumnsConf, directory: Path) -> Source:
    """Read the table ``name`` by its kind. A reader is ``read(spark, name, conf, directory) -> Source``."""
    kind = getattr(conf, "kind", "")
    if kind not in READERS:
        kinds = ", ".join(READERS)
        raise ConfigError(f"Table {name!r}: there is no reader for kind {kind!r}.", remedy=f"Use one of {kinds}.")
    module, function = READERS[kind].split(":")
    source: Source = getattr(import_module(module), function)(spark, name, conf, directory)
    return source
