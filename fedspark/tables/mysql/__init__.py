"""MySQL and MariaDB: `reader` for Spark, `writer` for tasks, both on `server`."""
