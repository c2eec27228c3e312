"""Workers on demand in a whole process layer: requests wait for them, and are built when they can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.interfaces import LatentWorkerFailedToSubstantiate
from buildbot.process.factory import BuildFactory
from buildbot.process.services import ProcessLayer
from buildbot.steps.shell import ShellCommand
from buildbot.test.running import Running, until
from buildbot.test.steps import ScriptedConnection
from buildbot.util.background import in_background
from buildbot.util.results import RETRY, SUCCESS
from buildbot.worker.latent import AbstractLatentWorker


class Quick(AbstractLatentWorker):
    """An instance is there at once, but for the first try."""

    build_wait_timeout = 0
    layer: Any = None
    tries = stops = 0

    async def start_instance(self, build: Any) -> None:
        self.tries += 1
        if self.tries == 1:
            self.quarantine_timeout = 0.01
            raise LatentWorkerFailedToSubstantiate("not yet")
        in_background(self.layer.workers.workers[self.name].attach(ScriptedConnection()), "login")

    async def stop_instance(self, fast: bool = False) -> None:
        self.stops += 1


async def test_requests_are_served(master: Any, tmp_path: Path) -> None:
    """Requests of two builders wait through a start that fails, a quarantine and each other; each ends with success,
    and every instance is stopped."""
    layer = ProcessLayer(Running(master, tmp_path))  # type: ignore[arg-type]
    worker = Quick("w", "p", max_builds=1)
    worker.layer = layer
    factory = BuildFactory([ShellCommand(command="true")])
    builders = [BuilderConfig(name=name, workernames=["w"], factory=factory) for name in "ab"]
    await layer.start(MasterConfig(tmp_path, workers=[worker], builders=builders))
    data = master.data
    await data.update.addBuildset(sourcestamps=[{"codebase": ""}], reason="", builderNames=["a", "b"])

    async def all_built() -> bool:
        requests = await data.get({}, ("buildrequests",))
        return all(request["complete"] for request in requests) and worker.stops == worker.tries

    await until(all_built)
    builds = await data.get({"order": ["buildid"]}, ("builds",))
    assert [build["results"] for build in builds] == [RETRY, SUCCESS, SUCCESS]
    assert builds[0]["state_string"] == "worker not available: not yet"
    (row,) = await data.get({}, ("workers",))
    assert (row["state_string"], row["quarantined_until"]) == ("started when it is needed", None)
    await layer.stop()
