"""Steps in tests: one builder, and a worker whose commands do what the test says, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording
from buildbot.worker.base import Worker

#: what a command answers: updates to send, and its exit status; None: it does not end by itself
Answer = tuple[Sequence[tuple[str, Any]], int | None]


class ScriptedConnection(Connection):
    """An agent in memory: runs `script`, ends a command before its start is answered, as real ones do."""

    def __init__(self, script: Callable[[str, dict[str, Any]], Answer] | None = None) -> None:
        super().__init__("memory")
        self.script = script or (lambda name, args: ([("stdout", "hello\n")], 0))
        self.started: list[tuple[str, dict[str, Any]]] = []
        self.interrupted: list[str] = []
        self.builders: list[Any] = []
        self.shut_down = False
        self.silent = False
        self.reading = True
        self.running: list[str] = []

    async def get_info(self) -> dict[str, Any]:
        self.info = {"version": "4.3.0", "system": "posix", "basedir": "/w", "admin": "Jo\n"}
        self.environ = {"HOME": "/home/jo"}
        return self.info

    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        self.builders = list(directories)

    async def say(self, text: str) -> None:
        """What is said is of no interest here."""

    async def ping(self) -> None:
        if self.lost:
            raise WorkerLostError("lost")
        if self.silent:
            await Deferred()

    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        if self.lost:
            raise WorkerLostError("lost")
        self.started.append((name, args))
        updates, rc = self.script(name, args)
        self.running.append(command_id)
        for key, value in updates:
            if key == "refuse":
                raise RemoteError(value)
            if key == "failure":
                self.complete(command_id, value)
                return
            self.update(command_id, key, value)
        if rc is not None:
            self.end(rc)

    def end(self, rc: int, command_id: str | None = None) -> None:
        """A running command ends; None: the one that was started last."""
        command_id = self.running[-1] if command_id is None else command_id
        self.running.remove(command_id)
        self.update(command_id, "rc", rc)
        self.complete(command_id, None)

    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        self.interrupted.append(why)
        if command_id in self.running:
            self.end(-1, command_id)

    async def shutdown(self) -> None:
        self.shut_down = True

    def read(self, on: bool) -> None:
        self.reading = on

    def close(self) -> None:
        pass


class StepHarness:
    """One builder ``b`` and one worker ``w`` on a recording master, in memory unless a ``state`` is given."""

    def __init__(self, *steps: Any, script: Any = None, state: Any = None, **builder: Any) -> None:
        self.master = Recording(state)
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self.connection = ScriptedConnection(script)
        self.config = BuilderConfig(name="b", workernames=["w"], factory=BuildFactory(steps), **builder)
        self.builder = Builder(self.master, self.config, 1, self.manager)
        self.finished: list[Builder] = []
        self.builder.on_finished = self._finished

    def _finished(self, builder: Builder) -> None:
        self.finished.append(builder)
        self.master.note("finished")

    async def start(self, **worker: Any) -> None:
        """The worker connects."""
        config = MasterConfig(Path(), workers=[Worker("w", "p", **worker)], builders=[self.config], protocols={})
        await self.manager.start(config)
        await self.manager.workers["w"].attach(self.connection)

    async def build(self, **stamp: Any) -> int:
        """Start a build; its id."""
        request = await self.master.add_request("b", **stamp)
        await self.builder.start_build(request, self.manager.workers["w"])
        return self.master.newest()

    async def ended(self) -> None:
        """Wait until nothing is being built."""
        await self.master.until(lambda: not self.builder.running)

    async def run(self, **stamp: Any) -> dict[str, Any]:
        """Start the worker, run one build to its end; its row."""
        await self.start()
        buildid = await self.build(**stamp)
        await self.ended()
        return self.master.build(buildid)

    async def stop(self) -> None:
        """The worker goes, and nothing is left running."""
        await self.manager.stop()
