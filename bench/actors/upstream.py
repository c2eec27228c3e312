"""The actor of upstream Buildbot: a real, started master without web server, in upstream's own virtual environment.

    VENV/bin/python -P upstream.py ROOT DATABASE_URL DIRECTORY

ROOT is the checkout; it may come into ``sys.path`` only behind upstream's package, which has the name of ours.
"""

from __future__ import annotations

import datetime
import importlib
import itertools
import os
import sys
import time
from pathlib import Path
from typing import Any

import buildbot  # upstream's: see below

if not Path(str(buildbot.__file__)).is_relative_to(sys.prefix):
    sys.exit(f"{buildbot.__file__} is not the package of {sys.prefix}")
sys.path.append(sys.argv[1])

from bench import samples
from bench.actors.asynchronous import Operation, reactor, serve


def _upstream(module: str) -> Any:
    return importlib.import_module(f"buildbot.{module}")


class Upstream:
    """Buildbot as it comes from PyPI, with the message queue of one process and no builders configured."""

    def __init__(self, url: str, directory: str) -> None:
        self._url = url
        self._directory = directory
        self.ids: list[int] = []
        self.operations: dict[str, Operation] = {
            "addChange": self._add_change,
            "addBuildset_1": lambda: self._add_buildset(1),
            "addBuildset_10": lambda: self._add_buildset(10),
            "claim_1": lambda: self._claim_and_complete(1),
            "claim_100": lambda: self._claim_and_complete(100),
            "setState": self._set_state,
            "getBuild": lambda: self._master.db.builds.getBuild(self._next_id()),
            "dataGetBuild": lambda: self._master.data.get(("builds", str(self._next_id()))),
            "getState": lambda: self._master.db.state.getState(self._object, samples.state_name(1)),
            "getChange": lambda: self._master.db.changes.getChange(self._next_id()),
            "getChange_cached": lambda: self._master.db.changes.getChange(17),
            "lifecycle": self._live,
            "pending_100": self._get_pending,
            "pending_10000": self._get_pending,
        }
        self._master: Any = None
        self._object = 0
        self._kept: Any = None
        self._numbers = itertools.count()
        self._tag = f"r{int(time.time()):x}_"
        self._chunk = samples.chunk()
        self._next_id = samples.ids_in_turn().__next__

    async def open(self) -> None:
        """As ``Implementation.open``."""
        config = {
            "multiMaster": True,
            "buildbotNetUsageData": None,
            "db_url": self._url,
            "mq": {"type": "simple"},
            "www": {},
            "protocols": {},
            "collapseRequests": False,
        }
        os.makedirs(self._directory, exist_ok=True)
        self._master = _upstream("master").BuildMaster(self._directory, reactor=reactor, config_loader=_loader(config))
        self._master.config.db.db_url = self._url
        await self._master.startService()
        if not (self._master.masterid and self._master.running):
            raise RuntimeError(f"upstream's master did not start; see {self._directory}")
        self._object = await self._master.db.state.getObjectId("bench", "Bench")
        await self._master.db.sourcestamps.findSourceStampId(**samples.STAMP)
        for _ in range(50):
            await self._set_state()
        self._kept = await self._master.db.changes.getChange(17)

    async def idle(self) -> float:
        """Upstream does not wait for several of its own events, whose work belongs to the call."""
        team = self._master.db.pool._pool._team
        since = time.perf_counter()
        quiet = 0
        while quiet < 6:
            load = team.statistics()
            if load.busyWorkerCount or load.backloggedWorkCount:
                quiet = 0
            else:
                if quiet == 0:
                    since = time.perf_counter()
                quiet += 1
            await _later(0.002)
        return since

    def statements(self) -> None:
        """Not counted."""
        return

    async def _add_change(self) -> None:
        await self._master.data.updates.addChange(
            author=samples.AUTHOR,
            committer=samples.AUTHOR,
            files=list(samples.FILES),
            comments=samples.COMMENTS,
            revision=f"{self._tag}{next(self._numbers)}",
            branch=samples.BRANCH,
            project=samples.PROJECT,
            codebase="",
            repository=samples.REPOSITORY,
            when_timestamp=int(time.time()),
            properties=dict(samples.CHANGE_PROPERTIES),
        )

    async def _add_buildset(self, builders: int) -> None:
        await self._master.data.updates.addBuildset(
            waited_for=False,
            scheduler="s",
            sourcestamps=[dict(samples.STAMP)],
            reason="bench",
            properties=dict(samples.BUILDSET_PROPERTIES),
            builderids=list(range(1, builders + 1)),
        )

    async def _claim_and_complete(self, count: int) -> None:
        ids = [self.ids.pop() for _ in range(count)]
        await self._master.data.updates.claimBuildRequests(ids)
        await self._master.data.updates.completeBuildRequests(ids, 0)

    async def _set_state(self) -> None:
        number = next(self._numbers)
        await self._master.db.state.setState(self._object, samples.state_name(number), samples.state(number))

    async def _get_pending(self) -> None:
        await self._master.db.buildrequests.getBuildRequests(claimed=False)

    async def _live(self) -> None:
        updates = self._master.data.updates
        brid = self.ids.pop()
        assert await updates.claimBuildRequests([brid])
        buildid, _ = await updates.addBuild(builderid=brid % samples.BUILDERS + 1, buildrequestid=brid, workerid=1)
        await updates.generateNewBuildEvent(buildid)
        for number in range(samples.STEPS):
            stepid, _, _ = await updates.addStep(buildid, f"step{number}")
            await updates.startStep(stepid, locks_acquired=True)
            logid = await updates.addLog(stepid, "stdio", "s")
            for _ in range(samples.CHUNKS):
                await updates.appendLog(logid, self._chunk)
            await updates.finishLog(logid)
            await updates.finishStep(stepid, 0, False)
        await updates.finishBuild(buildid, 0)
        await updates.completeBuildRequests([brid], 0)


def _loader(config: dict[str, Any]) -> Any:
    from zope.interface import implementer

    @implementer(_upstream("interfaces").IConfigLoader)
    class Loader:
        def loadConfig(self) -> Any:
            return _upstream("config.master").MasterConfig.loadFromDict(config, "<bench>")

    return Loader()


async def _later(seconds: float) -> None:
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds)


def _log_to(path: str) -> None:
    from twisted.python import log

    log.startLogging(open(path, "a"), setStdout=False)  # noqa: SIM115 - for the life of the process


if __name__ == "__main__":
    _, _root, _url, _directory = sys.argv
    os.makedirs(_directory, exist_ok=True)
    _log_to(os.path.join(_directory, f"bench-{datetime.date.today()}.log"))
    serve(Upstream(_url, _directory))
