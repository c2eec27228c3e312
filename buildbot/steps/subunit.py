"""A step that runs tests whose output is a subunit stream, version 1 (text)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.logobserver import LogLineObserver
from buildbot.steps.shell import ShellCommand
from buildbot.util.results import FAILURE, SUCCESS

#: characters of the report on failed tests that are kept
MAX_PROBLEMS_CHARS = 4 * 1024 * 1024

_OUTCOMES = {
    "success": "passed",
    "successful": "passed",
    "failure": "failed",
    "error": "errors",
    "skip": "skipped",
    "xfail": "expected failures",
    "uxsuccess": "unexpected successes",
}
_OUTCOME = re.compile(rf"(?P<outcome>{'|'.join(_OUTCOMES)}):? (?P<name>.*?)(?P<more> \[(?: multipart)?)?\Z")
_BAD = ("failed", "errors", "unexpected successes")


class SubunitShellCommand(ShellCommand):
    """Run a command whose output is a subunit stream, version 1; tests that fail make the step fail."""

    positional: ClassVar[tuple[str, ...]] = ("failureOnNoTests",)

    failureOnNoTests = argument(False, checks.flag, doc="whether a run without any test is a failure")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = self.by_name(args, kwargs)
        super().__init__(**self.take_arguments(["failureOnNoTests"], kwargs))
        self.__stream = _Stream()
        self.addLogObserver("stdio", self.__stream)

    async def run(self) -> int:
        """Run the command, and log the reports of failed tests."""
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        stream = self.__stream
        if stream.problems:
            await self.addCompleteLog("problems", "".join(f"{line}\n" for line in stream.problems))
        if ran.results() != SUCCESS or any(stream.counts.get(each) for each in _BAD):
            return FAILURE
        return FAILURE if self.failureOnNoTests and not stream.counts else SUCCESS

    def getResultSummary(self) -> Any:
        """The numbers of tests by result."""
        counts = self.__stream.counts
        if not counts:
            return super().getResultSummary() if not self.failureOnNoTests else self.summary_of_result("no tests run")
        total = sum(counts.values())
        words = [f"{number} {kind}" for kind, number in counts.items()]
        return self.summary_of_result(" ".join([f"{total} {'test' if total == 1 else 'tests'}", *words]))


class _Stream(LogLineObserver):
    """Counts tests by result, and keeps the output of failed tests."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.problems: list[str] = []
        self._chars = 0
        #: between the brackets of a test's details: whether they are kept; None: outside
        self._inside: bool | None = None

    def outLineReceived(self, line: str) -> None:
        if self._inside is not None:
            self._keep(line, self._inside)
            if line == "]":
                self._inside = None
            return
        found = _OUTCOME.match(line)
        if found is None:
            return
        kind = _OUTCOMES[found["outcome"]]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._keep(line, kind in _BAD)
        if found["more"] is not None:
            self._inside = kind in _BAD

    def _keep(self, line: str, bad: bool) -> None:
        if bad and self._chars < MAX_PROBLEMS_CHARS:
            self._chars += len(line) + 1
            self.problems.append(line)
