"""Build requests connector: claims."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.db.exceptions import AlreadyClaimedError
from tests.support.building import add_request, add_requests
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NOBODY, NOT_IDS, NOT_TIME

WHEN = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


async def claimed_at(state: Any, brid: int) -> dt.datetime | None:
    """When the request was claimed."""
    return (await state.db.buildrequests.getBuildRequest(brid))["claimed_at"]  # type: ignore[no-any-return]


def just_now(moment: dt.datetime | None) -> bool:
    """Whether a time is that of this test."""
    assert moment is not None
    return abs(moment - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


async def test_claim(state: Any) -> None:
    """The resulting deferred will fire normally on success. If claimed_at is not given, the current time is used."""
    _, brids = await add_requests(state, "linux", "windows")
    assert await state.db.buildrequests.claimBuildRequests(brids) is None
    for brid in brids:
        found = await state.db.buildrequests.getBuildRequest(brid)
        assert (found["claimed"], found["mine"]) == (True, True)
        assert just_now(found["claimed_at"])


async def test_claim_any_order(state: Any) -> None:
    """Ids given twice in one call count once; any iterable will do."""
    _, brids = await add_requests(state, "a", "b", "c")
    await state.db.buildrequests.claimBuildRequests(iter([*reversed(brids), brids[0]]), claimed_at=WHEN)
    assert [await claimed_at(state, brid) for brid in brids] == [WHEN] * 3


async def test_claim_none(state: Any) -> None:
    """claimBuildRequests of no ids is a no-op."""
    async with unchanged(state):
        assert await state.db.buildrequests.claimBuildRequests([]) is None


async def test_claim_refused(state: Any, second_master: Any) -> None:
    """AlreadyClaimedError if any of the build requests are already claimed. None of the claims will take effect."""
    _, (free, mine, others, done) = await add_requests(state, "free", "mine", "others", "done")
    await state.db.buildrequests.claimBuildRequests([mine, done])
    await state.db.buildrequests.completeBuildRequests([done], 0)
    await state.db.buildrequests.unclaimBuildRequests([done])
    await second_master.db.buildrequests.claimBuildRequests([others])
    async with unchanged(state):
        for brid in (mine, others, done, NOBODY, -1):
            for brids in ([brid], [free, brid], [brid, free]):
                with pytest.raises(AlreadyClaimedError):
                    await state.db.buildrequests.claimBuildRequests(brids)


async def test_claim_by_two_masters(state: Any, second_master: Any) -> None:
    """A failed claim leaves nothing claimed; the other master's claim stays as it is."""
    _, brids = await add_requests(state, "linux", "windows")
    await second_master.db.buildrequests.claimBuildRequests([brids[1]], claimed_at=WHEN)
    with pytest.raises(AlreadyClaimedError):
        await state.db.buildrequests.claimBuildRequests(brids)
    assert [await claimed_at(state, brid) for brid in brids] == [None, WHEN]


async def test_many(state: Any) -> None:
    """100,000 ids in one call."""
    brid = await add_request(state)
    unknown = range(NOBODY, NOBODY + 100_000)
    async with unchanged(state):
        with pytest.raises(AlreadyClaimedError):
            await state.db.buildrequests.claimBuildRequests([brid, *unknown])
        with pytest.raises(AlreadyClaimedError):
            await state.db.buildrequests.reclaimBuildRequests(unknown)
        await state.db.buildrequests.unclaimBuildRequests(unknown)


@pytest.mark.parametrize("method", ["claimBuildRequests", "reclaimBuildRequests", "unclaimBuildRequests"])
async def test_refuses(state: Any, method: str) -> None:
    """Errors name the argument, and nothing is written."""
    await add_request(state)
    await refuses(state, getattr(state.db.buildrequests, method), NOT_IDS, "brids")


async def test_claim_refuses_times(state: Any) -> None:
    """A naive datetime is a ValueError."""
    brid = await add_request(state)
    await refuses(state, state.db.buildrequests.claimBuildRequests, NOT_TIME, "claimed_at", brids=[brid])


async def test_reclaim(state: Any) -> None:
    """Re-claim the given build requests, updating the timestamp."""
    _, brids = await add_requests(state, "linux", "windows")
    await state.db.buildrequests.claimBuildRequests(brids, claimed_at=LONG_AGO)
    assert await state.db.buildrequests.reclaimBuildRequests([*brids, brids[0]]) is None
    for brid in brids:
        assert just_now(await claimed_at(state, brid))


async def test_reclaim_refused(state: Any, second_master: Any) -> None:
    """AlreadyClaimedError if one is claimed by another master or by none, or does not exist. None takes effect."""
    _, (mine, free, others) = await add_requests(state, "mine", "free", "others")
    await state.db.buildrequests.claimBuildRequests([mine], claimed_at=LONG_AGO)
    await second_master.db.buildrequests.claimBuildRequests([others])
    async with unchanged(state):
        for brid in (free, others, NOBODY):
            for brids in ([brid], [mine, brid]):
                with pytest.raises(AlreadyClaimedError):
                    await state.db.buildrequests.reclaimBuildRequests(brids)
        await state.db.buildrequests.reclaimBuildRequests([])


async def test_unclaim(state: Any) -> None:
    """Release this master's claim on all of the given build requests; claimed_at is None when unclaimed."""
    _, brids = await add_requests(state, "linux", "windows", "mac")
    await state.db.buildrequests.claimBuildRequests(brids)
    assert await state.db.buildrequests.unclaimBuildRequests(brids[:2]) is None
    assert [await claimed_at(state, brid) for brid in brids[:2]] == [None, None]
    assert await claimed_at(state, brids[2]) is not None
    await state.db.buildrequests.claimBuildRequests(brids[:2])


async def test_unclaim_others(state: Any, second_master: Any) -> None:
    """This will not unclaim requests that are claimed by another master, but will not fail in this case."""
    _, (mine, free, others) = await add_requests(state, "mine", "free", "others")
    await state.db.buildrequests.claimBuildRequests([mine])
    await second_master.db.buildrequests.claimBuildRequests([others], claimed_at=WHEN)
    await state.db.buildrequests.unclaimBuildRequests([mine, free, others, NOBODY])
    assert [await claimed_at(state, brid) for brid in (mine, free, others)] == [None, None, WHEN]
    async with unchanged(state):
        await state.db.buildrequests.unclaimBuildRequests([])


async def test_unclaim_complete(state: Any) -> None:
    """The method does not check whether a request is completed."""
    brid = await add_request(state)
    await state.db.buildrequests.claimBuildRequests([brid])
    await state.db.buildrequests.completeBuildRequests([brid], 0)
    await state.db.buildrequests.unclaimBuildRequests([brid])
    found = await state.db.buildrequests.getBuildRequest(brid)
    assert (found["claimed"], found["complete"]) == (False, True)


async def test_expired(state: Any, second_master: Any) -> None:
    """Find any incomplete claimed builds which are older than ``old`` seconds, and clear their claim."""
    _, (old, others, recent, done, free) = await add_requests(state, "old", "others", "recent", "done", "free")
    await state.db.buildrequests.claimBuildRequests([old, done], claimed_at=LONG_AGO)
    await second_master.db.buildrequests.claimBuildRequests([others], claimed_at=LONG_AGO)
    await state.db.buildrequests.completeBuildRequests([done], 0)
    await state.db.buildrequests.claimBuildRequests([recent])
    assert await state.db.buildrequests.unclaimExpiredRequests(3600) is None
    times = [await claimed_at(state, brid) for brid in (old, others, free)]
    assert times == [None, None, None]
    assert await claimed_at(state, done) == LONG_AGO
    assert just_now(await claimed_at(state, recent))


async def test_expired_refuses(state: Any) -> None:
    """Number of seconds: an integer, not negative; an age that nothing has clears nothing."""
    wrong = [("1", TypeError), (None, TypeError), (1.5, TypeError), (True, TypeError), (-1, ValueError)]
    await refuses(state, state.db.buildrequests.unclaimExpiredRequests, wrong, "old")
    async with unchanged(state):
        await state.db.buildrequests.unclaimExpiredRequests(2**40)
