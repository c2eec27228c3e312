"""Steps of builds, and what users' own steps are made from.

A step in a configuration is a description: it remembers the arguments that it was made with, and every build makes a
fresh one from them. A user's step is a subclass with ``async def run(self)`` that returns a result code (a Deferred
will do as well). Attributes named in ``renderables`` are rendered before ``run`` is called.
"""

from __future__ import annotations

import html
import re
import traceback
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument, arguments_of, rendered_names
from buildbot.config.locks import lock_list
from buildbot.data.interfaces import Master
from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.interfaces import WorkerSetupError, holds_renderable, is_renderable
from buildbot.process import steplocks
from buildbot.process.locks import Claim
from buildbot.process.logs import CLASSES, Log, decoder_of, storable
from buildbot.process.progress import Progress, expected_seconds
from buildbot.process.properties import Properties
from buildbot.process.remotecommand import TIMEOUTS, RemoteCommand
from buildbot.process.testresults import TestResults
from buildbot.process.watched import NeverEndsError, Watched, class_name
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
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

#: longest name of a step
MAX_NAME = 50
#: seconds that a step without a command has to end after it was asked to stop
STOP_TIMEOUT_S = 60.0
#: seconds in which a step must say how it is shown at its end
SUMMARY_TIMEOUT_S = 60.0
#: names that say nothing about a step
NO_NAMES = ("generic", "shell")


class BuildStepFailed(Exception):
    """Raised by a step to end with FAILURE; the text, if any, becomes its description."""


class BuildStepCancelled(Exception):
    """Raised by a step to end with CANCELLED."""


class ILogObserver(Protocol):
    """What sees a log while it is written; see `buildbot.process.logobserver`."""

    def setStep(self, step: Any) -> None:
        """The step that it is added to."""

    def setLog(self, log: Log) -> None:
        """The log to observe has begun."""


class StepBuild(Protocol):
    """What a step may ask of its build; see `buildbot.process.build.Build`."""

    master: Master
    builder: Any
    buildid: int
    properties: Properties
    workdir: Any
    env: Mapping[str, Any]
    worker: Any
    connection: Connection
    stop_reason: str | None

    @property
    def workername(self) -> str: ...

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None: ...

    async def save_properties(self) -> None: ...

    def gather_properties(self, batch: UpdateBatch) -> None: ...

    async def default_workdir(self) -> Any: ...

    def write_failed(self, failure: Failure) -> None: ...


@dataclass(frozen=True)
class _Opening:
    """What a step shows first, gathered to be stored with the creation of its first log."""

    batch: UpdateBatch
    summary: str


@dataclass(frozen=True)
class _Ending:
    """What is to be stored at the end of a step."""

    summary: str
    hidden: bool


P = ParamSpec("P")
T = TypeVar("T")
RemoteCommandT = TypeVar("RemoteCommandT", bound=RemoteCommand)


class _Call(Deferred[T]):
    """What a call of a step's method gives; it knows whether the step waits for it."""

    awaited = False

    @property
    def is_done(self) -> bool:
        """Whether it has ended well."""
        return self.called and not isinstance(self.result, Failure)

    def __await__(self) -> Generator[Deferred[T], None, T]:
        self.awaited = True
        return super().__await__()


def awaited(function: Callable[P, Coroutine[Deferred[Any], Any, T]]) -> Callable[P, Deferred[T]]:
    """Make an ``async def`` of a step a method that returns a Deferred, which need not be waited for.

    Steps may call such methods without ``await``: the work belongs to the step, which does not end before it is
    done, and a failure that nobody took is the step's.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        step: Any = args[0]
        given: _Call[T] = _Call()
        calls = step._BuildStep__calls  # the name that Python gives it outside of the class
        calls[:] = [*(each for each in calls if not each.is_done), given]
        ensureDeferred(function(*args, **kwargs)).addCallbacks(given.callback, given.errback)
        return given

    return call


def _encoding(value: Any) -> Any:
    return value if callable(value) else checks.encoding(value)


def _policy(value: Any) -> Collection[int] | bool | None:
    if value is None or isinstance(value, (bool, list, tuple, set, frozenset)):
        return value
    raise ValueError(f"must be True, False, None or a list of result codes, not {checks.kind(value)}")


class StepFactory:
    """The recorded call that made a step; `build` makes it again."""

    def __init__(self, step_class: type[BuildStep], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step_class, self.args, self.kwargs = step_class, args, kwargs

    def __repr__(self) -> str:
        return f"StepFactory({self.step_class.__name__})"

    def build(self) -> BuildStep:
        """A fresh step."""
        return self.step_class(*self.args, **self.kwargs)

    def buildStep(self) -> BuildStep:
        """A fresh step."""
        return self.build()


class BuildStep(Declared):
    """A step of a build. Its arguments are also class attributes, which give the defaults.

    Attributes:
        build, master, worker, workername: where it runs; set before ``run``.
        results: its result code; None while it runs.
        stopped: whether it was asked to stop.
        cmd: the command on the worker that runs, or ran last; None before the first.
        timed_out: whether the worker ended a command because it took too long.
        progress: how far it is; see `setProgress`.
        waits_for_locks: whether it was stopped, or is, while it waits for its locks.
        rendered: whether its arguments are rendered; until then they may still hold renderables.
    """

    name = argument("generic", checks.text, renderable=True, doc="shown in pages; a repeated name gets a number")
    description = argument(None, rendered=True, doc="what it shows while it runs; a text or a list of words")
    descriptionDone = argument(None, rendered=True, doc="what it shows at its end; None: `description`")
    descriptionSuffix = argument(None, rendered=True, doc="put behind either")
    doStepIf = argument(True, renderable=True, doc="whether to run it at all: True, False, or `f(step)`")
    hideStepIf = argument(
        False, renderable=True, doc="whether pages hide it: True, False, or `f(results, step)`; asked at the end"
    )
    haltOnFailure = argument(
        False, checks.flag, renderable=True, doc="a failure ends the build (steps with `alwaysRun` excepted)"
    )
    flunkOnWarnings = argument(False, checks.flag, renderable=True, doc="warnings of the step make the build fail")
    flunkOnFailure = argument(True, checks.flag, renderable=True, doc="a failure of the step makes the build fail")
    warnOnWarnings = argument(False, checks.flag, renderable=True, doc="warnings make the build end with warnings")
    warnOnFailure = argument(False, checks.flag, renderable=True, doc="a failure makes the build end with warnings")
    alwaysRun = argument(False, checks.flag, renderable=True, doc="run even after the build was halted or stopped")
    updateBuildSummaryPolicy = argument(
        None,
        _policy,
        doc="""with which results the build's final text mentions it: a list of result codes, True for all, False for
        none, None for those that the build's result does not ignore""",
    )
    logEncoding = argument(
        None,
        checks.optional(_encoding),
        doc="""how bytes that the step adds to its logs become text: the name of an encoding, or a function; None:
        UTF-8. What workers send is text already""",
    )
    progressMetrics = argument((), checks.list_of(checks.text), doc="the names that `setProgress` may be given")
    useProgress = argument(True, checks.flag, doc="whether its end can be foretold from earlier builds")
    locks = argument(
        (), lock_list, renderable=True, doc="what it holds while it runs: a list of what `lock.access(…)` gives"
    )
    workdir = argument(
        None, rendered=True, doc="its directory on the worker, relative to the builder's; None: the build's"
    )

    #: names of the arguments that every step takes
    parms: ClassVar[Collection[str]]
    #: names of the arguments that say what its result means for the build
    flags = ("haltOnFailure", "flunkOnWarnings", "flunkOnFailure", "warnOnWarnings", "warnOnFailure", "alwaysRun")
    #: names of further attributes that are rendered before ``run``; those of base classes count too
    renderables: ClassVar[Collection[str]] = ()

    __factory: StepFactory

    def __new__(cls, *args: Any, **kwargs: Any) -> BuildStep:
        step = super().__new__(cls)
        step.__factory = StepFactory(cls, args, kwargs)
        return step

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stepid = 0
        self.number = -1
        self.results: int | None = None
        self.stopped = False
        self.rendered = False
        self.waits_for_locks = False
        self.__locks: Claim | None = None
        self.__build: StepBuild | None = None
        self.__unprepared: Failure | None = None
        self.__opening: _Opening | None = None
        self.__opening_turn = DeferredLock()
        self.__opens: Any = None
        self.__not_opened: Failure | None = None
        self.__ending: _Ending | None = None
        self.__problem: Failure | None = None
        self.__master: Any = None
        self.__worker: Any = None
        self.__logs: dict[str, Log] = {}
        self.__open_logs: list[Log] = []
        self.__statistics: dict[str, Any] = {}
        self.progress = Progress(self)
        self.__observers: dict[str, list[ILogObserver]] = {}
        self.__results = TestResults()
        self.cmd: RemoteCommand | None = None
        self.timed_out = False
        self.__command: RemoteCommand | None = None
        self.__waiting: Deferred[Any] | None = None
        self.__watched: Watched[tuple[int, Failure | None]] | None = None
        self.__calls: list[_Call[Any]] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # what users' steps override

    def check_arguments(self) -> None:
        """Report, with `buildbot.config.errors.error`, what is wrong with the whole step; called by factories."""

    async def run(self) -> int:
        """Do the work; returns a result code. Raise `BuildStepFailed` to fail, anything else to end in EXCEPTION."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def getCurrentSummary(self) -> Any:
        """``{"step": text}`` shown while it runs; may return a Deferred."""
        return {"step": self.describe(self.description, "running")}

    def getResultSummary(self) -> Any:
        """``{"step": text}`` shown at its end, and ``"build"``, the words about it in the build's final text."""
        return self.summary_of_result()

    async def getBuildResultSummary(self) -> dict[str, str]:
        """`getResultSummary` with ``"build"``, the words about it in the build's final text."""
        summary: dict[str, str] = dict(await resolved(self.getResultSummary()))
        summary.setdefault("build", summary.get("step", ""))
        return summary

    def addTestResultSets(self) -> Any:
        """Called before ``run``, for subclasses that begin their sets of test results here; may return a Deferred."""

    def summary_of_result(self, shown: str = "", why: str = "") -> dict[str, str]:
        """What `getResultSummary` gives: the description or what it shows instead, why it failed, and the result.

        In the build's text a step without a description is called by its name, if it has one of its own.
        """
        given = described(self.descriptionDone) or described(self.description)
        said = re.sub(r"_\d+\Z", "", described(self.name))  # a second one of a name has a number
        named = described(self.name) if said not in NO_NAMES else ""
        return {
            "step": with_result(self.describe(given, shown, "finished", why=why), self.results),
            "build": with_result(self.describe(given, named, shown, "finished", why=why), self.results),
        }

    @deferred
    async def interrupt(self, reason: str | Failure) -> None:
        """Stop what it is doing: its command on the worker, or its wait. Called once.

        A worker that does not end the command in time loses its connection.
        """
        self.stopped = True
        text = str(reason.value) if isinstance(reason, Failure) else reason
        if self.__waiting is not None:
            self.__waiting.cancel()
        if self.__command is not None:
            self.__expect_end(self.__command)
            try:
                await self.__command.interrupt(text)
            except (WorkerLostError, RemoteError) as problem:
                _log.warn("{step} could not be interrupted: {problem}", step=self, problem=problem)

    async def interrupt_in_build(self, reason: str | Failure) -> None:
        """Interrupt it for its build, and see to it that it ends, whatever it makes of that."""
        self.stopped = True
        watched = self.__watched
        if watched is not None:
            self.__expect_end_of(watched)
        try:
            await resolved(self.interrupt(reason))
        except Exception:
            _log.failure("interrupt() of {step} failed", step=self)

    def __expect_end_of(self, watched: Watched[tuple[int, Failure | None]]) -> None:
        """End its work some time after it was asked to stop, but not while a command runs on the worker."""

        def give_up() -> None:
            if watched.ended.called:
                return
            if self.__command is not None:  # its own time limit ends it
                self.master.reactor.callLater(STOP_TIMEOUT_S, give_up)
                return
            _log.warn("{step} does not stop; the build goes on without it", step=self)
            watched.end((CANCELLED, None))
            watched.cancel()

        timer = self.master.reactor.callLater(STOP_TIMEOUT_S, give_up)
        watched.ended.addBoth(_cancelled, timer)

    def __expect_end(self, command: RemoteCommand) -> None:
        """Drop a worker that does not end a command in time after it was asked to: nothing else would end the step."""

        timeout_s = command.stop_timeout_s()
        connection, timers = self.build.connection, []

        def wait() -> None:
            timers.append(self.master.reactor.callLater(timeout_s, give_up))

        def give_up() -> None:
            if connection.held_back:  # what it says is not read, to its end neither
                wait()
            elif self.__command is command:
                _log.warn("worker {worker} does not stop {command}", worker=self.workername, command=command)
                self.worker.drop(connection, f"it did not stop a command within {timeout_s:.0f} s")

        wait()
        command.on_end(lambda: timers[-1].active() and timers[-1].cancel())

    # what users' steps call

    @property
    def build(self) -> Any:
        """The build that it belongs to."""
        if self.__build is None:
            raise RuntimeError(f"{self!r} does not run in a build yet")
        return self.__build

    @build.setter
    def build(self, build: Any) -> None:
        self.__build = build

    # These three may be set, too, for a step that a step makes to do a part of its own work.

    @property
    def master(self) -> Any:
        """The master."""
        return self.build.master if self.__master is None else self.__master

    @master.setter
    def master(self, master: Any) -> None:
        self.__master = master

    def setBuild(self, build: Any) -> None:
        """Give it a build, as an assignment to `build` does."""
        self.build = build

    def setWorker(self, worker: Any) -> None:
        """Give it a worker, as an assignment to `worker` does."""
        self.worker = worker

    def get_step_factory(self) -> StepFactory:
        """What makes steps like this one: the call that made it."""
        return self.__factory

    def set_step_arg(self, name: str, value: Any) -> None:
        """Change an argument of the steps that builds make of this description."""
        self.__factory.kwargs[name] = value

    def is_exact_step_class(self, cls: type) -> bool:
        """Whether it is of this class itself, not of a subclass."""
        return self.__factory.step_class is cls

    @property
    def workername(self) -> str:
        """The name of the worker that it runs on."""
        return str(self.build.workername)

    @property
    def worker(self) -> Any:
        """The worker that it runs on."""
        return self.build.worker if self.__worker is None else self.__worker

    @worker.setter
    def worker(self, worker: Any) -> None:
        self.__worker = worker

    def describe(self, *choices: Any, why: str = "") -> str:
        """The first of several descriptions that says something, the suffix, and ``why``, as one text.

        A description is a text or a list of words. One that still holds a renderable says nothing: the step ended
        before it was rendered.
        """
        text = next(filter(None, map(described, choices)), "")
        whole = " ".join(filter(None, (text, described(self.descriptionSuffix)))) if text else ""
        return f"{whole}: {why}" if why else whole

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property of the build."""
        return self.build.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether the build has a property of this name."""
        return bool(self.build.properties.hasProperty(name))

    def setProperty(self, name: str, value: Any, source: str = "Step", runtime: bool = True) -> None:
        """Set a property of the build; it is stored when the step ends. ``runtime`` has no effect."""
        self.build.properties.setProperty(name, value, source)

    async def default_workdir(self) -> Any:
        """Its directory if `workdir` says none: the build's."""
        return await self.build.default_workdir()

    def getProperties(self) -> Properties:
        """The properties of the build."""
        properties: Properties = self.build.properties
        return properties

    def getWorkerName(self) -> str:
        """The name of the worker that it runs on."""
        return self.workername

    def workerVersion(self, command: str, oldversion: str | None = None) -> str | None:
        """The version of a command of the worker's; None if it does not have the command.

        ``oldversion`` stands for that of workers which do not tell versions; there are none any more.
        """
        commands = self.build.connection.info.get("worker_commands")
        version = commands.get(command) if isinstance(commands, Mapping) else None
        return None if version is None else str(version)

    def workerVersionIsOlderThan(self, command: str, minversion: str) -> bool:
        """Whether the worker's version of a command is below this one, or the worker does not have the command."""
        version = self.workerVersion(command)
        return version is None or _numbers(version) < _numbers(minversion)

    def checkWorkerHasCommand(self, command: str) -> None:
        """Raise `buildbot.interfaces.WorkerSetupError`, which ends the step, if the worker does not have a command."""
        if self.workerVersion(command) is None:
            raise WorkerSetupError(f"worker {self.workername!r} does not have the command {command!r}")

    def setStatistic(self, name: str, value: Any) -> None:
        """Keep a number or another value about this step, in memory, for later steps and for `Build`."""
        self.__statistics[name] = value

    def getStatistic(self, name: str, default: Any = None) -> Any:
        """A value that was kept by `setStatistic`."""
        return self.__statistics.get(name, default)

    def hasStatistic(self, name: str) -> bool:
        """Whether there is one of this name."""
        return name in self.__statistics

    def getStatistics(self) -> dict[str, Any]:
        """All values that were kept, by name."""
        return dict(self.__statistics)

    def setProgress(self, metric: str, value: float) -> None:
        """Say how far it is, in a measure of its own: lines of output, tests, files.

        Args:
            metric: one of `progressMetrics`.
            value: so much is done.

        Raises:
            ValueError: `progressMetrics` does not have it.
        """
        self.progress.set(metric, value)

    @deferred
    async def expectedSeconds(self) -> float | None:
        """How long it takes in all, by the last builds of this builder in which it ended well; None: unknown."""
        if not self.useProgress:
            return None
        return await expected_seconds(self.master.data, self.build.builder.builderid, self.build.buildid, self.name)

    def directory(self) -> str:
        """Its directory on the worker, relative to the builder's. Raises TypeError if ``workdir`` gave no text."""
        if not isinstance(self.workdir, str) or not self.workdir:
            raise TypeError(f"the workdir of {self!r} must be a text, not {self.workdir!r}")
        return self.workdir

    def render(self, value: Any) -> Deferred[Any]:
        """``value`` with the renderables in it replaced."""
        rendering: Deferred[Any] = self.build.properties.render(value)
        return rendering

    @awaited
    async def addLog(self, name: str, type: str = "s", logEncoding: str | None = None) -> Log:
        """Begin a log.

        Args:
            name: its name.
            type: ``s`` for output with streams, ``t`` for text, ``h`` for HTML.
            logEncoding: of bytes that are added to it; None: `logEncoding` of the step.
        """
        log = self.__make_log(name, type, logEncoding)
        await self.__open_log(log)
        return log

    async def watched_log(self, name: str, lazy: bool = False) -> Log:
        """The log of a file that a command watches: the open one of this name, or a new one.

        A lazy one is stored when something comes.
        """
        log = self.__logs.get(name)
        if log is None or log not in self.__open_logs:
            log = self.__make_log(name, "s")
        if not lazy:
            await self.__open_log(log)
        return log

    @awaited
    async def addCompleteLog(self, name: str, text: str | bytes) -> None:
        """Add a finished text log; bytes are decoded as `logEncoding` says."""
        await self.__complete_log(name, "t", text)

    @awaited
    async def addHTMLLog(self, name: str, html: str | bytes) -> None:
        """Add a finished HTML log; bytes are decoded as `logEncoding` says."""
        await self.__complete_log(name, "h", html)

    @awaited
    async def addLogWithFailure(self, why: Failure | BaseException, logprefix: str = "") -> None:
        """Add the logs ``err.text`` and ``err.html``, with ``logprefix`` before their names, that tell of a failure."""
        problem = why.value if isinstance(why, Failure) else why
        text = "no traceback\n" if problem is None else "".join(traceback.format_exception(problem))
        await self.__complete_log(f"{logprefix}err.text", "t", text)
        await self.__complete_log(f"{logprefix}err.html", "h", f"<pre>{html.escape(text)}</pre>\n")

    @awaited
    async def addLogWithException(self, why: Failure | BaseException, logprefix: str = "") -> None:
        """As `addLogWithFailure`."""
        await self.addLogWithFailure(why, logprefix)

    def addLogObserver(self, logname: str, observer: ILogObserver) -> None:
        """Let an observer (see `buildbot.process.logobserver`) see what goes to a log from now on.

        The log may be one that is added later.
        """
        observer.setStep(self)
        self.__observers.setdefault(logname, []).append(observer)
        if logname in self.__logs:
            observer.setLog(self.__logs[logname])

    def getLog(self, name: str) -> Log:
        """A log of this step; KeyError if there is none of this name."""
        return self.__logs[name]

    @awaited
    async def addURL(self, name: str, url: str) -> None:
        """Show a link beside the step."""
        update = await self.__update()
        await update.addStepURL(self.stepid, self.__kept(str(name)), self.__kept(str(url)))

    @awaited
    async def setBuildData(self, name: str, value: bytes, source: str) -> None:
        """Leave bytes behind under a name, in place of what the build had there.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``, at most 70, as it stands in URLs.
            value: at most 7,000,000 bytes.
            source: what set it.
        """
        update = await self.__update()
        redactor = self.build.properties.redactor
        await update.setBuildData(self.build.buildid, name, redactor.clean_bytes(value), redactor.clean(source))

    @awaited
    async def addTestResultSet(self, description: str | None, category: str, value_unit: str) -> int:
        """Begin a set of test results, which is complete when the step ends.

        Args:
            description: for people.
            category: what is measured: ``pass_fail``, ``pass_only``, ``fail_only``, ``performance``, …
            value_unit: the unit of the values: ``boolean`` (``"1"`` passed), ``s``, ``message``, …

        Returns:
            The id of the set, for `addTestResult`.
        """
        await self.__open_now()
        if description is not None:
            description = self.build.properties.redactor.clean(description)
        return await self.__results.begin(self, description, category, value_unit)

    def addTestResult(
        self,
        setid: int,
        value: str,
        test_name: str | None = None,
        test_code_path: str | None = None,
        line: int | None = None,
        duration_ns: int | None = None,
    ) -> None:
        """Add a value to a set; it is stored, with all others, when the step ends or `finishTestResultSets` is called.

        Args:
            value: in the unit of the set.
            test_name, test_code_path: what it is about, a test or a place in a file; at least one.
            line: in that file.
            duration_ns: how long the test took, in nanoseconds.

        Raises ValueError if this step has no such set. What else is wrong is said when the results are stored.
        """
        self.__results.add(
            setid,
            self.build.properties.redactor.clean_value(
                {
                    "value": value,
                    "test_name": test_name,
                    "test_code_path": test_code_path,
                    "line": line,
                    "duration_ns": duration_ns,
                }
            ),
        )

    @awaited
    async def finishTestResultSets(self) -> None:
        """Store all results and complete the sets. The end of the step does this, too."""
        await self.__finish_results()

    @awaited
    async def updateSummary(self) -> None:
        """Show a changed `getCurrentSummary`, or `getResultSummary` once it has ended."""
        await self.__show_summary()

    def __kept(self, text: str) -> str:
        """``text`` as it is stored."""
        return storable(self.build.properties.redactor.clean(text))

    async def __show_summary(self) -> None:
        getter = self.getCurrentSummary if self.results is None else self.getResultSummary
        summary: dict[str, str] = await self.__in_time(getter(), f"{getter.__name__}()")
        update = await self.__update()
        await update.setStepStateString(self.stepid, self.__kept(summary.get("step", "finished")))

    async def __show_summary_soon(self) -> None:
        """Show `getCurrentSummary` together with what it writes first; with nothing else if that is not at once."""
        summary: dict[str, str] = await self.__in_time(self.getCurrentSummary(), "getCurrentSummary()")
        text = self.__kept(summary.get("step", "finished"))
        batch = self.master.data.update.batch()
        batch.setStepStateString(self.stepid, text)
        self.__opening = _Opening(batch, text)
        self.__opens = self.master.reactor.callLater(0, self.__open_soon)

    def __open_soon(self) -> None:
        ensureDeferred(self.__open_now()).addErrback(self.build.write_failed)

    async def __open_now(self, log: Log | None = None) -> None:
        """Store what it shows first, and with it the creation of a log; returns once that is stored, whoever did it."""
        async with self.__opening_turn:
            opening, self.__opening = self.__opening, None
            if opening is None:
                return
            if self.__opens.active():
                self.__opens.cancel()
            if log is not None:
                log.gather_open(opening.batch)
            try:
                try:
                    await opening.batch.send()
                except NotClaimedError:
                    raise
                except Exception as problem:
                    if is_unavailable(problem):
                        raise
                    # what is wrong with one of the two is said of that one
                    await self.master.data.update.setStepStateString(self.stepid, opening.summary)
            except Exception:
                self.__not_opened = Failure()
                raise

    async def __open_log(self, log: Log) -> None:
        await self.__open_now(log)
        await log.open()

    async def __update(self) -> Any:
        """The update methods, once what it shows first is stored."""
        await self.__open_now()
        return self.master.data.update

    @deferred
    async def runCommand(self, command: RemoteCommandT) -> RemoteCommandT:
        """Run a command on the worker to its end.

        Returns:
            The command, which knows its `RemoteCommand.results`.

        Raises:
            BuildStepCancelled: the step was stopped.
            WorkerLostError, RemoteError: see `RemoteCommand.run`.
        """
        if self.stopped:
            raise BuildStepCancelled
        if command.stdioLogName is not None:
            if command.stdioLogName not in self.__logs:
                await self.addLog(command.stdioLogName)
            command.useLog(self.__logs[command.stdioLogName])
        self.__command = self.cmd = command
        try:
            if not self.stopped:  # while the log was made
                await command.run(self.build.connection, self.build.builder.name)
        finally:
            self.__command = None
            self.timed_out = self.timed_out or command.failure_reason() in TIMEOUTS
        if self.stopped:
            raise BuildStepCancelled
        return command

    async def wait(self, delay: Deferred[T]) -> T:
        """Wait for something that is not a command, in a way that `interrupt` can end; its result."""
        if self.stopped:
            raise BuildStepCancelled
        self.__waiting = delay
        try:
            return await delay
        except Exception:
            if self.stopped:
                raise BuildStepCancelled from None
            raise
        finally:
            self.__waiting = None

    # how the build runs it

    # Its beginning is stored together with the end of the step before, its end with the beginning of the next: see
    # `buildbot.process.build.Build`.

    async def prepare_in_build(self, build: StepBuild) -> None:
        """Render what must be known before it begins; nothing is written."""
        self.__build = build
        self.__unprepared = await self.__try(self.__render_name())
        self.__unprepared = await self.__try(self.__render_flags()) or self.__unprepared

    def gather_beginning(self, batch: UpdateBatch) -> Deferred[Any]:
        """Add its row and its start to a batch; what to give to `has_begun` once that is stored."""
        row = batch.newStep(self.build.buildid, self.name)
        batch.startStep(batch.result(row, "stepid"), not self.__has_locks)
        return row

    async def store_beginning(self) -> None:
        """Store its beginning, alone."""
        update = self.master.data.update
        row = await update.newStep(self.build.buildid, self.name)
        await update.startStep(row["stepid"], not self.__has_locks)
        self.has_begun(row)

    @property
    def __has_locks(self) -> bool:
        return holds_renderable(self.locks) or bool(self.locks)

    def has_begun(self, row: Mapping[str, Any]) -> None:
        """Its beginning is stored."""
        self.stepid, self.number, self.name = row["stepid"], row["number"], row["name"]

    async def run_in_build(self) -> None:
        """Run it in its build, once it has begun, until only its end is to be stored.

        Its result code is in `results` afterwards; RETRY if the worker was lost.

        Raises:
            NotClaimedError: this master does not own the build any more; nothing more may be written.
        """
        results, problem = EXCEPTION, self.__unprepared
        if problem is None:
            try:
                results, problem = await self.__run_watched()
            finally:
                if self.__locks is not None:
                    self.__locks.release()
        opening = await self.__try(self.__open_now()) or self.__not_opened
        self.results = results
        self.__problem = problem or opening
        if self.__problem is None and results != CANCELLED:
            self.__ending = await self.__prepare_end()
        if self.__ending is None:
            await self.end_piecewise()

    @property
    def has_unstored_end(self) -> bool:
        """Whether its work is done and its end is not stored yet."""
        return self.__ending is not None

    async def __prepare_end(self) -> _Ending | None:
        """Find out what is to be stored at its end; None if anything is wrong, which `end_piecewise` then says."""
        try:
            await self.__finish_calls()
            for log in self.__open_logs:
                if not await log.prepare_end():
                    return None
            await self.__finish_results()
            hidden: list[bool] = []
            await self.__ask_hidden(hidden)
            summary: dict[str, str] = await self.__in_time(self.getResultSummary(), "getResultSummary()")
            return _Ending(self.__kept(summary.get("step", "finished")), any(hidden))
        except NotClaimedError:
            raise
        except Exception:
            self.__problem = Failure()
            return None

    def gather_ending(self, batch: UpdateBatch) -> None:
        """Add what is left of its logs, and its end, to a batch."""
        assert self.__ending is not None and self.results is not None
        for log in self.__open_logs:
            log.gather_end(batch)
        self.build.gather_properties(batch)
        batch.setStepStateString(self.stepid, self.__ending.summary)
        batch.finishStep(self.stepid, self.results, self.__ending.hidden)

    def ending_stored(self) -> None:
        """Its end is stored."""
        self.__ending = None
        for log in self.__open_logs:
            log.end_stored()

    async def end_piecewise(self) -> None:
        """Store its end piece by piece, and say what went wrong; its results may become other ones.

        Raises:
            NotClaimedError: as `run_in_build`.
        """
        assert self.results is not None
        self.__ending = None
        problem, self.__problem = self.__problem, None
        hidden = await self.__end(self.results, problem)
        await self.master.data.update.finishStep(self.stepid, self.results, hidden)

    async def __end(self, results: int, problem: Failure | None) -> bool:
        """Close what it left open, and say how it ended; whether pages hide it.

        Whatever fails here makes the result EXCEPTION, or RETRY if it was the database, but for a step that was
        cancelled or lost its worker, and stands in the log ``err.text``.
        """
        self.results = results
        problems = [problem]
        for work in (self.__finish_calls, self.__close_logs, self.__finish_results, self.build.save_properties):
            problems.append(await self.__try(work()))
        hidden: list[bool] = []
        problems.append(await self.__try(self.__ask_hidden(hidden)))
        failures = [each for each in problems if each is not None]
        if failures and self.results not in (RETRY, CANCELLED):
            self.results = RETRY if any(_was_database(each) for each in failures) else EXCEPTION
        unclear = await self.__try(self.__show_summary())
        if unclear is not None:
            self.results = RETRY if _was_database(unclear) else EXCEPTION
            failures.append(unclear)
            text = with_result("finished", self.results)
            unshown = await self.__try(self.master.data.update.setStepStateString(self.stepid, text))
            failures += [] if unshown is None else [unshown]
        for said in (self.__say_cancelled(), self.__say_problems(failures)):
            failed = await self.__try(said)
            if failed is not None:
                _log.failure("the end of {step} could not be written to its logs", failed, step=self)
        return any(hidden)

    async def __ask_hidden(self, hidden: list[bool]) -> None:
        hidden.append(await self.__in_time(self.__asked(self.hideStepIf, self.results, self), "hideStepIf"))

    async def always_runs(self, build: StepBuild) -> bool:
        """Whether it runs though the build was halted or stopped; also if that cannot be rendered: its run says why."""
        try:
            return bool(await build.properties.render(self.alwaysRun))
        except Exception:
            return True

    async def __render_flags(self) -> None:
        """Make plain True and False of the flags; one that cannot be rendered gets its class's default."""
        problem: Exception | None = None
        for flag in self.flags:
            given = getattr(self, flag)
            try:
                setattr(self, flag, bool(await self.render(given)))
            except NotClaimedError:
                raise
            except Exception as failed:
                problem = failed
                setattr(self, flag, getattr(BuildStep, flag))
        if problem is not None:
            raise problem

    async def __render_name(self) -> None:
        name, self.name = self.name, type(self).__name__  # which it keeps if the name cannot be rendered
        text = self.build.properties.redactor.clean(str(await self.render(name)))
        self.name = text[:MAX_NAME] or self.name

    async def __try(self, work: Any) -> Failure | None:
        """The failure of ``run_in_build``, if it fails with anything but `NotClaimedError`."""
        try:
            await work
        except NotClaimedError:
            raise
        except Exception:
            return Failure()
        return None

    async def __run_watched(self) -> tuple[int, Failure | None]:
        """As `__run`, which may block the master, or never end."""
        name = f"step {self.name!r} of class {class_name(type(self))}"
        waits = lambda: self.__command is not None or self.__waiting is not None  # noqa: E731
        self.__watched = Watched(self.__run(), name, self.master.reactor, waits)
        try:
            return await self.__watched.ended
        except NeverEndsError:
            return (CANCELLED if self.stopped else EXCEPTION), Failure()
        finally:
            self.__watched = None

    async def __in_time(self, value: Any, what: str) -> Any:
        """What ``value`` gives; RuntimeError if that takes too long, since the end of the step waits for it."""
        given = ensureDeferred(resolved(value))
        given.addTimeout(SUMMARY_TIMEOUT_S, self.master.reactor)
        try:
            return await given
        except TimeoutError:
            raise RuntimeError(f"{what} of {self!r} gave nothing within {SUMMARY_TIMEOUT_S:g} s") from None

    async def __run(self) -> tuple[int, Failure | None]:
        """Decide whether to run, render, run; the result code, and what went wrong unexpectedly."""
        try:
            if not await self.__asked(self.doStepIf, self):
                await self.__render_what_can_be()
                return SKIPPED, None
            if self.__has_locks:
                self.__locks = await steplocks.acquire(self)
                await self.master.data.update.setStepLocksAcquired(self.stepid)
            await self.__render_attributes()
            await self.__show_summary_soon()
            await resolved(self.addTestResultSets())
            results = await resolved(self.run())
            await self.__finish_calls()
            await self.__finish_results()
            if self.stopped:
                return CANCELLED, None
            if type(results) is not int or results not in range(7):
                raise TypeError(f"run() of {self!r} must return a result code, not {results!r}")
            return results, None
        except NotClaimedError:
            raise
        except BuildStepFailed as failed:
            if str(failed):
                self.descriptionDone = str(failed)
            return (CANCELLED if self.stopped else FAILURE), None
        except BuildStepCancelled:
            return CANCELLED, None
        except WorkerLostError:
            return (CANCELLED if self.stopped else RETRY), None
        except Exception as problem:
            if is_unavailable(problem):
                return (CANCELLED if self.stopped else RETRY), Failure()
            return (CANCELLED if self.stopped else EXCEPTION), Failure()

    async def __asked(self, condition: Any, *args: Any) -> bool:
        """What a condition says: True or False, a renderable, or a function of ``args``."""
        if callable(condition) and not is_renderable(condition):
            condition = await resolved(condition(*args))
        return bool(await self.render(condition))

    async def __render_attributes(self) -> None:
        if self.workdir is None:
            self.workdir = await self.default_workdir()
        for attribute in rendered_names(type(self)):
            value = await self.render(getattr(self, attribute))
            try:
                self.set_rendered(attribute, value)
            except ValueError as reason:
                raise BuildStepFailed(f"{type(self).__name__}: {reason}") from None
        if not self.workdir:
            self.workdir = await self.render(await self.default_workdir())
        self.rendered = True

    async def __render_what_can_be(self) -> None:
        """Render for the summary of a step that does not run; what cannot be rendered is of no interest then."""
        whole = True
        for attribute in rendered_names(type(self)):
            try:
                self.set_rendered(attribute, await self.render(getattr(self, attribute)))
            except Exception:
                whole = False
        self.rendered = whole

    async def __finish_calls(self) -> None:
        """Wait for the calls of its methods that it did not wait for itself; the first that failed fails this."""
        problems: list[Failure] = []
        while self.__calls:
            call = self.__calls.pop(0)
            if not call.awaited:
                call.addErrback(problems.append)
            finished: Deferred[None] = Deferred()
            call.addBoth(_fire, finished)
            await finished
        if problems:
            problems[0].raiseException()

    async def __close_logs(self) -> None:
        """Finish its logs; each, even if another one cannot be finished."""
        problems = [await self.__try(log.finish()) for log in list(self.__open_logs)]
        for problem in filter(None, problems):
            problem.raiseException()

    async def __finish_results(self) -> None:
        await self.__results.finish(await self.__update())

    async def __say_cancelled(self) -> None:
        if self.results == CANCELLED and self.build.stop_reason is not None:
            name = "cancelled while waiting for locks" if self.waits_for_locks else "cancelled"
            await self.__complete_log(name, "t", self.build.stop_reason)

    async def __say_problems(self, problems: list[Failure]) -> None:
        for problem in problems:
            _log.failure("{step} failed", problem, step=self)
        if problems:
            text = "\n".join("".join(traceback.format_exception(problem.value)) for problem in problems)
            await self.__complete_log("err.text", "t", text)

    def __make_log(self, name: str, type: str, encoding: str | None = None) -> Log:
        update, reactor = self.master.data.update, self.master.reactor
        if type not in CLASSES:
            raise ValueError(f"there are logs of the types {', '.join(CLASSES)}, not {type!r}")
        log = self.__logs[name] = CLASSES[type](
            update, reactor, self.stepid, name, type, self.build.write_failed, self.build.connection.hold_back,
            self.build.builder.defaults.logs, self.build.properties.redactor,
            encoding or self.logEncoding or "utf-8",
        )  # fmt: skip
        self.__open_logs.append(log)
        for observer in self.__observers.get(name, ()):
            observer.setLog(log)
        return log

    async def __complete_log(self, name: str, type: str, text: str | bytes) -> None:
        if isinstance(text, bytes):
            text = decoder_of(self.logEncoding or "utf-8")(text)
        log = self.__make_log(name, type)
        await self.__open_log(log)
        log.write("o", text)
        await log.finish()
        self.__open_logs.remove(log)

    async def build_summary(self) -> str:
        """The words about it in the build's final text; empty for none."""
        policy = self.updateBuildSummaryPolicy
        if policy is None:
            policy = [EXCEPTION, RETRY, CANCELLED]
            policy += [FAILURE] if self.flunkOnFailure or self.haltOnFailure or self.warnOnFailure else []
            policy += [WARNINGS] if self.warnOnWarnings or self.flunkOnWarnings else []
        if policy is False or (policy is not True and self.results not in policy):
            return ""
        summary: dict[str, str] = await self.__in_time(self.getBuildResultSummary(), "getBuildResultSummary()")
        return str(summary.get("build", ""))


BuildStep.parms = tuple(arguments_of(BuildStep))


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]


def _cancelled(result: T, timer: Any) -> T:
    if timer.active():
        timer.cancel()
    return result


def _fire(_: object, waiting: Deferred[None]) -> None:
    waiting.callback(None)


def described(words: Any) -> str:
    """A description, which is a text or a list of words, as a text; empty if there is none or it is not rendered."""
    if words is None or holds_renderable(words):
        return ""
    return " ".join(map(str, words)) if isinstance(words, (list, tuple)) else str(words)


def _was_database(failure: Failure) -> bool:
    return failure.value is not None and is_unavailable(failure.value)


def with_result(text: str, results: int | None) -> str:
    """``text``, and in parentheses the result if it is not success."""
    return text if results in (None, SUCCESS) else f"{text} ({statusToString(results)})"
