"""A step that checks RPM packages with rpmlint."""

from __future__ import annotations

from typing import ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.steps.program import ProgramStep


class RpmLint(ProgramStep):
    """Run ``rpmlint``; its exit status is the result."""

    positional: ClassVar[tuple[str, ...]] = ("fileloc", "config")

    name = "rpmlint"
    warnOnFailure = True
    fileloc = argument(".", checks.name, rendered=True, doc="the packages, or a directory of them")
    config = argument(None, checks.optional(checks.text), rendered=True, doc="a file of rpmlint's configuration")

    async def run(self) -> int:
        """Run ``rpmlint``."""
        config = ["-f", self.config] if self.config else []
        self.command = ["rpmlint", "-i", *config, self.fileloc]
        return (await self.runCommand(await self.makeRemoteShellCommand())).results()
