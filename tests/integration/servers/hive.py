"""A Hive metastore, and a server that speaks the protocol of HiveServer2, both from the jars that pyspark brings.

The metastore is Hive's own service (2.3.10) on Derby; the other one is Spark's Thrift server, on that metastore. Free
ports, a private directory, little memory.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.integration.servers.ports import free_port

USER = "fed"
DATABASE = "fed"

_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_OPEN = tuple(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "net", "nio", "util"))
_SITE = {
    "javax.jdo.option.ConnectionURL": "jdbc:derby:;databaseName={dir}/metastore_db;create=true",
    "datanucleus.schema.autoCreateAll": "true",
    "datanucleus.connectionPoolingType": "DBCP",
    "hive.metastore.schema.verification": "false",
    "hive.metastore.warehouse.dir": "file://{dir}/warehouse",
    "hive.metastore.client.capability.check": "false",
    "hive.metastore.event.db.notification.api.auth": "false",
    "hive.async.log.enabled": "false",
}


class _Java:
    """A Java program that listens on ``port``."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.port = directory, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, command: list[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("SPARK_", "HIVE_"))}
        environment |= {
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_HOME": str(spark_home()),
        }
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.directory, env=environment, stdout=log, stderr=log)

    def _wait(self) -> None:
        """Until somebody listens on the port."""
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                running = self._process is not None and self._process.poll() is None
                if not running or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self} did not start: {(self.directory / 'log').read_text()[-3000:]}"
                    ) from None
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """End it and wait until it is gone. What they keep is thrown away: no time for an orderly end."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=60)
            self._process = None


class Metastore(_Java):
    """Hive's metastore service."""

    def start(self) -> None:
        """Start it and wait until it answers."""
        site = "".join(
            f"<property><name>{key}</name><value>{value.format(dir=self.directory)}</value></property>\n"
            for key, value in _SITE.items()
        )
        (self.directory / "hive-site.xml").write_text(f"<configuration>\n{site}</configuration>\n")
        classes = f"{self.directory}:{spark_home()}/jars/*"
        options = ["-Xmx256m", *_SMALL, *_OPEN, f"-Dderby.system.home={self.directory}"]
        main = ["org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", str(self.port)]
        self._run(["java", *options, "-cp", classes, *main])
        self._wait()

    @property
    def uri(self) -> str:
        """As party files name it."""
        return f"thrift://127.0.0.1:{self.port}"

    def conf(self, **more: Any) -> dict[str, Any]:
        """The keys of a party file's table that say where it is."""
        return {"kind": "hive", "metastore": self.uri, "database": DATABASE, **more}


class HiveServer2(_Java):
    """Spark's Thrift server, which knows the tables of a metastore."""

    def __init__(self, directory: Path, metastore: Metastore) -> None:
        super().__init__(directory)
        self._metastore = metastore

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "spark.master": "local[2]",
            "spark.ui.enabled": "false",
            "spark.driver.memory": "512m",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.extraJavaOptions": " ".join(_SMALL),
            "spark.sql.warehouse.dir": str(self._metastore.directory / "warehouse"),
            "spark.sql.shuffle.partitions": "1",
            "spark.sql.session.timeZone": "UTC",
            "spark.local.dir": str(self.directory / "local"),
            "spark.hadoop.hive.metastore.uris": self._metastore.uri,
            "spark.hadoop.hive.server2.thrift.port": str(self.port),
            "spark.hadoop.hive.server2.thrift.bind.host": "127.0.0.1",
            "spark.hadoop.hive.server2.authentication": "NONE",
        }
        main = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"
        conf = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
        submit = str(spark_home() / "bin" / "spark-submit")
        self._run([submit, "--class", main, *conf, "spark-internal"])
        self._wait()

    def conf(self, **more: Any) -> dict[str, Any]:
        """The keys of a party file's table that say where it is."""
        place = {"host": "127.0.0.1", "port": self.port, "user": USER, "database": DATABASE}
        return {"kind": "hiveserver2", **place, **more}

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """What PyHive, and nothing of ours, gets for the last of the statements."""
        from pyhive import hive

        connection = hive.connect("127.0.0.1", port=self.port, username=USER, auth="NONE")
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()


def spark_home() -> Path:
    """Where pyspark is installed."""
    import pyspark

    return Path(pyspark.__file__).parent
