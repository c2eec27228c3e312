"""Steps that make RPM packages in a clean system with mock."""

from __future__ import annotations

from typing import ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.process.commandmixin import CommandMixin
from buildbot.steps.program import ProgramStep

#: the logs that mock writes
_LOGS = ("build.log", "root.log", "state.log")


class Mock(CommandMixin, ProgramStep):
    """Run ``mock``, and show its logs while they are written."""

    positional: ClassVar[tuple[str, ...]] = ("root", "resultdir")

    name = "mock"
    haltOnFailure = True
    root = argument(REQUIRED, checks.name, rendered=True, doc="the configuration of mock, such as `fedora-40-x86_64`")
    resultdir = argument(
        None, checks.optional(checks.text), rendered=True, doc="the directory for packages and logs; None: mock's own"
    )

    def mock_arguments(self) -> list[str]:
        """Further arguments of mock: the command, and its own arguments."""
        return []

    async def run(self) -> int:
        """Run ``mock``."""
        files = {name: f"{self.resultdir}/{name}" if self.resultdir else name for name in _LOGS}
        await self.runRemoteCommand("rmdir", {"dir": [f"{self.directory()}/{path}" for path in files.values()]})
        self.logfiles = {**files, **(self.logfiles or {})}
        result = ["--resultdir", self.resultdir] if self.resultdir else []
        self.command = ["mock", "--root", self.root, *result, *self.mock_arguments()]
        return (await self.runCommand(await self.makeRemoteShellCommand())).results()


class MockBuildSRPM(Mock):
    """Make a source package."""

    positional: ClassVar[tuple[str, ...]] = ("spec", "sources")

    name = "mockbuildsrpm"
    spec = argument(REQUIRED, checks.name, rendered=True, doc="the spec file")
    sources = argument(".", checks.name, rendered=True, doc="the directory of the sources")

    def mock_arguments(self) -> list[str]:
        """The command ``--buildsrpm``."""
        return ["--buildsrpm", "--spec", self.spec, "--sources", self.sources]


class MockRebuild(Mock):
    """Make packages from a source package."""

    positional: ClassVar[tuple[str, ...]] = ("srpm",)

    srpm = argument(REQUIRED, checks.name, rendered=True, doc="the source package")

    def mock_arguments(self) -> list[str]:
        """The command ``--rebuild``."""
        return ["--rebuild", self.srpm]
