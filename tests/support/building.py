"""Things to test with: requests, claims, builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

STAMP = {"branch": "main", "revision": "r1", "repository": "https://code.example/a.git"}


async def add_requests(state: Any, *builders: str, **buildset: Any) -> tuple[int, list[int]]:
    """A buildset for these builders: its bsid, and the brids in the order of the names."""
    given = {"sourcestamps": [STAMP], "reason": "why not", "properties": {}, "builderNames": list(builders)}
    bsid, brids = await state.data.update.addBuildset(**{**given, **buildset})
    return bsid, [brids[name] for name in builders]


async def add_request(state: Any, builder: str = "linux", **buildset: Any) -> int:
    """One request; its brid."""
    return (await add_requests(state, builder, **buildset))[1][0]


async def add_build(state: Any, builder: str = "linux", **buildset: Any) -> tuple[int, int]:
    """A running build of a request that this master has claimed: ``(buildid, brid)``."""
    brid = await add_request(state, builder, **buildset)
    assert await state.data.update.claimBuildRequests([brid])
    return await state.data.update.newBuild(brid), brid


@dataclass(frozen=True)
class Running:
    """Ids of a build and its buildset, request, step and log."""

    bsid: int
    brid: int
    buildid: int
    stepid: int
    logid: int


async def run_build(state: Any, builder: str = "linux", lines: str = "ohello\n") -> Running:
    """A running build with a running step that has an open log."""
    bsid, (brid,) = await add_requests(state, builder)
    update = state.data.update
    assert await update.claimBuildRequests([brid])
    buildid = await update.newBuild(brid)
    step = await update.newStep(buildid, "compile")
    await update.startStep(step["stepid"])
    logid = await update.newLog(step["stepid"], "stdio", "s")
    if lines:
        await update.appendLog(logid, lines)
    return Running(bsid, brid, buildid, step["stepid"], logid)
