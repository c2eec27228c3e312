"""Workers that come and go: logins, losses, duplicates, pauses, shutdowns, new configurations."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock

from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.connection import DuplicateWorkerError, RemoteError, WorkerLostError
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording, now
from buildbot.test.running import until
from buildbot.test.steps import ScriptedConnection
from buildbot.util.results import EXCEPTION, FAILURE, RETRY
from buildbot.worker.base import Worker


class Managed:
    """A manager with workers ``w`` and ``v``, whose time the test moves."""

    def __init__(self) -> None:
        self.master = Recording()
        self.clock = self.master.reactor = Clock()
        self.manager = WorkerManager(self.master)
        self.changed: list[str] = []
        self.manager.on_change = self.changed.append

    def config(self, *builders: tuple[str, list[str]], workers: Any = None) -> Any:
        return SimpleNamespace(
            workers=workers or [Worker("w", "p"), Worker("v", "p")],
            builders=[BuilderConfig(name=name, workernames=names, factory=BuildFactory()) for name, names in builders],
            protocols={},
        )

    async def start(self, **worker: Any) -> ScriptedConnection:
        """Worker ``w`` of builders ``a`` and ``b`` logs in."""
        config = self.config(("a", ["w"]), ("b", ["w", "v"]), workers=[Worker("w", "p", **worker), Worker("v", "p")])
        await self.manager.start(config)
        return await self.login()

    async def login(self) -> ScriptedConnection:
        connection = ScriptedConnection()
        await self.manager.workers["w"].attach(connection)
        return connection

    def row(self) -> dict[str, Any]:
        return dict(self.master.get("workers", "w"))

    def able(self, builder: str) -> list[str]:
        return [worker.name for worker in self.manager.available(builder)]


@pytest.fixture
def farm() -> Managed:
    return Managed()


async def test_login_and_loss(farm: Managed) -> None:
    """A worker that logged in is connected in the database and can build; a lost one is not and cannot."""
    connection = await farm.start()
    assert connection.builders == [("a", "a"), ("b", "b")]
    assert farm.row()["connected_to"] == [{"masterid": 1}]
    assert farm.row()["workerinfo"] == {"admin": "Jo\n", "basedir": "/w", "system": "posix", "version": "4.3.0"}
    assert (farm.able("a"), farm.able("b"), farm.able("c")) == (["w"], ["w"], [])
    assert farm.changed == ["w"]
    connection.closed("cable cut")
    assert farm.row()["connected_to"] == [] and farm.able("a") == []
    await farm.login()
    assert farm.row()["connected_to"] == [{"masterid": 1}] and farm.able("a") == ["w"]


async def test_a_manager_that_stopped_starts_again(farm: Managed) -> None:
    """After a stop the same manager lets its workers in again: the master was only taken for dead."""
    connection = await farm.start()
    await farm.manager.stop()
    assert connection.lost
    assert farm.row()["connected_to"] == []
    await farm.start()
    assert farm.row()["connected_to"] == [{"masterid": 1}]
    assert farm.able("a") == ["w"]


async def test_one_build_per_builder_and_max_builds(farm: Managed) -> None:
    """An agent runs one build of a builder at a time; max_builds limits them over all builders."""
    await farm.start(max_builds=1)
    worker = farm.manager.workers["w"]
    worker.reserve("a")
    assert (farm.able("a"), farm.able("b")) == ([], [])
    worker.release("a")
    assert (farm.able("a"), farm.able("b")) == (["w"], ["w"]) and farm.changed == ["w", "w"]


async def test_duplicate(farm: Managed) -> None:
    """A second worker of a name is refused while the first answers, and replaces one that does not."""
    first = await farm.start()
    with pytest.raises(DuplicateWorkerError, match="a worker of this name is connected already, from memory"):
        await farm.login()
    assert farm.manager.workers["w"].connection is first
    first.silent = True
    second = ScriptedConnection()
    attaching = ensureDeferred(farm.manager.workers["w"].attach(second))
    farm.clock.advance(9)
    assert not attaching.called
    farm.clock.advance(1)
    await attaching
    assert farm.manager.workers["w"].connection is second and first.lost
    assert farm.row()["connected_to"] == [{"masterid": 1}]


async def test_keepalive(farm: Managed) -> None:
    """A worker that does not answer any more is noticed and dropped."""
    connection = await farm.start(keepalive_interval=100)
    farm.clock.advance(100)
    assert farm.able("a") == ["w"]
    connection.silent = True
    farm.clock.advance(100)
    assert farm.able("a") == ["w"]
    farm.clock.advance(30)
    assert farm.able("a") == [] and connection.lost and farm.row()["connected_to"] == []
    assert len(farm.clock.getDelayedCalls()) == 2  # it is expected back, and the other one is expected


async def test_no_keepalive(farm: Managed) -> None:
    """None: nothing is asked, and nothing is noticed but the end of the connection."""
    connection = await farm.start(keepalive_interval=None, missing_timeout=0)
    connection.silent = True
    farm.clock.advance(10_000)
    assert farm.able("a") == ["w"]


async def test_held_back(farm: Managed) -> None:
    """Nothing is read while its output cannot be stored; it is not taken for dead then."""
    connection = await farm.start(keepalive_interval=100)
    connection.hold_back(True)
    connection.hold_back(True)
    connection.silent = True
    connection.hold_back(False)
    assert connection.held_back and not connection.reading
    farm.clock.advance(100)
    farm.clock.advance(30)
    assert farm.able("a") == ["w"]
    connection.hold_back(False)
    assert connection.reading


async def test_master_taken_for_dead(farm: Managed) -> None:
    """When another master declared this one dead and it is back, its connected workers are in the database again."""
    await farm.start()
    await farm.master.data.update.masterStopped()
    assert farm.row()["connected_to"] == []
    await delivered(farm, ("masters", "1", "started"), farm.master.data.update.masterActive)
    assert farm.row()["connected_to"] == [{"masterid": 1}]


async def test_silent_at_login(farm: Managed) -> None:
    """An agent that says nothing does not keep the worker's place."""
    await farm.manager.start(farm.config(("a", ["w"])))
    silent = ScriptedConnection()

    async def nothing() -> dict[str, Any]:
        await Deferred()
        return {}

    silent.get_info = nothing  # type: ignore[method-assign]
    first = ensureDeferred(farm.manager.workers["w"].attach(silent))
    second = ensureDeferred(farm.login())
    farm.clock.advance(30)
    with pytest.raises(WorkerLostError, match="no answer in 30 s"):
        await first
    assert farm.manager.workers["w"].connection is await second


async def test_lost_during_login(farm: Managed) -> None:
    """A link that is lost before its login is over leaves the worker offline, in the database too."""
    await farm.manager.start(farm.config(("a", ["w"])))
    connection = ScriptedConnection()
    connected = farm.master.data.update.workerConnected

    async def lost_then(workerid: int, info: dict[str, Any]) -> None:
        connection.closed("cable cut")
        await connected(workerid, info)

    farm.master.data.update.workerConnected = lost_then
    with pytest.raises(WorkerLostError, match="lost during login"):
        await farm.manager.workers["w"].attach(connection)
    assert farm.row()["connected_to"] == [] and farm.able("a") == []


async def delivered(farm: Managed, key: tuple[str, ...], cause: Any) -> None:
    """Do something, and wait for the delivery of its event to the manager, which listened before us."""
    arrived: Deferred[None] = Deferred()
    listening = await farm.master.mq.startConsuming(lambda key, message: arrived.callback(None), key)
    await cause()
    await arrived
    await listening.stopConsuming()


async def control(farm: Managed, action: str) -> None:
    """What the page does."""
    workerid = farm.row()["workerid"]

    def cause() -> Any:
        return farm.master.data.control(action, {"reason": "why"}, ("workers", workerid))

    await delivered(farm, ("control", "worker", str(workerid), action), cause)


async def test_pause(farm: Managed) -> None:
    """A paused worker takes no build, also after it came back; unpausing says that it can."""
    connection = await farm.start()
    await control(farm, "pause")
    assert farm.able("a") == []
    connection.closed("cable cut")
    await farm.login()
    assert farm.able("a") == []
    farm.changed.clear()
    await control(farm, "unpause")
    assert farm.able("a") == ["w"] and farm.changed == ["w"]


@pytest.mark.parametrize("who", ["page", "agent"])
async def test_graceful(farm: Managed, who: str) -> None:
    """A worker that was asked to stop gets no new builds, and is shut down when its last one ends."""
    connection = await farm.start()
    worker = farm.manager.workers["w"]
    worker.reserve("a")
    await (control(farm, "stop") if who == "page" else worker.ask_graceful())
    assert farm.able("b") == [] and farm.row()["graceful"]
    assert [connection.shut_down, connection.lost] == [False, False]
    worker.release("a")
    assert [connection.shut_down, connection.lost] == [True, True]
    await farm.login()
    assert farm.able("b") == ["w"] and not farm.row()["graceful"]


async def test_stop_idle_and_kill(farm: Managed) -> None:
    """An idle worker is shut down at once; a kill does not wait for builds."""
    connection = await farm.start()
    await control(farm, "stop")
    assert connection.shut_down
    connection = await farm.login()
    farm.manager.workers["w"].reserve("a")
    await control(farm, "kill")
    assert connection.shut_down and connection.lost


async def test_quarantine_after_an_exception(farm: Managed) -> None:
    """A build that ends with an exception takes the worker out for 10 s, the next for 20 s; others end that."""
    await farm.start()
    worker = farm.manager.workers["w"]
    for wait_s in (10, 20):
        worker.reserve("a")
        worker.release("a", EXCEPTION)
        assert farm.able("b") == []
        assert farm.row()["state_string"] == "a build of a ended with an exception"
        assert farm.row()["quarantined_until"] - farm.master.wall_seconds() == pytest.approx(wait_s, abs=2)
        farm.changed.clear()
        farm.clock.advance(wait_s - 1)
        assert farm.able("b") == []
        farm.clock.advance(1)
        assert farm.able("b") == ["w"] and "w" in farm.changed
        assert (farm.row()["state_string"], farm.row()["quarantined_until"]) == (None, None)
    worker.reserve("a")
    worker.reserve("b")
    worker.release("a", EXCEPTION)
    worker.release("b", RETRY)
    assert farm.able("a") == []
    worker.builds["b"] = "b"
    worker.release("b", FAILURE)
    assert farm.able("a") == ["w"] and worker.quarantine.timeout_s == 10


async def test_longest_quarantine(farm: Managed) -> None:
    """No quarantine is longer than an hour; pause and unpause end it, and so does the master's end."""
    await farm.start()
    worker, configured = farm.manager.workers["w"], farm.manager.workers["w"].worker
    for _ in range(12):
        configured.putInQuarantine()
    assert worker.quarantine.left_s == 3600
    await control(farm, "pause")
    assert (farm.row()["paused"], farm.row()["quarantined_until"]) == (True, None)
    configured.putInQuarantine("dust")
    await control(farm, "unpause")
    assert farm.able("a") == ["w"] and farm.row()["state_string"] is None
    configured.putInQuarantine("dust")
    await farm.manager.stop()
    assert farm.row()["state_string"] is None and farm.clock.getDelayedCalls() == []


async def test_methods_for_functions_of_the_configuration(farm: Managed) -> None:
    """They get the configured worker, with attributes of its class, and may pause it, leave it alone and end it."""

    class Mine(Worker):
        speed = 3
        info = "mine"

    await farm.manager.start(farm.config(("a", ["w"]), workers=[Mine("w", "p")]))
    configured = farm.manager.workers["w"].worker
    assert (configured.speed, configured.info) == (3, "mine")
    assert not configured.isConnected() and not configured.canStartBuild()
    await farm.login()
    assert configured.isConnected() and configured.canStartBuild() and farm.manager.workers["w"].isAvailable()
    assert (configured.worker_basedir, configured.workerid) == ("/w", 1)
    assert configured.conn is farm.manager.workers["w"].connection
    await configured.pause("new disk")
    assert configured.isPaused() and not configured.canStartBuild() and farm.row()["pause_reason"] == "new disk"
    await configured.unpause()
    assert not configured.isPaused() and not farm.row()["paused"]
    configured.quarantine_timeout = 100
    configured.putInQuarantine()
    assert not configured.canStartBuild() and configured.quarantine_timeout == 200
    configured.resetQuarantine()
    assert configured.quarantine_timeout == 10 and not configured.canStartBuild()
    configured.exitQuarantine()
    assert configured.canStartBuild()
    connection = farm.manager.workers["w"].connection
    await configured.shutdown()
    assert connection is not None and connection.lost


def test_a_worker_that_no_master_has() -> None:
    """While the configuration is read it can be asked, and says that nothing can be done with it."""
    worker = Worker("w", "p")
    assert (worker.isConnected(), worker.isPaused(), worker.canStartBuild(), worker.info) == (False, False, False, {})
    worker.quarantine_timeout = 100
    with pytest.raises(RuntimeError, match="no master runs worker 'w' now"):
        worker.putInQuarantine()


@pytest.mark.parametrize("came", [False, True])
async def test_missing(farm: Managed, came: bool) -> None:
    """A worker that went away, or never came, is reported once, with the addresses to notify."""
    told: list[dict[str, Any]] = []
    listening = await farm.master.mq.startConsuming(
        lambda key, message: told.append(message), ("workers", None, "missing")
    )
    worker = Worker("w", "p", missing_timeout=60, notify_on_missing=["a@b"])
    await farm.manager.start(farm.config(("a", ["w"]), workers=[worker]))
    if came:
        connection = await farm.login()
        farm.clock.advance(100)
        connection.closed("cable cut")
        farm.clock.advance(59)
        (await farm.login()).closed("cable cut again")
    farm.clock.advance(59)
    assert farm.master.of("workerMissing") == []
    farm.clock.advance(100)
    ((workerid, masterid, last, notify),) = farm.master.of("workerMissing")
    assert (workerid, masterid, notify) == (1, 1, ["a@b"])
    assert time.strptime(last)
    await until(lambda: succeed(told))
    assert told[0]["name"] == "w" and told[0]["notify"] == ["a@b"] and told[0]["last_connection"] == last
    await listening.stopConsuming()


async def test_reconfigure(farm: Managed) -> None:
    """New builders reach a connected worker; a removed one stays on its list until its build has ended."""
    connection = await farm.start()
    worker = farm.manager.workers["w"]
    worker.reserve("a")
    await farm.manager.reconfigure(farm.config(("b", ["v"]), ("c", ["w"])))
    assert connection.builders == [("a", "a"), ("c", "c")]
    assert (farm.able("a"), farm.able("b"), farm.able("c")) == ([], [], ["w"])
    worker.release("a")
    assert connection.builders == [("c", "c")]
    await farm.manager.reconfigure(farm.config(("b", ["v"]), workers=[Worker("v", "p")]))
    assert connection.lost and list(farm.manager.workers) == ["v"]
    assert farm.row()["connected_to"] == []
    with pytest.raises(RemoteError, match="not wanted any more"):
        await worker.attach(ScriptedConnection())


@pytest.mark.parametrize("moment", ["say", "workerConnected"])
async def test_reconfigure_during_a_login(farm: Managed, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that logs in while the configuration changes knows its new builders before it takes builds."""
    await farm.manager.start(farm.config(("a", ["w"])))
    connection = ScriptedConnection()
    whose = connection if moment == "say" else farm.master.data.update
    before = getattr(whose, moment)

    async def changed_meanwhile(*args: Any) -> None:
        await farm.manager.reconfigure(farm.config(("c", ["w"])))
        await before(*args)

    monkeypatch.setattr(whose, moment, changed_meanwhile)
    await farm.manager.workers["w"].attach(connection)
    assert farm.able("c") == ["w"] and connection.builders == [("c", "c")]


async def test_agents_that_hang(farm: Managed) -> None:
    """A new configuration waits for all agents at the same time: ten that hang cost it 30 seconds."""
    names = [f"hangs{number}" for number in range(10)]
    workers = [Worker(name, "p", keepalive_interval=None, missing_timeout=0) for name in names]
    await farm.manager.start(farm.config(("a", names), workers=workers))
    connections = {name: ScriptedConnection() for name in names}

    async def hangs(directories: Any) -> None:
        await Deferred()

    for name, connection in connections.items():
        await farm.manager.workers[name].attach(connection)
        connection.set_builders = hangs  # type: ignore[method-assign]
    changing = ensureDeferred(farm.manager.reconfigure(farm.config(("b", names), workers=workers)))
    farm.clock.advance(29)
    assert not changing.called and not any(each.lost for each in connections.values())
    farm.clock.advance(1)
    await changing
    assert all(each.lost for each in connections.values())


async def test_stop(farm: Managed) -> None:
    """A stopped manager has dropped all workers, also in the database."""
    connection = await farm.start()
    await farm.manager.stop()
    assert connection.lost and farm.row()["connected_to"] == []
    assert farm.clock.getDelayedCalls() == []


async def test_refused_builders(farm: Managed) -> None:
    """A worker that does not take a new list is dropped, so that it logs in afresh."""
    connection = await farm.start()

    async def refuses(directories: Any) -> None:
        raise RemoteError("no")

    connection.set_builders = refuses  # type: ignore[method-assign]
    await farm.manager.reconfigure(farm.config(("z", ["w"])))
    assert connection.lost


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "1w"}, "Worker '1w': name must be a letter"),
        ({"name": "w" * 51}, "at most 50"),
        ({"password": None}, "Worker 'w': password must be a text that is not empty"),
        ({"max_builds": 0}, "max_builds must be at least 1, not 0"),
        ({"locks": 3}, "locks must be a list, not 3"),
        ({"keepalive_interval": -1}, "keepalive_interval must be a number above 0"),
        ({"missing_timeout": "1h"}, "missing_timeout must be a number, not '1h'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name the worker."""
    with pytest.raises(ConfigErrors) as caught:
        Worker(**{"name": "w", "password": "p", **arguments})
    assert complaint in str(caught.value)


def test_recording_is_immediate(farm: Managed) -> None:
    """The tests rely on it: the database answers at once."""
    assert now(farm.master.data.update.findWorkerId("x")) == 1
