"""Control."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from buildbot.data.exceptions import DataException, InvalidControlError, NotFoundError
from buildbot.util.results import CANCELLED, RETRY
from tests.support.building import STAMP, add_build, add_request, add_requests
from tests.support.events import announced, expecting
from tests.support.refusals import unchanged
from tests.support.samples import NOBODY


async def control(state: Any, action: str, path: tuple[Any, ...], **args: Any) -> list[str]:
    """Have something done; the events of it."""
    return await announced(state, state.data.control, action, args, path)


def test_exceptions() -> None:
    """InvalidControlError (a DataException)."""
    assert issubclass(InvalidControlError, DataException)
    assert issubclass(NotFoundError, DataException)


async def test_stop(state: Any) -> None:
    """Event control/builds/N/stop {"reason": ...}; the wish is kept on the build."""
    buildid, _ = await add_build(state)
    path = ("builds", buildid)
    heard = await expecting(state, "control", "builds", str(buildid), "stop")
    assert await control(state, "stop", path, reason="why") == [f"control/builds/{buildid}/stop"]
    assert (await heard)[1] == {"reason": "why"}
    builder = await state.data.get({}, ("builders", "linux"))
    by_number = ("builders", builder["builderid"], "builds", 1)
    assert await control(state, "stop", by_number) == [f"control/builds/{buildid}/stop"]


async def test_stop_of_finished(state: Any) -> None:
    """Nothing happens (still null) for finished builds."""
    buildid, _ = await add_build(state)
    await state.data.update.finishBuild(buildid, 0)
    async with unchanged(state):
        assert await state.data.control("stop", {}, ("builds", buildid)) is None


async def test_poll(state: Any) -> None:
    """Event control/changesources/N/poll, for the master that runs it; one that does not exist is an error."""
    changesourceid = await state.data.update.findChangeSourceId("poller")
    path = ("changesources", changesourceid)
    assert await control(state, "poll", path) == [f"control/changesources/{changesourceid}/poll"]
    with pytest.raises(NotFoundError):
        await state.data.control("poll", {}, ("changesources", changesourceid + 1))


async def test_rebuild(state: Any) -> None:
    """[bsid, {"<builderid>": buildrequestid}]: same sourcestamps, same properties, reason rebuild, rebuilt_buildid."""
    stamps = [{**STAMP, "codebase": "a"}, {**STAMP, "codebase": "b", "patch_body": "diff"}]
    buildid, brid = await add_build(state, sourcestamps=stamps, properties={"p": (1, "s")}, priority=4)
    old = await state.data.get({}, ("buildrequests", brid))
    before = await state.data.get({}, ("buildsets", old["buildsetid"]))
    bsid, brids = await state.data.control("rebuild", {}, ("builds", buildid))
    new = await state.data.get({"properties": ["*"]}, ("buildrequests", brids[str(old["builderid"])]))
    after = await state.data.get({}, ("buildsets", bsid))
    assert after["sourcestamps"] == before["sourcestamps"]
    assert (after["reason"], after["rebuilt_buildid"], after["complete"]) == ("rebuild of linux #1", buildid, False)
    assert (new["buildsetid"], new["builderid"], new["properties"]) == (bsid, old["builderid"], {"p": [1, "s"]})
    await state.data.update.claimBuildRequests([new["buildrequestid"]])
    second = await state.data.update.newBuild(new["buildrequestid"])
    again, _ = await state.data.control("rebuild", {}, ("builds", second))
    assert (await state.data.get({}, ("buildsets", again)))["rebuilt_buildid"] == buildid


async def test_rebuild_events(state: Any) -> None:
    """buildsets/N/new, buildrequests/N/new."""
    buildid, _ = await add_build(state)
    keys = await control(state, "rebuild", ("builds", buildid))
    assert [key.split("/")[0::2] for key in keys] == [["buildsets", "new"], ["buildrequests", "new"]]


async def test_cancel_unclaimed(state: Any) -> None:
    """An unclaimed request becomes complete with results 6 (complete, then cancel event, buildset complete)."""
    bsid, (brid, other) = await add_requests(state, "linux", "windows")
    cancelled = await expecting(state, "buildrequests", str(brid), "cancel")
    wished = f"control/buildrequests/{brid}/cancel"
    keys = await control(state, "cancel", ("buildrequests", brid), reason="why")
    assert keys == [f"buildrequests/{brid}/complete", f"buildrequests/{brid}/cancel", wished]
    found = await state.data.get({}, ("buildrequests", brid))
    message = (await cancelled)[1]
    assert message == {name: found[name] for name in message}
    assert (found["complete"], found["results"], found["claimed"]) == (True, CANCELLED, False)
    keys = await control(state, "cancel", ("buildrequests", other))
    assert f"buildsets/{bsid}/complete" in keys
    assert (await state.data.get({}, ("buildsets", bsid)))["results"] == CANCELLED


async def test_cancel_claimed(state: Any) -> None:
    """A claimed one gets its builds stopped."""
    buildid, brid = await add_build(state)
    keys = await control(state, "cancel", ("buildrequests", brid))
    assert keys == [f"control/builds/{buildid}/stop", f"control/buildrequests/{brid}/cancel"]
    assert (await state.data.get({}, ("buildrequests", brid)))["complete"] is False


@pytest.mark.parametrize("noun", ["builds", "buildrequests"])
async def test_a_wish_before_a_retry(state: Any, noun: str) -> None:
    """A build that a person wanted to stop is not built again, though its worker was lost or its master stopped first;
    and what it waited for is cancelled.
    """
    buildid, brid = await add_build(state)
    child = await add_request(state, "child", waited_for=True, parent_buildid=buildid, parent_relationship="Triggered")
    action, identifier = ("stop", buildid) if noun == "builds" else ("cancel", brid)
    await state.data.control(action, {"reason": "why"}, (noun, identifier))
    keys = await announced(state, lambda: state.data.update.endBuild(buildid, brid, RETRY))
    bsid = (await state.data.get({}, ("buildrequests", brid)))["buildsetid"]
    ended = [f"builds/{buildid}/finished", f"buildrequests/{brid}/complete", f"buildsets/{bsid}/complete"]
    assert keys[:3] == ended and f"buildrequests/{child}/complete" in keys
    build = await state.data.get({}, ("builds", buildid))
    assert (build["results"], build["state_string"]) == (CANCELLED, "cancelled: why")
    for each in (brid, child):
        request = await state.data.get({}, ("buildrequests", each))
        assert (request["complete"], request["results"]) == (True, CANCELLED)


async def test_a_wish_before_the_claim_is_given_back(state: Any) -> None:
    """A request that was cancelled while a master had claimed it is not given to the next one."""
    bsid, (brid, other) = await add_requests(state, "a", "b")
    await state.data.update.claimBuildRequests([brid, other])
    await state.data.control("cancel", {}, ("buildrequests", brid))
    keys = await announced(state, lambda: state.data.update.unclaimBuildRequests([brid, other]))
    assert keys == [f"buildrequests/{other}/unclaimed", f"buildrequests/{brid}/complete"]
    assert (await state.data.get({}, ("buildrequests", brid)))["results"] == CANCELLED
    assert not (await state.data.get({}, ("buildsets", bsid)))["complete"]


async def test_cancel_complete(state: Any) -> None:
    """Nothing happens to a request that is complete."""
    brid = await add_request(state)
    await state.data.control("cancel", {}, ("buildrequests", brid))
    async with unchanged(state):
        assert await state.data.control("cancel", {}, ("buildrequests", brid)) is None


async def test_set_priority(state: Any) -> None:
    """set_priority is announced: what a snapshot shows has changed."""
    brid = await add_request(state)
    announced = [f"buildrequests/{brid}/update"]
    assert await control(state, "set_priority", ("buildrequests", brid), priority=-7) == announced
    assert (await state.data.get({}, ("buildrequests", brid)))["priority"] == -7


async def test_enable(state: Any) -> None:
    """schedulers/N: enable, with ``enabled``; event schedulers/N/updated."""
    schedulerid = await state.data.update.findSchedulerId("s")
    await state.data.update.setSchedulerMaster(schedulerid, state.masterid)
    for path in (("schedulers", schedulerid), ("masters", state.masterid, "schedulers", schedulerid)):
        for enabled in (False, True):
            keys = await control(state, "enable", path, enabled=enabled)
            assert keys == [f"schedulers/{schedulerid}/updated"]
            assert (await state.data.get({}, path))["enabled"] is enabled


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("pause", {"paused": True, "pause_reason": "why"}),
        ("unpause", {"paused": False, "pause_reason": None}),
        ("stop", {"graceful": True}),
        ("kill", {}),
    ],
)
async def test_worker(state: Any, action: str, expected: Mapping[str, Any]) -> None:
    """Event control/worker/N/<action> (singular worker), then workers/N/state_updated."""
    workerid = await state.data.update.findWorkerId("w")
    keys = await control(state, action, ("workers", "w"), reason="why")
    updated = [f"workers/{workerid}/state_updated"] if expected else []
    assert keys == [f"control/worker/{workerid}/{action}", *updated]
    worker = await state.data.get({}, ("workers", workerid))
    assert {name: worker[name] for name in expected} == expected


async def test_handlers(state: Any) -> None:
    """Actions that the process layer implements: handler(args, entity)."""
    buildid, _ = await add_build(state)

    async def handle(args: Mapping[str, Any], entity: dict[str, Any]) -> Any:
        return dict(args), entity["buildid"]

    state.data.control_handlers["builds", "explode"] = handle
    assert await state.data.control("explode", {"a": 1}, ("builds", buildid)) == ({"a": 1}, buildid)


async def test_owner(state: Any) -> None:
    """``owner``: who wants it comes with every action."""
    buildid, brid = await add_build(state)
    await state.data.control("stop", {"owner": "me"}, ("builds", buildid))
    await state.data.control("set_priority", {"owner": "me", "priority": 1}, ("buildrequests", brid))


async def refused(state: Any, action: Any, args: Any, path: tuple[Any, ...], named: str) -> None:
    async with unchanged(state):
        with pytest.raises(InvalidControlError, match=named):
            await state.data.control(action, args, path)


async def test_unknown_action(state: Any) -> None:
    """control with an action that the resource does not have: InvalidControlError naming it."""
    buildid, _ = await add_build(state)
    for path in (("builds", buildid), ("builds",), ("buildsets", 1), (), ("builds", buildid, "properties")):
        await refused(state, "explode", {}, path, "explode")
    await refused(state, "stop", {}, ("builds",), "stop")
    await refused(state, 7, {}, ("builds", buildid), "action")


async def test_bad_arguments(state: Any) -> None:
    """Or with bad arguments: InvalidControlError naming it."""
    buildid, brid = await add_build(state)
    schedulerid = await state.data.update.findSchedulerId("s")
    not_args: tuple[Any, ...] = (None, [], "reason")
    for args in not_args:
        await refused(state, "stop", args, ("builds", buildid), "args")
    await refused(state, "stop", {"nothing": 1}, ("builds", buildid), "nothing")
    for reason in (1, b"why", None, "nul\x00", "lone \ud800"):
        await refused(state, "stop", {"reason": reason}, ("builds", buildid), "reason")
        await refused(state, "cancel", {"reason": reason}, ("buildrequests", brid), "reason")
    for priority in ("1", True, 2**31, None):
        await refused(state, "set_priority", {"priority": priority}, ("buildrequests", brid), "priority")
    await refused(state, "set_priority", {}, ("buildrequests", brid), "priority")
    for enabled in (0, 1, "false", None):
        await refused(state, "enable", {"enabled": enabled}, ("schedulers", schedulerid), "enabled")
    await refused(state, "enable", {}, ("schedulers", schedulerid), "enabled")


@pytest.mark.parametrize(("noun", "action"), [("builds", "stop"), ("buildrequests", "cancel"), ("workers", "pause")])
async def test_nobody(state: Any, noun: str, action: str) -> None:
    """The resource that an action is for does not exist."""
    async with unchanged(state):
        with pytest.raises(NotFoundError):
            await state.data.control(action, {}, (noun, NOBODY))
