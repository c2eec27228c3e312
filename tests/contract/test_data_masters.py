"""Masters that stop, fall silent, wake up, and start again."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import DeferredList

from buildbot.db.exceptions import NotClaimedError
from buildbot.util.clock import EPOCH
from buildbot.util.results import CANCELLED, RETRY, SUCCESS
from tests.support.building import Running, add_request, add_requests, run_build
from tests.support.events import announced
from tests.support.refusals import unchanged
from tests.support.state import Database


async def fall_silent(master: Any) -> None:
    """The master has not checked in for long."""
    await master.db.masters.setAllMastersActiveLongTimeAgo()


async def expect_released(state: Any, running: Running, results: int = RETRY) -> None:
    """Unfinished builds are finished with RETRY and their requests made claimable again."""
    build = await state.data.get({"expand": ["steps.logs"]}, ("builds", running.buildid))
    assert (build["complete"], build["results"]) == (True, results)
    assert [step["complete"] for step in build["steps"]] == [True]
    assert [log["complete"] for log in build["steps"][0]["logs"]] == [True]
    request = await state.data.get({}, ("buildrequests", running.brid))
    assert (request["claimed"], request["claimed_by_masterid"]) == (False, None)
    assert request["complete"] is (results == CANCELLED)


def expected_keys(running: Running, masterid: int) -> set[str]:
    """The events of a clean-up."""
    return {
        f"logs/{running.logid}/finished",
        f"steps/{running.stepid}/finished",
        f"builds/{running.buildid}/finished",
        f"buildrequests/{running.brid}/unclaimed",
        f"masters/{masterid}/stopped",
    }


async def test_stopped(state: Any) -> None:
    """masterStopped() (this master): inactive, its claims and links are gone, with the events that say so."""
    running = await run_build(state)
    keys = await announced(state, state.data.update.masterStopped)
    assert set(keys) == expected_keys(running, state.masterid)
    await expect_released(state, running)
    assert (await state.db.masters.getMaster(state.masterid))["active"] is False
    assert await announced(state, state.data.update.masterStopped) == []


async def test_expired(state: Any, second_master: Any) -> None:
    """One that has not checked in for the expiry time is marked inactive by any other, in the same transaction."""
    running = await run_build(second_master)
    scheduler = await state.data.update.findSchedulerId("s")
    await second_master.data.update.setSchedulerMaster(scheduler, second_master.masterid)
    assert await state.data.update.expireMasters(60) == []
    await fall_silent(state)
    assert await state.data.update.masterActive() is True
    keys = await announced(state, state.data.update.expireMasters)
    assert set(keys) == {*expected_keys(running, second_master.masterid), f"schedulers/{scheduler}/updated"}
    await expect_released(state, running)
    masters = {master["id"]: master["active"] for master in await state.db.masters.getMasters()}
    assert masters == {state.masterid: True, second_master.masterid: False}
    assert await state.data.update.setSchedulerMaster(scheduler, state.masterid) is True
    assert await state.data.update.claimBuildRequests([running.brid]) is True
    assert await state.data.update.expireMasters() == []


async def test_never_itself(state: Any, second_master: Any) -> None:
    """A running master that calls it is alive, also when the clock was set forth since its last check-in."""
    await state.data.update.masterActive()
    await second_master.data.update.masterActive()
    await fall_silent(state)
    assert await state.data.update.expireMasters() == [second_master.masterid]
    assert await state.data.update.masterActive() is True


async def test_waking_up(state: Any, second_master: Any) -> None:
    """A master that was paused past its expiry and wakes up finds its claim gone: every write is refused."""
    running = await run_build(second_master)
    await fall_silent(state)
    await state.data.update.masterActive()
    assert await state.data.update.expireMasters() == [second_master.masterid]
    sleeper = second_master.data.update
    async with unchanged(state):
        for late in (
            sleeper.setBuildStateString(running.buildid, "x"),
            sleeper.finishBuild(running.buildid, 0),
            sleeper.appendLog(running.logid, "o\n"),
            sleeper.newStep(running.buildid, "x"),
            sleeper.completeBuildRequests([running.brid], 0),
        ):
            with pytest.raises(NotClaimedError):
                await late
    assert await sleeper.masterActive() is False
    assert await sleeper.masterActive() is True
    with pytest.raises(NotClaimedError):
        await sleeper.setBuildStateString(running.buildid, "x")
    again = await run_build(second_master, "other")
    await sleeper.finishBuild(again.buildid, 0)


async def test_sleeper_claims_nothing(state: Any, second_master: Any) -> None:
    """A claim belongs to one master at one epoch: what a dead one claims late holds no build."""
    _, (brid,) = await add_requests(state, "linux")
    await fall_silent(state)
    await state.data.update.masterActive()
    await state.data.update.expireMasters()
    claimed = await second_master.data.update.claimBuildRequests([brid])
    assert claimed is False
    assert await state.data.update.claimBuildRequests([brid]) is True


async def test_stopped_builds_stay_stopped(state: Any, second_master: Any) -> None:
    """A wish outlives the master that it is for: a build that was to be stopped ends cancelled, not retried; and so
    does what it waits for.
    """
    stopped, cancelled = await run_build(second_master), await run_build(second_master, "other")
    waited = {"waited_for": True, "parent_relationship": "Triggered"}
    children = [await add_request(state, "c", parent_buildid=each.buildid, **waited) for each in (stopped, cancelled)]
    await state.data.control("stop", {}, ("builds", stopped.buildid))
    await state.data.control("cancel", {}, ("buildrequests", cancelled.brid))
    await fall_silent(state)
    await state.data.update.masterActive()
    await state.data.update.expireMasters()
    for running in (stopped, cancelled):
        await expect_released(state, running, CANCELLED)
        assert (await state.data.get({}, ("buildsets", running.bsid)))["results"] == CANCELLED
    for child in children:
        assert (await state.data.get({}, ("buildrequests", child)))["results"] == CANCELLED


async def test_expire_by_two(state: Any, second_master: Any) -> None:
    """Any master may do this at any time, safely at the same time as others."""
    third = await state.db.masters.findMasterId("host:/third")
    await state.db.masters.setMasterState(third, True)
    await fall_silent(state)
    await state.data.update.masterActive()
    await second_master.data.update.masterActive()
    calls = [state.data.update.expireMasters(), second_master.data.update.expireMasters()]
    expired = [masterid for call in calls for masterid in await call]
    assert expired == [third]


async def test_check_in(state: Any) -> None:
    """masterActive(): a master checks in periodically; later calls announce nothing."""
    await fall_silent(state)
    assert await announced(state, state.data.update.masterActive) == []
    assert (await state.db.masters.getMaster(state.masterid))["last_active"] > EPOCH


async def test_after_a_crash(state: Any, database: Database, second_master: Any) -> None:
    """The same is done for what a process left behind when it starts again (open again with the same name)."""
    from buildbot.master import openMaster

    running = await run_build(state)
    assert database.url is not None
    reborn = await openMaster(database.url, name=state.name)
    try:
        assert reborn.masterid == state.masterid
        started = await announced(second_master, reborn.data.update.masterActive)
        assert f"masters/{state.masterid}/started" in started
        assert f"builds/{running.buildid}/finished" in started
        await expect_released(reborn, running)
        with pytest.raises(NotClaimedError):
            await state.data.update.setBuildStateString(running.buildid, "x")
        assert await state.data.update.masterActive() is False
        assert await reborn.data.update.claimBuildRequests([running.brid]) is True
        assert await reborn.data.update.newBuild(running.brid) > running.buildid
        assert await reborn.data.update.masterActive() is True
    finally:
        await reborn.close()


async def test_registered_inactive(state: Any, database: Database, second_master: Any) -> None:
    """openMaster registers its master and leaves it inactive; running masters check in."""
    from buildbot.master import openMaster

    assert database.url is not None
    opened = await openMaster(database.url, name="host:/opened")
    try:
        found = await state.db.masters.getMaster(opened.masterid)
        assert (found["name"], found["active"], found["last_active"]) == ("host:/opened", False, EPOCH)
    finally:
        await opened.close()


async def test_links_of_an_expired_master_are_announced(state: Any, second_master: Any) -> None:
    """What a snapshot shows differently afterwards has had an event: builders, workers, schedulers, change sources."""
    update = second_master.data.update
    builders = await update.setBuilders([{"name": "linux"}])
    workers = await update.setWorkers({"w": list(builders.values())})
    scheduler, source = await update.findSchedulerId("s"), await update.findChangeSourceId("c")
    assert await update.setSchedulerMaster(scheduler, second_master.masterid)
    assert await update.setChangeSourceMaster(source, second_master.masterid)
    await fall_silent(second_master)
    keys = await announced(state, state.data.update.expireMasters, 60)
    assert {
        f"builders/{builders['linux']}/update",
        f"builders/{builders['linux']}/stopped",
        f"workers/{workers['w']}/state_updated",
        f"schedulers/{scheduler}/updated",
        f"changesources/{source}/updated",
    } <= set(keys)


@pytest.mark.parametrize(
    ("find", "key"),
    [
        ("findBuilderId", "builders/{}/update"),
        ("findWorkerId", "workers/{}/state_updated"),
        ("findSchedulerId", "schedulers/{}/updated"),
        ("findChangeSourceId", "changesources/{}/updated"),
        ("findMasterId", "masters/{}/new"),
    ],
)
async def test_what_is_made_on_first_use_is_announced(state: Any, find: str, key: str) -> None:
    """The first use of a name adds a row, which snapshots show; the second use adds nothing."""
    method = getattr(state.data.update, find)
    keys = await announced(state, method, "never seen")
    assert keys == [key.format(await method("never seen"))]
    assert await announced(state, method, "never seen") == []


@pytest.mark.parametrize("noun", ["schedulers", "changesources"])
async def test_parts_are_fenced(state: Any, second_master: Any, noun: str) -> None:
    """A master that was declared dead writes nothing on behalf of a scheduler or change source that it ran."""
    name = {"schedulers": "Scheduler", "changesources": "ChangeSource"}[noun]
    part = await getattr(state.data.update, f"find{name}Id")("part")
    hold = getattr(state.db, noun).thdHold
    with pytest.raises(NotClaimedError):
        await state.db.pool.do(hold, part)
    assert await getattr(state.data.update, f"set{name}Master")(part, state.masterid)
    await state.db.pool.do(hold, part)
    await fall_silent(state)
    await second_master.data.update.masterActive()
    assert await second_master.data.update.expireMasters(60) == [state.masterid]
    with pytest.raises(NotClaimedError):
        await state.db.pool.do(hold, part)
    assert await getattr(second_master.data.update, f"set{name}Master")(part, second_master.masterid)
    await second_master.db.pool.do(getattr(second_master.db, noun).thdHold, part)
    with pytest.raises(NotClaimedError):
        await state.db.pool.do(hold, part)


async def test_expiry_crosses_claims(state: Any, second_master: Any) -> None:
    """A master is declared dead while it claims and completes many requests: each is consistent, without deadlocks."""
    for _ in range(4):
        _, ids = await add_requests(state, *(f"b{i}" for i in range(12)))
        await state.data.update.masterActive()
        await state.data.update.claimBuildRequests(ids[:6])
        await state.db.masters.setAllMastersActiveLongTimeAgo()
        await second_master.data.update.masterActive()
        calls = [
            state.data.update.completeBuildRequests([ids[4], ids[1]], SUCCESS),
            state.data.update.claimBuildRequests(ids[11:5:-1]),
            second_master.data.update.expireMasters(60),
            state.data.update.completeBuildRequests([ids[0], ids[5]], SUCCESS),
        ]
        results = await DeferredList(calls, consumeErrors=True)
        for worked, result in results:
            assert worked or result.check(NotClaimedError) is not None
        assert results[2] == (True, [state.masterid])
        for brid in ids:
            request = await state.db.buildrequests.getBuildRequest(brid)
            assert request["complete"] or not request["claimed"], "left behind by the dead"
        assert await state.data.update.masterActive() is False
