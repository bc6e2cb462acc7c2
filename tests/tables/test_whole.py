"""Sources as they are: what cannot be one is told, and partitions are known again only where it is known what they
read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedspark.conf.tables import CsvTable, HiveServer2Table, ParquetTable, ShardedTable
from fedspark.errors import ConfigError
from fedspark.tables.whole import open_whole, partitions_of

SERVER = {"kind": "hiveserver2", "host": "h", "user": "u", "table": "t"}


@pytest.mark.parametrize(
    "conf",
    [
        HiveServer2Table.model_validate({**SERVER, "id": ["id"]}),
        ShardedTable.model_validate({"kind": "sharded", "id": ["id"], "shards": [{**SERVER, "table": "t_{0..1}"}]}),
    ],
)
def test_what_hiveserver2_hands_over_is_no_whole_table(conf: Any) -> None:
    with pytest.raises(ConfigError, match=r"'people': kind hiveserver2 reads the columns of a model.*`kind: hive`"):
        open_whole(None, "people", conf, Path(), None)  # type: ignore[arg-type] - before anything is opened


@pytest.mark.spark
def test_partitions_of_files_are_known_again_and_those_of_a_query_are_not(spark: Any, tmp_path: Path) -> None:
    spark.range(10).write.parquet(str(tmp_path / "t"))
    conf = ParquetTable(path=str(tmp_path / "t"), id=["id"])
    files = spark.read.parquet(str(tmp_path / "t"))
    seen = [partitions_of(spark, conf, tmp_path, files) for _ in range(2)]
    assert seen[0] == seen[1] != []
    queries = files.groupBy("id").count()
    seen = [partitions_of(spark, conf, tmp_path, queries) for _ in range(2)]
    assert not set(seen[0]) & set(seen[1])


@pytest.mark.spark
def test_columns_of_csv_have_the_types_that_are_declared(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,b,c,d,e,f,g\n1,x,1,1,1,1,1\n")
    types = {"b": "string", "c": "integer", "d": "double", "e": "boolean", "f": "timestamp", "g": "decimal"}
    whole = open_whole(spark, "people", CsvTable(path=str(tmp_path / "t.csv"), id=["id"], types=types), tmp_path, None)
    assert [means for _, means in whole.columns] == ["text", "text", "int64", "float64", "boolean", "timestamp", "text"]
