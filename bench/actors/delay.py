"""A network that takes its time: ``python -m bench.actors.delay PORT SECONDS`` forwards to a port of this machine.

What either side says arrives so many seconds later, in order, however much it is. It prints its own port, and ends when
its standard input does.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet import stdio
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure

reactor: Any = _reactor


class _End(Protocol):
    """One side of a connection."""

    other: _End | None = None
    delay_s = 0.0

    def __init__(self) -> None:
        self.early: list[bytes] = []

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        for data in self.early:
            transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        reactor.callLater(self.delay_s, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.other.early.append(data)
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class _Door(Factory):
    noisy = False

    def __init__(self, port: int, delay_s: float) -> None:
        self._port, self._delay_s = port, delay_s

    def buildProtocol(self, addr: Any) -> Protocol:
        near, far = _End(), _End()
        near.other, far.other = far, near
        near.delay_s = far.delay_s = self._delay_s
        client = ClientFactory.forProtocol(lambda: far)
        client.noisy = False
        reactor.connectTCP("127.0.0.1", self._port, client)
        return near


class _Parent(Protocol):
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if reactor.running:
            reactor.stop()


def main() -> None:
    """Forward until whoever started this has gone."""
    port = reactor.listenTCP(0, _Door(int(sys.argv[1]), float(sys.argv[2])), backlog=4096, interface="127.0.0.1")
    stdio.StandardIO(_Parent())
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
