"""A builder in the running master: it starts builds, and stores their ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import chain, repeat

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from buildbot.config.builder import BuilderConfig
from buildbot.data.interfaces import Master
from buildbot.db.exceptions import NotClaimedError
from buildbot.interfaces import SchedulerLike
from buildbot.process.build import Build
from buildbot.process.defaults import BuildDefaults
from buildbot.process.locks import Claim, Locks
from buildbot.process.properties import Properties
from buildbot.process.stoprequests import StopRequests
from buildbot.process.workers.connection import Connection
from buildbot.process.workers.managed import ManagedWorker, WorkerNotAvailableError
from buildbot.process.workers.manager import WorkerManager
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.util.background import in_background
from buildbot.util.clock import to_datetime
from buildbot.util.deferreds import Waiters, deferred

_log = Logger()

#: seconds between attempts to store a build's end while the database does not take it, the last one repeated
STORE_AGAIN_S = (1, 5, 15, 60)
#: seconds that workers have to end their commands when all builds are stopped
STOP_TIMEOUT_S = 10


class Builder:
    """A configured builder.

    Args:
        master: the master, for its ``data``, ``mq``, ``db`` and ``reactor``.
        config: its `BuilderConfig`; a reconfiguration may replace it for later builds.
        builderid: its id in the database.
        worker_manager: has the workers.

    Attributes:
        defaults: the settings of all builds; a reconfiguration replaces them.
        schedulers: the schedulers of the configuration by name, for steps that trigger them.
        locks: the locks of the master.
        stop_requests: those of the master's builds.
        running: its running builds by id.
        on_finished: called with the builder when a build has ended, its end stored and its worker free.
    """

    def __init__(self, master: Master, config: BuilderConfig, builderid: int, worker_manager: WorkerManager) -> None:
        self.master = master
        self.config = config
        self.defaults = BuildDefaults()
        self.builderid = builderid
        self.schedulers: Mapping[str, SchedulerLike] = {}
        self.locks = Locks()
        self.stop_requests = StopRequests(master)
        self.running: dict[int, Build] = {}
        self.on_finished: Callable[[Builder], None] = lambda builder: None
        self._worker_manager = worker_manager
        self._stopping = False
        self._end_waiters = Waiters()

    def __repr__(self) -> str:
        return f"<Builder {self.name!r}>"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.config.name)

    def can_start(self) -> bool:
        """Whether there is a worker that could take a build now."""
        return not self._stopping and bool(self._worker_manager.available(self.name))

    # for users' functions

    @property
    def building(self) -> list[Build]:
        """Its running builds."""
        return list(self.running.values())

    @deferred
    async def getOldestRequestTime(self) -> datetime | None:
        """When its oldest waiting request was made; None if none waits."""
        oldest = await self._first_waiting("buildrequestid")
        return None if oldest is None else to_datetime(oldest["submitted_at"])

    @deferred
    async def get_highest_priority(self) -> int | None:
        """The highest priority of its waiting requests; None if none waits."""
        urgent = await self._first_waiting("-priority")
        return None if urgent is None else int(urgent["priority"])

    @deferred
    async def getNewestCompleteTime(self) -> datetime | None:
        """When its last completed request was completed; None if there is none."""
        query = {"filters": {"complete": True}, "order": ["-buildrequestid"], "limit": 1}
        newest: list[BuildRequestDict] = await self.master.data.get(
            query, ("builders", self.builderid, "buildrequests")
        )
        return to_datetime(newest[0]["complete_at"]) if newest else None

    async def _first_waiting(self, order: str) -> BuildRequestDict | None:
        query = {"filters": {"claimed": False, "complete": False}, "order": [order], "limit": 1}
        waiting: list[BuildRequestDict] = await self.master.data.get(
            query, ("builders", self.builderid, "buildrequests")
        )
        return waiting[0] if waiting else None

    async def start_build(
        self,
        request: BuildRequestDict,
        worker: ManagedWorker,
        reserved: Connection | None = None,
        locks: Claim | None = None,
    ) -> None:
        """Start a build for a request that this master has claimed. It goes on in the background.

        Args:
            request: the build request, as the Data API gives it.
            worker: one of `WorkerManager.available`.
            reserved: the result of `ManagedWorker.reserve`, if that was called already.
            locks: the claim that the build holds to its end; released if it cannot be started.

        Raises:
            WorkerNotAvailableError: the worker went away or is busy; nothing was done.
            Exception: the build could not be stored; the worker is free again. In both cases the request is still
                claimed.
        """
        try:
            connection = worker.reserve(self.name) if reserved is None else reserved
            build: Build = self.config.factory.buildClass(self.master, self, request, worker, connection)
            build.locks = locks
            try:
                await build.start()
            except BaseException:
                worker.release(self.name)
                raise
        except BaseException:
            if locks is not None:
                locks.release()
            raise
        self.running[build.buildid] = build
        in_background(self._run_to_end(build), repr(build))

    async def properties_before(self, request: BuildRequestDict, worker: ManagedWorker) -> Properties:
        """The properties of a build of a request on a worker that are known before it begins."""
        connection = worker.connection_for_builds()
        if connection is None:
            raise WorkerNotAvailableError(f"worker {worker.name!r} is not connected")
        build = Build(self.master, self, request, worker, connection)
        await build.gather()
        return build.properties

    async def stop_all(self, reason: str, results: int) -> None:
        """Stop all running builds and start no more; returns when their ends are stored.

        A worker that does not end its command within `STOP_TIMEOUT_S` is dropped.

        Args:
            reason: shown with each build.
            results: of the builds; RETRY releases their requests.
        """
        self._stopping = True
        if not self.running:
            return
        all_ended = self._end_waiters.wait()
        for build in list(self.running.values()):
            in_background(build.stop(reason, results), f"stop of {build!r}")
        late = self.master.reactor.callLater(STOP_TIMEOUT_S, self._drop_workers, reason)
        await all_ended
        if late.active():
            late.cancel()

    async def ended(self) -> None:
        """Return when the running builds have ended by themselves, and their ends are stored."""
        if self.running:
            await self._end_waiters.wait()

    def _drop_workers(self, reason: str) -> None:
        for build in list(self.running.values()):
            build.worker.drop(build.connection, reason)

    async def _run_to_end(self, build: Build) -> None:
        """Run a build to its end, store that, and free the worker."""
        try:
            results = await build.run()
            if not build.is_end_stored:
                await self._store_end(build, results)
        except NotClaimedError:
            _log.warn("{build} was taken over by another master; it is not continued here", build=build)
        except Exception:
            _log.failure("{build} failed", build=build)
        finally:
            del self.running[build.buildid]
            build.worker.release(self.name, build.results)
            if build.locks is not None:
                build.locks.release()
            if not self.running:
                self._end_waiters.release()
            self.on_finished(self)

    async def _store_end(self, build: Build, results: int) -> None:
        """Finish the build, and complete or release its request."""
        brid = build.request["buildrequestid"]
        await self._stored(build, lambda: self.master.data.update.endBuild(build.buildid, brid, results))

    async def _stored(self, build: Build, write: Callable[[], Deferred[None]]) -> None:
        """Repeat a write until the database takes it: a request whose end is not stored would stay claimed for ever."""
        for delay_s in chain(STORE_AGAIN_S, repeat(STORE_AGAIN_S[-1])):
            try:
                await write()
                return
            except NotClaimedError:
                raise
            except Exception:
                if self._stopping:
                    raise
                _log.failure("the end of {build} could not be stored; trying again", build=build)
                await deferLater(self.master.reactor, delay_s, lambda: None)
