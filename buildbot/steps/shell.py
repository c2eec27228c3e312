"""Steps that run a program on the worker."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep, BuildStepFailed, described, with_result
from buildbot.steps.suppressions import Directories, any_covers, read, suppression, suppressions
from buildbot.steps.worker import CompositeStepMixin
from buildbot.util.deferreds import resolved
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS, worst_status

#: characters of warnings that a step keeps for its log; later warnings are only counted
MAX_WARNINGS_CHARS = 4 * 1024 * 1024


class ShellCommand(ShellMixin, BuildStep):
    """Run a command; its exit status is the result."""

    name = "shell"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        if self.command is None and type(self).__init__ is ShellCommand.__init__:
            self.__needs_command()

    def __needs_command(self) -> None:
        error(f"{type(self).__name__} needs a command")

    def check_arguments(self) -> None:
        """Report a missing command: a subclass may set it after `__init__`, or in a ``run`` of its own."""
        if self.command is None and type(self).run.__module__.startswith("buildbot."):
            self.__needs_command()

    async def run(self) -> int:
        """Run the command."""
        command = await self.runCommand(await self.makeRemoteShellCommand())
        return command.results()


class Configure(ShellCommand):
    """Configure the sources: ``./configure`` by default; a failure ends the build."""

    name = "configure"
    description = "configuring"
    descriptionDone = "configure"
    command = ["./configure"]
    haltOnFailure = True


class WarningCountingShellCommand(CompositeStepMixin, ShellCommand):
    """A command whose output is searched for warnings: one or more of them turn success into WARNINGS.

    The warnings go to a log ``warnings (N)``, their number to the statistic ``warnings`` and, summed over the build, to
    the property ``warnings-count``. Subclasses may override `createSummary` and `evaluateCommand`, which are called in
    this order when the command has ended, and use `warnCount`, the number so far.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "warningPattern",
        "warningExtractor",
        "maxWarnCount",
        "directoryEnterPattern",
        "directoryLeavePattern",
        "suppressionFile",
        "suppressionList",
    )

    warningPattern = argument(
        r"(?i).*warning[: ].*",
        checks.optional(checks.pattern),
        rendered=True,
        doc="a regular expression, matched at the beginning of each line of output; None: warnings are not looked for",
    )
    warningExtractor = argument(
        None,
        checks.optional(checks.function),
        doc="""`f(step, line, match)` gives file, line number and text of a warning, for suppressions; None: the whole
        line is the text. `WarningCountingShellCommand.warnExtractFromRegexpGroups` takes the groups of the pattern""",
    )
    maxWarnCount = argument(
        None, checks.optional(checks.whole_number()), rendered=True, doc="with more warnings than this the step fails"
    )
    directoryEnterPattern = argument(
        "make.*: Entering directory [\u2019\"`'](.*)[\u2019'`\"]",
        checks.optional(checks.pattern),
        rendered=True,
        doc="the line of make that enters a directory, the first group; relative file names are below it",
    )
    directoryLeavePattern = argument(
        "make.*: Leaving directory",
        checks.optional(checks.pattern),
        rendered=True,
        doc="the line of make that leaves the directory",
    )
    suppressionFile = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="""a file on the worker, relative to the step's directory, of warnings that do not count: lines of
        `file : text`, two regular expressions, and `: first-last` for some lines only; `#` begins a comment""",
    )
    suppressionList = argument(
        None,
        checks.optional(suppressions),
        rendered=True,
        doc="the same as a list of `(file, text, first line, last line)`, each of which may be None",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = self.by_name(args, kwargs)
        super().__init__(**kwargs)
        self.warnCount = 0
        self.__lines: list[str] = []
        self.__chars = 0
        self.__suppressions: list[Any] = []
        self.__directories = Directories(None, None)

    def warnExtractWholeLine(self, line: str, match: re.Match[str]) -> tuple[str | None, int | None, str]:
        """For `warningExtractor`: the text is the whole line."""
        return None, None, line

    def warnExtractFromRegexpGroups(self, line: str, match: re.Match[str]) -> tuple[str | None, int | None, str]:
        """For `warningExtractor`: the first three groups of the pattern are file, line number and text."""
        file, number, text = (*match.groups(), None, None, None)[:3]
        digits = str(number or "")
        return file, int(digits[:18]) if digits.isdecimal() else None, line if text is None else text

    def addSuppression(self, suppressionList: Iterable[Any]) -> None:
        """Further warnings that do not count: ``(file, text, first line, last line)`` each."""
        self.__suppressions += map(suppression, suppressionList)

    async def run(self) -> int:
        """Run the command and count its warnings."""
        await self.__set_up_suppressions()
        enter, leave = self.directoryEnterPattern, self.directoryLeavePattern
        self.__directories = Directories(re.compile(enter) if enter else None, re.compile(leave) if leave else None)
        if self.warningPattern is not None:
            self.addLogObserver("stdio", _Lines(re.compile(self.warningPattern), self.__directories, self.__see))
        command = await self.runCommand(await self.makeRemoteShellCommand())
        await resolved(self.createSummary())
        results: int = await resolved(self.evaluateCommand(command))
        return results

    def __see(self, line: str, match: re.Match[str]) -> None:
        self.maybeAddWarning(self.__lines, line, match)

    async def __set_up_suppressions(self) -> None:
        self.addSuppression(self.suppressionList or ())
        if self.suppressionFile is None:
            return
        content = await self.getFileContentFromWorker(self.suppressionFile)
        if content is None:
            raise BuildStepFailed(f"the worker has no suppressionFile {self.suppressionFile!r}")
        try:
            self.__suppressions += read(content.splitlines())
        except ValueError as reason:
            raise BuildStepFailed(f"{self.suppressionFile}: {reason}") from None

    def maybeAddWarning(self, warnings: list[str], line: str, match: re.Match[str]) -> None:
        """Count a line that the pattern matches, and add it to the warnings, unless a suppression covers it."""
        extract: Any = self.warningExtractor or WarningCountingShellCommand.warnExtractWholeLine
        file, number, text = extract(self, line, match)
        place = None if file is None else self.__directories.place(str(file))
        if any_covers(self.__suppressions, place, number, text):
            return
        self.warnCount += 1
        if self.__chars < MAX_WARNINGS_CHARS:
            self.__chars += len(line) + 1
            warnings.append(line)

    def createSummary(self) -> Any:
        """Write the log of warnings, and their number as statistic and property; may return a Deferred."""
        self.setStatistic("warnings", self.warnCount)
        before = self.getProperty("warnings-count", 0)
        self.setProperty("warnings-count", before + self.warnCount, "WarningCountingShellCommand")
        if self.warnCount:
            left = self.warnCount - len(self.__lines)
            lines = [*self.__lines, *([f"… and {left} more"] if left else [])]
            self.addCompleteLog(f"warnings ({self.warnCount})", "\n".join(lines) + "\n")

    def evaluateCommand(self, cmd: RemoteCommand) -> Any:
        """The result code of the command that has ended, with its warnings; may return a Deferred."""
        results = cmd.results()
        if self.maxWarnCount is not None and self.warnCount > self.maxWarnCount:
            self.descriptionSuffix = f"{self.warnCount} warnings, more than {self.maxWarnCount}"
            return worst_status(results, FAILURE)
        return worst_status(results, WARNINGS) if self.warnCount else results


class _Lines(LogLineObserver):
    """Calls a function for each line that a pattern matches, and follows the directories that make enters."""

    def __init__(
        self, pattern: re.Pattern[str], directories: Directories, see: Callable[[str, re.Match[str]], None]
    ) -> None:
        self._pattern, self._directories, self._see = pattern, directories, see

    def outLineReceived(self, line: str) -> None:
        self._directories.look(line)
        match = self._pattern.match(line)
        if match is not None:
            self._see(line, match)

    errLineReceived = outLineReceived


class Compile(WarningCountingShellCommand):
    """Compile: ``make all`` by default; a failure ends the build."""

    name = "compile"
    description = "compiling"
    descriptionDone = "compile"
    command = ["make", "all"]
    haltOnFailure = True


class Test(WarningCountingShellCommand):
    """Run tests: ``make test`` by default. Warnings are looked for only if ``warningPattern`` is given.

    Subclasses count tests in `evaluateCommand`, and call `setTestResults` with the numbers.
    """

    __test__ = False  # not one of pytest's
    name = "test"
    description = "testing"
    descriptionDone = "test"
    command = ["make", "test"]
    warningPattern: Any = None
    warnOnFailure = True

    def setTestResults(self, total: int = 0, failed: int = 0, passed: int = 0, warnings: int = 0) -> None:
        """Add to the statistics ``tests-total``, ``tests-failed``, ``tests-passed`` and ``tests-warnings``."""
        for name, number in (("total", total), ("failed", failed), ("passed", passed), ("warnings", warnings)):
            self.setStatistic(f"tests-{name}", self.getStatistic(f"tests-{name}", 0) + number)

    def getResultSummary(self) -> Any:
        """The numbers of tests; without any, the summary of other commands."""
        total, *numbers = (self.getStatistic(f"tests-{each}", 0) for each in ("total", "passed", "warnings", "failed"))
        if not total:
            return super().getResultSummary()
        named = zip(numbers, ("passed", "warnings", "failed"), strict=True)
        text = " ".join([f"{total} tests", *(f"{number} {what}" for number, what in named if number)])
        own = self.descriptionDone if self.descriptionDone != Test.descriptionDone else ""
        whole = with_result(f"{described(own)} {text}".strip(), self.results)
        return {"step": whole, "build": with_result(f"{described(own) or self.name} {text}", self.results)}


class PerlModuleTest(Test):
    """Run the tests of a Perl module: ``prove`` by default."""

    command = ["prove", "--lib", "lib", "-r", "t"]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__printed = _LastLines()
        self.addLogObserver("stdio", self.__printed)

    def evaluateCommand(self, cmd: RemoteCommand) -> Any:
        """Read the numbers of tests that ``prove`` prints; failed tests are a failure, even with exit status 0."""
        found = _prove("\n".join(self.__printed.lines))
        if found is None:
            return super().evaluateCommand(cmd)
        total, failed = found
        self.setTestResults(total=total, failed=failed, passed=total - failed)
        return worst_status(cmd.results(), FAILURE) if failed else super().evaluateCommand(cmd)


class _LastLines(LogLineObserver):
    """Keeps the last lines of output."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=1000)

    def outLineReceived(self, line: str) -> None:
        self.lines.append(line[:10_000])

    errLineReceived = outLineReceived


def _prove(output: str) -> tuple[int, int] | None:
    """The numbers of all and of failed tests, from the output of ``prove``; None if it has none."""
    older = re.search(r"^Failed (\d+)/(\d+) (?:sub)?tests", output, re.M)
    whole = re.search(r"^Files=\d+, Tests=(\d+)", output, re.M)
    if whole is None:
        summary = re.search(r"Failed (\d+)/(\d+) (?:sub)?tests", output)
        return None if summary is None else (int(summary[2]), int(summary[1]))
    total = int(whole[1])
    if re.search(r"^All tests successful", output, re.M):
        return total, 0
    failed = sum(int(each) for each in re.findall(r"Tests: \d+ Failed: (\d+)\)", output))
    if not failed and older is not None:
        failed = int(older[1])
    return total, min(failed, total)


class TreeSize(ShellCommand):
    """Measure the size of the step's directory, in KiB, and set the property ``tree-size-KiB``."""

    name = "treesize"
    command = ["du", "-s", "-k", "."]
    description = "measuring tree size"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__size: int | None = None

    async def run(self) -> int:
        """Run ``du``, and set the property."""
        command = await self.runCommand(await self.makeRemoteShellCommand(collectStdout=True))
        if command.didFail():
            return FAILURE
        found = re.match(r"\s*(\d{1,18})\s", command.stdout)
        if found is None:
            return WARNINGS
        self.__size = int(found[1])
        self.setProperty("tree-size-KiB", self.__size, "treesize")
        return SUCCESS

    def getResultSummary(self) -> Any:
        """The size."""
        size = "unknown" if self.__size is None else f"{self.__size} KiB"
        return {"step": with_result(f"treesize {size}", self.results)}


class SetPropertyFromCommand(ShellCommand):
    """Run a command, and set one or several properties from its output."""

    positional: ClassVar[tuple[str, ...]] = ("property", "extract_fn", "strip", "includeStdout", "includeStderr")
    name = "setproperty"
    property = argument(
        None, checks.optional(checks.text), rendered=True, doc="the name of the property that takes the output"
    )
    extract_fn = argument(
        None,
        checks.optional(checks.function),
        doc="instead: `f(rc, stdout, stderr)`, which returns a dictionary of properties, also for a failed command",
    )
    strip = argument(True, checks.flag, rendered=True, doc="remove white space from both ends of the output")
    includeStdout = argument(True, checks.flag, rendered=True, doc="whether the value has the standard output")
    includeStderr = argument(
        False, checks.flag, rendered=True, doc="whether the value has the error output; `extract_fn` gets both"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(**self.take_arguments(self.positional, self.by_name(args, kwargs)))
        if (self.property is None) == (self.extract_fn is None):
            error("SetPropertyFromCommand needs either property or extract_fn")
        self.__set: list[str] = []

    async def run(self) -> int:
        """Run the command and set the properties."""
        function = self.extract_fn is not None
        command = await self.makeRemoteShellCommand(
            collectStdout=bool(self.includeStdout) or function, collectStderr=bool(self.includeStderr) or function
        )
        results = (await self.runCommand(command)).results()
        values: Any = {}
        if self.extract_fn is not None:
            rc = -1 if command.rc is None else command.rc
            values = await resolved(self.extract_fn(rc, command.stdout, command.stderr)) or {}
            if not isinstance(values, Mapping):
                raise TypeError(f"extract_fn of {self!r} must return a dictionary, not {values!r:.200}")
        elif results in (SUCCESS, WARNINGS):
            output = command.stdout + command.stderr
            values = {self.property: output.strip() if self.strip else output}
        for name, value in values.items():
            self.setProperty(name, value, "SetPropertyFromCommand Step")
        self.__set = sorted(values)
        if values:
            text = "".join(f"{name}: {values[name]!r}\n" for name in self.__set)
            await self.addCompleteLog("property changes", text)
        return results

    def getResultSummary(self) -> Any:
        """Which property was set, or how many."""
        if not self.__set or described(self.descriptionDone) or described(self.description):
            return super().getResultSummary()
        text = f"property {self.__set[0]!r} set" if len(self.__set) == 1 else f"{len(self.__set)} properties set"
        return self.summary_of_result(text)
