"""The state of the installation in numbers, for ``master.metrics``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from buildbot.db.connector import DBConnector
from buildbot.mq.connector import MQConnector
from buildbot.mq.log import thdClock
from buildbot.util.metrics import Family, gauge
from buildbot.util.singleflight import SingleFlight, TimeoutError

if TYPE_CHECKING:
    from buildbot.data.updates import Updates

#: seconds for which an answer of the database is used, and seconds to wait for one
KEEP_S = 5.0
WAIT_S = 2.0


@dataclass(frozen=True)
class _State:
    clock: int
    pending: int
    oldest: int | None


class StateMetrics:
    """The queue, the clock and the claims.

    A query runs at most every ``KEEP_S``. While the database does not answer, the numbers from queries are left out.
    """

    def __init__(self, db: DBConnector, mq: MQConnector, updates: Updates) -> None:
        self._db = db
        self._mq = mq
        self._updates = updates
        self._state = SingleFlight(self._read, db.pool.reactor, KEEP_S, WAIT_S)

    async def families(self) -> list[Family]:
        """All families of numbers."""
        found = list(self._counted())
        try:
            found += self._queried(await self._state.get())
        except TimeoutError:
            found.append(gauge("database_up", "1 if the database answers", 0))
        return found

    async def _read(self) -> _State:
        return await self._db.pool.snapshot(self._thdRead)

    def _thdRead(self, conn: Connection) -> _State:
        newest, _ = thdClock(conn)
        return _State(newest, *self._db.buildrequests.thdQueue(conn))

    def _counted(self) -> Iterator[Family]:
        claims = {(outcome,): number for outcome, number in self._updates.claims.items()}
        yield Family("claims", "counter", "claims of requests, won, or lost to another master", ("outcome",), claims)

    def _queried(self, state: _State) -> Iterator[Family]:
        age = 0 if state.oldest is None else max(self._db.pool.groups.clock.now() - state.oldest, 0)
        lag = max(state.clock - self._mq.tail.position, 0)
        yield gauge("database_up", "1 if the database answers", 1)
        yield gauge("queue_length", "requests that wait to be claimed, of all masters", state.pending)
        yield gauge("queue_oldest_seconds", "since the first of them was submitted", age)
        yield gauge("clock", "number of the newest event of the installation", state.clock)
        yield gauge("stream_lag_events", "events that this master has not delivered yet", lag)
