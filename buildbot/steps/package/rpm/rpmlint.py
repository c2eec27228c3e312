"""A step that checks RPM packages with rpmlint."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.shellmixin import ShellMixin
from buildbot.process.step import BuildStep


class RpmLint(ShellMixin, BuildStep):
    """Run ``rpmlint``; its exit status is the result."""

    positional: ClassVar[tuple[str, ...]] = ("fileloc", "config")

    name = "rpmlint"
    warnOnFailure = True
    fileloc = argument(".", checks.name, rendered=True, doc="the packages, or a directory of them")
    config = argument(None, checks.optional(checks.text), rendered=True, doc="a file of rpmlint's configuration")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = self.by_name(args, kwargs)
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

    async def run(self) -> int:
        """Run ``rpmlint``."""
        config = ["-f", self.config] if self.config else []
        self.command = ["rpmlint", "-i", *config, self.fileloc]
        return (await self.runCommand(await self.makeRemoteShellCommand())).results()
