"""Sources as they are: every column in its own type, and partitions that are the same ones whenever they are opened.

What a column holds is told by a *meaning*: int8 to int64, uint8 to uint64, float32, float64, decimal(digits,scale),
boolean, date, timestamp, text, bytes; nothing for a type that has none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedspark.conf.tables import ColumnsConf, SqlScriptTable
from fedspark.conf.tables.sharded import ShardedTable
from fedspark.errors import TableError
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
_DECLARED = {"integer": "int64", "double": "float64", "date": "date"}


@dataclass(frozen=True)
class Whole:
    """A source and, of the columns that are not ignored, each with its meaning. ``slices`` opens it again alike."""

    source: Source
    columns: tuple[tuple[Column, str], ...]
    slices: int

    def frame(self, texts: Collection[str] = ()) -> DataFrame:
        """The columns v0, v1, ..., those named in ``texts`` as text, and ``malformed`` where lines are checked."""
        from pyspark.sql import functions as F  # noqa: N812 - its usual name

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
    session = own_session(spark)
    shards = len(conf.shards) if isinstance(conf, ShardedTable) else 1
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
    return Whole(source, columns, slices or (_SHARDED_SLICES if shards > 1 else _SLICES))


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
    kind = conf.shards[0].kind if isinstance(conf, ShardedTable) else conf.kind
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
    """What every partition of a frame reads: files with their sizes and times, conditions of a query. All differ."""
    java: Any = frame._jdf
    with reading("The source", conf.kind):
        texts = [_reads(partition) for partition in java.queryExecution().toRdd().partitions()]
        if isinstance(conf, SqlScriptTable):
            files = spark.read.format("binaryFile").load(locate(conf.path, directory))
            listed = files.select("path", "length", "modificationTime").collect()
            texts = [f"{text} of {sorted(map(str, listed))}" for text in texts]
    seen: Counter[str] = Counter()
    for place, text in enumerate(texts):
        texts[place] = f"{seen[text]}: {text}"
        seen[text] += 1
    return texts


def _reads(partition: Any) -> str:
    kind = partition.getClass().getSimpleName()
    if kind == "UnionPartition":
        return _reads(partition.parentPartition())
    if kind == "FilePartition":
        return "; ".join(f"{file.toString()} {file.fileSize()} {file.modificationTime()}" for file in partition.files())
    if kind == "JDBCPartition":
        return str(partition.whereClause())
    if kind == "HadoopPartition":
        return str(partition.inputSplit().value().toString())
    return f"{kind} {partition.index()}"


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
    if name not in frame.columns:
        return F.lit(None).cast("string")
    if not as_text:
        return F.col(name)
    nested = frame.schema[name].dataType.typeName() in ("struct", "array", "map")
    return F.to_json(F.col(name)) if nested else F.col(name).cast("string")
