"""What a master says of itself in numbers (docs/operating.md)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from buildbot.util.metrics import Histogram
from tests.support.building import add_requests
from tests.unit.www.clients import until


async def numbers(state: Any) -> dict[str, Any]:
    """All values by the names of their families."""
    return {family.name: family.values for family in await state.metrics.families()}


async def test_queue(state: Any, monkeypatch: Any) -> None:
    """The queue has the unclaimed requests, and is as old as the first of them."""
    monkeypatch.setattr(state.data._metrics._state, "_keep_s", 0)
    before = await numbers(state)
    assert before["queue_length"] == {(): 0}
    _, brids = await add_requests(state, "a", "b", "c")
    monkeypatch.setattr(state.db.pool.groups.clock, "now", lambda now=state.db.pool.groups.clock.now: now() + 60)
    found = await numbers(state)
    assert found["queue_length"] == {(): 3}
    assert 59 <= found["queue_oldest_seconds"][()] <= 62
    assert await state.data.update.claimBuildRequests(brids[:2])
    assert not await state.data.update.claimBuildRequests(brids)
    found = await numbers(state)
    assert found["queue_length"] == {(): 1}
    assert found["claims"] == {key: number + 1 for key, number in before["claims"].items()}
    assert found["database_up"] == {(): 1}
    assert found["stream_lag_events"][()] >= 0


async def test_commit_groups(state: Any) -> None:
    """Transactions that wrote are counted, with their calls and their time."""
    before = await numbers(state)
    await add_requests(state, "a")
    after = await numbers(state)
    assert after["commit_groups"][()] == before["commit_groups"][()] + 1
    calls = after["commit_group_calls"][()]
    assert isinstance(calls, Histogram)
    assert sum(calls.counts) == after["commit_groups"][()]
    assert after["commit_group_seconds"][()].sum > 0
    assert set(after["database_queue"]) == {("write",), ("read",)}


async def test_subscribers(state: Any) -> None:
    """Subscriptions are counted by their state; stopped ones are not counted."""
    before = (await numbers(state))["subscribers"]
    subscription = await state.mq.startConsuming(lambda key, message: None, ("x",))
    await state.mq.produce(("x",), 1)
    await until(lambda: subscription.state == "live")
    found = await numbers(state)
    assert found["subscribers"][("live",)] == before[("live",)] + 1
    assert found["events_dispatched"][()] >= 1
    subscription.pause()
    assert (await numbers(state))["subscribers"][("paused",)] == 1
    await subscription.stopConsuming()
    assert (await numbers(state))["subscribers"] == before


async def test_a_database_that_does_not_answer(state: Any, monkeypatch: Any) -> None:
    """What needs no query is there all the same; questions do not pile up."""
    asked: list[Deferred[Any]] = []

    def snapshot(*arguments: Any) -> Deferred[Any]:
        asked.append(Deferred())
        return asked[-1]

    monkeypatch.setattr(state.db.pool, "snapshot", snapshot)
    monkeypatch.setattr(state.data._metrics._state, "_wait_s", 0.01)
    for _ in range(2):
        found = await numbers(state)
        assert found["database_up"] == {(): 0}
        assert "queue_length" not in found and "claims" in found
    assert len(asked) == 1
