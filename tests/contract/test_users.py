"""Users connector."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from tests.support.events import expecting
from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT, NOT_TEXT

ATTRIBUTE = {"identifier": "dustin", "attr_type": "git", "attr_data": "dustin@v.igoro.us"}


def add(state: Any, data: str = "d", **given: str) -> Deferred[int]:
    """A user; the uid."""
    call = {"identifier": "i", "attr_type": "t", "attr_data": data, **given}
    return state.db.users.findUserByAttr(**call)  # type: ignore[no-any-return]


async def test_add(state: Any) -> None:
    """Get an existing user, or add a new one. All attributes are also included in the dictionary, keyed by type."""
    uid = await state.db.users.findUserByAttr(**ATTRIBUTE)
    assert await state.db.users.getUser(uid) == {
        "uid": uid,
        "identifier": "dustin",
        "bb_username": None,
        "bb_password": None,
        "git": "dustin@v.igoro.us",
    }


async def test_find(state: Any) -> None:
    """Note that identifier is not used in the search for an existing user."""
    uid = await state.db.users.findUserByAttr(**ATTRIBUTE)
    async with unchanged(state):
        assert await state.db.users.findUserByAttr(**{**ATTRIBUTE, "identifier": "other"}) == uid
    others = [await add(state, **{**ATTRIBUTE, **other}) for other in ({"attr_type": "svn"}, {"attr_data": "x"})]
    assert len({uid, *others}) == 3


async def test_attribute_values(state: Any) -> None:
    """Names (attribute values) compare exactly, byte for byte, on every database."""
    ids = [await add(state, name) for name in NAMES]
    assert len(set(ids)) == len(NAMES)
    assert [(await state.db.users.getUser(uid))["t"] for uid in ids] == list(NAMES)
    assert [await add(state, name) for name in NAMES] == ids


async def test_attribute_types(state: Any) -> None:
    """Each user has a set of attributes, keyed by type, which has no length limit either."""
    uid = await add(state)
    for number, name in enumerate(NAMES):
        await state.db.users.updateUser(uid, attr_type=name, attr_data=str(number))
    found = await state.db.users.getUser(uid, no_cache=True)
    assert [found[name] for name in NAMES] == [str(number) for number in range(len(NAMES))]


async def test_colliding_types(state: Any) -> None:
    """Types colliding with the keys above are ignored."""
    uid = await add(state, attr_type="uid")
    for key in ("identifier", "bb_username", "bb_password"):
        await state.db.users.updateUser(uid, attr_type=key, attr_data="ignored")
    assert await state.db.users.getUser(uid, no_cache=True) == {
        "uid": uid,
        "identifier": "i",
        "bb_username": None,
        "bb_password": None,
    }


async def test_race(state: Any, second_master: Any) -> None:
    """Two racing findUserByAttr with one attribute get one user."""
    ids = await gatherResults([add(master, f"d{n}") for n in range(20) for master in (state, second_master)])
    assert ids[::2] == ids[1::2]
    assert len(await state.db.users.getUsers()) == 20


async def test_find_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written."""
    for argument in ATTRIBUTE:
        await refuses(state, state.db.users.findUserByAttr, NOT_REQUIRED_TEXT, argument, **ATTRIBUTE)


async def test_get_nobody(state: Any) -> None:
    """Or None if no matching user is found."""
    assert await state.db.users.getUser(NOBODY) is None
    assert await state.db.users.getUserByUsername("nobody") is None
    assert await state.db.users.identifierToUid("nobody") is None
    async with unchanged(state):
        for value, error in NOT_REQUIRED_ID:
            with pytest.raises(error):
                await state.db.users.getUser(value)
    await refuses(state, state.db.users.getUserByUsername, NOT_REQUIRED_TEXT, "username")
    await refuses(state, state.db.users.identifierToUid, NOT_REQUIRED_TEXT, "identifier")


async def test_by_username(state: Any) -> None:
    """Looks up the user with the bb_username, returning the usdict: byte for byte."""
    ids = [await add(state, str(number)) for number in range(len(NAMES))]
    for uid, name in zip(ids, NAMES, strict=True):
        await state.db.users.updateUser(uid, bb_username=name, bb_password="hash")
    for uid, name in zip(ids, NAMES, strict=True):
        found = await state.db.users.getUserByUsername(name)
        assert found == await state.db.users.getUser(uid)
        assert (found["bb_username"], found["bb_password"]) == (name, "hash")


async def test_get_users(state: Any) -> None:
    """Get the entire list of users. User attributes are not included, so the results are not full userdicts."""
    assert await state.db.users.getUsers() == []
    ids = [await add(state, data) for data in "ab"]
    partial = {"identifier": "i", "bb_username": None, "bb_password": None}
    assert await state.db.users.getUsers() == [{"uid": uid, **partial} for uid in ids]


@pytest.mark.parametrize(
    "given",
    [
        {"identifier": "new"},
        {"bb_username": "u", "bb_password": "p"},
        {"bb_password": "p"},
        {"attr_type": "t", "attr_data": "changed"},
        {"attr_type": "second", "attr_data": "added"},
        {"identifier": "n", "bb_username": "u", "bb_password": "p", "attr_type": "t", "attr_data": "x"},
        {},
    ],
    ids=lambda given: "+".join(given) or "nothing",
)
async def test_update(state: Any, given: dict[str, str]) -> None:
    """Only the specified attributes are updated. ``bb_password`` alone may be updated."""
    uid = await add(state)
    before = await state.db.users.getUser(uid)
    await state.db.users.updateUser(uid=uid, **given)
    expected = {**before, **{key: value for key, value in given.items() if not key.startswith("attr")}}
    if "attr_type" in given:
        expected[given["attr_type"]] = given["attr_data"]
    assert await state.db.users.getUser(uid) == expected


async def test_update_identifier(state: Any) -> None:
    """Fetch a uid for the given identifier, if one exists: by its new identifier."""
    uid = await add(state)
    await state.db.users.updateUser(uid, identifier="new")
    assert await state.db.users.identifierToUid("new") == uid
    assert await state.db.users.identifierToUid("i") is None


async def test_update_moves_attribute(state: Any) -> None:
    """A changed attribute finds its user under the new value only."""
    uid = await add(state, "old")
    await state.db.users.updateUser(uid, attr_type="t", attr_data="new")
    assert await add(state, "new") == uid
    assert await add(state, "old") != uid


async def test_update_nobody(state: Any) -> None:
    """If no user with the given uid exists, the method will return silently."""
    async with unchanged(state):
        assert await state.db.users.updateUser(NOBODY, identifier="x", attr_type="t", attr_data="d") is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"bb_username": "u"}, "bb_password"),
        ({"attr_type": "t"}, "attr_data"),
        ({"attr_data": "d"}, "attr_type"),
        ({"attr_type": "t", "attr_data": "taken"}, "attr_data"),
    ],
)
async def test_update_incomplete(state: Any, given: dict[str, str], named: str) -> None:
    """``bb_username`` without ``bb_password``, ``attr_type`` without ``attr_data``, one's that another has."""
    uid = await add(state)
    await add(state, "taken")
    async with unchanged(state):
        with pytest.raises(ValueError, match=named):
            await state.db.users.updateUser(uid, identifier="not written", **given)


async def test_update_refuses(state: Any) -> None:
    """Errors name the argument, and nothing is written."""
    uid, update = await add(state), state.db.users.updateUser
    await refuses(state, update, NOT_REQUIRED_ID, "uid")
    for argument in ("identifier", "bb_password"):
        await refuses(state, update, NOT_TEXT, argument, uid=uid)
    await refuses(state, update, NOT_TEXT, "bb_username", uid=uid, bb_password="p")
    await refuses(state, update, NOT_TEXT, "attr_type", uid=uid, attr_data="d")
    await refuses(state, update, NOT_TEXT, "attr_data", uid=uid, attr_type="t")


async def test_update_twice(state: Any) -> None:
    """To update an attribute to what it is changes nothing and is no error."""
    uid = await add(state)
    await state.db.users.updateUser(uid, attr_type="t", attr_data="d")
    assert (await state.db.users.getUser(uid))["t"] == "d"


async def test_remove(state: Any) -> None:
    """Remove the user from the database. This will remove the user from any associated tables as well."""
    uid = await add(state)
    changeid = await state.db.changes.addChange(uid=uid)
    assert await state.db.users.removeUser(uid) is None
    assert await state.db.users.getUser(uid) is None
    assert await state.db.changes.getChangeUids(changeid) == []
    assert await add(state) != uid


async def test_remove_nobody(state: Any) -> None:
    """removeUser of an unknown user does nothing."""
    async with unchanged(state):
        assert await state.db.users.removeUser(NOBODY) is None
    await refuses(state, state.db.users.removeUser, NOT_REQUIRED_ID, "uid")


async def test_identifiers(state: Any) -> None:
    """Two users may have one identifier; identifierToUid gives the lowest uid; byte for byte."""
    ids = [await add(state, str(number), identifier=name) for number, name in enumerate(NAMES)]
    for number, name in enumerate(NAMES):
        await add(state, f"again {number}", identifier=name)
    assert [await state.db.users.identifierToUid(name) for name in NAMES] == ids


async def test_other_masters_cache(state: Any, second_master: Any) -> None:
    """What another master wrote is seen as soon as its event is delivered, one second at the latest."""
    uid = await add(state)
    await second_master.db.users.getUser(uid)
    heard = await expecting(second_master, "users", str(uid), "updated")
    await state.db.users.updateUser(uid, identifier="new")
    assert (await state.db.users.getUser(uid))["identifier"] == "new"
    await heard
    assert (await second_master.db.users.getUser(uid))["identifier"] == "new"
