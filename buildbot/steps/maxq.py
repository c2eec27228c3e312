"""A step that tests web sites with MaxQ."""

from __future__ import annotations

from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.steps.findings import Findings
from buildbot.steps.program import ProgramStep
from buildbot.util.results import FAILURE, SUCCESS


class MaxQ(ProgramStep):
    """Run ``run_maxq.py``; a test that fails makes the step fail."""

    positional: ClassVar[tuple[str, ...]] = ("testdir",)

    name = "maxq"
    flunkOnFailure = True
    testdir = argument(REQUIRED, checks.name, rendered=True, doc="the directory of the tests")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__found = _Failures()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run the tests."""
        self.command = ["run_maxq.py", self.testdir]
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        return FAILURE if ran.results() != SUCCESS or self.__found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of failed tests."""
        if self.results == SUCCESS:
            return self.summary_of_result("success")
        return self.summary_of_result(f"{max(self.__found.total, 1)} maxq failures")


class _Failures(Findings):
    def outLineReceived(self, line: str) -> None:
        if line.startswith("TEST FAILURE:"):
            self.add("failures", line)
