"""Who may stand at the worker port before having said who they are: how many, for how long, and how much they may say.

A connection is a *stranger* until its password was right. Strangers are few, overall and from one address; where one
more comes, the one that has been silent for longest gives way if it has been there for a moment, so that nobody keeps
workers out by standing there. A stranger has `LOGIN_S` to log in and little to say.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.spread import pb

from buildbot.process.workers.banana import QuickReader
from buildbot.util.descriptors import share
from buildbot.util.tcp import Promptness

_log = Logger()
# Twisted's have no types.
_Broker: Any = pb.Broker
_Factory: Any = pb.PBServerFactory

#: seconds until the password must have been right, and then until the worker is in service
LOGIN_S = 30.0
WELCOME_S = 150.0
#: seconds that a refused worker has to read why
REFUSED_S = 2.0
#: connections without a password, overall (a share of the descriptors: the others are for HTTP) and per address
STRANGERS_PART = 0.15
MAX_STRANGERS = 1000
ADDRESS_PART = 0.5
#: a stranger younger than this does not have to give way
GRACE_S = 2.0
#: what may be said before the password was right, and how lists may be nested in lists; logins need a few hundred bytes
MAX_STRANGER_BYTES = 16 * 1024
MAX_STRANGER_DEPTH = 20
#: and before the worker is in service: it tells about itself, its environment included
MAX_GUEST_BYTES = 4 * 1024 * 1024


class Broker(QuickReader, _Broker):  # type: ignore[misc]
    """One connection; it ends itself if it does not become a worker in time."""

    factory: Factory
    transport: Any
    address = ""
    _known = False
    _in_service = False
    _received = 0
    _end: Any = None

    def connectionMade(self) -> None:
        """Somebody has come."""
        self._promptness = Promptness(self.transport)
        self.address = address_of(self.transport.getPeer())
        self._since = self.factory.reactor.seconds()
        self._end_after(LOGIN_S, "it did not log in")
        super().connectionMade()
        self.factory.arrived(self)

    def connectionLost(self, reason: Any) -> None:
        """It has gone."""
        self._end_after(None)
        self.factory.gone(self)
        super().connectionLost(reason)

    def dataReceived(self, chunk: bytes) -> None:
        """Bytes; before it is in service only so many."""
        self._promptness.received()
        if not self._in_service:
            self._received += len(chunk)
            if self._received > (MAX_GUEST_BYTES if self._known else MAX_STRANGER_BYTES):
                self.drop("it says too much for somebody who is not logged in")
                return
        try:
            super().dataReceived(chunk)
        except Exception as problem:  # bytes that are no PB
            self.drop(f"it does not speak PB ({type(problem).__name__}: {problem})")
            return
        if not self._known and len(self.listStack) > MAX_STRANGER_DEPTH:
            self.drop("it sends lists in lists in lists")

    def callExpressionReceived(self, obj: Any) -> None:
        """A whole message."""
        if not self._known and _depth(obj) > MAX_STRANGER_DEPTH:
            self.drop("it sends lists in lists in lists")
        else:
            super().callExpressionReceived(obj)

    def drop(self, why: str) -> None:
        """End the connection at once."""
        if not self.disconnected:
            _log.warn("a connection from {address} is dropped: {why}", address=self.address, why=why)
            self.transport.abortConnection()

    def password_was_right(self) -> None:
        """It is a worker, which has to be taken into service now."""
        self._known = True
        self.factory.gone(self)
        self._end_after(WELCOME_S, "its login did not come to an end")

    def is_in_service(self) -> None:
        """It may stay for as long as it likes."""
        self._in_service = True
        self._end_after(None)

    def is_refused(self) -> None:
        """It has a moment to read that."""
        self._end_after(REFUSED_S, "")

    @property
    def silent_s(self) -> float:
        """For how long it has been here without a password."""
        return float(self.factory.reactor.seconds() - self._since)

    def _end_after(self, seconds: float | None, why: str = "") -> None:
        end, self._end = self._end, None
        if end is not None and end.active():
            end.cancel()
        if seconds is not None and not self.disconnected:
            self._end = self.factory.reactor.callLater(
                seconds, self.drop if why else self._leave, *([why] if why else [])
            )

    def _leave(self) -> None:
        self.transport.loseConnection()


class Factory(_Factory):  # type: ignore[misc]
    """Lets connections in.

    Args:
        root: the portal.
        reactor: for time.
    """

    protocol = Broker
    noisy = False

    def __init__(self, root: Any, reactor: Any) -> None:
        super().__init__(root)
        self.reactor = reactor
        #: those that have not logged in, in the order in which they came
        self._strangers: dict[Broker, None] = {}
        self._told_at: float | None = None

    @property
    def strangers(self) -> int:
        """How many have not logged in."""
        return len(self._strangers)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection, or None: it is closed at once."""
        address, most = address_of(addr), share(STRANGERS_PART, MAX_STRANGERS)
        of_address = [each for each in self._strangers if each.address == address]
        crowd = None
        if len(of_address) >= max(1, int(most * ADDRESS_PART)):
            crowd = of_address
        elif len(self._strangers) >= most:
            crowd = list(self._strangers)
        if crowd is not None:
            self._tell(address, len(self._strangers))
            if crowd[0].silent_s < GRACE_S:
                return None
            crowd[0].transport.abortConnection()
            self.gone(crowd[0])
        return super().buildProtocol(addr)

    def arrived(self, broker: Broker) -> None:
        """A connection is there."""
        self._strangers[broker] = None

    def gone(self, broker: Broker) -> None:
        """It is no stranger any more, or not there any more."""
        self._strangers.pop(broker, None)

    def _tell(self, address: str, count: int) -> None:
        now = self.reactor.seconds()
        if self._told_at is None or now - self._told_at > 60:
            self._told_at = now
            _log.warn(
                "{count} connections to the worker port have not logged in, the newest from {address}",
                count=count,
                address=address,
            )


def address_of(peer: Any) -> str:
    """Whom a connection counts for: its host, or the whole of what has none."""
    return str(getattr(peer, "host", None) or peer)


def _depth(obj: Any) -> int:
    """How deep lists are nested in a message; it stops counting where it is too much."""
    depth, level = 0, [obj]
    while level and depth <= MAX_STRANGER_DEPTH:
        level = [item for each in level if isinstance(each, list | tuple) for item in each]
        depth += 1
    return depth
