"""Steps of builds, and the base class of users' own steps.

A step in a configuration is a description: it keeps its arguments, and every build makes a new step from them. A user's
step is a subclass with ``async def run(self)`` that returns a result code, or a Deferred of one. Attributes named in
``renderables`` are rendered before ``run`` is called.

`BuildStep` has the methods that users' steps override and call. The work behind it is in objects that it owns, one file
each:

- `buildbot.process.stepdescription`: the arguments, and the factory;
- `buildbot.process.stepcalls`: calls that a step need not wait for;
- `buildbot.process.steplogs`: logs and their observers;
- `buildbot.process.stepsummary`: its summary;
- `buildbot.process.stepwork`: commands, waits and their interruption;
- `buildbot.process.steprun`, `buildbot.process.stepend`: how its build runs it, and how it ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.interfaces import WorkerSetupError
from buildbot.process.logs import Log
from buildbot.process.progress import Progress, expected_seconds
from buildbot.process.properties import Properties
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.stepcalls import Calls
from buildbot.process.stepcontract import BuildStepCancelled, BuildStepFailed, ILogObserver, StepBuild
from buildbot.process.stepdescription import StepDescription, StepFactory, described, own_name, with_result
from buildbot.process.stepend import StepEnd
from buildbot.process.steplogs import StepLogs
from buildbot.process.stepopening import StepOpening
from buildbot.process.steprendering import MAX_NAME
from buildbot.process.steprun import StepRun
from buildbot.process.stepsummary import StepSummary
from buildbot.process.stepwork import StepWork
from buildbot.process.testresults import TestResults
from buildbot.util.deferreds import deferred, resolved

__all__ = [
    "MAX_NAME",
    "BuildStep",
    "BuildStepCancelled",
    "BuildStepFailed",
    "ILogObserver",
    "StepBuild",
    "StepFactory",
    "described",
    "with_result",
]

T = TypeVar("T")
RemoteCommandT = TypeVar("RemoteCommandT", bound=RemoteCommand)


class BuildStep(StepDescription):
    """A step of a build. Its arguments are also class attributes, which give the defaults.

    Attributes:
        build, master, worker, workername: of the step; set before ``run``.
        results: its result code; None while it runs.
        stopped: whether it was asked to stop.
        cmd: the command on the worker that runs, or ran last; None before the first.
        timed_out: whether the worker ended a command because it took too long.
        progress: its progress; see `setProgress`.
        waits_for_locks: whether it waits for its locks, or was stopped while it did.
        rendered: whether its arguments are rendered; until then they may still hold renderables.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stepid = 0
        self.number = -1
        self.results: int | None = None
        self.stopped = False
        self.rendered = False
        self.waits_for_locks = False
        self.cmd: RemoteCommand | None = None
        self.timed_out = False
        self.progress = Progress(self)
        self.__build: StepBuild | None = None
        self.__master: Any = None
        self.__worker: Any = None
        self.__statistics: dict[str, Any] = {}
        self.__results = TestResults()
        self.__calls = Calls()
        opening = StepOpening(self)
        self.__summary = StepSummary(self, opening)
        self.__logs = StepLogs(self, opening)
        self.__work = StepWork(self, self.__logs, BuildStep.addLog, type(self).interrupt is not BuildStep.interrupt)
        self.__end = StepEnd(self, self.__calls, opening, self.__logs, self.__summary, self.__results)
        self.__in_build = StepRun(self, self.__work, self.__calls, self.__summary, self.__end)

    # users' steps override these

    async def run(self) -> int:
        """Do the work; returns a result code. `BuildStepFailed` ends it with FAILURE, other errors with EXCEPTION."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def getCurrentSummary(self) -> Any:
        """``{"step": text}`` shown while it runs; may return a Deferred."""
        return {"step": self.describe(self.description, "running")}

    def getResultSummary(self) -> Any:
        """``{"step": text}`` shown at its end, and ``"build"``, its part of the build's final text."""
        return self.summary_of_result()

    async def getBuildResultSummary(self) -> dict[str, str]:
        """`getResultSummary` with ``"build"``, its part of the build's final text."""
        summary: dict[str, str] = dict(await resolved(self.getResultSummary()))
        summary.setdefault("build", summary.get("step", ""))
        return summary

    def addTestResultSets(self) -> Any:
        """Called before ``run``, for subclasses that begin their sets of test results here; may return a Deferred."""

    def summary_of_result(self, shown: str = "", why: str = "") -> dict[str, str]:
        """The default of `getResultSummary`: the description or a substitute, why it failed, and the result.

        In the build's text a step without a description has its name, if it has one of its own.
        """
        given = described(self.descriptionDone) or described(self.description)
        named = own_name(self.name)
        return {
            "step": with_result(self.describe(given, shown, "finished", why=why), self.results),
            "build": with_result(self.describe(given, named, shown, "finished", why=why), self.results),
        }

    @deferred
    async def interrupt(self, reason: str | Failure) -> None:
        """Stop its command on the worker, or its wait. Called once.

        A worker that does not end the command in time loses its connection.

        Args:
            reason: why the build is stopped; if the worker was lost, a Failure with a
                `twisted.internet.error.ConnectionLost`.
        """
        await self.__work.interrupt(reason)

    # users' steps call these

    @property
    def build(self) -> StepBuild:
        """The build that it belongs to."""
        if self.__build is None:
            raise RuntimeError(f"{self!r} does not run in a build yet")
        return self.__build

    @build.setter
    def build(self, build: StepBuild) -> None:
        self.__build = build

    # These three may be set, too: a step may make another step for a part of its work.

    @property
    def master(self) -> Any:
        """The master."""
        return self.build.master if self.__master is None else self.__master

    @master.setter
    def master(self, master: Any) -> None:
        self.__master = master

    def setBuild(self, build: StepBuild) -> None:
        """Give it a build, as an assignment to `build` does."""
        self.build = build

    def setWorker(self, worker: Any) -> None:
        """Give it a worker, as an assignment to `worker` does."""
        self.worker = worker

    @property
    def workername(self) -> str:
        """The name of the worker that it runs on."""
        return self.build.workername

    @property
    def worker(self) -> Any:
        """The worker that it runs on."""
        return self.build.worker if self.__worker is None else self.__worker

    @worker.setter
    def worker(self, worker: Any) -> None:
        self.__worker = worker

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property of the build."""
        return self.build.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether the build has a property of this name."""
        return self.build.properties.hasProperty(name)

    def setProperty(self, name: str, value: object, source: str = "Step", runtime: bool = True) -> None:
        """Set a property of the build; it is stored when the step ends. ``runtime`` has no effect."""
        self.build.properties.setProperty(name, value, source)

    async def default_workdir(self) -> Any:
        """Its directory if `workdir` says none: the build's."""
        return await self.build.default_workdir()

    def getProperties(self) -> Properties:
        """The properties of the build."""
        return self.build.properties

    def getWorkerName(self) -> str:
        """The name of the worker that it runs on."""
        return self.workername

    def workerVersion(self, command: str, oldversion: str | None = None) -> str | None:
        """The version of a command of the worker's; None if it does not have the command.

        ``oldversion`` has no effect: it was for old workers that do not tell versions.
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

    def setStatistic(self, name: str, value: object) -> None:
        """Keep a value of this step, such as a number, in memory, for later steps and for `Build`."""
        self.__statistics[name] = value

    def getStatistic(self, name: str, default: Any = None) -> Any:
        """A value that was kept by `setStatistic`."""
        return self.__statistics.get(name, default)

    def hasStatistic(self, name: str) -> bool:
        """Whether there is a value of this name."""
        return name in self.__statistics

    def getStatistics(self) -> dict[str, Any]:
        """All kept values, by name."""
        return dict(self.__statistics)

    def setProgress(self, metric: str, value: float) -> None:
        """Set its progress, in a metric of its own: lines of output, tests, files.

        Args:
            metric: one of `progressMetrics`.
            value: of the metric.

        Raises:
            ValueError: `progressMetrics` does not have it.
        """
        self.progress.set(metric, value)

    @deferred
    async def expectedSeconds(self) -> float | None:
        """The seconds that it takes, by the last builds of this builder in which it succeeded; None: unknown."""
        if not self.useProgress:
            return None
        return await expected_seconds(self.master.data, self.build.builderid, self.build.buildid, self.name)

    def directory(self) -> str:
        """Its directory on the worker, relative to the builder's. Raises TypeError if ``workdir`` gave no text."""
        if not isinstance(self.workdir, str) or not self.workdir:
            raise TypeError(f"the workdir of {self!r} must be a text, not {self.workdir!r}")
        return self.workdir

    def render(self, value: object) -> Deferred[Any]:
        """``value`` with the renderables in it replaced."""
        return self.build.properties.render(value)

    def addLog(self, name: str, type: str = "s", logEncoding: str | None = None) -> Deferred[Log]:
        """Begin a log.

        Args:
            name: its name.
            type: ``s`` for output with streams, ``t`` for text, ``h`` for HTML.
            logEncoding: of bytes that are added to it; None: `logEncoding` of the step.
        """
        return self.__calls.begin(self.__logs.add(name, type, logEncoding))

    async def command_log(self, name: str) -> Log:
        """The log of a command's output: the open one of this name, or a new one."""
        return await self.__work.command_log(name)

    async def watched_log(self, name: str, lazy: object = False) -> Log:
        """The log of a file that a command watches: the open one of this name, or a new one.

        A lazy log is stored when its first text comes.
        """
        return await self.__logs.watched(name, lazy)

    def addCompleteLog(self, name: str, text: str | bytes) -> Deferred[None]:
        """Add a finished text log; bytes are decoded as `logEncoding` says."""
        return self.__calls.begin(self.__logs.add_complete(name, "t", text))

    def addHTMLLog(self, name: str, html: str | bytes) -> Deferred[None]:
        """Add a finished HTML log; bytes are decoded as `logEncoding` says."""
        return self.__calls.begin(self.__logs.add_complete(name, "h", html))

    def addLogWithFailure(self, why: Failure | BaseException, logprefix: str = "") -> Deferred[None]:
        """Add the logs ``err.text`` and ``err.html`` with a failure; ``logprefix`` comes before their names."""
        return self.__calls.begin(self.__logs.add_failure(why, logprefix))

    def addLogWithException(self, why: Failure | BaseException, logprefix: str = "") -> Deferred[None]:
        """As `addLogWithFailure`."""
        return self.__calls.begin(resolved(self.addLogWithFailure(why, logprefix)))

    def addLogObserver(self, logname: str, observer: ILogObserver) -> None:
        """Let an observer (see `buildbot.process.logobserver`) get the lines of a log from now on.

        The log may be one that is added later.
        """
        self.__logs.observe(logname, observer)

    def getLog(self, name: str) -> Log:
        """A log of this step; KeyError if there is none of this name."""
        return self.__logs[name]

    def addURL(self, name: str, url: str) -> Deferred[None]:
        """Show a link beside the step."""
        return self.__calls.begin(self.__add_url(name, url))

    async def __add_url(self, name: str, url: str) -> None:
        update = await self.__summary.update()
        await update.addStepURL(self.stepid, self.__summary.kept(str(name)), self.__summary.kept(str(url)))

    def setBuildData(self, name: str, value: bytes, source: str) -> Deferred[None]:
        """Store bytes under a name, in place of the build's earlier ones.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``, at most 70; it is a part of URLs.
            value: at most 7,000,000 bytes.
            source: what set it.
        """
        return self.__calls.begin(self.__set_build_data(name, value, source))

    async def __set_build_data(self, name: str, value: bytes, source: str) -> None:
        update = await self.__summary.update()
        redactor = self.build.properties.redactor
        await update.setBuildData(self.build.buildid, name, redactor.clean_bytes(value), redactor.clean(source))

    def addTestResultSet(self, description: str | None, category: str, value_unit: str) -> Deferred[int]:
        """Begin a set of test results, which is complete when the step ends.

        Args:
            description: for people.
            category: what is measured: ``pass_fail``, ``pass_only``, ``fail_only``, ``performance``, …
            value_unit: the unit of the values: ``boolean`` (``"1"`` passed), ``s``, ``message``, …

        Returns:
            The id of the set, for `addTestResult`.
        """
        return self.__calls.begin(self.__add_test_result_set(description, category, value_unit))

    async def __add_test_result_set(self, description: str | None, category: str, value_unit: str) -> int:
        await self.__summary.update()
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
            test_name, test_code_path: the test, or the file; at least one.
            line: in that file.
            duration_ns: how long the test took, in nanoseconds.

        Raises ValueError if this step has no such set. Other mistakes are errors when the results are stored.
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

    def finishTestResultSets(self) -> Deferred[None]:
        """Store all results and complete the sets. The end of the step does this, too."""
        return self.__calls.begin(self.__end.finish_results())

    def updateSummary(self) -> Deferred[None]:
        """Show a changed `getCurrentSummary`, or `getResultSummary` once it has ended."""
        return self.__calls.begin(self.__summary.show())

    def runCommand(self, command: RemoteCommandT) -> Deferred[RemoteCommandT]:
        """Run a command on the worker to its end.

        Returns:
            The command, which knows its `RemoteCommand.results`.

        Raises:
            BuildStepCancelled: the step was stopped.
            WorkerLostError, RemoteError: see `RemoteCommand.run`.
        """
        return self.__calls.begin(self.__work.command(command), by_callbacks=True)

    async def wait(self, delay: Deferred[T]) -> T:
        """Wait for a Deferred in a way that `interrupt` can end; gives its result."""
        return await self.__work.wait(delay)

    # the build calls this

    @property
    def run_in_build(self) -> StepRun:
        """The run of the step, for its build."""
        return self.__in_build


def _numbers(version: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", version)]
