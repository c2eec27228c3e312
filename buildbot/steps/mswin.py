"""A step that copies directories on Windows workers."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.steps.program import ProgramStep
from buildbot.util.results import SUCCESS, WARNINGS


def _list() -> Any:
    return checks.optional(checks.list_of(checks.text))


class Robocopy(ProgramStep):
    """Copy a directory with ``robocopy``. Its exit codes 0 and 1 are success, 2 to 7 warnings, others a failure."""

    positional: ClassVar[tuple[str, ...]] = ("source", "destination")

    name = "robocopy"
    decodeRC = MappingProxyType({**dict.fromkeys((0, 1), SUCCESS), **dict.fromkeys(range(2, 8), WARNINGS)})
    source = argument(REQUIRED, checks.name, rendered=True, doc="the directory to copy")
    destination = argument(REQUIRED, checks.name, rendered=True, doc="the directory to copy it to")
    files = argument(None, _list(), rendered=True, doc="names or patterns of files; None: all")
    recursive = argument(False, checks.flag, rendered=True, doc="also copy subdirectories (`/E`)")
    mirror = argument(
        False, checks.flag, rendered=True, doc="remove files of the destination that are not in the source (`/MIR`)"
    )
    move = argument(False, checks.flag, rendered=True, doc="remove the copied files from the source (`/MOVE`)")
    exclude_files = argument(None, _list(), rendered=True, doc="files that are left out (`/XF`)")
    exclude_dirs = argument(None, _list(), rendered=True, doc="directories that are left out (`/XD`)")
    custom_opts = argument(None, _list(), rendered=True, doc="further arguments")
    verbose = argument(False, checks.flag, rendered=True, doc="log each file (`/V /TS /FP`)")

    async def run(self) -> int:
        """Run ``robocopy``."""
        command = ["robocopy", self.source, self.destination, *(self.files or ())]
        for flag, given in (("/E", self.recursive), ("/MIR", self.mirror), ("/MOVE", self.move)):
            command += [flag] if given else []
        for flag, names in (("/XF", self.exclude_files), ("/XD", self.exclude_dirs)):
            command += [flag, *names] if names else []
        command += ["/V", "/TS", "/FP"] if self.verbose else []
        self.command = [*command, *(self.custom_opts or ()), "/TEE", "/NP"]
        return (await self.runCommand(await self.makeRemoteShellCommand())).results()
