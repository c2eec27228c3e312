"""Machines that are started for the workers on them: when, for which builds, and what these do after a failure."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.config.errors import ConfigErrors
from buildbot.config.master import MasterConfig
from buildbot.interfaces import LatentWorkerCannotSubstantiate, LatentWorkerFailedToSubstantiate
from buildbot.machine.base import Machine
from buildbot.machine.generic import GenericLatentMachine
from buildbot.machine.latent import AbstractLatentMachine
from buildbot.process.machines import MachineState
from buildbot.process.workers.connection import RemoteError
from buildbot.steps.shell import ShellCommand
from buildbot.test.workers import LatentHarness
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY, SUCCESS
from buildbot.worker.base import Worker
from buildbot.worker.latent import AbstractLatentWorker
from buildbot.worker.local import LocalWorker


class Box(AbstractLatentMachine):
    """A machine whose starts the test decides; its calls are in ``calls``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[str] = []
        self.starting: Any = True
        self.stopping: Any = True

    def start_machine(self) -> Any:
        self.calls.append("start")
        if isinstance(self.starting, Exception):
            raise self.starting
        return self.starting

    def stop_machine(self) -> Any:
        self.calls.append("stop")
        if isinstance(self.stopping, Exception):
            raise self.stopping
        return self.stopping


class Container(AbstractLatentWorker):
    """A worker on demand on the machine, in whose ``calls`` it writes."""

    def __init__(self, calls: list[str], **kwargs: Any) -> None:
        super().__init__("w", "p", machine_name="box", build_wait_timeout=0, **kwargs)
        self.__calls = calls
        #: the outcomes of the next starts; later ones succeed
        self.failures: list[Any] = []
        self.found = False

    def start_instance(self, build: Any) -> Any:
        self.__calls.append("start instance")
        if self.failures:
            raise self.failures.pop(0)

    def stop_instance(self, fast: bool = False) -> Any:
        self.__calls.append("stop instance")

    def find_instance(self) -> bool:
        return self.found


def woken(box: Box, **arguments: Any) -> LatentHarness:
    """A master with a worker whose agent the machine starts."""
    return LatentHarness(
        Worker("w", "p", machine_name="box", **arguments), ShellCommand(command="true"), machines=[box]
    )


def contained(box: Box, **arguments: Any) -> LatentHarness:
    """A master with a worker on demand, on a machine on demand."""
    return LatentHarness(Container(box.calls, **arguments), ShellCommand(command="true"), machines=[box])


def result(farm: LatentHarness, buildid: int) -> tuple[int, str]:
    build = farm.master.build(buildid)
    return build["results"], build["state_string"]


async def test_woken() -> None:
    """A machine sleeps until a build needs it; the build runs once its agent has logged in. The connection ends before
    the machine is stopped, and while it sleeps the worker is not missing.
    """
    box = Box("box", build_wait_timeout=60)
    farm = woken(box, missing_timeout=10)
    await farm.start()
    assert box.calls == [] and farm.managed.has_room()
    assert farm.master.get("workers", "w")["state_string"] == "machine box: stopped"
    buildid = await farm.build()
    assert box.calls == ["start"] and farm.master.get("workers", "w")["state_string"] == "machine box: running"
    farm.clock.advance(1000)  # it boots for long
    connection = await farm.log_in()
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    assert farm.master.get("workers", "w")["state_string"] is None
    again = await farm.build("b")
    await farm.ended("b")
    assert result(farm, again)[0] == SUCCESS and farm.managed.connection is connection
    farm.clock.advance(59)
    assert box.calls == ["start"]
    farm.clock.advance(1)
    assert box.calls == ["start", "stop"] and [connection.lost, farm.managed.connection] == [True, None]
    farm.clock.advance(1000)
    assert farm.master.of("workerMissing") == []
    with pytest.raises(RemoteError, match="its machine is on demand, and nobody needs it now"):
        await farm.log_in()
    third = await farm.build()
    await farm.log_in()
    await farm.ended()
    assert box.calls == ["start", "stop", "start"] and result(farm, third)[0] == SUCCESS
    await farm.stop()
    assert box.calls == ["start", "stop", "start", "stop"] and farm.clock.getDelayedCalls() == []


async def test_actions() -> None:
    """A machine is started and stopped by its actions; a user's own action needs only ``perform``."""

    class Note:
        def __init__(self, calls: list[str], text: str) -> None:
            self.calls, self.text = calls, text

        async def perform(self, manager: Any) -> bool:
            self.calls.append(f"{self.text} {manager.name}")
            return True

    calls: list[str] = []
    machine = GenericLatentMachine("box", Note(calls, "wake"), Note(calls, "suspend"), missing_timeout=5)
    farm = LatentHarness(Worker("w", "p", machine_name="box"), ShellCommand(command="true"), machines=[machine])
    await farm.start()
    buildid = await farm.build()
    await farm.log_in()
    await farm.ended()
    farm.clock.advance(0)
    assert result(farm, buildid)[0] == SUCCESS and calls == ["wake box", "suspend box"]
    await farm.stop()


async def test_stays_on() -> None:
    """Below 0 a machine goes on until the master stops."""
    box = Box("box", build_wait_timeout=-1)
    farm = woken(box)
    await farm.start()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    farm.clock.advance(100_000)
    assert box.calls == ["start"] and farm.managed.connection is not None
    await farm.stop()
    assert box.calls == ["start", "stop"]


async def test_left_running() -> None:
    """A machine that an earlier master left running is known by its agents, and stopped when no build needs it."""
    box = Box("box", build_wait_timeout=60)
    farm = woken(box)
    await farm.start()
    await farm.log_in()
    buildid = await farm.build()
    await farm.ended()
    assert box.calls == [] and result(farm, buildid)[0] == SUCCESS
    farm.clock.advance(60)
    assert box.calls == ["stop"] and farm.managed.connection is None
    await farm.stop()


async def test_agent_does_not_come() -> None:
    """After ``missing_timeout`` of the machine the build is given back, the worker is missing, the machine stopped."""
    box = Box("box", missing_timeout=300)
    farm = woken(box, notify_on_missing="me@example.org")
    await farm.start()
    buildid = await farm.build()
    farm.clock.advance(300)
    await farm.ended()
    text = "worker not available: its agent did not log in within 300 s after machine 'box' was started"
    assert result(farm, buildid) == (RETRY, text)
    assert farm.managed.quarantine.is_on and not farm.managed.has_room()
    assert len(farm.master.of("workerMissing")) == 1
    farm.clock.advance(0)
    assert box.calls == ["start", "stop"]
    await farm.stop()


@pytest.mark.parametrize(
    ("starting", "why"),
    [
        (False, "start_machine says that it could not start it"),
        (OSError("no power"), "no power"),
        (None, "it took too long"),
    ],
)
async def test_not_started(starting: Any, why: str) -> None:
    """Builds that wait for a machine that cannot be started end with the reason; one stop follows."""
    box = Box("box", missing_timeout=300)
    outcome: Deferred[Any] = Deferred()
    box.starting = outcome
    farm = woken(box)
    await farm.start()
    first, second = await farm.build("a"), await farm.build("b")
    if starting is None:
        farm.clock.advance(300)
    else:
        outcome.callback(starting if starting is False else Failure(starting))
    await farm.ended("a")
    await farm.ended("b")
    text = f"worker not available: machine 'box' could not be started: {why}"
    assert [result(farm, each) for each in (first, second)] == [(RETRY, text), (RETRY, text)]
    assert box.calls == ["start", "stop"]
    assert farm.managed.quarantine.is_on
    await farm.stop()


@pytest.mark.parametrize("stopping", [False, OSError("no power"), Deferred()])
async def test_not_stopped(stopping: Any) -> None:
    """A stop that fails, or does not end, is logged; the next build starts the machine again."""
    box = Box("box")
    farm = woken(box)
    await farm.start()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    box.stopping = stopping
    farm.clock.advance(0)
    farm.clock.advance(600)
    assert box.calls == ["start", "stop"]
    box.stopping = True
    buildid = await farm.build()
    await farm.log_in()
    await farm.ended()
    assert box.calls[:3] == ["start", "stop", "start"] and result(farm, buildid)[0] == SUCCESS
    await farm.stop()


async def test_needed_while_it_stops() -> None:
    """A build that comes while the machine is stopped gets the next start, after that."""
    box = Box("box")
    farm = woken(box)
    await farm.start()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    stopping: Deferred[Any] = Deferred()
    box.stopping = stopping
    farm.clock.advance(0)
    buildid = await farm.build()
    assert box.calls == ["start", "stop"]
    with pytest.raises(RemoteError, match="nobody needs it now"):
        await farm.log_in()
    box.stopping = True
    stopping.callback(True)
    assert box.calls == ["start", "stop", "start"]
    await farm.log_in()
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    await farm.stop()


async def test_instance_on_a_machine() -> None:
    """The machine of a worker on demand is started before its instance, and stopped after that."""
    box = Box("box")
    farm = contained(box)
    await farm.start()
    starting: Deferred[Any] = Deferred()
    box.starting = starting
    buildid = await farm.build()
    assert box.calls == ["start"]
    starting.callback(True)
    assert box.calls == ["start", "start instance"]
    await farm.log_in()
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    farm.clock.advance(0)
    farm.clock.advance(0)
    assert box.calls == ["start", "start instance", "stop instance", "stop"]
    await farm.stop()


async def test_machine_boots() -> None:
    """While the machine boots an instance that cannot be started is tried again; later, or where it is the build's own
    fault, it is not."""
    box = Box("box", missing_timeout=300)
    farm = contained(box)
    farm.worker.failures = [OSError("no daemon yet"), LatentWorkerFailedToSubstantiate("still none")]
    await farm.start()
    buildid = await farm.build()
    assert box.calls == ["start", "start instance", "stop instance"]
    farm.clock.advance(10)
    farm.clock.advance(10)
    assert box.calls[3:] == ["start instance", "stop instance", "start instance"]
    await farm.log_in()
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    farm.clock.advance(0)
    farm.clock.advance(0)
    box.calls.clear()
    farm.worker.failures = [LatentWorkerCannotSubstantiate("no such image")]
    buildid = await farm.build()
    await farm.ended()
    assert result(farm, buildid) == (EXCEPTION, "worker cannot substantiate: no such image")
    farm.clock.advance(0)
    assert box.calls == ["start", "start instance", "stop instance", "stop"]
    farm.managed.quarantine.leave()
    box.calls.clear()
    farm.worker.failures = [OSError("broken")] * 100
    buildid = await farm.build()
    for _ in range(40):
        farm.clock.advance(10)
    await farm.ended()
    assert result(farm, buildid) == (RETRY, "worker not available: OSError: broken")
    assert box.calls[-1] == "stop" and box.calls.count("start instance") == box.calls.count("stop instance") == 31
    await farm.stop()


async def test_build_stopped() -> None:
    """A build that is stopped while the machine starts ends at once; nothing is started on the machine then."""
    box = Box("box")
    starting: Deferred[Any] = Deferred()
    box.starting = starting
    farm = contained(box)
    await farm.start()
    buildid = await farm.build()
    await farm.builders["a"].running[buildid].stop("enough")
    await farm.ended()
    assert result(farm, buildid)[0] == CANCELLED
    starting.callback(True)
    farm.clock.advance(0)
    assert box.calls == ["start", "stop instance", "stop"]
    await farm.stop()


@pytest.mark.parametrize("kind", [woken, contained])
async def test_master_stops_meanwhile(kind: Any) -> None:
    """A start that is under way when the master stops is given up, and the machine is stopped."""
    box = Box("box")
    box.starting = Deferred()
    farm = kind(box)
    await farm.start()
    buildid = await farm.build()
    await farm.stop()
    await farm.ended()
    assert result(farm, buildid)[0] == RETRY
    assert [each for each in box.calls if "instance" not in each] == ["start", "stop"]
    assert farm.clock.getDelayedCalls() == []


async def test_instance_left() -> None:
    """An instance of an earlier master shows that its machine runs."""
    box = Box("box")
    farm = contained(box)
    farm.worker.found = True
    await farm.start()
    await farm.log_in()
    farm.clock.advance(0)
    farm.clock.advance(0)
    assert box.calls == ["stop instance", "stop"]
    await farm.stop()


async def test_reconfiguration() -> None:
    """New arguments count at once; a machine that is gone, or the machine of a worker that has another one now, is
    stopped when no build is on it."""
    box = Box("box", build_wait_timeout=600)
    farm = woken(box)
    await farm.start()
    await farm.build()
    await farm.log_in()
    await farm.ended()
    farm.machines = [Box("box", build_wait_timeout=5)]
    await farm.manager.reconfigure(farm.config(farm.worker))
    buildid = await farm.build()
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    farm.clock.advance(5)
    assert box.calls == ["start", "stop"]
    machine = farm.manager.machines.machines["box"]
    assert machine.machine is box and machine.state is MachineState.STOPPED
    await farm.build()
    await farm.log_in()
    farm.worker, farm.machines = Worker("w", "p"), []
    await farm.manager.reconfigure(farm.config(farm.worker))
    await farm.ended()
    farm.clock.advance(0)
    assert box.calls == ["start", "stop", "start", "stop"] and farm.manager.machines.machines == {}
    await farm.stop()


async def test_another_machine() -> None:
    """A worker that is given another machine ends its builds on the old one, which is stopped after that."""
    old, new = Box("box"), Box("new")
    farm = woken(old)
    await farm.start()
    buildid = await farm.build()
    connection = await farm.log_in(lambda name, args: ([], None))
    farm.machines = [old, new]
    await farm.manager.reconfigure(farm.config(Worker("w", "p", machine_name="new")))
    assert [farm.managed.has_room(), connection.lost, old.calls, new.calls] == [False, False, ["start"], []]
    connection.end(0)
    await farm.ended()
    assert result(farm, buildid)[0] == SUCCESS
    farm.clock.advance(0)
    assert [connection.lost, old.calls, new.calls] == [True, ["start", "stop"], []]
    again = await farm.build()
    assert new.calls == ["start"]
    await farm.log_in()
    await farm.ended()
    assert result(farm, again)[0] == SUCCESS
    await farm.stop()
    assert new.calls == ["start", "stop"]


async def test_graceful() -> None:
    """A worker whose machine sleeps has nothing to shut down."""
    farm = woken(Box("box"))
    await farm.start()
    await farm.master.state.data.update.setWorkerState(farm.managed.workerid, graceful=True)
    await farm.managed.control("stop")
    assert not farm.master.get("workers", "w")["graceful"] and farm.managed.has_room()
    await farm.managed.control("pause")
    assert not farm.managed.has_room()
    await farm.stop()


def values(machines: list[Any], workers: list[Any]) -> dict[str, Any]:
    return {"machines": machines, "workers": workers, "protocols": {"pb": {"port": 0}}, "multiMaster": True}


@pytest.mark.parametrize(
    ("machines", "workers", "complaint"),
    [
        (
            [Machine("box")],
            [Worker("w", "p", machine_name="bux")],
            "worker 'w' names machine 'bux', which is not in c['machines']; did you mean 'box'?",
        ),
        ([Machine("box"), Machine("box")], [], "c['machines'] has two entries named 'box'; names must be unique"),
        (
            [Box("box")],
            [LocalWorker("w", machine_name="box")],
            "worker 'w' runs on the master's own machine, so it cannot be on 'box', which is started and stopped",
        ),
    ],
)
def test_mistakes(machines: list[Any], workers: list[Any], complaint: str, tmp_path: Any) -> None:
    """Invalid arguments are mistakes of the configuration."""
    with pytest.raises(ConfigErrors) as caught:
        MasterConfig.from_values(values(machines, workers), tmp_path)
    assert complaint in "; ".join(caught.value.errors)


async def test_always_on(tmp_path: Any) -> None:
    """A machine that is always on changes nothing for its workers."""
    farm = LatentHarness(Worker("w", "p", machine_name="box"), ShellCommand(command="true"), machines=[Machine("box")])
    config = MasterConfig.from_values(values([Machine("box")], [farm.worker]), tmp_path)
    assert [each.name for each in config.machines] == ["box"]
    await farm.start()
    assert not farm.managed.has_room() and farm.manager.machines.machines == {}
    await farm.stop()
