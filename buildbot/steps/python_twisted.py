"""Steps for projects that use Twisted: trial runs tests, lore checks documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.interfaces import is_renderable
from buildbot.process.logobserver import LogLineObserver, OutputProgressObserver
from buildbot.steps.findings import Findings
from buildbot.steps.program import ProgramStep
from buildbot.steps.shell import ShellCommand
from buildbot.util.results import FAILURE, SKIPPED, SUCCESS, WARNINGS

#: characters of the report on failed tests that are kept
MAX_PROBLEMS_CHARS = 4 * 1024 * 1024

_KINDS = ("failures", "errors", "skips", "expectedFailures", "unexpectedSuccesses")
_WORDS = {
    "failures": ("failure", "failures"),
    "errors": ("error", "errors"),
    "skips": ("skip", "skips"),
    "expectedFailures": ("todo", "todos"),
    "unexpectedSuccesses": ("surprise", "surprises"),
}


def _words(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else checks.list_of(checks.text)(value)


class Trial(ProgramStep):
    """Run tests with ``trial``, and show their numbers by result."""

    positional: ClassVar[tuple[str, ...]] = (
        "reactor",
        "python",
        "trial",
        "testpath",
        "tests",
        "testChanges",
        "recurse",
        "randomly",
        "trialMode",
        "trialArgs",
        "jobs",
    )

    name = "trial"
    progressMetrics = ("output", "tests", "test.log")
    python = argument(
        None,
        checks.optional(_words),
        rendered=True,
        doc="the interpreter that runs trial, with its arguments; None: trial runs itself",
    )
    trial = argument("trial", checks.name, rendered=True, doc="the program")
    trialMode = argument(
        ("--reporter=bwverbose",),
        _words,
        rendered=True,
        doc="the options that choose trial's report; the step reads the default's",
    )
    trialArgs = argument((), _words, rendered=True, doc="further arguments")
    testpath = argument(
        None, checks.optional(checks.text), rendered=True, doc="a directory that is added to PYTHONPATH; None: none"
    )
    tests = argument(None, checks.optional(_words), rendered=True, doc="the tests to run, by the names of modules")
    testChanges = argument(
        False, checks.flag, rendered=True, doc="instead: run the tests that the changed files name in `test-case-name`"
    )
    recurse = argument(False, checks.flag, rendered=True, doc="give trial `--recurse`")
    reactor = argument(None, checks.optional(checks.text), rendered=True, doc="give trial `--reactor`")
    randomly = argument(False, checks.flag, rendered=True, doc="run them in random order")
    jobs = argument(None, checks.optional(checks.whole_number(1)), rendered=True, doc="how many tests run at a time")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.tests is None and not (is_renderable(self.testChanges) or self.testChanges):
            error(f"{type(self).__name__}: either tests or testChanges must be given")
        self.__report = _Report(self)
        self.addLogObserver("stdio", self.__report)
        for log, metric in (("stdio", "output"), ("test.log", "test.log")):
            self.addLogObserver(log, OutputProgressObserver(metric))

    async def run(self) -> int:
        """Run the tests."""
        self.command = self.__argv()
        if not self.logfiles:
            self.logfiles = self.__watched_files()
        if self.testpath:
            env = dict(self.env or {})
            before = env.get("PYTHONPATH", [])
            env["PYTHONPATH"] = [self.testpath, *([before] if isinstance(before, str) else before)]
            self.env = env
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        report = self.__report
        if report.problems:
            await self.addCompleteLog("problems", "".join(f"{line}\n" for line in report.problems))
        for kind in _KINDS:
            self.setStatistic(f"tests-{kind}", report.numbers.get(kind, 0))
        if report.total is None or report.failed() or ran.results() != SUCCESS:
            return FAILURE
        return SUCCESS

    def __argv(self) -> list[str]:
        command = [*(self.python or ()), self.trial, *self.trialMode]
        command += ["--recurse"] if self.recurse else []
        command += [f"--reactor={self.reactor}"] if self.reactor else []
        command += ["--random=0"] if self.randomly else []
        command += self.trialArgs
        command += [f"--jobs={self.jobs}"] if self.jobs else []
        if self.testChanges:
            return command + [f"--testmodule={file}" for file in self.build.allFiles() if file.endswith(".py")]
        return command + (self.tests or [])

    def __watched_files(self) -> Mapping[str, str]:
        if not self.jobs:
            return {"test.log": "_trial_temp/test.log"}
        return {
            f"{name}.{number}.log": f"_trial_temp/{number}/{name}.log"
            for number in range(self.jobs)
            for name in ("test", "err", "out")
        }

    def getCurrentSummary(self) -> Any:
        """The description, or "testing"."""
        return {"step": self.describe(self.description, "testing")}

    def getResultSummary(self) -> Any:
        """The numbers of tests by result."""
        words = self.__report.words()
        return self.summary_of_result(f"{words} ({self.reactor})" if isinstance(self.reactor, str) else words)


class _Report(LogLineObserver):
    """Reads trial's report: the numbers of tests, and the text on failed ones."""

    def __init__(self, step: Trial) -> None:
        self.total: int | None = None
        self.numbers: dict[str, int] = {}
        self.problems: list[str] = []
        self._chars = self._seen = 0
        self._trial = step

    def outLineReceived(self, line: str) -> None:
        if re.search(r"\.\.\. \[[\w ]+\]\s*\Z", line) is not None:
            self._seen += 1
            self._trial.setProgress("tests", self._seen)
        if (self.problems or line.startswith("=" * 4)) and self._chars < MAX_PROBLEMS_CHARS:
            self._chars += len(line) + 1
            self.problems.append(line)
        found = re.match(r"Ran (\d{1,9}) tests? in ", line)
        if found is not None:
            self.total, self.numbers = int(found[1]), {}
        elif self.total is not None and re.match(r"(?:PASSED|FAILED)\b", line) is not None:
            pairs = re.findall(r"(\w+)=(\d{1,9})", line)
            self.numbers = {name: int(number) for name, number in pairs if name in _KINDS}

    errLineReceived = outLineReceived

    def failed(self) -> int:
        """The number of failures and errors."""
        return self.numbers.get("failures", 0) + self.numbers.get("errors", 0)

    def words(self) -> str:
        """The numbers of tests by result, in words."""
        if self.total is None:
            return "testlog unparseable"
        counted = [(self.numbers.get(kind, 0), _WORDS[kind]) for kind in _KINDS]
        said = [f"{number} {one if number == 1 else many}" for number, (one, many) in counted if number]
        if self.failed():
            return " ".join(["tests", *said])
        if not self.total:
            return "no tests run"
        return " ".join([f"{self.total} {'test' if self.total == 1 else 'tests'} passed", *said])


class HLint(ProgramStep):
    """Check the changed ``.xhtml`` files with ``lore``, except those in ``sandbox/``; each line of output is a finding.

    A build without such a file skips the step. Lore is no longer maintained: a project needs its own ``bin/lore``.
    """

    positional: ClassVar[tuple[str, ...]] = ("python",)

    name = "hlint"
    flunkOnFailure = False
    warnOnFailure = True
    warnOnWarnings = True
    python = argument(
        None,
        checks.optional(_words),
        rendered=True,
        doc="the interpreter that runs `bin/lore`; None: `bin/lore` runs itself",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__found = _HLint()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Check the files."""
        files = [each for each in self.build.allFiles() if each.endswith(".xhtml") and not each.startswith("sandbox/")]
        if not files:
            self.descriptionDone = "no changed .xhtml files"
            return SKIPPED
        self.command = [*(self.python or ()), "bin/lore", "-p", "--output", "lint", *files]
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        if self.__found.total:
            await self.addCompleteLog("warnings", self.__found.text(["hlints"]))
        return FAILURE if ran.results() != SUCCESS else WARNINGS if self.__found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of findings."""
        if self.results == SKIPPED:
            return self.summary_of_result()
        total = self.__found.total
        return self.summary_of_result(f"{total} {'hlint' if total == 1 else 'hlints'}")


class _HLint(Findings):
    def outLineReceived(self, line: str) -> None:
        if ":" in line:
            self.add("hlints", line)


class RemovePYCs(ShellCommand):
    """Remove the compiled Python files below the step's directory."""

    name = "remove_pyc"
    command = ["find", ".", "-name", "*.pyc", "-delete"]
    description = ["removing", ".pyc", "files"]
    descriptionDone = ["remove", ".pycs"]
