"""A MariaDB server of one's own: on a free port, in a private directory, with one user and one database."""

from __future__ import annotations

import datetime
import getpass
import ipaddress
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.servers.debian import file_found_or_installed, found_or_installed
from tests.integration.servers.ports import free_port

USER = "fed"
PASSWORD = "pw-5be08d41f3"  # of a server that lives as long as the tests
DATABASE = "fed"


class MariaDB:
    """A server that ``start`` starts and ``stop`` stops, as often as one likes; its tables stay in ``directory``."""

    def __init__(self, binary: str, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "tmp").mkdir()
        self.ca = directory / "ca.pem"
        make_certificate(directory)
        install = found_or_installed("mariadb-server", "mariadb-install-db")
        subprocess.run(
            [install, "--no-defaults", f"--datadir={directory}/data", f"--user={getpass.getuser()}",
             "--auth-root-authentication-method=normal", "--skip-test-db"],
            check=True, capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.start()
        for host in ("127.0.0.1", "localhost"):
            self._as_root(f"CREATE USER '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}'")
            self._as_root(f"GRANT ALL ON `{DATABASE}%`.* TO '{USER}'@'{host}'")
            self._as_root(f"GRANT PROCESS, CONNECTION ADMIN ON *.* TO '{USER}'@'{host}'")
        self._as_root(f"CREATE DATABASE {DATABASE}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {
            "datadir": "data", "socket": "socket", "pid-file": "pid", "tmpdir": "tmp",
            "ssl-ca": "ca.pem", "ssl-cert": "server.pem", "ssl-key": "key.pem",
        }  # fmt: skip
        command = [
            self._binary,
            "--no-defaults",
            *(f"--{key}={self.directory / name}" for key, name in options.items()),
        ]
        command += [f"--user={getpass.getuser()}", f"--port={self.port}", "--bind-address=127.0.0.1"]
        command += ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"]
        command += ["--character-set-server=utf8mb4"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MariaDB did not start: {(self.directory / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal and wait until it is gone."""
        if self._process is not None:
            os.kill(self._process.pid, how)
            self._process.wait(timeout=60)
            self._process = None

    def execute(self, sql: str, rows: Sequence[Sequence[Any]] | None = None) -> list[tuple[Any, ...]]:
        """Rows of a statement; with ``rows``, an INSERT of them."""
        import pymysql

        with (
            pymysql.connect(
                host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, database=DATABASE, charset="utf8mb4"
            ) as connection,
            connection.cursor() as cursor,
        ):
            if rows is None:
                cursor.execute(sql)
            else:
                cursor.executemany(sql, rows)
            connection.commit()
            return list(cursor.fetchall())

    def conf(self, **more: Any) -> dict[str, Any]:
        """The keys of a party file's table that say where the server is; the password is in the environment."""
        os.environ["FEDSPARK_TEST_MARIADB"] = PASSWORD
        place = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": "env:FEDSPARK_TEST_MARIADB"}
        return {"kind": "mysql", **place, "database": DATABASE, **more}

    def _as_root(self, sql: str) -> None:
        import pymysql

        with (
            pymysql.connect(unix_socket=str(self.directory / "socket"), user="root") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)

    def _answers(self) -> bool:
        import pymysql

        try:
            with socket.create_connection(("127.0.0.1", self.port)):  # PyMySQL leaves sockets open that do not connect
                pass
            self._as_root("SELECT 1")
        except (pymysql.MySQLError, OSError):
            return False
        return True


def mariadb_binary() -> str:
    """The server's program, and Connector/J, installed if they may be; a skip with the reason where that fails."""
    file_found_or_installed("libmariadb-java", "/usr/share/java/mariadb-java-client.jar")
    return found_or_installed("mariadb-server", "mariadbd")


def make_certificate(directory: Path) -> None:
    """An authority and a certificate for 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)

    def signed(name: str, key: Any, issuer: str, by: Any, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(
            issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - datetime.timedelta(hours=1),
            not_valid_after=now + datetime.timedelta(days=1),
        )
        certificate = builder.add_extension(extension, critical=False).sign(by, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    own = x509.BasicConstraints(ca=True, path_length=None)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    (directory / "ca.pem").write_bytes(signed("tests", authority, "tests", authority, own))
    (directory / "server.pem").write_bytes(signed("server", server, "tests", authority, address))
    key = server.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "key.pem").write_bytes(key)
