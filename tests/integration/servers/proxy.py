"""A way to a server that can be cut, at a chosen byte of the answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading


class Proxy:
    """Passes connections on to a port of this machine.

    ``cuts`` are for the next connections, one each: after how many bytes of the server's answers the connection is cut,
    None for never. When they are used up, connections live. With a ``context`` clients have to speak TLS.
    """

    def __init__(self, port: int, context: ssl.SSLContext | None = None) -> None:
        self.cuts: list[int | None] = []
        self.connections = 0
        self._target = port
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                limit = self.cuts.pop(0) if self.cuts else None
                try:
                    if self._context is not None:
                        client = self._context.wrap_socket(client, server_side=True)
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:  # nobody there: so it looks from outside, too
                    client.close()
                    continue
                for source, sink, most in ((client, server, None), (server, client, limit)):
                    threading.Thread(target=_pass, args=(source, sink, most), daemon=True).start()
                del client, server, source, sink


def _pass(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
    left = limit
    with contextlib.suppress(OSError):
        while (left is None or left > 0) and (data := source.recv(65_536 if left is None else min(left, 65_536))):
            sink.sendall(data)
            left = None if left is None else left - len(data)
    for end in (source, sink):  # the other direction notices, and closes too
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
