"""A queue of slow work that anybody may cause: a few at a time, each address in its turn, with a limit for each
address.

Hashes of passwords are slow by design. A few are computed at a time, so that guessing does not take all processors;
addresses take turns, so that the many guesses of one do not make the others wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class QueueFullError(Exception):
    """All places of an address are taken."""


class FairQueue:
    """Runs work for addresses.

    Args:
        at_once: the number of jobs that run at the same time.
        places: the number of jobs that one address may have, running and waiting.
    """

    def __init__(self, at_once: int = 2, places: int = 10) -> None:
        self._at_once = at_once
        self._places = places
        self._taken: dict[str, int] = {}
        self._running = 0
        #: the waiting jobs by address; the address whose turn it is comes first
        self._waiting: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()

    @contextmanager
    def place(self, address: str) -> Iterator[None]:
        """Hold a place of an address.

        Raises:
            QueueFullError: it has no more.
        """
        if self._taken.get(address, 0) >= self._places:
            raise QueueFullError(f"{address} has {self._places} places, which are taken")
        self._taken[address] = self._taken.get(address, 0) + 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]

    async def run(self, address: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run ``work`` when it is the address's turn; gives its result."""
        if self._running >= self._at_once:
            turn: Deferred[None] = Deferred(lambda cancelled: self._leave(address, cancelled))
            self._waiting.setdefault(address, deque()).append(turn)
            await turn  # the code that gave the turn has counted it
        else:
            self._running += 1
        try:
            return await work()
        finally:
            self._running -= 1
            self._next()

    def _next(self) -> None:
        if not self._waiting:
            return
        address, turns = self._waiting.popitem(last=False)
        turn = turns.popleft()
        if turns:
            self._waiting[address] = turns  # behind the others
        self._running += 1
        turn.callback(None)

    def _leave(self, address: str, turn: Deferred[None]) -> None:
        """Remove a job that does not wait any more."""
        turns = self._waiting[address]
        turns.remove(turn)
        if not turns:
            del self._waiting[address]
