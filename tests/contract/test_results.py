"""Build data and test results."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.db.exceptions import NotClaimedError
from buildbot.resources.builds import builds
from buildbot.util.checks import MAX_BYTES
from tests.contract.test_projects import NOT_IDENTIFIER
from tests.support.building import run_build
from tests.support.events import announced
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_REQUIRED_TEXT

VALUES = (b"", b"text", b"\x00\xff'\"\\%_\n\r\x1a", bytes(range(256)) * 4000)


async def add_set(state: Any, **more: Any) -> tuple[Any, int, int]:
    """A running build, its builder's id, and a test result set of its step."""
    running = await run_build(state)
    builderid = (await state.data.get({}, ("builds", running.buildid)))["builderid"]
    given = {"description": "d", "category": "pass_fail", "value_unit": "boolean", **more}
    setid = await state.data.update.addTestResultSet(builderid, running.buildid, running.stepid, **given)
    return running, builderid, setid


@pytest.mark.parametrize("value", VALUES, ids=len)
async def test_build_data(state: Any, value: bytes) -> None:
    """Bytes are stored under a name, replaced by later ones, and never decoded; lists tell their length only."""
    running = await run_build(state)
    for stored, source in ((b"before", "first"), (value, "second")):
        await state.data.update.setBuildData(running.buildid, "a-name", stored, source)
    expected = {
        "buildid": running.buildid,
        "name": "a-name",
        "length": len(value),
        "value": None,
        "source": "second",
    }
    assert await state.db.build_data.getBuildData(running.buildid, "a-name") == expected
    assert await state.db.build_data.getAllBuildData(running.buildid) == [expected]
    assert await state.db.build_data.getBuildDataValue(running.buildid, "a-name") == value
    build = await state.data.get({}, ("builds", running.buildid))
    for prefix in (
        ("builds", running.buildid),
        ("builders", build["builderid"], "builds", build["number"]),
        ("builders", "linux", "builds", build["number"]),
    ):
        (listed,) = await state.data.get({}, (*prefix, "data"))
        assert {name: listed[name] for name in expected} == expected
        assert await state.data.get({}, (*prefix, "data", "a-name")) == listed
        assert (await state.data.get({}, (*prefix, "data", "a-name", "value")))["value"] == value
        assert await state.data.get({}, (*prefix, "data", "another", "value")) is None


async def test_largest_build_data(state: Any) -> None:
    """A value may have 7,000,000 bytes, of any content."""
    running = await run_build(state)
    value = b"'" * MAX_BYTES
    await state.data.update.setBuildData(running.buildid, "a", value, "s")
    assert await state.db.build_data.getBuildDataValue(running.buildid, "a") == value


async def test_build_data_refused(state: Any) -> None:
    """Wrong arguments are named; only the master that holds the claim writes; what is not there is None."""
    running = await run_build(state)
    good = {"buildid": running.buildid, "name": "n", "value": b"", "source": "s"}
    store = state.data.update.setBuildData
    await refuses(state, store, NOT_IDENTIFIER, "name", **good)
    await refuses(state, store, NOT_REQUIRED_TEXT, "source", **good)
    too_long = (b"x" * (MAX_BYTES + 1), ValueError)
    await refuses(state, store, [("text", TypeError), (None, TypeError), too_long], "value", **good)
    await state.data.update.finishBuild(running.buildid, 0)
    async with unchanged(state):
        for buildid in (running.buildid, NOBODY):
            with pytest.raises(NotClaimedError):
                await store(buildid, "n", b"", "s")
    assert await state.db.build_data.getBuildData(running.buildid, "n") is None
    assert await state.db.build_data.getBuildDataValue(running.buildid, "n") is None


async def test_set(state: Any) -> None:
    """A set begins incomplete and is completed once, with the numbers of tests if they are known."""
    running, builderid, setid = await add_set(state)
    expected = {
        "test_result_setid": setid,
        "builderid": builderid,
        "buildid": running.buildid,
        "stepid": running.stepid,
        "description": "d",
        "category": "pass_fail",
        "value_unit": "boolean",
        "tests_passed": None,
        "tests_failed": None,
        "complete": False,
    }
    assert await state.db.test_result_sets.getTestResultSet(setid) == expected
    await state.data.update.completeTestResultSet(setid, tests_passed=3, tests_failed=0)
    expected |= {"tests_passed": 3, "tests_failed": 0, "complete": True}
    assert await state.db.test_result_sets.getTestResultSets(running.buildid) == [expected]
    single = await state.data.get({}, ("test_result_sets", setid))
    assert {name: single[name] for name in expected} == expected
    for path in (
        ("test_result_sets",),
        ("builders", builderid, "test_result_sets"),
        ("builders", "linux", "test_result_sets"),
        ("builds", running.buildid, "test_result_sets"),
        ("steps", running.stepid, "test_result_sets"),
    ):
        assert await state.data.get({}, path) == [single]
        assert await state.data.get({"filters": {"complete": False}}, path) == []
    assert await state.db.test_result_sets.getTestResultSet(NOBODY) is None
    async with unchanged(state):
        with pytest.raises(ValueError, match="test_result_setid"):
            await state.data.update.completeTestResultSet(setid)


async def test_set_refused(state: Any) -> None:
    """A set needs a step of a build of a builder, and the claim; counts are whole numbers."""
    running, builderid, setid = await add_set(state)
    update = state.data.update
    async with unchanged(state):
        for ids in ((NOBODY, running.buildid, running.stepid), (builderid, running.buildid, NOBODY)):
            with pytest.raises(ValueError, match="stepid"):
                await update.addTestResultSet(*ids, None, "c", "u")
        with pytest.raises(NotClaimedError):
            await update.addTestResultSet(builderid, NOBODY, running.stepid, None, "c", "u")
    for name in ("tests_passed", "tests_failed"):
        wrong = [(-1, ValueError), ("1", TypeError), (True, TypeError)]
        await refuses(state, update.completeTestResultSet, wrong, name, test_result_setid=setid)
    await update.unclaimBuildRequests([running.brid])
    async with unchanged(state):
        with pytest.raises(NotClaimedError):
            await update.completeTestResultSet(setid)
        with pytest.raises(NotClaimedError):
            await update.addTestResults(builderid, setid, [{"test_name": "t", "value": "1"}])


async def test_set_of_a_build_that_ended(state: Any) -> None:
    """The end of a build completes its sets; nothing is added to them afterwards."""
    running, builderid, setid = await add_set(state)
    update = state.data.update
    await update.finishBuild(running.buildid, 0)
    assert (await state.db.test_result_sets.getTestResultSet(setid))["complete"]
    async with unchanged(state):
        with pytest.raises(ValueError, match="not complete"):
            await update.completeTestResultSet(setid)
        with pytest.raises(ValueError, match="not complete"):
            await update.addTestResults(builderid, setid, [{"test_name": "t", "value": "1"}])


async def test_results(state: Any) -> None:
    """Results are listed in the order in which they were added; names and paths are told apart byte for byte."""
    _, builderid, setid = await add_set(state)
    given: list[dict[str, Any]] = [{"test_name": name, "value": str(n)} for n, name in enumerate(NAMES)]
    given += [{"test_code_path": name, "value": name, "line": n} for n, name in enumerate(NAMES)]
    given += [{"test_name": "t", "test_code_path": "p", "value": "x", "line": 2, "duration_ns": 2**40}] * 2
    for _ in range(2):
        await state.data.update.addTestResults(builderid, setid, given)
    await state.data.update.addTestResults(builderid, setid, [])
    defaults = {"test_name": None, "test_code_path": None, "line": None, "duration_ns": None}
    expected = [{**defaults, **result} for result in given] * 2
    found = await state.db.test_results.getTestResults(setid)
    assert [{name: result[name] for name in result if name in ("value", *defaults)} for result in found] == expected
    assert {(result["builderid"], result["test_result_setid"]) for result in found} == {(builderid, setid)}
    listed = await state.data.get({}, ("test_result_sets", setid, "results"))
    assert [{name: result[name] for name in found[0]} for result in listed] == found
    named = await state.data.get({"filters": {"test_name": "linux"}}, ("test_result_sets", setid, "results"))
    assert [result["value"] for result in named] == ["0", "0"]
    unnamed = await state.data.get(
        {"filters": {"test_name__ne": "linux"}, "order": ["-test_name"]}, ("test_result_sets", setid, "results")
    )
    assert len(unnamed) == len(found) - 2
    assert unnamed[-1]["test_name"] is None
    assert await state.db.test_results.getTestResults(NOBODY) == []


async def test_results_statements(state: Any) -> None:
    """Adding and listing results costs the same number of statements, however many there are."""
    _, builderid, setid = await add_set(state)
    state.mq.stop()  # it looks at the log now and then
    counts = []
    for size in (2, 200):
        before = state.db.pool.statements
        values = [{"test_name": f"t{size}-{n}", "value": "1"} for n in range(size)]
        await state.data.update.addTestResults(builderid, setid, values)
        await state.data.get({"limit": 100}, ("test_result_sets", setid, "results"))
        counts.append(state.db.pool.statements - before)
    assert counts[0] >= counts[1] - 1  # one counts what is beyond the page


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"value": "1"}, "test_name"),
        ({"test_name": "t"}, "value"),
        ({"test_name": "t", "value": 1}, "value"),
        ({"test_name": 1, "value": "1"}, "test_name"),
        ({"test_code_path": b"p", "value": "1"}, "test_code_path"),
        ({"test_name": "t", "value": "1", "line": "1"}, "line"),
        ({"test_name": "t", "value": "1", "duration_ns": 1.5}, "duration_ns"),
        ({"test_name": "t", "value": "1", "nothing": 1}, "nothing"),
        ("text", "dictionary"),
    ],
)
async def test_results_refused(state: Any, result: Any, said: str) -> None:
    """What is wrong with a result is named with its place; none of the call is added."""
    _, builderid, setid = await add_set(state)
    good = {"test_name": "t", "value": "1"}
    async with unchanged(state):
        with pytest.raises((TypeError, ValueError), match=rf"result_values\[1\].*{said}"):
            await state.data.update.addTestResults(builderid, setid, [good, result])


async def test_results_of_wrong_set(state: Any) -> None:
    """There must be a set, not complete, and it must be the builder's."""
    _, builderid, setid = await add_set(state)
    add, good = state.data.update.addTestResults, [{"test_name": "t", "value": "1"}]
    async with unchanged(state):
        with pytest.raises(ValueError, match="builderid"):
            await add(NOBODY, setid, good)
        with pytest.raises(ValueError, match="test_result_setid"):
            await add(builderid, NOBODY, good)
        with pytest.raises(ValueError, match="test_result_setid"):
            await state.db.test_results.addTestResults(builderid, NOBODY, good)
    await state.data.update.completeTestResultSet(setid)
    async with unchanged(state):
        with pytest.raises(ValueError, match="test_result_setid"):
            await add(builderid, setid, good)


async def test_events(state: Any) -> None:
    """Sets are announced; build data and results are not."""
    running, builderid, setid = await add_set(state)
    update = state.data.update
    made = (builderid, running.buildid, running.stepid, None, "c", "u")
    assert await announced(state, update.addTestResultSet, *made) == [f"test_result_sets/{setid + 1}/new"]
    assert await announced(state, update.addTestResults, builderid, setid, [{"test_name": "t", "value": "1"}]) == []
    assert await announced(state, update.setBuildData, running.buildid, "n", b"", "s") == []
    assert await announced(state, update.completeTestResultSet, setid) == [f"test_result_sets/{setid}/completed"]


async def test_master_lost(state: Any) -> None:
    """What a master leaves unfinished is completed with its builds: nothing more will come."""
    _, _, setid = await add_set(state)
    keys = await announced(state, state.data.update.masterStopped)
    assert f"test_result_sets/{setid}/completed" in keys
    assert (await state.db.test_result_sets.getTestResultSet(setid))["complete"] is True


async def test_removed_with_the_build(state: Any) -> None:
    """Build data and test results go with their build."""
    running, builderid, setid = await add_set(state)
    await state.data.update.setBuildData(running.buildid, "n", b"value", "s")
    await state.data.update.addTestResults(builderid, setid, [{"test_name": "t", "value": "1"}])
    await state.db.pool.do(lambda conn: conn.execute(builds.delete().where(builds.c.id == running.buildid)))
    model = state.db.model

    def thd(conn: Any) -> list[Any]:
        tables = (model.build_data, model.build_data_values, model.test_result_sets, model.test_results)
        return [row for table in tables for row in conn.execute(table.select())]

    assert await state.db.pool.do(thd) == []
