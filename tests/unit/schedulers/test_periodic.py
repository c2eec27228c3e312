"""Periodic and Nightly: due once per time, over restarts too."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.schedulers.timed import Nightly, Periodic
from tests.unit.process.mastered import until
from tests.unit.schedulers.farm import Farm


@pytest.fixture(name="farm")
def make_farm(master: Any) -> Farm:
    return Farm(master)


def periodic(**arguments: Any) -> Periodic:
    return Periodic("p", ["b"], **{"periodicBuildTimer": 100, "branch": "main", **arguments})


async def test_builds_at_once_and_then_at_intervals(farm: Farm) -> None:
    await farm.start(periodic())
    farm.clock.advance(0)
    await farm.has_count(1)
    farm.clock.advance(99)
    farm.clock.advance(1)
    await farm.has_count(2)
    (stamp,) = (await farm.buildsets())[0]["sourcestamps"]
    assert (stamp["branch"], stamp["revision"]) == ("main", None)


async def test_a_restart_does_not_build_early_and_makes_up_for_one_missed_time(farm: Farm) -> None:
    await farm.start(periodic())
    farm.clock.advance(0)
    await farm.has_count(1)
    farm.clock.advance(60)
    await farm.restart(periodic())
    farm.clock.advance(39)
    assert len(await farm.buildsets()) == 1
    farm.clock.advance(1)
    await farm.has_count(2)
    await farm.stop()
    farm.clock.advance(1000)
    await farm.start(periodic())
    farm.clock.advance(0)
    await farm.has_count(3)
    farm.clock.advance(99)
    assert len(await farm.buildsets()) == 3


async def test_only_if_something_changed(farm: Farm) -> None:
    await farm.start(periodic(onlyIfChanged=True, fileIsImportant=lambda change: "code" in change.files))
    farm.clock.advance(0)
    first = await farm.change(files=["doc"])
    await farm.is_waiting(first)
    farm.clock.advance(100)
    assert await farm.buildsets() == []
    second = await farm.change(files=["code"])
    await farm.is_waiting(first, second)
    farm.clock.advance(100)
    await farm.has_built([first, second])
    farm.clock.advance(100)
    assert len(await farm.buildsets()) == 1


async def test_switched_off_a_time_passes(farm: Farm) -> None:
    scheduler = await farm.start(periodic())
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, False)

    async def off() -> bool:
        return not scheduler.enabled

    await until(off)
    farm.clock.advance(0)
    assert await farm.buildsets() == []
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, True)
    farm.clock.advance(99)
    assert await farm.buildsets() == []


async def test_an_error_is_tried_again_and_doubles_nothing(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    await farm.start(periodic())
    do, lost = farm.master.db.pool.do, []

    def answers_get_lost(*arguments: Any, **further: Any) -> Any:
        def lose(result: Any) -> Any:
            lost.append(result)
            raise RuntimeError("the answer got lost")

        return do(*arguments, **further).addCallback(lose)

    monkeypatch.setattr(farm.master.db.pool, "do", answers_get_lost)
    farm.clock.advance(0)
    assert lost
    monkeypatch.setattr(farm.master.db.pool, "do", do)
    farm.clock.advance(10)
    await farm.has_count(1)
    farm.clock.advance(60)
    assert len(await farm.buildsets()) == 1


@pytest.mark.parametrize(
    ("arguments", "after", "expected"),
    [
        ({}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 11, 0)),
        ({"hour": 3, "minute": 15}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 6, 3, 15)),
        ({"hour": [6, 18]}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 18, 0)),
        ({"minute": "*/20"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 10, 40)),
        ({"hour": 3, "dayOfWeek": 0}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 9, 3, 0)),  # a Monday
        ({"hour": 3, "dayOfWeek": 6}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 8, 3, 0)),  # a Sunday
        ({"hour": 3, "dayOfWeek": "5-6"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 7, 3, 0)),
        ({"hour": 3, "dayOfMonth": 1, "month": 4}, datetime(2026, 3, 5, 10, 30), datetime(2026, 4, 1, 3, 0)),
    ],
)
def test_calendar_patterns(arguments: dict[str, Any], after: datetime, expected: datetime) -> None:
    """As in crontab, but the week begins on Monday with 0."""
    due = Nightly("n", ["b"], **arguments).next_time(after.timestamp(), after.timestamp())
    assert datetime.fromtimestamp(due) == expected


async def test_nightly_builds_when_due(farm: Farm) -> None:
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(Nightly("n", ["b"], hour=12))
    farm.clock.pump([1800] * 2)
    assert await farm.buildsets() == []
    farm.clock.pump([1800])
    await farm.has_count(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: periodic(periodicBuildTimer=0),
        lambda: periodic(codebases=["a"]),
        lambda: Nightly("n", ["b"], hour=25),
        lambda: Nightly("n", ["b"], dayOfWeek="x"),
    ],
)
def test_mistakes_are_named(make: Any) -> None:
    with pytest.raises(ConfigErrors):
        make()
