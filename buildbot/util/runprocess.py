"""Running a program on the master: for change sources, and for plugins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from buildbot.util.deferreds import deferred
from buildbot.util.text import unicode2bytes

#: exit code of a program that was ended because it took too long
TIMED_OUT = -1
#: seconds from SIGTERM to SIGKILL
SIGTERM_TIMEOUT_S = 5.0


class ProcessRun(ProcessProtocol):
    """One process: its input, its output, its end.

    Args:
        reactor: for the times.
        stdin: its input.
        io_timeout_s: it is ended after so many seconds without output; None: never.
        sigterm_timeout_s: seconds from SIGTERM to SIGKILL; None: SIGKILL at once.

    Attributes:
        output: the output so far, in the pieces in which it came, by file descriptor: 1 and 2.
        timed_out: whether it was ended because it took too long.
        ended: fires with the exit code, or with the negative number of the signal that ended it. If it is cancelled,
            the process is ended.
    """

    transport: Any

    def __init__(
        self,
        reactor: Any,
        stdin: bytes = b"",
        io_timeout_s: float | None = None,
        sigterm_timeout_s: float | None = SIGTERM_TIMEOUT_S,
    ) -> None:
        self.output: dict[int, list[bytes]] = {1: [], 2: []}
        self.timed_out = False
        self.ended: Deferred[int] = Deferred(lambda _: self.end())
        self._reactor, self._stdin = reactor, stdin
        self._io_timeout_s, self._sigterm_timeout_s = io_timeout_s, sigterm_timeout_s
        self._timers: dict[str, Any] = {}

    def limit(self, seconds: float | None) -> None:
        """End it after so many seconds, with output or without; None: never."""
        self._after("runtime", seconds, self._time_out)

    def end(self) -> None:
        """End it with SIGTERM; with SIGKILL if it still runs some seconds later."""
        self._signal("TERM" if self._sigterm_timeout_s else "KILL")
        self._after("kill", self._sigterm_timeout_s, self._signal, "KILL")

    def connectionMade(self) -> None:
        self.transport.write(self._stdin)
        self.transport.closeStdin()
        self._after("io", self._io_timeout_s, self._time_out)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output[childFD].append(data)
        self._after("io", self._io_timeout_s, self._time_out)

    def processEnded(self, reason: Failure) -> None:
        for name in list(self._timers):
            self._cancel(name)
        if not self.ended.called:
            end: Any = reason.value  # ProcessDone or ProcessTerminated
            code = end.exitCode if end.signal is None else -end.signal
            self.ended.callback(code)

    def _time_out(self) -> None:
        self.timed_out = True
        self.end()

    def _after(self, name: str, seconds: float | None, function: Callable[..., None], *args: object) -> None:
        # a second timer of this name takes the place of the first
        self._cancel(name)
        if seconds:
            self._timers[name] = self._reactor.callLater(seconds, function, *args)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _signal(self, name: str) -> None:
        try:
            self.transport.signalProcess(name)
        except ProcessExitedAlready:
            return  # processEnded follows


@deferred
async def run_process(
    reactor: Any,
    command: Sequence[str | bytes],
    workdir: str | None = None,
    env: Mapping[str, str] | None = None,
    collect_stdout: bool = True,
    collect_stderr: bool = True,
    stderr_is_error: bool = False,
    io_timeout: float | None = 300,
    runtime_timeout: float | None = 3600,
    sigterm_timeout: float | None = SIGTERM_TIMEOUT_S,
    initial_stdin: str | bytes | None = None,
) -> Any:
    """Run a program to its end.

    Args:
        reactor: starts it and measures the time.
        command: the program and its arguments.
        workdir: where it runs; default: where the master does.
        env: its environment; default: the master's.
        collect_stdout, collect_stderr: whether its output is part of the result.
        stderr_is_error: whether any error output makes an exit code of 0 one of 1.
        io_timeout, runtime_timeout: it is ended after so many seconds without output, or in all; None: never.
        sigterm_timeout: seconds from SIGTERM to SIGKILL; None: SIGKILL at once.
        initial_stdin: its input.

    Returns:
        Deferred with the exit code, or a tuple of the exit code and the output that is collected, as bytes: standard
        output first. The code is negative for a signal, and ``TIMED_OUT`` if it took too long.

    Raises:
        OSError: it cannot be started.
    """
    run = ProcessRun(reactor, unicode2bytes(initial_stdin) or b"", io_timeout, sigterm_timeout)
    argv = [unicode2bytes(word) for word in command]
    reactor.spawnProcess(run, argv[0], argv, env=os.environ if env is None else env, path=workdir)
    run.limit(runtime_timeout)
    code = await run.ended
    if run.timed_out:
        code = TIMED_OUT
    out, err = (b"".join(run.output[stream]) for stream in (1, 2))
    if stderr_is_error and err and code == 0:
        code = 1
    result = (code, *([out] if collect_stdout else []), *([err] if collect_stderr else []))
    return result if len(result) > 1 else code
