"""Files of secrets on a worker, which exist while some steps of a build run: ``BuildFactory.withSecrets``.

A value goes to the worker as the standard input of a shell, so it is neither in a command line nor in a log.
"""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.interfaces import is_renderable
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.step import BuildStep, BuildStepFailed
from buildbot.util.results import SUCCESS

_FIND = 'case "$1" in "~/"*) path="$HOME/${1#"~/"}";; *) path="$1";; esac; '
_WRITE = _FIND + 'umask 077 && mkdir -p -- "$(dirname -- "$path")" && cat > "$path" && chmod 600 "$path"'
_REMOVE = _FIND + 'rm -f -- "$path"'


def _files(value: Any) -> list[tuple[Any, Any]]:
    found = []
    for number, each in enumerate(checks.sequence(value), 1):
        if not isinstance(each, tuple | list) or len(each) != 2:
            raise ValueError(f"element {number} must be a pair (path, value), not of type {type(each).__name__}")
        path, content = each
        if not is_renderable(path) and (not isinstance(path, str) or not path):
            raise ValueError(f"element {number}: the path must be a text that is not empty, not {checks.kind(path)}")
        if not is_renderable(content) and not isinstance(content, str):
            raise ValueError(f"element {number}: the value must be a text or util.Secret, not {type(content).__name__}")
        found.append((path, content))
    return found


class _SecretFiles(BuildStep):
    """Base of both steps."""

    secret_files = argument(REQUIRED, _files, rendered=True, doc="pairs of path and value")

    async def in_shell(self, script: str, path: str, stdin: str | None) -> None:
        """Run a script with a path as its argument. BuildStepFailed if it fails."""
        if self.build.connection.info.get("system") == "nt":
            raise BuildStepFailed("files of secrets need a worker with a POSIX shell")
        command = RemoteShellCommand(
            self.directory(),
            ["/bin/sh", "-c", script, "sh", path],
            want_stdout=False,
            want_stderr=False,
            logEnviron=False,
            initialStdin=stdin,
            stdioLogName=None,
        )
        if (await self.runCommand(command)).results() != SUCCESS:
            raise BuildStepFailed(f"the worker cannot do that with {path}: exit code {command.rc}")


class WriteSecretFiles(_SecretFiles):
    """Writes files that only the worker's user may read; directories that are missing are made."""

    name = "write secret files"
    haltOnFailure = True

    async def run(self) -> int:
        """Write them."""
        for path, value in self.secret_files:
            if not isinstance(value, str):
                raise BuildStepFailed(f"the value for {path} is no text")
            await self.in_shell(_WRITE, path, value)
        return SUCCESS


class RemoveSecretFiles(_SecretFiles):
    """Removes the files, even if a step between has failed."""

    name = "remove secret files"
    alwaysRun = True

    async def run(self) -> int:
        """Remove each, even if another one cannot be removed."""
        problems = []
        for path, _ in self.secret_files:
            try:
                await self.in_shell(_REMOVE, path, None)
            except BuildStepFailed as problem:
                problems.append(problem)
        if problems:
            raise problems[0]
        return SUCCESS
