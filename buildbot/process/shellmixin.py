"""What steps mix in that run programs on the worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from buildbot.config.errors import error
from buildbot.process.remotecommand import RemoteShellCommand, is_signal
from buildbot.process.step import BuildStep
from buildbot.util.deferreds import deferred
from buildbot.util.results import SUCCESS


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
    renderables: Collection[str] = (
        "command",
        "env",
        "logfiles",
        "timeout",
        "maxTime",
        "max_lines",
        "sigtermTime",
        "initialStdin",
    )

    def setupShellMixin(self, constructorArgs: dict[str, Any], prohibitArgs: Collection[str] = ()) -> dict[str, Any]:
        """Take the shell arguments out of ``constructorArgs``; returns the rest, for `BuildStep`."""
        rest = dict(constructorArgs)
        for argument in self._shell_arguments:
            if argument in prohibitArgs and argument in rest:
                error(f"{type(self).__name__}: argument {argument!r} is not allowed")
            if argument in rest:
                setattr(self, argument, rest.pop(argument))
        if not is_signal(self.interruptSignal):
            error(f"{type(self).__name__}: no signal {self.interruptSignal!r}; give its name without 'SIG'")
        return rest

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
        arguments["workdir"] = self.workdir or self._step.build.workdir
        arguments.update(overrides)
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
