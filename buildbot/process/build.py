"""One build: the steps of a builder, run one after the other on a worker, for a build request.

How it can end:

- by its steps: their results, weighed by their ``flunkOn…`` and ``warnOn…`` flags, make the build's;
- stopped (`Build.stopBuild`): the running step is interrupted, further steps run only with ``alwaysRun``; CANCELLED,
  or what the caller asked for;
- its worker is lost: RETRY, nothing further runs, and the request is to be given out again;
- a write is refused with `NotClaimedError`: another master owns the request. The command on the worker is
  interrupted, and nothing more is written. `Build.run` raises the error when the worker is free.
"""

from __future__ import annotations

import ntpath
import posixpath
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import reduce
from html import escape
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from buildbot.config.builder import BuilderConfig
from buildbot.data.interfaces import Master
from buildbot.data.updates import UpdateBatch, Updates
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.interfaces import IProperties, holds_renderable, is_renderable
from buildbot.process.buildrequest import BuildRequest
from buildbot.process.defaults import BuildDefaults
from buildbot.process.locks import Claim
from buildbot.process.logs import storable
from buildbot.process.properties import Properties
from buildbot.process.sourcestamp import SourceStamp
from buildbot.process.step import BuildStep, StepFactory
from buildbot.process.workerforbuilder import WorkerForBuilder
from buildbot.process.workers.connection import Connection, WorkerLostError
from buildbot.process.workers.managed import ManagedWorker, NotPreparedError
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
    computeResultAndTermination,
    statusToString,
)

_log = Logger()

#: the name of the first step of every build
PREPARATION = "worker_preparation"
#: that of the second, where the builder has locks
LOCKS = "locks_acquire"


@dataclass(frozen=True)
class _Prepared:
    """How the preparation of a build ended, to be stored with what comes next."""

    buildid: int
    stepid: int
    results: int
    text: str

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add it to a batch."""
        batch.setStepStateString(self.stepid, self.text)
        batch.finishStep(self.stepid, self.results)
        if self.results == SUCCESS:
            batch.setBuildStateString(self.buildid, "building")

    async def end(self, update: Updates) -> None:
        """Store it piece by piece."""
        await update.setStepStateString(self.stepid, self.text)
        await update.finishStep(self.stepid, self.results)
        if self.results == SUCCESS:
            await update.setBuildStateString(self.buildid, "building")


class BuilderLike(Protocol):
    """What a build reads of its builder."""

    @property
    def name(self) -> str:
        """Its name."""

    config: BuilderConfig
    defaults: BuildDefaults
    builderid: int


@implementer(IProperties)
class Build:
    """A build.

    Args:
        master: the master, for its ``data``, ``mq`` and ``reactor``.
        builder: whose build it is; its ``name``, ``config`` and ``defaults`` are used.
        request: the build request, as the Data API gives it.
        worker: the worker, reserved for this build.
        connection: that worker's connection.

    Attributes:
        buildid, number: set by `start`.
        properties: its `Properties`.
        sourcestamps: the source stamps of its buildset.
        workdir: the factory's.
        results: its result so far.
        locks: what it holds for its builder and its worker; None if that is nothing.
        locks_waited_s: how long its steps have waited for theirs.
        stop_reason: why it was asked to stop; None if it was not.
    """

    def __init__(
        self,
        master: Master,
        builder: BuilderLike,
        request: Mapping[str, Any],
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
        self.reason = ""
        self.sourcestamps: list[SourceStamp] = []
        self.changes: list[Mapping[str, Any]] = []
        self.properties = Properties()
        self.properties.build = self
        self.properties.master = master
        self.env: Mapping[str, Any] = deepcopy(dict(self.config.env))
        self.workdir: Any = self.config.factory.workdir
        self.results = SUCCESS
        self.locks: Claim | None = None
        self.locks_waited_s = 0.0
        self.stop_reason: str | None = None
        self._stop_results = CANCELLED
        self._steps: list[BuildStep] = []
        self._done: list[BuildStep] = []
        self._current: BuildStep | None = None
        self._terminate = False
        self._gathered = False
        self._of_buildset: Mapping[str, Any] = {}
        self._refused: Failure | None = None
        #: the id of the step that prepares it; how that ended, until that is stored
        self._preparation = 0
        #: while its worker is made ready, which a stop ends; and why it could not be
        self._preparing: Deferred[Connection] | None = None
        self._unprepared: NotPreparedError | None = None
        self._prepared: _Prepared | None = None
        #: what the results were without the last step
        self._before = SUCCESS, False
        self._stored: dict[str, tuple[Any, str]] = {}
        self._subscriptions: list[Any] = []
        self._finished: list[Deferred[int]] = []

    def __repr__(self) -> str:
        return f"<Build {self.builder.name!r} #{self.number}>"

    # what steps and renderables ask

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
        """Its worker, as the builder sees it."""
        return WorkerForBuilder(self.worker, self.builder)

    @property
    def currentStep(self) -> BuildStep | None:
        """The step that runs now."""
        return self._current

    @property
    def executedSteps(self) -> list[BuildStep]:
        """The steps that have ended."""
        return list(self._done)

    @property
    def requests(self) -> list[BuildRequest]:
        """The request that it is for, as users' functions see it, in a list; requests that were collapsed are not."""
        buildset = {"reason": self.reason, "sourcestamps": self.sourcestamps}
        properties = {name: self._of_buildset[name] for name in sorted(self._of_buildset)}
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
        """The files that those changes touched, each once."""
        return list(dict.fromkeys(file for change in self.changes for file in change["files"]))

    def getUrl(self) -> str:
        """The address of its page."""
        return f"{self.builder.defaults.url}#/builders/{self.builder.builderid}/builds/{self.number}"

    def getSummaryStatistic(self, name: str, summary_fn: Callable[[Any, Any], Any], initial_value: Any = None) -> Any:
        """The statistics of a name that steps have set (`BuildStep.setStatistic`), put together.

        Args:
            name: the statistic's.
            summary_fn: called with what there is so far and the next value, in the order of the steps.
            initial_value: what there is before the first; None: the first value itself.
        """
        steps = [*self._done, *([self._current] if self._current is not None else [])]
        values = [step.getStatistic(name) for step in steps if step.hasStatistic(name)]
        if initial_value is not None:
            values.insert(0, initial_value)
        return reduce(summary_fn, values) if values else None

    def getWorkerInfo(self) -> Mapping[str, Any]:
        """What the worker told about itself, and its name."""
        return {"name": self.worker.name, **self.connection.info}

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether it ends here only to be built again, or because another master has taken it over."""
        return (
            self._refused is not None
            or self.connection.lost
            or (self.stop_reason is not None and self._stop_results == RETRY)
        )

    def getProperties(self) -> Properties:
        """Its properties."""
        return self.properties

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property."""
        return self.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether it has a property of this name."""
        return self.properties.hasProperty(name)

    def setProperty(self, name: str, value: Any, source: str, runtime: bool = False) -> None:
        """Set a property; it is stored at the end of the running step."""
        self.properties.setProperty(name, value, source, runtime)

    def render(self, value: Any) -> Deferred[Any]:
        """``value`` with the renderables in it replaced."""
        return self.properties.render(value)

    def addStepsAfterCurrentStep(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps right after the one that runs now."""
        self._steps[:0] = _made(steps)

    def addStepsAfterLastStep(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps at the end."""
        self._steps += _made(steps)

    async def default_workdir(self) -> Any:
        """The directory of steps that have none of their own; a text or a renderable."""
        if callable(self.workdir) and not is_renderable(self.workdir):
            return await resolved(self.workdir(self.getAllSourceStamps()))
        return self.workdir

    async def save_properties(self) -> None:
        """Store the properties that are new or changed since the last time."""
        changed, now = self._changed_properties()
        if changed:
            await self.master.data.update.setBuildProperties(self.buildid, self._without_secrets(changed))
            self._stored = now

    def gather_properties(self, batch: UpdateBatch) -> None:
        """Add the properties that are new or changed to a batch."""
        changed, now = self._changed_properties()
        if changed:
            stored = self._without_secrets(changed)
            batch.setBuildProperties(self.buildid, stored).addCallback(self._properties_stored, now)

    def _changed_properties(self) -> tuple[dict[str, tuple[Any, str]], dict[str, tuple[Any, str]]]:
        now = self.properties.asDict()
        return {name: value for name, value in now.items() if self._stored.get(name) != value}, now

    def _without_secrets(self, properties: Mapping[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
        """Properties as they are stored; steps go on with the values themselves."""
        redactor = self.properties.redactor
        return {
            redactor.clean(name): (redactor.clean_value(value), redactor.clean(source))
            for name, (value, source) in properties.items()
        }

    def _kept(self, text: str) -> str:
        """``text`` as it is stored."""
        return storable(self.properties.redactor.clean(text))

    def _properties_stored(self, _: object, now: dict[str, tuple[Any, str]]) -> None:
        self._stored = now

    def write_failed(self, failure: Failure) -> None:
        """A write in the background failed; if the build is not ours any more, what runs is interrupted."""
        if failure.check(NotClaimedError) and self._refused is None:
            self._refused = failure
            in_background(self._interrupt("another master took the build over"), f"interruption of {self!r}")

    # its life

    async def start(self) -> None:
        """Begin: its row is in the database when this returns. Raises what keeps it from starting."""
        brid = self.request["buildrequestid"]
        try:
            await self._follow("buildrequests", brid, "cancel")
            await self._begin(brid)
            await self._follow("builds", self.buildid, "stop")
            row = await self.master.data.get({}, ("builds", self.buildid))
            self.number = row["number"]
            if self.locks is not None:
                self.locks.owner = f"{self.builder.name} #{self.number}"
        except BaseException:
            await self._unfollow()
            raise

    async def run(self) -> int:
        """Run to the end.

        Returns:
            The result code; RETRY if the worker was lost. What remains is to store it.

        Raises:
            NotClaimedError: this master does not own the build any more.
        """
        try:
            await self._obey_earlier_stop()
            if not await self._is_wanted():
                await self._set_state("build successful")
                return SKIPPED
            await self._prepare()
            if self.results == SUCCESS and (holds_renderable(self.config.locks) or self.config.locks):
                await self._note_locks()
            last = await self._run_steps()
            await self._check_refused()
            await self._store_last(last)
        except NotClaimedError:
            raise
        except Exception as problem:
            _log.failure("{build} failed", build=self)
            self.results = RETRY if is_unavailable(problem) else EXCEPTION
            await self._say_exception()
        finally:
            await self._unfollow()
        return self.results

    @deferred
    async def stopBuild(self, reason: str = "no reason given", results: int = CANCELLED) -> None:
        """Stop it; it ends with ``results``. What it runs is interrupted; the first call counts."""
        await self.stop(reason, results)

    async def stop(self, reason: str, results: int = CANCELLED) -> None:
        """`stopBuild` as a coroutine."""
        if self.stop_reason is not None:
            return
        self.stop_reason, self._stop_results = reason, results
        await self._interrupt(reason)

    async def _interrupt(self, reason: str) -> None:
        if self._preparing is not None:
            self._preparing.cancel()
        if self._current is not None:
            await self._current.run_in_build.interrupt(reason)

    async def _follow(self, *control: str | int) -> None:
        """Obey requests to stop."""
        filter = ("control", *map(str, control))
        self._subscriptions.append(await self.master.mq.startConsuming(self._on_control, filter))

    async def _unfollow(self) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await maybeDeferred(subscription.stopConsuming)

    async def _obey_earlier_stop(self) -> None:
        """Look whether somebody wanted it stopped before it could hear of that."""
        db = self.master.db
        unfinished = await db.pool.read(db.builds.thdUnfinished, [self.request["buildrequestid"]])
        for buildid, reason, _ in unfinished:
            if buildid == self.buildid and reason is not None:
                await self.stop(reason)

    def _on_control(self, key: tuple[str, ...], message: dict[str, Any]) -> None:
        in_background(self.stop(message.get("reason") or "no reason"), f"stop of {self!r}")

    async def _begin(self, brid: int) -> None:
        """Store that it begins, with its first step, the preparation; without it if it may turn out not to run."""
        update, workerid = self.master.data.update, self.worker.workerid
        if self.config.do_build_if is not None:
            self.buildid = await update.newBuild(brid, workerid=workerid)
            return
        batch = update.batch()
        build = batch.newBuild(brid, workerid=workerid)
        step = batch.newStep(batch.result(build), PREPARATION)
        batch.startStep(batch.result(step, "stepid"))
        batch.setBuildStateString(batch.result(build), "preparing worker")
        if await self._stored_together(batch):
            self.buildid, self._preparation = await build, (await step)["stepid"]
        else:
            self.buildid = await update.newBuild(brid, workerid=workerid)

    async def _stored_together(self, batch: UpdateBatch) -> bool:
        """Store a batch; False if something in it was refused, so that its pieces are to be tried one by one."""
        try:
            await batch.send()
        except NotClaimedError:
            raise
        except Exception as problem:
            if is_unavailable(problem):
                raise
            _log.debug("{build}: stored piece by piece, for {problem}", build=self, problem=problem)
            return False
        return True

    async def _is_wanted(self) -> bool:
        """What ``do_build_if`` says. A build that it does not want has no steps and stores no properties."""
        if self.config.do_build_if is None:
            return True
        await self.gather()
        return bool(await resolved(self.config.do_build_if(self)))

    async def _prepare(self) -> None:
        """Step 0: gather what the build is about, and see whether its worker is there."""
        update = self.master.data.update
        if not self._preparation:
            step = await update.newStep(self.buildid, PREPARATION)
            self._preparation = step["stepid"]
            await update.startStep(self._preparation)
            await self._set_state("preparing worker")
        results, text = SUCCESS, f"worker {self.workername} ready"
        try:
            await self.gather()
            await self._make_ready()
            batch = update.batch()
            self.gather_properties(batch)
            batch.setBuildStateString(self.buildid, "pinging worker")
            stored = ensureDeferred(self._stored_together(batch))
            alive = await self.worker.check_alive(self.connection)  # while that is stored
            if not await stored:
                await self.save_properties()
                await self._set_state("pinging worker")
            if not alive:
                raise WorkerLostError("it does not answer")
        except WorkerLostError as problem:
            results, text = RETRY, f"worker {self.workername} lost: {problem}"
        except NotClaimedError:
            raise
        except CancelledError:  # stopped while its worker was made ready
            results, text = CANCELLED, "stopped before the worker was ready"
        except NotPreparedError as problem:
            self._unprepared = problem
            results, text = EXCEPTION, "error while worker_prepare"
            await self._say_unprepared(problem)
        except Exception as problem:
            _log.failure("{build} could not be prepared", build=self)
            results, text = RETRY if is_unavailable(problem) else EXCEPTION, f"preparation failed: {problem}"
        self._prepared = _Prepared(self.buildid, self._preparation, results, self._kept(text))
        if results == SUCCESS:
            self._steps = self.config.factory.make_steps()
        self.results = results if self._unprepared is None else self._unprepared.results

    async def _make_ready(self) -> None:
        """Have the worker made ready, and note what it tells about itself."""
        self._preparing = ensureDeferred(self.worker.prepare(self, self.connection))
        if self.stop_reason is not None and not self._preparing.called:
            self._preparing.cancel()  # a worker that is there runs the steps that always run
        try:
            connection = await self._preparing
        finally:
            self._preparing = None
        if connection is not self.connection:
            self.connection = connection
            given = {**self.worker.config.properties, **self.config.properties}
            self._set_directories(leave=given)

    async def _say_unprepared(self, problem: NotPreparedError) -> None:
        """Keep the details of why the worker could not be made ready, for people and for pages."""
        text = problem.details or str(problem)
        for name, kind, content in (("err.text", "t", text), ("err.html", "h", f"<pre>{escape(text)}</pre>")):
            update = self.master.data.update
            logid = await update.newLog(self._preparation, name, kind)
            await update.appendLog(logid, storable(content).rstrip("\n") + "\n")
            await update.finishLog(logid)

    def _set_directories(self, leave: Collection[str] = ()) -> None:
        """Properties with the worker's directory and the builder's in it, as far as they are known."""
        info = self.connection.info
        if isinstance(info.get("basedir"), str):
            join = ntpath.join if info.get("system") == "nt" else posixpath.join
            values = {"basedir": info["basedir"]}
            directory = self.worker.builds.get(self.builder.name)
            if directory is not None:
                values["builddir"] = join(info["basedir"], directory)
            for name in values.keys() - set(leave):
                self.properties.setProperty(name, values[name], "Worker")

    async def _note_locks(self) -> None:
        """A step that says that the build has its builder's locks: it got them before it was started."""
        update = self.master.data.update
        batch = update.batch()
        self._gather_end(batch, None)
        step = batch.newStep(self.buildid, LOCKS)
        stepid = batch.result(step, "stepid")
        batch.startStep(stepid)
        batch.setStepStateString(stepid, "locks acquired")
        batch.finishStep(stepid, SUCCESS)
        if await self._stored_together(batch):
            self._end_stored(None)
            return
        await self._end_carefully(None)
        row = await update.newStep(self.buildid, LOCKS)
        await update.startStep(row["stepid"])
        await update.setStepStateString(row["stepid"], "locks acquired")
        await update.finishStep(row["stepid"], SUCCESS)

    async def gather(self) -> None:
        """Source stamps, changes and properties. Later sources win over earlier ones, defaults never do."""
        if self._gathered:
            return
        self._gathered = True
        get = self.master.data.get
        bsid = self.request["buildsetid"]
        buildset = await get({}, ("buildsets", bsid))
        self.reason = buildset["reason"]
        self.sourcestamps = [SourceStamp(stamp) for stamp in buildset["sourcestamps"]]
        for stamp in self.sourcestamps:
            self.changes += await get({}, ("sourcestamps", stamp["ssid"], "changes"))
        properties = self.properties
        for change in self.changes:
            for name, (value, source) in change["properties"].items():
                properties.setProperty(name, value, source)
        self._of_buildset = await get({}, ("buildsets", bsid, "properties"))
        for name, (value, source) in self._of_buildset.items():
            properties.setProperty(name, value, source)
        if len(self.sourcestamps) == 1:
            for name in ("branch", "revision", "repository", "project", "codebase"):
                properties.setProperty(name, self.sourcestamps[0][name], "Build")
        properties.setProperty("buildername", self.builder.name, "Builder")
        properties.setProperty("builderid", self.builder.builderid, "Builder")
        if self.number:
            properties.setProperty("buildnumber", self.number, "Build")
        properties.setProperty("workername", self.workername, "Worker")
        owners = [*self.blamelist(), properties.getProperty("owner")]
        if any(owners):
            properties.setProperty("owners", sorted({owner for owner in owners if owner}), "Build")
        self._set_directories()
        for source, values in (
            ("Builder", self.config.properties),
            ("Worker", self.worker.config.properties),
        ):
            properties.update(await self.render(dict(values)), source)
        for source, values in (
            (self.builder.defaults.source, self.builder.defaults.properties),
            ("Builder", self.config.defaultProperties),
            ("Worker", self.worker.config.defaultProperties),
        ):
            missing = {name: value for name, value in values.items() if name not in properties}
            properties.update(await self.render(missing), source)

    async def _run_steps(self) -> BuildStep | None:
        """Run the steps; the last one, if its end is not stored yet.

        What ends and what begins then is one transaction. If that cannot be stored as it is, the end is stored piece
        by piece, which may change how the step ended, and so what comes next.
        """
        last: BuildStep | None = None
        while True:
            await self._check_refused()
            step = await self._next_step()
            if step is None:
                return last
            self._current = step  # from now on it is interrupted if the build is stopped
            try:
                await step.run_in_build.prepare(self)
                if not await self._store_turn(last, step):
                    self._steps.insert(0, step)
                    last = None
                    continue
                last = None
                await step.run_in_build.to_end()
            finally:
                self._current = None
            self._done.append(step)
            self._before = self.results, self._terminate
            self._weigh(step)
            if step.run_in_build.end.is_unstored:
                last = step

    async def _next_step(self) -> BuildStep | None:
        while self._steps and not self.connection.lost:
            step = self._steps.pop(0)
            if not (self._terminate or self.stop_reason is not None) or await step.run_in_build.always(self):
                return step
        return None

    async def _store_turn(self, last: BuildStep | None, step: BuildStep) -> bool:
        """Store the end of a step and the beginning of the next; False if the end was stored otherwise, and no more."""
        batch = self.master.data.update.batch()
        self._gather_end(batch, last)
        row = step.run_in_build.gather_beginning(batch)
        if await self._stored_together(batch):
            self._end_stored(last)
            step.run_in_build.has_begun(await row)
            return True
        if await self._end_carefully(last):
            return False
        await step.run_in_build.store_beginning()
        return True

    def _gather_end(self, batch: UpdateBatch, last: BuildStep | None) -> None:
        if self._prepared is not None:
            self._prepared.gather_end(batch)
        if last is not None:
            last.run_in_build.end.gather(batch)

    def _end_stored(self, last: BuildStep | None) -> None:
        self._prepared = None
        if last is not None:
            last.run_in_build.end.stored()

    async def _end_carefully(self, last: BuildStep | None) -> bool:
        """Store the end of a step piece by piece, and weigh it again; False if there was none."""
        if self._prepared is not None:
            prepared, self._prepared = self._prepared, None
            await prepared.end(self.master.data.update)
        if last is None:
            return False
        await last.run_in_build.end.store_piecewise()
        self.results, self._terminate = self._before
        self._weigh(last)
        return True

    async def _store_last(self, last: BuildStep | None) -> None:
        """Store the end of the last step, what remains of properties, and what the build came to."""
        self._conclude()
        batch = self.master.data.update.batch()
        self._gather_end(batch, last)
        if last is None:
            self.gather_properties(batch)
        batch.setBuildStateString(self.buildid, self._kept(await self._final_text()))
        if await self._stored_together(batch):
            self._end_stored(last)
            return
        await self._end_carefully(last)
        self._conclude()
        await self.save_properties()
        await self._set_state(await self._final_text())

    def _conclude(self) -> None:
        if self.stop_reason is not None:
            self.results = self._stop_results
        elif self.connection.lost:
            self.results = RETRY

    def _weigh(self, step: BuildStep) -> None:
        """Let a step's result count."""
        if step.results is not None:
            self.results, ends = computeResultAndTermination(step, step.results, self.results)
            self._terminate = self._terminate or ends

    async def _check_refused(self) -> None:
        if self._refused is not None:
            self._refused.raiseException()

    async def _set_state(self, text: str) -> None:
        await self.master.data.update.setBuildStateString(self.buildid, self._kept(text))

    async def _say_exception(self) -> None:
        """Show that the build itself failed, not a step; why stands in the master's log."""
        try:
            await self._set_state("build exception")
        except NotClaimedError:
            raise
        except Exception:
            _log.failure("the end of {build} could not be shown", build=self)

    async def _final_text(self) -> str:
        if self.stop_reason is not None:
            return f"{statusToString(self.results)}: {self.stop_reason}"
        if self._unprepared is not None:
            return str(self._unprepared)
        if self.connection.lost:
            return f"retry: worker {self.workername} was lost"
        if self.results == SUCCESS:
            return "build successful"
        texts = [await step.run_in_build.summary_for_build() for step in self._done]
        what = {WARNINGS: "warnings", FAILURE: "failed"}.get(self.results, statusToString(self.results))
        return " ".join([what, *filter(None, texts)])


def _made(steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> list[BuildStep]:
    return [step.build() if isinstance(step, StepFactory) else step for step in steps]
