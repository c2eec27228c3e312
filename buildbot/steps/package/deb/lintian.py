"""A step that checks Debian packages with lintian."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.steps.findings import Findings
from buildbot.steps.program import ProgramStep
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS


class DebLintian(ProgramStep):
    """Run ``lintian``: errors that it finds are a failure, its warnings WARNINGS."""

    positional: ClassVar[tuple[str, ...]] = ("fileloc", "suppressTags")

    name = "lintian"
    flunkOnFailure = False
    warnOnFailure = True
    fileloc = argument(REQUIRED, checks.name, rendered=True, doc="the package, or its .changes file")
    suppressTags = argument((), checks.list_of(checks.text), rendered=True, doc="tags that do not count")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__found = _Lintian()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run ``lintian``, and log its findings."""
        self.command = ["lintian", "-v", self.fileloc]
        for tag in self.suppressTags:
            self.command += ["--suppress-tags", tag]
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        counts = self.__found.counts
        for kind in ("Warnings", "Errors"):
            if counts.get(kind):
                await self.addCompleteLog(f"{counts[kind]} {kind}", self.__found.text([kind]))
        if ran.results() != SUCCESS or counts.get("Errors"):
            return FAILURE
        return WARNINGS if counts.get("Warnings") else SUCCESS


class _Lintian(Findings):
    def outLineReceived(self, line: str) -> None:
        kind = {"W:": "Warnings", "E:": "Errors"}.get(line[:2])
        if kind is not None:
            self.add(kind, line)
