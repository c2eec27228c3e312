"""State connector."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.engine import Connection
from twisted.internet.defer import gatherResults

from buildbot.resources import object_state
from tests.support.refusals import refuses, unchanged
from tests.support.samples import JSON_VALUES, NAMES, NOBODY, NOT_JSON, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT


async def test_object_id(state: Any) -> None:
    """Get the object ID for this combination of a name and a class. This will add a row if none exists already."""
    objectid = await state.db.state.getObjectId("nightly_smoketest", "NightlyScheduler")
    assert isinstance(objectid, int)
    async with unchanged(state):
        assert await state.db.state.getObjectId("nightly_smoketest", "NightlyScheduler") == objectid


async def test_objects_differ(state: Any) -> None:
    """Avoids cross-contaminating state between different classes of objects with the same name."""
    pairs = [("a", "b"), ("a", "c"), ("c", "b"), ("ab", ""), ("", "ab"), ("b", "a"), ("a", "b ")]
    ids = {await state.db.state.getObjectId(*pair) for pair in pairs}
    assert len(ids) == len(pairs)
    for number, objectid in enumerate(sorted(ids)):
        await state.db.state.setState(objectid, "x", number)
    assert [await state.db.state.getState(objectid, "x") for objectid in sorted(ids)] == list(range(len(pairs)))


@pytest.mark.parametrize("position", [0, 1])
async def test_object_names(state: Any, position: int) -> None:
    """Names compare exactly, byte for byte: object names, on every database; "class" can be any string."""
    ids = []
    for name in NAMES:
        pair = ["same", "same"]
        pair[position] = name
        ids.append(await state.db.state.getObjectId(*pair))
    assert len(set(ids)) == len(NAMES)


async def test_object_id_refuses(state: Any) -> None:
    """TypeError for a wrong type, ValueError for a wrong value, naming the argument."""
    await refuses(state, state.db.state.getObjectId, NOT_REQUIRED_TEXT, "name", class_name="C")
    await refuses(state, state.db.state.getObjectId, NOT_REQUIRED_TEXT, "class_name", name="n")


@pytest.mark.parametrize("value", JSON_VALUES, ids=range(len(JSON_VALUES)))
async def test_round_trip(state: Any, value: Any) -> None:
    """Values are any JSON-encodable value; setState returns the value actually written."""
    objectid = await state.db.state.getObjectId("o", "C")
    for name in ("fresh", "again"):
        assert await state.db.state.setState(objectid, "fresh", value) == value, name
        stored = await state.db.state.getState(objectid, "fresh", "default")
        assert stored == value
        assert type(stored) is type(value)


async def test_tuples(state: Any) -> None:
    """Tuples are stored and come back as lists."""
    objectid = await state.db.state.getObjectId("o", "C")
    assert await state.db.state.setState(objectid, "t", (1, (2,))) == [1, [2]]
    assert await state.db.state.getState(objectid, "t") == [1, [2]]


async def test_overwrite(state: Any) -> None:
    """Set the state value, overwriting any existing value."""
    objectid = await state.db.state.getObjectId("o", "C")
    assert await state.db.state.setState(objectid, "x", 1) == 1
    assert await state.db.state.setState(objectid, "x", [2]) == [2]
    assert await state.db.state.setState(objectid, "x", [2]) == [2]
    assert await state.db.state.getState(objectid, "x") == [2]


async def test_value_names(state: Any) -> None:
    """Each pair can be set and retrieved: its name has no length limit and counts byte for byte."""
    objectid = await state.db.state.getObjectId("o", "C")
    for number, name in enumerate(NAMES):
        await state.db.state.setState(objectid, name, number)
    assert [await state.db.state.getState(objectid, name) for name in NAMES] == list(range(len(NAMES)))


async def test_get_missing(state: Any) -> None:
    """KeyError if name is not present and no default is given; otherwise the default, None too."""
    objectid = await state.db.state.getObjectId("o", "C")
    for wanted in (objectid, NOBODY):
        with pytest.raises(KeyError):
            await state.db.state.getState(wanted, "x")
        assert await state.db.state.getState(wanted, "x", None) is None
        assert await state.db.state.getState(wanted, "x", default="d") == "d"


async def test_get_not_json(state: Any) -> None:
    """TypeError if JSON parsing fails."""
    objectid = await state.db.state.getObjectId("o", "C")
    await state.db.state.setState(objectid, "x", 1)

    def thd_spoil(conn: Connection) -> None:
        conn.execute(update(object_state).values(value_json="{"))

    await state.db.pool.do(thd_spoil)
    with pytest.raises(TypeError):
        await state.db.state.getState(objectid, "x", "default")


@pytest.mark.parametrize("number", range(len(NOT_JSON)))
async def test_set_not_json(state: Any, number: int) -> None:
    """A value that is not JSON: TypeError, nothing written. Lone surrogates are a ValueError everywhere."""
    value, error = NOT_JSON[number]
    objectid = await state.db.state.getObjectId("o", "C")
    await state.db.state.setState(objectid, "old", "kept")
    async with unchanged(state):
        for name in ("old", "new"):
            with pytest.raises(error):
                await state.db.state.setState(objectid, name, value)
        with pytest.raises(error):
            await state.db.state.atomicCreateState(objectid, "new", lambda: value)


async def test_unknown_object(state: Any) -> None:
    """Unknown ids are refused, and nothing is written."""
    async with unchanged(state):
        with pytest.raises(ValueError, match="objectid"):
            await state.db.state.setState(NOBODY, "x", 1)
        with pytest.raises(ValueError, match="objectid"):
            await state.db.state.atomicCreateState(NOBODY, "x", lambda: 1)


@pytest.mark.parametrize(
    ("method", "more"),
    [("getState", {}), ("setState", {"value": 1}), ("atomicCreateState", {"thd_create_callback": lambda: 1})],
)
async def test_refuses(state: Any, method: str, more: dict[str, Any]) -> None:
    """Errors name the argument, and nothing is written."""
    objectid = await state.db.state.getObjectId("o", "C")
    called = getattr(state.db.state, method)
    await refuses(state, called, NOT_REQUIRED_ID, "objectid", name="x", **more)
    await refuses(state, called, NOT_REQUIRED_TEXT, "name", objectid=objectid, **more)


async def test_atomic_create(state: Any) -> None:
    """Atomically creates the state value. If there is an existing value, returns that instead."""
    objectid = await state.db.state.getObjectId("o", "C")
    assert await state.db.state.atomicCreateState(objectid, "x", lambda: {"made": (1, 2)}) == {"made": [1, 2]}

    def never() -> Any:
        raise AssertionError("called although there is a value")

    async with unchanged(state):
        assert await state.db.state.atomicCreateState(objectid, "x", never) == {"made": [1, 2]}


async def test_atomic_create_none(state: Any) -> None:
    """None is a value like any other."""
    objectid = await state.db.state.getObjectId("o", "C")
    assert await state.db.state.atomicCreateState(objectid, "x", lambda: None) is None
    assert await state.db.state.atomicCreateState(objectid, "x", lambda: 1) is None


async def test_atomic_create_fails(state: Any) -> None:
    """What the callback raises comes to the caller; nothing is written."""
    objectid = await state.db.state.getObjectId("o", "C")
    async with unchanged(state):
        with pytest.raises(ZeroDivisionError):
            await state.db.state.atomicCreateState(objectid, "x", lambda: 1 / 0)


async def test_atomic_create_race(state: Any, second_master: Any) -> None:
    """Ensures the state is created only once for the whole cluster; every caller gets that value."""
    objectid = await state.db.state.getObjectId("o", "C")
    calls = [
        master.db.state.atomicCreateState(objectid, "x", lambda number=number: number)
        for number in range(10)
        for master in (state, second_master)
    ]
    values = await gatherResults(calls, consumeErrors=True)
    assert len(set(values)) == 1
    assert await state.db.state.getState(objectid, "x") == values[0]


async def test_concurrent_object_ids(state: Any, second_master: Any) -> None:
    """Concurrency promises hold between masters: one name and class has one id."""
    calls = [master.db.state.getObjectId(f"o{n}", "C") for n in range(20) for master in (state, second_master)]
    ids = await gatherResults(calls, consumeErrors=True)
    assert ids[::2] == ids[1::2]
    assert len(set(ids)) == 20


async def test_twins(state: Any) -> None:
    """Those methods have their threaded equivalent, thdGetObjectId, thdGetState, thdSetState."""

    def thd(conn: Connection) -> tuple[Any, ...]:
        component = state.db.state
        objectid = component.thdGetObjectId(conn, "o", "C")
        written = component.thdSetState(conn, objectid, "x", [1])
        made = component.thdAtomicCreateState(conn, objectid, "y", lambda: 2)
        return written, component.thdGetState(conn, objectid, "x"), made, component.thdGetState(conn, objectid, "z", 3)

    assert await state.db.pool.do(thd) == ([1], [1], 2, 3)
