"""The tail of the log: when it wakes the other masters."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock

from buildbot.db.transaction import Committed
from buildbot.mq.log import thdEventsAfter
from buildbot.mq.tail import LOOK_INTERVAL_S, NOTIFY_INTERVAL_S, READ_INTERVAL_S, LogTail


class Database:
    """A database that wakes its listeners, and counts the wake-ups."""

    in_memory = False
    on_commit: Any = None

    def __init__(self) -> None:
        self.dialect = self.pool = self
        self.notified = 0

    def read(self, function: Any, *args: Any) -> Deferred[Any]:
        """The clock, or a wake-up."""
        if function == self.notify:
            self.notified += 1
        return succeed((0, 0))

    def notify(self, conn: Any) -> None:
        """As ``Dialect.notify``."""

    def listen(self, wake: Any) -> Any:
        """As ``Dialect.listen``."""
        return self

    def close(self) -> None:
        """As ``Listener.close``."""


def nothing_new() -> Deferred[tuple[int, int]]:
    """A clock that does not move."""
    return succeed((0, 0))


def test_looks_at_the_clock() -> None:
    """Where the database sends wake-ups the tail looks at the clock, too, twice a second, one look at a time, and
    reads if it moved: a master may have been killed between its commit and the wake-up.
    """
    reactor, database = Clock(), Database()
    looks: list[Deferred[tuple[int, int]]] = []

    def look() -> Deferred[tuple[int, int]]:
        looks.append(Deferred())
        return looks[-1]

    tail = LogTail(database, reactor, look, lambda event: None, lambda through: None)  # type: ignore[arg-type]
    ensureDeferred(tail.start())
    woken: list[bool] = []
    tail.wake = lambda: woken.append(True)  # type: ignore[method-assign]
    assert 2 * LOOK_INTERVAL_S <= 1
    reactor.pump([LOOK_INTERVAL_S] * 3)
    assert len(looks) == 1
    looks.pop().callback((tail.position, 0))
    assert not woken
    reactor.advance(LOOK_INTERVAL_S)
    looks.pop().errback(ConnectionError("away"))
    reactor.advance(LOOK_INTERVAL_S)
    looks.pop().callback((tail.position + 1, 0))
    assert woken
    tail.stop()


def test_wakes_others() -> None:
    """Soon after a commit, once for all that is committed meanwhile, and for the last ones before it stops."""
    reactor, database = Clock(), Database()
    delivered: list[Any] = []
    tail = LogTail(database, reactor, nothing_new, delivered.append, delivered.append)  # type: ignore[arg-type]
    ensureDeferred(tail.start())
    commit = iter(range(1, 100))

    def committed() -> None:
        number = next(commit)
        database.on_commit(Committed(number, number, []))
        tail.position = number

    reactor.advance(1)
    committed()
    reactor.advance(0)
    assert database.notified == 1
    for _ in range(10):
        committed()
        reactor.advance(NOTIFY_INTERVAL_S / 20)
    assert database.notified == 1
    reactor.advance(NOTIFY_INTERVAL_S)
    assert database.notified == 2
    reactor.advance(1)
    assert database.notified == 2
    committed()
    tail.stop()
    assert database.notified == 3
    assert not reactor.getDelayedCalls()


def test_wake_ups_side_by_side_are_one_look() -> None:
    """The first is obeyed at once; those of the next moments are one look at the end of it, and none is forgotten."""
    reactor, database = Clock(), Database()
    looks: list[Deferred[list[Any]]] = []

    def read(function: Any, *args: Any) -> Deferred[Any]:
        if function is thdEventsAfter:
            looks.append(Deferred())
            return looks[-1]
        return succeed((0, 0))

    tail = LogTail(database, reactor, nothing_new, lambda event: None, lambda through: None)  # type: ignore[arg-type]
    ensureDeferred(tail.start())
    database.read_short = read  # type: ignore[attr-defined]
    tail.wake()
    assert len(looks) == 1
    tail.wake()  # while it reads
    looks[0].callback([])
    for _ in range(10):
        tail.wake()
    assert len(looks) == 1
    reactor.advance(READ_INTERVAL_S)
    assert len(looks) == 2
    looks[1].callback([])
    reactor.advance(READ_INTERVAL_S)
    assert len(looks) == 2
    tail.wake()
    tail.wake()
    tail.stop()
    assert not reactor.getDelayedCalls()
