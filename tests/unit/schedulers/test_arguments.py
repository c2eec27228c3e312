"""Arguments that select the code of a build: absolute source stamps, times without changes, priorities, and
overriding.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
from buildbot.schedulers.dependent import Dependent
from buildbot.schedulers.timed import Nightly, Periodic
from buildbot.test.running import until
from buildbot.test.schedulers import SchedulerHarness

CODEBASES = {"a": {"repository": "ra", "branch": "main"}, "b": {"repository": "rb"}}


@pytest.fixture(name="farm")
def make_farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


async def stamps(farm: SchedulerHarness, number: int = -1) -> dict[str, tuple[Any, ...]]:
    """The source stamps of a buildset by codebase: repository, branch, revision."""
    found = (await farm.buildsets())[number]["sourcestamps"]
    return {each["codebase"]: (each["repository"], each["branch"], each["revision"]) for each in found}


@pytest.mark.parametrize("absolute", [True, False])
async def test_absolute_source_stamps(farm: SchedulerHarness, absolute: bool) -> None:
    """A codebase without a change is built as its last change left it, over restarts too; otherwise as configured."""

    def scheduler() -> SingleBranchScheduler:
        return SingleBranchScheduler(
            "s",
            builderNames=["x"],
            codebases=CODEBASES,
            createAbsoluteSourceStamps=absolute,
            fileIsImportant=lambda change: "skip" not in change.files,
            onlyImportant=True,
        )

    await farm.start(scheduler())
    await farm.change(codebase="b", repository="rb2", branch="b1", revision="1", files=["skip"])
    await farm.change(codebase="a", repository="ra", branch="main", revision="2")
    await farm.has_count(1)
    assert await stamps(farm) == {"a": ("ra", "main", "2"), "b": ("rb2", "b1", "1") if absolute else ("rb", None, None)}
    await farm.restart(scheduler())
    await farm.change(codebase="b", repository="rb", branch="b1", revision="3")
    await farm.has_count(2)
    assert await stamps(farm) == {"b": ("rb", "b1", "3"), "a": ("ra", "main", "2" if absolute else None)}
    await farm.stop()


async def test_absolute_source_stamps_of_timed_ones(farm: SchedulerHarness) -> None:
    """The changes since the last time are built with the code of the last change of each codebase."""
    await farm.start(Periodic("p", ["x"], periodicBuildTimer=100, codebases=CODEBASES, createAbsoluteSourceStamps=True))
    farm.clock.advance(0)
    await farm.has_count(1)
    assert await stamps(farm) == {"a": ("ra", "main", None), "b": ("rb", None, None)}
    change = await farm.change(codebase="a", repository="ra", branch="main", revision="1")
    await farm.is_waiting(change)
    farm.clock.advance(100)
    await farm.has_count(2)
    farm.clock.advance(100)
    await farm.has_count(3)
    assert await stamps(farm) == {"a": ("ra", "main", "1"), "b": ("rb", None, None)}
    assert await farm.built() == [[], [change], []]
    await farm.stop()


async def test_times_that_need_no_change(farm: SchedulerHarness) -> None:
    """With onlyIfChanged, a build is made at the force_at times all the same."""
    farm.clock.advance(datetime(2026, 3, 2, 0, 30).timestamp())  # a Monday
    await farm.start(Nightly("n", ["x"], hour="*", onlyIfChanged=True, force_at_hour=3, force_at_day_of_week=0))
    change = await farm.change()
    await farm.is_waiting(change)

    async def hours(count: int) -> None:
        for _ in range(count * 12):
            farm.clock.advance(300)
            await until(lambda: _true())

    await hours(1)
    await farm.has_built([change])
    await hours(1)
    await farm.has_built([change])
    await hours(1)
    await farm.has_built([change], [])
    await hours(24)
    await farm.has_built([change], [])
    await farm.stop()


async def _true() -> bool:
    return True


def test_times_that_are_none_of_its_own() -> None:
    """The force_at times must be among the others; each mistake is said when the configuration is read."""
    with pytest.raises(
        ConfigErrors, match=r"Nightly 'n': the force_at_… times must be among its times; .* 03:00 is not"
    ):
        Nightly("n", ["x"], hour=[1, 2], onlyIfChanged=True, force_at_hour=[1, 3])
    with pytest.raises(ConfigErrors, match="hour must be a number from 0 to 23"):
        Nightly("n", ["x"], force_at_hour=25)
    Nightly("n", ["x"], minute="*/5", hour="*", onlyIfChanged=True, force_at_minute=10, force_at_month="jan,jul")


@pytest.mark.parametrize("kind", ["periodic", "dependent"])
async def test_a_priority_function(farm: SchedulerHarness, kind: str) -> None:
    """Where there are no changes it is given none."""
    seen: list[Any] = []

    def priority(names: list[str], changes: dict[str, Any]) -> int:
        seen.append((names, changes))
        return 5

    if kind == "periodic":
        await farm.start(Periodic("p", ["x"], periodicBuildTimer=100, priority=priority))
        farm.clock.advance(0)
    else:
        up = SingleBranchScheduler("up", builderNames=["y"])
        await farm.start(Dependent("p", up, ["x"], priority=priority))
        update = farm.master.data.update
        _, brids = await update.addBuildset(sourcestamps=[{"codebase": ""}], builderNames=["y"], scheduler="up")
        await update.claimBuildRequests([brids["y"]])
        await update.completeBuildRequests([brids["y"]], 0)

    async def there() -> bool:
        return any(each["priority"] == 5 for each in await farm.master.data.get({}, ("buildrequests",)))

    await until(there)
    assert seen == [(["x"], {})]
    await farm.stop()


async def test_a_subclass_decides_about_buildsets(farm: SchedulerHarness) -> None:
    """One that overrides addBuildsetForChanges may make none, or several; each change is dealt with once."""

    class Some(AnyBranchScheduler):
        async def addBuildsetForChanges(self, **kwargs: Any) -> Any:  # type: ignore[override]
            (change,) = await self.read_changes(kwargs["changeids"])
            if change.branch == "ignored":
                return None
            await super().addBuildsetForChanges(**kwargs)
            return await super().addBuildsetForChanges(**{**kwargs, "builderNames": ["more"]})

    await farm.start(Some("s", builderNames=["x"]))
    await farm.change(branch="ignored")
    change = await farm.change(branch="main")
    await farm.has_built([change], [change])
    await farm.restart(Some("s", builderNames=["x"]))
    last = await farm.change(branch="main")
    await farm.has_built([change], [change], [last], [last])
    await farm.stop()
