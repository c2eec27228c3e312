"""Git processes of pollers, which work in a bare repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from buildbot.changes.programs import Program

#: no questions on the terminal; messages in English, so that logs can be searched
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "LANGUAGE": "C"}
#: over the user's own settings
_SETTINGS = {
    # fetched commits stay, those of a rewritten history too
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
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | _ENVIRONMENT
        grave = ("fatal:", "error:", "remote:")
        self._program = Program(reactor, gitbin, cwd, environment, timeout_s, grave)
        self.repository = repository
        #: options before every command: the login, for example
        self.options: list[str] = []

    def stop(self) -> None:
        """End the process that is running, if any; the coroutine that waits for it gets a `ProgramError`."""
        self._program.stop()

    async def init(self, object_format: str = "sha1") -> None:
        """Make the bare repository, or complete it after a crash; nothing happens if it is complete."""
        self.repository.parent.mkdir(parents=True, exist_ok=True)
        await self.run("init", "--quiet", "--bare", f"--object-format={object_format}")

    async def run(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """The output of ``git <arguments>`` for the bare repository.

        Raises:
            ProgramError: it ended with a status other than 0, took too long or cannot be started.
        """
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return await self._program.run(
            *settings, *self.options, "--git-dir", str(self.repository), *arguments, what=arguments[0], stdin=stdin
        )
