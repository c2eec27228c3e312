"""Buildsets connector."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from buildbot.mq.log import thdEventsAfter
from tests.support.refusals import refuses, unchanged
from tests.support.samples import (
    JSON_VALUES,
    NAMES,
    NOBODY,
    NOT_CHOICE,
    NOT_ID,
    NOT_JSON,
    NOT_REQUIRED_ID,
    NOT_REQUIRED_TEXT,
    NOT_TEXT,
    NOT_TIME,
)

WHEN = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)


async def given(state: Any, **more: Any) -> dict[str, Any]:
    """Arguments of ``addBuildset`` that are right."""
    setid = await state.db.sourcestampsets.addSourceStampSet()
    return {"sourcestampsetid": setid, "reason": "r", "properties": {}, "builderNames": ["linux"], **more}


async def add(state: Any, **more: Any) -> int:
    """A buildset; its bsid."""
    bsid, _ = await state.db.buildsets.addBuildset(**await given(state, **more))
    return bsid  # type: ignore[no-any-return]


async def add_stamped(state: Any, *stamps: tuple[str | None, str]) -> int:
    """A buildset of a set with stamps of these branches and repositories; its bsid."""
    setid = await state.db.sourcestampsets.addSourceStampSet()
    for branch, repository in stamps:
        await state.db.sourcestamps.addSourceStamp(
            branch=branch, revision="r", repository=repository, project="", sourcestampsetid=setid
        )
    return await add(state, sourcestampsetid=setid)


async def test_all_keys(state: Any) -> None:
    """Buildsets are represented as bsdicts (buildset dictionaries), with keys …; results are -1 until complete."""
    arguments = await given(state, external_idstring="ext")
    bsid, _ = await state.db.buildsets.addBuildset(**arguments)
    found = await state.db.buildsets.getBuildset(bsid)
    expected = {
        "bsid": bsid,
        "external_idstring": "ext",
        "reason": "r",
        "sourcestampsetid": arguments["sourcestampsetid"],
        "complete": False,
        "complete_at": None,
        "results": -1,
    }
    assert {key: found[key] for key in expected} == expected
    assert found["complete"] is False
    assert found["submitted_at"].tzinfo is dt.UTC
    assert abs(found["submitted_at"] - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)


async def test_requests(state: Any) -> None:
    """The return value is a tuple (bsid, brids) where brids is a dictionary mapping buildernames to request IDs."""
    names = ["linux", "windows", "mac"]
    result = await state.db.buildsets.addBuildset(**await given(state, builderNames=names))
    assert isinstance(result, tuple)
    bsid, brids = result
    assert list(brids) == names
    for name, brid in brids.items():
        request = await state.db.buildrequests.getBuildRequest(brid)
        assert (request["buildername"], request["buildsetid"], request["complete"]) == (name, bsid, False)
        assert (request["claimed"], request["claimed_at"], request["mine"]) == (False, None, False)


async def test_external_idstring_default(state: Any) -> None:
    """External key to identify this buildset; defaults to None."""
    assert (await state.db.buildsets.getBuildset(await add(state)))["external_idstring"] is None


async def test_builder_names(state: Any) -> None:
    """An unknown builder name is registered in the builders table on first use: byte for byte, any length."""
    _, brids = await state.db.buildsets.addBuildset(**await given(state, builderNames=list(NAMES)))
    assert list(brids) == list(NAMES)
    for name, brid in brids.items():
        assert (await state.db.buildrequests.getBuildRequest(brid))["buildername"] == name
    _, again = await state.db.buildsets.addBuildset(**await given(state, builderNames=list(NAMES)))
    assert not set(again.values()) & set(brids.values())
    assert len(await state.db.builders.getBuilders()) == len(NAMES)


async def test_names_twice(state: Any) -> None:
    """Builder names given twice in one call count once."""
    bsid, brids = await state.db.buildsets.addBuildset(**await given(state, builderNames=("a", "b", "a")))
    assert sorted(brids) == ["a", "b"]
    assert len(await state.db.buildrequests.getBuildRequests(bsid=bsid)) == 2


async def test_no_builders(state: Any) -> None:
    """An empty list of builders makes a buildset without requests."""
    bsid, brids = await state.db.buildsets.addBuildset(**await given(state, builderNames=[]))
    assert brids == {}
    assert (await state.db.buildsets.getBuildset(bsid))["complete"] is False


async def test_many_builders(state: Any) -> None:
    """One request per builder in one transaction, however many."""
    names = [f"builder {number}" for number in range(2_000)]
    bsid, brids = await state.db.buildsets.addBuildset(**await given(state, builderNames=names))
    found = await state.db.buildrequests.getBuildRequests(bsid=bsid)
    assert {request["buildername"]: request["brid"] for request in found} == brids


async def test_properties(state: Any) -> None:
    """Return the properties for a buildset, in the same format they were given to addBuildset."""
    properties = {f"p{number}": (value, f"source {number}") for number, value in enumerate(JSON_VALUES)}
    properties |= {name: (1, name) for name in NAMES}
    bsid = await add(state, properties=properties)
    found = await state.db.buildsets.getBuildsetProperties(bsid)
    assert found == properties
    assert isinstance(found["p0"], tuple)


async def test_no_properties(state: Any) -> None:
    """This method does not distinguish a nonexistent buildset from a buildset with no properties: {} either way."""
    assert await state.db.buildsets.getBuildsetProperties(await add(state)) == {}
    assert await state.db.buildsets.getBuildsetProperties(NOBODY) == {}
    await refuses(state, state.db.buildsets.getBuildsetProperties, NOT_REQUIRED_ID, "buildsetid")


@pytest.mark.parametrize("field", ["reason", "external_idstring"])
async def test_text(state: Any, field: str) -> None:
    """``reason`` and ``external_idstring`` are text."""
    ids = [await add(state, **{field: name}) for name in NAMES]
    assert [(await state.db.buildsets.getBuildset(bsid))[field] for bsid in ids] == list(NAMES)


async def test_add_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written: no buildset, no request, no builder."""
    method, right = state.db.buildsets.addBuildset, await given(state)
    await refuses(state, method, [*NOT_REQUIRED_ID, (NOBODY, ValueError)], "sourcestampsetid", **right)
    await refuses(state, method, NOT_REQUIRED_TEXT, "reason", **right)
    await refuses(state, method, NOT_TEXT, "external_idstring", **right)
    names: list[Any] = [("linux", TypeError), (b"linux", TypeError), (None, TypeError), (1, TypeError)]
    names += [(["new", value], error) for value, error in NOT_REQUIRED_TEXT]
    await refuses(state, method, names, "builderNames", **right)
    properties: list[Any] = [(value, TypeError) for value in (None, [("p", 1)], {"p": 1}, {"p": (1,)})]
    properties += [({name: (1, "s")}, error) for name, error in NOT_REQUIRED_TEXT if name.__hash__]
    properties += [({"p": (1, source)}, error) for source, error in NOT_REQUIRED_TEXT]
    properties += [({"p": (value, "s")}, error) for value, error in NOT_JSON]
    await refuses(state, method, properties, "properties", **right)


async def test_complete(state: Any) -> None:
    """Marking it with the given results and setting its complete_at to the current time, if it is omitted."""
    bsid, other = await add(state), await add(state)
    assert await state.db.buildsets.completeBuildset(bsid, 6) is None
    found = await state.db.buildsets.getBuildset(bsid)
    assert (found["complete"], found["results"]) == (True, 6)
    assert abs(found["complete_at"] - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)
    await state.db.buildsets.completeBuildset(bsid=other, results=0, complete_at=WHEN)
    assert (await state.db.buildsets.getBuildset(other))["complete_at"] == WHEN


async def test_complete_again(state: Any) -> None:
    """KeyError if the buildset does not exist or is already complete."""
    bsid = await add(state)
    await state.db.buildsets.completeBuildset(bsid, 0, complete_at=WHEN)
    async with unchanged(state):
        for wanted in (bsid, NOBODY):
            with pytest.raises(KeyError):
                await state.db.buildsets.completeBuildset(wanted, 2)


async def test_complete_refuses(state: Any) -> None:
    """A naive datetime is a ValueError; errors name the argument."""
    method, bsid = state.db.buildsets.completeBuildset, await add(state)
    await refuses(state, method, NOT_REQUIRED_ID, "bsid", results=0)
    results = [(None, TypeError), ("0", TypeError), (True, TypeError), (1.0, TypeError), (2**31, ValueError)]
    await refuses(state, method, results, "results", bsid=bsid)
    await refuses(state, method, NOT_TIME, "complete_at", bsid=bsid, results=0)


async def test_get_nobody(state: Any) -> None:
    """Or None if no such buildset exists."""
    assert await state.db.buildsets.getBuildset(NOBODY) is None
    await refuses(state, state.db.buildsets.getBuildset, NOT_REQUIRED_ID, "bsid")


async def test_get_buildsets(state: Any) -> None:
    """If true, return only complete buildsets; if false, only incomplete; if None or omitted, all; by id."""
    assert await state.db.buildsets.getBuildsets() == []
    first, second, third = [await add(state) for _ in range(3)]
    await state.db.buildsets.completeBuildset(second, 0)

    async def ids(**filters: Any) -> list[int]:
        return [buildset["bsid"] for buildset in await state.db.buildsets.getBuildsets(**filters)]

    assert await ids() == await ids(complete=None) == [first, second, third]
    assert await ids(complete=True) == [second]
    assert await ids(complete=False) == [first, third]
    found = await state.db.buildsets.getBuildsets()
    assert found == [await state.db.buildsets.getBuildset(bsid) for bsid in (first, second, third)]
    await refuses(state, state.db.buildsets.getBuildsets, NOT_CHOICE, "complete")


async def test_recent(state: Any) -> None:
    """Only buildsets affecting such branch, such repository, complete or not; at most count, the newest."""
    both = await add_stamped(state, ("b1", "r1"), ("b2", "r2"))
    b1r2 = await add_stamped(state, ("b1", "r2"))
    default = await add_stamped(state, (None, "r1"))
    twice = await add_stamped(state, ("b1", "r1"), ("b1", "r1"))
    await state.db.buildsets.completeBuildset(b1r2, 0)

    async def ids(count: int, **filters: Any) -> list[int]:
        return [buildset["bsid"] for buildset in await state.db.buildsets.getRecentBuildsets(count, **filters)]

    assert await ids(100) == [both, b1r2, default, twice]
    assert await ids(2) == [default, twice]
    assert await ids(0) == []
    assert await ids(9, branch="b1") == [both, b1r2, twice]
    assert await ids(2, branch="b1") == [b1r2, twice]
    assert await ids(9, repository="r2") == [both, b1r2]
    assert await ids(9, branch="b1", repository="r1") == [both, twice]
    assert await ids(9, branch="B1") == await ids(9, branch="b1 ") == []
    assert await ids(9, complete=True) == [b1r2]
    assert await ids(9, complete=False, branch="b1") == [both, twice]
    assert await ids(9, complete=None, branch=None, repository=None) == await ids(9)


async def test_recent_refuses(state: Any) -> None:
    """Errors name the argument."""
    method = state.db.buildsets.getRecentBuildsets
    await refuses(state, method, [("1", TypeError), (None, TypeError), (True, TypeError), (-1, ValueError)], "count")
    await refuses(state, method, NOT_TEXT, "branch", count=1)
    await refuses(state, method, NOT_TEXT, "repository", count=1)
    await refuses(state, method, NOT_CHOICE, "complete", count=1)


async def test_unused_ids(state: Any) -> None:
    """Further arguments are checked too: parents are ids, priorities integers."""
    method, right = state.db.buildsets.addBuildset, await given(state)
    await refuses(state, method, NOT_ID, "parent_buildid", **right)
    await refuses(state, method, NOT_ID, "rebuilt_buildid", **right)
    priorities = [("1", TypeError), (None, TypeError), (1.5, TypeError), (2**31, ValueError)]
    await refuses(state, method, priorities, "priority", **right)


async def test_one_codebase_twice(state: Any) -> None:
    """A set may have two stamps of one codebase, as one that is made stamp by stamp; equal ones are one."""
    stamps = [
        {"revision": "r1", "codebase": "c"},
        {"revision": "r2", "codebase": "c"},
        {"revision": "r2", "codebase": "c", "patch_body": "+x"},
        {"revision": "r1", "codebase": "c"},
    ]
    clock = await state.data.clock()
    bsid, _ = await state.data.update.addBuildset(sourcestamps=stamps, builderNames=["b"])
    found = await state.data.get({}, ("buildsets", bsid))
    described = [(stamp["revision"], stamp["patch"] is not None) for stamp in found["sourcestamps"]]
    assert sorted(described) == [("r1", False), ("r2", False), ("r2", True)]
    bodies = [event.message for event in await state.db.pool.read(thdEventsAfter, clock, 100)]
    (announced,) = [body for body in bodies if "bsid" in body]
    assert announced["sourcestamps"] == found["sourcestamps"]
