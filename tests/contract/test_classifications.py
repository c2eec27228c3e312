"""Schedulers connector: classified changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.refusals import refuses, unchanged
from tests.support.samples import NOBODY, NOT_ID, NOT_REQUIRED_ID, NOT_TEXT


async def prepared(state: Any) -> tuple[int, list[int]]:
    """An object, and changes on the branches main, None and other."""
    objectid = await state.db.state.getObjectId("nightly", "Nightly")
    return objectid, [await state.db.changes.addChange(branch=branch) for branch in ("main", None, "other")]


async def test_classify(state: Any) -> None:
    """A dictionary mapping changeid to a boolean, just as supplied to classifyChanges."""
    objectid, (main, default, other) = await prepared(state)
    given = {main: True, default: False, other: True}
    assert await state.db.schedulers.classifyChanges(objectid, given) is None
    found = await state.db.schedulers.getChangeClassifications(objectid)
    assert found == given
    assert all(type(important) is bool for important in found.values())


async def test_objects_apart(state: Any) -> None:
    """Return the classifications made by this scheduler."""
    objectid, (main, *_) = await prepared(state)
    second = await state.db.state.getObjectId("second", "Nightly")
    await state.db.schedulers.classifyChanges(objectid, {main: True})
    await state.db.schedulers.classifyChanges(second, {main: False})
    assert await state.db.schedulers.getChangeClassifications(objectid) == {main: True}
    assert await state.db.schedulers.getChangeClassifications(second) == {main: False}
    assert await state.db.schedulers.getChangeClassifications(NOBODY) == {}


async def test_again(state: Any) -> None:
    """Classifying the same change again overwrites."""
    objectid, (main, default, _) = await prepared(state)
    await state.db.schedulers.classifyChanges(objectid, {main: True, default: True})
    await state.db.schedulers.classifyChanges(objectid, {main: False})
    assert await state.db.schedulers.getChangeClassifications(objectid) == {main: False, default: True}


async def test_none(state: Any) -> None:
    """Nothing classified: nothing changes."""
    objectid, _ = await prepared(state)
    async with unchanged(state):
        await state.db.schedulers.classifyChanges(objectid, {})
    assert await state.db.schedulers.getChangeClassifications(objectid) == {}


async def test_by_branch(state: Any) -> None:
    """Note that specifying branch=None requests changes for the default branch, not the same as omitting it."""
    objectid, (main, default, other) = await prepared(state)
    await state.db.schedulers.classifyChanges(objectid, {main: True, default: True, other: False})
    get = state.db.schedulers.getChangeClassifications
    assert await get(objectid, branch="main") == {main: True}
    assert await get(objectid, branch=None) == {default: True}
    assert await get(objectid, "other") == {other: False}
    assert await get(objectid, branch="Main") == await get(objectid, branch="main ") == {}


async def test_flush(state: Any) -> None:
    """Flush all, limiting to those with changeid less than less_than if the parameter is supplied."""
    objectid, changes = await prepared(state)
    second = await state.db.state.getObjectId("second", "Nightly")
    for scheduler in (objectid, second):
        await state.db.schedulers.classifyChanges(scheduler, dict.fromkeys(changes, True))
    get, flush = state.db.schedulers.getChangeClassifications, state.db.schedulers.flushChangeClassifications
    assert await flush(objectid, less_than=changes[1]) is None
    assert sorted(await get(objectid)) == changes[1:]
    await flush(objectid)
    assert await get(objectid) == {}
    assert sorted(await get(second)) == changes
    async with unchanged(state):
        await flush(objectid, None)
        await flush(NOBODY)
        await flush(second, 0)


async def test_many(state: Any) -> None:
    """Thousands of changes in one call."""
    objectid, changes = await prepared(state)
    async with unchanged(state):
        with pytest.raises(ValueError, match="classifications"):
            await state.db.schedulers.classifyChanges(
                objectid, {**dict.fromkeys(changes, True), **dict.fromkeys(range(NOBODY, NOBODY + 5_000), False)}
            )


async def test_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written."""
    objectid, (main, *_) = await prepared(state)
    classify = state.db.schedulers.classifyChanges
    await refuses(state, classify, NOT_REQUIRED_ID, "objectid", classifications={main: True})
    wrong: list[Any] = [(None, TypeError), ([main], TypeError), ({main: "yes"}, TypeError), ({main: None}, TypeError)]
    wrong += [({main: True, key: True}, error) for key, error in NOT_ID if key != main and key is not True]
    await refuses(state, classify, [*wrong, ({NOBODY: True}, ValueError)], "classifications", objectid=objectid)
    async with unchanged(state):
        with pytest.raises(ValueError, match="object"):
            await classify(NOBODY, {main: True})
    await refuses(state, state.db.schedulers.getChangeClassifications, NOT_REQUIRED_ID, "objectid")
    await refuses(state, state.db.schedulers.getChangeClassifications, NOT_TEXT, "branch", objectid=objectid)
    await refuses(state, state.db.schedulers.flushChangeClassifications, NOT_REQUIRED_ID, "objectid")
    await refuses(state, state.db.schedulers.flushChangeClassifications, NOT_ID, "less_than", objectid=objectid)
