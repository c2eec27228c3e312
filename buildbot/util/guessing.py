"""Slows down those who guess passwords.

A pair of address and name that was wrong a few times waits before its next password is looked at, longer after each
failure; an address that was wrong under many names waits too, whatever the name, but for names that it has proved to
know. Waits are before the check, so that many guesses at the same time learn no more than one after the other. Nobody
at another address waits because of them, and a right password is never refused, only looked at later; the addresses of
a /64 of IPv6 are one. What is kept is bounded, and forgotten after a while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from buildbot.util.addresses import network_of

#: failures of an address with one name, and with all names, that cause no wait: people mistype
FREE_OF_PAIR = 3
FREE_OF_ADDRESS = 20
#: seconds to wait after the first failure beyond these; each further failure doubles them, up to the longest
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 8.0
#: the number of guesses of one address that may wait
MAX_WAITING = 10
#: seconds after which failures are forgotten, and how many addresses and pairs are remembered
FORGOTTEN_S = 900.0
MAX_REMEMBERED = 10_000


class TooManyGuessesError(Exception):
    """Too many passwords from one address wait already."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    last_at: float = 0.0
    #: the earliest time of the next check
    free_at: float = 0.0
    waiting: int = 0
    proved: bool = False


class Guesses:
    """The failures of addresses.

    Args:
        reactor: for time, which must be monotonic.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._pairs: OrderedDict[tuple[str, str], _Record] = OrderedDict()
        self._addresses: OrderedDict[str, _Record] = OrderedDict()

    async def turn(self, address: str, name: str) -> None:
        """Wait until a password may be checked.

        Args:
            address: of the client.
            name: of the user.

        Raises:
            TooManyGuessesError: the client must come again later.
        """
        now, address = self._reactor.seconds(), network_of(address)
        pair = _of(self._pairs, (address, name), now)
        whole = _of(self._addresses, address, now)
        records = [(pair, _wait_s(pair.failures - FREE_OF_PAIR))]
        if not pair.proved:
            records.append((whole, _wait_s(whole.failures - FREE_OF_ADDRESS)))
        free_at = now
        for record, wait_s in records:
            if wait_s:
                free_at = max(free_at, record.free_at, record.last_at + wait_s)
        if free_at > now and whole.waiting >= MAX_WAITING:
            raise TooManyGuessesError(f"too many logins from {address} wait already; try again later")
        for record, wait_s in records:
            if wait_s:
                record.free_at = free_at + wait_s
        if free_at <= now:
            return
        whole.waiting += 1
        try:
            await deferLater(self._reactor, free_at - now, lambda: None)
        finally:
            whole.waiting -= 1

    def wrong(self, address: str, name: str) -> None:
        """The password was wrong, or there is no such name."""
        now, address = self._reactor.seconds(), network_of(address)
        for record in (_of(self._pairs, (address, name), now), _of(self._addresses, address, now)):
            record.failures += 1
            record.last_at = now

    def right(self, address: str, name: str) -> None:
        """The password was right."""
        pair = _of(self._pairs, (network_of(address), name), self._reactor.seconds())
        pair.failures, pair.free_at, pair.proved = 0, 0.0, True


def _wait_s(beyond: int) -> float:
    """The seconds to wait after this number of failures beyond the free ones."""
    return 0.0 if beyond <= 0 else float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(beyond - 1, 10)))


def _of(records: OrderedDict[Any, _Record], key: Any, now: float) -> _Record:
    """The record of a key, the one that was used last."""
    record = records.get(key)
    if record is None or (now - record.last_at > FORGOTTEN_S and not record.waiting and not record.proved):
        record = records[key] = _Record(last_at=now)
    records.move_to_end(key)
    while len(records) > MAX_REMEMBERED:
        records.popitem(last=False)
    return record
