"""Coroutines that run side by side, and those that wait for the same moment."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from buildbot.util.deferreds import Waiters, side_by_side


async def test_side_by_side() -> None:
    """All begin at once, and all end before the first one's error is raised."""
    waits: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
    ended: list[int] = []

    async def work(number: int) -> None:
        await waits[number]
        ended.append(number)
        if number:
            raise ValueError(f"no {number}")

    running = ensureDeferred(side_by_side(work(number) for number in range(3)))
    for number in (2, 1):
        waits[number].callback(None)
    assert ended == [2, 1] and not running.called
    waits[0].callback(None)
    with pytest.raises(ValueError, match="no 1"):
        await running
    await side_by_side([])


async def test_waiters() -> None:
    """Those that wait are released or fail, all and once; those that come later wait for the next time."""
    waiters = Waiters()
    waiters.release()
    first, second = waiters.wait(), waiters.wait()
    first.addCallback(lambda _: waiters.wait())  # waits again at once
    assert not first.called
    waiters.release()
    assert second.called
    failing = waiters.wait()
    waiters.fail(ValueError("no"))
    for each in (first, failing):
        with pytest.raises(ValueError, match="no"):
            await each
