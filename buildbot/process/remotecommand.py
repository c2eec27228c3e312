"""A command that runs on a worker, from its start to its end.

It is registered before it is started, since a short one ends before its start is answered. Updates come from the
worker. It ends by ``complete`` or by the loss of the connection, and by nothing else, so that an agent that can run
only one command at a time never gets a second one. If an agent sends malformed updates, or more than a master should
keep, it is asked to stop the command, which then fails. If it does not stop it in time, the step drops the connection.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildbot.process.logs import Log
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.transfers import Endpoint
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved
from buildbot.util.results import FAILURE, SUCCESS

_log = Logger()

#: characters of output that are collected for a step, and of other updates that are kept; a command with more fails
MAX_COLLECTED_CHARS = 32 * 1024 * 1024
MAX_NEWS_CHARS = 16 * 1024 * 1024

#: values of `RemoteCommand.failure_reason` of a command that took too long
TIMEOUTS = ("timeout_without_output", "timeout")

#: seconds that a worker has to stop a command, besides the time that the command itself may take to end
STOP_TIMEOUT_S = 60.0
#: commands that an agent runs to their end though they were interrupted
_NOT_STOPPED = ("rmdir", "cpdir")


class RemoteCommand:
    """A command that a worker can run.

    Args:
        remote_command: its name, ``shell`` or ``mkdir`` for example.
        args: its arguments; paths are relative to the builder's directory on the worker.
        ignore_updates: keep nothing of its updates but the exit status.
        collectStdout: keep what it writes to stdout in `stdout`.
        collectStderr: keep what it writes to stderr in `stderr`.
        decodeRC: result codes by exit status; others are FAILURE.
        stdioLogName: the log that its output goes to; None for none.

    Attributes:
        active: whether it runs.
        logs: the logs that it writes to, by name.
        rc: its exit status; None until it is known, negative if a signal ended it.
        stdout, stderr: the collected output.
        updates: every value of every other update key, in order (``files``, ``stat``, ``elapsed``, …).
    """

    def __init__(
        self,
        remote_command: str,
        args: Mapping[str, Any],
        ignore_updates: bool = False,
        collectStdout: bool = False,
        collectStderr: bool = False,
        decodeRC: Mapping[int, int] | None = None,
        stdioLogName: str | None = "stdio",
    ) -> None:
        self.remote_command = remote_command
        self.args = dict(args)
        self.stdioLogName = stdioLogName
        self.active = False
        self.rc: int | None = None
        self._ignored = ignore_updates
        self.updates: dict[str, list[Any]] = {}
        self._decode_rc = {0: SUCCESS} if decodeRC is None else dict(decodeRC)
        self._output: dict[str, list[str] | None] = {
            "stdout": [] if collectStdout else None,
            "stderr": [] if collectStderr else None,
        }
        self.logs: dict[str, Log] = {}
        self._lazy: dict[str, Callable[[RemoteCommand], Coroutine[Deferred[Any], Any, Log]]] = {}
        self._arriving: dict[str, list[str]] = {}
        self._opening: list[Deferred[Any]] = []
        self._close: list[Log] = []
        self._where: tuple[Connection, str, str] | None = None
        self._interrupted: str | None = None
        self._end: Deferred[None] = Deferred()
        self._lost: str | None = None
        self._failure: str | None = None
        self._spoiled: str | None = None
        self._on_end: list[Callable[[], object]] = []
        self._news_chars = self._collected_chars = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.remote_command} rc={self.rc}>"

    @property
    def stdout(self) -> str:
        """Its standard output, if that is collected."""
        return "".join(self._output["stdout"] or ())

    @property
    def stderr(self) -> str:
        """Its error output, if that is collected."""
        return "".join(self._output["stderr"] or ())

    def useLog(self, log: Log, closeWhenFinished: bool = False, logfileName: str | None = None) -> None:
        """Send output to a log.

        Args:
            log: the log.
            closeWhenFinished: finish the log when the command has ended.
            logfileName: the name of the watched file; None: the log's name. The command's own output has the name
                `stdioLogName`.
        """
        self.logs[logfileName or log.name] = log
        if closeWhenFinished:
            self._close.append(log)

    def useLogDelayed(
        self,
        logfileName: str,
        activateCallBack: Callable[[RemoteCommand], Any],
        closeWhenFinished: bool = False,
    ) -> None:
        """Send a watched file to a log that is made when its first text comes.

        Args:
            logfileName: the watched file's name.
            activateCallBack: called with this command; gives the log, or a Deferred of it.
            closeWhenFinished: finish the log when the command has ended.
        """

        async def activate(command: RemoteCommand) -> Log:
            log: Log = await resolved(activateCallBack(command))
            if closeWhenFinished:
                self._close.append(log)
            return log

        self._lazy[logfileName] = activate

    def addStdout(self, data: str) -> None:
        """Add output, as if it came from the worker."""
        self._take_output("stdout", data)

    def addStderr(self, data: str) -> None:
        """Add error output, as if it came from the worker."""
        self._take_output("stderr", data)

    def addHeader(self, data: str) -> None:
        """Add a header line of the master."""
        self._take_output("header", data)

    def addToLog(self, logname: str, data: str) -> None:
        """Add to the log of a watched file, as if it came from the worker."""
        self._take_log(logname, data)

    def results(self) -> int:
        """The result code; FAILURE if the command ended without an exit status."""
        return FAILURE if self.rc is None else self._decode_rc.get(self.rc, FAILURE)

    def didFail(self) -> bool:
        """Whether the result is FAILURE."""
        return self.results() == FAILURE

    def failure_reason(self) -> str | None:
        """Why the worker itself ended the command: ``timeout_without_output``, ``timeout``, ``max_lines_failure``."""
        reasons = self.updates.get("failure_reason")
        return str(reasons[-1]) if reasons else None

    def texts(self, key: str) -> list[str]:
        """The last list of texts that the worker reported under a key, such as ``files``; empty if there is none."""
        reported = self.updates.get(key)
        if not reported or not isinstance(reported[-1], (list, tuple)):
            return []
        return [each for each in reported[-1] if isinstance(each, str)]

    async def run(self, connection: Connection, builder: str) -> None:
        """Run it to its end on a worker.

        Raises:
            WorkerLostError: the connection was lost; it is not known how the command ended.
            RemoteError: the worker refused it, or had an error (the exit status is in `rc` if there was one).
        """
        command_id = connection.register(self)
        endpoints = [each for each in self.args.values() if isinstance(each, Endpoint)]
        for endpoint in endpoints:
            endpoint.on_problem(self._stop_for)
        self.active = True
        try:
            await connection.start_command(builder, command_id, self.remote_command, self.args)
            self._where = connection, builder, command_id
            if self._interrupted is not None:
                await connection.interrupt_command(builder, command_id, self._interrupted)
            await self._end
        finally:
            self._where = None
            self.active = False
            connection.unregister(command_id)
            for endpoint in endpoints:
                endpoint.stop()
            for callback in self._on_end:
                callback()
        for opening in self._opening:
            await opening
        for log in self._close:
            await log.finish()
        if self._lost is not None:
            raise WorkerLostError(self._lost)
        if self._spoiled is not None or self._failure is not None:
            raise RemoteError(self._spoiled or self._failure)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` when `run` has ended."""
        self._on_end.append(callback)

    def stop_timeout_s(self) -> float:
        """Seconds after which a command that was asked to stop should have ended."""
        more = self.args.get("sigtermTime")
        if self.remote_command in _NOT_STOPPED:
            more = self.args.get("timeout") or 20 * 60
        return STOP_TIMEOUT_S + (more if isinstance(more, (int, float)) else 0)

    async def interrupt(self, why: str) -> None:
        """Ask the worker to stop it; a command that is being started is stopped then. `run` returns at its end."""
        self._interrupted = why
        if self._where is not None:
            connection, builder, command_id = self._where
            await connection.interrupt_command(builder, command_id, why)

    def update(self, key: str, value: object) -> None:
        """An update from the worker."""
        if self._ignored and key != "rc":
            return
        if key in ("stdout", "stderr", "header"):
            if isinstance(value, str):
                self._take_output(key, value)
            else:
                self._spoil(f"the worker sent {_short(value)} as {key}, not a text")
        elif key == "log":
            if not isinstance(value, (list, tuple)) or [*map(type, value)] != [str, str]:
                self._spoil(f"the worker sent {_short(value)} as log, not a name and a text")
            else:
                self._take_log(*value)
        elif key == "rc":
            if type(value) is int:
                self.rc = value
            else:
                self._spoil(f"the worker sent {_short(value)} as the exit status, not a number")
        else:
            self._news_chars += 64 + _chars(key) + _chars(value)  # 64 for the memory of the item itself
            if self._news_chars > MAX_NEWS_CHARS:
                self._spoil(f"the worker sent more than {MAX_NEWS_CHARS} characters of {_short(key)}")
            else:
                self.updates.setdefault(str(key), []).append(value)

    def _take_output(self, key: str, text: str) -> None:
        collected = self._output.get(key)
        if collected is not None:
            self._collected_chars += len(text)
            if self._collected_chars > MAX_COLLECTED_CHARS:
                self._spoil(f"more than {MAX_COLLECTED_CHARS} characters of output, too many to be collected")
            else:
                collected.append(text)
        self._write_own(key[3] if key != "header" else "h", text)

    def _write_own(self, stream: str, text: str) -> None:
        if self.stdioLogName is not None and self.stdioLogName in self.logs:
            self.logs[self.stdioLogName].write(stream, text)

    def _take_log(self, name: str, text: str) -> None:
        if name in self.logs:
            self.logs[name].write("o", text)
        elif name in self._arriving:
            self._arriving[name].append(text)
        elif name in self._lazy:
            self._arriving[name] = [text]
            held = self._where[0] if self._where is not None else None
            if held is not None:
                held.hold_back(True)  # updates would gather in memory meanwhile
            self._opening.append(in_background(self._activate(name, held), f"log {name!r} of {self!r}"))

    async def _activate(self, name: str, held: Connection | None) -> None:
        try:
            log = await self._lazy[name](self)
        finally:
            if held is not None:
                held.hold_back(False)
        self.logs[name] = log
        for text in self._arriving.pop(name):
            log.write("o", text)

    def misreported(self, problem: str) -> None:
        """The worker sent a malformed update; ``problem`` says why."""
        self._spoil(problem)

    def _spoil(self, problem: str) -> None:
        """Let the command fail, and ask the worker to stop it; the first problem counts."""
        if self._spoiled is None:
            self._spoiled = problem
            self._stop_for(problem)

    def _stop_for(self, problem: str) -> None:
        in_background(self._stop_spoiled(problem), f"interruption of {self!r}")

    async def _stop_spoiled(self, problem: str) -> None:
        try:
            await self.interrupt(problem)
        except (WorkerLostError, RemoteError) as failed:
            _log.warn("{command} could not be interrupted: {problem}", command=self, problem=failed)

    def complete(self, failure: str | None) -> None:
        """The command has ended."""
        self._failure = failure
        log = self.logs.get(self.stdioLogName or "")
        if log is not None and self.rc is not None and not self._end.called:
            # People search logs for this text; the program's last output comes before it.
            log.flush()
            log.write("h", f"program finished with exit code {self.rc}\n")
        self._finish()

    def connection_lost(self, reason: str) -> None:
        """The connection is lost."""
        self._lost = reason
        self._finish()

    def _finish(self) -> None:
        if not self._end.called:
            self._end.callback(None)


class RemoteShellCommand(RemoteCommand):
    """A program or a shell line on a worker.

    Args:
        workdir: its directory, relative to the builder's; created if missing.
        command: a text for the shell, or a list of arguments.
        env: environment variables over the worker's own; a value is a text, a list (joined as a path) or None (unset).
        want_stdout, want_stderr: whether that stream is sent at all.
        timeout: seconds without output before it is killed; None: no limit.
        maxTime: seconds in all before it is killed.
        max_lines: lines of output before it is killed.
        sigtermTime: seconds between SIGTERM and the kill; None: kill at once.
        logfiles: files to follow, ``{log name: path or {"filename": path, "follow": bool}}``.
        usePTY: run it on a terminal.
        logEnviron: write the environment at the head of the log.
        initialStdin: text for its stdin.
        interruptSignal: the name of the signal that kills it, without ``SIG``; None: ``KILL``.
        others: arguments of `RemoteCommand`.
    """

    def __init__(
        self,
        workdir: str,
        command: str | Sequence[Any],
        env: Mapping[str, Any] | None = None,
        want_stdout: bool = True,
        want_stderr: bool = True,
        timeout: float | None = 20 * 60,
        maxTime: float | None = None,
        max_lines: int | None = None,
        sigtermTime: float | None = None,
        logfiles: Mapping[str, Any] | None = None,
        usePTY: bool | None = None,
        logEnviron: bool = True,
        collectStdout: bool = False,
        collectStderr: bool = False,
        interruptSignal: str | None = None,
        initialStdin: str | None = None,
        **others: Any,
    ) -> None:
        if interruptSignal is not None and not is_signal(interruptSignal):
            raise ValueError(f"there is no signal {interruptSignal!r}; give its name without 'SIG'")
        args: dict[str, Any] = {
            "workdir": workdir,
            "command": command if isinstance(command, str) else flattened(command),
            "env": None if env is None else dict(env),
            "want_stdout": bool(want_stdout),
            "want_stderr": bool(want_stderr),
            "logfiles": dict(logfiles or {}),
            "timeout": timeout,
            "maxTime": maxTime,
            "max_lines": max_lines,
            "sigtermTime": sigtermTime,
            "usePTY": bool(usePTY),
            "logEnviron": bool(logEnviron),
            "initial_stdin": initialStdin,
            "interruptSignal": "KILL" if interruptSignal is None else interruptSignal,
        }
        super().__init__("shell", args, collectStdout=collectStdout, collectStderr=collectStderr, **others)


def _chars(value: object) -> int:
    """The approximate size of a value, in characters."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return 1 + sum(_chars(key) + _chars(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return 1 + sum(map(_chars, value))
    return 8


def _short(value: object) -> str:
    """A value for messages, shortened."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def is_signal(name: str) -> bool:
    """Whether there is a signal of this name, without ``SIG``; agents ignore a wrong name."""
    return f"SIG{name}" in signal.Signals.__members__


def flattened(command: Sequence[Any]) -> list[Any]:
    """A command without nested lists; tuples (``("obfuscated", real, shown)``) stay."""
    items: list[Any] = []
    for item in command:
        items.extend(flattened(item) if isinstance(item, list) else [item])
    return items
