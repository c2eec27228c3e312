"""Coroutines that wait for the same moment."""

from __future__ import annotations

import pytest

from buildbot.util.deferreds import Waiters


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
