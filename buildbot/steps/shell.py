"""Steps that run a program on the worker."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from buildbot.config.errors import error
from buildbot.process.properties import IRenderable, resolved
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep, with_result
from buildbot.util.results import SUCCESS, WARNINGS, worst_status

_WHY_KILLED = {
    "timeout_without_output": "no output for {timeout} s",
    "timeout": "took longer than {maxTime} s",
    "max_lines_failure": "more than {max_lines} lines of output",
}


class ShellCommand(ShellMixin, BuildStep):
    """Run a command; its exit status decides.

    Args:
        command: a text for the worker's shell, or a list of arguments. May hold renderables.
        others: those of `ShellMixin` (``env``, ``timeout``, ``logfiles``, …) and of `BuildStep`.
    """

    name = "shell"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**self.setupShellMixin(kwargs))
        if self.command is None:
            error(f"{type(self).__name__} needs a command")
        elif not isinstance(self.command, (str, list, tuple)) and not isinstance(self.command, IRenderable):
            error(f"{type(self).__name__}: command must be a text, a list or a renderable, not {self.command!r}")

    async def run(self) -> int:
        """Run the command."""
        command = await self.makeRemoteShellCommand()
        results = await self.runCommand(command)
        self._explain(command.failure_reason())
        return results

    def getCurrentSummary(self) -> dict[str, str]:
        """The description, or the beginning of the command."""
        return {"step": self._described(self.description or self._shown_command())}

    def getResultSummary(self) -> dict[str, str]:
        """The same with the result."""
        text = self._described(self.descriptionDone or self.description or self._shown_command())
        return {"step": with_result(text, self.results), "build": with_result(text, self.results)}

    def _explain(self, reason: str | None) -> None:
        """Say in the description why the worker killed the command, if it did."""
        if reason is not None:
            why = _WHY_KILLED.get(reason, reason).format(
                **{name: getattr(self, name) for name in self._shell_arguments}
            )
            self.descriptionSuffix = f"killed: {why}"

    def _shown_command(self) -> str:
        """The first words of the command, in quotes."""
        words = self.command.split() if isinstance(self.command, str) else list(self.command or ())
        shown = [str(word[-1] if isinstance(word, tuple) and word else word) for word in words[:3]]
        return f"'{' '.join(shown[:2])}{' ...' if len(shown) > 2 else ''}'" if shown else "command"


class WarningCountingShellCommand(ShellCommand):
    """A command whose output is searched for warnings: one or more of them turn success into WARNINGS.

    Args:
        warningPattern: a regular expression, or a compiled one, matched at the beginning of each line of output.
        maxWarnCount: with more warnings than this the step fails; None: never.

    The warnings go to a log ``warnings (N)``, their number to the property ``warnings-count``, summed over the build.
    """

    warningPattern: Any = r"(?i).*warning[: ].*"
    maxWarnCount: int | None = None

    def __init__(self, **kwargs: Any) -> None:
        for argument in ("warningPattern", "maxWarnCount"):
            if argument in kwargs:
                setattr(self, argument, kwargs.pop(argument))
        super().__init__(**kwargs)

    async def run(self) -> int:
        """Run the command and count."""
        pattern, warnings = re.compile(self.warningPattern), list[str]()

        def look(stream: str, line: str) -> None:
            if stream != "h" and pattern.match(line):
                warnings.append(line)

        command = await self.makeRemoteShellCommand()
        (await self.addLog("stdio")).observe(look)
        results = await self.runCommand(command)
        self._explain(command.failure_reason())
        if warnings:
            await self.addCompleteLog(f"warnings ({len(warnings)})", "\n".join(warnings) + "\n")
            self.setProperty("warnings-count", self.getProperty("warnings-count", 0) + len(warnings))
            if self.maxWarnCount is not None and len(warnings) > self.maxWarnCount:
                self.descriptionSuffix = f"{len(warnings)} warnings, more than {self.maxWarnCount}"
                return max(results, 2)
            results = worst_status(results, WARNINGS)
        return results


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
    """Run a command and make a property of its output.

    Args:
        property: the name of the property that takes the output; or
        extract_fn: ``f(rc, stdout, stderr)`` that returns a dictionary of properties (also for a failed command).
        strip: take white space off both ends of the output.
        includeStdout, includeStderr: which streams count.
    """

    name = "setproperty"
    renderables = ("property",)

    def __init__(
        self,
        property: Any = None,
        extract_fn: Callable[[int, str, str], dict[str, Any]] | None = None,
        strip: bool = True,
        includeStdout: bool = True,
        includeStderr: bool = False,
        **kwargs: Any,
    ) -> None:
        if (property is None) == (extract_fn is None):
            error("SetPropertyFromCommand needs either property or extract_fn")
        self.property, self.extract_fn, self.strip = property, extract_fn, strip
        self.include_stdout, self.include_stderr = includeStdout, includeStderr or extract_fn is not None
        super().__init__(**kwargs)

    async def run(self) -> int:
        """Run the command and set the properties."""
        command = await self.makeRemoteShellCommand(
            collectStdout=self.include_stdout, collectStderr=self.include_stderr
        )
        results = await self.runCommand(command)
        self._explain(command.failure_reason())
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
