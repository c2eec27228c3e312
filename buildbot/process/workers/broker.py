"""Connections at a worker port that speak PB: limits of nesting, besides the limits of all protocols (`door`)."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.spread import pb

from buildbot.process.workers.banana import QuickBanana
from buildbot.process.workers.door import Guest, Strangers
from buildbot.process.workers.jelly import QuickJelly
from buildbot.util.tcp import Promptness

# Twisted's have no types.
_Broker: Any = pb.Broker
_Factory: Any = pb.PBServerFactory

#: how deep lists may be nested before the password was right
MAX_STRANGER_DEPTH = 20


class Broker(Guest, QuickBanana, QuickJelly, _Broker):  # type: ignore[misc]
    """One connection."""

    factory: Factory

    def connectionMade(self) -> None:
        """A client has connected."""
        self._promptness = Promptness(self.transport)
        self.outgoingSymbols = _Broker.outgoingVocabulary  # each has a copy otherwise
        self.has_come(self.factory.strangers)
        super().connectionMade()

    def connectionLost(self, reason: object) -> None:
        """The client has disconnected."""
        self.has_gone()
        super().connectionLost(reason)

    def dataReceived(self, chunk: bytes) -> None:
        """Bytes have come; their number is limited until the worker is in service."""
        self._promptness.received()
        if not self.may_say(len(chunk)):
            return
        try:
            super().dataReceived(chunk)
        except Exception as problem:  # bytes that are no PB
            self.drop(f"it does not speak PB ({type(problem).__name__}: {problem})")
            return
        if not self.is_known and len(self.listStack) > MAX_STRANGER_DEPTH:
            self.drop("it sends lists in lists in lists")

    def callExpressionReceived(self, obj: object) -> None:
        """A whole message."""
        if not self.is_known and _depth(obj) > MAX_STRANGER_DEPTH:
            self.drop("it sends lists in lists in lists")
        else:
            super().callExpressionReceived(obj)


class Factory(_Factory):  # type: ignore[misc]
    """The factory of the connections.

    Args:
        root: the portal.
        strangers: the connections that have not logged in, at this port and at others.
    """

    protocol = Broker
    noisy = False

    def __init__(self, root: object, strangers: Strangers) -> None:
        super().__init__(root)
        self.strangers = strangers

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection, or None: it is closed at once."""
        return super().buildProtocol(addr) if self.strangers.have_room(addr) else None


def _depth(obj: object) -> int:
    """How deep lists are nested in a message; it stops counting beyond the limit."""
    depth, level = 0, [obj]
    while level and depth <= MAX_STRANGER_DEPTH:
        level = [item for each in level if isinstance(each, list | tuple) for item in each]
        depth += 1
    return depth
