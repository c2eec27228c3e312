"""Real agents and Git repositories for tests of builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import ProcessProtocol

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording
from buildbot.util.results import RETRY
from buildbot.worker.base import Worker

reactor: Any = _reactor
TOOL = Path(sys.executable).with_name("buildbot-worker")


class Agent(ProcessProtocol):
    """A running agent; its output is kept."""

    def __init__(self) -> None:
        self.output = ""
        self.ended: Deferred[int | None] = Deferred()
        self._watching: list[tuple[str, Deferred[None]]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data.decode()
        for entry in list(self._watching):
            if entry[0] in self.output:
                self._watching.remove(entry)
                entry[1].callback(None)

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(reason.value.exitCode)

    def says(self, text: str) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._watching.append((text, waiting))
        self.childDataReceived(1, b"")
        return waiting

    def kill(self) -> None:
        assert self.transport is not None
        self.transport.signalProcess("KILL")


class ReapedAtEnd(FileDescriptor):
    """Reaps a child when it ends: tests run the reactor without a handler for SIGCHLD."""

    def __init__(self, pid: int) -> None:
        super().__init__(reactor)
        self._pidfd = os.pidfd_open(pid)
        self.startReading()  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        return self._pidfd

    def doRead(self) -> None:
        self.stopReading()  # type: ignore[no-untyped-call]
        os.close(self._pidfd)
        reapAllProcesses()

    def logPrefix(self) -> str:
        return "agent"


class Farm:
    """A master's process layer for one builder, and agents for it."""

    def __init__(self, tmp_path: Path, protocol: str = "pb") -> None:
        self.tmp_path = tmp_path
        self.protocol = protocol
        self.master = Recording()
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self.agents: list[Agent] = []
        self.options: list[str] = []
        self.builder: Builder

    async def start(self, *steps: Any, **builder: Any) -> None:
        config = BuilderConfig(name="runtests", workernames=["w1"], factory=BuildFactory(steps), **builder)
        await self.manager.start(
            MasterConfig(
                Path(),
                workers=[Worker("w1", "pass")],
                builders=[config],
                protocols={self.protocol: {"port": "tcp:0:interface=127.0.0.1"}},
            )
        )
        self.builder = Builder(self.master, config, 1, self.manager)

    def make(self, directory: str, password: str = "pass") -> Path:
        """An agent's directory, made unless it is there."""
        base = self.tmp_path / directory
        if not base.exists():
            port = self.manager.address_of(self.protocol).port  # type: ignore[union-attr]
            options = ["--no-logrotate", f"--protocol={self.protocol}", *self.options]
            subprocess.run(
                [TOOL, "create-worker", *options, base, f"127.0.0.1:{port}", "w1", password],
                check=True,
                capture_output=True,
            )
        return base

    def agent(self, password: str = "pass", directory: str = "w1", loud: bool = False) -> Agent:
        """Start an agent; a loud one prints its log, which otherwise goes to a file."""
        base = self.make(directory, password)
        agent = Agent()
        argv = [str(TOOL), "start", "--nodaemon", str(base)]
        if loud:  # the program that "start" runs, with another log
            argv = [
                str(TOOL.with_name("twistd")),
                "--nodaemon",
                "--no_save",
                "--logfile=-",
                "-y",
                "buildbot.tac",
            ]
        process = reactor.spawnProcess(
            agent, argv[0], argv, env=dict(os.environ, SECRET_TOKEN="hidden"), path=str(base)
        )
        ReapedAtEnd(process.pid)
        self.agents.append(agent)
        return agent

    async def connected(self) -> None:
        await self.master.until(lambda: bool(self.manager.available("runtests")))

    async def build(self, **stamp: Any) -> int:
        """Start a build of a new request; its id."""
        request = await self.master.add_request("runtests", **stamp)
        await self.builder.start_build(request, self.manager.available("runtests")[0])
        return self.master.newest()

    def ended(self) -> Deferred[None]:
        """Fires when nothing is being built any more."""
        return self.master.until(lambda: not self.builder.running)

    async def stop(self) -> None:
        await self.builder.stop_all("the test ends", RETRY)
        await self.manager.stop()
        for agent in self.agents:
            if not agent.ended.called:
                agent.kill()
            await agent.ended


class Repository:
    """A Git repository with two commits on ``main``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("file", "one\n")
        self.second = self.commit("file", "two\n")

    def git(self, *args: str) -> str:
        who = ["-c", "user.name=Jo", "-c", "user.email=jo@example.org"]
        env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
        done = subprocess.run(
            ["git", "-C", self.path, *who, *args], check=True, capture_output=True, text=True, env=env
        )
        return done.stdout.strip()

    def commit(self, name: str, content: str) -> str:
        (self.path / name).write_text(content)
        self.git("add", name)
        self.git("commit", "-q", "-m", content)
        return self.git("rev-parse", "HEAD")
