"""Who may stand at a worker port before having said who they are: how many, for how long, and how much they may say.

A connection is a *stranger* until its password was right, whatever protocol it speaks. Strangers are few, overall and
from one address; where one more comes, the one that has been silent for longest gives way if it has been there for a
moment, so that nobody keeps workers out by standing there. A stranger has `LOGIN_S` to log in and little to say.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from buildbot.util.addresses import network_of
from buildbot.util.descriptors import share

_log = Logger()

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
#: what may be said before the password was right; logins need a few hundred bytes
MAX_STRANGER_BYTES = 16 * 1024
#: and before the worker is in service: it tells about itself, its environment included
MAX_GUEST_BYTES = 4 * 1024 * 1024


class Guest:
    """One connection at a worker port; it ends itself if it does not become a worker in time.

    For protocols, before Twisted's class: they call `has_come` and `has_gone`, and ask `may_say` of what comes.

    Attributes:
        address: whom it counts for.
    """

    transport: Any
    address = ""
    _known = False
    _in_service = False
    _here = False
    _received = 0
    _end: Any = None
    _strangers: Strangers

    def has_come(self, strangers: Strangers) -> None:
        """It is connected, and a stranger for now."""
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
        """Whether so many more bytes of it are taken; before it is in service only so many are. If not, it is gone."""
        if self._in_service:
            return True
        self._received += size
        if self._received <= (MAX_GUEST_BYTES if self._known else MAX_STRANGER_BYTES):
            return True
        self.drop("it says too much for somebody who is not logged in")
        return False

    def drop(self, why: str) -> None:
        """End the connection at once."""
        if self._here:
            _log.warn("a connection from {address} is dropped: {why}", address=self.address, why=why)
            self.transport.abortConnection()

    def password_was_right(self) -> None:
        """It is a worker, which has to be taken into service now."""
        self._known = True
        self._strangers.gone(self)
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
    """Those at all worker ports who have not logged in.

    Args:
        reactor: for time.
    """

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        #: in the order in which they came
        self._strangers: dict[Guest, None] = {}
        self._told_at: float | None = None

    @property
    def count(self) -> int:
        """How many have not logged in."""
        return len(self._strangers)

    def have_room(self, addr: IAddress | None) -> bool:
        """Whether one more may come from there; somebody else may have to give way."""
        address, most = address_of(addr), share(STRANGERS_PART, MAX_STRANGERS)
        network = network_of(address)
        of_address = [each for each in self._strangers if network_of(each.address) == network]
        crowd = None
        if len(of_address) >= max(1, int(most * ADDRESS_PART)):
            crowd = of_address
        elif len(self._strangers) >= most:
            crowd = list(self._strangers)
        if crowd is not None:
            self._tell(address, len(self._strangers))
            if crowd[0].silent_s < GRACE_S:
                return False
            crowd[0].transport.abortConnection()
            self.gone(crowd[0])
        return True

    def arrived(self, guest: Guest) -> None:
        """A connection is there."""
        self._strangers[guest] = None

    def gone(self, guest: Guest) -> None:
        """It is no stranger any more, or not there any more."""
        self._strangers.pop(guest, None)

    def _tell(self, address: str, count: int) -> None:
        now = self.reactor.seconds()
        if self._told_at is None or now - self._told_at > 60:
            self._told_at = now
            _log.warn(
                "{count} connections to the worker ports have not logged in, the newest from {address}",
                count=count,
                address=address,
            )


def address_of(peer: Any) -> str:
    """Whom a connection counts for: its host, or the whole of what has none."""
    return str(getattr(peer, "host", None) or peer)
