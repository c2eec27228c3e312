"""Change sources and schedulers, which masters claim the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from buildbot.db import changesources, exceptions, schedulers
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_CHOICE, NOT_ID, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT


@dataclass(frozen=True)
class Noun:
    """The connector of one of the two, under common names."""

    component: Any
    name: str
    refused: type[Exception]

    @property
    def argument(self) -> str:
        return f"{self.name.lower()}id"

    def find(self, name: Any) -> Any:
        return getattr(self.component, f"find{self.name}Id")(name=name)

    def set_master(self, thing: Any, masterid: Any) -> Any:
        return getattr(self.component, f"set{self.name}Master")(**{self.argument: thing, "masterid": masterid})

    def get(self, thing: Any) -> Any:
        return getattr(self.component, f"get{self.name}")(**{self.argument: thing})

    def get_all(self, **filters: Any) -> Any:
        return getattr(self.component, f"get{self.name}s")(**filters)


@pytest.fixture(params=["ChangeSource", "Scheduler"])
def noun(request: pytest.FixtureRequest, state: Any) -> Noun:
    """Change sources or schedulers."""
    if request.param == "Scheduler":
        return Noun(state.db.schedulers, "Scheduler", exceptions.SchedulerAlreadyClaimedError)
    return Noun(state.db.changesources, "ChangeSource", exceptions.ChangeSourceAlreadyClaimedError)


async def other_master(state: Any, active: bool = True) -> int:
    """The id of another master."""
    masterid = await state.db.masters.findMasterId("host:/other")
    await state.db.masters.setMasterState(masterid, active)
    return int(masterid)


def test_one_exception_under_two_paths() -> None:
    """An exception that the specification names under two paths is one class, importable from both."""
    assert changesources.ChangeSourceAlreadyClaimedError is exceptions.ChangeSourceAlreadyClaimedError
    assert schedulers.SchedulerAlreadyClaimedError is exceptions.SchedulerAlreadyClaimedError


async def test_find(state: Any, noun: Noun) -> None:
    """If such a changesource is already in the database, this returns the ID. If not, it is added."""
    thing = await noun.find("poller")
    found = await noun.get(thing)
    assert {key: found[key] for key in ("id", "name", "masterid")} == {"id": thing, "name": "poller", "masterid": None}
    async with unchanged(state):
        assert await noun.find("poller") == thing


async def test_names(noun: Noun) -> None:
    """Names compare exactly, byte for byte; string identifiers have no length limit."""
    ids = [await noun.find(name) for name in NAMES]
    assert len(set(ids)) == len(NAMES)
    assert [found["name"] for found in await noun.get_all()] == list(NAMES)
    assert [await noun.find(name) for name in NAMES] == ids


async def test_find_refuses(state: Any, noun: Noun) -> None:
    """TypeError for a wrong type, ValueError for a wrong value; nothing is written."""
    await refuses(state, noun.find, NOT_REQUIRED_TEXT, "name")


async def test_set_and_unset(state: Any, noun: Noun) -> None:
    """Set, or unset if masterid is None, the active master. If no master is currently set, no error."""
    thing = await noun.find("poller")
    assert await noun.set_master(thing, state.masterid) is None
    assert (await noun.get(thing))["masterid"] == state.masterid
    assert await noun.set_master(thing, None) is None
    assert (await noun.get(thing))["masterid"] is None
    await noun.set_master(thing, None)


async def test_set_again(state: Any, noun: Noun) -> None:
    """A master that sets itself on a change source or scheduler that it already has: no error (nothing changes)."""
    thing = await noun.find("poller")
    await noun.set_master(thing, state.masterid)
    await noun.set_master(thing, state.masterid)
    assert (await noun.get(thing))["masterid"] == state.masterid


async def test_claimed_by_active(state: Any, noun: Noun) -> None:
    """If the current master is active, this method will raise ChangeSourceAlreadyClaimedError."""
    thing = await noun.find("poller")
    await noun.set_master(thing, await other_master(state))
    async with unchanged(state):
        with pytest.raises(noun.refused):
            await noun.set_master(thing, state.masterid)


async def test_claimed_by_inactive(state: Any, noun: Noun) -> None:
    """If the current master is not active, this method will complete without error."""
    thing = await noun.find("poller")
    await noun.set_master(thing, await other_master(state, active=False))
    await noun.set_master(thing, state.masterid)
    assert (await noun.get(thing))["masterid"] == state.masterid


async def test_set_unknown(state: Any, noun: Noun) -> None:
    """What does not exist is refused, and nothing changes."""
    thing = await noun.find("poller")
    async with unchanged(state):
        with pytest.raises(KeyError, match=noun.argument):
            await noun.set_master(NOBODY, state.masterid)
        with pytest.raises(KeyError, match=noun.argument):
            await noun.set_master(NOBODY, None)
        with pytest.raises(ValueError, match="masterid"):
            await noun.set_master(thing, NOBODY)


async def test_set_refuses(state: Any, noun: Noun) -> None:
    """Errors name the argument, and nothing is written."""
    thing = await noun.find("poller")
    method = getattr(noun.component, f"set{noun.name}Master")
    await refuses(state, method, NOT_REQUIRED_ID, noun.argument, masterid=state.masterid)
    await refuses(state, method, NOT_ID, "masterid", **{noun.argument: thing})


async def test_get_nobody(state: Any, noun: Noun) -> None:
    """Dictionary or None, via Deferred."""
    assert await noun.get(NOBODY) is None
    await refuses(state, getattr(noun.component, f"get{noun.name}"), NOT_REQUIRED_ID, noun.argument)


async def test_get_all(state: Any, noun: Noun) -> None:
    """Active means claimed by an active master; active and masterid combine; ordered by id."""
    gone = await state.db.masters.findMasterId("host:/gone")
    other = await other_master(state)
    mine, others, of_gone, free = [await noun.find(name) for name in ("mine", "others", "gone", "free")]
    for thing, masterid in ((mine, state.masterid), (others, other), (of_gone, gone)):
        await noun.set_master(thing, masterid)

    async def ids(**filters: Any) -> list[int]:
        return [thing["id"] for thing in await noun.get_all(**filters)]

    assert await ids() == sorted([mine, others, of_gone, free])
    assert await ids(active=None, masterid=None) == await ids()
    assert await ids(active=True) == sorted([mine, others])
    assert await ids(active=False) == sorted([of_gone, free])
    assert await ids(masterid=state.masterid) == [mine]
    assert await ids(masterid=gone) == [of_gone]
    assert await ids(active=True, masterid=state.masterid) == [mine]
    assert await ids(active=False, masterid=state.masterid) == []
    assert await ids(active=True, masterid=gone) == []
    assert await ids(active=False, masterid=gone) == [of_gone]
    assert await ids(masterid=NOBODY) == []


async def test_get_all_of_none(noun: Noun) -> None:
    """A getter for many returns a list."""
    assert await noun.get_all() == []


async def test_get_all_refuses(state: Any, noun: Noun) -> None:
    """A wrong value for claimed, active or complete is a ValueError."""
    method = getattr(noun.component, f"get{noun.name}s")
    await refuses(state, method, NOT_CHOICE, "active")
    await refuses(state, method, NOT_ID, "masterid")
