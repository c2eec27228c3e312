"""Steps that run a program on the worker."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep
from buildbot.util.deferreds import resolved
from buildbot.util.results import SUCCESS, WARNINGS, worst_status


class ShellCommand(ShellMixin, BuildStep):
    """Run a command; its exit status decides."""

    name = "shell"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        if self.command is None and type(self).__init__ is ShellCommand.__init__:
            self._needs_command()

    def _needs_command(self) -> None:
        error(f"{type(self).__name__} needs a command")

    def check_arguments(self) -> None:
        """Report a missing command: a subclass may set it after `__init__`, or in a ``run`` of its own."""
        if self.command is None and type(self).run.__module__.startswith("buildbot."):
            self._needs_command()

    async def run(self) -> int:
        """Run the command."""
        command = await self.runCommand(await self.makeRemoteShellCommand())
        return command.results()


def _pattern(value: Any) -> Any:
    try:
        re.compile(value)
    except (re.error, TypeError) as problem:
        raise ValueError(f"must be a regular expression, not {checks.kind(value)} ({problem})") from None
    return value


class WarningCountingShellCommand(ShellCommand):
    """A command whose output is searched for warnings: one or more of them turn success into WARNINGS.

    The warnings go to a log ``warnings (N)``, their number to the property ``warnings-count``, summed over the build.
    """

    warningPattern = argument(
        r"(?i).*warning[: ].*",
        _pattern,
        rendered=True,
        doc="a regular expression, or a compiled one, matched at the beginning of each line of output",
    )
    maxWarnCount = argument(
        None, checks.optional(checks.whole_number()), rendered=True, doc="with more warnings than this the step fails"
    )

    async def run(self) -> int:
        """Run the command and count."""
        warnings = _Warnings(self.warningPattern)
        command = await self.makeRemoteShellCommand()
        self.addLogObserver("stdio", warnings)
        results = (await self.runCommand(command)).results()
        lines = warnings.lines
        if lines:
            await self.addCompleteLog(f"warnings ({len(lines)})", "\n".join(lines) + "\n")
            self.setProperty("warnings-count", self.getProperty("warnings-count", 0) + len(lines))
            if self.maxWarnCount is not None and len(lines) > self.maxWarnCount:
                self.descriptionSuffix = f"{len(lines)} warnings, more than {self.maxWarnCount}"
                return max(results, 2)
            results = worst_status(results, WARNINGS)
        return results


class _Warnings(LogLineObserver):
    """Collects the lines of output that a pattern matches."""

    def __init__(self, pattern: Any) -> None:
        self.lines: list[str] = []
        self._pattern = re.compile(pattern)

    def outLineReceived(self, line: str) -> None:
        if self._pattern.match(line):
            self.lines.append(line)

    errLineReceived = outLineReceived


class Compile(WarningCountingShellCommand):
    """Compile: ``make all`` by default; a failure ends the build."""

    name = "compile"
    description = "compiling"
    descriptionDone = "compile"
    command = ["make", "all"]
    haltOnFailure = True


class Test(WarningCountingShellCommand):
    """Run tests: ``make test`` by default. Warnings are looked for only if ``warningPattern`` is given."""

    __test__ = False  # not one of pytest's
    name = "test"
    description = "testing"
    descriptionDone = "test"
    command = ["make", "test"]
    warningPattern = r"(?!)"


class SetPropertyFromCommand(ShellCommand):
    """Run a command and make a property of its output, or several."""

    positional: ClassVar[tuple[str, ...]] = ("property", "extract_fn", "strip", "includeStdout", "includeStderr")
    name = "setproperty"
    property = argument(
        None, checks.optional(checks.text), rendered=True, doc="the name of the property that takes the output"
    )
    extract_fn = argument(
        None,
        checks.optional(checks.function),
        doc="or `f(rc, stdout, stderr)`, which returns a dictionary of properties (of a failed command too)",
    )
    strip = argument(True, checks.flag, rendered=True, doc="take white space off both ends of the output")
    includeStdout = argument(True, checks.flag, rendered=True, doc="whether the output counts")
    includeStderr = argument(
        False, checks.flag, rendered=True, doc="whether the error output counts; for `extract_fn` it does"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(**self.take_arguments(self.positional, self.by_name(args, kwargs)))
        if (self.property is None) == (self.extract_fn is None):
            error("SetPropertyFromCommand needs either property or extract_fn")
        if self.extract_fn is not None:
            self.includeStderr = True

    async def run(self) -> int:
        """Run the command and set the properties."""
        command = await self.makeRemoteShellCommand(collectStdout=self.includeStdout, collectStderr=self.includeStderr)
        results = (await self.runCommand(command)).results()
        values: dict[str, Any] = {}
        if self.extract_fn is not None:
            rc = -1 if command.rc is None else command.rc
            values = await resolved(self.extract_fn(rc, command.stdout, command.stderr)) or {}
        elif results == SUCCESS:
            output = command.stdout + command.stderr
            values = {self.property: output.strip() if self.strip else output}
        for name, value in values.items():
            self.setProperty(name, value, "SetPropertyFromCommand Step")
        if values:
            text = "".join(f"{name}: {value!r}\n" for name, value in sorted(values.items()))
            await self.addCompleteLog("property changes", text)
        return results
