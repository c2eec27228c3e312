"""The PB adapter, over a real socket, with an agent that behaves as real ones do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.spread import pb
from zope.interface import implementer

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.factory import BuildFactory
from buildbot.process.logs import Log
from buildbot.process.remotecommand import RemoteCommand, RemoteShellCommand
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.managed import directories_of_workers
from buildbot.process.workers.manager import WorkerManager
from buildbot.process.workers.transfers import MemoryReader, MemoryWriter
from buildbot.test.recording import Recording
from buildbot.util import guessing
from buildbot.worker.base import Worker
from tests.support.reactor import run

reactor: Any = _reactor
INFO = {"admin": "Jo\n", "version": "4.3.0", "system": "posix", "basedir": "/w", "environ": {"TOKEN": "secret"}}


class AgentBuilder(pb.Referenceable):
    """An agent's builder: runs the script of the test."""

    def __init__(self, agent: Agent, name: str) -> None:
        self.agent, self.name = agent, name

    def remote_startCommand(self, command: Any, command_id: str, name: str, args: dict[str, Any]) -> None:
        self.agent.commands.append((name, args))
        self.agent.running = command
        self.agent.script(command, name)

    def remote_interruptCommand(self, command_id: str, why: str) -> None:
        self.agent.interrupted.append(why)
        send(self.agent.running, {"header": "command interrupted\n"}, {"rc": -1})


class Agent(pb.Referenceable):
    """The agent's root object, and its connection."""

    def __init__(self, port: int) -> None:
        self.info: Any = INFO
        self.directories: list[Any] = []
        self.said: list[str] = []
        self.commands: list[Any] = []
        self.interrupted: list[str] = []
        self.running: Any = None
        self.shut_down = False
        self.script: Callable[[Any, str], None] = lambda command, name: send(command, {"stdout": "hello\n"}, {"rc": 0})
        self.builders: Callable[[Any], Any] = lambda told: {name: AgentBuilder(self, name) for name, _ in told}
        self.factory = pb.PBClientFactory()
        self.connector = reactor.connectTCP("127.0.0.1", port, self.factory)

    async def login(self, name: str = "w", password: str = "p") -> Any:
        return await self.factory.login(UsernamePassword(name.encode(), password.encode()), self)

    def remote_getWorkerInfo(self) -> Any:
        return self.info

    def remote_print(self, message: str) -> None:
        self.said.append(message)

    def remote_getVersion(self) -> str:
        return "4.3.0"

    def remote_setBuilderList(self, directories: list[Any]) -> Any:
        self.directories = directories
        return self.builders(directories)

    def remote_shutdown(self) -> None:
        self.shut_down = True


def send(command: Any, *updates: dict[str, Any], end: bool = True, failure: Any = None) -> None:
    """Report as agents do: without waiting for the answers."""
    for update in updates:
        command.callRemote("update", [[update, 0]]).addErrback(lambda lost: None)
    if end:
        command.callRemote("complete", failure).addErrback(lambda lost: None)


class Place:
    def __init__(self) -> None:
        self.master = Recording()
        self.manager = WorkerManager(self.master)
        self.agents: list[Agent] = []

    async def start(self) -> None:
        await self.manager.start(
            MasterConfig(
                Path(),
                workers=[Worker("w", "p")],
                builders=[BuilderConfig(name="b", workernames=["w"], factory=BuildFactory())],
                protocols={"pb": {"port": "tcp:0:interface=127.0.0.1"}},
            )
        )

    def agent(self) -> Agent:
        agent = Agent(self.manager.address.port)  # type: ignore[union-attr]
        self.agents.append(agent)
        return agent

    @property
    def connection(self) -> Connection:
        connection = self.manager.workers["w"].connection
        assert connection is not None
        return connection

    async def stop(self) -> None:
        await self.manager.stop()
        for agent in self.agents:
            agent.connector.disconnect()


@pytest.fixture
def place() -> Any:
    place = Place()
    run(place.start())
    yield place
    run(place.stop())


async def test_login(place: Place) -> None:
    """Login, worker info without the environment, builder list; then the agent is in service."""
    agent = place.agent()
    await agent.login()
    assert agent.directories == [("b", "b")]
    assert agent.said == ["attached"]
    info = place.master.get("workers", "w")["workerinfo"]
    assert info["admin"] == "Jo\n" and "environ" not in info and "secret" not in str(place.connection.info)
    assert place.manager.available("b")


async def test_objects_of_builders(place: Place) -> None:
    """The agent keeps the object of each builder as long as it is on the list, however often that is sent."""
    agent = place.agent()
    await agent.login()

    def kept() -> list[str]:
        broker: Any = agent.factory._broker
        objects = broker.localObjects.values()
        return sorted(each.object.name for each in objects if isinstance(each.object, AgentBuilder))

    assert kept() == ["b"]
    await place.connection.set_builders([("b", "b"), ("c", "c")])
    await place.connection.set_builders([("c", "c"), ("d", "d")])
    gc.collect()
    await place.connection.ping()  # earlier messages have arrived
    assert kept() == ["c", "d"]
    with pytest.raises(RemoteError, match="does not know builder 'b'"):
        await place.connection.start_command("b", "1", "shell", {})
    await place.connection.start_command("d", "1", "shell", {})
    assert agent.commands == [("shell", {})]
    agent.builders = lambda directories: ["rubbish"]
    with pytest.raises(RemoteError, match=r"answers its list of builders with \['rubbish'\]"):
        await place.connection.set_builders([("e", "e")])


def test_directories_of_workers() -> None:
    """Each worker's builders; equal ones are one object."""
    builders: list[Any] = [
        SimpleNamespace(name=name, workerbuilddir=f"{name}-d", workernames=workers)
        for name, workers in (("a", ["u", "v", "w"]), ("b", ["u", "v"]))
    ]
    found = directories_of_workers(builders)
    assert found == {"u": {"a": "a-d", "b": "b-d"}, "v": {"a": "a-d", "b": "b-d"}, "w": {"a": "a-d"}}
    assert found["u"] is found["v"]


@pytest.mark.parametrize(("name", "password"), [("w", "wrong"), ("stranger", "p"), ("", ""), ("w\udcff", "p")])
async def test_refused(place: Place, name: str, password: str) -> None:
    """A wrong name or password is answered so that the agent stays up and logs the reason."""
    agent = place.agent()
    with pytest.raises(Exception) as caught:
        await agent.factory.login(UsernamePassword(name.encode("utf-8", "surrogateescape"), password.encode()), agent)
    assert "unknown name or wrong password" in str(caught.value)
    assert caught.value.remoteType == b"buildbot.process.workers.pb.RefusedError"  # type: ignore[attr-defined]
    assert place.manager.workers["w"].connection is None


async def test_guessing(place: Place, guessing_waits: list[float]) -> None:
    """After a few wrong passwords the next one waits; the log says where they come from; the connection ends."""
    said: list[str] = []

    @implementer(ILogObserver)
    def observe(event: Any) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    for _ in range(guessing.FREE_OF_PAIR + 2):
        with pytest.raises(Exception, match="wrong password"):
            await place.agent().login(password="wrong")
    globalLogPublisher.removeObserver(observe)
    assert len(guessing_waits) == 1
    assert said.count("worker w at 127.0.0.1 refused: wrong password") == guessing.FREE_OF_PAIR + 2
    await place.agent().login()
    assert place.manager.available("b")


async def test_too_much_about_itself(place: Place) -> None:
    """A worker that sends megabytes of information about itself is refused, and they are not stored."""
    agent = place.agent()
    agent.info = {**INFO, "extra": "x" * 500_000}
    with pytest.raises(Exception, match="its information is longer than"):
        await agent.login()
    assert place.master.get("workers", "w")["workerinfo"] == {}
    agent = place.agent()
    agent.info = {**INFO, **{f"extra{number}": "x" * 600_000 for number in range(10)}}
    with pytest.raises(Exception, match=r"[Cc]onnection"):
        await agent.login()


async def test_refusal_is_an_unauthorized_login(place: Place) -> None:
    """The failure has the class that agents look for."""
    agent = place.agent()
    refused: list[Any] = []
    await agent.factory.login(UsernamePassword(b"w", b"x"), agent).addErrback(refused.append)
    assert refused[0].check("twisted.cred.error.UnauthorizedLogin")


async def test_old_agent(place: Place) -> None:
    """An agent that does not know the calls is refused with a reason."""
    agent = place.agent()
    agent.remote_getWorkerInfo = None  # type: ignore[assignment,method-assign]
    with pytest.raises(Exception, match="it does not tell about itself"):
        await agent.login()


async def test_anonymous(place: Place) -> None:
    """A login without a name is refused."""
    agent = place.agent()
    root = await agent.factory.getRootObject()
    refused: list[Any] = []
    await root.callRemote("loginAnonymous", agent).addErrback(refused.append)
    assert refused and place.manager.workers["w"].connection is None


async def test_command(place: Place) -> None:
    """A command ends before its start is answered; its updates arrive in order."""
    agent = place.agent()
    await agent.login()
    agent.script = lambda command, name: send(
        command,
        {"header": "make\n"},
        {"stdout": "a\n"},
        {"stderr": "b\n"},
        {"log": ("file", "c\n")},
        {"rc": 3},
        {"elapsed": 0.5},
        {"stdout": "late\n"},
    )
    log = Log(StoreNothing(), place.master.reactor, 1, "stdio", "s", lambda failure: None, lambda hold: None)
    lines: list[tuple[str | None, str | None]] = []
    log.subscribe(lambda stream, text: lines.append((stream, text)))
    command = RemoteShellCommand("build", ["make"], env={"A": "1"}, collectStdout=True, decodeRC={3: 1})
    command.useLog(log)
    await command.run(place.connection, "b")
    assert (command.rc, command.results(), command.stdout) == (3, 1, "a\nlate\n")
    assert lines == [
        ("h", "make\n"), ("o", "a\n"), ("e", "b\n"), ("o", "late\n"), ("h", "program finished with exit code 3\n")
    ]  # fmt: skip
    assert command.updates == {"elapsed": [0.5]}
    ((name, args),) = agent.commands
    assert (name, args["command"], args["workdir"], args["env"]) == ("shell", ["make"], "build", {"A": "1"})
    await log.finish()


class StoreNothing:
    async def newLog(self, *args: Any) -> int:
        return 1

    async def appendLog(self, *args: Any) -> None:
        return None

    async def finishLog(self, *args: Any) -> None:
        return None

    newCompleteLog = newLog


async def test_refused_command(place: Place) -> None:
    """A command that the agent does not take, and one that fails inside it."""
    agent = place.agent()
    await agent.login()

    def unknown(command: Any, name: str) -> None:
        raise pb.Error("unrecognized WorkerCommand 'dance'")

    agent.script = unknown
    with pytest.raises(RemoteError, match="Error: unrecognized WorkerCommand 'dance'"):
        await RemoteCommand("dance", {}).run(place.connection, "b")
    agent.script = lambda command, name: send(command, {"elapsed": 0}, failure=Failed())
    with pytest.raises(RemoteError, match="ValueError: bad env"):
        await RemoteCommand("shell", {}).run(place.connection, "b")
    with pytest.raises(RemoteError, match="the worker does not know builder 'other'"):
        await RemoteCommand("shell", {}).run(place.connection, "other")


def Failed() -> Any:
    from twisted.python.failure import Failure

    return pb.CopyableFailure(Failure(ValueError("bad env")))


async def test_interrupt(place: Place) -> None:
    """An interrupted command ends by itself; one that is not running any more is left alone."""
    agent = place.agent()
    await agent.login()
    started: Deferred[None] = Deferred()
    agent.script = lambda command, name: started.callback(None)

    command = RemoteCommand("shell", {})
    running = ensureDeferred(command.run(place.connection, "b"))
    await started
    await command.interrupt("enough")
    await running
    assert agent.interrupted == ["enough"] and command.rc == -1 and command.didFail()
    await command.interrupt("again")
    assert agent.interrupted == ["enough"]


async def test_lost(place: Place) -> None:
    """A link that is lost ends the command at once, and the worker is offline."""
    agent = place.agent()
    await agent.login()
    agent.script = lambda command, name: agent.connector.disconnect()
    connection = place.connection
    with pytest.raises(WorkerLostError):
        await RemoteCommand("shell", {}).run(connection, "b")
    assert connection.lost and not place.manager.available("b")
    with pytest.raises(WorkerLostError):
        await RemoteCommand("shell", {}).run(connection, "b")
    with pytest.raises(WorkerLostError):
        await connection.ping()


async def test_agent_asks_to_be_shut_down(place: Place) -> None:
    """The avatar's methods: keepalive does nothing, shutdown ends the idle agent."""
    agent = place.agent()
    avatar = await agent.login()
    await avatar.callRemote("keepalive")
    gone: Deferred[None] = Deferred()
    avatar.notifyOnDisconnect(lambda _: gone.callback(None))
    await avatar.callRemote("shutdown").addErrback(lambda lost: None)
    await gone
    assert agent.shut_down


async def test_ports(place: Place) -> None:
    """A new port is listened to instead of the old one; none closes it."""
    before = place.manager.address.port  # type: ignore[union-attr]
    config = MasterConfig(Path(), workers=[], builders=[], protocols={"pb": {"port": 0}})
    await place.manager.reconfigure(config)
    assert place.manager.address.port != before  # type: ignore[union-attr]
    config = replace(config, protocols={})
    await place.manager.reconfigure(config)
    assert place.manager.address is None


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (lambda command: send(command, {"rc": 0}, failure="rubbish"), "ended the command with 'rubbish', not with"),
        (lambda command: send(command, {"rc": 0}, failure=[1]), r"ended the command with \[1\], not with a failure"),
        (lambda command: call(command, "update", "rubbish"), "sent an update that is none: 'rubbish'"),
        (lambda command: call(command, "update", [[{"rc": 0}]]), "sent an update that is none"),
        (lambda command: call(command, "update", [["rc", 0]]), "sent an update that is none"),
        (lambda command: call(command, "update", None), "sent an update that is none: None"),
        (lambda command: send(command, {"rc": [0]}), r"sent \[0\] as the exit status"),
        (lambda command: send(command, {"stdout": 1}), "sent 1 as stdout, not a text"),
    ],
)
async def test_rubbish(place: Place, report: Callable[[Any], None], text: str) -> None:
    """Invalid messages fail the command; the agent is asked to stop it, and it ends with its completion."""
    agent = place.agent()
    await agent.login()
    agent.script = lambda command, name: report(command)
    command = RemoteShellCommand("build", ["make"])
    with pytest.raises(RemoteError, match=text):
        await command.run(place.connection, "b")
    agent.script = lambda command, name: send(command, {"rc": 0})
    again = RemoteShellCommand("build", ["make"])
    await again.run(place.connection, "b")
    assert again.rc == 0


def call(command: Any, *args: Any) -> None:
    """Call the master's end of a command with anything; the command goes on."""
    command.callRemote(*args).addErrback(lambda lost: None)


async def test_file_transfers(place: Place) -> None:
    """An agent writes to the master and reads from it; no error is raised to it, since it would hang."""
    agent = place.agent()
    await agent.login()
    taken = MemoryWriter(6)
    asked: list[Any] = []

    async def talk(command: Any, name: str) -> None:
        args = agent.commands[-1][1]
        if name == "downloadFile":
            asked.extend([await args["reader"].callRemote("read", size) for size in (2, 1000, 2)])
            asked.append(await args["reader"].callRemote("close"))
            send(command, {"rc": 0})
            return
        for method, value in (("write", b"abc"), ("write", b"def"), ("utime", (1.0, 2.0)), ("write", b"g")):
            asked.append(await args["writer"].callRemote(method, value))
        await args["writer"].callRemote("close")
        await args["writer"].callRemote("unpack")

    def script(command: Any, name: str) -> None:
        ensureDeferred(talk(command, name))

    agent.script = script
    await RemoteCommand("uploadFile", {"writer": taken}).run(place.connection, "b")
    assert (taken.content, taken.times, taken.problem) == (b"abcdef", (1.0, 2.0), "the worker sent more than 6 bytes")
    assert agent.interrupted == [taken.problem]
    await RemoteCommand("downloadFile", {"reader": MemoryReader(b"12345")}).run(place.connection, "b")
    assert asked == [None] * 4 + [b"12", b"345", b"", None]
