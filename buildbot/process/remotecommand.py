"""A command that runs on a worker, from its start to its end.

Registered before it is started (a short one ends before its start is answered), fed by updates, ended by ``complete``
or by the loss of the connection; nothing else ends it, so that no second command meets a first one on an agent that
can run only one at a time.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from buildbot.process.logs import Log
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.util.results import FAILURE, SUCCESS


class RemoteCommand:
    """A command of the worker's repertoire (worker-protocol.md, 8.1, in PB's spelling).

    Args:
        remote_command: its name, ``shell`` or ``mkdir`` for example.
        args: its arguments; paths are relative to the builder's directory on the worker.
        collectStdout: keep what it writes to stdout in `stdout`.
        collectStderr: keep what it writes to stderr in `stderr`.
        decodeRC: result codes by exit status; others are FAILURE.
        stdioLogName: the log that its output goes to; None for none.

    Attributes:
        rc: its exit status; None until it is known, negative if a signal ended it.
        stdout, stderr: what was collected.
        updates: every value of every other update key, in order (``files``, ``stat``, ``elapsed``, …).
    """

    def __init__(
        self,
        remote_command: str,
        args: Mapping[str, Any],
        collectStdout: bool = False,
        collectStderr: bool = False,
        decodeRC: Mapping[int, int] | None = None,
        stdioLogName: str | None = "stdio",
    ) -> None:
        self.remote_command = remote_command
        self.args = dict(args)
        self.stdioLogName = stdioLogName
        self.rc: int | None = None
        self.updates: dict[str, list[Any]] = {}
        self._decode_rc = {0: SUCCESS} if decodeRC is None else dict(decodeRC)
        self._output: dict[str, list[str] | None] = {
            "stdout": [] if collectStdout else None,
            "stderr": [] if collectStderr else None,
        }
        self._logs: dict[str, Log] = {}
        self._where: tuple[Connection, str, str] | None = None
        self._interrupted: str | None = None
        self._end: Deferred[None] = Deferred()
        self._lost: str | None = None
        self._failure: str | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.remote_command} rc={self.rc}>"

    @property
    def stdout(self) -> str:
        """What it wrote to stdout, if that is collected."""
        return "".join(self._output["stdout"] or ())

    @property
    def stderr(self) -> str:
        """What it wrote to stderr, if that is collected."""
        return "".join(self._output["stderr"] or ())

    def useLog(self, log: Log, logfileName: str | None = None) -> None:
        """Send the content of a watched file to ``log``; without a file name, the command's own output."""
        self._logs[logfileName or "stdio"] = log

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

    async def run(self, connection: Connection, builder: str) -> None:
        """Run it to its end on a worker.

        Raises:
            WorkerLostError: the connection was lost; what became of the command is not known.
            RemoteError: the worker refused it, or failed itself (the exit status is in `rc` if there was one).
        """
        command_id = connection.register(self)
        try:
            await connection.start_command(builder, command_id, self.remote_command, self.args)
            self._where = connection, builder, command_id
            if self._interrupted is not None:
                await connection.interrupt_command(builder, command_id, self._interrupted)
            await self._end
        finally:
            self._where = None
            connection.unregister(command_id)
        if self._lost is not None:
            raise WorkerLostError(self._lost)
        if self._failure is not None:
            raise RemoteError(self._failure)

    async def interrupt(self, why: str) -> None:
        """Ask the worker to stop it. `run` still returns at its end; one that is being started is stopped then."""
        self._interrupted = why
        if self._where is not None:
            connection, builder, command_id = self._where
            await connection.interrupt_command(builder, command_id, why)

    def update(self, key: str, value: Any) -> None:
        """News from the worker."""
        if key in ("stdout", "stderr", "header"):
            collected = self._output.get(key)
            if collected is not None:
                collected.append(value)
            if "stdio" in self._logs:
                self._logs["stdio"].write(key[3] if key != "header" else "h", value)
        elif key == "log":
            name, text = value
            if name in self._logs:
                self._logs[name].write("o", text)
        elif key == "rc":
            self.rc = value
        else:
            self.updates.setdefault(key, []).append(value)

    def complete(self, failure: str | None) -> None:
        """The command has ended."""
        self._failure = failure
        self._finish()

    def connection_lost(self, reason: str) -> None:
        """The link is gone."""
        self._lost = reason
        self._finish()

    def _finish(self) -> None:
        if not self._end.called:
            self._end.callback(None)


class RemoteShellCommand(RemoteCommand):
    """A program or a shell line on a worker.

    Args:
        workdir: where, relative to the builder's directory; created if missing.
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
        interruptSignal: the name of the signal that kills it, without ``SIG``.
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
        usePTY: bool = False,
        logEnviron: bool = True,
        initialStdin: str | None = None,
        interruptSignal: str | None = None,
        **others: Any,
    ) -> None:
        if interruptSignal is not None and not is_signal(interruptSignal):
            raise ValueError(f"there is no signal {interruptSignal!r}; give its name without 'SIG'")
        args: dict[str, Any] = {
            "workdir": workdir,
            "command": command if isinstance(command, str) else flattened(command),
            "env": dict(env or {}) or None,
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
        }
        if interruptSignal is not None:
            args["interruptSignal"] = interruptSignal
        super().__init__("shell", args, **others)


def is_signal(name: str) -> bool:
    """Whether there is a signal of this name, without its ``SIG``; an agent would ignore a wrong one."""
    return f"SIG{name}" in signal.Signals.__members__


def flattened(command: Sequence[Any]) -> list[Any]:
    """A command with the lists inside it spread out; tuples (``("obfuscated", real, shown)``) stay."""
    items: list[Any] = []
    for item in command:
        items.extend(flattened(item) if isinstance(item, list) else [item])
    return items
