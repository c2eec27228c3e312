"""Delivery of reports: a reporter handles each event at least once, in order, also after a crash.

**One master.** A reporter has a name in the whole installation. Several masters may have it in their configuration; one
of them runs it, for the builds of all masters. When that one stops or is declared dead, another one continues
(`buildbot.db.held`).

**State.** One JSON value in the database (object *name of the reporter*, class ``Reporter``, key ``feed``)::

    {"clock": 812, "waiting": {"790": null, "803": 1795880774}}

All events up to *clock* were read. Events in *waiting* are not handled yet; the value is the time of the first failed
attempt (Unix seconds). A master that begins to run the reporter reads the log of events from the first of these on, and
skips handled ones. The state is written after the reports, so after a crash the last reports may be sent again, and
none is lost; `Delivery.may_have_arrived` marks such reports. A new reporter begins with the events from now on.

**Order.** Reports about one build request and its builds are sent in the order of the events. One report is sent at a
time. After a failure a report waits, longer each time (`FIRST_S`, `LONGEST_S`, or as long as the receiver says), while
reports about other requests are sent. After `GIVE_UP_S` it is given up.

**Limits.** At most `MAX_WAITING` reports wait in memory; reading of the log pauses meanwhile. Events that the log no
longer has are given up, which is logged.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from sqlalchemy.engine import Connection
from twisted.internet import error as network
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.data.exceptions import SinceTooOldError
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.db.held import thd_hold, thd_release, thd_take
from buildbot.mq.log import Event
from buildbot.mq.match import Pattern
from buildbot.mq.subscription import Subscription
from buildbot.process.claimed import ClaimedPart
from buildbot.util.background import in_background
from buildbot.util.httpclient import NoAnswerError, UnexpectedAnswerError
from buildbot.util.metrics import Family

_log = Logger()

#: seconds until the second attempt, doubled for each further one up to the longest
FIRST_S = 2.0
LONGEST_S = 600.0
#: the longest wait that a receiver may ask for, in seconds
LONGEST_ASKED_S = 3600.0
#: seconds after the first failed attempt when a report is given up
GIVE_UP_S = 12 * 3600.0
#: the most reports that wait in memory
MAX_WAITING = 1000
#: seconds between two savings of a position that moves without reports
SAVE_INTERVAL_S = 60.0
#: seconds that the current report has to end when the master stops
STOP_S = 5.0
#: statuses after which another attempt may succeed; 401 too, since tokens are renewed
LATER = frozenset({401, 408, 423, 425, 429, *range(500, 600)})


class SendLater(Exception):
    """A report cannot be sent now; it is sent again later.

    Args:
        reason: the text for the log.
        after_s: the delay in seconds that the receiver asks for; None: it does not say.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass
class Delivery:
    """The delivery of an event's report.

    Attributes:
        seq: the number of the event in the log.
        key, message: the event.
        order: reports with the same value are sent in their order; see `order_of`.
        done: the parts that have arrived, by names that the reporter chooses.
        tries: the number of attempts.
        failed_at: the time of the first failed attempt, by the reactor's clock: wall clocks may be set.
        due: the time of the next attempt, by the reactor's clock.
        may_have_arrived: whether an earlier attempt, also one of another process, may have arrived.
    """

    seq: int
    key: tuple[str, ...]
    message: Mapping[str, Any]
    order: tuple[str, Any]
    done: set[object] = field(default_factory=set)
    tries: int = 0
    failed_at: float | None = None
    due: float = 0.0
    may_have_arrived: bool = False


def order_of(key: tuple[str, ...], message: Mapping[str, Any]) -> tuple[str, Any]:
    """The object of an event: reports about one object keep their order."""
    if key[0] in ("builds", "buildrequests"):
        return "buildrequests", message.get("buildrequestid")
    return key[0], key[1] if len(key) > 1 else None


class Deliveries:
    """Counts of sent and failed reports of a master's reporters, for `/metrics`."""

    def __init__(self) -> None:
        self.sent: dict[tuple[str], float] = {}
        self.again: dict[tuple[str], float] = {}
        self.given_up: dict[tuple[str], float] = {}
        self.queues: dict[str, ReportQueue] = {}

    def families(self) -> Iterable[Family]:
        """The counts as metrics, by the reporters' names."""
        waiting = {(name,): float(queue.waiting) for name, queue in self.queues.items()}
        labels = ("reporter",)
        yield Family("reports_waiting", "gauge", "events that a reporter has not handled yet", labels, waiting)
        yield Family("reports_sent", "counter", "reports that arrived", labels, self.sent)
        yield Family("reports_tried_again", "counter", "attempts that failed and are repeated", labels, self.again)
        yield Family("reports_given_up", "counter", "reports that were given up", labels, self.given_up)


_deliveries: WeakKeyDictionary[Any, Deliveries] = WeakKeyDictionary()


def deliveries_of(master: Any) -> Deliveries:
    """The counts of a master, which are made at the first call."""
    if master not in _deliveries:
        made = _deliveries[master] = Deliveries()
        master.metrics.add(made.families)
    return _deliveries[master]


class OfOneMaster(ClaimedPart):
    """A part that one of several masters runs; its name is unique in the installation."""

    retry_s: ClassVar[float] = 60.0  # type: ignore[misc]

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.objectid = 0

    async def claim(self, masterid: int | None) -> bool:
        """As `ClaimedPart.claim`."""
        db = self.master.db
        self.objectid = await db.state.getObjectId(self.name, "Reporter")
        if masterid is None:
            await db.pool.do(thd_release, db, self.objectid)
            return True
        taken: bool = await db.pool.do(thd_take, db, self.objectid)
        return taken


class ReportQueue(OfOneMaster):
    """The queue of a reporter's events, while this master runs the reporter.

    Args:
        name: the name of the reporter.
        patterns: patterns of the events' routing keys.
        send: handles an event; gives True if a report was sent. Its exception decides whether it is called again.
    """

    def __init__(self, name: str, patterns: Sequence[Pattern], send: Callable[[Delivery], Awaitable[bool]]) -> None:
        super().__init__(name)
        self.patterns = list(dict.fromkeys(patterns))
        self._send = send
        self._items: dict[int, Delivery] = {}
        self._subscription: Subscription | None = None
        self._clock = 0
        self._skip: frozenset[int] = frozenset()
        self._skip_to = 0
        #: events up to this number may have been reported by the master that ran the reporter before
        self._began_at = 0
        self._failed: dict[int, int | None] = {}
        self._working: Deferred[Any] | None = None
        self._wake: Deferred[None] | None = None
        self._saving = False
        self._save_again = False
        self._saver: IDelayedCall | None = None

    @property
    def waiting(self) -> int:
        """The number of events that are not handled yet."""
        return len(self._items)

    @property
    def position(self) -> int:
        """The position in the log of events up to which it has read."""
        return self._clock if self._subscription is None else self._subscription.clock

    async def start_work(self) -> None:
        """Continue after the last event of the master that ran this reporter before."""
        deliveries_of(self.master).queues[self.name] = self
        stored = await self.master.db.state.getState(self.objectid, "feed", None)
        self._began_at = await self.master.data.clock()
        if stored is None:
            self._clock = self._began_at
            stored = {"clock": self._clock, "waiting": {}}
            await self._save()
        self._items.clear()
        self._clock = stored["clock"]
        self._failed = {int(seq): failed_at for seq, failed_at in stored["waiting"].items()}
        first = min(self._failed, default=self._clock + 1)
        # up to the clock only waiting events are handled, later ones all
        self._skip_to = self._clock
        await self._subscribe(min(first - 1, self._clock))
        self._saver = self.master.reactor.callLater(SAVE_INTERVAL_S, self._save_now_and_then)
        self._working = in_background(self._work(), f"{self!r}")

    async def _subscribe(self, since: int) -> None:
        try:
            self._subscription = await self.master.data.subscribe(self.patterns, self._hear, since)
        except SinceTooOldError:
            since = await self._begin_of_log()
            lost = [seq for seq in self._failed if seq <= since]
            for seq in lost:
                del self._failed[seq]
            self._count("given_up", max(len(lost), 1))
            _log.error(
                "reporter {name}: the log of events begins after {since}; earlier events are lost, and {count} waiting "
                "reports are given up",
                name=self.name, since=since, count=len(lost),
            )  # fmt: skip
            self._subscription = await self.master.data.subscribe(self.patterns, self._hear, since)
        self._subscription.on_lost = self._lost

    async def _begin_of_log(self) -> int:
        _, trimmed = await self.master.mq.clock()
        return trimmed

    def _lost(self) -> None:
        # the master ends then, and its next start logs the loss
        _log.error("reporter {name} is further behind than the log of events reaches back", name=self.name)

    async def stop_work(self) -> None:
        """Stop; the current report has `STOP_S` to end."""
        if self._saver is not None and self._saver.active():
            self._saver.cancel()
        if self._subscription is not None:
            self._clock = max(self._clock, self._subscription.clock)
            await maybeDeferred(self._subscription.stopConsuming)
            self._subscription = None
        working, self._working = self._working, None
        self._wake_up()
        if working is not None:
            impatience = self.master.reactor.callLater(STOP_S, working.cancel)
            await working
            if impatience.active():
                impatience.cancel()
        try:
            await self._save()
        except NotClaimedError:
            _log.debug("{part!r} is run by another master, which has the state", part=self)
        deliveries_of(self.master).queues.pop(self.name, None)

    # reading events

    def _hear(self, event: Event, key: tuple[str, ...]) -> None:
        if event.seq <= self._skip_to and event.seq not in self._failed:
            return
        if event.seq in self._items or not isinstance(event.message, Mapping):
            return
        self._items[event.seq] = Delivery(
            event.seq,
            key,
            event.message,
            order_of(key, event.message),
            failed_at=self._moved(self._failed.pop(event.seq, None), self.master.reactor.seconds()),
            may_have_arrived=event.seq <= self._began_at,
        )
        if len(self._items) >= MAX_WAITING and self._subscription is not None:
            self._subscription.pause()
        self._wake_up()

    # sending reports

    def _wake_up(self) -> None:
        waiting, self._wake = self._wake, None
        if waiting is not None:
            waiting.callback(None)

    async def _work(self) -> None:
        while self._subscription is not None:
            item, wait_s = self._next()
            if item is None:
                await self._rest(wait_s)
                continue
            if await self._try(item):
                self._items.pop(item.seq, None)
                self._save_soon()
                if len(self._items) <= MAX_WAITING // 2 and self._subscription is not None:
                    self._subscription.resume()

    def _next(self) -> tuple[Delivery | None, float | None]:
        """The first report that may be sent now; else None and the seconds until one may (None: no report waits)."""
        now, held, wait_s = self.master.reactor.seconds(), set(), None
        for item in self._items.values():
            if item.order in held:
                continue
            if item.due <= now:
                return item, None
            held.add(item.order)
            wait_s = item.due - now if wait_s is None else min(wait_s, item.due - now)
        return None, wait_s

    async def _rest(self, wait_s: float | None) -> None:
        resting: Deferred[None] = Deferred()
        self._wake = resting
        timer = None if wait_s is None else self.master.reactor.callLater(wait_s, self._wake_up)
        try:
            await resting
        finally:
            self._wake = None
            if timer is not None and timer.active():
                timer.cancel()

    async def _try(self, item: Delivery) -> bool:
        """Make an attempt; whether the event is handled now."""
        item.tries += 1
        try:
            if await self._send(item):
                self._count("sent")
            return True
        except CancelledError:
            raise  # the master stops
        except Exception as problem:
            item.may_have_arrived = True
            after_s = _again(problem)
            now = self.master.reactor.seconds()
            item.failed_at = now if item.failed_at is None else item.failed_at
            what = "/".join(item.key)
            if after_s is None or now - item.failed_at >= GIVE_UP_S:
                self._count("given_up")
                if after_s is None and not isinstance(problem, UnexpectedAnswerError):
                    _log.failure(
                        "reporter {name}: the report of {what} failed and is given up", name=self.name, what=what
                    )
                else:
                    _log.error(
                        "reporter {name}: the report of {what} is given up: {problem}",
                        name=self.name, what=what, problem=str(problem),
                    )  # fmt: skip
                return True
            delay_s = _delay_s(item.tries, after_s)
            item.due = self.master.reactor.seconds() + delay_s
            self._count("again")
            _log.warn(
                "reporter {name}: the report of {what} is tried again in {delay:.0f} s: {problem}",
                name=self.name, what=what, delay=delay_s, problem=str(problem),
            )  # fmt: skip
            self._save_soon()
            return False

    def _count(self, what: str, number: int = 1) -> None:
        counts: dict[tuple[str], float] = getattr(deliveries_of(self.master), what)
        counts[self.name,] = counts.get((self.name,), 0) + number

    # storing the position

    def _moved(self, wall: float | None, now: float) -> float | None:
        """A past time in Unix seconds, by the reactor's clock."""
        return None if wall is None else now - max(0.0, self.master.wall_seconds() - wall)

    def _feed(self) -> dict[str, Any]:
        if self._subscription is not None:
            self._clock = max(self._clock, self._subscription.clock)
            if self._subscription.clock >= self._skip_to:
                self._failed.clear()  # all were read again, except events that the reporter no longer wants
        waiting = {str(seq): failed_at for seq, failed_at in self._failed.items()}
        offset = self.master.wall_seconds() - self.master.reactor.seconds()
        for seq, item in self._items.items():
            if seq <= self._clock:
                waiting[str(seq)] = None if item.failed_at is None else int(item.failed_at + offset)
        return {"clock": self._clock, "waiting": waiting}

    async def _save(self) -> None:
        await self.master.db.pool.do(self._thd_save, self._feed())

    def _thd_save(self, conn: Connection, feed: dict[str, Any]) -> None:
        thd_hold(conn, self.master.db, self.objectid)
        self.master.db.state.thdSetState(conn, self.objectid, "feed", feed)

    def _save_soon(self) -> None:
        if self._saving:
            self._save_again = True
        else:
            self._saving = True
            in_background(self._save_until_saved(), f"saving the position of {self!r}")

    async def _save_until_saved(self) -> None:
        try:
            while True:
                self._save_again = False
                await self._save()
                if not self._save_again:
                    return
        except NotClaimedError:
            _log.warn("{part!r} is run by another master", part=self)
        finally:
            self._saving = False

    def _save_now_and_then(self) -> None:
        self._saver = self.master.reactor.callLater(SAVE_INTERVAL_S, self._save_now_and_then)
        self._save_soon()


class ServiceQueue:
    """The report queue of a service; a new queue begins when the service follows other events.

    Args:
        send: see `ReportQueue`.
    """

    def __init__(self, send: Callable[[Delivery], Awaitable[bool]]) -> None:
        self._send = send
        self._queue: ReportQueue | None = None

    async def follow(self, name: str, patterns: Sequence[Pattern], master: Any) -> None:
        """Handle the events of these patterns from now on.

        Args:
            name, patterns: see `ReportQueue`.
            master: the master that the service runs in.
        """
        if self._queue is not None and set(self._queue.patterns) == set(patterns):
            return
        await self.end()
        if patterns:
            self._queue = ReportQueue(name, patterns, self._send)
            await self._queue.run_in(master)

    async def end(self) -> None:
        """Stop; waiting events are handled after the next `follow`."""
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.stop_running()


def _again(problem: Exception) -> float | None:
    """The delay in seconds that the receiver asks for, 0 if it asks for none; None: another attempt is useless."""
    if isinstance(problem, SendLater):
        return problem.after_s or 0.0
    if isinstance(problem, UnexpectedAnswerError):
        return 0.0 if problem.status in LATER else None
    if isinstance(problem, NoAnswerError | OSError | network.ConnectError | network.ConnectionClosed):
        return 0.0
    if isinstance(problem, network.TimeoutError) or is_unavailable(problem):
        return 0.0
    return None


def _delay_s(tries: int, asked_s: float) -> float:
    longest = min(LONGEST_S, FIRST_S * 2.0 ** min(tries - 1, 20))
    # random, so that many reports and masters do not try again at the same moment
    return max(longest * random.uniform(0.5, 1.0), min(asked_s, LONGEST_ASKED_S) * random.uniform(1.0, 1.1))
