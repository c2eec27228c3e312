"""Workers on demand: how instances are started, shared and stopped, and the results of builds after failures."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed

from buildbot.config.errors import ConfigErrors
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.process.properties import Property
from buildbot.process.workers.connection import RemoteError
from buildbot.process.workers.latent import CLOSE_TIMEOUT_S, State
from buildbot.steps.shell import ShellCommand
from buildbot.test.workers import LatentHarness
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY, SUCCESS
from buildbot.worker.latent import AbstractLatentWorker


class Scripted(AbstractLatentWorker):
    """A worker whose instances the test decides; it keeps its calls."""

    def __init__(self, name: str = "w", password: str = "p", **kwargs: Any) -> None:
        super().__init__(name, password, **kwargs)
        self.calls: list[Any] = []
        self.starting: Any = None
        self.stopping: Any = None
        self.well: Any = (True, "")
        self.found: Any = False

    def start_instance(self, build: Any) -> Any:
        self.calls.append("start")
        if isinstance(self.starting, Exception):
            raise self.starting
        return self.starting

    def stop_instance(self, fast: bool = False) -> Any:
        self.calls.append("stop fast" if fast else "stop")
        return self.stopping

    def check_instance(self) -> Any:
        return self.well

    def find_instance(self) -> Any:
        return self.found


class WithImage(Scripted):
    """Suits only builds with its image."""

    builds_may_be_incompatible = True
    image = Property("image")

    def renderWorkerProps(self, build_props: Any) -> Any:
        return build_props.render(self.image)

    async def start_instance(self, build: Any) -> Any:
        self.calls.append(("start", await self.renderWorkerPropsOnBuild(build)))


def harness(worker: Scripted | None = None, **arguments: Any) -> LatentHarness:
    return LatentHarness(worker or Scripted(**arguments), ShellCommand(command="true"))


async def started(farm: LatentHarness) -> LatentHarness:
    """A farm whose instance is awake after a first build."""
    await farm.start()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    return farm


def row(farm: LatentHarness) -> dict[str, Any]:
    return dict(farm.master.get("workers", "w"))


async def test_on_demand() -> None:
    """Nothing runs until a build needs it. The build waits for the agent, then it has its directories and runs; its
    instance goes on for ten minutes."""
    farm = harness()
    await farm.start()
    assert farm.worker.calls == [] and farm.managed.has_room() and row(farm)["state_string"] == State.ASLEEP.value
    assert farm.master.of("changed") == [("w",)]
    buildid = await farm.build()
    assert farm.worker.calls == ["start"] and row(farm)["state_string"] == State.STARTING.value
    assert farm.master.build(buildid)["state_string"] == "preparing worker"
    await farm.log_in()
    assert row(farm)["state_string"] is None
    await farm.ended()
    build = farm.master.build(buildid)
    assert build["results"] == SUCCESS
    assert build["properties"]["builddir"] == ("/w/a", "Worker") and build["properties"]["basedir"] == ("/w", "Worker")
    farm.clock.advance(599)
    assert farm.worker.calls == ["start"]
    again = await farm.build("b")
    await farm.ended("b")
    assert farm.master.build(again)["results"] == SUCCESS
    farm.clock.advance(599)
    connection = farm.managed.connection
    assert connection is not None and farm.worker.calls == ["start"]
    farm.clock.advance(1)
    assert farm.worker.calls == ["start", "stop"] and connection.lost
    assert row(farm)["state_string"] == State.ASLEEP.value and row(farm)["connected_to"] == []
    assert farm.managed.has_room()
    await farm.stop()
    assert farm.worker.calls == ["start", "stop"] and farm.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("wait_s", "calls"), [(0, ["start", "stop"]), (-1, ["start", "stop fast"])])
async def test_build_wait_timeout(wait_s: float, calls: list[str]) -> None:
    """0: the instance is stopped after its last build; below: with the master, which waits for that."""
    farm = await started(harness(build_wait_timeout=wait_s))
    farm.clock.advance(0)
    farm.clock.advance(10_000)
    await farm.stop()
    assert farm.worker.calls == calls


async def test_builds_that_come_while_it_starts() -> None:
    """They wait for the same instance; one that comes while it is stopped gets the next, after that."""
    farm = harness(build_wait_timeout=0)
    await farm.start()
    farm.worker.stopping = Deferred()
    first, second = await farm.build("a"), await farm.build("b")
    await farm.log_in()
    await farm.ended("a")
    await farm.ended("b")
    assert [farm.master.build(each)["results"] for each in (first, second)] == [SUCCESS, SUCCESS]
    farm.clock.advance(0)
    assert farm.worker.calls == ["start", "stop"]
    third = await farm.build("a")
    assert farm.worker.calls == ["start", "stop"]
    stopping, farm.worker.stopping = farm.worker.stopping, None
    stopping.callback(None)
    assert farm.worker.calls == ["start", "stop", "start"]
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(third)["results"] == SUCCESS
    await farm.stop()


async def test_max_builds() -> None:
    """It limits the builds of an instance, from the moment that one is given to it."""
    farm = harness(max_builds=1)
    await farm.start()
    await farm.build("a")
    assert not farm.managed.can_take("b")
    await farm.log_in()
    await farm.ended()
    assert farm.managed.can_take("b")
    await farm.stop()


@pytest.mark.parametrize(
    ("starting", "results", "text"),
    [
        (LatentWorkerFailedToSubstantiate("no quota"), RETRY, "worker not available: no quota"),
        (fail(LatentWorkerFailedToSubstantiate("no quota")), RETRY, "worker not available: no quota"),
        (ValueError("oops"), RETRY, "worker not available: ValueError: oops"),
        (succeed(False), RETRY, "worker not available: start_instance says that it could not start the instance"),
        (LatentWorkerCannotSubstantiate("no such image"), EXCEPTION, "worker cannot substantiate: no such image"),
    ],
)
async def test_start_fails(starting: Any, results: int, text: str) -> None:
    """The build ends with RETRY, or with EXCEPTION if another try is useless, with the reason in its text and log. The
    instance is stopped, and the worker is in quarantine, each time for longer.
    """
    farm = harness()
    await farm.start()
    farm.worker.starting = starting
    buildid = await farm.build()
    await farm.ended()
    build = farm.master.build(buildid)
    assert (build["results"], build["state_string"]) == (results, text)
    (step,) = farm.master.steps(buildid)
    assert (step["name"], step["results"], step["state_string"]) == (
        "worker_preparation", EXCEPTION, "error while worker_prepare"
    )  # fmt: skip
    reason = text.partition(": ")[2].removeprefix("ValueError: ")
    assert reason in farm.master.text(step["stepid"], "err.text")
    assert reason in farm.master.text(step["stepid"], "err.html")
    assert farm.worker.calls == ["start", "stop"] and not farm.managed.has_room()
    assert row(farm)["state_string"].startswith("it could not be started: ")
    assert farm.managed.quarantine.left_s == 10 and farm.managed.quarantine.timeout_s == 20
    assert farm.master.get("buildrequests", 1)["complete"] == (results == EXCEPTION)
    farm.clock.advance(10)
    assert farm.managed.has_room() and farm.master.of("changed")[-1] == ("w",)
    farm.worker.starting = LatentWorkerFailedToSubstantiate("no quota")
    await farm.build()
    await farm.ended()
    assert farm.managed.quarantine.left_s == 20
    farm.clock.advance(20)
    farm.worker.starting = None
    buildid = await farm.build()
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == SUCCESS and farm.managed.quarantine.timeout_s == 10
    await farm.stop()


async def test_another_builds_fault() -> None:
    """A build that waits for an instance which cannot be started for another one is tried again."""
    farm = harness()
    await farm.start()
    starting: Deferred[None] = Deferred()
    farm.worker.starting = starting
    first, second = await farm.build("a"), await farm.build("b")
    starting.errback(LatentWorkerCannotSubstantiate("no such image"))
    await farm.ended("a")
    await farm.ended("b")
    assert [farm.master.build(each)["results"] for each in (first, second)] == [EXCEPTION, RETRY]
    await farm.stop()


@pytest.mark.parametrize("hangs", [False, True])
async def test_agent_does_not_come(hangs: bool) -> None:
    """After `missing_timeout` the request is released, the instance stopped, and the worker reported missing."""
    farm = harness(missing_timeout=60, notify_on_missing="a@b")
    await farm.start()
    starting: Deferred[None] = Deferred()
    if hangs:
        farm.worker.starting = starting
    buildid = await farm.build()
    farm.clock.advance(59)
    assert farm.worker.calls == ["start"]
    farm.clock.advance(1)
    await farm.ended()
    what = "start_instance did not end" if hangs else "its agent did not log in"
    text = f"worker not available: {what} within 60 s"
    assert (farm.master.build(buildid)["results"], farm.master.build(buildid)["state_string"]) == (RETRY, text)
    assert farm.worker.calls == ["start", "stop"] and farm.managed.quarantine.is_on
    assert farm.master.of("workerMissing")[0][3] == ["a@b"]
    await farm.stop()


@pytest.mark.parametrize(
    ("well", "text"),
    [
        ((False, "it has crashed"), "its instance is not well: it has crashed"),
        (succeed((False, "it has crashed")), "its instance is not well: it has crashed"),
        (fail(ValueError("no API")), "ValueError: no API"),
    ],
)
async def test_instance_is_not_well(well: Any, text: str) -> None:
    """While its agent is awaited the instance is looked at; one that is not well is not waited for."""
    farm = harness(check_instance_interval=5)
    await farm.start()
    buildid = await farm.build()
    farm.clock.advance(5)
    farm.worker.well = well
    farm.clock.advance(4)
    assert farm.worker.calls == ["start"]
    farm.clock.advance(1)
    await farm.ended()
    assert farm.master.build(buildid)["state_string"] == f"worker not available: {text}"
    assert farm.worker.calls == ["start", "stop"]
    await farm.stop()


async def test_a_build_that_is_stopped_while_it_starts() -> None:
    """It ends at once. Its instance is stopped, after its start has ended, and without a quarantine; not if another
    build waits for it too."""
    farm = harness()
    await farm.start()
    starting: Deferred[None] = Deferred()
    farm.worker.starting = starting
    first, second = await farm.build("a"), await farm.build("b")
    await farm.builders["a"].running[first].stop("enough")
    await farm.ended("a")
    assert farm.master.build(first)["results"] == CANCELLED
    assert farm.master.build(first)["state_string"] == "cancelled: enough"
    assert farm.managed.state is State.STARTING
    await farm.builders["b"].running[second].stop("enough")
    await farm.ended("b")
    assert farm.worker.calls == ["start"]
    starting.callback(None)
    assert farm.worker.calls == ["start", "stop"] and farm.managed.has_room()
    farm.worker.starting = None
    third = await farm.build()
    await farm.builders["a"].running[third].stop("enough")
    await farm.ended()
    assert farm.worker.calls == ["start", "stop", "start", "stop"]
    await farm.stop()


async def test_agent_is_lost() -> None:
    """The builds are given back, the instance is stopped, and the next build gets another one."""
    farm = harness()
    await farm.start()
    buildid = await farm.build()
    connection = await farm.log_in(script=lambda name, args: ([], None))
    await farm.master.until(lambda: bool(connection.running))
    farm.worker.stopping = Deferred()
    connection.closed("cable cut")
    await farm.ended()
    assert farm.worker.calls == ["start", "stop"]
    assert farm.master.build(buildid)["results"] == RETRY
    again = await farm.build()
    farm.worker.stopping.callback(None)
    assert farm.worker.calls == ["start", "stop", "start"]
    await farm.log_in()
    await farm.ended()
    assert farm.master.build(again)["results"] == SUCCESS
    await farm.stop()


async def test_an_agent_that_is_not_awaited_is_refused() -> None:
    """An agent that logs in while no build waits for it is refused, asleep and while the instance is stopped."""
    farm = harness(build_wait_timeout=0)
    await farm.start()
    with pytest.raises(RemoteError, match="a worker on demand, and no build waits for it now"):
        await farm.log_in()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    farm.worker.stopping = Deferred()
    farm.clock.advance(0)
    with pytest.raises(RemoteError, match="no build waits for it now"):
        await farm.log_in()
    farm.worker.stopping.callback(None)
    await farm.stop()


async def test_instances_that_do_not_suit() -> None:
    """A build that needs another instance gets it when the running one is idle; while others use that one, its request
    is given back and its builder waits."""
    farm = harness(WithImage())
    await farm.start()
    await farm.build(image="one")
    await farm.log_in()
    await farm.ended()
    await farm.build(image="one")
    await farm.ended()
    assert farm.worker.calls == [("start", "one")]
    other = await farm.build(image="two")
    assert farm.worker.calls == [("start", "one"), "stop", ("start", "two")]
    connection = await farm.log_in()
    await farm.ended()
    assert farm.master.build(other)["results"] == SUCCESS
    connection.script = lambda name, args: ([], None)
    running = await farm.build("a", image="two")
    refused = await farm.build("b", image="one")
    await farm.ended("b")
    assert farm.master.build(refused)["results"] == RETRY
    assert farm.master.build(refused)["state_string"].startswith("worker not available: its instance does not suit")
    assert not farm.managed.can_take("b")
    await farm.master.until(lambda: bool(connection.running))
    connection.end(0)
    await farm.ended("a")
    assert farm.master.build(running)["results"] == SUCCESS and farm.managed.can_take("b")
    await farm.build("b", image="one")
    assert farm.worker.calls[-1] == ("start", "one")
    await farm.stop()


@pytest.mark.parametrize("moment", ["starting", "awaited", "building", "stopping"])
async def test_master_stops(moment: str) -> None:
    """The instance is stopped once, in any state, and the master waits for that."""
    farm = harness()
    await farm.start()
    starting: Deferred[None] = Deferred()
    farm.worker.starting = starting if moment == "starting" else None
    buildid = await farm.build()
    if moment in ("building", "stopping"):
        await farm.log_in()
        await farm.ended()
    farm.worker.stopping = Deferred()
    if moment == "stopping":
        farm.clock.advance(600)
    stopped = ensureDeferred(farm.stop())
    if moment == "starting":
        assert farm.worker.calls == ["start"]
        farm.clock.advance(CLOSE_TIMEOUT_S)
    assert farm.worker.calls == ["start", "stop" if moment == "stopping" else "stop fast"]
    assert not stopped.called
    farm.worker.stopping.callback(None)
    await stopped
    await farm.ended()
    assert farm.master.build(buildid)["results"] == (SUCCESS if moment in ("building", "stopping") else RETRY)
    assert row(farm)["state_string"] is None


async def test_stop_fails() -> None:
    """It is logged, and does not keep the worker from being started again."""
    farm = await started(harness(build_wait_timeout=0))
    farm.worker.stopping = fail(ValueError("no API"))
    farm.clock.advance(0)
    assert farm.managed.state is State.ASLEEP and farm.managed.has_room()
    await farm.stop()


async def test_reconfigure() -> None:
    """An instance goes on when the configuration says the same; otherwise it is stopped when it is idle, by the object
    that started it."""
    farm = await started(harness(max_builds=1))
    first: Any = farm.worker
    await farm.manager.reconfigure(farm.config(Scripted(max_builds=1)))
    assert farm.managed.worker is first and first.calls == ["start"]
    farm.managed.reserve("b")
    farm.worker = second = Scripted(max_builds=2)
    await farm.manager.reconfigure(farm.config(second))
    assert not farm.managed.has_room() and first.calls == ["start"]
    farm.managed.release("b", SUCCESS)
    farm.clock.advance(0)
    assert first.calls == ["start", "stop"] and farm.managed.has_room()
    await farm.build()
    assert second.calls == ["start"]
    await farm.stop()
    assert (first.calls, second.calls) == (["start", "stop"], ["start", "stop fast"])


@pytest.mark.parametrize("comes", [True, False])
async def test_instance_of_an_earlier_master(comes: bool) -> None:
    """It is used if its agent comes back, and stopped if not."""
    farm = harness(missing_timeout=60)
    farm.worker.found = True
    await farm.start()
    if comes:
        farm.clock.advance(59)
        await farm.log_in()
        buildid = await farm.build()
        await farm.ended()
        assert farm.master.build(buildid)["results"] == SUCCESS and farm.worker.calls == []
        farm.clock.advance(600)
    else:
        farm.clock.advance(60)
    assert farm.worker.calls == ["stop"] and farm.managed.has_room()
    await farm.stop()


async def test_controls() -> None:
    """A shutdown after its builds, and a kill, are the end of the instance, not of the worker; a pause holds builds
    back also over restarts of the master."""
    farm = await started(harness())
    farm.managed.reserve("b")
    await farm.managed.control("stop")
    assert farm.worker.calls == ["start"] and not farm.managed.has_room()
    farm.managed.release("b", SUCCESS)
    farm.clock.advance(0)
    assert farm.worker.calls == ["start", "stop"] and farm.managed.has_room() and not row(farm)["graceful"]
    await farm.build()
    await farm.log_in()
    await farm.ended()
    await farm.managed.control("kill")
    assert farm.worker.calls == ["start", "stop"] * 2
    await farm.worker.pause("holidays")
    assert not farm.managed.has_room()
    await farm.stop()
    await farm.start()
    assert not farm.managed.has_room() and farm.worker.isPaused()
    await farm.stop()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"build_wait_timeout": "1h"}, "build_wait_timeout must be a number, not '1h'"),
        ({"check_instance_interval": 0}, "check_instance_interval must be a number above 0, not 0"),
        ({"missing_timeout": -1}, "missing_timeout must be at least 0, not -1"),
        ({"build_wait": 1}, "unknown argument 'build_wait'; did you mean 'build_wait_timeout'?"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    with pytest.raises(ConfigErrors) as caught:
        Scripted(**arguments)
    assert f"Scripted 'w': {complaint}" in str(caught.value)


async def test_a_class_that_says_nothing() -> None:
    """Without `start_instance` the build's text names the missing method."""
    farm = LatentHarness(AbstractLatentWorker("w", "p"))
    await farm.start()
    buildid = await farm.build()
    await farm.ended()
    assert "AbstractLatentWorker does not say how its instance is started" in farm.master.build(buildid)["state_string"]
    await farm.stop()
