"""A mixin for steps that run programs on the worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument, arguments_of
from buildbot.config.errors import error
from buildbot.interfaces import holds_renderable
from buildbot.process.environment import EnvironmentMixin
from buildbot.process.remotecommand import RemoteShellCommand, flattened, is_signal
from buildbot.process.step import BuildStep
from buildbot.util.deferreds import deferred
from buildbot.util.results import ALL_RESULTS, CANCELLED, RETRY, SKIPPED, SUCCESS

_WHY_KILLED = {
    "timeout_without_output": "timed out after {timeout} s without output",
    "timeout": "timed out after {maxTime} s",
    "max_lines_failure": "killed after {max_lines} lines of output",
}


def _command(value: object) -> object:
    if value is not None and not isinstance(value, (str, list, tuple)):
        raise ValueError(f"must be a text, a list or a renderable, not {checks.kind(value)}")
    return value


def _logfiles(value: object) -> Mapping[str, Any]:
    checked = checks.mapping(value)
    for name, each in checked.items():
        if isinstance(each, Mapping):
            if "filename" not in each or each.keys() - {"filename", "follow"}:
                raise ValueError(f"[{name!r}] must have 'filename', may have 'follow', and no more, not {each!r:.200}")
            each = each["filename"]
        if not isinstance(each, str) or not each:
            raise ValueError(f"[{name!r}] must be the path of a file, not {checks.kind(each)}")
    return checked


def _codes(value: object) -> Mapping[Any, Any]:
    checked = checks.dictionary(value)
    for code, results in checked.items():
        if type(code) is not int or results not in ALL_RESULTS:
            raise ValueError(f"must have exit codes as keys and results as values, not {code!r}: {results!r:.100}")
    return checked


def _input(value: object) -> str | bytes | None:
    if value is not None and not isinstance(value, (str, bytes)):
        raise ValueError(f"must be a text, not {checks.kind(value)}")
    return value


def _signal(value: Any) -> object:
    if not is_signal(value):
        raise ValueError(f"must be the name of a signal without 'SIG', or its number, not {checks.kind(value)}")
    return value


class ShellMixin(EnvironmentMixin):
    """For steps that run programs on the worker: the arguments of ShellCommand, and commands made from them.

    ``kwargs = self.setupShellMixin(kwargs)`` in ``__init__`` takes its arguments and returns the others;
    ``await self.makeRemoteShellCommand(command=…)`` in ``run`` makes a command for `BuildStep.runCommand`.
    """

    workdir: Any
    command = argument(None, _command, rendered=True, doc="a text for the worker's shell, or a list of arguments")
    want_stdout = argument(True, checks.flag, rendered=True, doc="whether its output goes to the log")
    want_stderr = argument(True, checks.flag, rendered=True, doc="whether its error output goes to the log")
    usePTY = argument(
        False, checks.flag, rendered=True, doc="run it in a terminal of its own, where the worker has them"
    )
    logfiles: Mapping[str, Any] | None = argument(
        MappingProxyType({}),
        checks.optional(_logfiles),
        rendered=True,
        doc="""files on the worker that become logs while they are written: `{name: path}`, or
        `{name: {"filename": path, "follow": True}}` for what comes from now on""",
    )
    lazylogfiles = argument(
        False, checks.flag, rendered=True, doc="make the logs of `logfiles` only when their first text comes"
    )
    maxTime = argument(None, checks.optional(checks.number()), rendered=True, doc="seconds before it is killed")
    max_lines = argument(
        None, checks.optional(checks.whole_number()), rendered=True, doc="lines of output before it is killed"
    )
    interruptSignal = argument(
        "KILL", _signal, rendered=True, doc="the signal that stops it, by its name without `SIG` or by its number"
    )
    sigtermTime = argument(
        None,
        checks.optional(checks.number()),
        rendered=True,
        doc="seconds between SIGTERM and `interruptSignal`; None: no SIGTERM",
    )
    initialStdin = argument(None, _input, rendered=True, doc="its standard input")
    decodeRC: Mapping[int, int] | None = argument(
        MappingProxyType({0: SUCCESS}),
        checks.optional(_codes),
        rendered=True,
        doc="the result for each exit code; other codes mean FAILURE",
    )

    def setupShellMixin(
        self, constructorArgs: dict[str, Any], prohibitArgs: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Take the shell arguments out of ``constructorArgs``; returns the rest, for `BuildStep`."""
        for name in prohibitArgs or ():
            if name in constructorArgs:
                error(f"invalid {type(self).__name__} argument {name!r}: argument {name!r} is not allowed")
        return self.__step.take_arguments(SHELL_ARGUMENTS, constructorArgs)

    def getCurrentSummary(self) -> Any:
        """The description, or the beginning of the command."""
        return {"step": self.__step.describe(self.__step.description, self.__shown_command(), "running")}

    def getResultSummary(self) -> Any:
        """The description or the beginning of the command, why it failed, and the result."""
        return self.__step.summary_of_result(self.__shown_command(), self.__why_failed())

    def __shown_command(self) -> str:
        """The first words of the command, in quotes; empty if there is none, or it is not rendered."""
        if not isinstance(self.command, (str, list, tuple)) or holds_renderable(self.command):
            return ""
        words = self.command.split() if isinstance(self.command, str) else flattened(self.command)
        shown = [str(word[-1] if isinstance(word, tuple) and word else word) for word in words[:3]]
        return f"'{' '.join(shown[:2])}{' ...' if len(shown) > 2 else ''}'" if shown else ""

    def __why_failed(self) -> str:
        """Why the command failed, in words: it was killed, or its exit code; empty if it succeeded."""
        command = self.__step.cmd
        if not isinstance(command, RemoteShellCommand) or self.__step.results in (SUCCESS, SKIPPED, CANCELLED, RETRY):
            return ""
        reason = command.failure_reason()
        if reason is not None:
            limits = {name: getattr(self, name) for name in ("timeout", "maxTime", "max_lines")}
            return _WHY_KILLED.get(reason, "killed by the worker, which says {reason}").format(reason=reason, **limits)
        if command.rc is None or command.rc == 0:
            return ""
        return "killed by a signal" if command.rc < 0 else f"exit code {command.rc}"

    @deferred
    async def makeRemoteShellCommand(
        self,
        collectStdout: bool = False,
        collectStderr: bool = False,
        stdioLogName: str | None = "stdio",
        **overrides: Any,
    ) -> RemoteShellCommand:
        """A command with the step's arguments and with ``overrides``; its logs are begun."""
        arguments = {name: getattr(self, name) for name in SHELL_ARGUMENTS if name != "lazylogfiles"}
        arguments["workdir"] = self.__step.directory()
        arguments.update(overrides)
        if arguments["command"] is None:
            raise ValueError(f"{self!r} has no command")
        arguments["env"] = await self.command_environment(arguments["env"])
        command = RemoteShellCommand(
            collectStdout=collectStdout, collectStderr=collectStderr, stdioLogName=stdioLogName, **arguments
        )
        if arguments["logfiles"] and stdioLogName is not None:
            await self.__step.command_log(stdioLogName)  # pages show logs in their order: first the output
        for name in arguments["logfiles"] or ():
            command.useLog(await self.__step.watched_log(name, self.lazylogfiles), logfileName=name)
        return command

    @property
    def __step(self) -> BuildStep:
        if not isinstance(self, BuildStep):
            raise TypeError("ShellMixin is for subclasses of BuildStep")
        return self


#: names of the arguments of `ShellMixin`
SHELL_ARGUMENTS = tuple(arguments_of(ShellMixin))
