"""The test results of a step: they gather here, and are stored many at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from buildbot.data.updates import Updates
from buildbot.process.stepcontract import RunningStep

#: results stored in one transaction
BATCH = 1000


class _Set:
    """A set that is not complete, and the results to store in it."""

    def __init__(self, builderid: int, category: str, value_unit: str) -> None:
        self.builderid = builderid
        self.category = category
        self.value_unit = value_unit
        self.results: list[dict[str, Any]] = []

    def counts(self) -> dict[str, int]:
        """The numbers of tests that passed and failed, for categories with these."""
        if self.category == "pass_fail" and self.value_unit == "boolean":
            passed = sum(result["value"] == "1" for result in self.results)
            return {"tests_passed": passed, "tests_failed": len(self.results) - passed}
        if self.category in ("pass_only", "fail_only"):
            return {"tests_passed" if self.category == "pass_only" else "tests_failed": len(self.results)}
        return {}


class TestResults:
    """The sets that a step has begun."""

    def __init__(self) -> None:
        self._sets: dict[int, _Set] = {}

    async def begin(self, step: RunningStep, description: str | None, category: str, value_unit: str) -> int:
        """Begin a set; gives its id."""
        builderid = step.build.builderid
        setid: int = await step.master.data.update.addTestResultSet(
            builderid, step.build.buildid, step.stepid, description, category, value_unit
        )
        self._sets[setid] = _Set(builderid, category, value_unit)
        return setid

    def add(self, setid: int, result: dict[str, Any]) -> None:
        """Add a result to its set. ValueError if this step has begun no such set, or has finished it."""
        if setid not in self._sets:
            raise ValueError(f"setid: this step has no test result set {setid} that is not complete")
        self._sets[setid].results.append(result)

    async def finish(self, updates: Callable[[], Awaitable[Updates]]) -> None:
        """Store the rest of the results, and complete the sets; ``updates`` gives the update methods."""
        while self._sets:
            update = await updates()
            setid, kept = next(iter(self._sets.items()))
            del self._sets[setid]  # it is tried once: a wrong result stays wrong
            for start in range(0, len(kept.results), BATCH):
                await update.addTestResults(kept.builderid, setid, kept.results[start : start + BATCH])
            await update.completeTestResultSet(setid, **kept.counts())
