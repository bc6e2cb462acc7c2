"""Hive: `metastore`, `reader` and `writer` through Spark, `server` and `slices` through HiveServer2."""
