"""Build requests connector: reading and completing."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.db import buildrequests, exceptions
from buildbot.db.exceptions import NotClaimedError
from tests.support.building import STAMP, add_request, add_requests
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_CHOICE, NOT_ID, NOT_IDS, NOT_REQUIRED_ID, NOT_TEXT, NOT_TIME

WHEN = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)


async def ids(state: Any, **filters: Any) -> list[int]:
    """Ids of the requests that match."""
    return [request["brid"] for request in await state.db.buildrequests.getBuildRequests(**filters)]


def test_exceptions() -> None:
    """An exception that the specification names under two paths is one class, importable from both."""
    assert buildrequests.AlreadyClaimedError is exceptions.AlreadyClaimedError
    assert buildrequests.NotClaimedError is exceptions.NotClaimedError


async def test_all_keys(state: Any) -> None:
    """The contents of a request are represented as build request dictionaries (brdicts) with keys …"""
    bsid, (brid,) = await add_requests(state, "linux", priority=-5)
    found = await state.db.buildrequests.getBuildRequest(brid)
    expected = {
        "brid": brid,
        "buildsetid": bsid,
        "buildername": "linux",
        "priority": -5,
        "claimed": False,
        "claimed_at": None,
        "mine": False,
        "complete": False,
        "complete_at": None,
    }
    assert {key: found[key] for key in expected} == expected


async def test_names_of_builders(state: Any) -> None:
    """buildername is the builder's, also if a transaction that read it was rolled back with another builder."""

    def thdUndone(conn: Any) -> None:
        bsid, brids = state.db.buildsets.thdAddBuildset(conn, setid, "why not", {}, ["undone"])
        (found,) = state.db.buildrequests.thdGetBuildRequests(conn, bsid=bsid)
        assert (found["brid"], found["buildername"]) == (brids["undone"], "undone")
        raise KeyError("undone")

    setid = await state.db.sourcestampsets.addSourceStampSet()
    with pytest.raises(KeyError):
        await state.db.pool.do(thdUndone)
    bsid, _ = await add_requests(state, "linux", "mac")
    for _ in range(2):
        found = await state.db.buildrequests.getBuildRequests(bsid=bsid)
        assert [request["buildername"] for request in found] == ["linux", "mac"]


async def test_claimed_keys(state: Any) -> None:
    """claimed_at is a datetime; ``mine`` is true if the request is claimed by this master."""
    brid = await add_request(state)
    await state.db.buildrequests.claimBuildRequests([brid], claimed_at=WHEN)
    found = await state.db.buildrequests.getBuildRequest(brid)
    assert (found["claimed"], found["claimed_at"], found["mine"]) == (True, WHEN, True)
    assert found["claimed_at"].tzinfo is dt.UTC


async def test_claimed_by_other(state: Any, second_master: Any) -> None:
    """mine (boolean, true if the request is claimed by this master)."""
    brid = await add_request(state)
    await second_master.db.buildrequests.claimBuildRequests([brid])
    found = await state.db.buildrequests.getBuildRequest(brid)
    assert (found["claimed"], found["mine"]) == (True, False)
    assert await ids(state, claimed="mine") == []
    assert await ids(state, claimed=True) == await ids(second_master, claimed="mine") == [brid]


async def test_complete_keys(state: Any) -> None:
    """complete_at (datetime object, time this request was completed)."""
    brid = await add_request(state)
    await state.db.buildrequests.claimBuildRequests([brid])
    await state.db.buildrequests.completeBuildRequests([brid], 0, complete_at=WHEN)
    found = await state.db.buildrequests.getBuildRequest(brid)
    assert (found["complete"], found["complete_at"]) == (True, WHEN)


async def test_get_nobody(state: Any) -> None:
    """This method returns None if there is no such buildrequest."""
    assert await state.db.buildrequests.getBuildRequest(NOBODY) is None
    await refuses(state, state.db.buildrequests.getBuildRequest, NOT_REQUIRED_ID, "brid")


async def test_get_keywords_only(state: Any) -> None:
    """getBuildRequests takes keywords only."""
    with pytest.raises(TypeError):
        await state.db.buildrequests.getBuildRequests("linux")
    assert await state.db.buildrequests.getBuildRequests() == []


async def test_get_all(state: Any) -> None:
    """List of brdicts, ordered by id, in the format of getBuildRequest."""
    _, brids = await add_requests(state, "linux", "windows", "mac")
    found = await state.db.buildrequests.getBuildRequests()
    assert found == [await state.db.buildrequests.getBuildRequest(brid) for brid in sorted(brids)]


async def test_by_builder(state: Any) -> None:
    """Limit results to buildrequests for this builder: byte for byte."""
    _, brids = await add_requests(state, *NAMES)
    for name, brid in zip(NAMES, brids, strict=True):
        assert await ids(state, buildername=name) == [brid]
    assert await ids(state, buildername="nobody") == []


async def test_by_completion_and_claim(state: Any) -> None:
    """claimed: None ignores, True claimed, False unclaimed and not complete, "mine" by this master; complete."""
    _, (free, mine, done, released) = await add_requests(state, "free", "mine", "done", "released")
    connector = state.db.buildrequests
    await connector.claimBuildRequests([mine, done, released])
    await connector.completeBuildRequests([done, released], 0)
    await connector.unclaimBuildRequests([released])
    expected: dict[tuple[Any, Any], list[int]] = {
        (None, None): [free, mine, done, released],
        (None, True): [mine, done],
        (None, False): [free],
        (None, "mine"): [mine, done],
        (True, None): [done, released],
        (True, True): [done],
        (True, False): [],
        (True, "mine"): [done],
        (False, None): [free, mine],
        (False, True): [mine],
        (False, False): [free],
        (False, "mine"): [mine],
    }
    for (complete, claimed), brids in expected.items():
        assert await ids(state, complete=complete, claimed=claimed) == sorted(brids), (complete, claimed)


async def test_by_buildset(state: Any) -> None:
    """If bsid is specified, then only build requests for that buildset will be returned."""
    bsid, brids = await add_requests(state, "linux", "windows")
    await add_request(state)
    assert await ids(state, bsid=bsid) == sorted(brids)
    assert await ids(state, bsid=bsid, buildername="linux") == [brids[0]]
    assert await ids(state, bsid=NOBODY) == []


async def test_by_source(state: Any) -> None:
    """The branch, the repository associated with the sourcestamps originating the requests."""
    stamps = [{**STAMP, "branch": "b1", "repository": "r1", "codebase": "1"}]
    stamps += [{**STAMP, "branch": "b2", "repository": "r2", "codebase": "2"}]
    both = await add_request(state, sourcestamps=stamps)
    one = await add_request(state, sourcestamps=[{**stamps[0], "repository": "r2"}])
    default = await add_request(state, sourcestamps=[{**stamps[0], "branch": None}])
    assert await ids(state, branch="b1") == [both, one]
    assert await ids(state, repository="r2") == [both, one]
    assert await ids(state, repository="r1") == [both, default]
    assert await ids(state, branch="b1", repository="r2") == [one]
    assert await ids(state, branch="b1", repository="r1", buildername="linux", claimed=False) == [both]
    assert await ids(state, branch="B1") == await ids(state, branch="b1 ") == []


async def test_get_refuses(state: Any) -> None:
    """A wrong value for claimed, active or complete is a ValueError."""
    method = state.db.buildrequests.getBuildRequests
    await refuses(state, method, NOT_CHOICE, "complete")
    await refuses(state, method, [*NOT_CHOICE, ("Mine", ValueError), (b"mine", ValueError)], "claimed")
    await refuses(state, method, NOT_ID, "bsid")
    for argument in ("buildername", "branch", "repository"):
        await refuses(state, method, NOT_TEXT, argument)


async def test_complete(state: Any) -> None:
    """Complete a set of build requests, all owned by this master. If complete_at is not given, the current time."""
    _, brids = await add_requests(state, "linux", "windows")
    await state.db.buildrequests.claimBuildRequests(brids)
    assert await state.db.buildrequests.completeBuildRequests([*brids, brids[0]], 2) is None
    for brid in brids:
        found = await state.db.buildrequests.getBuildRequest(brid)
        assert (found["complete"], found["results"], found["mine"]) == (True, 2, True)
        assert abs(found["complete_at"] - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


async def test_complete_not_claimed(state: Any, second_master: Any) -> None:
    """NotClaimedError, and completes none, if any does not exist, is complete, or is not claimed by this master."""
    _, (mine, free, others, done) = await add_requests(state, "mine", "free", "others", "done")
    await state.db.buildrequests.claimBuildRequests([mine, done])
    await state.db.buildrequests.completeBuildRequests([done], 0)
    await second_master.db.buildrequests.claimBuildRequests([others])
    async with unchanged(state):
        for brid in (free, others, done, NOBODY):
            for brids in ([brid], [mine, brid], [brid, mine]):
                with pytest.raises(NotClaimedError):
                    await state.db.buildrequests.completeBuildRequests(brids, 0)


async def test_complete_none(state: Any) -> None:
    """An empty list changes nothing."""
    async with unchanged(state):
        await state.db.buildrequests.completeBuildRequests([], 0)


async def test_complete_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is completed."""
    brid, method = await add_request(state), state.db.buildrequests.completeBuildRequests
    await state.db.buildrequests.claimBuildRequests([brid])
    await refuses(state, method, NOT_IDS, "brids", results=0)
    results = [(None, TypeError), ("0", TypeError), (True, TypeError), (2**31, ValueError)]
    await refuses(state, method, results, "results", brids=[brid])
    await refuses(state, method, NOT_TIME, "complete_at", brids=[brid], results=0)
