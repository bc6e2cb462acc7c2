"""A first look at a table on a server without Spark: may we log in, is the table there, does it have the columns?

Tables of a Hive metastore need Spark, and pass: the load step sees them. Of a table in shards the first one is looked
at. Texts are not looked into: they may hold numbers.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from fedspark.conf.tables import ColumnsConf, FileTable, ShardedTable
from fedspark.tables.look import look_at
from fedspark.tables.roles import resolve_roles

_LOOKS = {
    "mysql": "fedspark.tables.mysql.reader",
    "clickhouse": "fedspark.tables.clickhouse.reader",
    "hiveserver2": "fedspark.tables.hive.slices",
}


def look_anywhere(
    name: str, conf: ColumnsConf, directory: Path, *, id_type: str, needs_label: bool = False
) -> str | None:
    """Raise what reading the table ``name`` would: StoreError, ConfigError or TableError. A reason where nothing was
    looked at, else None.

    ``id_type`` and ``needs_label`` are those of ``roles.resolve_roles``.
    """
    if isinstance(conf, ShardedTable):
        conf = conf.shards[0]
    if isinstance(conf, FileTable):
        look_at(name, conf, id_type=id_type, needs_label=needs_label)
        return None
    kind = getattr(conf, "kind", "")
    if kind not in _LOOKS:
        return f"tables of kind {kind} are looked at when they are loaded"
    if find_spec("pyspark") is None:
        return "pyspark is not installed here"
    where, columns = import_module(_LOOKS[kind]).look(name, conf, directory)
    resolve_roles(where, columns, conf, id_type=id_type, needs_label=needs_label)
    return None
