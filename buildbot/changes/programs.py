"""Programs that change sources run: without a shell, watched by the reactor, never waited for in a thread."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buildbot.changes.base import PollError
from buildbot.util.runprocess import ProcessRun
from buildbot.util.urls import without_password


class ProgramError(PollError):
    """A program failed; the message has its reason.

    Attributes:
        said: its error output, without passwords.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class Program:
    """Runs a program, one process at a time.

    Args:
        reactor: starts the processes and measures the time.
        program: its name or path.
        cwd: working directory of the processes.
        environment: their whole environment.
        timeout_s: a process that takes longer is ended.
        grave: how lines begin that say why it failed; without one the last lines do.
    """

    def __init__(
        self,
        reactor: Any,
        program: str,
        cwd: Path,
        environment: Mapping[str, str],
        timeout_s: float = 3600,
        grave: tuple[str, ...] = ("fatal:", "error:", "abort:", "remote:"),
    ) -> None:
        self._reactor = reactor
        self._program = program
        self._cwd = cwd
        self._environment = dict(environment)
        self._timeout_s = timeout_s
        self._grave = grave
        self._running: ProcessRun | None = None

    def stop(self) -> None:
        """End the process that is running, if any; the coroutine that waits for it gets a `ProgramError`."""
        if self._running is not None:
            self._running.end()

    async def run(self, *arguments: str, what: str = "", stdin: bytes = b"", allowed: Sequence[int] = (0,)) -> bytes:
        """Run the program to its end; gives what it wrote to its standard output.

        Args:
            what: the name of this run in messages; empty: the first argument.
            stdin: its input.
            allowed: exit statuses that are no failure.

        Raises:
            ProgramError: it ended with another status, took too long or could not be started.
        """
        if shutil.which(self._program) is None:
            raise ProgramError(f"there is no program {self._program!r}")
        run = self._running = ProcessRun(self._reactor, stdin)
        command = [self._program, *arguments]
        self._reactor.spawnProcess(run, self._program, command, env=self._environment, path=str(self._cwd))
        run.limit(self._timeout_s)
        try:
            status = await run.ended
        finally:
            self._running = None
        if status in allowed and not run.timed_out:
            return b"".join(run.output[1])
        said = without_password(b"".join(run.output[2]).decode("utf-8", "backslashreplace"))
        called = f"{Path(self._program).name} {what or arguments[0]}"
        raise ProgramError(self._explain(called, status, said, run.timed_out), said)

    def _explain(self, what: str, status: int, said: str, timed_out: bool) -> str:
        if timed_out:
            return f"{what} took longer than {self._timeout_s:g} s and was ended"
        # hints and progress come first, the reason comes with 'fatal:' or last
        lines = [line for line in said.splitlines() if line.strip()]
        grave = [line for line in lines if line.startswith(self._grave)] or lines[-3:]
        ending = f"status {status}" if status > 0 else f"signal {-status}"
        return f"{what} failed ({ending}): {'; '.join(grave[:5]) or 'no message'}"
