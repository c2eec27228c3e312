"""Triggerable, NightlyTriggerable and Dependent: builds after other builds."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import capturedLogs

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Properties, renderer
from buildbot.schedulers import basic
from buildbot.schedulers.basic import SingleBranchScheduler
from buildbot.schedulers.dependent import Dependent
from buildbot.schedulers.timed import NightlyTriggerable
from buildbot.schedulers.triggerable import SwitchedOffError, Triggerable
from buildbot.test.running import until
from buildbot.test.schedulers import SchedulerHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS


@pytest.fixture(name="farm")
def make_farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


async def complete(farm: SchedulerHarness, bsid: int, results: int) -> None:
    """Build a buildset's requests."""
    update = farm.master.data.update
    requests = await farm.master.data.get({}, ("buildsets", bsid, "buildrequests"))
    brids = [each["buildrequestid"] for each in requests]
    await update.claimBuildRequests(brids)
    await update.completeBuildRequests(brids, results)


async def test_trigger(farm: SchedulerHarness) -> None:
    """Both Deferreds give requests by their builders' ids; the second one the results, too, at the end."""
    scheduler = await farm.start(Triggerable("t", ["x", "y"], reason="because of %(name)s", codebases=["a", "b"]))
    ids, results = scheduler.trigger(True, [{"codebase": "a", "revision": "1"}], set_props=Properties(p=1))
    bsid, requests = await ids
    (buildset,) = await farm.buildsets()
    assert (buildset["bsid"], buildset["reason"]) == (bsid, "because of t")
    assert [(each["codebase"], each["revision"]) for each in buildset["sourcestamps"]] == [("a", "1"), ("b", None)]
    assert not results.called
    await complete(farm, bsid, WARNINGS)
    assert await results == (WARNINGS, requests)
    builderids = {each["builderid"] for each in await farm.master.data.get({}, ("builders",))}
    assert set(requests) == builderids
    await farm.stop()


async def test_trigger_without_a_claim(farm: SchedulerHarness) -> None:
    """A master that does not run the scheduler can trigger it all the same."""
    scheduler = Triggerable("t", ["x"])
    scheduler.master = farm.master  # type: ignore[assignment]
    ids, results = scheduler.trigger(False)
    bsid, _ = await ids
    assert bsid is not None
    results.addErrback(lambda _: None)
    results.cancel()
    assert len(await farm.buildsets()) == 1


def failing(*arguments: Any) -> Any:
    raise KeyError("mistake")


@pytest.mark.parametrize(
    "arguments",
    [
        {"builderNames": renderer(failing)},
        {"builderNames": renderer(lambda props: "a text")},
        {"builderNames": ["x"], "properties": {"p": renderer(failing)}},
        {"builderNames": ["x"], "priority": failing},
        {"builderNames": ["x"], "priority": lambda names, changes: 2**31},
    ],
)
async def test_a_mistake_is_no_success(farm: SchedulerHarness, arguments: dict[str, Any]) -> None:
    """A mistake is an error of the step that triggers, not an empty buildset."""
    scheduler = await farm.start(Triggerable("t", **arguments))
    ids, results = scheduler.trigger(True)
    with pytest.raises((KeyError, ValueError)):
        await ids
    assert (await results)[0] == EXCEPTION
    assert await farm.buildsets() == []
    await farm.stop()


async def test_switched_off(farm: SchedulerHarness) -> None:
    """A scheduler that is switched off makes nothing."""
    scheduler = await farm.start(Triggerable("t", ["x"]))
    await farm.master.data.control("enable", {"enabled": False}, ("schedulers", scheduler.schedulerid))
    ids, _ = scheduler.trigger(True)
    with pytest.raises(SwitchedOffError, match="'t' is switched off"):
        await ids
    assert await farm.buildsets() == []
    await farm.stop()


async def test_nightly_builds_the_last_request(farm: SchedulerHarness) -> None:
    """The last request is built at the next time, once; without a request nothing is built; a restart loses nothing."""
    scheduler = await farm.start(NightlyTriggerable("n", ["x"], minute="*", properties={"own": 1}))
    for revision in ("1", "2"):
        ids, results = scheduler.trigger(
            True,
            [{"codebase": "", "revision": revision}],
            Properties(own=2, p=revision),
            parent_buildid=7,
            parent_relationship="Triggered from",
        )
        assert await ids == (None, {}) and await results == (SUCCESS, {})
    assert await farm.buildsets() == []
    await farm.restart(NightlyTriggerable("n", ["x"], minute="*", properties={"own": 1}))
    farm.clock.advance(60)
    await farm.has_count(1)
    (buildset,) = await farm.buildsets()
    assert (buildset["parent_buildid"], buildset["sourcestamps"][0]["revision"]) == (7, "2")
    properties = await farm.master.data.get({}, ("buildsets", buildset["bsid"], "properties"))
    assert {name: value for name, (value, _) in properties.items()} == {"own": 1, "p": "2", "scheduler": "n"}
    farm.clock.advance(60)
    farm.clock.advance(60)
    await farm.scheduler.stop_scheduling()
    assert len(await farm.buildsets()) == 1


async def upstream(farm: SchedulerHarness, revision: str, scheduler: str = "up") -> int:
    """A buildset of a scheduler."""
    change = await farm.change(revision=revision)
    stamp = {"codebase": "", "branch": "main", "revision": revision, "changeids": [change]}
    bsid, _ = await farm.master.data.update.addBuildset(
        sourcestamps=[stamp], reason="r", builderNames=["x"], scheduler=scheduler
    )
    return int(bsid)


async def downstream(farm: SchedulerHarness) -> list[str]:
    """The revisions that the Dependent has built."""
    return [each["sourcestamps"][0]["revision"] for each in await farm.buildsets() if each["scheduler"] == "down"]


def dependent() -> Dependent:
    return Dependent("down", SingleBranchScheduler("up", builderNames=["x"]), ["y"], properties={"p": 1})


async def test_dependent(farm: SchedulerHarness) -> None:
    """The same code and changes, after success and warnings of the other scheduler, and nothing else."""
    await farm.start(dependent())
    first, failed, warned, cancelled = [await upstream(farm, revision) for revision in "1234"]
    other = await upstream(farm, "5", "another")
    for bsid, results in (
        (first, SUCCESS),
        (failed, FAILURE),
        (other, SUCCESS),
        (cancelled, CANCELLED),
        (warned, WARNINGS),
    ):
        await complete(farm, bsid, results)

    async def both() -> bool:
        return len(await downstream(farm)) == 2

    await until(both)
    assert await downstream(farm) == ["1", "3"]
    built = [each for each in await farm.buildsets() if each["scheduler"] == "down"]
    assert built[0]["reason"] == "downstream"
    properties = await farm.master.data.get({}, ("buildsets", built[0]["bsid"], "properties"))
    assert properties == {"p": [1, "Scheduler"], "scheduler": ["down", "Scheduler"]}
    assert (await farm.built())[-2:] == [[1], [3]]
    await farm.stop()


async def test_dependent_over_restarts(farm: SchedulerHarness) -> None:
    """Buildsets that ended while it was stopped are built at the start, once; those before its first start are not."""
    before = await upstream(farm, "0")
    await complete(farm, before, SUCCESS)
    await farm.start(dependent())
    early, late = await upstream(farm, "1"), await upstream(farm, "2")
    await complete(farm, late, SUCCESS)

    async def built(*revisions: str) -> None:
        async def there() -> bool:
            return await downstream(farm) == list(revisions)

        await until(there)

    await built("2")
    await farm.stop()
    await complete(farm, early, SUCCESS)
    await farm.start(dependent())
    await built("2", "1")
    await farm.restart(dependent())
    last = await upstream(farm, "3")
    await complete(farm, last, SUCCESS)
    await built("2", "1", "3")
    await farm.stop()


async def test_dependent_that_is_switched_off(farm: SchedulerHarness) -> None:
    """Buildsets that end while it is switched off are not built later."""
    scheduler = await farm.start(dependent())
    path = ("schedulers", scheduler.schedulerid)
    await farm.master.data.control("enable", {"enabled": False}, path)
    await complete(farm, await upstream(farm, "1"), SUCCESS)

    async def passed() -> bool:
        state = await farm.master.db.state.getState(scheduler.objectid, "dependent", None)
        return state is not None and state["bsid"] == 1

    await until(passed)
    await farm.master.data.control("enable", {"enabled": True}, path)
    await complete(farm, await upstream(farm, "2"), SUCCESS)

    async def there() -> bool:
        return await downstream(farm) == ["2"]

    await until(there)
    await farm.stop()


async def missed_ends(farm: SchedulerHarness) -> None:
    """Two buildsets have ended since the Dependent last ran, and the log of events is empty."""
    await farm.start(dependent())
    ended = [await upstream(farm, revision) for revision in "12"]
    await farm.stop()
    for bsid in ended:
        await complete(farm, bsid, SUCCESS)
    await farm.master.data.update.trimEvents(0)


async def test_dependent_whose_log_is_gone(farm: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missed buildsets are looked up; if that fails, it is tried again."""
    await missed_ends(farm)
    snapshot, tries = farm.master.data.snapshot, []

    def away_at_first(*args: Any) -> Any:
        tries.append(args)
        if len(tries) == 1:
            raise OSError("away")
        return snapshot(*args)

    monkeypatch.setattr(farm.master.data, "snapshot", away_at_first)
    with capturedLogs() as logs:
        await farm.start(dependent())

        async def failed() -> bool:
            return any(event["log_format"].endswith("cannot follow the events and tries again") for event in logs)

        await until(failed)
        assert await downstream(farm) == []
        farm.clock.advance(Dependent.retry_step_s)

        async def both() -> bool:
            return await downstream(farm) == ["1", "2"]

        await until(both)
    await farm.stop()


async def test_dependent_that_stops_while_it_catches_up(farm: SchedulerHarness) -> None:
    """Buildsets that it did not reach are built after the next start."""
    await missed_ends(farm)
    stopping = dependent()

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise OSError("away")

    stopping.addBuildsetForSourceStamps = away  # type: ignore[assignment, method-assign]
    with capturedLogs() as logs:
        await farm.start(stopping)

        async def failed() -> bool:
            return any("is tried again" in event["log_format"] for event in logs)

        await until(failed)
        await farm.stop()
    await farm.start(dependent())

    async def both() -> bool:
        return await downstream(farm) == ["1", "2"]

    await until(both)
    await farm.stop()


def test_dependent_needs_a_scheduler() -> None:
    """The other scheduler is given as the object."""
    with pytest.raises(ConfigErrors, match="upstream must be another scheduler, the object and not its name"):
        Dependent("down", "up", ["y"])
    assert basic.Dependent is Dependent
