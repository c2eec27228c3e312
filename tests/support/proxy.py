"""A way to a database server on which things get lost, or stand still."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Way:
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
        """Tell the server."""
        self._server.sendall(said)

    def cut(self) -> None:
        """Hang up on the client; the server does not know yet."""
        self._client.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """Let the server know that nobody is there any more, after what it was told."""
        self._server.shutdown(socket.SHUT_WR)

    def from_client(self, rule: Callable[[], Callable[[Way, bytes], bool]]) -> None:
        """Pass on what the client says, but for what the rule takes."""
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
        """Pass on what the server says."""
        with contextlib.suppress(OSError):
            while said := self._server.recv(1 << 16):
                self._whole.wait()
                self._client.sendall(said)
        self._whole.wait()
        with contextlib.suppress(OSError):
            self.cut()


class Proxy:
    """Stands before a server.

    Attributes:
        rule: called in the thread of a way with what its client says; true if it has dealt with that itself.
        port: where it listens, on 127.0.0.1.

    Args:
        host, port: of the server.
        tells: whether the server hears that a client has hung up, as it does of a process that is killed.
    """

    def __init__(self, host: str, port: int, tells: bool = False) -> None:
        self._tells = tells
        self.rule: Callable[[Way, bytes], bool] = lambda way, said: False
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
                way = Way(client, server, self._whole, self._tells)
                threading.Thread(target=way.from_client, args=(lambda: self.rule,), daemon=True).start()
                threading.Thread(target=way.from_server, daemon=True).start()

    def pull(self) -> None:
        """Pull the cable: nothing arrives any more, in neither direction, and nobody is told."""
        self._whole.clear()

    def plug_in(self) -> None:
        """Put the cable back: what was sent meanwhile arrives late, as TCP has it."""
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
