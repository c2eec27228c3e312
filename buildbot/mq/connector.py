"""The message queue, ``master.mq``: events for whoever listens, in every master of the installation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.connector import DBConnector
from buildbot.db.pool import transaction_of
from buildbot.db.statements import Statement
from buildbot.mq.log import Event, EventLog, thdClock, thdTrim
from buildbot.mq.match import Pattern, PatternIndex
from buildbot.mq.subscription import Deliver, Subscription
from buildbot.mq.tail import LogTail
from buildbot.resources.events import consumers
from buildbot.util import checks, jsontext
from buildbot.util.deferreds import deferred

Callback = Callable[[tuple[str, ...], Any], Any]

_cursor_of = Statement(select(consumers.c.seq).where(consumers.c.name_hash == bindparam("hash")))
_move_cursor = Statement(
    update(consumers).where(consumers.c.name_hash == bindparam("hash")).values(seq=bindparam("new_seq"))
)
_add_cursor = Statement(
    insert(consumers).values(name_hash=bindparam("hash"), name=bindparam("name"), seq=bindparam("new_seq"))
)


class MQConnector:
    """Produces and consumes events. Filters are tuples in which None matches any one segment."""

    def __init__(self, db: DBConnector, reactor: Any) -> None:
        self._db = db
        self._reactor = reactor
        self._index: PatternIndex[Subscription] = PatternIndex()
        self._log = EventLog(db)
        db.pool.journal = self._log
        self.tail = LogTail(db, reactor, self._dispatch)
        self._persistent: dict[str, Subscription] = {}

    async def start(self) -> None:
        """Follow the log from now on."""
        await self.tail.start()

    def stop(self) -> None:
        """Deliver no more."""
        self.tail.stop()

    def produce(self, routing_key: Sequence[str], message: Any) -> Deferred[None]:
        """Announce a message to every listener of every master; a Deferred that fires once it is in the log.

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
            persistent_name: a consumer with a name goes on where it was when it last stopped, restarts included.

        Returns:
            Deferred firing with an object with ``.clock`` and ``.stopConsuming()``; no callback runs before. After
            ``stopConsuming`` was called none runs any more.
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
        return subscription

    def clock(self) -> Deferred[tuple[int, int]]:
        """The last number given out and the last one that is gone from the log; Deferred."""
        return self._db.pool.read(thdClock)

    def trim(self, before: int) -> Deferred[int]:
        """Remove events created at or before a time; Deferred with the last number removed."""
        return self._db.pool.do(thdTrim, before)

    @deferred
    async def waitUntilEvent(
        self, filter: Pattern, check_callback: Callable[[], Any]
    ) -> tuple[tuple[str, ...], Any] | None:
        """Wait for the first event that matches.

        Args:
            check_callback: called once we listen; if it gives (or its Deferred fires with) something true, what we wait
                for has happened already, and None is returned.

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

    def _dispatch(self, event: Event) -> None:
        for joined in event.keys:
            key = tuple(joined.split("/"))
            for subscription in list(self._index.matching(key)):
                if not subscription.stopped:
                    subscription.hear(event, key)

    async def _consume_persistently(self, name: str, pattern: Pattern, callback: Callback) -> Subscription:
        name_hash = checks.name_hash(checks.text(name, "persistent_name"))
        if name in self._persistent and not self._persistent[name].stopped:
            raise ValueError(f"persistent_name: a consumer {name!r} is running already")

        def thdSave(conn: Connection, seq: int) -> None:
            if not _move_cursor.count(conn, hash=name_hash, new_seq=seq):
                _add_cursor.run(conn, hash=name_hash, name=name, new_seq=seq)

        def deliver(event: Event, key: tuple[str, ...]) -> None:
            callback(key, event.message)
            self._db.pool.do(thdSave, event.seq)

        since = await self._db.pool.read(lambda conn: _cursor_of.scalar(conn, hash=name_hash))
        if since is None:
            since, _ = await self._db.pool.read(thdClock)
            await self._db.pool.do(thdSave, since)
        subscription = await self.subscribe([pattern], deliver, since)
        self._persistent[name] = subscription
        return subscription


def _checked_key(routing_key: Sequence[str]) -> tuple[str, ...]:
    if isinstance(routing_key, str) or not routing_key:
        raise TypeError(f"routing_key must be a tuple of text, not {routing_key!r}")
    for segment in routing_key:
        checks.text(segment, "routing_key")
        if "/" in segment or "\n" in segment:
            raise ValueError(f"routing_key: {segment!r} has a slash or line end in it")
    return tuple(routing_key)
