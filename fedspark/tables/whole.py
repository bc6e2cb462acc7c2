"""Sources as they are: every column in its own type, and partitions that are the same ones whenever they are opened.

What a column holds is told by a *meaning*: int8 to int64, uint8 to uint64, float32, float64, decimal(digits,scale),
boolean, date, timestamp, text, bytes; nothing for a type that has none of these.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from py4j.java_gateway import is_instance_of  # type: ignore[import-untyped]

from fedspark.conf.tables import ColumnsConf, SqlScriptTable
from fedspark.conf.tables.sharded import ShardedTable
from fedspark.errors import ConfigError, TableError
from fedspark.tables.registry import open_source
from fedspark.tables.roles import Column
from fedspark.tables.source import Source, locate, own_session, reading

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame, SparkSession

_SLICES = 8
_SHARDED_SLICES = 64
_SPARK = {
    "tinyint": "int8",
    "smallint": "int16",
    "int": "int32",
    "bigint": "int64",
    "float": "float32",
    "double": "float64",
    "boolean": "boolean",
    "string": "text",
    "char": "text",
    "varchar": "text",
    "binary": "bytes",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp",
}
_DECLARED = {
    "integer": "int64",
    "double": "float64",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
_FILE_SPLIT = "org.apache.hadoop.mapred.FileSplit"


@dataclass(frozen=True)
class Whole:
    """A source and, of the columns that are not ignored, each with its meaning. ``slices`` opens it again alike.

    Those named in ``unread`` are of types that the source does not hand over, not even as text.
    """

    source: Source
    columns: tuple[tuple[Column, str], ...]
    slices: int
    unread: frozenset[str] = frozenset()

    def frame(self, texts: Collection[str] = ()) -> DataFrame:
        """The columns v0, v1, ..., those named in ``texts`` as text, and ``malformed`` where lines are checked.

        TableError when one of them is ``unread``: it would be null in every row.
        """
        from pyspark.sql import functions as F  # noqa: N812 - its usual name

        for column, _ in self.columns:
            if column.name in self.unread:
                problem = f"{self.source.where}: column {column.name!r} of type {column.type} cannot be read."
                raise TableError(problem, remedy="Add it to `ignore` of the table.")
        frame = self.source.frame
        if self.source.skips_lines:
            frame = frame.where(~F.col("malformed"))
        values = [_value(frame, column, column.name in texts).alias(f"v{k}")
                  for k, (column, _) in enumerate(self.columns)]  # fmt: skip
        return frame.select(*values, *(["malformed"] if self.source.checks_lines else []))


def open_whole(spark: SparkSession, name: str, conf: ColumnsConf, directory: Path, slices: int | None) -> Whole:
    """The table ``name`` of a party file in ``directory``, in about so many slices; whoever opens it, they are the
    same ones as long as the source is. Raises as readers do.
    """
    if conf.kind == "clickhouse":
        raise TableError(
            f"Table {name!r}: its rows are in ClickHouse already.",
            remedy="Copy them there: INSERT INTO ... SELECT * FROM remote('host:port', ...).",
        )
    if "hiveserver2" in (conf.kind, *(shard.kind for shard in _shards(conf))):
        raise ConfigError(
            f"Table {name!r}: kind hiveserver2 reads the columns of a model, as numbers and texts, not whole tables as "
            "they are.",
            remedy="For an import, name the same table as kind hive, which reads its files: `kind: hive` and "
            "`metastore: thrift://host:port` in place of host, port, user, auth, password and ca.",
        )
    session = own_session(spark)
    shards = len(_shards(conf)) or 1
    wanted = _in_slices(conf, slices or (_SHARDED_SLICES if shards > 1 else None))
    files = max(1, (slices or _SLICES) // shards)
    _prepare(session, files)
    source = open_whole_source(session, name, wanted, directory)
    _prepare(source.frame.sparkSession, files)  # Hive's is another one
    columns = tuple(
        (column, meaning(conf, source, column)) for column in source.columns if column.name not in conf.ignore
    )
    if slices is None and shards == 1 and "slices" in type(conf).model_fields:
        slices = source.frame.rdd.getNumPartitions()
    unread = frozenset(column.name for column, means in columns if not means and not _handed_over(conf, source, column))
    return Whole(source, columns, slices or (_SHARDED_SLICES if shards > 1 else _SLICES), unread)


def _shards(conf: ColumnsConf) -> list[ColumnsConf]:
    return list(conf.shards) if isinstance(conf, ShardedTable) else []


def _handed_over(conf: ColumnsConf, source: Source, column: Column) -> bool:
    """Whether the values of a column without a meaning are there: of MySQL, its place in the frame holds nothing."""
    kind = next((shard.kind for shard in _shards(conf)), conf.kind)
    return kind != "mysql" and f"c{column.position}" in source.frame.columns


def open_whole_source(spark: SparkSession, name: str, conf: ColumnsConf, directory: Path) -> Source:
    """As `open_source`, by the kind's function for whole tables where it has one of its own."""
    if isinstance(conf, ShardedTable):
        from fedspark.tables import sharded

        return sharded.read(spark, name, conf, directory, open_whole_source)
    if conf.kind == "mysql":
        from fedspark.tables.mysql import whole

        return whole.read(spark, name, conf, directory)
    return open_source(spark, name, conf, directory)


def meaning(conf: ColumnsConf, source: Source, column: Column) -> str:
    """What the column holds."""
    kind = next((shard.kind for shard in _shards(conf)), conf.kind)
    if kind == "mysql":
        from fedspark.tables.mysql import whole

        return whole.meaning(column.type)
    field = next((field for field in source.frame.schema if field.name == f"c{column.position}"), None)
    if field is None:
        return ""
    if column.read_as_text:
        return _DECLARED.get(column.cast or "", "text")
    found = field.dataType.simpleString()
    return found if found.startswith("decimal(") else _SPARK.get(found.partition("(")[0], "")


def partitions_of(spark: SparkSession, conf: ColumnsConf, directory: Path, frame: DataFrame) -> list[str]:
    """What every partition of a frame reads: files with their sizes and times, conditions of a query. All differ.

    Of partitions of which that is not known, as those of a view that joins tables, it is another one every time: what
    was read of them is not taken for a part of what is read later.
    """
    java: Any = frame._jdf
    with reading("The source", conf.kind):
        partitions = java.queryExecution().toRdd().partitions()
        if isinstance(conf, SqlScriptTable):
            files = spark.read.format("binaryFile").load(locate(conf.path, directory))
            found = sorted(map(str, files.select("path", "length", "modificationTime").collect()))
            texts = [f"{place} of {found}" for place, _ in enumerate(partitions)]
        else:
            texts = [_reads(spark, partition) for partition in partitions]
    seen: Counter[str] = Counter()
    for place, text in enumerate(texts):
        texts[place] = f"{seen[text]}: {text}"
        seen[text] += 1
    return texts


def _reads(spark: SparkSession, partition: Any) -> str:
    kind = partition.getClass().getSimpleName()
    if kind == "UnionPartition":
        return _reads(spark, partition.parentPartition())
    if kind == "FilePartition":
        return "; ".join(f"{file.toString()} {file.fileSize()} {file.modificationTime()}" for file in partition.files())
    if kind == "JDBCPartition":
        return str(partition.whereClause())
    split = partition.inputSplit().value() if kind == "HadoopPartition" else None
    if split is not None and is_instance_of(spark.sparkContext._gateway, split, _FILE_SPLIT):
        settings: Any = spark.sparkContext._jsc
        file = split.getPath().getFileSystem(settings.hadoopConfiguration()).getFileStatus(split.getPath())
        return f"{split.toString()} {file.getLen()} {file.getModificationTime()}"
    return f"{kind} {partition.index()} {secrets.token_hex(16)}"


def _in_slices(conf: ColumnsConf, slices: int | None) -> ColumnsConf:
    """The table with that many slices where it says how many it has; in all its shards together."""
    if slices is None:
        return conf
    if isinstance(conf, ShardedTable):
        each = max(1, slices // len(conf.shards))
        return conf.model_copy(update={"shards": [_in_slices(shard, each) for shard in conf.shards]})
    return conf.model_copy(update={"slices": slices}) if "slices" in type(conf).model_fields else conf


def _prepare(session: SparkSession, slices: int) -> None:
    """Let files be cut by their sizes alone, whatever the cluster's, and times become text in UTC."""
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.conf.set("spark.sql.files.minPartitionNum", str(slices))


def _value(frame: DataFrame, column: Column, as_text: bool) -> Expression:
    from pyspark.sql import functions as F  # noqa: N812 - its usual name

    name = f"c{column.position}"
    if not as_text:
        return F.col(name)
    nested = frame.schema[name].dataType.typeName() in ("struct", "array", "map")
    return F.to_json(F.col(name)) if nested else F.col(name).cast("string")
