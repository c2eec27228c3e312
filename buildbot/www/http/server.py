"""The HTTP/1.1 server: the factory of its connections, and the state that they share.

``connection`` is one client, ``parser`` reads requests, ``head`` writes the heads of answers. Once a second the server
looks at all connections and ends those that take too long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall

from buildbot.util.descriptors import share
from buildbot.www.http.connection import Connection, Upgrades
from buildbot.www.http.messages import Request, Response
from buildbot.www.http.parser import Bodies

#: how long answers in progress may take when the server stops
GRACE_S = 2.0
#: seconds between two checks of the deadlines
SWEEP_S = 1.0
#: connections, WebSockets included: a share of the descriptors, since workers, files and the database need some too
CONNECTIONS_PART, MAX_CONNECTIONS = 0.5, 20_000

Handler = Callable[[Request], Awaitable[Response]]
#: makes a response of a status and a text
Refusal = Callable[[int, str], Response]


class HttpServer(ServerFactory):
    """Hands every request to ``handler``, and WebSocket handshakes to ``sockets``.

    ``refusal`` makes the answers to requests that reach no handler, and to those whose handler fails.
    """

    noisy = False

    def __init__(self, reactor: IReactorTime, handler: Handler, refusal: Refusal, sockets: Upgrades | None) -> None:
        self.reactor = reactor
        self.handler = handler
        self.refusal = refusal
        self.sockets = sockets
        self.connections: set[Connection] = set()
        #: the largest number of connections; an idle one is closed for a new one
        self.most = share(CONNECTIONS_PART, MAX_CONNECTIONS)
        #: bytes of arriving bodies, and of unread answers
        self.bodies = Bodies()
        self.unsent_bytes = 0
        #: requests refused here
        self.refused = 0
        self.stopping = False
        self.seconds: Callable[[], float] = reactor.seconds
        self._date = (0, "")
        self._sweeps = LoopingCall(self._sweep)
        self._sweeps.clock = reactor
        self._all_gone: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A new connection; None, which closes it at once, if there are too many and none is idle."""
        if len(self.connections) >= self.most:
            idle = min(self.connections, key=lambda one: one.deadline)
            if idle.deadline == float("inf"):
                return None
            idle.abort()
            self.connections.discard(idle)
        connection = Connection()
        connection.factory = self
        return connection

    def add(self, connection: Connection) -> None:
        """A client has come."""
        self.connections.add(connection)
        if not self._sweeps.running:
            self._sweeps.start(SWEEP_S, now=False)

    def discard(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.discard(connection)
        if not self.connections:
            if self._sweeps.running:
                self._sweeps.stop()
            gone, self._all_gone = self._all_gone, None
            if gone is not None:
                gone.callback(None)

    def stop(self) -> Deferred[None]:
        """Finish answers in progress, for a moment, then drop all connections, WebSockets included; Deferred."""
        self.stopping = True
        for connection in list(self.connections):
            connection.retire()
        if not self.connections:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        timer = self.reactor.callLater(GRACE_S, self.abort_all)

        def cancel(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return gone.addBoth(cancel)

    def date(self) -> str:
        """The ``Date`` field, now."""
        now = int(self.seconds())
        if now != self._date[0]:
            self._date = (now, f"Date: {formatdate(usegmt=True)}")
        return self._date[1]

    def _sweep(self) -> None:
        now = self.seconds()
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.expired()

    def abort_all(self) -> None:
        """Drop all connections at once, WebSockets included."""
        for connection in list(self.connections):
            connection.abort()
