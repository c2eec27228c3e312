"""Limits of clients that follow events: the number of paths, and the time for reading the log.

A subscription with ``since`` makes the server read the log. The time for that is taken from two budgets, one of the
client's address and one of all clients. Both are full at first, so that a page that comes back is served at once. They
fill up slowly, so that clients that ask again and again leave most of the time to the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildbot.util.addresses import network_of
from buildbot.www.errors import RefusedError

#: of a path; every key of an event has fewer segments
MAX_SEGMENTS = 16
MAX_PATH_CHARS = 1000
#: paths of one client, and of all clients
MAX_PATHS = 500
MAX_ALL_PATHS = 20_000
#: seconds of reading that an address, and all addresses, may use at once, and per second afterwards
ADDRESS_BURST_S, ADDRESS_SHARE = 1.0, 0.1
BURST_S, SHARE = 2.0, 0.25
#: of the clients that there may be, how many one address may have: many people may come from one
ADDRESS_PART = 0.8
#: addresses that are remembered
MAX_ADDRESSES = 10_000


def checked_path(path: str) -> str:
    """A path of allowed length; RefusedError if it is too long."""
    if len(path) > MAX_PATH_CHARS or path.count("/") >= MAX_SEGMENTS:
        raise RefusedError(400, f"a path has at most {MAX_SEGMENTS} segments and {MAX_PATH_CHARS} characters")
    return path


def check_room(address: str, clients: Iterable[str], most: int) -> None:
    """See whether one more client may follow events.

    Args:
        address: where it is.
        clients: where the others are.
        most: how many there may be; one address may have a part of them.

    Raises:
        RefusedError: it has to come later.
    """
    networks = [network_of(each) for each in clients]
    if len(networks) >= most:
        raise RefusedError(503, "too many clients follow events; try again later")
    if not _is_of_many(address) and networks.count(network_of(address)) >= max(1, int(most * ADDRESS_PART)):
        raise RefusedError(429, "too many clients at your address follow events; try again later")


def _is_of_many(address: str) -> bool:
    """Whether a client at this address may be a proxy that hides its clients' addresses: so any on this machine."""
    return address in ("", "::1") or address.startswith("127.")


@dataclass(slots=True)
class _Budget:
    burst_s: float
    share: float
    #: the seconds left, at a time
    left_s: float
    at: float

    def fill(self, now: float) -> None:
        """Add the seconds that it gained since the last time."""
        self.left_s = min(self.burst_s, self.left_s + (now - self.at) * self.share)
        self.at = now

    def wait_s(self, now: float) -> float:
        """The seconds until something is left again."""
        self.fill(now)
        return 0.0 if self.left_s > 0 else -self.left_s / self.share + 0.001


class Limits:
    """The limits that all clients share.

    Args:
        reactor: for time, which must be monotonic.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self.paths = 0
        self._all = _Budget(BURST_S, SHARE, BURST_S, reactor.seconds())
        self._addresses: OrderedDict[str, _Budget] = OrderedDict()

    def take_path(self, taken: int) -> None:
        """One more path for a client that has ``taken`` already; RefusedError if that is too many."""
        if taken >= MAX_PATHS:
            raise RefusedError(429, f"a client may follow at most {MAX_PATHS} paths")
        if self.paths >= MAX_ALL_PATHS:
            raise RefusedError(503, "too many paths are followed; try again later")
        self.paths += 1

    def give_path(self) -> None:
        """A client follows one path less."""
        self.paths -= 1

    def pace(self, address: str) -> Pace:
        """The pace at which the log is read for a client at an address."""
        return Pace(self, address)

    async def wait(self, address: str) -> None:
        """Wait until the log may be read for an address."""
        while True:
            now = self._reactor.seconds()
            wait_s = max(budget.wait_s(now) for budget in self._budgets(address))
            if not wait_s:
                return
            await deferLater(self._reactor, wait_s, lambda: None)

    def took(self, address: str, seconds: float) -> None:
        """Take the time of a reading from the budgets."""
        now = self._reactor.seconds()
        for budget in self._budgets(address):
            budget.fill(now)
            budget.left_s -= seconds

    def _budgets(self, address: str) -> list[_Budget]:
        return [self._all] if _is_of_many(address) else [self._budget(address), self._all]

    def _budget(self, address: str) -> _Budget:
        network = network_of(address)
        budget = self._addresses.get(network)
        if budget is None:
            budget = _Budget(ADDRESS_BURST_S, ADDRESS_SHARE, ADDRESS_BURST_S, self._reactor.seconds())
            self._addresses[network] = budget
        self._addresses.move_to_end(network)
        if len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        return budget


class Pace:
    """The pace of one client: a subscription asks it before it reads the log, and tells it the time after it."""

    def __init__(self, limits: Limits, address: str) -> None:
        self._limits = limits
        self._address = address

    async def wait(self) -> None:
        """Wait until the log may be read for the client."""
        await self._limits.wait(self._address)

    def took(self, seconds: float) -> None:
        """Take the time of a reading."""
        self._limits.took(self._address, seconds)
