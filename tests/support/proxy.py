"""A proxy before a database server that loses messages, or holds them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ProxiedConnection:
    """One connection through a proxy."""

    def __init__(
        self, client: socket.socket, server: socket.socket, whole: threading.Event, tells: bool = False
    ) -> None:
        self._client = client
        self._server = server
        self._whole = whole
        self._tells = tells
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, said: bytes) -> None:
        """Send bytes to the server."""
        self._server.sendall(said)

    def cut(self) -> None:
        """Close the connection to the client; that to the server stays open."""
        self._client.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Close the connection to the server, after the sent bytes."""
        self._server.shutdown(socket.SHUT_WR)

    def from_client(self, rule: Callable[[], Callable[[ProxiedConnection, bytes], bool]]) -> None:
        """Pass on the client's bytes, except those that the rule handles."""
        with contextlib.suppress(OSError):  # one of the two has gone
            while said := self._client.recv(1 << 16):
                self._whole.wait()
                if not rule()(self, said):
                    self.send(said)
        if self._tells:
            self._whole.wait()
            with contextlib.suppress(OSError):
                self.end()

    def from_server(self) -> None:
        """Pass on the server's bytes."""
        with contextlib.suppress(OSError):
            while said := self._server.recv(1 << 16):
                self._whole.wait()
                self._client.sendall(said)
        self._whole.wait()
        with contextlib.suppress(OSError):
            self.cut()


class Proxy:
    """A proxy before a server.

    Attributes:
        rule: called in the thread of a connection with the client's bytes; true if the rule has handled them.
        port: the port that it listens on, at 127.0.0.1.

    Args:
        host, port: of the server.
        tells: whether the server's connection is closed when the client closes its own, as that of a killed process is.
    """

    def __init__(self, host: str, port: int, tells: bool = False) -> None:
        self._tells = tells
        self.rule: Callable[[ProxiedConnection, bytes], bool] = lambda connection, said: False
        self._server = (host, port)
        self._whole = threading.Event()
        self._whole.set()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._door.accept()
                try:
                    server = socket.create_connection(self._server)
                except OSError:  # the server is down: its clients hear the same
                    client.close()
                    continue
                connection = ProxiedConnection(client, server, self._whole, self._tells)
                threading.Thread(target=connection.from_client, args=(lambda: self.rule,), daemon=True).start()
                threading.Thread(target=connection.from_server, daemon=True).start()

    def pull(self) -> None:
        """Hold all bytes in both directions, as a cable that was pulled; connections stay open."""
        self._whole.clear()

    def plug_in(self) -> None:
        """Pass on bytes again; those that were sent meanwhile arrive late, as over TCP."""
        self._whole.set()

    def close(self) -> None:
        """Take no more connections."""
        self._door.close()


@contextmanager
def proxy_to(host: str, port: int, tells: bool = False) -> Iterator[Proxy]:
    """A proxy before a server, see ``Proxy``."""
    proxy = Proxy(host, port, tells)
    try:
        yield proxy
    finally:
        proxy.close()
