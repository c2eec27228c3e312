"""Objects that one active master holds at a time: reporters."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.db.exceptions import NotClaimedError
from buildbot.db.held import thd_hold, thd_release, thd_take


async def held(state: Any, function: Any, objectid: int) -> Any:
    """One of the functions, in a transaction of a master."""
    return await state.db.pool.do(function, state.db, objectid)


async def test_one_of_two_masters(state: Any, second_master: Any) -> None:
    """The holder of an object may write, and no other takes it; after its release, or its master's end, others may."""
    objectid = await state.db.state.getObjectId("reporter", "Reporter")
    assert await held(state, thd_take, objectid)
    assert await held(state, thd_take, objectid)
    await held(state, thd_hold, objectid)
    assert not await held(second_master, thd_take, objectid)
    with pytest.raises(NotClaimedError):
        await held(second_master, thd_hold, objectid)
    await held(second_master, thd_release, objectid)
    await held(state, thd_hold, objectid)
    await held(state, thd_release, objectid)
    with pytest.raises(NotClaimedError):
        await held(state, thd_hold, objectid)
    assert await held(second_master, thd_take, objectid)


async def test_a_master_that_was_taken_for_dead(state: Any, second_master: Any) -> None:
    """Its writes are refused from then on, and others may take what it held."""
    objectid = await state.db.state.getObjectId("reporter", "Reporter")
    assert await held(state, thd_take, objectid)
    await second_master.db.masters.setMasterState(state.db.masterid, False)
    with pytest.raises(NotClaimedError):
        await held(state, thd_hold, objectid)
    assert await held(second_master, thd_take, objectid)
    await second_master.db.masters.setMasterState(state.db.masterid, True)
    assert not await held(state, thd_take, objectid)
