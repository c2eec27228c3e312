"""A worker on the master's own machine: the master runs the agent in a process beside it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.interfaces import AgentHost
from buildbot.worker.base import AbstractWorker

_log = Logger()

#: seconds until an agent that ended by itself is started again; doubled each time that it ends within `SETTLED_S`
FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S = 1.0, 60.0, 60.0
#: seconds that a stopped agent has to end, before it is killed
END_S = 10.0
#: characters of an agent's output that are kept for the message about its end
_KEPT_CHARS = 2000


def _none_given(value: Any) -> Any:
    if value is not None:
        raise ValueError("cannot be given: the master makes one for the agent that it runs")
    return value


class LocalWorker(AbstractWorker):
    """A worker whose agent the master starts on its own machine, and which ends with the master.

    It needs the package ``buildbot-worker`` (``pip install 'tenfold[worker]'``), and no port in ``c['protocols']``. Its
    commands run under the master's account, in a process of their own.
    """

    positional: ClassVar[tuple[str, ...]] = ("name", "workdir")
    password: Any = argument(None, _none_given, doc="made by the master")
    workdir = argument(
        None,
        checks.optional(checks.name),
        doc="the agent's directory, relative to the master's; None: `workers/` and the name",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password = secrets.token_urlsafe(24)
        self.__agent: Agent | None = None
        if find_spec("buildbot_worker") is None:
            error(
                f"{type(self).__name__} {self.name!r} needs the package buildbot-worker, which is not installed:"
                " pip install 'tenfold[worker]'"
            )

    async def start_agent(self, host: AgentHost) -> None:
        """Start the agent, unless it runs."""
        if self.__agent is None:
            self.__agent = Agent(
                host, self.name, self.password, host.basedir / (self.workdir or f"workers/{self.name}")
            )
        self.__agent.start()

    async def stop_agent(self) -> None:
        """End the agent; returns when it is gone."""
        agent, self.__agent = self.__agent, None
        if agent is not None:
            await agent.stop()

    def take_over(self, older: object) -> bool:
        """Take the agent of an earlier configuration if it has the same directory; whether it did."""
        if not isinstance(older, LocalWorker) or older.workdir != self.workdir:
            return False
        self.__agent, older.__agent = older.__agent, None
        self.password = older.password
        return True


class Agent:
    """An agent, whose process is started again if it fails, but not if the master told it to shut down.

    Args:
        host: the master's reactor, base directory and port.
        name, password: of the worker.
        directory: the agent's base directory.
    """

    def __init__(self, host: AgentHost, name: str, password: str, directory: Path) -> None:
        self._host, self._name, self._directory = host, name, directory
        keys = {"port": host.port, "name": name, "password": password, "directory": str(directory), "keepalive_s": 600}
        self._orders = json.dumps(keys).encode() + b"\n"
        self._process: AgentProcess | None = None
        self._again: IDelayedCall | None = None
        self._pause_s = FIRST_PAUSE_S
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The id of the process; None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process, unless there is one."""
        if self._process is not None:
            return
        self._cancel()
        self._started_at = self._host.reactor.seconds()
        self._process = AgentProcess(self._orders, self._ended)
        argv = [sys.executable, "-P", str(Path(__file__).with_name("agent.py"))]
        try:
            spawned = self._host.reactor.spawnProcess(
                self._process, argv[0], argv, env=dict(os.environ), path=str(self._host.basedir)
            )
        except OSError as problem:
            self._process = None
            self._try_again(f"it could not be started: {problem}")
            return
        _log.info("worker {name}: its agent runs as process {pid}", name=self._name, pid=spawned.pid)

    async def stop(self) -> None:
        """End the process; returns when it is gone."""
        self._stopping = True
        self._cancel()
        process = self._process
        if process is None:
            return
        process.end()
        late = self._host.reactor.callLater(END_S, process.kill)
        await process.gone
        if late.active():
            late.cancel()

    def _cancel(self) -> None:
        again, self._again = self._again, None
        if again is not None and again.active():
            again.cancel()

    def _ended(self, process: AgentProcess, status: str | None) -> None:
        self._process = None
        if self._stopping:
            return
        if status is None:
            _log.info("worker {name}: its agent was shut down", name=self._name)
            return
        self._try_again(f"{status}; its output: {process.said!r}, see {self._directory}/twistd.log")

    def _try_again(self, why: str) -> None:
        reactor = self._host.reactor
        if reactor.seconds() - self._started_at > SETTLED_S:
            self._pause_s = FIRST_PAUSE_S
        _log.error(
            "worker {name}: its agent ended: {why}; it is started again in {pause} s",
            name=self._name,
            why=why,
            pause=self._pause_s,
        )
        self._again = reactor.callLater(self._pause_s, self.start)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)


class AgentProcess(ProcessProtocol):
    """The process of an agent, which ends when its stdin is closed.

    Attributes:
        said: the last `_KEPT_CHARS` of its output.
        gone: fires when it has ended.
    """

    transport: Any

    def __init__(self, orders: bytes, ended: Any) -> None:
        self.said = ""
        self.pid: int | None = None
        self.gone: Deferred[None] = Deferred()
        self._orders, self._ended = orders, ended

    def connectionMade(self) -> None:
        """Send the arguments of the agent."""
        self.pid = self.transport.pid
        self.transport.write(self._orders)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Keep its output, which it has only when something is wrong."""
        self.said = (self.said + data.decode("utf-8", "replace"))[-_KEPT_CHARS:]

    def end(self) -> None:
        """Let the agent end in good order."""
        self.transport.closeStdin()

    def kill(self) -> None:
        """Kill the process."""
        try:
            self.transport.signalProcess("KILL")
        except ProcessExitedAlready:
            _log.debug("process {pid} has ended meanwhile", pid=self.pid)

    def processEnded(self, reason: Failure) -> None:
        """The process has ended."""
        value: Any = reason.value
        code, number = getattr(value, "exitCode", None), getattr(value, "signal", None)
        status = None if code == 0 else f"signal {number}" if number else f"exit status {code}"
        self._ended(self, status)
        self.gone.callback(None)
