"""The random work of a master, all of it through the public API."""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.logger import Logger

from buildbot.data.exceptions import NotFoundError
from buildbot.db.exceptions import AlreadyClaimedError, NotClaimedError
from buildbot.util.results import FAILURE, RETRY, SUCCESS
from tests.exactness.building import Building
from tests.exactness.processes import sleep
from tests.exactness.records import Records
from tests.exactness.settings import OWN, Settings

log = Logger()

BUILDERS = [f"b{number}" for number in range(4)]
WORKERS = [f"w{number}" for number in range(4)]
_STAMP = {"branch": "main", "repository": "https://code.example/a.git"}
#: requests that wait: below it more are added, above it more are built
_ENOUGH = 12


class Work:
    """Random updates by one master, until the run settles.

    Args:
        master: the state layer of a running master.
        building: its builder with real agents, which stays configured.
    """

    def __init__(
        self, master: Any, settings: Settings, records: Records, chance: random.Random, building: Building
    ) -> None:
        self._building = building
        self._master = master
        self._update = master.data.update
        self._settings = settings
        self._records = records
        self._chance = chance
        # two lives of one master must not choose the same names
        self._names = (f"{records.name}-{os.getpid()}-{number}" for number in itertools.count())
        self._phase = settings.phase
        self._builders: list[int] = []
        self._real: list[int] = []
        self._workers: list[int] = []

    async def run(self) -> None:
        """Work; returns when everything that was begun is finished."""
        await self._configure()
        loops = [ensureDeferred(self._loop()) for _ in range(self._settings.loops)]
        watch = ensureDeferred(self._watch_phase())
        await gatherResults([*loops, watch])

    async def _watch_phase(self) -> None:
        while self._phase != "end":
            self._phase = self._settings.phase
            self._records.flush()
            await sleep(0.2)

    async def _loop(self) -> None:
        actions: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, self._build),
            (3, self._add_change),
            (4, self._add_buildset),
            (2, self._control_request),
            (1, self._control_build),
            (1, self._control_other),
            (1, self._connect),
            (1, self._configure),
            (1, self._produce),
            (1, self._trim),
        ]
        while self._phase != "end":
            action: Callable[[], Awaitable[None]] = self._build
            if self._phase != "settle":
                action = self._chance.choices([a for _, a in actions], [weight for weight, _ in actions])[0]
            await self._attempt(action)
            await sleep(self._chance.expovariate(1 / self._settings.pace_s))

    async def _attempt(self, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
            self._records.count("updates")
        except NotClaimedError:
            self._records.count("fenced")
        except (AlreadyClaimedError, NotFoundError):
            self._records.count("too late")
        except DBAPIError as error:
            log.warn("the database failed: {error}", error=error)
            self._records.count("database errors")

    # adding

    async def _add_change(self) -> None:
        revision = next(self._names)
        properties = {"n": self._chance.randint(0, 9)}
        await self._update.addChange(author="a", repository="r", branch="x", revision=revision, properties=properties)
        self._records.write("ack", noun="change", name=revision)

    async def _add_buildset(self) -> None:
        if len(await self._pending()) > _ENOUGH:
            return
        name = next(self._names)
        names = self._chance.sample(BUILDERS, self._chance.randint(0, 3))
        if self._chance.random() < 0.05:
            names.append(f"unknown {name}")
        stamp = {**_STAMP, "revision": f"r{self._chance.randint(0, 50)}"}
        await self._update.addBuildset(
            sourcestamps=[stamp],
            reason=name,
            external_idstring=name,
            builderNames=names,
            priority=self._chance.randint(-2, 2),
            properties={"p": (self._chance.random(), "test")},
        )
        self._records.write("ack", noun="buildset", name=name)

    async def _produce(self) -> None:
        name = next(self._names)
        await self._master.mq.produce(("exactness", self._records.name, "said"), name)
        self._records.write("ack", noun="message", name=name)

    async def _trim(self) -> None:
        if self._chance.random() < 0.2:
            # the judge has to see every event, and on a busy machine it may be late
            unread_s = math.ceil(time.time() - self._settings.read_at)
            await self._update.trimEvents(self._settings.keep_s + unread_s)
            self._records.count("trims of the log")

    # building

    async def _pending(self) -> list[int]:
        query = {
            "filters": {"claimed": False, "complete": False, "builderid__notin": self._real},
            "fields": ["buildrequestid"],
            "order": ["buildrequestid"],
            "limit": 20,
        }
        return [row["buildrequestid"] for row in await self._master.data.get(query, ("buildrequests",))]

    async def _build(self) -> None:
        pending = await self._pending()
        if not pending:
            return
        first = self._chance.randrange(min(4, len(pending)))
        brids = pending[first : first + self._chance.randint(1, 3)]
        self._chance.shuffle(brids)
        if not await self._update.claimBuildRequests(brids):
            self._records.count("claims lost")
            return
        self._records.count("claims won")
        for brid in brids:
            await self._attempt(lambda brid=brid: self._serve(brid))  # type: ignore[misc]

    async def _serve(self, brid: int) -> None:
        """Build a claimed request, or give it back; after any failure it does not stay claimed by a living master."""
        update, chance = self._update, self._chance
        if chance.random() < 0.1:
            await update.reclaimBuildRequests([brid])
        if chance.random() < 0.1:
            await update.unclaimBuildRequests([brid])
            return
        buildid = None
        try:
            workerid = chance.choice([None, *self._workers])
            buildid = await update.newBuild(brid, workerid=workerid)
            results = await self._run(buildid)
            if chance.random() < 0.5:
                await update.endBuild(buildid, brid, results)
                if results != RETRY:
                    self._records.write("ack", noun="completion", name=brid)
                return
            await update.finishBuild(buildid, results)
            if results == RETRY:
                await update.unclaimBuildRequests([brid])
            else:
                await update.completeBuildRequests([brid], results)
                self._records.write("ack", noun="completion", name=brid)
        except DBAPIError:
            await self._give_back(brid, buildid)
            raise

    async def _run(self, buildid: int) -> int:
        update, chance = self._update, self._chance
        await update.setBuildStateString(buildid, "building")
        if chance.random() < 0.5:
            await update.setBuildProperties(buildid, {f"p{chance.randint(0, 2)}": (chance.randint(0, 99), "test")})
        if chance.random() < 0.2:
            await update.setBuildLocksDuration(buildid, chance.randint(0, 9))
        for number in range(chance.randint(0, 2)):
            await self._step(buildid, f"step{number}")
        return chance.choices([SUCCESS, FAILURE, RETRY], [8, 2, 1])[0]

    async def _step(self, buildid: int, name: str) -> None:
        update, chance = self._update, self._chance
        stepid = (await update.newStep(buildid, name))["stepid"]
        await update.startStep(stepid)
        await update.setStepStateString(stepid, f"running {chance.random()}")
        if chance.random() < 0.3:
            await update.addStepURL(stepid, "docs", f"https://example.com/{stepid}")
        logid = await update.newLog(stepid, "stdio", "s")
        for _ in range(chance.randint(0, 2)):
            await update.appendLog(logid, "o" + "x" * chance.randint(0, 50) + "\n")
            await sleep(chance.uniform(0, 2 * self._settings.pace_s))
        await update.finishLog(logid)
        await update.finishStep(stepid, SUCCESS)

    async def _give_back(self, brid: int, buildid: int | None) -> None:
        while True:
            try:
                if buildid is not None:
                    await self._update.finishBuild(buildid, RETRY)
                await self._update.unclaimBuildRequests([brid])
                return
            except NotClaimedError:
                return
            except DBAPIError:
                await sleep(0.5)

    # control messages, and the configuration

    async def _control_request(self) -> None:
        pending = await self._pending()
        if not pending:
            return
        path = ("buildrequests", self._chance.choice(pending))
        if self._chance.random() < 0.3:
            await self._master.data.control("cancel", {"reason": "chance"}, path)
        else:
            await self._master.data.control("set_priority", {"priority": self._chance.randint(-5, 5)}, path)

    async def _control_build(self) -> None:
        query = {"fields": ["buildid", "complete", "buildrequestid"], "order": ["-buildid"], "limit": 5}
        builds = await self._master.data.get(query, ("builds",))
        if not builds:
            return
        build = self._chance.choice(builds)
        path = ("builds", build["buildid"])
        if build["complete"]:
            if len(await self._pending()) < _ENOUGH:
                await self._master.data.control("rebuild", {}, path)
        elif self._chance.random() < 0.5:
            await self._master.data.control("stop", {"reason": "chance"}, path)
        else:
            await self._master.data.control("cancel", {"reason": "chance"}, ("buildrequests", build["buildrequestid"]))

    async def _control_other(self) -> None:
        chance, control = self._chance, self._master.data.control
        if self._workers and chance.random() < 0.7:
            action = chance.choice(["pause", "unpause", "stop", "kill"])
            await control(action, {"reason": str(chance.random())}, ("workers", chance.choice(self._workers)))
        else:
            schedulerid = await self._update.findSchedulerId(f"s{chance.randint(0, 5)}")
            await control("enable", {"enabled": chance.random() < 0.5}, ("schedulers", schedulerid))
            await self._update.setSchedulerMaster(schedulerid, chance.choice([None, self._master.masterid]))

    async def _connect(self) -> None:
        if not self._workers:
            return
        workerid = self._chance.choice(self._workers)
        if self._chance.random() < 0.5:
            await self._update.workerConnected(workerid, {"version": str(self._chance.random())})
        else:
            await self._update.workerDisconnected(workerid)

    async def _configure(self) -> None:
        chance, update = self._chance, self._update
        self._real = [await update.findBuilderId(f"{OWN}{name}") for name in self._settings.ports]
        names = [name for name in BUILDERS if chance.random() < 0.8] or BUILDERS
        described = [{"name": name, "tags": [f"t{chance.randint(0, 2)}"]} for name in names]
        builders = await update.setBuilders([*described, {"name": self._building.builder}])
        own = builders.pop(self._building.builder)
        self._builders = list(builders.values())
        wanted = {name: chance.sample(self._builders, 1) for name in WORKERS if chance.random() < 0.9}
        workers = await update.setWorkers(wanted | {name: [own] for name in self._building.workers})
        self._workers = [workers[name] for name in wanted]
        if chance.random() < 0.2:
            sourceid = await update.findChangeSourceId(f"c{chance.randint(0, 3)}")
            await update.setChangeSourceMaster(sourceid, chance.choice([None, self._master.masterid]))
        if chance.random() < 0.1:
            await update.findWorkerId(f"w{chance.randint(5, 9)}")
            await update.findBuilderId(f"found {chance.randint(0, 9)}")
