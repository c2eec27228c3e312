"""TCP as a busy server wants it: room for many who come at once, and small messages that are not kept waiting."""

from __future__ import annotations

import re
import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, ITCPTransport
from twisted.protocols.policies import ProtocolWrapper

#: connections that the kernel may hold that nobody has accepted yet; all agents come back at once when a master starts
#: again. The kernel takes its own ``somaxconn`` if that is less.
BACKLOG = 4096

#: Linux only
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


async def listen(reactor: Any, description: str, factory: Any) -> IListeningPort:
    """Listen at a Twisted endpoint description, with a backlog of `BACKLOG` unless it names another one.

    Raises what the endpoint raises: CannotListenError if the address is in use.
    """
    port: IListeningPort = await serverFromString(reactor, _with_backlog(description)).listen(factory)
    return port


def _with_backlog(description: str) -> str:
    kind, _, rest = description.partition(":")
    if kind not in ("tcp", "tcp6", "ssl", "unix") or re.search(r"(?<!\\):\s*backlog\s*=", rest):
        return description
    return f"{description}:backlog={BACKLOG}"


class Promptness:
    """Has the small messages of one connection sent and acknowledged at once; other transports than TCP are left alone.

    Nagle's algorithm keeps a small message until what was sent before is acknowledged, and a delayed acknowledgement
    comes 40 ms late. ``TCP_NODELAY`` ends the first here. The other end keeps its own Nagle, so it must be acknowledged
    at once: ``TCP_QUICKACK``, which Linux has, and forgets.
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
        """Something was read: acknowledge it now."""
        if self._socket is not None and self._socket.fileno() != -1:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
