"""Users' steps that do harm: they block the master, never end, or cannot be stopped. The build goes on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet import defer, task
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from zope.interface import implementer

from buildbot.process import watched
from buildbot.process.buildstep import BuildStep, BuildStepFailed
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.properties import renderer
from buildbot.process.watched import Watched
from buildbot.steps.master import SetProperty
from buildbot.steps.shell import ShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.background import in_background
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SUCCESS
from tests.support.events import next_turn


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines of the log."""
    lines: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


class Clock:
    """A clock that work can make go on, as if it took long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        monkeypatch.setattr(watched, "_now", lambda: self.seconds)

    def take(self, seconds: float) -> int:
        self.seconds += seconds
        return SUCCESS


async def test_blocking_is_named(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """A step that blocks the master is named in the log with its class, also if a method before ``run`` blocks."""
    clock = Clock(monkeypatch)

    class Slow(BuildStep):
        name = "slow"

        async def run(self) -> int:
            clock.take(0.5)
            await deferLater(self.master.reactor, 0, lambda: None)
            return clock.take(10)

    class Plain(BuildStep):
        @inlineCallbacks
        def run(self) -> Any:  # type: ignore[override]
            clock.take(20)
            yield succeed(None)
            clock.take(0.5)
            yield deferLater(self.master.reactor, 0, lambda: None)
            clock.take(40)
            return SUCCESS

    farm = StepHarness(Slow(), Plain(), SetProperty("a", renderer(lambda props: clock.take(30))))
    row = await farm.run()
    assert row["results"] == SUCCESS
    lines = [line for line in said if "blocked the master" in line]
    assert [line.split(": ")[0] for line in lines] == [
        f"step 'slow' of class {__name__}.test_blocking_is_named.<locals>.Slow blocked the master for 10.0 s",
        f"step 'generic' of class {__name__}.test_blocking_is_named.<locals>.Plain blocked the master for 20.5 s",
        f"step 'generic' of class {__name__}.test_blocking_is_named.<locals>.Plain blocked the master for 40.0 s",
        "step 'SetProperty' of class buildbot.steps.master.SetProperty blocked the master for 30.0 s",
    ]


async def test_inline_callbacks_run_as_in_twisted() -> None:
    """A step written with inlineCallbacks runs as Twisted runs it: its yields, exceptions and results."""
    seen: list[Any] = []

    class Base(BuildStep):
        @inlineCallbacks
        def run(self) -> Any:  # type: ignore[override]
            seen.append((yield 5))
            seen.append((yield deferLater(self.master.reactor, 0, lambda: 6)))
            seen.append((yield self.later(7)))
            seen.append((yield self.generated()))
            try:
                yield deferLater(self.master.reactor, 0, lambda: 1 // 0)
            except ZeroDivisionError as problem:
                seen.append(type(problem))
            return SUCCESS

        async def later(self, value: int) -> int:
            await deferLater(self.master.reactor, 0, lambda: None)
            return value

        def generated(self) -> Any:
            value = yield succeed(8)
            return value

    class Derived(Base):
        @inlineCallbacks
        def run(self) -> Any:  # type: ignore[override]
            results = yield super().run()
            defer.returnValue(results)

    class Fails(BuildStep):
        @inlineCallbacks
        def run(self) -> Any:  # type: ignore[override]
            yield succeed(None)
            raise BuildStepFailed("no luck")

    class NoGenerator(BuildStep):
        @inlineCallbacks
        def run(self) -> Any:  # type: ignore[override]
            return SUCCESS

    farm = StepHarness(Derived(), Fails(haltOnFailure=False), NoGenerator())
    await farm.run()
    steps = farm.master.steps(1)[1:]
    assert [step["results"] for step in steps] == [SUCCESS, FAILURE, EXCEPTION]
    assert seen == [5, 6, 7, 8, ZeroDivisionError]
    assert steps[1]["state_string"] == "no luck (failure)"
    assert "requires" in farm.master.text(4, "err.text") and "generator" in farm.master.text(4, "err.text")


async def test_blocking_observer_is_named(monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    """So is one that looks at a log too long."""
    clock = Clock(monkeypatch)

    class Slow(LogLineObserver):
        def outLineReceived(self, line: str) -> None:
            clock.take(5)

    class Observed(ShellCommand):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.addLogObserver("stdio", Slow())

    await StepHarness(Observed(command="x")).run()
    line, *_ = (line for line in said if "blocked the master" in line)
    assert line.startswith(f"observer {__name__}.test_blocking_observer_is_named.<locals>.Slow of log 'stdio' blocked")


class Held:
    """Makes a new Deferred at each call and keeps it: the test can still fire it, so it is not garbage."""

    def __init__(self) -> None:
        self.made: list[Deferred[int]] = []

    def __call__(self) -> Deferred[int]:
        self.made.append(Deferred())
        return self.made[-1]


@pytest.fixture
def held() -> Held:
    return Held()


class Waits(BuildStep):
    """A step that waits for the Deferred of a function, and notifies the test."""

    name = "waits"

    def __init__(self, wait: Callable[[], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait_for = wait

    async def run(self) -> int:
        self.master.note("waits")
        result: int = await self.wait_for()
        return result


async def begun(step: Any) -> StepHarness:
    """A build whose step waits."""
    farm = StepHarness(step, SetProperty("next", 1, alwaysRun=True))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: bool(farm.master.of("waits")))
    return farm


def _plain() -> Any:
    @inlineCallbacks
    def wait() -> Any:
        yield Deferred()

    return wait()


@pytest.mark.parametrize("wait", [Deferred, _plain], ids=["coroutine", "inlineCallbacks"])
async def test_waiting_for_a_deferred_that_never_fires(wait: Callable[[], Any]) -> None:
    """A step that waits for a Deferred that nothing can fire any more ends in EXCEPTION, and says so."""
    farm = await begun(Waits(wait))
    gc.collect()
    await farm.ended()
    waits, after = farm.master.steps(1)[1:]
    assert (waits["results"], after["results"]) == (EXCEPTION, SUCCESS)
    assert f"step 'waits' of class {__name__}.Waits waits for a Deferred that nothing can fire any more" in (
        farm.master.text(2, "err.text")
    )


async def test_it_is_seen_without_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a step still can end is looked at from time to time."""
    monkeypatch.setattr(watched, "LOOK_S", 0.01)
    gc.disable()
    try:
        farm = await begun(Waits(Deferred))
        await farm.ended()
    finally:
        gc.enable()
    assert farm.master.steps(1)[1]["results"] == EXCEPTION


def test_one_look_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand steps that wait are looked at together: after five minutes, then when they have run twice as long."""
    looks: list[float] = []
    time: Any = task.Clock()
    monkeypatch.setattr(gc, "collect", lambda: looks.append(time.seconds()))
    waits: list[Deferred[None]] = [Deferred() for _ in range(1000)]

    async def work(wait: Deferred[None]) -> None:
        await wait

    steps = [Watched(work(wait), "step", time, lambda: False) for wait in waits[1:]]
    # the engine itself waits for this Deferred, so it does not search for references
    steps.append(Watched(work(waits[0]), "step", time, lambda: True))
    for _ in range(60):
        time.advance(60)
    assert looks == [300, 600, 1200, 2400]
    for wait in waits[1:]:
        wait.callback(None)
    time.advance(36_000)
    assert len(looks) == 4
    waits[0].callback(None)
    assert all(step.ended.called for step in steps) and time.getDelayedCalls() == []


async def test_waiting_for_a_deferred_that_may_fire(held: Held) -> None:
    """A Deferred that is still referred to may be fired, so the step waits for it."""
    farm = await begun(Waits(held))
    gc.collect()
    assert farm.builder.running
    held.made[0].callback(SUCCESS)
    await farm.ended()
    assert farm.master.build(1)["results"] == SUCCESS


class Stubborn(Waits):
    """Ends for nothing."""

    async def run(self) -> int:
        self.master.note("waits")
        while True:
            try:
                await self.wait_for()
            except CancelledError:
                continue


class BadInterrupt(Waits):
    """Cannot be interrupted."""

    def interrupt(self, reason: Any) -> Any:
        raise ZeroDivisionError


class OwnInterrupt(Waits):
    """Does nothing about it."""

    def interrupt(self, reason: Any) -> Any:
        return None


@pytest.mark.parametrize("kind", [Waits, Stubborn, BadInterrupt, OwnInterrupt])
async def test_stop(monkeypatch: pytest.MonkeyPatch, said: list[str], held: Held, kind: Any) -> None:
    """A build can be stopped, for every wait of its step and every reaction to the stop."""
    monkeypatch.setattr("buildbot.process.stepwork.STOP_TIMEOUT_S", 0)
    farm = await begun(kind(held))
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    waits, after = farm.master.steps(1)[1:]
    assert (waits["results"], after["results"]) == (CANCELLED, SUCCESS)
    assert farm.master.build(1)["state_string"] == "cancelled: enough"
    assert "<" + kind.__name__ + " 'waits'> does not stop; the build goes on without it" in said


class Answers(Waits):
    """Ends by its own interrupt, and says that all is well."""

    async def run(self) -> int:
        self.ends: Deferred[int] = Deferred()
        self.master.note("waits")
        return await self.ends

    def interrupt(self, reason: Any) -> Any:
        self.master.note("interrupted", reason)
        self.ends.callback(SUCCESS)


class InsideWait(Waits):
    """Waits in the way that BuildStep itself can end."""

    async def run(self) -> int:
        self.master.note("waits")
        result: int = await self.wait(self.wait_for())
        return result


@pytest.mark.parametrize("kind", [Waits, Answers, InsideWait])
async def test_worker_lost(held: Held, kind: Any) -> None:
    """A step that waits on the master is interrupted when its worker is lost, and its build is to be built again."""
    farm = await begun(kind(held))
    farm.connection.closed("cable cut")
    await farm.ended()
    (step,) = farm.master.steps(1)[1:]
    assert (step["results"], farm.master.build(1)["results"]) == (RETRY, RETRY)
    assert farm.master.text(2, "cancelled") == "worker w was lost: cable cut\n"
    if kind is Answers:
        ((reason,),) = farm.master.of("interrupted")
        assert reason.check(ConnectionLost) and "cable cut" in str(reason.value)
    assert farm.master.of("endBuild") == [(1, 1, RETRY)]


async def test_a_master_that_stops(held: Held) -> None:
    """A step that waits for something of its own does not hold up a master that stops: the build is built again."""
    farm = await begun(Waits(held))
    await farm.builder.stop_all("the master is stopping", RETRY)
    assert farm.master.build(1)["results"] == RETRY
    waits = farm.master.steps(1)[1]
    assert (waits["results"], farm.connection.lost) == (CANCELLED, False)


@pytest.mark.parametrize("kind", [Stubborn, BadInterrupt, OwnInterrupt])
async def test_worker_lost_and_the_step_goes_on(
    monkeypatch: pytest.MonkeyPatch, said: list[str], held: Held, kind: Any
) -> None:
    """A step that does not end when its worker is lost does not hold the build."""
    monkeypatch.setattr("buildbot.process.stepwork.STOP_TIMEOUT_S", 0)
    farm = await begun(kind(held))
    farm.connection.closed("cable cut")
    await farm.ended()
    (step,) = farm.master.steps(1)[1:]
    assert (step["results"], farm.master.build(1)["results"]) == (RETRY, RETRY)
    assert "<" + kind.__name__ + " 'waits'> does not stop; the build goes on without it" in said


async def test_worker_lost_during_a_call() -> None:
    """Data that a step was storing when its worker was lost are stored, and its log is closed."""

    class Logs(BuildStep):
        async def run(self) -> int:
            log = await self.addLog("notes")
            await log.addContent("too late\n")
            return SUCCESS

    farm = StepHarness(Logs())
    await farm.start()
    stored: Deferred[None] = Deferred()
    new_log = farm.master.data.update.newLog

    async def slowly(stepid: int, name: str, type: str) -> Any:
        if name == "notes":
            farm.master.note("storing")
            await stored
        return await new_log(stepid, name, type)

    farm.master.data.update.newLog = slowly
    await farm.build()
    await farm.master.until(lambda: bool(farm.master.of("storing")))
    farm.connection.closed("cable cut")
    await next_turn()
    await next_turn()
    assert farm.builder.running
    stored.callback(None)
    await farm.ended()
    assert farm.master.steps(1)[1]["results"] == RETRY
    logs = {log["name"]: log["complete"] for log in farm.master.get("steps", 2, "logs")}
    assert logs == {"notes": True, "cancelled": True}


@pytest.mark.parametrize(("lost", "results"), [(False, CANCELLED), (True, RETRY)])
async def test_stopped_or_lost_before_it_runs(lost: bool, results: int) -> None:
    """A step whose build is stopped, or whose worker is lost, before it begins to work does not run."""

    @renderer
    def name(props: Any) -> str:
        if lost:
            farm.connection.closed("cable cut")
        else:
            in_background(props.build.stop("enough"), "stop")
        return "waits"

    farm = StepHarness(Waits(Deferred, name=name))
    await farm.run()
    assert not farm.master.of("waits")
    assert (farm.master.steps(1)[1]["results"], farm.master.build(1)["results"]) == (results, results)


@pytest.mark.parametrize(
    "step",
    [
        type("Result", (SetProperty,), {"getResultSummary": lambda self: Deferred()}),
        type("Current", (SetProperty,), {"getCurrentSummary": lambda self: Deferred()}),
        type("Hide", (SetProperty,), {"hideStepIf": staticmethod(lambda results, step: Deferred())}),
    ],
)
async def test_asked_for_ever(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    """A step that does not say how it is shown, or whether, ends in EXCEPTION with the reason."""
    monkeypatch.setattr("buildbot.process.stepsummary.SUMMARY_TIMEOUT_S", 0.02)
    farm = StepHarness(step("a", 1))
    await farm.run()
    (row,) = farm.master.steps(1)[1:]
    assert row["results"] == EXCEPTION
    assert "gave nothing within 0.02 s" in farm.master.text(2, "err.text")


@pytest.mark.parametrize("result", [None, "SUCCESS", 7, True])
async def test_wrong_result(result: Any) -> None:
    """A value that is no result code ends the step in EXCEPTION, which shows the value."""

    async def wait() -> Any:
        return result

    farm = StepHarness(Waits(wait))
    await farm.run()
    assert farm.master.steps(1)[1]["results"] == EXCEPTION
    assert f"must return a result code, not {result!r}" in farm.master.text(2, "err.text")
