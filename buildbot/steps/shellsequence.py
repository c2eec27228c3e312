"""Several commands in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument, arguments_of
from buildbot.config.errors import error
from buildbot.interfaces import IProperties
from buildbot.process.rendering import rendered
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep, with_result
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS, computeResultAndTermination


def _command(value: Any) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise ValueError(f"must be a text or a list, not {checks.kind(value)}")
    return value


class ShellArg(Declared):
    """One command of a `ShellSequence`."""

    positional: ClassVar[tuple[str, ...]] = ("command", "logname")
    command = argument(
        REQUIRED, _command, rendered=True, doc="a text for the worker's shell, or a list of arguments; empty: skipped"
    )
    logname = argument(
        None, checks.optional(checks.name), rendered=True, doc="the log of its output; None: the output is dropped"
    )
    haltOnFailure = argument(False, checks.flag, rendered=True, doc="a failure ends the sequence")
    flunkOnWarnings = argument(False, checks.flag, rendered=True, doc="warnings make the step fail")
    flunkOnFailure = argument(True, checks.flag, rendered=True, doc="a failure makes the step fail")
    warnOnWarnings = argument(False, checks.flag, rendered=True, doc="warnings make the step end with warnings")
    warnOnFailure = argument(False, checks.flag, rendered=True, doc="a failure makes the step end with warnings")

    def __repr__(self) -> str:
        return f"ShellArg({self.command!r})"

    async def getRenderingFor(self, props: IProperties) -> RenderedShellArg:
        """The command with its rendered values; ValueError names one that is not allowed."""
        values, declared = {}, arguments_of(ShellArg)
        for name in declared:
            value = await rendered(getattr(self, name), props)
            try:
                values[name] = declared[name].check(value)
            except ValueError as reason:
                raise ValueError(f"{self!r}: {name} {reason}") from None
        return RenderedShellArg(**values)


@dataclass(frozen=True)
class RenderedShellArg:
    """A `ShellArg` with rendered values."""

    command: Any
    logname: str | None
    haltOnFailure: Any
    flunkOnWarnings: Any
    flunkOnFailure: Any
    warnOnWarnings: Any
    warnOnFailure: Any


def _commands(value: Any) -> list[Any]:
    found = checks.sequence(value)
    for number, each in enumerate(found, 1):
        if not isinstance(each, (ShellArg, RenderedShellArg)):
            raise ValueError(f"element {number} must be a util.ShellArg, not {checks.kind(each)}")
    return found


class ShellSequence(ShellMixin, BuildStep):
    """Run several commands one after the other, each with its own flags; they share all other arguments.

    Subclasses may call `runShellSequence` with commands of their own, and override `shouldRunTheCommand` and
    `getFinalState`.

    Attributes:
        last_command: the command that ran last.
    """

    name = "shellsequence"
    last_command: Any = None
    commands = argument(
        None, checks.optional(_commands), rendered=True, doc="a list of `util.ShellArg`, or a renderable that gives it"
    )

    def __init__(self, commands: Any = None, **kwargs: Any) -> None:
        given = {} if commands is None else {"commands": commands}
        super().__init__(**given, **self.setupShellMixin(kwargs, prohibitArgs=["command"]))

    def check_arguments(self) -> None:
        """Report missing commands, unless a subclass has a ``run`` of its own."""
        if self.commands is None and type(self).run is ShellSequence.run:
            error(f"{type(self).__name__} needs commands")

    def shouldRunTheCommand(self, oneCmd: Any) -> bool:
        """Whether to run a command, which is the ``command`` of a `ShellArg`; by default an empty one is skipped."""
        return bool(oneCmd)

    def getFinalState(self) -> Any:
        """The text or the summary that the step shows at its end; by default the summary of other commands."""
        return super().getResultSummary()

    async def run(self) -> int:
        """Run the commands."""
        return await self.runShellSequence(self.commands)

    @deferred
    async def runShellSequence(self, commands: Any) -> int:
        """Run some commands; the result code of all.

        Args:
            commands: a list of `ShellArg`, in which renderables are replaced.

        Raises:
            ValueError: there are none, or an element is no `ShellArg`; none has run.
        """
        if commands is None:
            raise ValueError(f"{self!r} has no commands")
        try:
            checked = await self.render(_commands(commands))
        except ValueError as reason:
            raise ValueError(f"commands of {self!r} {reason}") from None
        results = SUCCESS
        for each in checked:
            if not self.shouldRunTheCommand(each.command):
                continue
            self.command = self.last_command = each.command
            command = await self.makeRemoteShellCommand(command=each.command, stdioLogName=each.logname)
            await self.runCommand(command)
            results, ends = computeResultAndTermination(each, command.results(), results)
            if ends:
                break
        return results

    def getResultSummary(self) -> Any:
        """The summary that `getFinalState` gives; a text gets the result added."""
        final = self.getFinalState()
        return {"step": with_result(final, self.results)} if isinstance(final, str) else final
