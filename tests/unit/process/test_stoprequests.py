"""Requests to stop running builds: one subscription of a master, for all of its builds."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.steps.shell import ShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.results import CANCELLED


async def _farm_that_runs(monkeypatch: pytest.MonkeyPatch) -> tuple[StepHarness, list[Any]]:
    """A farm whose build runs a command that does not end, and the subscriptions made for builds."""
    farm = StepHarness(ShellCommand(command="sleep"), script=lambda name, args: ([], None))
    await farm.start()
    mq, subscriptions = farm.master.mq, []
    subscribe = mq.subscribe

    async def noted(*args: Any) -> Any:
        subscriptions.append(await subscribe(*args))
        return subscriptions[-1]

    monkeypatch.setattr(mq, "subscribe", noted)
    await farm.build()
    return farm, subscriptions


async def test_one_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    """The builds of a master share one subscription, and each is stopped by its own messages only."""
    farm, subscriptions = await _farm_that_runs(monkeypatch)
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    await farm.build()
    await farm.master.data.control("cancel", {"reason": "not this one"}, ("buildrequests", 1))
    assert farm.connection.interrupted == ["enough"]
    await farm.master.data.control("cancel", {"reason": "this one"}, ("buildrequests", 2))
    await farm.ended()
    assert farm.connection.interrupted == ["enough", "this one"]
    assert len(subscriptions) == 1


async def test_messages_that_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the log was trimmed before its messages were read, the stops that are stored with the builds are obeyed."""
    farm, subscriptions = await _farm_that_runs(monkeypatch)
    state = farm.master.state
    await state.db.pool.do(state.db.builds.thdWantStop, 1, "enough")
    assert farm.connection.interrupted == []
    await subscriptions[0].stopConsuming()
    subscriptions[0].on_lost()
    await farm.ended()
    assert farm.connection.interrupted == ["enough"]
    assert farm.master.build(1)["results"] == CANCELLED
    await farm.build()
    await farm.master.stop_build(2, "enough of this, too")
    await farm.ended()
    assert farm.master.build(2)["results"] == CANCELLED
    assert len(subscriptions) == 2
