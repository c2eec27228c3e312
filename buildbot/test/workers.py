"""Workers on demand in tests: a clock that the test moves, and an agent that logs in when the test says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.workers.manager import WorkerManager
from buildbot.test.recording import Recording
from buildbot.test.steps import ScriptedConnection


class LatentHarness:
    """A master in memory with builders ``a`` and ``b``, which run ``steps`` on one worker on demand.

    Args:
        worker: on demand, or on a machine on demand.
        steps: what the builders run.
        machines: of the configuration.

    Attributes:
        clock: the time of the master; `Clock.advance` moves it.
        master: with ``build(buildid)``, ``steps(buildid)`` and ``text(stepid, log)``, see `Recording`.
    """

    def __init__(self, worker: Any, *steps: Any, machines: Sequence[Any] = ()) -> None:
        self.master = Recording()
        self.clock = self.master.reactor = Clock()
        self.worker = worker
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self._steps = steps
        self.machines = machines
        self.builders: dict[str, Builder] = {}

    @property
    def managed(self) -> Any:
        """The worker in the running master."""
        return self.manager.workers[self.worker.name]

    def config(self, worker: Any) -> MasterConfig:
        """A configuration with this worker."""
        builders = [
            BuilderConfig(name=name, workernames=[worker.name], factory=BuildFactory(self._steps)) for name in "ab"
        ]
        for each in builders:
            self.builders.setdefault(each.name, Builder(self.master, each, len(self.builders) + 1, self.manager))
        return MasterConfig(Path(), workers=[worker], builders=builders, machines=self.machines, protocols={})

    async def start(self) -> None:
        """The master begins."""
        await self.manager.start(self.config(self.worker))

    async def build(self, builder: str = "a", **properties: Any) -> int:
        """Start a build, which waits for the instance; its id."""
        given = {name: (value, "test") for name, value in properties.items()}
        request = await self.master.add_request(builder, properties=given)
        await self.builders[builder].start_build(request, self.managed)
        return self.master.newest()

    async def log_in(self, script: Any = None) -> ScriptedConnection:
        """The agent of the instance logs in; ``script`` says what its commands do, see `ScriptedConnection`."""
        connection = ScriptedConnection(script)
        await self.managed.attach(connection)
        return connection

    async def ended(self, builder: str = "a") -> None:
        """Wait until nothing is being built by a builder."""
        await self.master.until(lambda: not self.builders[builder].running)

    async def stop(self) -> None:
        """The master stops; nothing of the instance is left after that."""
        await self.manager.stop()
