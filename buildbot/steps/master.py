"""Steps that run on the master: they run programs, set properties, check and log values."""

from __future__ import annotations

import codecs
import os
import pprint
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.config.errors import error
from buildbot.process.logs import Log
from buildbot.process.remotecommand import flattened, is_signal
from buildbot.process.step import BuildStep, BuildStepCancelled, described, with_result
from buildbot.util.deferreds import deferred
from buildbot.util.results import FAILURE, SUCCESS

#: seconds between the signal that stops a program and SIGKILL
KILL_AFTER_S = 5
#: seconds to wait for the end of a program's output after its exit; its child processes may hold the output open
DRAIN_S = 5
#: Python code that makes a session and runs a program in it
_OWN_SESSION = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"


def _command(value: Any) -> Any:
    if value is None or value == "":
        return None  # a subclass may set it after ``__init__``
    if isinstance(value, str):
        return checks.name(value)
    words = flattened(checks.sequence(value))
    if not words:
        raise ValueError("must be a text for the shell or a list of the program and its arguments, not an empty list")
    for number, word in enumerate(words, 1):
        if isinstance(word, bool) or not isinstance(word, (str, int, float)):
            raise ValueError(f"element {number} must be a text, not {checks.kind(word)}")
    return [str(word) for word in words]


def _signal(value: Any) -> Any:
    if not isinstance(value, str) or not is_signal(value):
        raise ValueError(f"must be the name of a signal without 'SIG', not {checks.kind(value)}")
    return value


class MasterShellCommand(BuildStep):
    """Run a command on the master, with the rights of the master.

    The command can read everything that the master can, so no part of it may come from a change or a worker.
    """

    name = "MasterShellCommand"
    haltOnFailure = True
    positional: ClassVar[tuple[str, ...]] = ("command",)
    command = argument(
        REQUIRED,
        _command,
        rendered=True,
        doc="a text for the master's shell, or a list of arguments; subclasses may set it after `__init__`",
    )
    env = argument(
        None,
        checks.optional(checks.mapping),
        rendered=True,
        doc="""its whole environment, without the variables whose value is None; None: that of the master. `${NAME}` in
        a value is replaced from the master's, lists are joined with `:`""",
    )
    workdir: Any = argument(
        None,
        checks.optional(checks.text),
        rendered=True,
        doc="its working directory, relative to the master's base directory; None: the base directory",
    )
    usePTY = argument(False, checks.flag, rendered=True, doc="run it in a terminal of its own")
    interruptSignal = argument(
        "KILL",
        _signal,
        rendered=True,
        doc="the name, without `SIG`, of the signal that stops the command when the build is stopped",
    )
    logEnviron = argument(
        True,
        checks.flag,
        rendered=True,
        doc="whether the log shows the variables of `env`; the master's own are never shown",
    )
    runtime_timeout = argument(
        60 * 60,
        checks.optional(checks.number()),
        rendered=True,
        doc="seconds after which the command is stopped; None: no limit",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__process: _Process | None = None
        self.__said = ""
        if type(self).__init__ is MasterShellCommand.__init__:
            self.check_arguments()

    def check_arguments(self) -> None:
        """Report a missing command."""
        if self.command is None and type(self).run.__module__.startswith("buildbot."):
            error(f"{type(self).__name__}: command must be a text that is not empty, or a list")

    async def default_workdir(self) -> str:
        """The master's directory."""
        return str(self.master.basedir)

    async def run(self) -> int:
        """Run the command."""
        if self.command is None:
            raise ValueError("command is neither a text nor a list")
        directory = os.path.join(self.master.basedir, os.path.expanduser(self.workdir))
        argv = ["/bin/sh", "-c", self.command] if isinstance(self.command, str) else list(self.command)
        env = dict(os.environ) if self.env is None else _environment(self.env)
        program = _path_of(argv[0], directory, env)
        log = await self.addLog("stdio")
        self.__head(log, argv, directory)
        if self.stopped:
            raise BuildStepCancelled
        process = self.__process = _Process(log, self.master.reactor)
        process.start([program, *argv[1:]], env, directory, bool(self.usePTY))
        limit = None
        if self.runtime_timeout is not None:
            limit = self.master.reactor.callLater(self.runtime_timeout, self.__too_long, process, log)
        try:
            code, signaled = await process.ended
        finally:
            if limit is not None and limit.active():
                limit.cancel()
        if self.stopped:
            raise BuildStepCancelled
        if code == 0:
            return SUCCESS
        log.addHeader(f"exit status {code}\n" if signaled is None else f"signal {signaled}\n")
        self.__said = f"failed ({code})" if signaled is None else f"killed ({signaled})"
        return FAILURE

    def __head(self, log: Log, argv: list[str], directory: str) -> None:
        log.addHeader(f"{self.command if isinstance(self.command, str) else ' '.join(argv)}\n\n")
        log.addHeader(f"runs on the master\n in directory {directory}\n argv: {argv}\n")
        if self.logEnviron and self.env is not None:
            log.addHeader(" environment:\n")
            for name, value in sorted(_environment(self.env).items()):
                log.addHeader(f"  {name}={value}\n")

    def __too_long(self, process: _Process, log: Log) -> None:
        log.addHeader(f"still running after {self.runtime_timeout} s, which is too long\n")
        process.stop("TERM")

    def getCurrentSummary(self) -> Any:
        """The description, or "Running"."""
        return {"step": self.describe(self.description, "Running")}

    def getResultSummary(self) -> Any:
        """The description, or "Ran"; how it failed, and the result."""
        if not self.__said:
            return self.summary_of_result("Ran")
        summary = self.summary_of_result(why=self.__said)
        if not described(self.descriptionDone) and not described(self.description):
            summary["step"] = with_result(self.__said, self.results)
        return summary

    @deferred
    async def interrupt(self, reason: str | Failure) -> None:
        """Stop the program."""
        await super().interrupt(reason)
        if self.__process is not None:
            self.__process.stop(self.interruptSignal)


def _environment(given: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables as a program takes them."""

    def expanded(text: str) -> str:
        return re.sub(r"\$\{(\w*)\}", lambda match: os.environ.get(match[1], ""), text)

    env = {}
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, (list, tuple)):
            value = os.pathsep.join(map(str, value))
        env[name] = expanded(str(value))
    return env


def _path_of(program: str, directory: str, env: Mapping[str, str]) -> str:
    """The absolute path of a program; FileNotFoundError if there is none."""
    if "/" in program:
        program = os.path.join(directory, program)
    found = shutil.which(program, path=env.get("PATH", os.defpath))
    if found is None:
        raise FileNotFoundError(f"the master has no program {program!r} that can be run")
    return os.path.abspath(found)


class _Process(ProcessProtocol):
    """A program that runs in a session of its own, so that all that it starts can be stopped with it.

    Args:
        log: gets the output, which is not read while too much of it waits to be stored.
        reactor: starts the process, and measures the time.

    Attributes:
        ended: fires with the exit code and None, or with None and the signal that ended it.
    """

    def __init__(self, log: Log, reactor: Any) -> None:
        self.ended: Deferred[tuple[int | None, int | None]] = Deferred()
        self._log = log
        self._reactor = reactor
        self._pid = 0
        self._timer: Any = None
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"o": make("replace"), "e": make("replace")}
        log.on_hold_back(self._hold_back)

    def start(self, argv: list[str], env: Mapping[str, str], directory: str, terminal: bool) -> None:
        """Start the program; OSError if it cannot be started."""
        os.listdir(directory)  # raises the OSError here: the child could only write it to its error output
        if not terminal:  # a program in a terminal has a session already
            argv = [sys.executable, "-ISc", _OWN_SESSION, *argv]
        process = self._reactor.spawnProcess(self, argv[0], argv, env=env, path=directory, usePTY=terminal)
        self._pid = process.pid

    def connectionMade(self) -> None:
        """Close the program's input."""
        self.transport.closeStdin()  # type: ignore[union-attr]

    def outReceived(self, data: bytes) -> None:
        """Log a part of its standard output."""
        self._log.write("o", self._decoders["o"].decode(data))

    def errReceived(self, data: bytes) -> None:
        """Log a part of its error output."""
        self._log.write("e", self._decoders["e"].decode(data))

    def _hold_back(self, hold: bool) -> None:
        transport: Any = self.transport
        if transport is not None and not self.ended.called:
            (transport.pauseProducing if hold else transport.resumeProducing)()

    def stop(self, name: str) -> None:
        """Send the program a signal, and SIGKILL if it still runs `KILL_AFTER_S` later."""
        self._signal(name)
        self._after(KILL_AFTER_S, self._signal, "KILL")

    def _after(self, seconds: float, function: Any, *args: Any) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None if self.ended.called else self._reactor.callLater(seconds, function, *args)

    def _signal(self, name: str) -> None:
        number = signal.Signals[f"SIG{name}"]
        if self._pid and not self.ended.called:
            for send in (os.killpg, os.kill):  # just after its start it has no process group yet
                try:
                    send(self._pid, number)
                    return
                except ProcessLookupError:
                    continue

    def processExited(self, reason: Failure) -> None:
        """The program has ended; its child processes may still hold its output open."""
        self._after(DRAIN_S, self.transport.loseConnection)  # type: ignore[union-attr]

    def processEnded(self, reason: Failure) -> None:
        """The program has ended, and all of its output has been read."""
        for stream, decoder in self._decoders.items():
            self._log.write(stream, decoder.decode(b"", True))
        self._log.flush()
        ended: Any = reason.value
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self.ended.callback((ended.exitCode, ended.signal))


class SetProperty(BuildStep):
    """Set a property."""

    name = "SetProperty"
    positional: ClassVar[tuple[str, ...]] = ("property", "value")
    description = "Setting"
    descriptionDone = "Set"
    property = argument(REQUIRED, checks.text, rendered=True, doc="its name")
    value = argument(None, rendered=True, doc="its value")

    async def run(self) -> int:
        """Set the property."""
        self.setProperty(self.property, self.value, "SetProperty")
        return SUCCESS


class SetProperties(BuildStep):
    """Set several properties."""

    name = "SetProperties"
    positional: ClassVar[tuple[str, ...]] = ("properties",)
    description = "Setting Properties"
    descriptionDone = "Properties Set"
    properties: Mapping[str, Any] | None = argument(
        MappingProxyType({}),
        checks.optional(checks.mapping),
        rendered=True,
        doc="`{name: value}`, or a renderable that gives it",
    )

    async def run(self) -> int:
        """Set the properties."""
        for name, value in (self.properties or {}).items():
            self.setProperty(name, value, "SetProperties")
        return SUCCESS


class LogRenderable(BuildStep):
    """Write a value to a log, to see the values of renderables."""

    name = "LogRenderable"
    positional: ClassVar[tuple[str, ...]] = ("content",)
    description = "Logging"
    descriptionDone = "Logged"
    content = argument(REQUIRED, rendered=True, doc="the value")

    async def run(self) -> int:
        """Write the log."""
        await self.addCompleteLog("Output", pprint.pformat(self.content))
        return SUCCESS


class Assert(BuildStep):
    """Fail unless a value is true."""

    name = "Assert"
    positional: ClassVar[tuple[str, ...]] = ("check",)
    check = argument(REQUIRED, rendered=True, doc='the value, such as `util.Property("branch") == "main"`')

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__shown = repr(self.check)

    async def run(self) -> int:
        """Check the value."""
        return SUCCESS if self.check else FAILURE

    def getCurrentSummary(self) -> Any:
        """The description, or what is checked."""
        return {"step": self.describe(self.description, f"checking {self.__shown}")}

    def getResultSummary(self) -> Any:
        """The description, or what was checked, and the result."""
        return self.summary_of_result(f"checked {self.__shown}")
