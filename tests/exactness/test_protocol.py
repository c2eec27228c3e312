"""The claim and log protocol over the real code, in orders that Hypothesis chooses: two masters on one database."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select
from sqlalchemy.engine import Connection

from buildbot.data.exceptions import SinceTooOldError
from buildbot.db.exceptions import NotClaimedError
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.events import events
from buildbot.util.results import SUCCESS
from tests.exactness.judge import Judge, LogRow
from tests.exactness.replica import Replica
from tests.support.building import add_requests
from tests.support.events import Listener
from tests.support.reactor import run
from tests.support.state import Database

who = st.integers(0, 1)


def thd_log(conn: Connection, after: int) -> list[LogRow]:
    """The log after a number."""
    columns = (events.c.seq, events.c.routing_keys, events.c.body, events.c.masterid)
    rows = conn.execute(select(*columns).where(events.c.seq > after).order_by(events.c.seq)).all()
    return [(row[0], row[1], row[2], row[3]) for row in rows]


class Protocol(RuleBasedStateMachine):
    """The claims that each master assumes, and the judge of the log; a follower that snapshots and resumes."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.database.empty()
        self._open = contextlib.ExitStack()
        first = self._open.enter_context(self.database.master("host:/alpha"))
        self.masters = [first, self._open.enter_context(self.database.master("host:/beta"))]
        self.judge = Judge()
        self.judge.last = run(self._oldest())
        #: whether a master does not know that it was declared dead
        self.dead = [False, False]
        #: requests and their builds, as each master believes
        self.held: list[dict[int, int | None]] = [{}, {}]
        self.requests: list[int] = []
        self.rows: list[dict[str, Any]] = []
        self.since = 0
        self._do(self._snapshot())

    def teardown(self) -> None:
        """The next example begins anew."""
        self._open.close()

    async def _oldest(self) -> int:
        _, trimmed = await self.masters[0].mq.clock()
        return int(trimmed)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, and let the judge read its events."""
        try:
            return run(work)
        finally:
            self.judge.read(run(self.masters[0].db.pool.read(thd_log, self.judge.last)))

    def _refused_if_dead(self, master: int, work: Coroutine[Any, Any, Any]) -> Any:
        """A write about a claim: refused exactly if the master was declared dead."""
        if not self.dead[master]:
            return self._do(work)
        with pytest.raises(NotClaimedError):
            self._do(work)
        return None

    def _update(self, master: int) -> Any:
        return self.masters[master].data.update

    @rule(count=st.integers(1, 3))
    def add(self, count: int) -> None:
        """Requests come."""
        _, brids = self._do(add_requests(self.masters[0], *(f"b{number}" for number in range(count))))
        self.requests += brids

    @precondition(lambda self: self.requests)
    @rule(master=who, data=st.data())
    def claim(self, master: int, data: st.DataObject) -> None:
        """All or none; none for a master that was declared dead."""
        wanted = data.draw(st.lists(st.sampled_from(self.requests), min_size=1, max_size=3))
        free = all(
            self.judge.requests[brid].owner is None and not self.judge.requests[brid].complete for brid in wanted
        )
        won = self._do(self._claim(master, wanted))
        assert won == (free and not self.dead[master])
        if won:
            self.held[master].update(dict.fromkeys(wanted))

    async def _claim(self, master: int, brids: list[int]) -> bool:
        return bool(await self._update(master).claimBuildRequests(brids))

    @precondition(lambda self: any(self.held))
    @rule(master=who, data=st.data())
    def go_on(self, master: int, data: st.DataObject) -> None:
        """A master works on a request that it assumes to hold: begins, ends, completes or gives it back."""
        if not self.held[master]:
            return
        brid = data.draw(st.sampled_from(sorted(self.held[master])))
        buildid = self.held[master][brid]
        if buildid is None and data.draw(st.booleans()):
            self.held[master][brid] = self._refused_if_dead(master, self._begin(master, brid))
        elif buildid is not None:
            self._refused_if_dead(master, self._finish(master, brid, buildid))
            del self.held[master][brid]
        else:
            self._do(self._give_back(master, brid))
            del self.held[master][brid]

    async def _begin(self, master: int, brid: int) -> int:
        return int(await self._update(master).newBuild(brid))

    async def _finish(self, master: int, brid: int, buildid: int) -> None:
        await self._update(master).finishBuild(buildid, SUCCESS)
        await self._update(master).completeBuildRequests([brid], SUCCESS)

    async def _give_back(self, master: int, brid: int) -> None:
        await self._update(master).unclaimBuildRequests([brid])

    @rule(master=who)
    def expire(self, master: int) -> None:
        """The other master finds that this one has not checked in for long."""
        if self.dead[1 - master]:
            return
        expired = self._do(self._expire(master))
        assert expired == ([] if self.dead[master] else [self.masters[master].masterid])
        self.dead[master] = True

    async def _expire(self, master: int) -> list[int]:
        await self.masters[0].db.masters.setAllMastersActiveLongTimeAgo()
        assert await self._update(1 - master).masterActive()
        found: list[int] = await self._update(1 - master).expireMasters(60)
        return found

    @rule(master=who)
    def wake(self, master: int) -> None:
        """A master checks in; one that was declared dead finds so, and begins anew without its claims."""
        alive = self._do(self._beat(master))
        assert alive is not self.dead[master]
        if not alive:
            assert self._do(self._beat(master))
            self.dead[master] = False
            self.held[master].clear()

    async def _beat(self, master: int) -> bool:
        return bool(await self._update(master).masterActive())

    @rule(master=who)
    def resume(self, master: int) -> None:
        """The snapshot that was taken, and every event since, are the snapshot of now."""
        self._do(self._resume(self.masters[master]))

    async def _resume(self, master: Any) -> None:
        listener = Listener()
        listener.subscription = await master.data.startConsuming(listener, {"since": self.since}, ("buildrequests",))
        rows, clock = await master.data.snapshot({}, ("buildrequests",))
        await listener.until(clock)
        await listener.subscription.stopConsuming()
        assert listener.clocks == sorted(set(listener.clocks))
        replica = Replica(BUILDREQUEST, self.rows)
        for (_, message), number in zip(listener.heard, listener.clocks, strict=True):
            if number <= clock:
                replica.apply(message)
        assert replica.differences(rows) == []
        self.rows, self.since = rows, clock

    @rule()
    def trim(self) -> None:
        """A client cannot resume from an event that is gone from the log: it gets an error."""
        self._do(self._trim())

    async def _trim(self) -> None:
        trimmed = await self._update(0).trimEvents(0)
        if self.since < trimmed:
            with pytest.raises(SinceTooOldError):
                await self._resume(self.masters[1])
        await self._snapshot()

    async def _snapshot(self) -> None:
        self.rows, self.since = await self.masters[0].data.snapshot({}, ("buildrequests",))

    @invariant()
    def history(self) -> None:
        """At most one owner, nothing completed without a result, nothing left behind by the dead."""
        assert self.judge.violations == []


@pytest.mark.slow
def test_protocol(shared_database: Database) -> None:
    """In any order claims have one owner and the log is correct."""

    class OnThisDatabase(Protocol):
        database = shared_database

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    few = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(OnThisDatabase, settings=few)
