"""Update methods and their events."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.db.exceptions import NotClaimedError
from buildbot.util.results import FAILURE, SUCCESS
from tests.support.building import STAMP, Running, add_build, add_request, add_requests, run_build
from tests.support.events import announced, expecting, listen
from tests.support.refusals import unchanged
from tests.support.samples import NAMES, NOBODY

WHEN = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)


def test_one_object(master: Any) -> None:
    """``master.data.update`` is the specification's attribute; ``master.data.updates`` is the same object."""
    assert master.data.update is master.data.updates


async def test_add_change(state: Any) -> None:
    """A property may be a plain value, the source Change is added; when_timestamp may be a datetime or seconds."""
    given = {"properties": {"a": 1, "b": (2, "Change")}, "when_timestamp": WHEN}
    keys = await announced(state, state.data.update.addChange, **given)
    changeid = await state.db.changes.getLatestChangeid()
    assert keys == [f"changes/{changeid}/new"]
    found = await state.data.get({}, ("changes", changeid))
    assert found["properties"] == {"a": [1, "Change"], "b": [2, "Change"]}
    assert found["when_timestamp"] == int(WHEN.timestamp())


@pytest.mark.parametrize("given", [{"author": b"x"}, {"when_timestamp": WHEN.replace(tzinfo=None)}, {"nothing": 1}])
async def test_add_change_refuses(state: Any, given: dict[str, Any]) -> None:
    """The connector's keywords, and its errors; nothing is announced."""
    async with unchanged(state):
        with pytest.raises((TypeError, ValueError), match=next(iter(given))):
            await state.data.update.addChange(**given)


async def test_add_buildset(state: Any) -> None:
    """Returns (bsid, brids); events buildsets/N/new, buildrequests/N/new for each."""
    listener = await listen(state, "buildsets")
    result: list[Any] = []

    async def add() -> None:
        result.extend(
            await state.data.update.addBuildset(
                sourcestamps=[STAMP],
                reason="r",
                properties={"p": (1, "s")},
                builderNames=["b", "a"],
                scheduler="sched",
                waited_for=True,
                priority=3,
                external_idstring="x",
            )
        )

    keys = await announced(state, add)
    bsid, brids = result
    assert keys[:3] == [f"buildsets/{bsid}/new", *(f"buildrequests/{brid}/new" for brid in sorted(brids.values()))]
    # builders that nobody knew are announced too
    builders = [await state.data.update.findBuilderId(name) for name in ("a", "b")]
    assert sorted(keys[3:]) == sorted(f"builders/{builderid}/update" for builderid in builders)
    await listener.until(await state.data.clock())
    ((_, message),) = listener.heard
    expected = {"bsid": bsid, "scheduler": "sched", "reason": "r", "results": None, "complete": False}
    assert {key: message[key] for key in expected} == expected
    request = await state.data.get({"properties": ["*"]}, ("buildrequests", brids["a"]))
    wanted = {"priority": 3, "waited_for": True, "properties": {"p": [1, "s"]}, "results": -1, "complete": False}
    assert {key: request[key] for key in wanted} == wanted


async def test_equal_code(state: Any) -> None:
    """Equal sourcestamps are shared; a patch is never."""
    changeid = await state.data.update.addChange(**STAMP)
    change = await state.data.get({}, ("changes", changeid))
    ids = []
    for more in ({"changeids": [changeid]}, {}, {"patch_body": "x"}, {"patch_body": "x"}, {"revision": "other"}):
        bsid, _ = await add_requests(state, "linux", sourcestamps=[{**STAMP, **more}])
        ids.append((await state.data.get({}, ("buildsets", bsid)))["sourcestamps"][0]["ssid"])
    assert ids[0] == ids[1] == change["sourcestamp"]["ssid"]
    assert len(set(ids)) == 4


async def test_buildset_of_nothing(state: Any) -> None:
    """A buildset without builders has nothing to wait for: it is complete."""
    bsid, brids = await state.data.update.addBuildset(sourcestamps=[STAMP], builderNames=[])
    found = await state.data.get({}, ("buildsets", bsid))
    assert (brids, found["complete"], found["results"]) == ({}, True, SUCCESS)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sourcestamps": [{"nothing": 1}]}, "nothing"),
        ({"sourcestamps": [{**STAMP, "changeids": [NOBODY]}]}, "changeids"),
        ({"sourcestamps": [STAMP], "sourcestampsetid": 1}, "sourcestamps"),
        ({"sourcestamps": [STAMP], "builderNames": "linux"}, "builderNames"),
        ({"sourcestampsetid": NOBODY}, "sourcestampsetid"),
    ],
    ids=repr,
)
async def test_add_buildset_refuses(state: Any, given: dict[str, Any], named: str) -> None:
    """Nothing is written, and nothing announced."""
    async with unchanged(state):
        with pytest.raises((TypeError, ValueError), match=named):
            await state.data.update.addBuildset(**{"builderNames": ["linux"], **given})


async def test_claims(state: Any, second_master: Any) -> None:
    """claimBuildRequests -> bool (False where the connector raises AlreadyClaimedError), with their events."""
    _, (first, second) = await add_requests(state, "linux", "windows")
    update, others = state.data.update, second_master.data.update
    claimed = [f"buildrequests/{brid}/claimed" for brid in (first, second)]
    assert await announced(state, update.claimBuildRequests, [second, first]) == claimed
    assert await announced(state, others.claimBuildRequests, [first]) == []
    assert await others.claimBuildRequests([first]) is False
    assert await announced(state, update.reclaimBuildRequests, [first]) == [f"buildrequests/{first}/update"]
    assert await announced(state, others.unclaimBuildRequests, [first]) == []
    assert await announced(state, update.unclaimBuildRequests, [first]) == [f"buildrequests/{first}/unclaimed"]
    assert await others.claimBuildRequests([first], claimed_at=WHEN) is True
    assert await announced(state, update.unclaimExpiredRequests, 60) == [f"buildrequests/{first}/unclaimed"]
    assert await update.claimBuildRequests([]) is True


async def test_complete_buildset(state: Any) -> None:
    """Completing the last incomplete request of a buildset is what completes the buildset; the worst result."""
    bsid, (first, second) = await add_requests(state, "linux", "windows")
    update = state.data.update
    await update.claimBuildRequests([first, second])
    assert await announced(state, update.completeBuildRequests, [first], FAILURE) == [f"buildrequests/{first}/complete"]
    assert (await state.data.get({}, ("buildsets", bsid)))["complete"] is False
    keys = await announced(state, update.completeBuildRequests, [second], SUCCESS, complete_at=WHEN)
    assert keys == [f"buildrequests/{second}/complete", f"buildsets/{bsid}/complete"]
    found = await state.data.get({}, ("buildsets", bsid))
    assert (found["complete"], found["results"], found["complete_at"]) == (True, FAILURE, int(WHEN.timestamp()))
    async with unchanged(state):
        with pytest.raises(NotClaimedError):
            await update.completeBuildRequests([second], SUCCESS)


async def test_any_result_code(state: Any) -> None:
    """Integer result code: one that we do not know completes a buildset like any other."""
    bsid, (first, second) = await add_requests(state, "linux", "windows")
    await state.data.update.claimBuildRequests([first, second])
    await state.data.update.completeBuildRequests([first], 77)
    await state.data.update.completeBuildRequests([second], FAILURE)
    assert (await state.data.get({}, ("buildsets", bsid)))["results"] == 77


async def test_life_of_a_build(state: Any) -> None:
    """newBuild, finishBuild and their kin for steps and logs, each with its event."""
    update, brid = state.data.update, await add_request(state)
    await update.claimBuildRequests([brid])

    async def key(name: str, *args: Any, **kwargs: Any) -> list[str]:
        return await announced(state, getattr(update, name), *args, **kwargs)

    (new,) = await key("newBuild", brid)
    build = int(new.split("/")[1])
    assert new == f"builds/{build}/new"
    assert await key("setBuildStateString", build, "s") == [f"builds/{build}/update"]
    assert await key("setBuildLocksDuration", build, 3) == [f"builds/{build}/update"]
    assert await key("setBuildProperties", build, {"a": (1, "s")}) == [f"builds/{build}/properties/update"]
    assert await key("setBuildProperties", build, {"a": (1, "s")}) == []
    (new,) = await key("newStep", build, "compile")
    step = int(new.split("/")[1])
    assert new == f"steps/{step}/new"
    assert await key("startStep", step) == [f"steps/{step}/started"]
    assert await key("setStepStateString", step, "s") == [f"steps/{step}/updated"]
    assert await key("addStepURL", step, "n", "u") == [f"steps/{step}/updated"]
    (new,) = await key("newLog", step, "my log.txt", "t")
    log = int(new.split("/")[1])
    assert new == f"logs/{log}/new"
    assert await key("appendLog", log, "line\n") == [f"logs/{log}/append"]
    assert await key("finishLog", log) == [f"logs/{log}/finished"]
    assert await key("finishStep", step, FAILURE, hidden=True) == [f"steps/{step}/finished"]
    assert await key("finishBuild", build, FAILURE) == [f"builds/{build}/finished"]
    found = await state.data.get({"expand": ["steps.logs"], "properties": ["*"]}, ("builds", build))
    expected = {"complete": True, "results": FAILURE, "state_string": "s", "locks_duration_s": 3}
    assert {name: found[name] for name in expected} == expected
    assert found["properties"] == {"a": [1, "s"]}
    (found_step,) = found["steps"]
    assert (found_step["complete"], found_step["results"], found_step["hidden"]) == (True, FAILURE, True)
    assert found_step["urls"] == [{"name": "n", "url": "u"}]
    (found_log,) = found_step["logs"]
    assert (found_log["name"], found_log["slug"], found_log["num_lines"], found_log["type"]) == (
        "my log.txt",
        "my_log_txt",
        1,
        "t",
    )


async def test_property_messages(state: Any) -> None:
    """payload = sp object with only new or changed properties."""
    buildid, _ = await add_build(state)
    await state.data.update.setBuildProperties(buildid, {"a": (1, "s"), "b": (2, "s")})
    heard = await expecting(state, "builds", str(buildid), "properties", "update")
    await state.data.update.setBuildProperties(buildid, {"a": (1, "s"), "b": (3, "s"), "c": ([2**70], "s")})
    assert (await heard)[1] == {"b": [3, "s"], "c": [[2**70], "s"]}
    found = await state.data.get({"properties": ["*"]}, ("builds", buildid))
    assert found["properties"] == {"a": [1, "s"], "b": [3, "s"], "c": [[2**70], "s"]}


async def test_step_names(state: Any) -> None:
    """name: unique inside the build; repeats become name_1, name_2; numbers count from 0."""
    buildid, _ = await add_build(state)
    steps = [await state.data.update.newStep(buildid, name) for name in ("x", "x", "x_1", "x", "X", "x ")]
    assert [step["name"] for step in steps] == ["x", "x_1", "x_1_1", "x_2", "X", "x "]
    assert [step["number"] for step in steps] == list(range(6))


async def test_slugs(state: Any) -> None:
    """Characters outside [a-zA-Z0-9_-] become _; duplicates get _2, _3; a name has any length."""
    running = await run_build(state)
    for name in ("err.html", "err html", "err_html", *NAMES):
        await state.data.update.newLog(running.stepid, name, "h")
    logs = await state.data.get({}, ("steps", running.stepid, "logs"))
    assert [log["slug"] for log in logs[1:4]] == ["err_html", "err_html_2", "err_html_3"]
    assert [log["name"] for log in logs[4:]] == list(NAMES)
    assert len({log["slug"] for log in logs}) == len(logs)
    for log in logs:
        assert (await state.data.get({}, ("steps", running.stepid, "logs", log["slug"])))["logid"] == log["logid"]


async def test_builders(state: Any) -> None:
    """setBuilders: this master's builders; all others of this master are unlinked."""
    update = state.data.update
    ids = await update.setBuilders([{"name": "a", "description": "d", "tags": ["t"]}, {"name": "b"}])
    assert await announced(state, update.setBuilders, [{"name": "a", "description": "d", "tags": ["t"]}]) == [
        f"builders/{ids['b']}/update",
        f"builders/{ids['b']}/stopped",
    ]
    by_name = {found["name"]: found for found in await state.data.get({}, ("builders",))}
    assert (by_name["a"]["masterids"], by_name["b"]["masterids"]) == ([state.masterid], [])
    assert (by_name["a"]["description"], by_name["a"]["tags"]) == ("d", ["t"])
    assert await update.findBuilderId("a") == ids["a"]
    assert [b["name"] for b in await state.data.get({}, ("masters", state.masterid, "builders"))] == ["a"]


async def test_workers(state: Any) -> None:
    """workers/N/E: connected, disconnected, state_updated, and missing, which says who is to hear of it."""
    update = state.data.update
    builderid = await update.findBuilderId("linux")
    ids = await update.setWorkers({"w": [builderid]})
    path = ("workers", ids["w"])
    assert await announced(state, update.setWorkers, {"w": [builderid]}) == []
    came = [f"workers/{ids['w']}/connected"]
    assert await announced(state, update.workerConnected, ids["w"], {"admin": "me"}) == came
    found = await state.data.get({}, path)
    assert (found["connected_to"], found["workerinfo"]) == ([{"masterid": state.masterid}], {"admin": "me"})
    assert found["configured_on"] == [{"masterid": state.masterid, "builderid": builderid}]
    gone = [f"workers/{ids['w']}/disconnected"]
    assert await announced(state, update.workerDisconnected, ids["w"]) == gone
    assert await announced(state, update.workerDisconnected, ids["w"]) == []
    changed = [f"workers/{ids['w']}/state_updated"]
    assert await announced(state, update.setWorkerState, ids["w"], paused=True, pause_reason="r") == changed
    assert await announced(state, update.set_worker_condition, ids["w"], 5, "it failed") == changed
    assert await announced(state, update.set_worker_condition, ids["w"], 5, "it failed") == []
    found = await state.data.get({}, path)
    assert (found["quarantined_until"], found["state_string"]) == (5, "it failed")
    assert await announced(state, update.set_worker_condition, ids["w"]) == changed
    found = await state.data.get({}, path)
    assert (found["quarantined_until"], found["state_string"]) == (None, None)
    heard = await expecting(state, "workers", str(ids["w"]), "missing")
    missing = [f"workers/{ids['w']}/missing"]
    assert await announced(state, update.workerMissing, ids["w"], state.masterid, "Sat", ["a@b"]) == missing
    _, said = await heard
    assert (said["name"], said["last_connection"], said["notify"]) == ("w", "Sat", ["a@b"])


async def test_schedulers(state: Any, second_master: Any) -> None:
    """setSchedulerMaster -> bool; schedulerEnable(schedulerid, enabled); setForceScheduler."""
    update = state.data.update
    schedulerid = await update.findSchedulerId("s")
    key = [f"schedulers/{schedulerid}/updated"]
    assert await announced(state, update.setSchedulerMaster, schedulerid, state.masterid) == key
    assert await second_master.data.update.setSchedulerMaster(schedulerid, second_master.masterid) is False
    assert await announced(state, update.schedulerEnable, schedulerid, False) == key
    found = await state.data.get({}, ("schedulers", schedulerid))
    assert (found["enabled"], found["master"]["masterid"]) == (False, state.masterid)
    spec = {"button_name": "b", "label": "l", "builder_names": ["linux"], "all_fields": [{"name": ""}]}
    await update.setForceScheduler(schedulerid, spec)
    assert await state.data.get({}, ("forceschedulers", "s")) == {"name": "s", "enabled": False, **spec}
    await update.setForceScheduler(schedulerid, None)
    assert await state.data.get({}, ("forceschedulers",)) == []


WRITES: dict[str, Any] = {
    "setBuildStateString": lambda r: (r.buildid, "x"),
    "setBuildProperties": lambda r: (r.buildid, {"p": (1, "s")}),
    "setBuildLocksDuration": lambda r: (r.buildid, 1),
    "finishBuild": lambda r: (r.buildid, 0),
    "newStep": lambda r: (r.buildid, "more"),
    "startStep": lambda r: (r.stepid,),
    "setStepStateString": lambda r: (r.stepid, "x"),
    "addStepURL": lambda r: (r.stepid, "n", "u"),
    "finishStep": lambda r: (r.stepid, 0),
    "newLog": lambda r: (r.stepid, "more", "s"),
    "appendLog": lambda r: (r.logid, "oline\n"),
    "finishLog": lambda r: (r.logid,),
    "newBuild": lambda r: (r.brid,),
}


async def refused_everywhere(state: Any, writer: Any, running: Running) -> None:
    """Every write about the build is refused, and nothing changes."""
    async with unchanged(state):
        for name, arguments in WRITES.items():
            with pytest.raises(NotClaimedError):
                await getattr(writer.data.update, name)(*arguments(running))


async def test_claim_lost(state: Any) -> None:
    """A write about a build by a master that does not hold the claim fails with NotClaimedError."""
    running = await run_build(state)
    await state.data.update.unclaimBuildRequests([running.brid])
    await refused_everywhere(state, state, running)


async def test_claim_of_other(state: Any, second_master: Any) -> None:
    """The claim belongs to one master."""
    running = await run_build(state)
    await refused_everywhere(state, second_master, running)
    await state.data.update.unclaimBuildRequests([running.brid])
    await second_master.data.update.claimBuildRequests([running.brid])
    await refused_everywhere(state, state, running)


async def test_unknown_ids(state: Any) -> None:
    """Unknown ids count as not claimed."""
    await refused_everywhere(state, state, Running(NOBODY, NOBODY, NOBODY, NOBODY, NOBODY))
