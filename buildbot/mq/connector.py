"""The message queue, ``master.mq``: events for subscribers in every master of the installation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from weakref import WeakSet

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.connector import DBConnector
from buildbot.db.dialects.base import NotAnsweredError
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.statements import Statement
from buildbot.mq.log import ASIDE, Event, EventLog, thdClock, thdCreatedAt, thdTrim
from buildbot.mq.match import Pattern, PatternIndex
from buildbot.mq.subscription import Deliver, Subscription
from buildbot.mq.tail import LogTail
from buildbot.resources.events import consumers
from buildbot.util import checks, jsontext
from buildbot.util.deferreds import deferred
from buildbot.util.metrics import Family, counter

log = Logger()

Callback = Callable[[tuple[str, ...], Any], Any]

#: seconds between two saves of the positions of persistent consumers without events, so that they do not get too old
SAVE_INTERVAL_S = 60.0

_cursor_of = Statement(select(consumers.c.seq).where(consumers.c.name_hash == bindparam("hash")))
_move_cursor = Statement(
    update(consumers)
    # saves may overtake each other; a position never goes back
    .where(consumers.c.name_hash == bindparam("hash"), consumers.c.seq < bindparam("new_seq"))
    .values(seq=bindparam("new_seq"))
)
_add_cursor = Statement(
    insert(consumers).values(name_hash=bindparam("hash"), name=bindparam("name"), seq=bindparam("new_seq"))
)


class CursorTooOldError(Exception):
    """A persistent consumer was away for longer than the log reaches back."""


class MQConnector:
    """Produces and consumes events. Filters are tuples in which None matches any one segment."""

    def __init__(self, db: DBConnector, reactor: Any) -> None:
        self._db = db
        self._reactor = reactor
        self._index: PatternIndex[Subscription] = PatternIndex()
        self.tail = LogTail(db, reactor, self.clock, self._dispatch, self._skipped)
        db.pool.groups.outbox = EventLog(db, lambda: self.tail.position)
        self._persistent: dict[str, Subscription] = {}
        #: the positions of consumers with a name in this process; they may not be saved yet
        self._heard: dict[str, int] = {}
        self._saves = LoopingCall(self._save_positions)
        self._saves.clock = reactor
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._dispatched = 0
        self._clock_reader = db.dialect.clock_reader(reactor)
        #: called after subscriptions ended because this process was away for longer than the log reaches back
        self.on_skipped: Callable[[], Any] | None = None

    async def start(self) -> None:
        """Follow the log from now on."""
        await self.tail.start()

    def stop(self) -> None:
        """Deliver no more."""
        self.tail.stop()
        if self._clock_reader is not None:
            self._clock_reader.close()
        if self._saves.running:
            self._saves.stop()

    def produce(self, routing_key: Sequence[str], message: Any) -> Deferred[None]:
        """Announce a message to all subscribers of all masters; a Deferred that fires once it is in the log.

        Args:
            routing_key: tuple of text, without slashes and line ends.
            message: a JSON value.
        """
        key = _checked_key(routing_key)
        jsontext.dumps(message, "message")

        def thdProduce(conn: Connection) -> None:
            transaction_of(conn).events.append((("/".join(key),), message))

        return self._db.pool.do(thdProduce)

    @deferred
    async def startConsuming(
        self, callback: Callback, filter: Pattern, persistent_name: str | None = None
    ) -> Subscription:
        """Call ``callback(routing_key, message)`` for every event that matches, in order.

        Args:
            callback: gets a tuple of text and simple values, which it must not change.
            filter: tuple of text and None.
            persistent_name: a consumer with a name goes on where it was when it last stopped, restarts included. If the
                process was killed, it may get the last few events again.

        Returns:
            Deferred firing with an object with ``.clock`` and ``.stopConsuming()``; no callback runs before. After
            ``stopConsuming`` was called none runs any more. If this process was paused until the log no longer held
            the next event, it stops by itself: ``.stopped`` is true, and ``.on_lost`` was called if one was set.

        Raises:
            CursorTooOldError: the log no longer holds the events after the consumer's last position.
        """
        pattern = tuple(None if segment is None else checks.text(segment, "filter") for segment in filter)

        def deliver(event: Event, key: tuple[str, ...]) -> None:
            callback(key, event.message)

        if persistent_name is None:
            return await self.subscribe([pattern], deliver)
        return await self._consume_persistently(persistent_name, pattern, callback)

    async def subscribe(self, patterns: Sequence[Pattern], deliver: Deliver, since: int | None = None) -> Subscription:
        """A subscription to several patterns from a number on, or from now."""
        begin = since if since is not None else (await self._db.pool.read(thdClock))[0]
        subscription = Subscription(self._db, self._reactor, self.tail, self._index, patterns, deliver, begin)
        subscription.start()
        self._subscriptions.add(subscription)
        return subscription

    def clock(self) -> Deferred[tuple[int, int]]:
        """The last number given out and the last one removed from the log; Deferred."""
        reading = None if self._clock_reader is None else self._clock_reader.read()
        return self._db.pool.read_short(thdClock) if reading is None else reading.addErrback(self._read_clock_otherwise)

    def _read_clock_otherwise(self, failure: Failure) -> Deferred[tuple[int, int]]:
        failure.trap(NotAnsweredError)
        return self._db.pool.read(thdClock)

    async def behind(self) -> int:
        """The seconds for which the next event has waited to be delivered; 0 if none waits."""
        created_at = await self._db.pool.read(thdCreatedAt, self.tail.position + 1)
        return 0 if created_at is None else max(self._db.pool.groups.clock.now() - created_at, 0)

    def trim(self, before: int, keep: int | None = None) -> Deferred[int]:
        """Remove events created at or before a time, and all but the newest ``keep``; Deferred with the last number
        removed.
        """
        return self._db.pool.do(thdTrim, before, keep)

    @deferred
    async def waitUntilEvent(
        self, filter: Pattern, check_callback: Callable[[], Any]
    ) -> tuple[tuple[str, ...], Any] | None:
        """Wait for the first event that matches.

        Args:
            check_callback: called after the subscription. If its result, or that of its Deferred, is true, the event
                has happened already, and the result is None.

        Returns:
            Deferred with ``(routing_key, message)``.
        """
        happened: Deferred[tuple[tuple[str, ...], Any]] = Deferred()

        def first(key: tuple[str, ...], message: Any) -> None:
            if not happened.called:
                happened.callback((key, message))

        subscription = await self.startConsuming(first, filter)
        try:
            checked = check_callback()
            if isinstance(checked, Deferred):
                checked = await checked
            return None if checked else await happened
        finally:
            await subscription.stopConsuming()

    def metrics(self) -> Iterable[Family]:
        """Numbers of subscriptions and delivered events."""
        states = {("live",): 0, ("catching up",): 0, ("paused",): 0}
        for subscription in self._subscriptions:
            if not subscription.stopped:
                states[subscription.state,] += 1
        yield counter("events_dispatched", "events that this master has handed to its subscribers", self._dispatched)
        yield Family("subscribers", "gauge", "subscriptions to the stream of events", ("state",), states)

    def _dispatch(self, event: Event) -> None:
        self._dispatched += 1
        for joined in event.keys:
            key = tuple(joined.split("/"))
            for subscription in self._index.matching(key):
                subscription.hear(event, key)

    def _skipped(self, through: int) -> None:
        log.error(
            "the log of events no longer holds {first} to {through}; subscriptions that have not had them end",
            first=self.tail.position + 1,
            through=through,
        )
        for subscription in list(self._subscriptions):
            subscription.skipped(through)
        if self.on_skipped is not None:
            self.on_skipped()

    async def _consume_persistently(self, name: str, pattern: Pattern, callback: Callback) -> Subscription:
        name_hash = checks.name_hash(checks.text(name, "persistent_name"))
        if name in self._persistent and not self._persistent[name].stopped:
            raise ValueError(f"persistent_name: a consumer {name!r} is running already")

        def thdAdd(conn: Connection, seq: int) -> None:
            with again_if_taken(conn):
                if _cursor_of.scalar(conn, hash=name_hash) is None:
                    _add_cursor.run(conn, hash=name_hash, name=name, new_seq=seq)

        def deliver(event: Event, key: tuple[str, ...]) -> None:
            callback(key, event.message)
            self._heard[name] = event.seq
            self._save_position(name, event.seq)

        saved, (newest, trimmed) = await self._db.pool.snapshot(
            lambda conn: (_cursor_of.scalar(conn, hash=name_hash), thdClock(conn))
        )
        since = newest if saved is None else max(saved, self._heard.get(name, 0))
        if saved is None:
            await self._db.pool.do(thdAdd, since)
        elif since < trimmed:
            await self._db.pool.do(_thdSave, name, newest)
            raise CursorTooOldError(
                f"persistent_name: {name!r} has not heard the events from {since + 1} to {trimmed}, and they are gone;"
                f" fetch anew what it follows, it goes on after {newest}"
            )
        subscription = await self.subscribe([pattern], deliver, since)
        self._persistent[name] = subscription
        if not self._saves.running:
            self._saves.start(SAVE_INTERVAL_S, now=False)
        return subscription

    def _save_positions(self) -> None:
        for name, subscription in self._persistent.items():
            if not subscription.stopped:
                self._save_position(name, subscription.clock)

    def _save_position(self, name: str, seq: int) -> None:
        saving = self._db.pool.do(_thdSave, name, seq)
        saving.addErrback(lambda failure: log.failure("the position of {name!r} is not saved", failure, name=name))


def _thdSave(conn: Connection, name: str, seq: int) -> None:
    _move_cursor.run(conn, hash=checks.name_hash(name), new_seq=seq)


def _checked_key(routing_key: Sequence[str]) -> tuple[str, ...]:
    if isinstance(routing_key, str) or not routing_key:
        raise TypeError(f"routing_key must be a tuple of text, not {routing_key!r}")
    for segment in routing_key:
        checks.text(segment, "routing_key")
        if "/" in segment or "\n" in segment:
            raise ValueError(f"routing_key: {segment!r} has a slash or line end in it")
    if routing_key[0].startswith(ASIDE):
        raise ValueError(f"routing_key: {routing_key[0]!r} begins with {ASIDE!r}")
    return tuple(routing_key)
