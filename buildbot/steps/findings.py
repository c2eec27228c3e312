"""Findings of linters: sorted into categories, counted, and kept up to a limit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from buildbot.process.logobserver import LogLineObserver
from buildbot.process.step import BuildStep

#: characters of findings that are kept for logs; later findings are only counted
MAX_CHARS = 4 * 1024 * 1024


class Findings(LogLineObserver):
    """Sorts lines of output into categories. Subclasses call `add` for each finding."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.__lines: dict[str, list[str]] = {}
        self.__chars = 0

    def add(self, category: str, line: str) -> None:
        """Count a line, and keep it if there is room."""
        self.counts[category] = self.counts.get(category, 0) + 1
        if self.__chars < MAX_CHARS:
            self.__chars += len(line) + 1
            self.__lines.setdefault(category, []).append(line)

    @property
    def total(self) -> int:
        """The number of findings."""
        return sum(self.counts.values())

    def text(self, categories: Iterable[str]) -> str:
        """The kept lines of some categories, each ended by a newline."""
        return "".join(f"{line}\n" for category in categories for line in self.__lines.get(category, ()))

    def errLineReceived(self, line: str) -> None:
        """Error output counts like output."""
        self.outLineReceived(line)


async def store(step: BuildStep, findings: Findings, categories: Iterable[str], prefix: str, source: str) -> None:
    """Write a log ``PREFIX-CATEGORY`` for each category that occurred, and properties with all numbers."""
    for category in categories:
        number = findings.counts.get(category, 0)
        if number:
            await step.addCompleteLog(f"{prefix}-{category}", findings.text([category]))
        step.setProperty(f"{prefix}-{category}", number, source)
    step.setProperty(f"{prefix}-total", findings.total, source)


def summary(step: BuildStep, name: str, findings: Findings, categories: Iterable[str]) -> Any:
    """The result summary of a step: its name, and the number of findings of each category that occurred."""
    found = [f"{category}={findings.counts[category]}" for category in categories if findings.counts.get(category)]
    return step.summary_of_result(" ".join([name, *found]))
