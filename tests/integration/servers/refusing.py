"""A server that begins the log-in of HiveServer2 and refuses all passwords, as one with LDAP refuses wrong ones."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_BAD = 3
_ANSWER = b"Error validating the login"


class Refusing:
    """Listens on ``port``; ``heard`` is what clients sent, the mechanism and what proves who they are."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with contextlib.suppress(OSError, struct.error), client, client.makefile("rwb") as stream:
                    for _ in range(2):
                        _, length = struct.unpack(">BI", stream.read(5))
                        self.heard.append(stream.read(length))
                    stream.write(struct.pack(">BI", _BAD, len(_ANSWER)) + _ANSWER)
