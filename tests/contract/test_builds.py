"""Builds connector."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from tests.support.building import add_request, add_requests
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NOBODY, NOT_IDS, NOT_REQUIRED_ID


async def test_all_keys(state: Any) -> None:
    """Represented as bdicts with keys bid, number, brid, start_time, finish_time (datetime objects, or None)."""
    brid = await add_request(state)
    bid = await state.db.builds.addBuild(brid=brid, number=7)
    found = await state.db.builds.getBuild(bid)
    expected = {"bid": bid, "number": 7, "brid": brid, "finish_time": None}
    assert {key: found[key] for key in expected} == expected
    assert found["start_time"].tzinfo is dt.UTC
    assert abs(found["start_time"] - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


async def test_next_number(state: Any) -> None:
    """``number=None`` assigns the next one atomically: it counts up for each builder."""
    _, (linux, windows) = await add_requests(state, "linux", "windows")
    numbers = {}
    for brid in (linux, windows):
        ids = [await state.db.builds.addBuild(brid, None) for _ in range(3)]
        numbers[brid] = [(await state.db.builds.getBuild(bid))["number"] for bid in ids]
    assert numbers == {linux: [1, 2, 3], windows: [1, 2, 3]}


async def test_next_after_given(state: Any) -> None:
    """``addBuild(brid, number)`` takes a number from the caller; the next one is unique all the same."""
    brid = await add_request(state)
    for number in (5, None, 2, None):
        last = await state.db.builds.addBuild(brid, number)
    found = await state.db.builds.getBuildsForRequest(brid)
    assert [build["number"] for build in found] == [5, 6, 2, 7]
    assert found[-1]["bid"] == last


async def test_number_taken(state: Any) -> None:
    """``number`` is unique per builder over all masters."""
    _, (linux, windows) = await add_requests(state, "linux", "windows")
    await state.db.builds.addBuild(linux, 3)
    await state.db.builds.addBuild(windows, 3)
    async with unchanged(state):
        with pytest.raises(ValueError, match="number"):
            await state.db.builds.addBuild(linux, 3)


async def test_numbers_of_two_masters(state: Any, second_master: Any) -> None:
    """Assigned atomically, also when several masters ask at the same time."""
    brid = await add_request(state)
    await gatherResults([m.db.builds.addBuild(brid, None) for _ in range(20) for m in (state, second_master)])
    found = await state.db.builds.getBuildsForRequest(brid)
    assert sorted(build["number"] for build in found) == list(range(1, 41))


async def test_add_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written."""
    brid = await add_request(state)
    await refuses(state, state.db.builds.addBuild, [*NOT_REQUIRED_ID, (NOBODY, ValueError)], "brid", number=1)
    numbers = [("1", TypeError), (1.0, TypeError), (True, TypeError), (-1, ValueError), (2**31, ValueError)]
    await refuses(state, state.db.builds.addBuild, numbers, "number", brid=brid)
    await refuses(state, state.db.builds.addBuild, [(NOBODY, ValueError)], "workerid", brid=brid, number=1)


async def test_get_nobody(state: Any) -> None:
    """Returns None if there is no such build."""
    assert await state.db.builds.getBuild(NOBODY) is None
    await refuses(state, state.db.builds.getBuild, NOT_REQUIRED_ID, "bid")


async def test_for_request(state: Any) -> None:
    """Get a list of builds for the given build request, in exactly the same format as for getBuild."""
    _, (linux, windows) = await add_requests(state, "linux", "windows")
    ids = [await state.db.builds.addBuild(linux, number) for number in (9, 4)]
    await state.db.builds.addBuild(windows, 1)
    found = await state.db.builds.getBuildsForRequest(linux)
    assert found == [await state.db.builds.getBuild(bid) for bid in ids]
    assert await state.db.builds.getBuildsForRequest(NOBODY) == []
    await refuses(state, state.db.builds.getBuildsForRequest, [*NOT_REQUIRED_ID, ([1], TypeError)], "brid")


async def test_finish(state: Any) -> None:
    """Mark the given builds as finished, with finish_time set to the current time."""
    brid = await add_request(state)
    first, second, other = [await state.db.builds.addBuild(brid, None) for _ in range(3)]
    assert await state.db.builds.finishBuilds([second, first, second]) is None
    for bid in (first, second):
        finished = (await state.db.builds.getBuild(bid))["finish_time"]
        assert abs(finished - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)
    assert (await state.db.builds.getBuild(other))["finish_time"] is None


async def test_finish_unconditionally(state: Any) -> None:
    """This is done unconditionally, even if the builds are already finished."""
    bid = await state.db.builds.addBuild(await add_request(state), None)
    await state.db.builds.finishBuilds([bid])
    await state.db.builds.finishBuilds(bids=[bid])
    assert (await state.db.builds.getBuild(bid))["finish_time"] is not None


async def test_finish_none(state: Any) -> None:
    """An empty list, or ids that nothing has, change nothing; 100,000 ids in one call are no problem."""
    async with unchanged(state):
        await state.db.builds.finishBuilds([])
        await state.db.builds.finishBuilds(range(NOBODY, NOBODY + 100_000))


async def test_finish_refuses(state: Any) -> None:
    """Errors name the argument."""
    await refuses(state, state.db.builds.finishBuilds, NOT_IDS, "bids")
