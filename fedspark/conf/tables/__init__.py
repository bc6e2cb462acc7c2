"""Tables of a party: where one lies, and what its columns are. One model per kind of source, one file per family."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fedspark.conf.tables.clickhouse import ClickHouseSink, ClickHouseTable
from fedspark.conf.tables.columns import ColumnsConf
from fedspark.conf.tables.files import CsvTable, FileTable, OrcTable, ParquetTable, SqlScriptTable
from fedspark.conf.tables.hive import HiveServer2Table, HiveSink, HiveTable
from fedspark.conf.tables.mysql import MysqlSink, MysqlTable
from fedspark.conf.tables.sharded import ShardedTable
from fedspark.conf.tables.sinks import SinkConf

AnyTable = (
    CsvTable
    | ParquetTable
    | OrcTable
    | SqlScriptTable
    | HiveTable
    | HiveServer2Table
    | MysqlTable
    | ClickHouseTable
    | ShardedTable
)
TableConf = Annotated[AnyTable, Field(discriminator="kind")]

TABLE_KINDS: dict[str, type[AnyTable]] = {
    "csv": CsvTable,
    "parquet": ParquetTable,
    "orc": OrcTable,
    "sqlscript": SqlScriptTable,
    "hive": HiveTable,
    "hiveserver2": HiveServer2Table,
    "mysql": MysqlTable,
    "clickhouse": ClickHouseTable,
    "sharded": ShardedTable,
}

AnySink = MysqlSink | ClickHouseSink | HiveSink
OneSink = Annotated[AnySink, Field(discriminator="kind")]

SINK_KINDS: dict[str, type[AnySink]] = {"mysql": MysqlSink, "clickhouse": ClickHouseSink, "hive": HiveSink}

__all__ = [
    "SINK_KINDS",
    "TABLE_KINDS",
    "AnySink",
    "AnyTable",
    "ClickHouseSink",
    "ClickHouseTable",
    "ColumnsConf",
    "CsvTable",
    "FileTable",
    "HiveServer2Table",
    "HiveSink",
    "HiveTable",
    "MysqlSink",
    "MysqlTable",
    "OneSink",
    "OrcTable",
    "ParquetTable",
    "ShardedTable",
    "SinkConf",
    "SqlScriptTable",
    "TableConf",
]
