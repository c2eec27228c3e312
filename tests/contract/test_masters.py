"""Masters connector."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.db.exceptions import NotClaimedError
from buildbot.util.clock import EPOCH
from tests.support.building import add_request
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT


async def test_find_adds_inactive(state: Any) -> None:
    """If not, the master is added to the database, with active=False, and its ID returned."""
    masterid = await state.db.masters.findMasterId("host:/new")
    found = await state.db.masters.getMaster(masterid)
    assert found == {"id": masterid, "name": "host:/new", "active": False, "last_active": EPOCH}


async def test_find_again(state: Any) -> None:
    """If such a master is already in the database, this returns the ID."""
    assert await state.db.masters.findMasterId(state.name) == state.masterid
    async with unchanged(state):
        await state.db.masters.findMasterId(state.name)


async def test_names(state: Any) -> None:
    """Names compare exactly, byte for byte: case, accents and trailing spaces count, on every database."""
    ids = [await state.db.masters.findMasterId(name) for name in NAMES]
    assert len(set(ids)) == len(NAMES)
    assert [(await state.db.masters.getMaster(masterid))["name"] for masterid in ids] == list(NAMES)
    assert [await state.db.masters.findMasterId(name) for name in NAMES] == ids


async def test_find_refuses(state: Any) -> None:
    """Arguments of the wrong type are refused before anything is written, with an error that names the argument."""
    await refuses(state, state.db.masters.findMasterId, NOT_REQUIRED_TEXT, "name")


@pytest.mark.parametrize(("before", "after"), [(False, True), (True, False), (False, False), (True, True)])
async def test_set_state(state: Any, before: bool, after: bool) -> None:
    """Mark the given master as active or inactive, returning true if the state actually changed."""
    masterid = await state.db.masters.findMasterId("host:/other")
    await state.db.masters.setMasterState(masterid, before)
    assert await state.db.masters.setMasterState(masterid, after) is (before != after)
    assert (await state.db.masters.getMaster(masterid))["active"] is after


async def test_active_checks_in(state: Any) -> None:
    """If active is true, the last_active time is updated to the current time."""
    await state.db.masters.setAllMastersActiveLongTimeAgo()
    started = dt.datetime.now(dt.UTC)
    assert await state.db.masters.setMasterState(state.masterid, True) is False
    checked_in = (await state.db.masters.getMaster(state.masterid))["last_active"]
    assert checked_in.tzinfo is dt.UTC
    assert abs(checked_in - started) < dt.timedelta(seconds=30)


async def test_inactive_keeps_last_active(state: Any) -> None:
    """``last_active`` -- time that this master last checked in: to become inactive is not to check in."""
    await state.db.masters.setAllMastersActiveLongTimeAgo()
    await state.db.masters.setMasterState(state.masterid, False)
    assert (await state.db.masters.getMaster(state.masterid))["last_active"] == EPOCH


async def test_inactive_has_no_links(state: Any) -> None:
    """If active is false, then any links to this master, such as schedulers, will be deleted."""
    other = await state.db.masters.findMasterId("host:/other")
    await state.db.masters.setMasterState(other, True)
    db, update = state.db, state.data.update
    scheduler, kept = await db.schedulers.findSchedulerId("s"), await db.schedulers.findSchedulerId("kept")
    source = await db.changesources.findChangeSourceId("c")
    await db.schedulers.setSchedulerMaster(scheduler, state.masterid)
    await db.schedulers.setSchedulerMaster(kept, other)
    await db.changesources.setChangeSourceMaster(source, state.masterid)
    builders = await update.setBuilders([{"name": "linux"}])
    workers = await update.setWorkers({"w": list(builders.values())})
    await update.workerConnected(workers["w"], {})
    assert await db.masters.setMasterState(state.masterid, False) is True
    assert (await db.schedulers.getScheduler(scheduler))["masterid"] is None
    assert (await db.schedulers.getScheduler(kept))["masterid"] == other
    assert (await db.changesources.getChangeSource(source))["masterid"] is None
    assert (await state.data.get({}, ("builders", builders["linux"])))["masterids"] == []
    worker = await state.data.get({}, ("workers", workers["w"]))
    assert (worker["connected_to"], worker["configured_on"]) == ([], [])


async def test_set_state_of_nobody(state: Any) -> None:
    """Returning true if the state actually changed: that of no master never does."""
    async with unchanged(state):
        assert await state.db.masters.setMasterState(NOBODY, True) is False


async def test_set_state_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written."""
    await refuses(state, state.db.masters.setMasterState, NOT_REQUIRED_ID, "masterid", active=True)
    wrong = [(value, TypeError) for value in (None, "yes", 2)]
    await refuses(state, state.db.masters.setMasterState, wrong, "active", masterid=state.masterid)


async def test_get_nobody(state: Any) -> None:
    """A getter for one object returns None if there is none."""
    assert await state.db.masters.getMaster(NOBODY) is None
    await refuses(state, state.db.masters.getMaster, NOT_REQUIRED_ID, "masterid")


async def test_get_masters(state: Any) -> None:
    """Get a list of the masters, represented as dictionaries, ordered by id."""
    other = await state.db.masters.findMasterId("host:/other")
    found = await state.db.masters.getMasters()
    assert [master["id"] for master in found] == sorted([state.masterid, other])
    assert found == [await state.db.masters.getMaster(master["id"]) for master in found]


async def test_long_time_ago(state: Any) -> None:
    """setAllMastersActiveLongTimeAgo sets every last_active to the epoch and touches nothing else."""
    await state.db.masters.findMasterId("host:/other")
    before = await state.db.masters.getMasters()
    assert await state.db.masters.setAllMastersActiveLongTimeAgo() is None
    assert await state.db.masters.getMasters() == [{**master, "last_active": EPOCH} for master in before]


async def test_own_master_inactive_and_active_again(state: Any) -> None:
    """A process that sets its own master inactive and active again claims at the new epoch; the old claims are over."""
    brid = await add_request(state)
    other = await add_request(state)
    await state.db.buildrequests.claimBuildRequests([brid])
    await state.db.masters.setMasterState(state.masterid, False)
    await state.db.masters.setMasterState(state.masterid, True)
    with pytest.raises(NotClaimedError):
        await state.db.buildrequests.completeBuildRequests([brid], 0)
    await state.db.buildrequests.claimBuildRequests([other])
    assert (await state.db.buildrequests.getBuildRequest(other))["mine"]
