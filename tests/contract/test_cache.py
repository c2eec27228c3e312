"""Caching."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import gatherResults

from buildbot.db.base import DBConnectorComponent, cached
from tests.support.samples import NOBODY


class ThDict(dict[str, Any]):
    """A dictionary that allows weak references."""


class Things(DBConnectorComponent):
    """A component as the specification shows it, which counts its queries."""

    queries = 0

    @cached("thdicts")
    def getThing(self, thid: int) -> Any:
        """A thing."""

        def thd(conn: Any) -> Any:
            self.queries += 1
            if thid == 0:
                raise ZeroDivisionError
            return None if thid < 0 else ThDict(thid=thid)

        return self.db.pool.do(thd)


@pytest.fixture
def things(state: Any) -> Things:
    """A component is made as ``Component(master.db)``."""
    return Things(state.db)


async def test_cached(things: Things) -> None:
    """The wrapped method will only be called if the named cache does not contain the key."""
    first = await things.getThing(1)
    assert await things.getThing(1) is first
    assert await things.getThing(2) == {"thid": 2}
    assert things.queries == 2


async def test_no_cache(things: Things) -> None:
    """An optional no_cache argument which, if true, will invoke the method even if the key is in the cache."""
    first = await things.getThing(1)
    assert await things.getThing(1, no_cache=True) is not first
    assert await things.getThing(1, no_cache=False) is first
    assert things.queries == 2


async def test_cache_attribute(things: Things) -> None:
    """The resulting method will have a ``cache`` attribute which can be used to access the underlying cache."""
    await things.getThing(1)
    await things.getThing(1)
    cache = things.getThing.cache
    assert (cache.hits, cache.misses) == (1, 1)
    cache.put(1, ThDict(thid="put"))
    assert await things.getThing(1) == {"thid": "put"}
    assert await cache.get(1) == {"thid": "put"}


async def test_concurrent_misses(things: Things) -> None:
    """Concurrent misses of one key make one query."""
    found = await gatherResults([things.getThing(7) for _ in range(20)])
    assert things.queries == 1
    assert all(thing is found[0] for thing in found)


async def test_none_is_not_cached(things: Things) -> None:
    """A None is never cached."""
    assert await things.getThing(-1) is None
    assert await things.getThing(-1) is None
    assert things.queries == 2


async def test_failures_are_not_cached(things: Things) -> None:
    """An error comes to every caller who waits, and the next one asks again."""
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await things.getThing(0)
    assert things.queries == 2


async def test_weak(things: Things) -> None:
    """Weak references: besides the latest objects, only those that callers hold are kept."""
    held = await things.getThing(1)
    thing = ThDict(thid=2)
    things.getThing.cache.put(2, thing)
    dropped = weakref.ref(thing)
    del thing
    for thid in range(10, 1_000):
        things.getThing.cache.put(thid, ThDict(thid=thid))
    gc.collect()
    assert dropped() is None
    assert await things.getThing(1) is held


async def test_invalidated_while_read(things: Things) -> None:
    """What was invalidated while it was being read is not kept: it may be old."""
    reading = things.getThing(1)
    things.db.invalidate("thdicts", 1)
    first = await reading
    fresh = await things.getThing(1)
    assert (fresh is first) == (things.queries == 1)
    assert await things.getThing(1) is fresh


@pytest.mark.parametrize(
    ("add", "get"),
    [
        (lambda db: db.changes.addChange(), lambda db: db.changes.getChange),
        (lambda db: db.users.findUserByAttr("i", "t", "d"), lambda db: db.users.getUser),
        (lambda db: db.sourcestamps.addSourceStamp(None, None, "", ""), lambda db: db.sourcestamps.getSourceStamp),
    ],
    ids=["changes", "users", "sourcestamps"],
)
async def test_getters(state: Any, add: Callable[..., Any], get: Callable[..., Any]) -> None:
    """Only getters with a no_cache argument cache; what they give is the same object while it is cached."""
    identifier, getter = await add(state.db), get(state.db)
    first = await getter(identifier)
    assert await getter(identifier) is first
    again = await getter(identifier, no_cache=True)
    assert again == first
    assert again is not first
    assert await getter(NOBODY) is None


async def test_seen_when_made(state: Any) -> None:
    """Within a master, what it wrote itself is seen at once: a None that was asked for before does not stay."""
    latest = await state.db.changes.addChange()
    assert await state.db.changes.getChange(latest + 1) is None
    assert await state.db.changes.addChange() == latest + 1
    assert (await state.db.changes.getChange(latest + 1))["changeid"] == latest + 1
