"""Parts of a repository's change that cannot be stored."""

from __future__ import annotations

from typing import Any, cast

import pytest

from buildbot.changes.base import ChangeSource
from buildbot.data.changes import storable
from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util.checks import MAX_COMMENTS, MAX_FILES, MAX_TEXT


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("comments", "c" * (MAX_COMMENTS + 1), "c" * MAX_COMMENTS),
        ("comments", "a\0b\udcffc", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        ("comments", None, None),
        ("files", ("f",) * (MAX_FILES + 1), ["f"] * MAX_FILES),
        ("files", ["f" * 1000] * (MAX_TEXT // 1000 + 1), ["f" * 1000] * (MAX_TEXT // 1000)),
        ("properties", {"a\0": [("b\0", 1)]}, {"a\N{REPLACEMENT CHARACTER}": [["b\N{REPLACEMENT CHARACTER}", 1]]}),
        ("when_timestamp", -1, None),
        ("when_timestamp", 10**15, None),
        ("when_timestamp", 1, 1),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_storable(name: str, given: Any, kept: Any) -> None:
    """It is cut, replaced or left out."""
    assert storable({name: given, "branch": "main"}) == {name: kept, "branch": "main"}


async def test_sources_store_it(master: FakeMaster) -> None:
    """A change source is not stopped for ever by one odd commit."""
    source = ChangeSource(name="s")
    source.master = cast(Any, master)
    await source.claim(master.masterid)
    changeid = await source.add_change(author="J\0e", comments="c" * (MAX_COMMENTS + 1), when_timestamp=-5)
    found = await master.data.get({}, ("changes", changeid))
    assert (found["author"], len(found["comments"])) == ("J\N{REPLACEMENT CHARACTER}e", MAX_COMMENTS)
    assert found["when_timestamp"] > 0
