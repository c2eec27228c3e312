"""The beginning of a build, and its first step: it gathers the build's properties and prepares the worker."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger

from buildbot.data.updates import UpdateBatch, Updates
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.process.buildcontract import RunningBuild
from buildbot.process.buildgathering import set_directories
from buildbot.process.buildstoring import kept, set_state, stored_together
from buildbot.process.loglines import storable
from buildbot.process.logwriter import FIRST_S
from buildbot.process.workers.connection import Connection, WorkerLostError
from buildbot.process.workers.managed import NotPreparedError
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY, SUCCESS

_log = Logger()

#: the name of the first step of every build
PREPARATION = "worker_preparation"
_PINGING, _BUILDING = "pinging worker", "building"


@dataclass(frozen=True)
class Prepared:
    """The end of the preparation of a build, to be stored with the beginning of the next step.

    Attributes:
        is_begun: whether the properties that the build begins with are stored.
    """

    build: RunningBuild
    stepid: int
    results: int
    text: str
    is_begun: bool

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add it to a batch."""
        if not self.is_begun:
            _gather_beginning(self.build, batch)
        batch.finishStep(self.stepid, self.results, False, self.text)
        if self.results == SUCCESS:
            batch.setBuildStateString(self.build.buildid, _BUILDING)

    async def end(self, update: Updates) -> None:
        """Store it by single calls."""
        if not self.is_begun:
            await _store_beginning(self.build)
        await update.finishStep(self.stepid, self.results, False, self.text)
        if self.results == SUCCESS:
            await set_state(self.build, _BUILDING)


class Preparation:
    """The preparation of a build.

    Attributes:
        refused: why the worker could not be prepared, with the build's result; None if it could.
    """

    def __init__(self, build: RunningBuild) -> None:
        self.refused: NotPreparedError | None = None
        self._build = build
        self._stepid = 0
        self._is_begun = True
        #: fires when the worker is prepared; None before and afterwards
        self._making_ready: Deferred[Connection] | None = None

    async def begin(self) -> None:
        """Store the beginning of the build, with this step; without it if functions decide first whether to build."""
        build = self._build
        brid, update, workerid = build.request["buildrequestid"], build.master.data.update, build.worker.workerid
        if build.is_asked_about:
            build.buildid = await update.newBuild(brid, workerid=workerid)
            return
        batch = update.batch()
        row = batch.newBuild(brid, workerid=workerid)
        step = batch.newStartedStep(batch.result(row), PREPARATION)
        batch.setBuildStateString(batch.result(row), "preparing worker")
        if await stored_together(build, batch):
            build.buildid, self._stepid = await row, (await step)["stepid"]
        else:
            build.buildid = await update.newBuild(brid, workerid=workerid)

    async def run(self) -> Prepared:
        """Gather the build's properties, prepare its worker and check that it is alive; gives how that ended."""
        build = self._build
        update = build.master.data.update
        if not self._stepid:
            self._stepid = (await update.newStartedStep(build.buildid, PREPARATION))["stepid"]
            await set_state(build, "preparing worker")
        results, text = SUCCESS, f"worker {build.workername} ready"
        try:
            await build.gather()
            await self._make_ready()
            if not await self._check_alive():
                raise WorkerLostError("it does not answer")
        except WorkerLostError as problem:
            results, text = RETRY, f"worker {build.workername} lost: {problem}"
        except NotClaimedError:
            raise
        except CancelledError:  # stopped while its worker was prepared
            results, text = CANCELLED, "stopped before the worker was ready"
        except NotPreparedError as problem:
            self.refused = problem
            results, text = EXCEPTION, "error while worker_prepare"
            await self._say_refused(problem)
        except Exception as problem:
            _log.failure("{build} could not be prepared", build=build)
            results, text = RETRY if is_unavailable(problem) else EXCEPTION, f"preparation failed: {problem}"
        return Prepared(build, self._stepid, results, kept(build, text), self._is_begun)

    def cancel(self) -> None:
        """Stop waiting for the worker."""
        if self._making_ready is not None:
            self._making_ready.cancel()

    async def _make_ready(self) -> None:
        """Prepare the worker, and set the properties from its information."""
        build = self._build
        self._making_ready = ensureDeferred(build.worker.prepare(build, build.connection))
        if build.stop_reason is not None and not self._making_ready.called:
            self._making_ready.cancel()  # a connected worker runs the steps that always run
        try:
            connection = await self._making_ready
        finally:
            self._making_ready = None
        if connection is not build.connection:
            build.connection = connection
            set_directories(build, leave={**build.worker.config.properties, **build.config.properties})

    async def _check_alive(self) -> bool:
        """Whether the worker answers.

        The properties that the build begins with wait for `FIRST_S`: if it answers by then, they are stored with the
        end of the preparation, in one transaction.
        """
        build = self._build
        self._is_begun = False
        storing: list[Deferred[None]] = []
        late = build.master.reactor.callLater(
            FIRST_S, lambda: storing.append(ensureDeferred(self._store_beginning_now()))
        )
        try:
            return await build.worker.check_alive(build.connection)
        finally:
            if late.active():
                late.cancel()
            for each in storing:
                await each

    async def _store_beginning_now(self) -> None:
        batch = self._build.master.data.update.batch()
        _gather_beginning(self._build, batch)
        if not await stored_together(self._build, batch):
            await _store_beginning(self._build)
        self._is_begun = True

    async def _say_refused(self, problem: NotPreparedError) -> None:
        """Store why the worker could not be prepared, in a log and for pages."""
        text = problem.details or str(problem)
        for name, kind, content in (("err.text", "t", text), ("err.html", "h", f"<pre>{escape(text)}</pre>")):
            lines = storable(content).rstrip("\n") + "\n"
            await self._build.master.data.update.newCompleteLog(self._stepid, name, kind, lines)


def _gather_beginning(build: RunningBuild, batch: UpdateBatch) -> None:
    build.gather_properties(batch)
    batch.setBuildStateString(build.buildid, _PINGING)


async def _store_beginning(build: RunningBuild) -> None:
    await build.save_properties()
    await set_state(build, _PINGING)
