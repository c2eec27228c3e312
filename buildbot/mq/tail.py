"""Follows the log's tail and delivers each event, once and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.connector import DBConnector
from buildbot.db.dialects.base import SHORT_ROWS
from buildbot.db.transaction import Committed
from buildbot.mq.log import Event, thdClock, thdEventsAfter

log = Logger()

#: seconds between two looks at the log, on databases without notifications
POLL_INTERVAL_S = 0.25
#: seconds between two looks at the clock, on databases with notifications: a process may be killed between its commit
#: and its notification
LOOK_INTERVAL_S = 0.5
#: the least time between two notifications of the other masters: one serves for all events before it
NOTIFY_INTERVAL_S = 0.08
#: the least time between two looks at the log after notifications: one look reads all events of the other masters
READ_INTERVAL_S = 0.08


class LogTail:
    """The position up to which this process has delivered events, and the look-ups that move it."""

    def __init__(
        self,
        db: DBConnector,
        reactor: Any,
        clock: Callable[[], Deferred[tuple[int, int]]],
        deliver: Callable[[Event], None],
        skipped: Callable[[int], None],
    ) -> None:
        self._db = db
        self._reactor = reactor
        self._clock = clock
        self._looking = False
        self._deliver = deliver
        self._skipped = skipped
        #: the number of the last event delivered
        self.position = 0
        self._early: dict[int, Committed] = {}
        self._reading = False
        self._again = False
        self._read_at = float("-inf")
        self._reading_soon: Any = None
        self.stopped = False
        self._timer: Any = None
        self._notifying: Any = None
        self._notified_at = 0.0
        self._listener: Any = None

    async def start(self) -> None:
        """Begin at the newest event."""
        self.position, _ = await self._db.pool.read(thdClock)
        self._db.pool.on_commit = self._committed
        if not self._db.dialect.in_memory:
            self._listener = self._db.dialect.listen(lambda: self._reactor.callFromThread(self.wake))
            self._schedule()

    def stop(self) -> None:
        """Deliver no more."""
        self.stopped = True
        self._db.pool.on_commit = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._reading_soon is not None:
            self._reading_soon.cancel()
            self._reading_soon = None
        if self._notifying is not None:  # the notification of this master's last commit
            self._notifying.cancel()
            self._notify_now()
        if self._listener is not None:
            self._listener.close()

    def wake(self) -> None:
        """Another process may have committed: look at the log."""
        if self.stopped:
            return
        if self._reading:
            self._again = True
        elif self._reading_soon is None:
            wait_s = self._read_at + READ_INTERVAL_S - self._reactor.seconds()
            if wait_s > 0:
                self._reading_soon = self._reactor.callLater(wait_s, self._start_reading)
            else:
                self._start_reading()

    def _start_reading(self) -> None:
        self._reading_soon = None
        self._reading = True
        self._read_at = self._reactor.seconds()
        d: Deferred[None] = ensureDeferred(self._read())
        d.addErrback(lambda failure: log.failure("reading the log of events failed; trying again", failure))

    def _schedule(self) -> None:
        interval = POLL_INTERVAL_S if self._listener is None else LOOK_INTERVAL_S
        self._timer = self._reactor.callLater(interval, self._tick)

    def _tick(self) -> None:
        if self._listener is None:
            self.wake()
        elif not self._looking:
            self._looking = True
            self._clock().addCallbacks(self._looked, self._not_looked)
        self._schedule()

    def _looked(self, found: tuple[int, int]) -> None:
        self._looking = False
        if found[0] > self.position:
            self.wake()

    def _not_looked(self, failure: Failure) -> None:
        self._looking = False  # the next look may find the database again
        log.debug("looking at the clock failed: {f}", f=failure.value)

    async def _read(self) -> None:
        try:
            while not self.stopped:
                self._again = False
                found = await self._db.pool.read_short(thdEventsAfter, self.position, SHORT_ROWS)
                for event in found:
                    if event.seq > self.position + 1:  # this process was paused for longer than the log reaches back
                        self._skipped(event.seq - 1)
                    if event.seq > self.position:
                        self._advance(event)
                self._drop_early()
                if len(found) < SHORT_ROWS:
                    return
        finally:
            self._reading = False
            if self._again:
                self.wake()

    def _committed(self, group: Committed) -> None:
        """A group of this process was committed; the pool says so before the callers hear of it."""
        if self.stopped or group.last <= self.position:
            return
        self._early[group.first] = group
        while (following := self._early.pop(self.position + 1, None)) is not None:
            for event in following.events:
                self._advance(event)
        if self._early:  # events of other processes come first
            self.wake()
        self._notify()

    def _drop_early(self) -> None:
        for first in [first for first, group in self._early.items() if group.last <= self.position]:
            del self._early[first]

    def _advance(self, event: Event) -> None:
        self.position = event.seq
        if event.keys:
            self._deliver(event)

    def _notify(self) -> None:
        """Wake the other masters soon, after the commit and outside of it."""
        if self._listener is not None and self._notifying is None:
            since = self._reactor.seconds() - self._notified_at
            self._notifying = self._reactor.callLater(max(0.0, NOTIFY_INTERVAL_S - since), self._notify_now)

    def _notify_now(self) -> None:
        self._notifying = None
        self._notified_at = self._reactor.seconds()
        # it is a hint: a master that misses it looks by itself later
        self._db.pool.read(self._db.dialect.notify).addErrback(lambda failure: log.debug("{f}", f=failure.value))
