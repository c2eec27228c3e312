"""Reports that arrive: each event that a reporter wants is handled at least once, in order, also after a crash.

**One master.** A reporter is known by its name in the whole installation. Of the masters that have it in their
configuration one runs it, whichever master ran the build; when that one ends or is taken for dead, another goes on
(`buildbot.db.held`).

**State.** One JSON value in the database (object *name of the reporter*, class ``Reporter``, key ``feed``)::

    {"clock": 812, "waiting": {"790": null, "803": 1795880774}}

Every event up to *clock* was heard. Those in *waiting* are not dealt with yet; their value is when the first attempt
failed (Unix seconds). Whoever takes the reporter up reads the log of events from the first of these on and leaves out
the others. The state is written behind what happens, so after a crash the last reports may be sent again, and none is
lost; `Delivery.may_have_arrived` tells which these may be. A reporter that is new begins with the events after now.

**Order.** What is about one build request, its builds included, goes out in the order in which it happened. One report
is sent at a time. One that could not be sent waits, longer each time (`FIRST_S`, `LONGEST_S`, or as long as the
receiver says), and what is about other requests goes on meanwhile. After `GIVE_UP_S` it is given up.

**Bounds.** At most `MAX_WAITING` reports wait in memory; then the log is not read on until there is room. An event that
the log no longer holds is given up, and said so.
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

#: seconds until the second attempt, twice as many each time, up to the longest
FIRST_S = 2.0
LONGEST_S = 600.0
#: the longest wait that a receiver may ask for, in seconds
LONGEST_ASKED_S = 3600.0
#: seconds after the first attempt from which on a report is given up
GIVE_UP_S = 12 * 3600.0
#: reports that wait in memory
MAX_WAITING = 1000
#: seconds between two savings of a position that moves without reports
SAVE_INTERVAL_S = 60.0
#: seconds that a report under way gets when the master stops
STOP_S = 5.0
#: answers that may be better later; 401 too: tokens are renewed
LATER = frozenset({401, 408, 423, 425, 429, *range(500, 600)})


class SendLater(Exception):
    """Raised by a reporter that cannot send a report now: the report is sent again later.

    Args:
        reason: for the log.
        after_s: seconds that the receiver asks for; None: it does not say.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


@dataclass
class Delivery:
    """An event on its way to a receiver.

    Attributes:
        seq: its number in the history of the installation, the same however often it is tried.
        key, message: the event.
        order: what it must not overtake others about.
        done: parts of it that have arrived, by any names that the reporter gives them.
        failed_at: when the first attempt failed, by the reactor's clock: that of the wall may be set meanwhile.
        due: when it is tried again, by the reactor's clock.
        may_have_arrived: whether it may have been sent before, by another process or by an attempt that failed.
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
        """By the reporters' names."""
        waiting = {(name,): float(queue.waiting) for name, queue in self.queues.items()}
        labels = ("reporter",)
        yield Family("reports_waiting", "gauge", "events that a reporter has not dealt with yet", labels, waiting)
        yield Family("reports_sent", "counter", "reports that arrived", labels, self.sent)
        yield Family("reports_tried_again", "counter", "attempts that failed and are repeated", labels, self.again)
        yield Family("reports_given_up", "counter", "reports that will never arrive", labels, self.given_up)


_deliveries: WeakKeyDictionary[Any, Deliveries] = WeakKeyDictionary()


def deliveries_of(master: Any) -> Deliveries:
    """The counts of a master; made when the first reporter starts."""
    if master not in _deliveries:
        made = _deliveries[master] = Deliveries()
        master.metrics.add(made.families)
    return _deliveries[master]


class OfOneMaster(ClaimedPart):
    """A part that one of several masters runs, and whose name is unique in the whole installation."""

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
    """The events of one reporter, while this master runs it.

    Args:
        name: the reporter's.
        patterns: of routing keys, which events it wants.
        send: deals with one of them; what it raises decides whether it is tried again. True if anything was sent.
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
        #: events up to here may have been reported by the master that ran it before
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
        # up to the clock only what waits is wanted; later everything is
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
                "reporter {name}: the log of events begins after {since}; it does not know what happened before, and "
                "gives up {count} reports that waited",
                name=self.name, since=since, count=len(lost),
            )  # fmt: skip
            self._subscription = await self.master.data.subscribe(self.patterns, self._hear, since)
        self._subscription.on_lost = self._lost

    async def _begin_of_log(self) -> int:
        _, trimmed = await self.master.mq.clock()
        return trimmed

    def _lost(self) -> None:
        # the whole master ends then, and its next start says what was lost
        _log.error("reporter {name} was away for longer than the log of events reaches back", name=self.name)

    async def stop_work(self) -> None:
        """Stop; a report under way gets some seconds to end."""
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
            _log.debug("{part!r} is run by another master, which knows what waits", part=self)
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
        """The first report that may go out now; else how long until one may."""
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
        """Try to send; whether it is handled now."""
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
                self._failed.clear()  # all failed events were read again, except events that the reporter wants no more
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
    """The report queue of a service, while the service runs; it begins anew where the service follows other events.

    Args:
        send: see `ReportQueue`.
    """

    def __init__(self, send: Callable[[Delivery], Awaitable[bool]]) -> None:
        self._send = send
        self._queue: ReportQueue | None = None

    async def follow(self, name: str, patterns: Sequence[Pattern], master: Any) -> None:
        """Follow the events of these patterns, and no others.

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
        """Stop; events that wait are handled after the next `follow`."""
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.stop_running()


def _again(problem: Exception) -> float | None:
    """Seconds that the receiver asks for before the next attempt, 0 if it asks for none; None: it would not help."""
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
    # many masters, and many reports, must not come back at the same moment
    return max(longest * random.uniform(0.5, 1.0), min(asked_s, LONGEST_ASKED_S) * random.uniform(1.0, 1.1))
