"""Limits of connections at a worker port that have not logged in: their number, their time, and the bytes they may
send.

A connection is a *stranger* until its password was right, in every protocol. The number of strangers is limited, in all
and from one address. If one more comes, the one that has been silent for longest is dropped if it is not quite new; so
idle connections cannot keep workers out. A stranger has `LOGIN_S` to log in, and may send few bytes.
"""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildbot.util.addresses import network_of
from buildbot.util.descriptors import share
from buildbot.util.transport import IStream

_log = Logger()

#: seconds until the password must have been right, and then until the worker is in service
LOGIN_S = 30.0
WELCOME_S = 150.0
#: seconds that a refused worker has to read the reason
REFUSED_S = 2.0
#: the largest number of strangers, in all (a share of the descriptors: the others are for HTTP) and per address, behind
#: which there may be a thousand agents that come back at once when the master has restarted
STRANGERS_PART = 0.15
MAX_STRANGERS = 3000
ADDRESS_PART = 0.5
#: a stranger younger than this is not dropped for another one
GRACE_S = 2.0
#: bytes that may come before the password was right; logins need a few hundred
MAX_STRANGER_BYTES = 16 * 1024
#: bytes that may come before the worker is in service: it sends its information, with its environment
MAX_GUEST_BYTES = 4 * 1024 * 1024


class Guest:
    """A connection at a worker port; it ends itself if it does not become a worker in time.

    A base of protocols, before Twisted's class: they call `has_come` and `has_gone`, and ask `may_say` when bytes come.

    Attributes:
        address: the host for which it counts.
    """

    transport: IStream
    address = ""
    _known = False
    _in_service = False
    _here = False
    _received = 0
    _end: IDelayedCall | None = None
    _strangers: Strangers

    def has_come(self, strangers: Strangers) -> None:
        """It is connected, as a stranger."""
        self._here, self._strangers = True, strangers
        self.address = address_of(self.transport.getPeer())
        self._since = strangers.reactor.seconds()
        self._end_after(LOGIN_S, "it did not log in")
        strangers.arrived(self)

    def has_gone(self) -> None:
        """It is not connected any more."""
        self._here = False
        self._end_after(None)
        self._strangers.gone(self)

    @property
    def is_known(self) -> bool:
        """Whether its password was right."""
        return self._known

    def may_say(self, size: int) -> bool:
        """Whether it may send so many further bytes, which are limited until it is in service; otherwise drop it."""
        if self._in_service:
            return True
        self._received += size
        if self._received <= (MAX_GUEST_BYTES if self._known else MAX_STRANGER_BYTES):
            return True
        self.drop("it sends too much before it is logged in")
        return False

    def drop(self, why: str) -> None:
        """End the connection at once."""
        if self._here:
            _log.warn("a connection from {address} is dropped: {why}", address=self.address, why=why)
            self.transport.abortConnection()

    def password_was_right(self) -> None:
        """It is a worker; it must be in service within some seconds."""
        self._known = True
        self._strangers.gone(self)
        self._end_after(WELCOME_S, "its login did not end in time")

    def is_in_service(self) -> None:
        """It is a worker in service; it has no time limit any more."""
        self._in_service = True
        self._end_after(None)

    def is_refused(self) -> None:
        """Its login is refused; it has some seconds to read the reason."""
        self._end_after(REFUSED_S, "")

    @property
    def silent_s(self) -> float:
        """The seconds since it came without a right password."""
        return float(self._strangers.reactor.seconds() - self._since)

    def _end_after(self, seconds: float | None, why: str = "") -> None:
        end, self._end = self._end, None
        if end is not None and end.active():
            end.cancel()
        if seconds is not None and self._here:
            self._end = self._strangers.reactor.callLater(
                seconds, self.drop if why else self._leave, *([why] if why else [])
            )

    def _leave(self) -> None:
        self.transport.loseConnection()


class Strangers:
    """The connections at all worker ports that have not logged in.

    Args:
        reactor: for time.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self.reactor = reactor
        #: in the order in which they came
        self._strangers: dict[Guest, None] = {}
        #: the same by network
        self._networks: dict[str, dict[Guest, None]] = {}
        self._told_at: float | None = None

    @property
    def count(self) -> int:
        """The number of strangers."""
        return len(self._strangers)

    def have_room(self, addr: IAddress | None) -> bool:
        """Whether one more may come from an address; another one may be dropped for it."""
        address, most = address_of(addr), share(STRANGERS_PART, MAX_STRANGERS)
        crowd = self._networks.get(network_of(address), {})
        if len(crowd) < max(1, int(most * ADDRESS_PART)):
            if len(self._strangers) < most:
                return True
            crowd = self._strangers
        self._tell(address, len(self._strangers))
        oldest = next(iter(crowd))
        if oldest.silent_s < GRACE_S:
            return False
        oldest.transport.abortConnection()
        self.gone(oldest)
        return True

    def arrived(self, guest: Guest) -> None:
        """A connection has come."""
        self._strangers[guest] = None
        self._networks.setdefault(network_of(guest.address), {})[guest] = None

    def gone(self, guest: Guest) -> None:
        """It is no stranger any more, or has disconnected."""
        if guest in self._strangers:
            del self._strangers[guest]
            network = network_of(guest.address)
            of_network = self._networks[network]
            del of_network[guest]
            if not of_network:
                del self._networks[network]

    def _tell(self, address: str, count: int) -> None:
        now = self.reactor.seconds()
        if self._told_at is None or now - self._told_at > 60:
            self._told_at = now
            _log.warn(
                "{count} connections to the worker ports have not logged in, the newest from {address}",
                count=count,
                address=address,
            )


def address_of(peer: object) -> str:
    """The host of a connection, for its limits; of an address without host, the whole address."""
    return str(getattr(peer, "host", None) or peer)
