"""Periodic and Nightly: due once per time, over restarts too."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from buildbot.changes.filter import ChangeFilter
from buildbot.config.errors import ConfigErrors
from buildbot.schedulers.timed import Nightly, NightlyTriggerable, Periodic
from buildbot.test.running import until
from buildbot.test.schedulers import SchedulerHarness


@pytest.fixture(name="farm")
def make_farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


def periodic(**arguments: Any) -> Periodic:
    return Periodic("p", ["b"], **{"periodicBuildTimer": 100, "branch": "main", **arguments})


async def test_builds_at_once_and_then_at_intervals(farm: SchedulerHarness) -> None:
    await farm.start(periodic())
    farm.clock.advance(0)
    await farm.has_count(1)
    farm.clock.advance(99)
    farm.clock.advance(1)
    await farm.has_count(2)
    (stamp,) = (await farm.buildsets())[0]["sourcestamps"]
    assert (stamp["branch"], stamp["revision"]) == ("main", None)


async def test_a_restart_does_not_build_early_and_makes_up_for_one_missed_time(farm: SchedulerHarness) -> None:
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


async def test_only_if_something_changed(farm: SchedulerHarness) -> None:
    """The first build needs no change; then unimportant changes wait for an important one."""
    await farm.start(periodic(onlyIfChanged=True, fileIsImportant=lambda change: "code" in change.files))
    farm.clock.advance(0)
    await farm.has_built([])
    first = await farm.change(files=["doc"])
    await farm.is_waiting(first)
    farm.clock.advance(100)
    assert await farm.built() == [[]]
    second = await farm.change(files=["code"])
    await farm.is_waiting(first, second)
    farm.clock.advance(100)
    await farm.has_built([], [first, second])
    farm.clock.advance(100)
    assert len(await farm.buildsets()) == 2


def wrong(**arguments: Any) -> Nightly:
    return Nightly("n", ["b"], **arguments)


def nightly(**arguments: Any) -> Nightly:
    return Nightly("n", ["b"], **{"hour": 12, "onlyIfChanged": True, **arguments})


async def noon(farm: SchedulerHarness) -> None:
    """Set the clock to the next noon, and wait for the builds of that time."""
    now = datetime.fromtimestamp(farm.clock.seconds())
    due = now.replace(hour=12, minute=0, second=0, microsecond=0)
    farm.clock.advance((due if due > now else due + timedelta(days=1)).timestamp() - farm.clock.seconds())

    async def noted() -> bool:
        last: float = farm.scheduler.feed.last
        return last == farm.clock.seconds() and not farm.scheduler._ChangeScheduler__lock.locked

    await until(noted)


async def seen(farm: SchedulerHarness, changeid: int) -> None:
    """Wait until the scheduler has looked at a change."""

    async def there() -> bool:
        return bool(farm.scheduler.feed.changeid >= changeid and not farm.scheduler._ChangeScheduler__lock.locked)

    await until(there)


async def stamps(farm: SchedulerHarness) -> list[tuple[Any, Any]]:
    return [(stamp["branch"], stamp["revision"]) for each in await farm.buildsets() for stamp in each["sourcestamps"]]


@pytest.mark.parametrize(
    ("arguments", "changes", "built"),
    [
        ({"branch": "main"}, [("feature", "f1")], []),
        ({"branch": "main"}, [("main", "m1"), ("feature", "f1")], [("main", "m1")]),
        ({"branch": None}, [("feature", "f1")], []),
        ({"branch": None}, [("feature", "f1"), (None, "d1")], [(None, "d1")]),
        ({"change_filter": ChangeFilter(branch="rel")}, [("main", "m1")], []),
        ({"change_filter": ChangeFilter(branch="rel")}, [("rel", "r1"), ("main", "m1")], [("rel", "r1")]),
        ({"branch": "rel", "change_filter": ChangeFilter(category="c")}, [("main", "m1"), ("rel", "r1")], []),
        ({"codebases": {"": {"branch": "main"}}}, [("main", "m1"), ("feature", "f1")], [("main", "m1")]),
        ({"codebases": {"": {"branch": None}}}, [("main", "m1"), ("rel", "r1")], [("rel", "r1")]),
        ({"branch": "rel", "codebases": {"": {"branch": "main"}}}, [("rel", "r1")], []),
        ({"branch": "rel", "codebases": {"": {"branch": "main"}}}, [("main", "m1"), ("rel", "r1")], [("main", "m1")]),
        ({}, [("main", "m1"), ("rel", "r1")], [("rel", "r1")]),
    ],
)
async def test_only_changes_of_the_branch_that_is_built_count(
    farm: SchedulerHarness,
    arguments: dict[str, Any],
    changes: list[tuple[str | None, str]],
    built: list[tuple[str | None, str]],
) -> None:
    """A change of another branch neither causes a build nor is built."""
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(nightly(**arguments))
    for branch, revision in changes:
        await seen(farm, await farm.change(branch=branch, revision=revision))
    await noon(farm)
    assert await stamps(farm) == built


async def test_periodic_counts_only_changes_of_its_branch(farm: SchedulerHarness) -> None:
    """As Nightly does."""
    await farm.start(periodic(onlyIfChanged=True))
    farm.clock.advance(0)
    await farm.has_count(1)
    await seen(farm, await farm.change(branch="feature", revision="f1"))
    farm.clock.advance(100)
    assert await stamps(farm) == [("main", None)]
    main = await farm.change(branch="main", revision="m1")
    await farm.is_waiting(main)
    await seen(farm, await farm.change(branch="feature", revision="f2"))
    farm.clock.advance(100)
    await farm.has_count(2)
    assert await stamps(farm) == [("main", None), ("main", "m1")]


async def test_waiting_changes_of_a_branch_that_is_no_longer_built_are_forgotten(farm: SchedulerHarness) -> None:
    """A scheduler that is configured for another branch does not build changes that wait for the former one."""
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(nightly(branch="main"))
    await farm.is_waiting(await farm.change(branch="main", revision="m1"))
    await farm.restart(nightly(branch="rel"))
    await farm.is_waiting()
    await noon(farm)
    assert await stamps(farm) == []


async def test_the_first_build_needs_no_change(farm: SchedulerHarness) -> None:
    """The first build is made without a change, since the code was never built; later ones need a change."""
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(nightly(branch="main"))
    await noon(farm)
    assert await stamps(farm) == [("main", None)]
    await noon(farm)
    await farm.restart(nightly(branch="main"))
    await noon(farm)
    assert len(await farm.buildsets()) == 1
    await farm.is_waiting(await farm.change(revision="m1"))
    await noon(farm)
    assert await stamps(farm) == [("main", None), ("main", "m1")]


async def test_a_build_is_made_when_only_if_changed_is_switched_on(farm: SchedulerHarness) -> None:
    """A build is made once: the last one was made without the rule, so changes since then are not known."""
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(nightly(branch="main", onlyIfChanged=False))
    await noon(farm)
    await farm.restart(nightly(branch="main"))
    await noon(farm)
    await noon(farm)
    assert len(await farm.buildsets()) == 2


async def test_a_last_time_in_the_future_counts_as_now(farm: SchedulerHarness) -> None:
    """The clock was wrong then: the next build comes after one interval at the latest."""
    farm.clock.advance(2_000_000_000)
    await farm.start(periodic(periodicBuildTimer=600))
    farm.clock.advance(0)
    await farm.has_count(1)
    await farm.stop()
    farm.clock.rightNow = 1_800_000_000
    await farm.start(periodic(periodicBuildTimer=600))
    for count in (2, 3):
        farm.clock.advance(599)
        assert len(await farm.buildsets()) == count - 1
        farm.clock.advance(1)
        await farm.has_count(count)


@pytest.mark.parametrize(
    ("set_to", "due"),
    [
        (datetime(2026, 3, 5, 9, 20), datetime(2026, 3, 5, 10, 0)),  # far back: as if it had never been ahead
        (datetime(2026, 3, 5, 11, 59, 50), datetime(2026, 3, 5, 13, 0)),  # put right: noon has been built
        (datetime(2026, 3, 5, 12, 59, 50), datetime(2026, 3, 5, 13, 0)),
    ],
)
async def test_a_clock_that_is_set_back_while_the_master_runs(
    farm: SchedulerHarness, set_to: datetime, due: datetime
) -> None:
    """No planned time is built twice for a small correction, and none is waited for that lies beyond the next."""
    farm.clock.advance(datetime(2026, 3, 5, 11, 59).timestamp())
    await farm.start(Nightly("n", ["b"], branch="main"))
    farm.clock.advance(60)
    await farm.has_count(1)
    await farm.stop()
    farm.clock.rightNow = set_to.timestamp()
    await farm.start(Nightly("n", ["b"], branch="main"))
    farm.clock.advance(due.timestamp() - set_to.timestamp() - 1)
    assert len(await farm.buildsets()) == 1
    farm.clock.advance(1)
    await farm.has_count(2)


async def test_a_clock_that_is_set_is_noticed_soon(farm: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers measure by themselves: neither hours back nor hours ahead are slept through."""
    ahead = [0.0]
    monkeypatch.setattr(farm.master, "wall_seconds", lambda: farm.clock.seconds() + ahead[0])
    farm.clock.advance(datetime(2026, 3, 5, 11, 50).timestamp())
    await farm.start(Nightly("n", ["b"], branch="main"))
    ahead[0] = 3600.0
    farm.clock.advance(30)
    await farm.has_count(1)
    ahead[0] = -36_000.0
    farm.clock.pump([30] * 22)
    await farm.has_count(2)


async def test_switched_off_a_time_passes(farm: SchedulerHarness) -> None:
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


async def test_an_error_is_tried_again_and_doubles_nothing(
    farm: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        ({"hour": range(0, 24, 2)}, datetime(2026, 3, 1, 1, 0), datetime(2026, 3, 1, 2, 0)),
        ({"hour": {6, 18}}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 18, 0)),
        ({"hour": frozenset({6}), "minute": (5, 10)}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 6, 6, 5)),
        ({"hour": {6: "a", 18: "b"}.keys()}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 18, 0)),
        ({"hour": (each for each in (1, 2))}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 6, 1, 0)),
        ({"hour": "6, 18"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 5, 18, 0)),
        ({"hour": 3, "dayOfWeek": range(5)}, datetime(2026, 3, 6, 10, 30), datetime(2026, 3, 9, 3, 0)),
        ({"hour": 3, "dayOfWeek": "sat,sun"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 7, 3, 0)),
        ({"hour": 3, "dayOfWeek": "1#2"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 9, 3, 0)),
        ({"hour": 3, "dayOfWeek": "L1"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 3, 30, 3, 0)),
        ({"hour": 3, "dayOfMonth": "L"}, datetime(2026, 2, 5, 10, 30), datetime(2026, 2, 28, 3, 0)),
        ({"hour": 3, "month": "apr-jun"}, datetime(2026, 3, 5, 10, 30), datetime(2026, 4, 1, 3, 0)),
        (
            {"hour": 3, "dayOfMonth": range(1, 32), "dayOfWeek": 0},
            datetime(2026, 3, 5, 10, 30),
            datetime(2026, 3, 9, 3, 0),
        ),
        (
            {"hour": 3, "dayOfMonth": 9, "dayOfWeek": range(7)},
            datetime(2026, 3, 5, 10, 30),
            datetime(2026, 3, 9, 3, 0),
        ),
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


async def test_nightly_builds_when_due(farm: SchedulerHarness) -> None:
    farm.clock.advance(datetime(2026, 3, 5, 10, 30).timestamp())
    await farm.start(Nightly("n", ["b"], hour=12))
    farm.clock.pump([1800] * 2)
    assert await farm.buildsets() == []
    farm.clock.pump([1800])
    await farm.has_count(1)


def test_branch_of_codebases() -> None:
    """The branch is that of the codebases that name none."""
    made = periodic(codebases={"a": {}, "b": {"branch": "next"}})
    assert {name: settings["branch"] for name, settings in made.stated_codebases().items()} == {
        "a": "main",
        "b": "next",
    }


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: periodic(periodicBuildTimer=0), "periodicBuildTimer must be a number above 0, not 0"),
        (lambda: periodic(periodicBuildTimer="1"), "periodicBuildTimer must be a number, not '1'"),
        (lambda: periodic(branch=["a"]), "branch must be a string, not ['a']"),
        (lambda: Nightly("n", ["b"], hour=25), "hour must be a number from 0 to 23, a collection of them"),
        (lambda: Nightly("n", ["b"], hour=[1, 25]), "not [1, 25]"),
        (lambda: Nightly("n", ["b"], hour=[]), "not []"),
        (lambda: wrong(hour=None), "hour must be a number from 0 to 23"),
        (lambda: Nightly("n", ["b"], hour=True), "not True"),
        (lambda: wrong(hour=1.5), "not 1.5"),
        (lambda: Nightly("n", ["b"], minute="1 2"), "minute must be a number from 0 to 59"),
        (lambda: Nightly("n", ["b"], minute=""), "not ''"),
        (lambda: Nightly("n", ["b"], dayOfWeek="x"), "dayOfWeek must be a number from 0 to 6"),
        (lambda: Nightly("n", ["b"], dayOfWeek=7), "not 7"),
        (lambda: Nightly("n", ["b"], dayOfMonth=30, month=2), "no day is like dayOfMonth=30, month=2"),
    ],
)
def test_mistakes_are_named(make: Any, said: str) -> None:
    """The message names the argument, the allowed values and the value."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("branch", "b"),
        ("onlyIfChanged", True),
        ("change_filter", ChangeFilter(branch="b")),
        ("fileIsImportant", lambda change: True),
        ("onlyImportant", True),
        ("createAbsoluteSourceStamps", True),
        ("force_at_hour", 3),
        ("force_at_day_of_week", 0),
    ],
)
def test_arguments_without_effect_on_nightly_triggerable(name: str, value: Any) -> None:
    """An argument about changes is a mistake there; one that says that nothing is wanted is none."""
    with pytest.raises(ConfigErrors, match=f"NightlyTriggerable 'n': {name} has no effect, since it builds what a"):
        NightlyTriggerable("n", ["b"], **{name: value})
    assert NightlyTriggerable("n", ["b"], onlyIfChanged=False, change_filter=None).calendar
