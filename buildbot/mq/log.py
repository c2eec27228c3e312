"""The log of events: written in the caller's transaction, read by subscriptions."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.engine import Connection

from buildbot.db.connector import DBConnector
from buildbot.db.dialects.context import dialect_of
from buildbot.db.engine.statements import Row, Statement
from buildbot.db.exceptions import OutcomeUnknownError
from buildbot.db.transaction import Announcement, Committed, OutboxEntry
from buildbot.resources.events import clock, events
from buildbot.util import jsontext

_COLUMNS = [column.name for column in events.columns]
_of_group = Statement(
    select(func.max(events.c.seq)).where(events.c.seq > bindparam("after"), events.c.group_token == bindparam("token"))
)
_clock = Statement(select(clock.c.seq, clock.c.trimmed).where(clock.c.id == 1))
_after = Statement(
    select(events.c.seq, events.c.routing_keys, events.c.body)
    .where(events.c.seq > bindparam("since"))
    .order_by(events.c.seq)
    .limit(bindparam("count"))
)
_created = Statement(select(events.c.created_at).where(events.c.seq == bindparam("seq")))
_trim = Statement(delete(events).where(events.c.seq <= bindparam("through")))
_set_trimmed = Statement(
    update(clock).where(clock.c.id == 1, clock.c.trimmed < bindparam("through")).values(trimmed=bindparam("through"))
)


#: the first character of an aside, a JSON object after the routing keys; no key begins with it
ASIDE = "{"


class Event:
    """One event: its number, its routing keys, and its message, serialized once."""

    __slots__ = ("_aside", "aside", "body", "keys", "message", "seq")

    #: the message as simple values, parsed at the first use; all subscribers share it, so it must not be changed
    message: Any
    #: the aside: attributes of the resource that the message does not have, parsed at the first use, for the
    #: conditions of subscriptions
    aside: dict[str, Any] | None

    def __init__(self, seq: int, keys: tuple[str, ...], body: bytes) -> None:
        self.seq = seq
        self._aside: str | None = None
        if keys and keys[-1].startswith(ASIDE):
            self._aside = keys[-1]
            keys = keys[:-1]
        #: each with its segments joined by slashes
        self.keys = keys
        #: JSON
        self.body = body

    def __getattr__(self, name: str) -> Any:
        if name == "message":
            self.message = jsontext.loads(self.body)
            return self.message
        if name == "aside":
            self.aside = None if self._aside is None else jsontext.loads(self._aside)
            return self.aside
        raise AttributeError(name)


class EventLog:
    """Appends to the log; the pool calls it last in every writing transaction.

    Args:
        position: gives a number that has been given out, as new as is known.
    """

    def __init__(self, db: DBConnector, position: Callable[[], int]) -> None:
        self._db = db
        self._position = position

    def entry(self, announced: list[Announcement], now: int, mark: bool) -> OutboxEntry | None:
        """See ``buildbot.db.transaction.Outbox``."""
        if not announced:
            if not mark:
                return None
            announced = [((), None)]
        token = secrets.token_hex(16) if mark else ""
        unnumbered = [Event(0, keys, jsontext.encoded(message)) for keys, message in announced]
        joined = ["\n".join(keys) for keys, _ in announced]
        bodies = [event.body.decode() for event in unnumbered]
        return OutboxEntry(unnumbered, joined, bodies, self._db.masterid, token, now, self._position())

    def append(self, conn: Connection, entry: OutboxEntry) -> Committed:
        """See ``buildbot.db.transaction.Outbox``."""
        dialect = dialect_of(conn)
        last = dialect.commit_with_events(conn, entry)
        if last is None:
            count = len(entry.events)
            last = dialect.count_up(conn, clock.c.seq, 1, count)
            seqs = range(last - count + 1, last + 1)
            same = entry.masterid, entry.token, entry.created_at
            rows = [(*own, *same) for own in zip(seqs, entry.keys, entry.bodies, strict=True)]
            dialect.insert_many(conn, events, _COLUMNS, rows)
        return _numbered(entry, last)

    def find(self, conn: Connection, entry: OutboxEntry) -> Committed | None:
        """See ``buildbot.db.transaction.Outbox``."""
        last = _of_group.scalar(conn, after=entry.after, token=entry.token)
        if last is not None:
            return _numbered(entry, int(last))
        if thdClock(conn)[1] > entry.after:
            raise OutcomeUnknownError("the connection was lost during COMMIT, and the log has been trimmed since")
        return None


def _numbered(entry: OutboxEntry, last: int) -> Committed:
    first = last - len(entry.events) + 1
    for seq, event in enumerate(entry.events, first):
        event.seq = seq
    return Committed(first, last, entry.events)


def thdClock(conn: Connection) -> tuple[int, int]:
    """The last number given out and the last one removed from the log."""
    row = _clock.first(conn)
    assert row is not None
    return int(row[0]), int(row[1])


def thdEventsAfter(conn: Connection, since: int, count: int) -> list[Event]:
    """At most ``count`` events after a number, in order."""
    return [_event(row) for row in _after.all(conn, since=since, count=count)]


def thdCreatedAt(conn: Connection, seq: int) -> int | None:
    """When an event was appended; None if it is not in the log."""
    created: int | None = _created.scalar(conn, seq=seq)
    return created


def thdTrim(conn: Connection, before: int, keep: int | None = None) -> int:
    """Remove events created at or before a time, and all but the newest ``keep``, but never from the middle.

    Returns the number up to which all are gone.
    """
    newest, trimmed = thdClock(conn)
    # times rise with the numbers, if the masters' clocks agree
    held = range(trimmed + 1, newest + 1)
    through = trimmed + bisect_right(held, before, key=lambda seq: thdCreatedAt(conn, seq) or 0)
    if keep is not None:
        through = max(through, newest - keep)
    if through > trimmed:
        _set_trimmed.run(conn, through=through)
        _trim.run(conn, through=through)
    return max(through, trimmed)


def _event(row: Row) -> Event:
    seq, keys, body = row
    return Event(seq, tuple(keys.split("\n")) if keys else (), body.encode())
