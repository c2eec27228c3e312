"""A subscription: every event that matches after a point, in order, once.

It begins by reading the log from its cursor; when the cursor reaches the tail's position, it is added to the index of
live listeners in the same turn of the reactor. A paused subscription leaves the index, keeps its cursor, and reads the
log again when it goes on, so a slow subscriber costs only a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger

from buildbot.db.connector import DBConnector
from buildbot.mq.log import Event, thdEventsAfter
from buildbot.mq.match import Pattern, PatternIndex, matches
from buildbot.mq.tail import LogTail

log = Logger()

#: events that are read from the log at once: hundreds of clients may read it at the same time
BATCH = 100

Deliver = Callable[[Event, tuple[str, ...]], Any]


class Pace(Protocol):
    """The pace at which the log may be read for a subscriber."""

    async def wait(self) -> None:
        """Wait until the log may be read."""

    def took(self, seconds: float) -> None:
        """Take the time of a reading."""


class Subscription:
    """A subscription, the result of ``startConsuming``."""

    def __init__(
        self,
        db: DBConnector,
        reactor: Any,
        tail: LogTail,
        index: PatternIndex[Subscription],
        patterns: Sequence[Pattern],
        deliver: Deliver,
        since: int,
    ) -> None:
        self._db = db
        self._reactor = reactor
        self._tail = tail
        self._index = index
        self._patterns = tuple(patterns)
        self._deliver = deliver
        self._cursor = since
        self._live = False
        self._reading = False
        self._paused = False
        self._stopped = False
        #: called if the log was trimmed past the cursor: this subscription has stopped, and its resources must be
        #: fetched again
        self.on_lost: Callable[[], Any] | None = None
        #: limits the reading of the log; None: no limit
        self.pace: Pace | None = None

    @property
    def clock(self) -> int:
        """The position up to which events have been delivered; moved before each callback."""
        return max(self._cursor, self._tail.position) if self._live else self._cursor

    @property
    def stopped(self) -> bool:
        """Whether it will deliver no more."""
        return self._stopped

    @property
    def state(self) -> str:
        """``live``, ``paused``, or ``catching up`` with the log."""
        return "live" if self._live else "paused" if self._paused else "catching up"

    def start(self) -> None:
        """Deliver from the next turn of the reactor on, so that the caller has the subscription first."""
        self._reactor.callLater(0, self._catch_up)

    def pause(self) -> None:
        """Deliver nothing until `resume`; the cursor stays."""
        self._cursor = self.clock
        self._leave()
        self._paused = True

    def resume(self) -> None:
        """Go on where it was paused."""
        if self._paused and not self._stopped:
            self._paused = False
            self._reactor.callLater(0, self._catch_up)

    def stopConsuming(self) -> Deferred[None]:
        """Deliver no more, from now on; a Deferred that fires at once."""
        self._cursor = self.clock
        self._stopped = True
        self._leave()
        return succeed(None)

    def hear(self, event: Event, key: tuple[str, ...]) -> None:
        """Deliver one event; an error of the callback is logged and does not affect other subscriptions."""
        # an earlier delivery may have stopped this subscription; a snapshot may be ahead of the tail
        if self._stopped or (event.seq <= self._cursor and self._live):
            return
        try:
            self._deliver(event, key)
        except Exception:
            log.failure("a callback failed for the event {key}", key="/".join(key))

    def skipped(self, through: int) -> None:
        """The tail has skipped events up to ``through``: a live subscription has lost them."""
        if self._live and self.clock < through:
            self._lose()

    def _leave(self) -> None:
        if self._live:
            self._live = False
            for pattern in self._patterns:
                self._index.remove(pattern, self)

    def _catch_up(self) -> None:
        if self._stopped or self._paused or self._reading or self._live:
            return
        if self._cursor >= self._tail.position:
            self._live = True
            for pattern in self._patterns:
                self._index.add(pattern, self)
            return
        self._reading = True
        ensureDeferred(self._read()).addErrback(self._failed)

    def _lose(self) -> None:
        log.warn("the log no longer holds the events after {cursor}; a subscription ends", cursor=self._cursor)
        self._reading = False
        self.stopConsuming()
        if self.on_lost is not None:
            self.on_lost()

    def _failed(self, failure: Any) -> None:
        self._reading = False
        if not self._stopped and not self._tail.stopped:
            log.failure("a subscription could not read the log of events; trying again", failure)
            self._reactor.callLater(1.0, self._catch_up)

    def _wants_more(self) -> bool:
        return not (self._stopped or self._paused)

    async def _read(self) -> None:
        while self._wants_more() and self._cursor < self._tail.position:
            if self.pace is not None:
                await self.pace.wait()
                if not self._wants_more():
                    break
            begun = self._reactor.seconds()
            found = await self._db.pool.read(thdEventsAfter, self._cursor, BATCH)
            if not found or found[0].seq != self._cursor + 1:
                self._lose()
                return
            for event in found:
                if self._stopped or self._paused or event.seq > self._tail.position:
                    break
                self._cursor = event.seq
                for joined in event.keys:
                    key = tuple(joined.split("/"))
                    for pattern in self._patterns:
                        if matches(pattern, key):
                            self.hear(event, key)
            if self.pace is not None:
                self.pace.took(self._reactor.seconds() - begun)
        self._reading = False
        self._catch_up()
