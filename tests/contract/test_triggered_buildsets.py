"""Buildsets that builds trigger: once for each request, however often it is built."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from buildbot.db.exceptions import NotClaimedError
from buildbot.process.triggering import cancel_buildset, end_of_buildset
from buildbot.util.results import CANCELLED, FAILURE, RETRY, SUCCESS, WARNINGS
from tests.support.events import listen


async def a_build(state: Any, brid: int | None = None, priority: int = 0) -> tuple[int, int]:
    """A running build; its request and its id."""
    update = state.data.update
    if brid is None:
        stamps = [{"codebase": "", "branch": "main"}]
        _, brids = await update.addBuildset(sourcestamps=stamps, builderNames=["parent"], priority=priority)
        brid = int(brids["parent"])
    await update.claimBuildRequests([brid])
    return brid, await update.newBuild(brid)


def trigger(state: Any, buildid: int, revision: str = "1", **properties: Any) -> Any:
    return state.data.update.triggerBuildset(
        parent_buildid=buildid,
        scheduler="t",
        sourcestamps=[{"codebase": "", "branch": "main", "revision": revision}],
        properties={name: (value, "Trigger") for name, value in properties.items()},
        builderNames=["child"],
        parent_relationship="Triggered from",
    )


async def test_built_again(state: Any) -> None:
    """A build of the same request gets what the one before has triggered, with an event that says so."""
    brid, first = await a_build(state, priority=5)
    triggered = await trigger(state, first, number=1, mine=first)
    assert (await state.data.get({}, ("buildrequests", triggered[1]["child"])))["priority"] == 5
    await state.data.update.endBuild(first, brid, RETRY)
    _, second = await a_build(state, brid)
    listener = await listen(state, "buildsets", triggered[0])
    assert await trigger(state, second, number=2, mine=second) == triggered
    buildset, clock = await state.data.snapshot({}, ("buildsets", triggered[0]))
    assert buildset["parent_buildid"] == second
    await listener.until(clock)
    ((key, message),) = listener.heard
    assert (key, message["parent_buildid"]) == (("buildsets", str(triggered[0]), "update"), second)
    await listener.subscription.stopConsuming()
    # it has been taken: the same again is another one
    assert (await trigger(state, second, number=2, mine=second))[0] != triggered[0]


@pytest.mark.parametrize(
    ("revision", "properties", "results"),
    [("2", {}, None), ("1", {"p": 1}, None), ("1", {}, FAILURE)],
    ids=["code", "properties", "failed"],
)
async def test_something_else_is_triggered_anew(
    state: Any, revision: str, properties: dict[str, Any], results: int | None
) -> None:
    """Other code, other properties; and what has failed has another chance."""
    brid, first = await a_build(state)
    bsid, brids = await trigger(state, first)
    if results is not None:
        await state.data.update.claimBuildRequests([brids["child"]])
        await state.data.update.completeBuildRequests([brids["child"]], results)
    await state.data.update.endBuild(first, brid, RETRY)
    _, second = await a_build(state, brid)
    assert (await trigger(state, second, revision, **properties))[0] != bsid


async def test_another_request_triggers_for_itself(state: Any) -> None:
    """What a build of another request has triggered is not taken."""
    brid, first = await a_build(state)
    bsid, _ = await trigger(state, first)
    await state.data.update.endBuild(first, brid, SUCCESS)
    _, other = await a_build(state)
    assert (await trigger(state, other))[0] != bsid


async def test_a_build_of_nobody(state: Any) -> None:
    """A master that has lost the build triggers nothing."""
    brid, first = await a_build(state)
    await state.data.update.endBuild(first, brid, RETRY)
    with pytest.raises(NotClaimedError):
        await trigger(state, first)
    assert len(await state.data.get({}, ("buildsets",))) == 1


async def test_another_master_builds_it(state: Any, second_master: Any) -> None:
    """Who waits hears of the end, and who gives up stops what the other master builds."""
    _, parent = await a_build(state)
    bsid, brids = await trigger(state, parent)
    waiting = ensureDeferred(end_of_buildset(state, bsid))
    other = second_master.data.update
    assert await other.claimBuildRequests([brids["child"]])
    await other.completeBuildRequests([brids["child"]], WARNINGS)
    assert await waiting == WARNINGS
    assert await end_of_buildset(state, bsid) == WARNINGS

    bsid, brids = await trigger(state, parent, "2")
    await other.claimBuildRequests([brids["child"]])
    buildid = await other.newBuild(brids["child"])
    stopped: Deferred[Any] = Deferred()
    heard = await second_master.mq.startConsuming(
        lambda key, message: stopped.callback(message), ("control", "builds", str(buildid), "stop")
    )
    await cancel_buildset(state, bsid, "parent build was interrupted")
    assert await stopped == {"reason": "parent build was interrupted"}
    await maybeDeferred(heard.stopConsuming)


@pytest.mark.parametrize("again", [True, False], ids=["while it is built again", "while it waits"])
async def test_nobody_waits_any_more(state: Any, again: bool) -> None:
    """With a request that is cancelled, what its ended builds wait for is cancelled too, and what that waits for."""
    brid, first = await a_build(state)
    update = state.data.update

    def child(buildid: int, name: str, waited_for: bool) -> Any:
        return update.triggerBuildset(
            parent_buildid=buildid,
            scheduler="t",
            sourcestamps=[{"codebase": "", "branch": "main"}],
            builderNames=[name],
            waited_for=waited_for,
        )

    waited = (await child(first, "waited", True))[1]["waited"]
    free = (await child(first, "free", False))[1]["free"]
    _, build = await a_build(state, waited)
    deeper = (await child(build, "deeper", True))[1]["deeper"]
    await update.endBuild(build, waited, RETRY)
    await update.endBuild(first, brid, RETRY)
    path: tuple[Any, ...] = ("buildrequests", brid)
    if again:
        _, second = await a_build(state, brid)
        path = ("builds", second)
    await state.data.control("stop" if again else "cancel", {"reason": "enough"}, path)
    found = await state.data.get({"filters": {"results": CANCELLED}}, ("buildrequests",))
    expected = {waited, deeper} if again else {brid, waited, deeper}
    assert {each["buildrequestid"] for each in found} == expected
    assert not (await state.data.get({}, ("buildrequests", free)))["complete"]
