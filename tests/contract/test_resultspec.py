"""The Data API as plugins of Buildbot 4.3 call it, the path first."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data.exceptions import InvalidOptionError
from buildbot.data.resultspec import Filter


async def test_path_first(state: Any) -> None:
    """get(path, filters, fields, order, limit, offset) gives what get(options, path) does."""
    ids = [await state.data.update.addChange(author=name, branch=name) for name in ("al", "bo", "cy", "di")]
    path = ("changes",)
    filters = [Filter("author", "ne", ["al"]), Filter("changeid", "le", [ids[3]])]
    found = await state.data.get(path, filters=filters, fields=["changeid"], order=("-changeid",), limit=2, offset=1)
    assert found == [{"changeid": ids[2]}, {"changeid": ids[1]}]
    assert await state.data.get(path, filters) == await state.data.get({"filters": {"author__ne": "al"}}, path)
    assert await state.data.get(["changes", ids[0]]) == await state.data.get({}, ("changes", ids[0]))


async def test_mistakes(state: Any) -> None:
    """A mistake names the option, as with the dictionary."""
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"filters": ["author"]}, "filters: 'author' is no Filter"),
        ({"filters": [Filter("author", "eq", ["a"])] * 2}, "filters: 'author' has two conditions with 'eq'"),
        ({"filters": [Filter("author", "like", ["a"])]}, "filters: no such operator 'like' in 'author__like'"),
        ({"limits": 3}, "there is no option 'limits'"),
    ]
    for options, message in wrong:
        with pytest.raises(InvalidOptionError, match=message):
            await state.data.get(("changes",), **options)
    with pytest.raises(InvalidOptionError, match="options are a dictionary, not keywords: limit"):
        await state.data.get({}, ("changes",), limit=1)
