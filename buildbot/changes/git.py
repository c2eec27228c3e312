"""Git processes: started without a shell, watched by the reactor, never waited for in a thread."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from buildbot.changes.base import PollError

#: no question on a terminal that nobody reads, messages in a language that logs are searched in
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "LANGUAGE": "C"}
#: over the user's own settings
_SETTINGS = {
    # what was once fetched stays, commits of a rewritten history too
    "gc.pruneExpire": "never",
    # no process that outlives the one we wait for
    "gc.autoDetach": "false",
    "maintenance.autoDetach": "false",
    # without generation numbers `rev-list a ^b` may list commits that lead to b, if clocks were wrong
    "core.commitGraph": "true",
    "fetch.writeCommitGraph": "true",
}
#: variables of a hook or a rebase in which the master may have been started; they would lead git elsewhere
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
)


class GitError(PollError):
    """Git failed; the message holds what git said."""


def public_url(url: str) -> str:
    """A text without what must not be shown: user and password of the HTTP and FTP addresses in it."""
    return re.sub(r"\b((?:https?|ftps?)://)[^/@\s]*@", r"\1", url, flags=re.IGNORECASE)


class _Run(ProcessProtocol):
    """One process: its input, its output, its end."""

    transport: Any

    def __init__(self, stdin: bytes) -> None:
        self.stdin = stdin
        self.output: list[bytes] = []
        self.errors: list[bytes] = []
        self.ended: Deferred[int] = Deferred(lambda _: self.kill())

    def connectionMade(self) -> None:
        self.transport.write(self.stdin)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self.output.append(data)

    def errReceived(self, data: bytes) -> None:
        self.errors.append(data)

    def processEnded(self, reason: Failure) -> None:
        if not self.ended.called:
            end: Any = reason.value  # ProcessDone or ProcessTerminated
            self.ended.callback(end.exitCode if end.signal is None else -end.signal)

    def kill(self) -> None:
        try:
            self.transport.signalProcess("TERM")
        except ProcessExitedAlready:
            return  # its end is being reported just now


class Git:
    """Runs git for one bare repository.

    Args:
        reactor: starts the processes and measures the time.
        gitbin: the program.
        repository: directory of the bare repository; made by `init`.
        cwd: working directory, which relative addresses of other repositories start from.
        timeout_s: a process that takes longer is ended.
    """

    def __init__(self, reactor: Any, gitbin: str, repository: Path, cwd: Path, timeout_s: float = 3600) -> None:
        self._reactor = reactor
        self._gitbin = gitbin
        self._cwd = cwd
        self._timeout_s = timeout_s
        self._running: _Run | None = None
        self.repository = repository

    def stop(self) -> None:
        """End the process that is running, if any; whoever waits for it gets a `GitError`."""
        if self._running is not None:
            self._running.kill()

    async def init(self, object_format: str = "sha1") -> None:
        """Make the bare repository, or what a crash left out of it; nothing happens if it is there."""
        self.repository.parent.mkdir(parents=True, exist_ok=True)
        await self.run("init", "--quiet", "--bare", f"--object-format={object_format}")

    async def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """What ``git <arguments>`` prints for the bare repository.

        Raises:
            GitError: it ended with a status other than 0, took too long or cannot be started.
        """
        if shutil.which(self._gitbin) is None:
            raise GitError(f"there is no program {self._gitbin!r}")
        run = self._running = _Run(stdin)
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [self._gitbin, *settings, "--git-dir", str(self.repository), *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | _ENVIRONMENT
        self._reactor.spawnProcess(run, self._gitbin, command, env=environment, path=str(self._cwd))
        timer = self._reactor.callLater(self._timeout_s, run.kill)
        try:
            status = await run.ended
        finally:
            self._running = None
            expired = not timer.active()
            if not expired:
                timer.cancel()
        if status == 0:
            return b"".join(run.output)
        raise GitError(self._explain(arguments[0], status, b"".join(run.errors), expired))

    def _explain(self, what: str, status: int, errors: bytes, expired: bool) -> str:
        if expired:
            return f"git {what} took longer than {self._timeout_s:g} s and was ended"
        said = public_url(errors.decode("utf-8", "backslashreplace"))
        # hints and progress come first, the reason comes with 'fatal:' or last
        lines = [line for line in said.splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))] or lines[-3:]
        ending = f"status {status}" if status > 0 else f"signal {-status}"
        return f"git {what} failed ({ending}): {'; '.join(fatal[:5]) or 'no message'}"
