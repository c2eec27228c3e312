"""Polling at intervals, one poll at a time, with each error logged once; and the claim by one master."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.changes.base import ChangeSource, PollError, PollingChangeSource
from buildbot.config.errors import ConfigErrors
from buildbot.mq.match import matches
from tests.support.reactor import fired


class Database:
    """The claim of the change source, and the listeners for masters that stop."""

    def __init__(self, holder: int | None = None) -> None:
        self.holder = holder
        self.listeners: list[Any] = []
        self.fails = False

    def master(self, masterid: int, clock: Clock) -> Any:
        return _Master(self, masterid, clock)

    def event(self, masterid: int, event: str) -> None:
        self.announce(("masters", str(masterid), event), {"masterid": masterid})

    def announce(self, key: tuple[str, ...], message: Any) -> None:
        for pattern, listener in list(self.listeners):
            if matches(pattern, key):
                listener(key, message)


class _Master:
    """A master whose database answers at once."""

    def __init__(self, database: Database, masterid: int, clock: Clock) -> None:
        self.database, self.masterid, self.reactor = database, masterid, clock
        self.data = self.update = self.mq = self

    def startConsuming(self, callback: Any, key: Any) -> Deferred[Any]:
        self.database.listeners.append((key, callback))
        return succeed(_Subscription(self.database, (key, callback)))

    def findChangeSourceId(self, name: str) -> Deferred[int]:
        return succeed(7)

    def setChangeSourceMaster(self, changesourceid: int, masterid: int | None) -> Deferred[bool]:
        if self.database.fails:
            raise RuntimeError("database is away")
        if masterid is not None and self.database.holder not in (None, masterid):
            return succeed(False)
        self.database.holder = masterid
        return succeed(True)


class _Subscription:
    def __init__(self, database: Database, listener: Any) -> None:
        self.database, self.listener = database, listener

    def stopConsuming(self) -> None:
        self.database.listeners.remove(self.listener)


class Source(PollingChangeSource):
    """Counts its polls; a test ends each, unless it has said beforehand how they end."""

    def __init__(self, name: str = "source", **arguments: Any) -> None:
        super().__init__(name, **arguments)
        self.polls: list[float] = []
        self.running: Deferred[None] | None = None
        self.slow = False
        self.problem: Exception | None = None

    async def poll(self) -> None:
        self.polls.append(self.master.reactor.seconds())
        if self.slow:
            self.running = Deferred()
            await self.running
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def started(clock: Clock, **arguments: Any) -> Source:
    source = Source(**arguments)
    await source.run_in(Database().master(1, clock))
    return source


async def test_polls_at_intervals(clock: Clock) -> None:
    source = await started(clock, pollInterval=10)
    clock.pump([5, 5, 5, 5, 5])
    assert source.polls == [10, 20]


async def test_polls_at_launch(clock: Clock) -> None:
    source = await started(clock, pollInterval=10, pollAtLaunch=True)
    clock.advance(0)
    clock.advance(10)
    assert source.polls == [0, 10]


async def test_an_interval_of_zero_polls_only_when_told(clock: Clock) -> None:
    source = await started(clock, pollInterval=0)
    clock.advance(10_000)
    assert source.polls == []
    await source.poll_now()
    assert source.polls == [10_000]
    assert clock.getDelayedCalls() == []


async def test_a_random_delay_is_within_its_limits(clock: Clock) -> None:
    source = await started(clock, pollInterval=100, pollRandomDelayMin=5, pollRandomDelayMax=20)
    clock.advance(104)
    assert source.polls == []
    clock.advance(16)
    assert len(source.polls) == 1


async def test_polls_do_not_overlap(clock: Clock) -> None:
    """A poll that takes longer than the interval is followed by the next one at once."""
    source = await started(clock, pollInterval=10)
    source.slow = True
    clock.advance(10)
    clock.advance(25)
    assert source.polls == [10]
    source.running.callback(None)  # type: ignore[union-attr]
    clock.advance(0)
    assert source.polls == [10, 35]


async def test_polls_on_request(clock: Clock) -> None:
    """The control action ``poll``, on whichever master it was asked for, has the one that runs the poller poll."""
    database, source = Database(), Source(pollInterval=0)
    await source.run_in(database.master(1, clock))
    database.announce(("control", "changesources", "8", "poll"), {})
    assert source.polls == []
    database.announce(("control", "changesources", "7", "poll"), {})
    assert source.polls == [0.0]
    await source.stop_running()
    database.announce(("control", "changesources", "7", "poll"), {})
    assert source.polls == [0.0]


async def test_poll_now_waits_for_the_running_poll_and_is_shared(clock: Clock) -> None:
    """The running poll may have asked the server already, so another one follows; two calls meanwhile share it."""
    source = await started(clock, pollInterval=10)
    source.slow = True
    clock.advance(10)
    first, second = source.poll_now(), source.poll_now()
    source.running.callback(None)  # type: ignore[union-attr]
    assert not fired(first)
    source.running.callback(None)  # type: ignore[union-attr]
    assert fired(first) and fired(second)
    assert len(source.polls) == 2


async def test_an_error_is_told_once_and_tried_again(clock: Clock) -> None:
    source = await started(clock, pollInterval=10)
    source.problem = PollError("the server is away")
    with capturedLogs() as logs:
        clock.pump([10, 10, 10])
        source.problem = None
        clock.advance(10)
    assert len(source.polls) == 4
    assert [event.get("problem", event["log_format"]) for event in logs] == [
        "the server is away", "{part!r}: works again",
    ]  # fmt: skip


async def test_an_unexpected_error_is_told_with_its_traceback(clock: Clock) -> None:
    source = await started(clock, pollInterval=10)
    source.problem = ZeroDivisionError("oops")
    with capturedLogs() as logs:
        clock.pump([10, 10])
    assert len(source.polls) == 2
    assert sum("log_failure" in event for event in logs) == 1


async def test_stopping_waits_for_the_poll(clock: Clock) -> None:
    source = await started(clock, pollInterval=10)
    source.slow = True
    clock.advance(10)
    stopped: Deferred[None] = Deferred.fromCoroutine(source.stop_running())
    assert not fired(stopped)
    source.running.callback(None)  # type: ignore[union-attr]
    assert fired(stopped)
    assert clock.getDelayedCalls() == []


async def test_one_master_works_and_the_other_takes_over(clock: Clock) -> None:
    database = Database()
    first, second = Source(), Source()
    await first.run_in(database.master(1, clock))
    await second.run_in(database.master(2, clock))
    assert (first.working, second.working) == (True, False)
    await first.stop_running()
    assert database.holder is None
    database.event(1, "stopped")
    assert second.working


async def test_a_part_that_another_master_gave_up_is_found_in_a_minute(clock: Clock) -> None:
    database = Database(holder=2)
    source = Source(pollInterval=1000)
    await source.run_in(database.master(1, clock))
    assert not source.working
    database.holder = None
    clock.advance(60)
    assert source.working


async def test_a_master_that_was_taken_for_dead_stops_and_comes_back(clock: Clock) -> None:
    database = Database()
    source = Source()
    await source.run_in(database.master(1, clock))
    database.holder = 2
    with capturedLogs() as logs:
        database.event(1, "stopped")
    assert not source.working
    assert any("declared this one dead" in event["log_format"] for event in logs)
    database.event(1, "started")
    assert not source.working
    database.holder = None
    database.event(2, "stopped")
    assert source.working


async def test_a_claim_that_fails_is_tried_again(clock: Clock) -> None:
    database = Database()
    database.fails = True
    source = Source(pollInterval=1000)
    with capturedLogs() as logs:
        await source.run_in(database.master(1, clock))
    assert not source.working
    assert len(logs) == 1
    database.fails = False
    clock.advance(60)
    assert source.working


@pytest.mark.parametrize(
    "arguments", [{"pollInterval": "x"}, {"pollRandomDelayMin": 5}, {"pollRandomDelayMax": -1}, {"name": ""}]
)
def test_mistakes_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigErrors):
        Source(**arguments)


class Told(ChangeSource):
    """One as existing plugins write them: without methods for the work, and with those that 4.3 calls."""

    def __init__(self, interval: int, name: str = "told") -> None:
        super().__init__(name=name)
        self.interval = interval
        self.calls: list[str] = []

    @inlineCallbacks
    def activate(self) -> Any:
        yield super().activate()
        self.calls.append("activate")

    def deactivate(self) -> Any:
        self.calls.append("deactivate")
        return super().deactivate()


async def test_methods_that_plugins_override(clock: Clock) -> None:
    """``activate`` is called where the source is to work, ``deactivate`` where it is not any more."""
    database = Database()
    source, other = Told(60), Told(60)
    await source.run_in(database.master(1, clock))
    await other.run_in(database.master(2, clock))
    assert (source.calls, other.calls) == (["activate"], [])
    await source.stop_running()
    assert source.calls == ["activate", "deactivate"]
    await other.stop_running()
    await ChangeSource(name="plain").run_in(database.master(1, clock))


def test_sources_made_alike_are_equal() -> None:
    assert Source("a", pollInterval=5) == Source("a", pollInterval=5)
    assert Source("a", pollInterval=5) != Source("a", pollInterval=6)
