"""A step that runs cppcheck, a linter for C and C++."""

from __future__ import annotations

import re
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.steps.findings import Findings, store, summary
from buildbot.steps.program import ProgramStep
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS

_MESSAGE = re.compile(r"(?:\[.+\]: )?\((?P<category>error|warning|style|performance|portability|information)\) ")
CATEGORIES = ("error", "warning", "style", "performance", "portability", "information")


class Cppcheck(ProgramStep):
    """Run ``cppcheck``: an error that it finds is a failure, everything else a warning."""

    name = "cppcheck"
    flunkingIssues = ("error",)
    binary = argument("cppcheck", checks.name, rendered=True, doc="the program")
    source = argument((".",), checks.list_of(checks.text), rendered=True, doc="the files and directories to look at")
    enable = argument((), checks.list_of(checks.text), rendered=True, doc="the kinds of checks, such as `style`")
    inconclusive = argument(False, checks.flag, rendered=True, doc="also report findings that may be wrong")
    extra_args = argument((), checks.list_of(checks.text), rendered=True, doc="further arguments")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__found = _Messages()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run ``cppcheck``, and store its findings."""
        command = self.command = [self.binary, *self.source]
        if self.enable:
            command.append(f"--enable={','.join(self.enable)}")
        if self.inconclusive:
            command.append("--inconclusive")
        command += self.extra_args
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        await store(self, self.__found, CATEGORIES, "cppcheck", "Cppcheck")
        if ran.results() != SUCCESS or any(self.__found.counts.get(each) for each in self.flunkingIssues):
            return FAILURE
        return WARNINGS if self.__found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of findings of each kind."""
        return summary(self, "cppcheck", self.__found, CATEGORIES)


class _Messages(Findings):
    def outLineReceived(self, line: str) -> None:
        found = _MESSAGE.match(line)
        if found is not None:
            self.add(found["category"], line)
