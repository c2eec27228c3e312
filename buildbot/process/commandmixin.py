"""A mixin for steps that work with files on the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.step import BuildStep, BuildStepFailed
from buildbot.util.deferreds import deferred


class CommandMixin:
    """For steps that work with files on the worker. Paths are relative to the builder's directory."""

    @deferred
    async def runRemoteCommand(
        self, name: str, args: Mapping[str, Any], abandonOnFailure: bool = True
    ) -> RemoteCommand:
        """Run a command of the worker's; BuildStepFailed if it fails, unless ``abandonOnFailure`` is False."""
        if not isinstance(self, BuildStep):
            raise TypeError("CommandMixin is for subclasses of BuildStep")
        command = RemoteCommand(name, args)
        await self.runCommand(command)
        if abandonOnFailure and command.didFail():
            raise BuildStepFailed(f"{name} failed")
        return command

    @deferred
    async def runMkdir(self, dir: str, log: str | None = None, abandonOnFailure: bool = True) -> bool:
        """Make a directory, with its parents; gives whether that succeeded.

        Args:
            dir: the directory.
            log: has no effect; output goes to the log ``stdio``.
            abandonOnFailure: a failure ends the step.
        """
        command = await self.runRemoteCommand("mkdir", {"dir": dir}, abandonOnFailure)
        return not command.didFail()

    @deferred
    async def runRmdir(
        self, dir: str, timeout: float | None = 120, log: str | None = None, abandonOnFailure: bool = True
    ) -> bool:
        """Remove a directory with its content, or a file, if it exists; gives whether that succeeded.

        Args:
            dir: the directory.
            timeout: seconds without output before the worker gives up.
            log: has no effect; output goes to the log ``stdio``.
            abandonOnFailure: a failure ends the step.
        """
        args = {"dir": dir, "logEnviron": False, "timeout": timeout}
        command = await self.runRemoteCommand("rmdir", args, abandonOnFailure)
        return not command.didFail()

    @deferred
    async def pathExists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        command = await self.runRemoteCommand("stat", {"file": path}, abandonOnFailure=False)
        return not command.didFail()

    @deferred
    async def runGlob(self, path: str) -> list[str]:
        """The paths that match a pattern, in the worker's own order."""
        command = await self.runRemoteCommand("glob", {"path": path})
        return command.texts("files")
