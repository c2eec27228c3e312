"""Source stamps and their sets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.refusals import refuses, unchanged
from tests.support.samples import NAMES, NOBODY, NOT_ID, NOT_IDS, NOT_REQUIRED_ID, NOT_REQUIRED_TEXT, NOT_TEXT

CODE: dict[str, Any] = {"branch": "main", "revision": "abc", "repository": "git://r", "project": "p"}
PATCH: dict[str, Any] = {
    "patch_body": "--- a\n+++ b\n🦊",
    "patch_level": 2,
    "patch_author": "Jü",
    "patch_comment": "why",
    "patch_subdir": "sub/dir",
}
NO_PATCH = dict.fromkeys(PATCH)


async def test_add_set(state: Any) -> None:
    """Add a new (empty) sourcestampset to the database. The unique identification is returned as integer."""
    first, second = [await state.db.sourcestampsets.addSourceStampSet() for _ in range(2)]
    assert isinstance(first, int)
    assert first != second
    assert await state.db.sourcestamps.getSourceStamps(first) == []


async def test_all_keys(state: Any) -> None:
    """Source stamps are represented as a ssdict, with these keys."""
    changes = [await state.db.changes.addChange() for _ in range(2)]
    setid = await state.db.sourcestampsets.addSourceStampSet()
    given = {**CODE, **PATCH, "changeids": changes, "sourcestampsetid": setid}
    ssid = await state.db.sourcestamps.addSourceStamp(**given)
    found = await state.db.sourcestamps.getSourceStamp(ssid)
    assert {key: found[key] for key in ("ssid", *given)} == {"ssid": ssid, **given}


async def test_without_patch(state: Any) -> None:
    """Without a patch all patch keys are None; revision None indicates the latest; no changes: []."""
    ssid = await state.db.sourcestamps.addSourceStamp(
        branch=None, revision=None, repository="", project="", patch_level=3, patch_author="a", patch_subdir="s"
    )
    found = await state.db.sourcestamps.getSourceStamp(ssid)
    expected: dict[str, Any] = {"branch": None, "revision": None, "repository": "", "project": "", "changeids": []}
    expected |= NO_PATCH
    assert {key: found[key] for key in expected} == expected


async def test_patch_defaults(state: Any) -> None:
    """patch_level=0, patch_author="", patch_comment="", patch_subdir=None; an empty patch is a patch."""
    ssid = await state.db.sourcestamps.addSourceStamp(**CODE, patch_body="")
    found = await state.db.sourcestamps.getSourceStamp(ssid)
    expected = {"patch_body": "", "patch_level": 0, "patch_author": "", "patch_comment": "", "patch_subdir": None}
    assert {key: found[key] for key in expected} == expected


async def test_new_set(state: Any) -> None:
    """With sourcestampsetid=None a new set is made for it."""
    ids = [await state.db.sourcestamps.addSourceStamp(**CODE) for _ in range(2)]
    sets = [(await state.db.sourcestamps.getSourceStamp(ssid))["sourcestampsetid"] for ssid in ids]
    assert len({*ids}) == len({*sets}) == 2
    for ssid, setid in zip(ids, sets, strict=True):
        assert [stamp["ssid"] for stamp in await state.db.sourcestamps.getSourceStamps(setid)] == [ssid]


async def test_not_unique(state: Any) -> None:
    """No attempt is made to ensure uniqueness of source stamps: multiple ssids may correspond to the same."""
    setid = await state.db.sourcestampsets.addSourceStampSet()
    ids = [await state.db.sourcestamps.addSourceStamp(**CODE, sourcestampsetid=setid) for _ in range(2)]
    assert [stamp["ssid"] for stamp in await state.db.sourcestamps.getSourceStamps(setid)] == ids


async def test_get_set(state: Any) -> None:
    """The set is returned as a sslist that contains one or more sourcestamps (represented as ssdicts)."""
    changeid = await state.db.changes.addChange()
    setid = await state.db.sourcestampsets.addSourceStampSet()
    for more in ({"changeids": [changeid]}, PATCH):
        await state.db.sourcestamps.addSourceStamp(**CODE, **more, sourcestampsetid=setid)
    found = await state.db.sourcestamps.getSourceStamps(setid)
    assert found == [await state.db.sourcestamps.getSourceStamp(stamp["ssid"]) for stamp in found]
    assert [stamp["changeids"] for stamp in found] == [[changeid], []]
    assert [stamp["patch_body"] for stamp in found] == [None, PATCH["patch_body"]]


async def test_get_unknown(state: Any) -> None:
    """None if no such source stamp exists. The list is empty if the set does not exist."""
    assert await state.db.sourcestamps.getSourceStamp(NOBODY) is None
    assert await state.db.sourcestamps.getSourceStamp(NOBODY, no_cache=True) is None
    assert await state.db.sourcestamps.getSourceStamps(NOBODY) == []
    await refuses(state, state.db.sourcestamps.getSourceStamps, NOT_REQUIRED_ID, "sourcestampsetid")
    async with unchanged(state):
        for value, error in NOT_REQUIRED_ID:
            with pytest.raises(error):
                await state.db.sourcestamps.getSourceStamp(value)


@pytest.mark.parametrize("field", ["branch", "revision", "repository", "project", *PATCH])
async def test_text(state: Any, field: str) -> None:
    """Text may hold any Unicode scalar, of any length."""
    if field == "patch_level":
        values: list[Any] = [0, 1, 2**31 - 1]
    else:
        values = list(NAMES)
    for value in values:
        ssid = await state.db.sourcestamps.addSourceStamp(**{**CODE, "patch_body": "x", field: value})
        assert (await state.db.sourcestamps.getSourceStamp(ssid))[field] == value


async def test_changes_count_once(state: Any) -> None:
    """Ids given twice in one call count once."""
    changes = [await state.db.changes.addChange() for _ in range(3)]
    ssid = await state.db.sourcestamps.addSourceStamp(**CODE, changeids=[*reversed(changes), changes[0]])
    assert (await state.db.sourcestamps.getSourceStamp(ssid))["changeids"] == changes


@pytest.mark.parametrize("field", ["repository", "project"])
async def test_never_none(state: Any, field: str) -> None:
    """``repository`` and ``project``: never None."""
    await refuses(state, state.db.sourcestamps.addSourceStamp, NOT_REQUIRED_TEXT, field, **CODE)


@pytest.mark.parametrize("field", ["branch", "revision", "patch_body", "patch_author", "patch_comment", "patch_subdir"])
async def test_refuses_text(state: Any, field: str) -> None:
    """A patch_body is text; bytes are a TypeError."""
    await refuses(state, state.db.sourcestamps.addSourceStamp, NOT_TEXT, field, **{**CODE, "patch_body": "x"})


async def test_refuses_others(state: Any) -> None:
    """Errors name the argument; nothing is written, no set either."""
    add = state.db.sourcestamps.addSourceStamp
    await refuses(state, add, [("1", TypeError), (-1, ValueError), (2**31, ValueError)], "patch_level", **CODE)
    await refuses(state, add, [*NOT_IDS, ([NOBODY], ValueError)], "changeids", **CODE)
    await refuses(state, add, [*NOT_ID, (NOBODY, ValueError)], "sourcestampsetid", **CODE)
