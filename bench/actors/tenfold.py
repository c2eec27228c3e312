"""The actor of this project: ``python -m bench.actors.tenfold DATABASE_URL FINISHED``."""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

from bench import samples
from bench.actors.asynchronous import Operation, serve
from buildbot.master import StateLayer, openMaster


class Tenfold:
    """The state layer, opened as a library."""

    def __init__(self, url: str, finished: int) -> None:
        self._url = url
        self.ids: list[int] = []
        self.operations: dict[str, Operation] = {
            "addChange": self._add_change,
            "addBuildset_1": lambda: self._add_buildset(1),
            "addBuildset_10": lambda: self._add_buildset(10),
            "claim_1": lambda: self._claim_and_complete(1),
            "claim_100": lambda: self._claim_and_complete(100),
            "setState": self._set_state,
            "getBuild": lambda: self._master.db.builds.getBuild(self._next_id()),
            "dataGetBuild": lambda: self._master.data.get(None, ("builds", self._next_id())),
            "getState": lambda: self._master.db.state.getState(self._object, samples.state_name(1)),
            "getChange": lambda: self._master.db.changes.getChange(self._next_id()),
            "getChange_cached": lambda: self._master.db.changes.getChange(17),
            "lifecycle": self._live,
            "pending_100": self._get_pending,
            "pending_10000": self._get_pending,
        }
        self._master: StateLayer
        self._object: int
        self._kept: Any = None
        self._numbers = itertools.count()
        self._tag = f"r{int(time.time()):x}_"
        self._chunk = samples.chunk()
        self._next_id = samples.ids_in_turn(finished).__next__

    async def open(self) -> None:
        """As ``Implementation.open``."""
        self._master = await openMaster(self._url, name="bench", upgrade=True)
        await self._master.data.update.masterActive()
        self._object = await self._master.db.state.getObjectId("bench", "Bench")
        for _ in range(50):
            await self._set_state()
        self._kept = await self._master.db.changes.getChange(17)

    async def idle(self) -> float:
        """Nothing is left behind: every call waits for its commit and its events."""
        return time.perf_counter()

    def statements(self) -> int:
        """As ``Implementation.statements``."""
        return self._master.db.pool.statements

    async def _add_change(self) -> None:
        await self._master.data.update.addChange(
            author=samples.AUTHOR,
            committer=samples.AUTHOR,
            files=samples.FILES,
            comments=samples.COMMENTS,
            revision=f"{self._tag}{next(self._numbers)}",
            branch=samples.BRANCH,
            project=samples.PROJECT,
            repository=samples.REPOSITORY,
            when_timestamp=int(time.time()),
            properties=samples.CHANGE_PROPERTIES,
        )

    async def _add_buildset(self, builders: int) -> None:
        await self._master.data.update.addBuildset(
            sourcestamps=[samples.STAMP],
            reason="bench",
            scheduler="s",
            properties=samples.BUILDSET_PROPERTIES,
            builderNames=[f"b{i + 1}" for i in range(builders)],
        )

    async def _claim_and_complete(self, count: int) -> None:
        ids = [self.ids.pop() for _ in range(count)]
        assert await self._master.data.update.claimBuildRequests(ids)
        await self._master.data.update.completeBuildRequests(ids, 0)

    async def _set_state(self) -> None:
        number = next(self._numbers)
        await self._master.db.state.setState(self._object, samples.state_name(number), samples.state(number))

    async def _get_pending(self) -> None:
        await self._master.db.buildrequests.getBuildRequests(claimed=False)

    async def _live(self) -> None:
        """The transactions of the process layer, for steps that take a while."""
        update = self._master.data.update
        brid = self.ids.pop()
        assert await update.claimBuildRequests([brid])
        batch = update.batch()
        build = batch.newBuild(brid, workerid=1)
        step = batch.newStartedStep(batch.result(build), "step0")
        await batch.send()
        buildid = await build
        for number in range(1, samples.STEPS + 1):
            stepid = (await step)["stepid"]
            logid = await update.newLog(stepid, "stdio", "s")
            for _ in range(samples.CHUNKS - 1):
                await update.appendLog(logid, self._chunk)
            batch.finishLog(logid, self._chunk)
            batch.finishStep(stepid, 0)
            if number < samples.STEPS:
                step = batch.newStartedStep(buildid, f"step{number}")
            await batch.send()
        await update.endBuild(buildid, brid, 0)


if __name__ == "__main__":
    serve(Tenfold(sys.argv[1], int(sys.argv[2])))
