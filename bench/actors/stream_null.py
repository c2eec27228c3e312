"""The null server: ``python -m bench.actors.stream_null PORT``.

Twisted's TCP server that writes one prepared frame to each of its clients, and a loop that calls each consumer. It
takes what clients of the others send for what it is by its first bytes, and stores nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from threading import Thread
from typing import Any

from twisted.internet.defer import succeed
from twisted.internet.protocol import Factory, Protocol

from bench.actors.lines import Lines
from bench.actors.stream import KEY, MESSAGE, Jobs, obeys, reactor

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_OK = b"\x81\x02{}"


class Connection(Protocol):
    """A client."""

    def dataReceived(self, data: bytes) -> None:
        """The handshake, another request, or the command of a client."""
        assert self.transport is not None
        if data.startswith(b"GET /ws"):
            self.transport.setTcpNoDelay(True)  # type: ignore[attr-defined]
            self.transport.write(_UPGRADED)
        elif data.startswith(b"GET "):
            self.transport.write(_EMPTY)
        else:
            NullJobs.clients[self.transport] = None
            self.transport.write(_OK)

    def connectionLost(self, reason: Any = None) -> None:
        """The client is gone."""
        NullJobs.clients.pop(self.transport, None)


class NullJobs(Jobs):
    """The least that can be done for each job."""

    clients: dict[Any, None] = {}

    def __init__(self) -> None:
        super().__init__()
        self._consumers_of: list[Callable[..., Any]] = []
        text = b'{"k":"builds/1/update","m":{' + b"x" * 330 + b"}}"
        self._frame = b"\x81\x7e" + len(text).to_bytes(2, "big") + text

    async def consume(self, key: tuple[str | None, ...]) -> Callable[[], Any]:
        """As ``Jobs.consume``: those that do not match are not looked at."""
        if key[0] != KEY[0]:
            return lambda: None
        self._consumers_of.append(self._hear)
        return lambda: self._consumers_of.remove(self._hear)

    def dispatch(self) -> None:
        """As ``Jobs.dispatch``."""
        for consumer in self._consumers_of:
            consumer(KEY, MESSAGE)

    def produce(self, key: tuple[str, ...], message: Any) -> Awaitable[Any]:
        """As ``Jobs.produce``."""
        self.dispatch()
        return succeed(None)

    def update(self, text: str) -> Awaitable[Any]:
        """As ``Jobs.update``."""
        for transport in self.clients:
            transport.write(self._frame)
        return succeed(None)


def main(port: int) -> None:
    """Listen and answer until the other side closes."""
    lines, factory = Lines(), Factory()
    factory.protocol = Connection
    obey = obeys(NullJobs(), lines)
    reactor.listenTCP(port, factory, backlog=1024, interface="127.0.0.1")

    def read() -> None:
        for command in lines.commands():
            reactor.callFromThread(obey, **command)
        os._exit(0)

    def begin() -> None:
        lines.reply({"pid": os.getpid()})
        Thread(target=read, daemon=True).start()

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
