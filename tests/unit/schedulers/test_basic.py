"""SingleBranchScheduler and AnyBranchScheduler: every change is built once, also after failures and restarts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs

from buildbot.changes.filter import ChangeFilter
from buildbot.config.errors import ConfigErrors
from buildbot.db.exceptions import NotClaimedError
from buildbot.process.properties import Interpolate, Property, renderer
from buildbot.schedulers.basic import AnyBranchScheduler, SingleBranchScheduler
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.test.running import until
from buildbot.test.schedulers import SchedulerHarness
from tests.support.reactor import reactor


@pytest.fixture(name="farm")
def make_farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


def single(**arguments: Any) -> SingleBranchScheduler:
    return SingleBranchScheduler("single", **({"builderNames": ["b1", "b2"]} | arguments))


async def test_each_change_is_built_at_once(farm: SchedulerHarness) -> None:
    await farm.start(single())
    first, second = await farm.change(revision="r1"), await farm.change(revision="r2")
    await farm.has_built([first], [second])


async def test_the_buildset_says_what_it_is_of(farm: SchedulerHarness) -> None:
    """Reason, source stamp, properties and a request for each builder."""
    await farm.start(single(properties={"p": 1}, priority=3))
    await farm.change(revision="r1", repository="repo", project="proj")
    await farm.has_built([1])
    (buildset,) = await farm.buildsets()
    assert buildset["reason"] == "The SingleBranchScheduler scheduler named 'single' triggered this build"
    (stamp,) = buildset["sourcestamps"]
    expected = {"codebase": "", "branch": "main", "revision": "r1", "repository": "repo", "project": "proj"}
    assert {key: stamp[key] for key in expected} == expected
    properties = await farm.master.data.get({}, ("buildsets", buildset["bsid"], "properties"))
    assert properties == {"p": [1, "Scheduler"], "scheduler": ["single", "Scheduler"]}
    requests = await farm.master.data.get({}, ("buildrequests",))
    assert [each["priority"] for each in requests] == [3, 3]
    names = [(await farm.master.data.get({}, ("builders", each["builderid"])))["name"] for each in requests]
    assert sorted(names) == ["b1", "b2"]


async def test_only_changes_that_pass_the_filter(farm: SchedulerHarness) -> None:
    await farm.start(single(change_filter=ChangeFilter(branch="main", category_re="do")))
    await farm.change(branch="other", category="docs")
    await farm.change(category="code")
    third = await farm.change(category="docs")
    await farm.has_built([third])


async def test_branch_and_categories_in_place_of_a_filter(farm: SchedulerHarness) -> None:
    await farm.start(single(branches=["a", "b"], categories=["c"]))
    await farm.change(branch="a", category=None)
    await farm.change(branch="main", category="c")
    third = await farm.change(branch="b", category="c")
    await farm.has_built([third])


async def test_changes_of_other_codebases_are_passed_over(farm: SchedulerHarness) -> None:
    """A codebase without a change is built as the scheduler's settings say."""
    await farm.start(single(codebases={"one": {}, "two": {"repository": "repo2", "branch": "stable"}}))
    await farm.change(codebase="")
    second = await farm.change(codebase="one")
    await farm.has_built([second])
    (buildset,) = await farm.buildsets()
    stamps = {stamp["codebase"]: stamp for stamp in buildset["sourcestamps"]}
    assert set(stamps) == {"one", "two"}
    assert (stamps["two"]["repository"], stamps["two"]["branch"]) == ("repo2", "stable")


async def test_unimportant_changes(farm: SchedulerHarness) -> None:
    """Without a timer they are not built."""
    await farm.start(single(fileIsImportant=lambda change: "code" in change.files))
    await farm.change(files=["doc"])
    second = await farm.change(files=["code"])
    await farm.has_built([second])


async def test_functions_that_fail(farm: SchedulerHarness) -> None:
    """If a filter fails the change is passed over, if fileIsImportant fails it is important; both are logged."""

    def passes(change: Any) -> bool:
        return bool(1 / (change.number - 1))

    def important(change: Any) -> bool:
        raise ZeroDivisionError

    with capturedLogs() as logs:
        await farm.start(single(change_filter=ChangeFilter(filter_fn=passes), fileIsImportant=important))
        await farm.change()
        second = await farm.change()
        await farm.has_built([second])
    assert [event["log_format"] for event in logs if "log_failure" in event] == [
        "{part!r}: the change filter failed; change {id} is passed over",
        "{part!r}: fileIsImportant failed; change {id} counts as important",
    ]


async def test_the_tree_must_be_stable(farm: SchedulerHarness) -> None:
    """Changes are built together once nothing has come for a while; each one starts the wait anew."""
    await farm.start(single(treeStableTimer=10))
    first = await farm.change()
    await farm.is_waiting(first)
    farm.clock.advance(9)
    second = await farm.change(revision="last")
    await farm.is_waiting(first, second)
    farm.clock.advance(9)
    assert await farm.buildsets() == []
    farm.clock.advance(1)
    await farm.has_built([first, second])
    await farm.is_waiting()
    (buildset,) = await farm.buildsets()
    assert buildset["sourcestamps"][0]["revision"] == "last"


async def test_unimportant_changes_wait_for_an_important_one(farm: SchedulerHarness) -> None:
    await farm.start(single(treeStableTimer=10, fileIsImportant=lambda change: "code" in change.files))
    first = await farm.change(files=["doc"])
    await farm.is_waiting(first)
    farm.clock.advance(100)
    second = await farm.change(files=["code"])
    await farm.is_waiting(first, second)
    farm.clock.advance(10)
    await farm.has_built([first, second])


async def test_only_important_ones(farm: SchedulerHarness) -> None:
    await farm.start(
        single(treeStableTimer=10, onlyImportant=True, fileIsImportant=lambda change: "code" in change.files)
    )
    await farm.change(files=["doc"])
    second = await farm.change(files=["code"])
    await farm.is_waiting(second)
    farm.clock.advance(10)
    await farm.has_built([second])


async def test_branches_have_timers_of_their_own(farm: SchedulerHarness) -> None:
    await farm.start(AnyBranchScheduler("any", builderNames=["b"], treeStableTimer=10))
    first = await farm.change(branch="one")
    await farm.is_waiting(first)
    farm.clock.advance(6)
    second, third = await farm.change(branch="two"), await farm.change(branch="one")
    await farm.is_waiting(first, second, third)
    farm.clock.advance(10)
    await until(lambda: _two(farm))
    assert sorted(await farm.built()) == [[first, third], [second]]
    await farm.is_waiting()


async def _two(farm: SchedulerHarness) -> bool:
    return len(await farm.buildsets()) == 2


async def test_building_one_branch_leaves_the_other_waiting(farm: SchedulerHarness) -> None:
    await farm.start(AnyBranchScheduler("any", builderNames=["b"], treeStableTimer=10))
    first = await farm.change(branch="slow")
    second = await farm.change(branch="fast")
    await farm.is_waiting(first, second)
    farm.clock.advance(5)
    third = await farm.change(branch="slow")
    await farm.is_waiting(first, second, third)
    farm.clock.advance(5)
    await farm.has_built([second])
    await farm.is_waiting(first, third)
    farm.clock.advance(5)
    await farm.has_built([second], [first, third])


async def test_waiting_changes_survive_a_restart(farm: SchedulerHarness) -> None:
    await farm.start(single(treeStableTimer=10))
    first = await farm.change()
    await farm.is_waiting(first)
    await farm.restart(single(treeStableTimer=10))
    second = await farm.change()
    await farm.is_waiting(first, second)
    farm.clock.advance(10)
    await farm.has_built([first, second])


async def test_waiting_changes_are_built_when_the_timer_is_taken_away(farm: SchedulerHarness) -> None:
    await farm.start(single(treeStableTimer=10))
    first = await farm.change()
    await farm.is_waiting(first)
    await farm.restart(single())
    farm.clock.advance(0)
    await farm.has_built([first])


async def test_changes_from_before_the_first_start_are_not_built(farm: SchedulerHarness) -> None:
    await farm.change()
    await farm.start(single())
    second = await farm.change()
    await farm.has_built([second])


async def test_changes_that_came_while_it_was_down_are_built_at_the_start(farm: SchedulerHarness) -> None:
    await farm.start(single())
    first = await farm.change()
    await farm.has_built([first])
    await farm.stop()
    second, third = await farm.change(), await farm.change()
    await farm.start(single())
    fourth = await farm.change()
    await farm.has_built([first], [second], [third], [fourth])


async def test_changes_are_found_although_the_log_no_longer_holds_them(
    farm: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await farm.start(single())
    first = await farm.change()
    await farm.has_built([first])
    await farm.stop()
    missed = [await farm.change() for _ in range(5)]
    await farm.master.data.update.trimEvents(0)
    monkeypatch.setattr("buildbot.schedulers.feed.PAGE", 2)
    await farm.start(single())
    await farm.has_built([first], *([each] for each in missed))
    last = await farm.change()
    await farm.has_built([first], *([each] for each in missed), [last])


async def test_switched_off_it_lets_changes_pass(farm: SchedulerHarness) -> None:
    scheduler = await farm.start(single())
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, False)
    await farm.change()
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, True)
    second = await farm.change()
    await farm.has_built([second])
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, False)
    await farm.stop()
    await farm.change()
    scheduler = await farm.start(single())
    assert not scheduler.enabled
    await farm.change()
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, True)
    last = await farm.change()
    await farm.has_built([second], [last])


async def test_switched_off_while_changes_wait(farm: SchedulerHarness) -> None:
    """Waiting changes are kept, and wait for the timer again when the scheduler is switched on."""
    scheduler = await farm.start(single(treeStableTimer=10))
    first = await farm.change()
    await farm.is_waiting(first)
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, False)
    await until(lambda: _is(scheduler, False))
    farm.clock.advance(10)
    assert await farm.buildsets() == []
    await farm.master.data.update.schedulerEnable(scheduler.schedulerid, True)
    await until(lambda: _is(scheduler, True))
    second = await farm.change()
    await farm.is_waiting(first, second)
    farm.clock.advance(10)
    await farm.has_built([first, second])


async def _is(scheduler: Any, enabled: bool) -> bool:
    return bool(scheduler.enabled is enabled)


async def test_priority_may_be_a_function(farm: SchedulerHarness) -> None:
    def priority(builders: list[str], changes: dict[str, list[Any]]) -> int:
        assert builders == ["b1", "b2"]
        return 100 if changes[""][-1].branch == "main" else 1

    await farm.start(single(priority=priority))
    await farm.change()
    await farm.has_built([1])
    assert {each["priority"] for each in await farm.master.data.get({}, ("buildrequests",))} == {100}


@pytest.mark.parametrize("timer", [None, 10])
@pytest.mark.parametrize("kind", [SingleBranchScheduler, AnyBranchScheduler])
@pytest.mark.parametrize("seed", range(3))
async def test_errors_lose_and_double_nothing(
    farm: SchedulerHarness, monkeypatch: pytest.MonkeyPatch, timer: int | None, kind: Any, seed: int
) -> None:
    """Whichever write fails, before or after it took effect, and however often the master restarts at any
    moment:
    every change is built once."""
    dice = random.Random(seed)
    risky = False

    def unreliable(write: Any) -> Any:
        def call(*arguments: Any, **further: Any) -> Any:
            if risky and dice.random() < 0.15:
                raise RuntimeError("before the write")
            done: Deferred[Any] = write(*arguments, **further)
            return done.addCallback(after)

        return call

    def after(result: Any) -> Any:
        if risky and dice.random() < 0.15:
            raise RuntimeError("after the write")
        return result

    def make() -> Any:
        return kind("s", builderNames=["b"], treeStableTimer=timer)

    await farm.start(make())
    monkeypatch.setattr(farm.master.db.pool, "do", unreliable(farm.master.db.pool.do))
    made = []
    for _ in range(25):
        made.append(await farm.change(branch=dice.choice(["one", "two"])))
        risky = True
        for _ in range(dice.randrange(4)):
            farm.clock.advance(dice.choice([0, 1, 5, 11]))
            await deferLater(reactor, 0, lambda: None)
        risky = False
        if dice.random() < 0.3:
            await farm.crash(make())
    await farm.crash(make())

    async def all_built() -> bool:
        farm.clock.advance(30)
        return {each for buildset in await farm.built() for each in buildset} >= set(made)

    await until(all_built)
    assert sorted(each for buildset in await farm.built() for each in buildset) == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"builderNames": "b"}, "builderNames must be a list"),
        ({"treeStableTimer": "x"}, "treeStableTimer"),
        ({"treeStableTimer": -1}, "treeStableTimer"),
        ({"branch": "a", "branches": ["b"]}, "either branch or branches"),
        ({"branch": "a", "change_filter": ChangeFilter()}, "with a change_filter"),
        ({"change_filter": "main"}, "must be a util.ChangeFilter"),
        ({"fileIsImportant": "x"}, "must be a function"),
        ({"properties": {"p": object()}}, "not a JSON value"),
        ({"codebases": []}, "codebases"),
        ({"codebases": {"a": {"brunch": "x"}}}, "unknown settings"),
        ({"priority": "high"}, "priority"),
        ({"reason": "%(nonsense)s"}, "reason"),
    ],
)
def test_mistakes_in_the_configuration(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        single(**arguments)


async def test_a_scheduler_that_comes_back_knows_the_work_of_other_masters(farm: SchedulerHarness) -> None:
    """One that another master ran meanwhile builds no change again that was built there."""
    scheduler = await farm.start(single())
    first = await farm.change(revision="r1")
    await farm.has_built([first])
    await farm.stop()
    await farm.start(single())  # stands for the other master: it has the state in the database only
    second = await farm.change(revision="r2")
    await farm.has_built([first], [second])
    await farm.restart(scheduler)
    third = await farm.change(revision="r3")
    await farm.has_built([first], [second], [third])


async def test_a_scheduler_of_a_dead_master_builds_nothing(farm: SchedulerHarness) -> None:
    """The database refuses its writes, also before it gets the event that it was declared dead."""
    scheduler = await farm.start(single())
    data = farm.master.data
    await farm.master.db.pool.do(farm.master.db.masters.thdTakeOver, farm.master.masterid)  # at another epoch
    with pytest.raises(NotClaimedError):
        await scheduler.note()
    with pytest.raises(NotClaimedError):
        await scheduler.build_changes([], "too late")
    assert await data.get({}, ("buildsets",)) == []


def by_files(props: Any) -> list[str]:
    """Names of builders by the changes of a buildset."""
    assert props.master is not None
    (stamp,) = props.sourcestamps
    (change,) = props.changes
    assert (stamp["revision"], stamp["project"], change["revision"]) == ("r", "", "r")
    return [f"{props.getProperty('who')}-{name}" for name in props.files] if "none" not in props.files else []


@pytest.mark.parametrize(
    ("names", "files", "built"),
    [
        (renderer(by_files), ["a", "b"], ["me-a", "me-b"]),
        (renderer(by_files), ["none"], []),
        (["fixed", Interpolate("by-%(prop:who)s")], ["a"], ["by-me", "fixed"]),
        (renderer(lambda props: Property("no such")), ["a"], []),
        (renderer(lambda props: "a text"), ["a"], []),
    ],
)
async def test_builder_names_are_rendered(
    farm: SchedulerHarness, names: Any, files: list[str], built: list[str]
) -> None:
    """They are rendered for each buildset, with its changes; a failure builds nothing and does not stop later ones."""
    weighed: list[Any] = []

    def weigh(names: list[str], changes: dict[str, Any]) -> int:
        weighed.append((sorted(names), list(changes)))
        return 4

    await farm.start(single(builderNames=names, priority=weigh))
    with capturedLogs() as logs:
        await farm.change(files=files, properties={"who": ("me", "Change")})
        await farm.has_built([1])
    requests = await farm.master.data.get({}, ("buildrequests",))
    found = [(await farm.master.data.get({}, ("builders", each["builderid"])))["name"] for each in requests]
    assert (sorted(found), {each["priority"] for each in requests}) == (built, {4} if built else set())
    assert weighed == [(built, [""])]
    said = [each for each in logs if "cannot be rendered" in each.get("problem", "")]
    assert len(said) == (not built and files == ["a"])


def failing(*arguments: Any) -> Any:
    raise KeyError("mistake")


@pytest.mark.parametrize(
    ("arguments", "said", "built"),
    [
        ({"properties": {"p": renderer(failing)}}, "its properties cannot be rendered; nothing is built", 0),
        ({"priority": failing}, "its priority cannot be told; 0 counts", 1),
        ({"priority": lambda names, changes: 2**31}, "its priority cannot be told; 0 counts", 1),
        ({"priority": lambda names, changes: "high"}, "its priority cannot be told; 0 counts", 1),
    ],
)
async def test_a_mistake_holds_up_nothing(
    farm: SchedulerHarness, arguments: dict[str, Any], said: str, built: int
) -> None:
    """A failure of the configuration's functions is logged once for each change, and the next change is handled."""
    await farm.start(single(**arguments))
    with capturedLogs() as logs:
        for revision in "12":
            await farm.change(revision=revision)
        await farm.has_built([1], [2])
    assert [each.get("problem") for each in logs if each["log_level"].name == "critical"] == [said] * 2
    requests = await farm.master.data.get({}, ("buildrequests",))
    assert [each["priority"] for each in requests] == [0] * 4 * built  # two builders


@pytest.mark.parametrize("names", ["b", None, [1], [["b"]], Interpolate])
def test_values_that_name_no_builders(names: Any) -> None:
    """A plain text, and a value that is neither a name nor a renderable, is a mistake."""
    with pytest.raises(ConfigErrors, match=r"builderNames (element 1 )?must be a"):
        single(builderNames=names)
    with pytest.raises(ConfigErrors, match="builderNames must be known when the configuration is read"):
        ForceScheduler("force", builderNames=renderer(lambda props: ["b"]))
