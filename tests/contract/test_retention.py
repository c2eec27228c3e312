"""Old rows are removed, others stay, and followers get the events."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import delete, select

from buildbot.db import retention
from buildbot.db.engine.rows import Reader
from buildbot.resources.buildsets import buildsets
from buildbot.resources.sourcestamps import sourcestampset_members
from buildbot.util.results import SUCCESS
from tests.support.building import STAMP, Running, add_requests, run_build
from tests.support.events import Listener, listen
from tests.support.state import Database

DAY = 24 * 3600
YEAR = 365 * DAY


@pytest.fixture
def later(state: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets time pass."""
    real, passed = state.db.pool.groups.clock.now, [0]
    monkeypatch.setattr(state.db.pool.groups.clock, "now", lambda: real() + passed[0])

    def add(seconds: int) -> None:
        passed[0] += seconds

    return add


async def finish(state: Any, running: Running) -> Running:
    """Let a build and its request end."""
    update = state.data.update
    await update.finishLog(running.logid)
    await update.finishStep(running.stepid, SUCCESS)
    await update.finishBuild(running.buildid, SUCCESS)
    await update.completeBuildRequests([running.brid], SUCCESS)
    return running


async def measure(state: Any, running: Running, count: int) -> int:
    """Results of so many tests; the id of their set."""
    builderid = (await state.data.get({}, ("builds", running.buildid)))["builderid"]
    update, values = state.data.update, [{"test_name": f"t{i}", "value": "1"} for i in range(count)]
    setid: int = await update.addTestResultSet(builderid, running.buildid, running.stepid, "d", "pass_fail", "boolean")
    await update.addTestResults(builderid, setid, values)
    return setid


async def build(state: Any, builder: str = "linux", **more: Any) -> Running:
    """A finished build with everything that a build can have."""
    running, update = await run_build(state, builder, **more), state.data.update
    await update.setBuildProperties(running.buildid, {"p": (1, "s")})
    await update.setBuildData(running.buildid, "data", b"x", "s")
    await update.completeTestResultSet(await measure(state, running, 3))
    return await finish(state, running)


async def follow(state: Any, noun: str) -> Listener:
    """A listener to all of a noun that has no list of all."""
    listener = Listener()
    listener.subscription = await state.mq.startConsuming(listener, (noun, None, None))
    return listener


async def prune(method: Any, *arguments: Any) -> int:
    """Call it until nothing is left; how many calls that took."""
    place: Any = retention.START
    calls = 0
    while place is not None:
        place = await method(*arguments, place)
        calls += 1
        assert calls < 200
    return calls


async def prune_all(state: Any, seconds: int = YEAR, keep: int = 0) -> None:
    """As a pass of the janitor."""
    update = state.data.update
    await prune(update.pruneLogs, seconds, keep)
    await prune(update.pruneBuildData, seconds, keep)
    await prune(update.pruneBuilds, seconds, keep)
    await prune(update.pruneBuildsets, seconds)
    await prune(update.pruneChanges, seconds)
    await prune(update.pruneSourceStamps, seconds)


async def rows(state: Any) -> dict[str, int]:
    """How many rows the tables have that this is about."""
    names = (
        "changes sourcestamps sourcestampsets sourcestampset_members sourcestampset_changes patches buildsets"
        " buildrequests builds build_properties build_data build_data_values steps logs logchunks test_result_sets"
        " test_results"
    )

    def thd(conn: Any) -> dict[str, int]:
        return {name: conn.exec_driver_sql(f"SELECT COUNT(*) FROM {name}").scalar() for name in names.split()}

    found: dict[str, int] = await state.db.pool.do(thd)
    return found


async def test_everything_goes(state: Any, later: Any) -> None:
    """After its age nothing of a build is left: of no table that grows."""
    changeid = await state.data.update.addChange(author="a", revision="r1")
    patched = {**STAMP, "codebase": "c", "patch_body": "p", "patch_author": "a", "patch_comment": "c"}
    await build(state)
    running = await run_build(state)
    await finish(state, running)
    _, (brid,) = await add_requests(state, "linux", sourcestamps=[{**STAMP, "changeids": [changeid]}, patched])
    await state.data.update.claimBuildRequests([brid])
    await state.data.update.completeBuildRequests([brid], SUCCESS)
    later(YEAR + 1)
    await prune_all(state)
    left = {name: count for name, count in (await rows(state)).items() if count}
    assert set(left) <= {"sourcestamps"}
    await prune_all(state)  # stamps that others could find go in the next pass
    assert not any((await rows(state)).values())


async def test_young_and_unfinished_stay(state: Any, later: Any) -> None:
    """Rows that are not old enough stay, and unfinished ones of any age."""
    await add_requests(state, "linux")
    await run_build(state)
    later(YEAR + 1)
    await state.data.update.addChange(author="a", when_timestamp=1)  # committed long ago, and new
    await build(state)
    before = await rows(state)
    await prune_all(state)
    assert await rows(state) == before


async def test_newest_stay(state: Any, later: Any) -> None:
    """The newest builds of each builder are kept with their logs, and what they were built for."""
    built = [await build(state, builder) for builder in ("linux", "mac") for _ in range(3)]
    later(YEAR + 1)
    await prune_all(state, keep=2)
    builds = await state.data.get({}, ("builds",))
    assert [each["buildid"] for each in builds] == [built[i].buildid for i in (1, 2, 4, 5)]
    left = await rows(state)
    assert (left["buildsets"], left["buildrequests"], left["logchunks"]) == (4, 4, 4)
    await prune_all(state, keep=0)
    assert (await rows(state))["builds"] == 0


async def test_contents_of_logs(state: Any, later: Any) -> None:
    """Logs lose their content before their build goes: of type d then, without lines."""
    built = await build(state, lines="".join(f"oline {i}\n" for i in range(100)))
    listener = await follow(state, "logs")
    later(YEAR)
    await prune(state.data.update.pruneLogs, YEAR - DAY, 0)
    log = await state.data.get({}, ("logs", built.logid))
    assert (log["type"], log["num_lines"], log["complete"]) == ("d", 0, True)
    assert (await state.data.get({}, ("logs", built.logid, "contents")))["content"] == ""
    assert (await rows(state))["logchunks"] == 0
    await listener.until(await state.data.clock())
    ((key, message),) = listener.heard
    assert (key, message) == (("logs", str(built.logid), "emptied"), {name: log[name] for name in message})
    await prune(state.data.update.pruneLogs, YEAR - DAY, 0)
    assert len(listener.heard) == 1


async def test_small_batches(state: Any, later: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large a build is, a call removes a bounded number of rows."""
    monkeypatch.setattr(retention, "LARGE_ROWS", 2)
    monkeypatch.setattr(retention, "SMALL_ROWS", 2)
    running, update = await run_build(state), state.data.update
    for i in range(4):
        await update.appendLog(running.logid, f"o{i}\n")
    await measure(state, running, 5)
    await update.finishBuild(running.buildid, SUCCESS)
    await update.completeBuildRequests([running.brid], SUCCESS)
    later(YEAR + 1)
    at_most = 2
    place: Any = retention.START
    while place is not None:
        before = await rows(state)
        place = await update.pruneBuilds(YEAR, 0, place)
        after = await rows(state)
        assert all(before[name] - after[name] <= at_most for name in ("logchunks", "test_results"))
    assert (await rows(state))["builds"] == 0


async def test_referred_to_stays(state: Any, later: Any) -> None:
    """Stamps and sets that a buildset is for stay, and changes that it came from or that a scheduler waits to build."""
    update = state.data.update
    used, waiting, free = [await update.addChange(author="a", revision=f"r{i}") for i in range(3)]
    await add_requests(state, "linux", sourcestamps=[{**STAMP, "changeids": [used]}])
    objectid = await state.db.state.getObjectId("s", "S")
    await state.db.schedulers.classifyChanges(objectid, {waiting: True})
    later(YEAR + 1)
    for _ in range(2):
        await prune_all(state)
    assert [each["changeid"] for each in await state.data.get({"order": ["changeid"]}, ("changes",))] == [used, waiting]
    assert await state.db.changes.getChange(free) is None
    assert (await rows(state))["sourcestamps"] == 3


async def test_shared_stamp_that_is_found_meanwhile(state: Any, later: Any) -> None:
    """A source stamp that is used again between two passes stays; equal code added later has one of its own."""
    update = state.data.update
    await update.addChange(author="a", revision="r1")
    (stamp,) = await state.data.get({}, ("sourcestamps",))
    later(YEAR + 1)
    await prune(update.pruneChanges, YEAR)
    await prune(update.pruneSourceStamps, YEAR)  # nobody finds it any more
    setid = await state.db.sourcestampsets.addSourceStampSet()

    def thd(conn: Any) -> None:  # as of somebody who had found it before
        values = f"({setid}, {stamp['ssid']})"
        conn.exec_driver_sql(f"INSERT INTO sourcestampset_members (sourcestampsetid, ssid) VALUES {values}")

    await state.db.pool.do(thd)
    await update.addChange(author="a", revision="r1")
    await prune(update.pruneSourceStamps, YEAR)
    found = [each["ssid"] for each in await state.data.get({}, ("sourcestamps",))]
    assert found[0] == stamp["ssid"]
    assert len(found) == 2


#: what is followed: path of the list, and its identifier
LISTS = {"builds": "buildid", "buildsets": "bsid", "buildrequests": "buildrequestid", "changes": "changeid"}


async def test_exact(state: Any, later: Any) -> None:
    """Snapshot and events are the later snapshot, of every list and of what is below a build."""
    update = state.data.update
    await update.addChange(author="a", revision="r1")
    kept = None
    for i in range(7):
        kept = await build(state, "linux", lines=f"o{i}\n")
    assert kept is not None
    later(YEAR - 1)
    await build(state)
    later(2)
    paths: dict[tuple[str, ...], str] = {(name,): key for name, key in LISTS.items()}
    for each in await state.data.get({}, ("builds",)):
        paths["builds", str(each["buildid"]), "steps"] = "stepid"
        paths["builds", str(each["buildid"]), "test_result_sets"] = "test_result_setid"
        for step in await state.data.get({}, ("builds", each["buildid"], "steps")):
            paths["steps", str(step["stepid"]), "logs"] = "logid"
    followed = {name: await follow(state, name) for name in ("logs", "test_result_sets")}
    replicas: dict[tuple[str, ...], dict[int, Any]] = {}
    listeners: dict[tuple[str, ...], Any] = {}
    for path, key in paths.items():
        replicas[path] = {each[key]: _plain(each) for each in await state.data.get({}, path)}
        listeners[path] = followed.get(path[-1]) or await listen(state, *path)
    await prune_all(state, keep=2)
    now = await state.data.clock()
    for path, key in paths.items():
        listener, replica = listeners[path], replicas[path]
        await listener.until(now)
        for routing_key, message in listener.heard:
            if message[key] in replica:
                if routing_key[-1] == "deleted":
                    del replica[message[key]]
                else:
                    replica[message[key]].update(_plain(message))
        assert replica == {each[key]: _plain(each) for each in await state.data.get({}, path)}, path
    assert len(replicas["builds",]) == 2


def _plain(entity: dict[str, Any]) -> dict[str, Any]:
    """Without links, which messages do not have."""
    return {name: value for name, value in entity.items() if isinstance(value, int | str | None)}


@pytest.mark.parametrize(("arguments", "named"), [((-1, 0), "seconds"), (("1", 0), "seconds"), ((1, -1), "keep")])
async def test_refused(state: Any, arguments: tuple[Any, ...], named: str) -> None:
    """A wrong age or number is an error that names the argument."""
    with pytest.raises((TypeError, ValueError), match=named):
        await state.data.update.pruneBuilds(*arguments)


@pytest.mark.parametrize("options", [{}, {"limit": 10}, {"fields": ["bsid", "sourcestamps"]}], ids=str)
@pytest.mark.parametrize("ask", ["get", "get_one", "read"])
async def test_removed_while_it_is_read(
    state: Any, database: Database, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], ask: str
) -> None:
    """A buildset that is removed between two statements of a read is there with its source stamps, or not there."""
    bsids = [
        (await state.data.update.addBuildset(sourcestamps=[STAMP], reason=reason, builderNames=[]))[0]
        for reason in ("goes", "stays")
    ]
    relate = Reader._relate
    removed: list[int] = []

    def remove_first(self: Reader, conn: Any, *arguments: Any) -> Any:
        if not removed and database.engine is not None:
            removed.append(bsids[0])
            with database.engine.begin() as other:
                setid = other.execute(
                    select(buildsets.c.sourcestampsetid).where(buildsets.c.id == bsids[0])
                ).scalar_one()
                other.execute(delete(buildsets).where(buildsets.c.id == bsids[0]))
                other.execute(delete(sourcestampset_members).where(sourcestampset_members.c.sourcestampsetid == setid))
        return relate(self, conn, *arguments)

    monkeypatch.setattr(Reader, "_relate", remove_first)
    if ask == "get_one":
        found = await state.data.get(
            {"fields": options["fields"]} if "fields" in options else {}, ("buildsets", bsids[0])
        )
        assert found is None or len(found["sourcestamps"]) == 1
        return
    if ask == "get":
        found = await state.data.get(options, ("buildsets",))
    else:
        found, _ = await state.data.snapshot(options, ("buildsets",))
    assert [len(each["sourcestamps"]) for each in found] == [1] * len(found)
    assert bsids[1] in [each["bsid"] for each in found]
