"""What steps mix in that run programs on the worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from buildbot.config.errors import error
from buildbot.process.remotecommand import RemoteShellCommand, flattened, is_signal
from buildbot.process.rendering import holds_renderable, is_renderable
from buildbot.process.step import BuildStep
from buildbot.util.deferreds import deferred
from buildbot.util.results import CANCELLED, RETRY, SKIPPED, SUCCESS

_WHY_KILLED = {
    "timeout_without_output": "timed out after {timeout} s without output",
    "timeout": "timed out after {maxTime} s",
    "max_lines_failure": "killed after {max_lines} lines of output",
}


class ShellMixin:
    """For steps that run programs on the worker: the arguments of ShellCommand, and commands made from them.

    ``kwargs = self.setupShellMixin(kwargs)`` in ``__init__`` takes its arguments and returns the others;
    ``await self.makeRemoteShellCommand(command=…)`` in ``run`` makes a command for `BuildStep.runCommand`.
    """

    command: Any = None
    workdir: Any
    env: Any = {}
    want_stdout = True
    want_stderr = True
    usePTY = False
    logfiles: Any = {}
    lazylogfiles = False
    timeout: Any = 20 * 60
    maxTime: Any = None
    max_lines: Any = None
    logEnviron = True
    interruptSignal = "KILL"
    sigtermTime: Any = None
    initialStdin: Any = None
    decodeRC: Mapping[int, int] = {0: SUCCESS}

    _shell_arguments = (
        "command",
        "env",
        "want_stdout",
        "want_stderr",
        "usePTY",
        "logfiles",
        "lazylogfiles",
        "timeout",
        "maxTime",
        "max_lines",
        "logEnviron",
        "interruptSignal",
        "sigtermTime",
        "initialStdin",
        "decodeRC",
    )
    renderables: Collection[str] = _shell_arguments

    def setupShellMixin(self, constructorArgs: dict[str, Any], prohibitArgs: Collection[str] = ()) -> dict[str, Any]:
        """Take the shell arguments out of ``constructorArgs``; returns the rest, for `BuildStep`."""
        rest = dict(constructorArgs)
        for argument in self._shell_arguments:
            if argument in prohibitArgs and argument in rest:
                error(f"{type(self).__name__}: argument {argument!r} is not allowed")
            if argument in rest:
                setattr(self, argument, rest.pop(argument))
        if not is_renderable(self.interruptSignal) and not is_signal(self.interruptSignal):
            error(f"{type(self).__name__}: no signal {self.interruptSignal!r}; give its name without 'SIG'")
        return rest

    def getCurrentSummary(self) -> Any:
        """The description, or the beginning of the command."""
        return {"step": self._step.describe(self._step.description, self._shown_command(), "running")}

    def getResultSummary(self) -> Any:
        """The description or the beginning of the command, why it failed, and the result."""
        return self._step.summary_of_result(self._shown_command(), self._why_failed())

    def _shown_command(self) -> str:
        """The first words of the command, in quotes; empty if there is none, or it is not rendered."""
        if not isinstance(self.command, (str, list, tuple)) or holds_renderable(self.command):
            return ""
        words = self.command.split() if isinstance(self.command, str) else flattened(self.command)
        shown = [str(word[-1] if isinstance(word, tuple) and word else word) for word in words[:3]]
        return f"'{' '.join(shown[:2])}{' ...' if len(shown) > 2 else ''}'" if shown else ""

    def _why_failed(self) -> str:
        """Why the command did not succeed, in words: it was killed, or its exit code; empty if it did."""
        command = self._step.cmd
        if command is None or self._step.results in (SUCCESS, SKIPPED, CANCELLED, RETRY):
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
        """A command with the step's arguments, those in ``overrides`` excepted; its logs are begun."""
        arguments = {name: getattr(self, name) for name in self._shell_arguments if name != "lazylogfiles"}
        arguments["workdir"] = self._step.directory()
        arguments.update(overrides)
        if arguments["command"] is None:
            raise ValueError(f"{self!r} has no command")
        arguments["env"] = {**await self._step.render(dict(self._step.build.env)), **(arguments["env"] or {})}
        command = RemoteShellCommand(
            collectStdout=collectStdout, collectStderr=collectStderr, stdioLogName=stdioLogName, **arguments
        )
        for name in arguments["logfiles"] or ():
            log = self._step._make_log(name, "s")
            if not self.lazylogfiles:
                await log.open()
            command.useLog(log, name)
        return command

    @property
    def _step(self) -> BuildStep:
        if not isinstance(self, BuildStep):
            raise TypeError("ShellMixin is for subclasses of BuildStep")
        return self
