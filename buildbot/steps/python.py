"""Steps for Python projects: PyFlakes, PyLint, Sphinx."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.steps.findings import Findings, store, summary
from buildbot.steps.program import ProgramStep
from buildbot.steps.shell import ShellCommand
from buildbot.util.results import FAILURE, SUCCESS, WARNINGS

#: the most messages of a linter that are stored as test results
MAX_RESULTS = 10_000

PYFLAKES = {
    "unable to detect undefined names": "import*",
    "imported but unused": "unused",
    "undefined name": "undefined",
    "redefinition of unused": "redefs",
}
PYFLAKES_CATEGORIES = ("unused", "undefined", "redefs", "import*", "misc")
PYLINT_CATEGORIES = {
    "C": "convention",
    "R": "refactor",
    "W": "warning",
    "E": "error",
    "F": "fatal",
    "I": "info",
}
#: ``file.py:5:0: C0301: …``, ``file.py:5: [C0301(name), …] …``, or ``C0301: 5,0: …`` without the file
_PYLINT = re.compile(
    r"(?:(?P<path>[^:\n]+):(?P<line>\d+):(?:\d+:)? \[?)?(?P<category>[CRWEFI])(?P<number>\d{4})?(?:[:(,]|\Z)"
)
#: bits of pylint's exit code that mean fatal, error and wrong usage
_PYLINT_FAILED = 1 | 2 | 32


class PyFlakes(ShellCommand):
    """Run ``pyflakes`` by ``make pyflakes``: an undefined name is a failure, everything else a warning."""

    name = "pyflakes"
    command = ["make", "pyflakes"]
    flunkOnFailure = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.__found = _PyFlakes()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run ``pyflakes``, and store its findings."""
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        await store(self, self.__found, PYFLAKES_CATEGORIES, "pyflakes", "pyflakes")
        if ran.rc not in (0, 1) or self.__found.counts.get("undefined"):
            return FAILURE
        return WARNINGS if self.__found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of findings of each kind."""
        return summary(self, "pyflakes", self.__found, PYFLAKES_CATEGORIES)


class _PyFlakes(Findings):
    def outLineReceived(self, line: str) -> None:
        if re.match(r"[^:\s][^:]*:\d+", line) is not None:
            self.add(next((kind for words, kind in PYFLAKES.items() if words in line), "misc"), line)


class PyLint(ShellCommand):
    """Run ``pylint``: errors and fatal messages are a failure, others warnings."""

    positional: ClassVar[tuple[str, ...]] = ("store_results",)

    name = "pylint"
    store_results = argument(
        True, checks.flag, doc=f"store each message as a test result of the build; at most {MAX_RESULTS}"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs = self.by_name(args, kwargs)
        super().__init__(**self.take_arguments(["store_results"], kwargs))
        self.__found = _PyLint()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run ``pylint``, and store its findings."""
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        found, categories = self.__found, PYLINT_CATEGORIES.values()
        await store(self, found, categories, "pylint", "Pylint")
        if self.store_results and found.messages:
            setid = await self.addTestResultSet("Pylint warnings", "code_issue", "message")
            for path, line, text in found.messages:
                self.addTestResult(setid, text, test_code_path=path, line=line)
        if ran.rc is None or ran.rc < 0 or ran.rc & _PYLINT_FAILED or found.counts.keys() & {"error", "fatal"}:
            return FAILURE
        return WARNINGS if found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of findings of each kind."""
        return summary(self, "pylint", self.__found, PYLINT_CATEGORIES.values())


class _PyLint(Findings):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[str, int, str]] = []

    def outLineReceived(self, line: str) -> None:
        found = _PYLINT.match(line)
        if found is None or (found["path"] is None and not line[1:2].isdigit() and line[1:2] != ":"):
            return
        self.add(PYLINT_CATEGORIES[found["category"]], line)
        if found["path"] is not None and len(self.messages) < MAX_RESULTS:
            self.messages.append((found["path"], int(found["line"][:9]), line[found.start("category") :][:1000]))


class Sphinx(ProgramStep):
    """Make documentation with Sphinx."""

    positional: ClassVar[tuple[str, ...]] = (
        "sphinx_sourcedir",
        "sphinx_builddir",
        "sphinx_builder",
        "sphinx",
        "tags",
        "defines",
        "strict_warnings",
        "mode",
    )

    name = "sphinx"
    haltOnFailure = True
    sphinx_builddir = argument(REQUIRED, checks.name, rendered=True, doc="the directory for the documentation")
    sphinx_sourcedir = argument(".", checks.name, rendered=True, doc="the directory with `conf.py`")
    sphinx_builder = argument(
        None, checks.optional(checks.text), rendered=True, doc="the builder, such as `html`; None: Sphinx's default"
    )
    sphinx = argument("sphinx-build", checks.name, rendered=True, doc="the program")
    tags = argument((), checks.list_of(checks.text), rendered=True, doc="tags that are set")
    defines: Mapping[str, Any] = argument(
        MappingProxyType({}), checks.mapping, rendered=True, doc="values of `conf.py`; True stands for 1"
    )
    strict_warnings = argument(False, checks.flag, rendered=True, doc="warnings are a failure")
    mode = argument(
        "incremental", checks.one_of("incremental", "full"), rendered=True, doc="`full` makes all pages anew"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__found = _Sphinx()
        self.addLogObserver("stdio", self.__found)

    async def run(self) -> int:
        """Run Sphinx."""
        command = self.command = [self.sphinx]
        if self.sphinx_builder:
            command += ["-b", self.sphinx_builder]
        for tag in self.tags:
            command += ["-t", tag]
        for name in sorted(self.defines):
            value = self.defines[name]
            shown = name if value is None else f"{name}={int(value) if isinstance(value, bool) else value}"
            command += ["-D", shown]
        command += ["-E"] if self.mode == "full" else []
        command += ["-W"] if self.strict_warnings else []
        command += [self.sphinx_sourcedir, self.sphinx_builddir]
        ran = await self.runCommand(await self.makeRemoteShellCommand())
        if self.__found.total:
            await self.addCompleteLog("warnings", self.__found.text(["warnings"]))
        self.setStatistic("warnings", self.__found.total)
        if ran.results() != SUCCESS:
            return FAILURE
        return WARNINGS if self.__found.total else SUCCESS

    def getResultSummary(self) -> Any:
        """The number of warnings."""
        return self.summary_of_result(f"sphinx {self.__found.total} warnings")


class _Sphinx(Findings):
    def outLineReceived(self, line: str) -> None:
        if re.search(r"\b(?:WARNING|ERROR|SEVERE):", line) is not None:
            self.add("warnings", line)
