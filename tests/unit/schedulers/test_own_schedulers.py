"""Schedulers of people's own, as they have written them for Buildbot."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import defer

from buildbot.changes.filter import ChangeFilter
from buildbot.config import error
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import schedulers
from buildbot.process.properties import Properties
from buildbot.schedulers.base import BaseScheduler, ReconfigurableBaseScheduler
from buildbot.schedulers.timed import Periodic
from buildbot.schedulers.triggerable import Triggerable
from buildbot.test.running import until
from buildbot.test.schedulers import SchedulerHarness
from buildbot.util.results import SUCCESS


@pytest.fixture
def farm(master: Any) -> SchedulerHarness:
    return SchedulerHarness(master)


class Counting(BaseScheduler):
    """Builds each change twice, and counts them over restarts."""

    seen: list[Any]

    @defer.inlineCallbacks
    def activate(self) -> Any:
        self.seen = []
        yield super().activate()
        if not self.enabled:
            return
        yield self.startConsumingChanges(
            fileIsImportant=lambda change: "f" in change.files, change_filter=ChangeFilter(branch="main")
        )

    @defer.inlineCallbacks
    def gotChange(self, change: Any, important: bool) -> Any:
        count = yield self.getState("count", 0)
        yield self.setState("count", count + 1)
        self.seen.append((change.number, important, count, self.active))
        if not important:
            return
        d = self.addBuildsetForChanges(reason="first", changeids=[change.number])
        d.addCallback(self.seen.append)
        yield d
        props = Properties()
        props.setProperty("p", 1, "Counting")
        yield self.addBuildsetForSourceStampsWithDefaults(
            "second", [{"codebase": "", "branch": "other"}], False, props, ["y"], 7
        )


async def test_a_users_own_scheduler(farm: SchedulerHarness) -> None:
    """It gets each change that passes the filter, makes buildsets by the documented methods, and keeps values."""
    scheduler = await farm.start(Counting("s", ["x", "z"]))
    ids = [await farm.master.data.update.findBuilderId(name) for name in ("x", "z")]
    change = await farm.change()
    await farm.has_count(2)
    first, second = await farm.buildsets()
    requests = await farm.master.data.get({"filters": {"buildsetid": first["bsid"]}}, ("buildrequests",))
    assert scheduler.seen == [
        (change, True, 0, True),
        (first["bsid"], {each["builderid"]: each["buildrequestid"] for each in requests}),
    ]
    assert {each["builderid"] for each in requests} == set(ids)
    assert (second["reason"], second["sourcestamps"][0]["branch"]) == ("second", "other")
    (request,) = await farm.master.data.get({"filters": {"buildsetid": second["bsid"]}}, ("buildrequests",))
    assert request["priority"] == 7
    assert (await farm.master.data.get({}, ("buildsets", second["bsid"], "properties")))["p"] == [1, "Counting"]
    await farm.change(branch="elsewhere")
    await farm.stop()
    missed = await farm.change(files=["g"])
    again = await farm.start(Counting("s", ["x", "z"]))

    async def told() -> bool:
        return bool(again.seen)

    await until(told)
    assert again.seen == [(missed, False, 1, True)]
    assert await again.getState("count") == 2
    with pytest.raises(KeyError):
        await again.getState("nothing")
    await farm.stop()
    assert not again.active


async def test_a_change_is_repeated_after_a_failure(farm: SchedulerHarness) -> None:
    """A change is repeated if gotChange fails before it has made a buildset; others are not repeated at the next
    start.
    """

    class Failing(Counting):
        fails = True

        def gotChange(self, change: Any, important: bool) -> Any:
            if self.fails:
                self.seen.append("failed")
                raise ZeroDivisionError
            self.seen.append(change.number)

    scheduler = await farm.start(Failing("s", ["x"]))
    change = await farm.change()

    async def failed() -> bool:
        return "failed" in scheduler.seen

    await until(failed)
    scheduler.fails = False
    farm.clock.advance(10)

    async def told() -> bool:
        return change in scheduler.seen

    await until(told)
    again = await farm.restart(Failing("s", ["x"]))
    again.fails = False
    later = await farm.change()

    async def told_again() -> bool:
        return bool(again.seen)

    await until(told_again)
    assert again.seen == [later]
    await farm.stop()


class Configurable(ReconfigurableBaseScheduler):
    """Takes an argument of its own."""

    def checkConfig(self, builderNames: Any, color: str = "red", **kwargs: Any) -> None:
        if color not in ("red", "green"):
            error(f"there is no color {color!r}")
        super().checkConfig(builderNames=builderNames, **kwargs)

    @defer.inlineCallbacks
    def reconfigService(self, builderNames: Any, color: str = "red", **kwargs: Any) -> Any:
        self.color = color
        yield super().reconfigService(builderNames=builderNames, **kwargs)

    @defer.inlineCallbacks
    def activate(self) -> Any:
        yield super().activate()
        yield self.addBuildsetForSourceStamps(False, [{"codebase": ""}], f"{self.color} now", "id")


async def test_one_with_arguments_of_its_own(farm: SchedulerHarness) -> None:
    """checkConfig looks at them when the configuration is read, reconfigService takes them before it works."""
    made = schedulers.ReconfigurableBaseScheduler
    assert made is ReconfigurableBaseScheduler
    await farm.start(Configurable(name="s", builderNames=["x"], color="green", properties={"a": 1}, priority=3))
    (buildset,) = await farm.buildsets()
    assert (buildset["reason"], buildset["external_idstring"], buildset["scheduler"]) == ("green now", "id", "s")
    (request,) = await farm.master.data.get({}, ("buildrequests",))
    assert request["priority"] == 3
    assert (await farm.master.data.get({}, ("buildsets", 1, "properties")))["a"] == [1, "Scheduler"]
    await farm.stop()
    assert Configurable("s", ["x"]) == Configurable("s", ["x"]) != Configurable("s", ["x"], "green")
    for arguments, said in (
        ({"builderNames": ["x"], "color": "blue"}, "there is no color 'blue'"),
        ({"builderNames": "x"}, "Configurable 's': builderNames must be a list, not 'x'"),
        ({"builderNames": ["x"], "colour": 1}, "Configurable 's': unknown argument 'colour'"),
    ):
        with pytest.raises(ConfigErrors, match=said):
            Configurable("s", **arguments)


async def test_methods_of_schedulers_that_are_overridden(farm: SchedulerHarness) -> None:
    """Periodic's ``activate``, and the method by which Triggerable makes its buildset."""
    seen: list[Any] = []

    class Own(Periodic):
        @defer.inlineCallbacks
        def activate(self) -> Any:
            yield super().activate()
            seen.append(self.active)

    await farm.start(Own("p", ["x"], periodicBuildTimer=1000))
    assert seen == [True]
    await farm.stop()

    class Marked(Triggerable):
        def addBuildsetForSourceStampsWithDefaults(self, reason: str = "", *args: Any, **kwargs: Any) -> Any:
            d: Any = super().addBuildsetForSourceStampsWithDefaults(f"{reason}!", *args, **kwargs)

            def note(made: Any) -> Any:
                seen.append(made)
                return made

            return d.addCallback(note)

    scheduler = await farm.start(Marked("t", ["x"], reason="why"))
    ids, end = scheduler.trigger(True, sourcestamps=[{"codebase": ""}])
    bsid, brids = await ids
    assert seen[1] == (bsid, brids) and list(brids) == [await farm.master.data.update.findBuilderId("x")]
    (buildset,) = [each for each in await farm.buildsets() if each["bsid"] == bsid]
    assert buildset["reason"] == "why!"
    await farm.master.data.update.claimBuildRequests(list(brids.values()))
    await farm.master.data.update.completeBuildRequests(list(brids.values()), SUCCESS)
    assert (await end)[0] == SUCCESS
    await farm.stop()
