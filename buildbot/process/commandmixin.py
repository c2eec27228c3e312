"""What steps mix in that work with files on the worker."""

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
    async def runMkdir(self, path: str) -> bool:
        """Make a directory, with its parents; True."""
        await self.runRemoteCommand("mkdir", {"dir": path})
        return True

    @deferred
    async def runRmdir(self, path: str, timeout: float | None = 120) -> bool:
        """Remove a directory or file with all that is in it, if it is there; True."""
        await self.runRemoteCommand("rmdir", {"dir": path, "logEnviron": False, "timeout": timeout})
        return True

    @deferred
    async def pathExists(self, path: str) -> bool:
        """Whether there is such a file or directory."""
        command = await self.runRemoteCommand("stat", {"file": path}, abandonOnFailure=False)
        return not command.didFail()
