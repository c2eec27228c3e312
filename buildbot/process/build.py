"""One build: the steps of a builder, run one after the other on a worker, for a build request.

How it can end:

- by its steps: their results, weighed by their ``flunkOn…`` and ``warnOn…`` flags, make the build's;
- stopped (`Build.stopBuild`): the running step is interrupted, further steps run only with ``alwaysRun``; CANCELLED,
  or the caller's result;
- its worker is lost: the running step is interrupted, no further step runs; RETRY, and the request is released;
- a write is refused with `NotClaimedError`: another master owns the request. The command on the worker is
  interrupted, and nothing more is written. `Build.run` raises the error when the worker is free.

`Build` has the methods that steps and renderables call and that users' subclasses override. The work behind it is in
objects that it owns, one file each:

- `buildbot.process.buildgathering`: source stamps, changes and properties;
- `buildbot.process.buildpreparation`: its first step, which makes the worker ready;
- `buildbot.process.buildsequence`: its steps, and its result from theirs;
- `buildbot.process.buildstoring`: its batches, and its properties in the database.

`buildbot.process.stoprequests` stops it when people ask for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import reduce
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from buildbot.data.interfaces import Master
from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.interfaces import IProperties, holds_renderable, is_renderable
from buildbot.process.buildercontract import RunningBuilder
from buildbot.process.buildgathering import Gathering
from buildbot.process.buildpreparation import Preparation
from buildbot.process.buildrequest import BuildRequest
from buildbot.process.buildsequence import StepSequence
from buildbot.process.buildstoring import StoredProperties, kept, set_state, stored_together
from buildbot.process.locks import Claim
from buildbot.process.properties import Properties
from buildbot.process.sourcestamp import SourceStamp
from buildbot.process.step import BuildStep, StepFactory
from buildbot.process.workerforbuilder import WorkerForBuilder
from buildbot.process.workers.connection import Connection
from buildbot.process.workers.managed import ManagedWorker
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    statusToString,
)

_log = Logger()


@implementer(IProperties)
class Build:
    """A build.

    Args:
        master: the master, for its ``data``, ``mq`` and ``reactor``.
        builder: its builder, for its ``name``, ``config`` and ``defaults``.
        request: the build request, as the Data API gives it.
        worker: the worker, reserved for this build.
        connection: that worker's connection.

    Attributes:
        buildid, number: set by `start`.
        builderid: of the builder that it is shown under, which `start` may find to be a virtual one.
        properties: its `Properties`.
        sourcestamps: the source stamps of its buildset.
        workdir: the factory's.
        results: its result so far.
        locks: its claim to the locks of its builder and its worker; None without locks.
        locks_waited_s: the seconds that its steps have waited for their locks.
        stop_reason: why it was asked to stop; None if it was not.
        is_end_stored: whether its end is stored, with that of its request.
    """

    def __init__(
        self,
        master: Master,
        builder: RunningBuilder,
        request: BuildRequestDict,
        worker: ManagedWorker,
        connection: Connection,
    ) -> None:
        self.master = master
        self.builder = builder
        self.config = builder.config
        self.request = request
        self.worker = worker
        self.connection = connection
        self.buildid = 0
        self.number = 0
        self.builderid = builder.builderid
        self.reason = ""
        self.sourcestamps: list[SourceStamp] = []
        self.changes: list[Mapping[str, Any]] = []
        self.properties = Properties()
        self.properties.build = self
        self.properties.master = master
        self.env: Mapping[str, Any] = deepcopy(dict(self.config.env))
        self.workdir: object = self.config.factory.workdir
        self.results = SUCCESS
        self.locks: Claim | None = None
        self.locks_waited_s = 0.0
        self.stop_reason: str | None = None
        self.is_end_stored = False
        self.__stop_results = CANCELLED
        self.__refused: Failure | None = None
        self.__gathering = Gathering(self)
        self.__preparation = Preparation(self)
        self.__steps = StepSequence(self)
        self.__stored = StoredProperties(self)

    def __repr__(self) -> str:
        return f"<Build {self.builder.name!r} #{self.number}>"

    # for steps and renderables

    @property
    def builder_name(self) -> str:
        """The name of its builder."""
        return self.builder.name

    @property
    def workername(self) -> str:
        """The name of its worker."""
        return self.worker.name

    def getWorkerName(self) -> str:
        """The name of its worker."""
        return self.worker.name

    @property
    def workerforbuilder(self) -> WorkerForBuilder:
        """Its worker, for its builder."""
        return WorkerForBuilder(self.worker, self.builder)

    @property
    def currentStep(self) -> BuildStep | None:
        """The step that runs now."""
        return self.__steps.current

    @property
    def executedSteps(self) -> list[BuildStep]:
        """The steps that have ended."""
        return list(self.__steps.done)

    @property
    def requests(self) -> list[BuildRequest]:
        """Its request, for users' functions, in a list; collapsed requests are not in it."""
        buildset = {"reason": self.reason, "sourcestamps": self.sourcestamps}
        given = self.__gathering.of_buildset
        properties = {name: given[name] for name in sorted(given)}
        return [BuildRequest({**self.request, "buildset": buildset, "properties": properties}, self.builder.name)]

    def blamelist(self) -> list[str]:
        """The authors of its changes and patches, each once, sorted."""
        patches = [stamp["patch"] for stamp in self.sourcestamps if stamp["patch"] is not None]
        people = [change["author"] for change in self.changes] + [patch["author"] for patch in patches]
        return sorted({person for person in people if person})

    def getSourceStamp(self, codebase: str = "") -> SourceStamp | None:
        """Its source stamp of a codebase; None if it has none."""
        return next((stamp for stamp in self.sourcestamps if stamp["codebase"] == codebase), None)

    def getAllSourceStamps(self) -> list[SourceStamp]:
        """Its source stamps."""
        return list(self.sourcestamps)

    def allChanges(self) -> list[Mapping[str, Any]]:
        """The changes of its source stamps, as the Data API gives them."""
        return list(self.changes)

    def allFiles(self) -> list[str]:
        """The files of its changes, each once."""
        return list(dict.fromkeys(file for change in self.changes for file in change["files"]))

    def getUrl(self) -> str:
        """The address of its page."""
        return f"{self.builder.defaults.url}#/builders/{self.builderid}/builds/{self.number}"

    def getSummaryStatistic(self, name: str, summary_fn: Callable[[Any, Any], Any], initial_value: Any = None) -> Any:
        """The statistics of a name that steps have set (`BuildStep.setStatistic`), put together.

        Args:
            name: of the statistic.
            summary_fn: called with the value so far and the next one, in the order of the steps.
            initial_value: the value before the first; None: the first value itself.
        """
        steps = [*self.__steps.done, *([self.__steps.current] if self.__steps.current is not None else [])]
        values = [step.getStatistic(name) for step in steps if step.hasStatistic(name)]
        if initial_value is not None:
            values.insert(0, initial_value)
        return reduce(summary_fn, values) if values else None

    def getWorkerInfo(self) -> Mapping[str, Any]:
        """The worker's information, with its name."""
        return {"name": self.worker.name, **self.connection.info}

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether it will be built again, or another master has taken it over."""
        if self.stop_reason is not None and self.__refused is None:
            return self.__stop_results == RETRY
        return self.__refused is not None or self.connection.lost

    def getProperties(self) -> Properties:
        """Its properties."""
        return self.properties

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property."""
        return self.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether it has a property of this name."""
        return self.properties.hasProperty(name)

    def setProperty(self, name: str, value: object, source: str, runtime: bool = False) -> None:
        """Set a property; it is stored at the end of the running step."""
        self.properties.setProperty(name, value, source, runtime)

    def render(self, value: object) -> Deferred[Any]:
        """``value`` with the renderables in it replaced."""
        return self.properties.render(value)

    def addStepsAfterCurrentStep(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps right after the one that runs now."""
        self.__steps.add_next(steps)

    def addStepsAfterLastStep(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps at the end."""
        self.__steps.add_last(steps)

    async def default_workdir(self) -> object:
        """The directory of steps without one of their own; a text or a renderable."""
        if callable(self.workdir) and not is_renderable(self.workdir):
            return await resolved(self.workdir(self.getAllSourceStamps()))
        return self.workdir

    async def save_properties(self) -> None:
        """Store new and changed properties."""
        await self.__stored.save()

    def gather_properties(self, batch: UpdateBatch) -> None:
        """Add new and changed properties to a batch."""
        self.__stored.gather(batch)

    def write_failed(self, failure: Failure) -> None:
        """A write in the background failed; if this master does not own the build any more, interrupt the step."""
        if failure.check(NotClaimedError) and self.__refused is None:
            self.__refused = failure
            in_background(self.__interrupt("another master took the build over"), f"interruption of {self!r}")

    # its life

    async def start(self) -> None:
        """Begin: its row is in the database when this returns. Raises the error that keeps it from starting."""
        db, stop_requests = self.master.db, self.builder.stop_requests
        try:
            await stop_requests.follow(self)
            await self.__preparation.begin()
            stop_requests.has_begun(self)
            begun = await db.pool.read_short(db.builds.thdBegun, self.buildid)
            self.number, self.builderid, stop_reason = begun
            if self.locks is not None:
                self.locks.owner = f"{self.builder.name} #{self.number}"
            if stop_reason is not None:
                await self.stop(stop_reason)
        except BaseException:
            stop_requests.unfollow(self)
            raise

    async def run(self) -> int:
        """Run to the end.

        Returns:
            The result code, which the caller stores unless `is_end_stored`; RETRY if the worker was lost.

        Raises:
            NotClaimedError: this master does not own the build any more.
        """
        try:
            if not await self.__is_wanted():
                await set_state(self, "build successful")
                return SKIPPED
            await self.__prepare()
            if self.results == SUCCESS and (holds_renderable(self.config.locks) or self.config.locks):
                await self.__steps.note_locks()
            await self.__steps.run(self.__check_refused)
            self.__check_refused()
            await self.__store_last()
        except NotClaimedError:
            raise
        except Exception as problem:
            _log.failure("{build} failed", build=self)
            self.results = RETRY if is_unavailable(problem) else EXCEPTION
            self.__conclude()
            await self.__say_exception()
        finally:
            self.builder.stop_requests.unfollow(self)
        return self.results

    @deferred
    async def stopBuild(self, reason: str = "no reason given", results: int = CANCELLED) -> None:
        """Stop it; it ends with ``results``. Its running step is interrupted; only the first call counts."""
        await self.stop(reason, results)

    async def stop(self, reason: str, results: int = CANCELLED) -> None:
        """`stopBuild` as a coroutine."""
        if self.stop_reason is not None:
            return
        self.stop_reason, self.__stop_results = reason, results
        await self.__interrupt(reason)

    async def __interrupt(self, reason: str) -> None:
        self.__preparation.cancel()
        if self.__steps.current is not None:
            await self.__steps.current.run_in_build.interrupt(reason)

    async def __is_wanted(self) -> bool:
        """Ask the functions of builder and factory whether to build. An unwanted build has no steps and properties."""
        if not self.is_asked_about:
            return True
        await self.gather()
        wanted, skipped = self.config.do_build_if, self.config.factory.skip_build_if
        if wanted is not None and not await resolved(wanted(self)):
            return False
        return skipped is None or not await resolved(skipped(self))

    async def __prepare(self) -> None:
        """Run the first step; if it succeeds, make the steps of the factory."""
        self.__steps.prepared = prepared = await self.__preparation.run()
        if prepared.results == SUCCESS:
            self.__steps.set(self.config.factory.make_steps())
        refused = self.__preparation.refused
        self.results = prepared.results if refused is None else refused.results

    @property
    def is_asked_about(self) -> bool:
        """Whether a function decides if it is built."""
        return self.config.do_build_if is not None or self.config.factory.skip_build_if is not None

    async def gather(self) -> None:
        """Gather source stamps, changes and properties. Later sources win over earlier ones, defaults never do."""
        await self.__gathering.gather()

    async def __store_last(self) -> None:
        """Store the end of the last step, the rest of the properties, the build's state and its end.

        If that is refused, all but the build's end is stored by single calls.
        """
        self.__conclude()
        batch = self.master.data.update.batch()
        self.__steps.gather_end(batch)
        if not self.__steps.has_unstored_end:
            self.gather_properties(batch)
        batch.setBuildStateString(self.buildid, kept(self, await self.__final_text()))
        batch.endBuild(self.buildid, self.request["buildrequestid"], self.results)
        if await stored_together(self, batch):
            self.is_end_stored = True
            self.__steps.end_stored()
            return
        await self.__steps.end_piecewise()
        self.__conclude()
        await self.save_properties()
        await set_state(self, await self.__final_text())

    def __conclude(self) -> None:
        if self.stop_reason is not None:
            self.results = self.__stop_results
        elif self.connection.lost:
            self.results = RETRY

    def __check_refused(self) -> None:
        if self.__refused is not None:
            self.__refused.raiseException()

    async def __say_exception(self) -> None:
        """Show that the build itself failed, not a step, or that it was stopped; the error is in the master's log."""
        try:
            await set_state(self, "build exception" if self.stop_reason is None else await self.__final_text())
        except NotClaimedError:
            raise
        except Exception:
            _log.failure("the end of {build} could not be shown", build=self)

    async def __final_text(self) -> str:
        if self.stop_reason is not None:
            return f"{statusToString(self.results)}: {self.stop_reason}"
        if self.__preparation.refused is not None:
            return str(self.__preparation.refused)
        if self.connection.lost:
            return f"retry: worker {self.workername} was lost"
        if self.results == SUCCESS:
            return "build successful"
        texts = [await step.run_in_build.summary_for_build() for step in self.__steps.done]
        what = {WARNINGS: "warnings", FAILURE: "failed"}.get(self.results, statusToString(self.results))
        return " ".join([what, *filter(None, texts)])
