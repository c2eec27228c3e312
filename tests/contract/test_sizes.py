"""What is too large, or no text, is refused by name before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.data.exceptions import InvalidControlError
from buildbot.util.checks import MAX_COMMENTS, MAX_FILES, MAX_INFO, MAX_NAME, MAX_REASON, MAX_SMALL, MAX_TEXT
from tests.support.refusals import unchanged

#: by argument of addBuildset: a value that is stored, one that is refused
BUILDSETS = [
    ("reason", "x" * MAX_REASON, "x" * (MAX_REASON + 1)),
    ("reason", "\u00e9", "nul\x00"),
    ("reason", "\U0001f98a", "lone \ud800"),
    ("priority", MAX_SMALL, MAX_SMALL + 1),
    ("priority", -MAX_SMALL, -MAX_SMALL - 2),
]
CHANGES = [
    ("comments", "x" * MAX_COMMENTS, "x" * (MAX_COMMENTS + 1)),
    ("files", ["f"] * MAX_FILES, ["f"] * (MAX_FILES + 1)),
    ("files", ["f" * 1000] * 1000, ["f" * 10_000] * (MAX_TEXT // 10_000 + 1)),
    ("files", ["ok"], ["nul\x00"]),
    ("project", "p", "lone \ud800"),
    *((name, "n" * MAX_NAME, "n" * (MAX_NAME + 1)) for name in ("author", "branch", "revlink", "codebase")),
]
STAMPS = [
    *((name, "n" * MAX_NAME, "n" * (MAX_NAME + 1)) for name in ("branch", "revision", "patch_author", "patch_subdir")),
    ("patch_comment", "c" * MAX_COMMENTS, "c" * (MAX_COMMENTS + 1)),
]


def _id(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isprintable() else "value"


@pytest.mark.parametrize(("name", "good", "bad"), BUILDSETS, ids=_id)
async def test_buildsets(state: Any, name: str, good: Any, bad: Any) -> None:
    """By the Data API and by the connector."""
    setid = await state.db.sourcestampsets.addSourceStampSet()
    given: dict[str, Any] = {"reason": "r", "properties": {}, "builderNames": ["b"], "external_idstring": None}
    await state.data.update.addBuildset(sourcestampsetid=setid, **{**given, name: good})
    async with unchanged(state):
        for add in (state.data.update.addBuildset, state.db.buildsets.addBuildset):
            with pytest.raises(ValueError, match=f"^{name}"):
                await add(sourcestampsetid=setid, **{**given, name: bad})


@pytest.mark.parametrize(("name", "good", "bad"), CHANGES, ids=_id)
async def test_changes(state: Any, name: str, good: Any, bad: Any) -> None:
    """By the Data API and by the connector."""
    await state.data.update.addChange(**{name: good})
    async with unchanged(state):
        for add in (state.data.update.addChange, state.db.changes.addChange):
            with pytest.raises(ValueError, match=f"^{name}"):
                await add(**{name: bad})


@pytest.mark.parametrize(("name", "good", "bad"), STAMPS, ids=_id)
async def test_stamps(state: Any, name: str, good: Any, bad: Any) -> None:
    """Source stamps, which every list of their buildsets has."""
    patch = {"patch_body": "x", "patch_level": 0, "patch_author": "", "patch_comment": "", "patch_subdir": None}
    await state.data.update.addBuildset(sourcestamps=[{**patch, name: good}], builderNames=["b"])
    async with unchanged(state):
        with pytest.raises(ValueError, match=name):
            await state.data.update.addBuildset(sourcestamps=[{**patch, name: bad}], builderNames=["b"])


async def test_reasons(state: Any) -> None:
    """Why somebody wants something."""
    workerid = await state.data.update.findWorkerId("w")
    await state.data.control("pause", {"reason": "r" * MAX_REASON}, ("workers", workerid))
    async with unchanged(state):
        with pytest.raises(InvalidControlError, match=r"^pause: reason"):
            await state.data.control("pause", {"reason": "r" * (MAX_REASON + 1)}, ("workers", workerid))


async def test_worker_info(state: Any) -> None:
    """What a worker says of itself."""
    workerid = await state.data.update.findWorkerId("w")
    async with unchanged(state):
        with pytest.raises(ValueError, match=r"^workerinfo"):
            await state.data.update.workerConnected(workerid, {"x": "y" * MAX_INFO})
