"""TCP for busy servers: room for many new connections at once, and small messages without delay."""

from __future__ import annotations

import re
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper

from buildbot.util.reactor import IReactor

#: new connections that the kernel may hold until they are accepted: all agents come back at once when a master
#: restarts. The kernel uses its own ``somaxconn`` if that is less.
BACKLOG = 4096

#: Linux only
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


async def listen(reactor: IReactor, description: str, factory: Any) -> IListeningPort:
    """Listen at a Twisted endpoint description, with a backlog of `BACKLOG` unless it names another one.

    Raises the endpoint's errors: CannotListenError if the address is in use.
    """
    port: IListeningPort = await serverFromString(reactor, _with_backlog(description)).listen(factory)
    return port


def _with_backlog(description: str) -> str:
    kind, _, rest = description.partition(":")
    if kind not in ("tcp", "tcp6", "ssl", "unix") or re.search(r"(?<!\\):\s*backlog\s*=", rest):
        return description
    return f"{description}:backlog={BACKLOG}"


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
