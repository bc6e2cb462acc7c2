"""A ClickHouse server of one's own: Debian's 18.16, on free ports, in a private directory, with one user."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.integration.servers.debian import found_or_installed
from tests.integration.servers.ports import free_port

USER = "fed"
PASSWORD = "pw-7c1e5a90d2"

_CONFIG = """<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><log>{dir}/server.log</log><errorlog>{dir}/errors.log</errorlog></logger>
  <http_port>{http}</http_port>
  <tcp_port>{port}</tcp_port>
  <listen_host>127.0.0.1</listen_host>
  <path>{dir}/data/</path>
  <tmp_path>{dir}/tmp/</tmp_path>
  <format_schema_path>{dir}/format_schemas/</format_schema_path>
  <users_config>{dir}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>67108864</mark_cache_size>
  <mlock_executable>false</mlock_executable>
</yandex>
"""
_USERS = """<?xml version="1.0"?>
<yandex>
  <profiles>
    <default>
      <max_memory_usage>2000000000</max_memory_usage>
      <allow_experimental_low_cardinality_type>1</allow_experimental_low_cardinality_type>
    </default>
    <readonly><readonly>1</readonly></readonly>
  </profiles>
  <users>
    <{user}>
      <password>{password}</password>
      <networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile>
      <quota>default</quota>
    </{user}>
  </users>
  <quotas><default></default></quotas>
</yandex>
"""


class ClickHouse:
    """A server that ``start`` starts and ``stop`` stops, as often as one likes; its tables stay in ``directory``."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("data", "tmp", "format_schemas"):
            (directory / name).mkdir(parents=True)
        config = _CONFIG.format(dir=directory, http=free_port(), port=self.port)
        (directory / "config.xml").write_text(config)
        (directory / "password").write_text(PASSWORD)
        (directory / "password").chmod(0o600)
        (directory / "users.xml").write_text(_USERS.format(user=USER, password=PASSWORD))

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "out").open("ab") as out:
            command = [self._binary, f"--config-file={self.directory / 'config.xml'}"]
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + 30
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"ClickHouse did not start: {(self.directory / 'out').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal and wait until it is gone."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self._process.wait(timeout=30)
            self._process = None

    def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """What the server answers to one statement."""
        client = self._client(**options.pop("client", {}))
        try:
            return client.execute(query, *args, **options)
        finally:
            client.disconnect()

    def conf(self, **more: Any) -> dict[str, Any]:
        """The keys of a party file's table that say where the server is; the password is in a file."""
        # In the environment it would have to be before the session's Spark is started.
        place = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": USER,
            "password": f"file:{self.directory / 'password'}",
        }
        return {"kind": "clickhouse", **place, **more}

    def _client(self, **settings: Any) -> Any:
        from clickhouse_driver import Client

        return Client("127.0.0.1", port=self.port, user=USER, password=PASSWORD, settings=settings)

    def _answers(self) -> bool:
        from clickhouse_driver.errors import NetworkError

        try:
            return bool(self.execute("SELECT 1"))
        except (NetworkError, EOFError, OSError):
            return False


def clickhouse_binary() -> str:
    """The server's program, installed if it may be; a skip with the reason where it cannot be had."""
    return found_or_installed("clickhouse-server", "clickhouse-server", "/usr/sbin/clickhouse-server")
