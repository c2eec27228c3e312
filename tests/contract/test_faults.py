"""A disk without room, clocks that are wrong, builds that end in the middle of something."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from buildbot.db import groups
from buildbot.db.engine import serverclock
from buildbot.db.exceptions import NotClaimedError
from buildbot.util import clock
from buildbot.util.results import RETRY, SUCCESS
from tests.support.building import add_build, run_build
from tests.support.events import logged_after, next_turn


class Disk:
    """The disk of a database in a file; it is full while ``pages`` says so."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def fill(self) -> None:
        """Leave no room."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count={pages}")

    def too_much(self) -> str:
        """A text that does not fit into what is free in the file."""
        free, size = [
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_size")
        ]
        return "x" * int(free * size + 1_000_000)

    def clear(self) -> None:
        """Make room; from another thread than the one that writes, which waits."""
        self._connection.execute("PRAGMA max_page_count=1073741823")


async def full_disk(state: Any) -> Disk:
    """The disk, which is full now."""
    if state.db.dialect.remote or state.db.dialect.in_memory:
        pytest.skip("only a file's disk can be filled here")
    disk = Disk(await state.db.pool.do(lambda conn: conn.connection.driver_connection))
    disk.fill()
    return disk


async def test_waits_for_room(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that meets a full disk waits for room, and the pool says meanwhile that nothing can be written."""
    monkeypatch.setattr(groups, "ROOM_INTERVAL_S", 0.01)
    objectid = await state.db.state.getObjectId("o", "C")
    disk = await full_disk(state)
    text = disk.too_much()
    try:
        setting = state.db.state.setState(objectid, "n", text)
        while state.db.pool.groups.unwritable is None:
            await next_turn()
        assert "full" in state.db.pool.groups.unwritable
    finally:
        disk.clear()
    await setting
    assert await state.db.state.getState(objectid, "n") == text
    assert state.db.pool.groups.unwritable is None


async def test_not_for_ever(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the end it is the caller's error, nothing of the call is kept, and the next write that succeeds says so."""
    monkeypatch.setattr(groups, "ROOM_S", 0.0)
    clock_before = await state.data.clock()
    objectid = await state.db.state.getObjectId("o", "C")
    disk = await full_disk(state)
    try:
        with pytest.raises(OperationalError, match="full"):
            await state.db.state.setState(objectid, "n", disk.too_much())
        assert state.db.pool.groups.unwritable is not None
    finally:
        disk.clear()
    assert await logged_after(state, clock_before) == []
    assert await state.db.state.getState(objectid, "n", None) is None
    await state.data.update.addChange(author="b")
    assert state.db.pool.groups.unwritable is None


async def test_nothing_stays_open(state: Any) -> None:
    """Whoever ends a build ends its steps, logs and test result sets with it, each announced; logs of steps that have
    ended too.
    """
    running = await run_build(state)
    update = state.data.update
    setid = await update.addTestResultSet(
        (await state.data.get({}, ("builds", running.buildid)))["builderid"],
        running.buildid,
        running.stepid,
        "d",
        "pass_fail",
        "boolean",
    )
    ended = (await update.newStep(running.buildid, "ended"))["stepid"]
    left = await update.newLog(ended, "left", "s")
    await update.finishStep(ended, 0)
    before = await state.data.clock()
    await update.finishBuild(running.buildid, RETRY)
    keys = [keys[0] for keys in await logged_after(state, before)]
    assert keys == [
        f"logs/{running.logid}/finished",
        f"logs/{left}/finished",
        f"steps/{running.stepid}/finished",
        f"test_result_sets/{setid}/completed",
        f"builds/{running.buildid}/finished",
    ]
    step = await state.data.get({}, ("steps", running.stepid))
    assert (step["complete"], step["results"]) == (True, RETRY)
    assert all(log["complete"] for log in await state.data.get({}, ("steps", ended, "logs")))


async def test_dead_master_leaves_nothing_open(state: Any, second_master: Any) -> None:
    """So does who finds a dead master's builds."""
    running = await run_build(second_master)
    ended = (await second_master.data.update.newStep(running.buildid, "ended"))["stepid"]
    left = await second_master.data.update.newLog(ended, "left", "s")
    await second_master.data.update.finishStep(ended, 0)
    await state.db.masters.setAllMastersActiveLongTimeAgo()
    await state.data.update.masterActive()
    await state.data.update.expireMasters(60)
    assert (await state.data.get({}, ("builds", running.buildid)))["results"] == RETRY
    for logid in (running.logid, left):
        assert (await state.data.get({}, ("logs", logid)))["complete"]


async def test_time_of_the_database(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times in the database are the database's, even if the master's clock is wrong; given times stay."""
    if not state.db.dialect.remote:
        pytest.skip("its clock is this machine's")
    monkeypatch.setattr(clock, "now", lambda: int(time.time()) + 3600)
    monkeypatch.setattr(state.db.pool.groups, "clock", serverclock.ServerClock(state.db.dialect))
    buildid, brid = await add_build(state)
    build = await state.data.get({}, ("builds", buildid))
    request = await state.data.get({}, ("buildrequests", brid))
    for at in (build["started_at"], request["submitted_at"], request["claimed_at"]):
        assert abs(at - time.time()) < 600


@pytest.mark.parametrize("results", [SUCCESS, RETRY])
async def test_a_build_and_its_request_end_together(state: Any, results: int) -> None:
    """A build's end and that of its request are one transaction, so no loss of the master comes between the two; RETRY
    gives the request back.
    """
    running = await run_build(state)
    since = await state.data.clock()
    await state.data.update.endBuild(running.buildid, running.brid, results)
    build = await state.data.get({}, ("builds", running.buildid))
    request = await state.data.get({}, ("buildrequests", running.brid))
    assert (build["complete"], build["results"]) == (True, results)
    assert (request["complete"], request["claimed"]) == ((True, True) if results == SUCCESS else (False, False))
    keys = {key for keys in await logged_after(state, since) for key in keys}
    end = f"buildrequests/{running.brid}/{'complete' if results == SUCCESS else 'unclaimed'}"
    assert {f"builds/{running.buildid}/finished", end} <= keys


async def test_neither_ends_if_one_cannot(state: Any, second_master: Any) -> None:
    """Who has lost the request ends neither, and is told so; the request of a build that ended is not built again."""
    running = await run_build(state)
    await state.data.update.unclaimBuildRequests([running.brid])
    assert await second_master.data.update.claimBuildRequests([running.brid])
    with pytest.raises(NotClaimedError):
        await state.data.update.endBuild(running.buildid, running.brid, SUCCESS)
    assert not (await state.data.get({}, ("buildrequests", running.brid)))["complete"]
    other = await second_master.data.update.newBuild(running.brid)
    await second_master.data.update.endBuild(other, running.brid, SUCCESS)
    with pytest.raises(NotClaimedError):
        await second_master.data.update.endBuild(other, running.brid, SUCCESS)
    request = await state.data.get({}, ("buildrequests", running.brid))
    assert (request["complete"], request["results"]) == (True, SUCCESS)
