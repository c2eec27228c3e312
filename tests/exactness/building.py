"""The real builds in each master: a builder and two workers of its own, with real agents, as in the product."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

from sqlalchemy.exc import DBAPIError

from buildbot.config.builder import BuilderConfig
from buildbot.process.factory import BuildFactory
from buildbot.process.services import ProcessLayer
from buildbot.steps.shell import ShellCommand
from buildbot.worker.base import Worker
from tests.exactness.processes import sleep
from tests.exactness.records import Records
from tests.exactness.settings import OWN, OWN_WORKERS, Settings


class Building:
    """The process layer of one master, and a client that always wants a build of it.

    Args:
        master: an open state layer.
    """

    def __init__(self, master: Any, settings: Settings, records: Records) -> None:
        self._master = master
        self._settings = settings
        self._process = ProcessLayer(master)
        self.builder = f"{OWN}{records.name}"
        first = settings.first_worker(records.name)
        self.workers = [f"w{number}" for number in range(first, first + OWN_WORKERS)]
        self._port = settings.ports[records.name]

    async def start(self) -> None:
        """Let the workers in and build."""
        step = ShellCommand(command=["farm", "20", "40", "0.05"], name="print", logEnviron=False)
        builder = BuilderConfig(name=self.builder, workernames=self.workers, factory=BuildFactory([step]))
        config: Any = SimpleNamespace(
            workers=[Worker(name, "pw", max_builds=1) for name in self.workers],
            builders=[builder],
            schedulers={},
            change_source=[],
            projects=[],
            codebases=[],
            protocols={"pb": {"port": f"tcp:{self._port}:interface=127.0.0.1"}},
        )
        await self._process.start(config)

    async def stop(self) -> None:
        """Build no more."""
        await self._process.stop()

    async def declared_dead(self) -> None:
        """As the product does, before it checks in anew."""
        await self._process.declared_dead()

    async def feed(self) -> None:
        """Ask for a build whenever none waits, until the run settles."""
        while self._settings.phase == "run":
            with contextlib.suppress(DBAPIError):  # it is away for a while
                await self._ask()
            await sleep(0.3)

    async def _ask(self) -> None:
        builderid = await self._master.data.update.findBuilderId(self.builder)
        waiting = {"filters": {"builderid": builderid, "claimed": False, "complete": False}, "limit": 1}
        if not await self._master.data.get(waiting, ("buildrequests",)):
            await self._master.data.update.addBuildset(
                sourcestamps=[{"repository": "r"}], builderNames=[self.builder], reason="own"
            )
