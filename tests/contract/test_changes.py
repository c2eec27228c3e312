"""Changes connector."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.refusals import refuses, unchanged
from tests.support.samples import (
    JSON_VALUES,
    NAMES,
    NOBODY,
    NOT_ID,
    NOT_JSON,
    NOT_REQUIRED_ID,
    NOT_REQUIRED_TEXT,
    NOT_TEXT,
    NOT_TIME,
)

WHEN = dt.datetime(2024, 2, 29, 12, 30, 59, tzinfo=dt.UTC)
FULL: dict[str, Any] = {
    "author": "Jürgen 🦊 <j@example.com>",
    "files": ["a/b.c", "Ünï", "a/b.c"],
    "comments": "line\r\nline\t🦊",
    "is_dir": 1,
    "links": ["http://example.com/1"],
    "revision": "abc",
    "when_timestamp": WHEN,
    "branch": "main",
    "category": "cat",
    "revlink": "http://example.com/abc",
    "properties": {"p": (["v", None], "Change"), "": ("", "Change")},
    "repository": "git://r",
    "project": "proj",
}


async def test_all_keys(state: Any) -> None:
    """Changes are represented by a chdict with these keys; properties map keys to (value, source)."""
    changeid = await state.db.changes.addChange(**FULL)
    found = await state.db.changes.getChange(changeid)
    assert {key: found[key] for key in FULL} == FULL
    assert found["changeid"] == changeid
    assert found["when_timestamp"].tzinfo is dt.UTC
    assert isinstance(found["properties"]["p"], tuple)


async def test_defaults(state: Any) -> None:
    """addChange(author=None, files=None, comments=None, is_dir=0, links=None, …); when: the current time if None."""
    changeid = await state.db.changes.addChange()
    found = await state.db.changes.getChange(changeid)
    expected = {"files": [], "is_dir": 0, "links": [], "revision": None, "branch": None, "category": None}
    texts = {"author": "", "comments": "", "revlink": "", "repository": "", "project": ""}
    assert {key: found[key] for key in (*expected, *texts)} == {**expected, **texts}
    assert found["properties"] == {}
    assert abs(found["when_timestamp"] - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=30)
    assert await state.db.changes.getChangeUids(changeid) == []


async def test_keywords_only(state: Any) -> None:
    """All arguments should be given as keyword arguments."""
    with pytest.raises(TypeError):
        await state.db.changes.addChange("author")


@pytest.mark.parametrize("field", ["author", "comments", "revision", "branch", "category", "repository", "project"])
async def test_text(state: Any, field: str) -> None:
    """Text may hold any Unicode scalar; identifiers have no length limit and come back byte for byte."""
    ids = [await state.db.changes.addChange(**{field: name}) for name in NAMES]
    assert [(await state.db.changes.getChange(i, no_cache=True))[field] for i in ids] == list(NAMES)


async def test_long_lists(state: Any) -> None:
    """Files and links are lists of text of any number; files may be empty."""
    files = [f"dir/{number}/ü" for number in range(5_000)]
    changeid = await state.db.changes.addChange(files=files, links=tuple(NAMES))
    found = await state.db.changes.getChange(changeid)
    assert (found["files"], found["links"]) == (files, list(NAMES))


async def test_property_values(state: Any) -> None:
    """Values are JSON."""
    properties = {f"p{number}": (value, "Change") for number, value in enumerate(JSON_VALUES)}
    changeid = await state.db.changes.addChange(properties=properties)
    assert (await state.db.changes.getChange(changeid))["properties"] == properties


async def test_time_zones(state: Any) -> None:
    """Datetime values are timezone-aware, UTC; whole seconds are kept, before 1970 too."""
    east = dt.timezone(dt.timedelta(hours=5, minutes=30))
    for moment in (dt.datetime(2024, 1, 1, 3, tzinfo=east), dt.datetime(1965, 1, 1, tzinfo=dt.UTC)):
        changeid = await state.db.changes.addChange(when_timestamp=moment)
        assert (await state.db.changes.getChange(changeid))["when_timestamp"] == moment
    changeid = await state.db.changes.addChange(when_timestamp=WHEN.replace(microsecond=999_999))
    assert (await state.db.changes.getChange(changeid))["when_timestamp"] == WHEN


@pytest.mark.parametrize("field", ["repository", "project"])
async def test_never_none(state: Any, field: str) -> None:
    """The project and repository arguments must be strings; None is not allowed."""
    await refuses(state, state.db.changes.addChange, NOT_REQUIRED_TEXT, field)


@pytest.mark.parametrize("field", ["author", "comments", "revision", "branch", "category", "revlink"])
async def test_refuses_text(state: Any, field: str) -> None:
    """Bytes are never silently decoded; U+0000 and lone surrogates are refused with ValueError."""
    await refuses(state, state.db.changes.addChange, NOT_TEXT, field)


@pytest.mark.parametrize("field", ["files", "links"])
async def test_refuses_lists(state: Any, field: str) -> None:
    """Lists of unicode strings: nothing else, and text is not a list."""
    wrong = [("text", TypeError), (b"bytes", TypeError), (1, TypeError)]
    inside = [(["ok", value], error) for value, error in NOT_REQUIRED_TEXT]
    await refuses(state, state.db.changes.addChange, [*wrong, *inside], field)


async def test_refuses_others(state: Any) -> None:
    """A naive datetime is a ValueError; errors name the argument."""
    await refuses(state, state.db.changes.addChange, NOT_TIME, "when_timestamp")
    await refuses(state, state.db.changes.addChange, [*NOT_ID, (NOBODY, ValueError)], "uid")
    await refuses(state, state.db.changes.addChange, [(2, TypeError), ("x", TypeError)], "is_dir")


async def test_refuses_properties(state: Any) -> None:
    """Properties are tuples of (value, source); the source must be 'Change'."""
    pairs: list[tuple[Any, type[Exception]]] = [
        ([("p", 1)], TypeError),
        ({"p": 1}, TypeError),
        ({"p": (1,)}, TypeError),
        ({"p": "ab"}, TypeError),
        ({1: (1, "Change")}, TypeError),
        ({"nul\x00": (1, "Change")}, ValueError),
        ({"p": (1, "Build")}, ValueError),
        ({"p": (1, None)}, TypeError),
        *(({"p": (value, "Change")}, error) for value, error in NOT_JSON),
    ]
    await refuses(state, state.db.changes.addChange, pairs, "properties")


async def test_users(state: Any) -> None:
    """uid generated for the change author; getChangeUids gets the userids associated with the given changeid."""
    uid = await state.db.users.findUserByAttr("i", "t", "d")
    changeid = await state.db.changes.addChange(uid=uid)
    assert await state.db.changes.getChangeUids(changeid) == [uid]
    await state.db.users.removeUser(uid)
    assert await state.db.changes.getChangeUids(changeid) == []
    assert await state.db.changes.getChangeUids(NOBODY) == []
    await refuses(state, state.db.changes.getChangeUids, NOT_REQUIRED_ID, "changeid")


async def test_get_nobody(state: Any) -> None:
    """Or None if no such change exists."""
    assert await state.db.changes.getChange(NOBODY) is None
    assert await state.db.changes.getChange(NOBODY, no_cache=True) is None
    async with unchanged(state):
        for value, error in NOT_REQUIRED_ID:
            with pytest.raises(error):
                await state.db.changes.getChange(value)


async def test_recent(state: Any) -> None:
    """Get a list of the count most recent changes; returns fewer if that many do not exist; ascending ids."""
    assert await state.db.changes.getRecentChanges(3) == []
    late = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    ids = [await state.db.changes.addChange(when_timestamp=late - dt.timedelta(days=n)) for n in range(5)]
    for count, expected in ((0, []), (1, ids[-1:]), (3, ids[-3:]), (5, ids), (100, ids)):
        found = await state.db.changes.getRecentChanges(count)
        assert [change["changeid"] for change in found] == expected
    assert found == [await state.db.changes.getChange(changeid) for changeid in ids]


async def test_recent_refuses(state: Any) -> None:
    """Maximum number of instances: an integer, not negative."""
    wrong = [("1", TypeError), (None, TypeError), (True, TypeError), (-1, ValueError)]
    await refuses(state, state.db.changes.getRecentChanges, wrong, "count")


async def test_latest(state: Any) -> None:
    """Get the most-recently-assigned changeid, or None if there are no changes at all."""
    assert await state.db.changes.getLatestChangeid() is None
    for _ in range(2):
        changeid = await state.db.changes.addChange()
        assert await state.db.changes.getLatestChangeid() == changeid
