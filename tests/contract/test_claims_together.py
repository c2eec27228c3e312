"""Claims and completions of many callers at the same time share statements; the results are those of single calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from buildbot.db.exceptions import NotClaimedError
from tests.support.building import add_requests
from tests.support.events import listen
from tests.support.samples import NOBODY

BUILDERS = [f"b{number}" for number in range(12)]


async def outcomes(calls: list[Deferred[Any]]) -> list[Any]:
    """What each call gave: its result, or the type of its error."""
    return [result if success else result.type for success, result in await DeferredList(calls, consumeErrors=True)]


async def test_one_unknown(state: Any) -> None:
    """Who asks for what cannot be claimed fails; those beside it do not."""
    _, brids = await add_requests(state, *BUILDERS)
    update = state.data.update
    claims = [update.claimBuildRequests([brid]) for brid in brids]
    claims.insert(5, update.claimBuildRequests([brids[0], NOBODY]))
    claims.insert(9, update.claimBuildRequests(["1"]))
    assert await outcomes(claims) == [True] * 5 + [False] + [True] * 3 + [TypeError] + [True] * 4
    completions = [update.completeBuildRequests([brid], 0) for brid in brids[:-1]]
    completions.insert(3, update.completeBuildRequests([NOBODY], 0))
    completions.insert(7, update.completeBuildRequests([brids[-1]], "0"))
    assert await outcomes(completions) == [None] * 3 + [NotClaimedError] + [None] * 3 + [TypeError] + [None] * 5
    assert [request["brid"] for request in await state.db.buildrequests.getBuildRequests(complete=False)] == brids[-1:]


async def test_the_same_ids(state: Any) -> None:
    """Of callers that want the same request, one gets it."""
    _, brids = await add_requests(state, "a", "b")
    claims = [state.data.update.claimBuildRequests(wanted) for wanted in ([brids[0]], brids, [brids[1]], [brids[0]])]
    found = await outcomes(claims)
    assert sorted(found) == [False, False, True, True]
    assert (found[0], found[2]) == (True, True)


async def test_different_results(state: Any) -> None:
    """Each request has the result that its caller gave, and the buildset the worst of them."""
    bsid, brids = await add_requests(state, *BUILDERS)
    update = state.data.update
    await update.claimBuildRequests(brids)
    given = [0, 0, 0, 2, 2, 1, 0, 0, 3, 3, 0, 0]
    await outcomes([update.completeBuildRequests([b], r) for b, r in zip(brids, given, strict=True)])
    requests = await state.db.buildrequests.getBuildRequests(bsid=bsid)
    assert [request["results"] for request in requests] == given
    assert (await state.db.buildsets.getBuildset(bsid))["results"] == 2


async def test_each_is_announced(state: Any) -> None:
    """One event for each request, and one for the buildset, whose last request it was."""
    bsid, brids = await add_requests(state, *BUILDERS)
    requests, sets = await listen(state, "buildrequests"), await listen(state, "buildsets")
    await outcomes([state.data.update.claimBuildRequests([brid]) for brid in brids])
    await outcomes([state.data.update.completeBuildRequests([brid], 0) for brid in brids])
    await outcomes([state.data.update.unclaimBuildRequests([brid]) for brid in brids])
    await requests.until(await state.data.clock())
    await sets.until(await state.data.clock())
    for event in ("claimed", "complete", "unclaimed"):
        keys = [key for key in requests.keys if key.endswith(f"/{event}")]
        assert sorted(keys) == sorted(f"buildrequests/{brid}/{event}" for brid in brids)
    assert sets.keys == [f"buildsets/{bsid}/complete"]
