"""The two clocks."""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.selectreactor import SelectReactor

from buildbot.util import clock


@pytest.fixture
def fresh_reactor() -> Any:
    """A reactor that no other test uses; it is never run."""
    reactor: ReactorBase = SelectReactor()
    yield reactor
    reactor.disconnectAll()


def test_timers_do_not_notice_that_the_clock_is_set(fresh_reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer ends after its time, however far the wall clock is set back meanwhile."""
    clock.use_monotonic_time(fresh_reactor)
    clock.use_monotonic_time(fresh_reactor)  # as often as one likes
    ended: list[str] = []
    fresh_reactor.callLater(0, ended.append, "now")
    fresh_reactor.callLater(1000, ended.append, "later")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr("twisted.python.runtime.platform.seconds", lambda: 0.0)
    fresh_reactor.runUntilCurrent()
    assert ended == ["now"]
    assert 990 < fresh_reactor.timeout() <= 1000


def test_a_reactor_in_use_keeps_its_clock(fresh_reactor: Any) -> None:
    """The clock of running timers is not changed."""
    timer = fresh_reactor.callLater(1, lambda: None)
    with pytest.raises(RuntimeError, match="timers run by it already"):
        clock.use_monotonic_time(fresh_reactor)
    timer.cancel()
