"""A small farm, made by the update methods that the process layer calls; the test runs the builds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from buildbot.util.results import SUCCESS


@dataclass
class Build:
    """A running build."""

    master: Any
    buildid: int
    brid: int

    async def step(self, name: str, state: str | None = None) -> int:
        """Begin a step; gives its id."""
        update = self.master.data.update
        step = await update.newStep(self.buildid, name)
        await update.startStep(step["stepid"])
        await update.setStepStateString(step["stepid"], state or f"{name} is running")
        return int(step["stepid"])

    async def log(self, stepid: int, text: str = "", name: str = "stdio", kind: str = "s") -> int:
        """Add a log to a step; gives its id."""
        update = self.master.data.update
        logid: int = await update.newLog(stepid, name, kind)
        if text:
            await update.appendLog(logid, text)
        return logid

    async def end_step(self, stepid: int, results: int = SUCCESS, state: str = "done") -> None:
        """End a step."""
        update = self.master.data.update
        await update.setStepStateString(stepid, state)
        await update.finishStep(stepid, results)

    async def end(self, results: int = SUCCESS, state: str = "build successful") -> None:
        """End the build and its request."""
        update = self.master.data.update
        await update.setBuildStateString(self.buildid, state)
        await update.finishBuild(self.buildid, results)
        await update.completeBuildRequests([self.brid], results)


class Farm:
    """Builders and workers of one master."""

    def __init__(self, master: Any) -> None:
        self.master = master
        self.update = master.data.update
        self.builders: dict[str, int] = {}
        self.workers: dict[str, int] = {}

    async def configure(self, builders: dict[str, list[str]], workers: list[str]) -> None:
        """Configure builders (name to tags) and workers, all of which may build everything and are connected."""
        described = [
            {"name": name, "description": None, "description_format": None, "tags": tags}
            for name, tags in builders.items()
        ]
        self.builders = await self.update.setBuilders(described)
        ids = list(self.builders.values())
        self.workers = await self.update.setWorkers(dict.fromkeys(workers, ids))
        for name, workerid in self.workers.items():
            await self.update.workerConnected(workerid, {"host": f"{name}.example", "version": "4.3.0"})

    async def request(self, builder: str, reason: str = "because", **more: Any) -> int:
        """Ask for a build; gives the request's id."""
        stamps = more.pop("sourcestamps", [{"branch": "main", "revision": "a" * 40, "repository": "r", "codebase": ""}])
        _, brids = await self.update.addBuildset(
            sourcestamps=stamps, reason=reason, builderNames=[builder], properties=more.pop("properties", {}), **more
        )
        brid: int = brids[builder]
        return brid

    async def start(self, brid: int, worker: str, state: str = "building") -> Build:
        """Claim a request and begin its build."""
        assert await self.update.claimBuildRequests([brid])
        buildid: int = await self.update.newBuild(brid, workerid=self.workers[worker])
        await self.update.setBuildStateString(buildid, state)
        return Build(self.master, buildid, brid)

    async def build(self, builder: str, worker: str, **more: Any) -> Build:
        """Ask for a build and begin it."""
        return await self.start(await self.request(builder, **more), worker)
