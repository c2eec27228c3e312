"""TCP for busy servers: room for many new connections at once, and small messages without delay."""

from __future__ import annotations

import re
import socket
from functools import partial
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper

from buildbot.util.reactor import IReactor

#: new connections that the kernel may hold until they are accepted: all agents come back at once when a master
#: restarts. The kernel uses its own ``somaxconn`` if that is less.
BACKLOG = 4096

_log = Logger()

# Twisted's has no types.
_Server: Any = tcp.Server

#: Linux only
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


async def listen(reactor: IReactor, description: str, factory: Any) -> IListeningPort:
    """Listen at a Twisted endpoint description, with a backlog of `BACKLOG` unless it names another one.

    Raises the endpoint's errors: CannotListenError if the address is in use.
    """
    port: Any = await serverFromString(reactor, _with_backlog(description)).listen(factory)
    if type(port) is tcp.Port:  # a unix socket's is a subclass
        port.transport = partial(QuickServer, EndOfTurn(reactor))  # type: ignore[assignment]
    return port  # type: ignore[no-any-return]


def _with_backlog(description: str) -> str:
    kind, _, rest = description.partition(":")
    if kind not in ("tcp", "tcp6", "ssl", "unix") or re.search(r"(?<!\\):\s*backlog\s*=", rest):
        return description
    return f"{description}:backlog={BACKLOG}"


class EndOfTurn:
    """Serves connections when the reactor's turn ends, each once."""

    def __init__(self, reactor: IReactor) -> None:
        self._reactor = reactor
        self._due: list[QuickServer] = []

    def add(self, connection: QuickServer) -> None:
        """Serve a connection at the end of this turn."""
        if not self._due:
            self._reactor.callLater(0, self._serve)
        self._due.append(connection)

    def _serve(self) -> None:
        due, self._due = self._due, []
        for connection in due:
            try:
                connection.end_turn()
            except Exception:
                _log.failure("a connection failed")
                connection.abortConnection()


class QuickServer(_Server):  # type: ignore[misc]
    """A connection that a server has accepted: what it writes in one turn of the reactor is sent at the turn's end.

    Twisted's own asks the kernel first to say when the socket has room, which it nearly always has: three system calls
    more for each message. See ``docs/decisions/0014-writes-at-the-end-of-the-turn.md``.
    """

    #: whether it is served at the end of this turn
    _is_due = False
    #: whether it has not been read yet
    _is_new = True
    #: whether the kernel is asked to say when the socket has room
    _waits_for_room = False

    def __init__(self, end_of_turn: EndOfTurn, *args: Any) -> None:
        super().__init__(*args)
        self._end_of_turn = end_of_turn
        # a client that is served late has sent its first message already
        self.startWriting()

    @property
    def _is_ending(self) -> bool:
        return bool(self.disconnecting or self._writeDisconnecting or self._writeDisconnected)

    def send(self, data: bytes) -> None:
        """As ``write``, but before the turn ends if no earlier bytes wait: for a message that is alone in its turn."""
        if self.dataBuffer or self._tempDataBuffer or not self.connected or self._is_ending:
            self.write(data)
            return
        sent = self.writeSomeData(data)
        if sent != len(data):  # an error is found again, with the rest
            self.write(data[sent:] if isinstance(sent, int) else data)

    def startWriting(self) -> None:
        """Write the buffer soon."""
        if not self._waits_for_room and not self._is_due:
            self._is_due = True
            self._end_of_turn.add(self)

    def stopReading(self) -> None:
        """Do not read any more for now."""
        self._is_new = False
        super().stopReading()

    def stopWriting(self) -> None:
        """Do not ask for room any more."""
        self._waits_for_room = False
        super().stopWriting()

    def _has_come(self) -> bool:
        """Whether there is something to read, other than the end of the connection."""
        try:
            return bool(self.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def end_turn(self) -> None:
        """Read the first message, and write the buffer.

        What the socket does not take, and the end of the connection, are left to the reactor.
        """
        self._is_due = False
        if self._is_new and self.connected and self._has_come():
            self.doRead()
        self._is_new = False
        if not self.connected or not (self.dataBuffer or self._tempDataBuffer or self._is_ending):
            return
        # an error is found again by the reactor, which then ends the connection
        if self._is_ending or self.doWrite() is not None or self.dataBuffer or self._tempDataBuffer:
            self._waits_for_room = True
            super().startWriting()


class Promptness:
    """Sends and acknowledges the small messages of a TCP connection at once; for other transports it does nothing.

    Nagle's algorithm holds a small message until the earlier ones are acknowledged, and a delayed acknowledgement comes
    40 ms late. ``TCP_NODELAY`` turns off the algorithm at this end. The other end may use it, so its messages must be
    acknowledged at once: by ``TCP_QUICKACK``, which Linux has, and which must be set again after each read.
    """

    def __init__(self, transport: Any) -> None:
        self._socket: Any = None
        # Twisted's unix sockets are TCP transports too.
        if not ITCPTransport.providedBy(transport) or not isinstance(transport.getPeer(), IPv4Address | IPv6Address):
            return
        transport.setTcpNoDelay(True)
        while isinstance(transport, ProtocolWrapper):  # TLS
            transport = transport.transport
        if _QUICKACK is not None:
            self._socket = transport.getHandle()

    def received(self) -> None:
        """Acknowledge the bytes that were read."""
        if self._socket is not None and self._socket.fileno() != -1:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
