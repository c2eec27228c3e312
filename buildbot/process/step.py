"""Steps of builds, and what users' own steps are made from.

A step in a configuration is a description: it remembers the arguments that it was made with, and every build makes a
fresh one from them. A user's step is a subclass with ``async def run(self)`` that returns a result code (a Deferred
will do as well). Attributes named in ``renderables`` are rendered before ``run`` is called.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.config.errors import error
from buildbot.data.interfaces import Master
from buildbot.db.exceptions import NotClaimedError
from buildbot.process.logs import Log, storable
from buildbot.process.properties import IRenderable, Properties, resolved
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.testresults import TestResults
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.util.deferreds import deferred
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


class BuildStepFailed(Exception):
    """Raised by a step to end with FAILURE; the text, if any, becomes its description."""


class BuildStepCancelled(Exception):
    """Raised by a step to end with CANCELLED."""


class StepBuild(Protocol):
    """What a step may ask of its build; see `buildbot.process.build.Build`."""

    master: Master
    builder: Any
    buildid: int
    properties: Properties
    workdir: str
    env: Mapping[str, Any]
    connection: Connection
    stop_reason: str | None

    @property
    def workername(self) -> str: ...

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None: ...

    async def save_properties(self) -> None: ...

    def write_failed(self, failure: Failure) -> None: ...


class StepFactory:
    """The recorded call that made a step; `build` makes it again."""

    def __init__(self, step_class: type[BuildStep], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step_class, self.args, self.kwargs = step_class, args, kwargs

    def __repr__(self) -> str:
        return f"StepFactory({self.step_class.__name__})"

    def build(self) -> BuildStep:
        """A fresh step."""
        return self.step_class(*self.args, **self.kwargs)


class BuildStep:
    """A step of a build.

    Args (each also a class attribute, which gives the default):
        name: shown in pages; a repeated name gets a number. May be a renderable.
        description: what it shows while it runs; a text or a list of words.
        descriptionDone: what it shows at its end; None: ``description``.
        descriptionSuffix: put behind either.
        doStepIf: whether to run it at all: True, False, a renderable, or ``f(step)``.
        hideStepIf: whether pages hide it: True, False, or ``f(results, step)``, asked at the end.
        haltOnFailure: a failure ends the build (steps with alwaysRun excepted).
        flunkOnWarnings, flunkOnFailure: warnings, a failure of the step make the build fail.
        warnOnWarnings, warnOnFailure: they make the build end with warnings.
        alwaysRun: run even after the build was halted or stopped.
        updateBuildSummaryPolicy: with which results the build's final text mentions it; a list of result codes, True
            for all, False for none, None for those that the build's result does not ignore.
        workdir: its directory on the worker, relative to the builder's; None: the build's.

    Attributes:
        build, master, worker, workername: where it runs; set before ``run``.
        results: its result code; None while it runs.
        stopped: whether it was asked to stop.
    """

    name: Any = "generic"
    description: Any = None
    descriptionDone: Any = None
    descriptionSuffix: Any = None
    doStepIf: Any = True
    hideStepIf: Any = False
    haltOnFailure = False
    flunkOnWarnings = False
    flunkOnFailure = True
    warnOnWarnings = False
    warnOnFailure = False
    alwaysRun = False
    updateBuildSummaryPolicy: Collection[int] | bool | None = None
    workdir: Any = None

    #: names of the arguments that every step takes
    parms = (
        "name",
        "description",
        "descriptionDone",
        "descriptionSuffix",
        "doStepIf",
        "hideStepIf",
        "haltOnFailure",
        "flunkOnWarnings",
        "flunkOnFailure",
        "warnOnWarnings",
        "warnOnFailure",
        "alwaysRun",
        "updateBuildSummaryPolicy",
        "workdir",
    )
    #: names of attributes that are rendered before ``run``; those of base classes count too
    renderables: Collection[str] = ("description", "descriptionDone", "descriptionSuffix", "workdir")

    _factory: StepFactory

    def __new__(cls, *args: Any, **kwargs: Any) -> BuildStep:
        step = super().__new__(cls)
        step._factory = StepFactory(cls, args, kwargs)
        return step

    def __init__(self, **kwargs: Any) -> None:
        for parameter in self.parms:
            if parameter in kwargs:
                setattr(self, parameter, kwargs.pop(parameter))
        if kwargs:
            error(f"{type(self).__name__}: unknown argument {', '.join(map(repr, sorted(kwargs)))}")
        if not isinstance(self.name, str) and not isinstance(self.name, IRenderable):
            error(f"{type(self).__name__}: the name must be a text or a renderable, not {self.name!r}")
        self.stepid = 0
        self.number = -1
        self.results: int | None = None
        self.stopped = False
        self._properties_set = False
        self._build: StepBuild | None = None
        self._logs: dict[str, Log] = {}
        self._results = TestResults()
        self._command: RemoteCommand | None = None
        self._waiting: Deferred[Any] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # what users' steps override

    async def run(self) -> int:
        """Do the work; returns a result code. Raise `BuildStepFailed` to fail, anything else to end in EXCEPTION."""
        raise NotImplementedError(f"{type(self).__name__} has no run()")

    def getCurrentSummary(self) -> Any:
        """``{"step": text}`` shown while it runs; may return a Deferred."""
        return {"step": self._described(self.description) or "running"}

    def getResultSummary(self) -> Any:
        """``{"step": text}`` shown at its end, and ``"build"``, the words about it in the build's final text."""
        text = self._described(self.descriptionDone or self.description) or "finished"
        return {"step": with_result(text, self.results)}

    @deferred
    async def interrupt(self, reason: str | Failure) -> None:
        """Stop what it is doing: its command on the worker, or its wait. Called once."""
        self.stopped = True
        text = str(reason.value) if isinstance(reason, Failure) else reason
        if self._waiting is not None:
            self._waiting.cancel()
        if self._command is not None:
            try:
                await self._command.interrupt(text)
            except (WorkerLostError, RemoteError) as problem:
                _log.warn("{step} could not be interrupted: {problem}", step=self, problem=problem)

    # what users' steps call

    @property
    def build(self) -> Any:
        """The build that it belongs to."""
        if self._build is None:
            raise RuntimeError(f"{self!r} does not run in a build yet")
        return self._build

    @property
    def master(self) -> Any:
        """The master."""
        return self.build.master

    @property
    def workername(self) -> str:
        """The name of the worker that it runs on."""
        return str(self.build.workername)

    @property
    def worker(self) -> Any:
        """The worker that it runs on."""
        return self.build.worker

    def getProperty(self, name: str, default: Any = None) -> Any:
        """A property of the build."""
        return self.build.properties.getProperty(name, default)

    def hasProperty(self, name: str) -> bool:
        """Whether the build has a property of this name."""
        return bool(self.build.properties.hasProperty(name))

    def setProperty(self, name: str, value: Any, source: str = "Step", runtime: bool = True) -> None:
        """Set a property of the build; it is stored when the step ends. ``runtime`` has no effect."""
        self.build.properties.setProperty(name, value, source)

    def render(self, value: Any) -> Deferred[Any]:
        """``value`` with the renderables in it replaced."""
        rendering: Deferred[Any] = self.build.properties.render(value)
        return rendering

    @deferred
    async def addLog(self, name: str, type: str = "s", logEncoding: str | None = None) -> Log:
        """Begin a log. ``type``: ``s`` for output with streams, ``t`` for text, ``h`` for HTML."""
        log = self._make_log(name, type)
        await log.open()
        return log

    @deferred
    async def addCompleteLog(self, name: str, text: str) -> None:
        """Add a finished text log."""
        await self._complete_log(name, "t", text)

    @deferred
    async def addHTMLLog(self, name: str, html: str) -> None:
        """Add a finished HTML log."""
        await self._complete_log(name, "h", html)

    def getLog(self, name: str) -> Log:
        """A log of this step; KeyError if there is none of this name."""
        return self._logs[name]

    @deferred
    async def addURL(self, name: str, url: str) -> None:
        """Show a link beside the step."""
        await self.master.data.update.addStepURL(self.stepid, storable(str(name)), storable(str(url)))

    @deferred
    async def setBuildData(self, name: str, value: bytes, source: str) -> None:
        """Leave bytes behind under a name, in place of what the build had there.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``, at most 70, as it stands in URLs.
            value: at most 7,000,000 bytes.
            source: what set it.
        """
        await self.master.data.update.setBuildData(self.build.buildid, name, value, source)

    @deferred
    async def addTestResultSet(self, description: str | None, category: str, value_unit: str) -> int:
        """Begin a set of test results, which is complete when the step ends.

        Args:
            description: for people.
            category: what is measured: ``pass_fail``, ``pass_only``, ``fail_only``, ``performance``, …
            value_unit: the unit of the values: ``boolean`` (``"1"`` passed), ``s``, ``message``, …

        Returns:
            The id of the set, for `addTestResult`.
        """
        return await self._results.begin(self, description, category, value_unit)

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
        self._results.add(
            setid,
            {
                "value": value,
                "test_name": test_name,
                "test_code_path": test_code_path,
                "line": line,
                "duration_ns": duration_ns,
            },
        )

    @deferred
    async def finishTestResultSets(self) -> None:
        """Store all results and complete the sets. The end of the step does this, too."""
        await self._results.finish(self.master.data.update)

    @deferred
    async def updateSummary(self) -> None:
        """Show a changed `getCurrentSummary`, or `getResultSummary` once it has ended."""
        getter = self.getCurrentSummary if self.results is None else self.getResultSummary
        summary: dict[str, str] = await resolved(getter())
        await self.master.data.update.setStepStateString(self.stepid, storable(summary.get("step", "finished")))

    @deferred
    async def runCommand(self, command: RemoteCommand) -> int:
        """Run a command on the worker to its end.

        Returns:
            The command's result code.

        Raises:
            BuildStepCancelled: the step was stopped.
            WorkerLostError, RemoteError: see `RemoteCommand.run`.
        """
        if self.stopped:
            raise BuildStepCancelled
        if command.stdioLogName is not None:
            if command.stdioLogName not in self._logs:
                await self.addLog(command.stdioLogName)
            command.useLog(self._logs[command.stdioLogName])
        self._command = command
        try:
            if not self.stopped:  # while the log was made
                await command.run(self.build.connection, self.build.builder.name)
        finally:
            self._command = None
        if self.stopped:
            raise BuildStepCancelled
        return command.results()

    async def wait(self, delay: Deferred[Any]) -> None:
        """Wait for something that is not a command, in a way that `interrupt` can end."""
        if self.stopped:
            raise BuildStepCancelled
        self._waiting = delay
        try:
            await delay
        except Exception:
            if self.stopped:
                raise BuildStepCancelled from None
            raise
        finally:
            self._waiting = None

    # how the build runs it

    async def start(self, build: StepBuild) -> int:
        """Run it in a build, from its row in the database to its end.

        Returns:
            Its result code; RETRY if the worker was lost.

        Raises:
            NotClaimedError: this master does not own the build any more; nothing more may be written.
        """
        self._build = build
        update = self.master.data.update
        problem = await self._try(self._render_name())
        row = await update.newStep(build.buildid, self.name)
        self.stepid, self.number, self.name = row["stepid"], row["number"], row["name"]
        await update.startStep(self.stepid)
        results: Any = EXCEPTION
        if problem is None:
            results, problem = await self._run()
        self.results = results
        problem = await self._try(self._leave(problem)) or problem
        if problem is not None and self.results not in (RETRY, CANCELLED):
            self.results = EXCEPTION
        hidden = False
        try:
            await self.updateSummary()
            hide = self.hideStepIf
            hidden = bool(await resolved(hide(self.results, self)) if callable(hide) else hide)
        except NotClaimedError:
            raise
        except Exception:
            _log.failure("the summary or hideStepIf of {step} failed", step=self)
            self.results = EXCEPTION
        await update.finishStep(self.stepid, self.results, hidden)
        return int(self.results)

    async def _render_name(self) -> None:
        name, self.name = self.name, type(self).__name__  # which it keeps if the name cannot be rendered
        self.name = str(await self.render(name))[:MAX_NAME] or self.name

    async def _try(self, work: Any) -> Failure | None:
        """The failure of ``work``, if it fails with anything but `NotClaimedError`."""
        try:
            await work
        except NotClaimedError:
            raise
        except Exception:
            return Failure()
        return None

    async def _run(self) -> tuple[int, Failure | None]:
        """Decide whether to run, render, run; the result code, and what went wrong unexpectedly."""
        try:
            condition = self.doStepIf
            if callable(condition) and not isinstance(condition, IRenderable):
                condition = await resolved(condition(self))
            if not await self.render(condition):
                return SKIPPED, None
            await self._render_attributes()
            await self.updateSummary()
            results = await resolved(self.run())
            await self.finishTestResultSets()
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
        except Exception:
            return (CANCELLED if self.stopped else EXCEPTION), Failure()

    async def _render_attributes(self) -> None:
        for base in type(self).__mro__:
            for attribute in base.__dict__.get("renderables", ()):
                setattr(self, attribute, await self.render(getattr(self, attribute)))

    async def _leave(self, problem: Failure | None) -> None:
        """Say what ended it, close its logs, store its properties."""
        if self.results == CANCELLED and self.build.stop_reason is not None:
            await self._complete_log("cancelled", "t", self.build.stop_reason)
        if problem is not None:
            _log.failure("{step} failed", problem, step=self)
            text = "".join(traceback.format_exception(problem.value))
            await self._complete_log("err.text", "t", text)
        for log in list(self._logs.values()):
            await log.finish()
        await self.finishTestResultSets()
        await self.build.save_properties()

    def _make_log(self, name: str, type: str) -> Log:
        update, reactor = self.master.data.update, self.master.reactor
        log = self._logs[name] = Log(
            update, reactor, self.stepid, name, type, self.build.write_failed, self.build.connection.hold_back
        )
        return log

    async def _complete_log(self, name: str, type: str, text: str) -> None:
        log = self._make_log(name, type)
        await log.open()
        log.write("o", text)
        await log.finish()
        del self._logs[name]

    def _described(self, words: Any) -> str:
        """A description and its suffix as one text."""
        return " ".join(" ".join(map(str, part)) if isinstance(part, (list, tuple)) else str(part)
                        for part in (words, self.descriptionSuffix) if part and words)  # fmt: skip

    async def build_summary(self) -> str:
        """The words about it in the build's final text; empty for none."""
        policy = self.updateBuildSummaryPolicy
        if policy is None:
            policy = [EXCEPTION, RETRY, CANCELLED]
            policy += [FAILURE] if self.flunkOnFailure or self.haltOnFailure or self.warnOnFailure else []
            policy += [WARNINGS] if self.warnOnWarnings or self.flunkOnWarnings else []
        if policy is False or (policy is not True and self.results not in policy):
            return ""
        summary: dict[str, str] = await resolved(self.getResultSummary())
        return summary.get("build", summary.get("step", ""))


def with_result(text: str, results: int | None) -> str:
    """``text``, and in parentheses the result if it is not success."""
    return text if results in (None, SUCCESS) else f"{text} ({statusToString(results)})"
