"""Calls leave nothing behind that only the collector of cycles finds: it would stop the master for it now and then."""

from __future__ import annotations

import gc
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.threads import deferToThread

from tests.support.building import STAMP, add_build
from tests.support.events import next_turn

CALLS = 100

Call = Callable[[Any, int], Awaitable[Any]]

JOBS: dict[str, Call] = {
    "getBuild": lambda state, buildid: state.db.builds.getBuild(buildid),
    "getState": lambda state, buildid: state.db.state.getState(1, "missing", None),
    "get": lambda state, buildid: state.data.get({}, ("builds", buildid)),
    "get a list": lambda state, buildid: state.data.get({"limit": 5}, ("builds",)),
    "clock": lambda state, buildid: state.data.clock(),
    "addBuildset": lambda state, buildid: state.data.update.addBuildset(
        sourcestamps=[STAMP], builderNames=["b"], reason="r"
    ),
    "setBuildStateString": lambda state, buildid: state.data.update.setBuildStateString(buildid, "busy"),
}


async def _connected() -> None:
    """The connection for reads on the reactor's thread is made; the thread that makes it leaves something behind."""
    for thread in threading.enumerate():
        if thread.name == "db-reactor":
            await deferToThread(thread.join)
            await next_turn()


@pytest.mark.parametrize("job", JOBS)
async def test_no_cycles(state: Any, job: str) -> None:
    """Whatever it takes, it is gone with the last reference."""
    buildid, _ = await add_build(state)
    call = JOBS[job]
    for _ in range(5):
        await call(state, buildid)
    await _connected()
    gc.collect()
    gc.disable()
    try:
        for _ in range(CALLS):
            await call(state, buildid)
        found = gc.collect()
    finally:
        gc.enable()
    assert found < CALLS
