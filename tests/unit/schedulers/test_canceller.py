"""Services that cancel outdated builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.logger import capturedLogs

from buildbot.changes.ssfilter import SourceStampFilter
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import util
from buildbot.process.servicemanager import ServiceManager
from buildbot.schedulers.canceller import FailingBuildsetCanceller, OldBuildCanceller, default_branch_key
from buildbot.test.fake.fakedb import make_master
from buildbot.test.running import until
from buildbot.util import ssfilter
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS

MAIN = SourceStampFilter(branch_eq="main")


@asynccontextmanager
async def running(master: Any, *services: Any) -> AsyncIterator[ServiceManager]:
    """The services in a master."""
    master.service_manager = manager = ServiceManager(master)
    await manager.startService()
    await manager.configure(services)
    yield manager
    await manager.stopService()


async def request(master: Any, *builders: str, **stamp: Any) -> dict[str, int]:
    """Ask for builds, which are shown under a virtual builder; the requests by builder."""
    _, brids = await master.data.update.addBuildset(
        sourcestamps=[{"codebase": "", "branch": "main", "repository": "r", **stamp}],
        builderNames=list(builders),
        properties={"virtual_builder_name": ("shown here", "Test")},
    )
    return dict(brids)


async def change(master: Any, **attributes: Any) -> None:
    await master.data.update.addChange(
        **{
            "author": "a",
            "comments": "c",
            "files": [],
            "branch": "main",
            "repository": "r",
            "revision": "1",
            **attributes,
        }
    )


async def cancelled(master: Any) -> set[int]:
    """The requests that were cancelled."""
    found = await master.data.get({"filters": {"complete": True, "results": CANCELLED}}, ("buildrequests",))
    return {each["buildrequestid"] for each in found}


async def are_cancelled(master: Any, *brids: int) -> None:
    async def there() -> bool:
        return await cancelled(master) == set(brids)

    await until(there)


async def test_old_builds() -> None:
    """A newer change cancels requests for older code of its branch, and no others."""
    master = make_master()
    before = await request(master, "a")
    async with running(master, OldBuildCanceller("old", filters=[(["a", "b"], MAIN)])):
        of_both = await request(master, "a", "b", "other")
        of_branch = await request(master, "a", branch="stable")
        of_other = await request(master, "a", repository="elsewhere")
        await change(master, branch="stable")
        await change(master, codebase="lib")
        await change(master)
        newer = await request(master, "a")
        await are_cancelled(master, before["a"], of_both["a"], of_both["b"])
        await change(master, repository="elsewhere")
        await are_cancelled(master, before["a"], of_both["a"], of_both["b"], of_other["a"])
        assert {newer["a"], of_branch["a"], of_both["other"]}.isdisjoint(await cancelled(master))


async def test_a_running_build_is_stopped() -> None:
    """With the reason that its log will show; one that has ended is of no interest any more."""
    master = make_master()
    update = master.data.update
    stops: list[Any] = []
    async with running(master, OldBuildCanceller("old", [("a", MAIN)])):
        ended, runs = (await request(master, "a"))["a"], (await request(master, "a"))["a"]
        await update.claimBuildRequests([ended, runs])
        await update.completeBuildRequests([ended], SUCCESS)
        buildid = await update.newBuild(runs)
        await master.mq.startConsuming(
            lambda key, message: stops.append((key, message)), ("control", "builds", None, "stop")
        )
        await change(master)

        async def stopped() -> bool:
            return bool(stops)

        await until(stopped)
    assert stops == [
        (("control", "builds", str(buildid), "stop"), {"reason": "Build request has been obsoleted by a newer commit"})
    ]


@pytest.mark.parametrize("own", [True, False])
async def test_patch_sets(own: bool) -> None:
    """A new patch set of a change on Gerrit replaces the older one; a function may define equal branches."""
    master = make_master()
    branches = (
        ("topic/1/a", "topic/1/b", "topic/2/a") if own else ("refs/changes/12/3412/1", "refs/changes/12/3412/2", "x")
    )

    def key(ss: dict[str, Any]) -> str:
        assert set(ss) == {"project", "codebase", "repository", "branch"}
        return str(ss["branch"]).rpartition("/")[0]

    everything = SourceStampFilter()
    async with running(master, OldBuildCanceller("old", [(["a"], everything)], branch_key=key if own else None)):
        old, other = (
            (await request(master, "a", branch=branches[0]))["a"],
            await request(master, "a", branch=branches[2]),
        )
        await change(master, branch=branches[1])
        await are_cancelled(master, old)
        assert other
    assert default_branch_key({"branch": None}) == ""


async def test_a_function_that_fails_cancels_nothing() -> None:
    """It is logged, and the service goes on."""
    master = make_master()
    with capturedLogs() as logs:
        broken = OldBuildCanceller("broken", [(["a"], MAIN)], branch_key=lambda ss: 1 // 0)
        filter_fails = SourceStampFilter(filter_fn=lambda ss: 1 // 0)  # type: ignore[arg-type, return-value]
        async with running(master, broken, OldBuildCanceller("fails", [(["a"], filter_fails)])):
            await request(master, "a")
            await change(master)

            async def logged() -> bool:
                return len([each for each in logs if "log_failure" in each]) >= 3

            await until(logged)
    assert await cancelled(master) == set()


@pytest.mark.parametrize("results", [SUCCESS, WARNINGS, FAILURE, EXCEPTION])
@pytest.mark.parametrize("others", [None, ["b"]])
async def test_failing_buildsets(results: int, others: Any) -> None:
    """After a failure of a watched builder the others of the buildset are cancelled: all, or those named."""
    master = make_master()
    update = master.data.update
    async with running(master, FailingBuildsetCanceller("failing", [(["a"], others, MAIN)])):
        together, elsewhere = await request(master, "a", "b", "c"), await request(master, "b")
        unwatched = await request(master, "b", "d")
        for brid in (together["a"], unwatched["d"]):
            await update.claimBuildRequests([brid])
            await update.endBuild(await update.newBuild(brid), brid, FAILURE if brid == unwatched["d"] else results)
        expected = {together["b"]} if others else {together["b"], together["c"]}
        # a second one, so that the first has been looked at
        last = await request(master, "a", "b")
        await update.claimBuildRequests([last["a"]])
        await update.endBuild(await update.newBuild(last["a"]), last["a"], FAILURE)
        await are_cancelled(master, last["b"], *(expected if results in (FAILURE, EXCEPTION) else ()))
        assert {elsewhere["b"], unwatched["b"]}.isdisjoint(await cancelled(master))


@pytest.mark.parametrize(
    ("criteria", "passes"),
    [
        ({}, True),
        ({"branch_eq": "main"}, True),
        ({"branch_eq": ["x", "main"], "project_eq": ""}, True),
        ({"branch_not_eq": "main"}, False),
        ({"branch_re": "ma"}, True),
        ({"branch_re": "ain"}, False),
        ({"repository_not_re": ["http:", "git"]}, True),
        ({"codebase_eq": "lib"}, False),
        ({"filter_fn": lambda ss: ss["revision"] == "1"}, True),
        ({"filter_fn": lambda ss: False, "branch_eq": "main"}, False),
    ],
)
def test_source_stamp_filter(criteria: dict[str, Any], passes: bool) -> None:
    """All criteria must be met."""
    ss = {"project": "", "repository": "ssh://r", "branch": "main", "codebase": "", "revision": "1"}
    assert SourceStampFilter(**criteria).is_matched(ss) is passes


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SourceStampFilter(branch="main"), "unknown argument 'branch'; did you mean"),
        (lambda: SourceStampFilter(branch_re="("), "branch_re='(' is no pattern"),
        (lambda: SourceStampFilter(filter_fn=3), "filter_fn must be a function"),  # type: ignore[arg-type]
        (lambda: OldBuildCanceller("old"), "argument 'filters' is missing"),
        (lambda: OldBuildCanceller("old", [["a"]]), "element 1 must be a pair (names of builders, SourceStampFilter)"),
        (lambda: OldBuildCanceller("old", [(["a"], "main")]), "must have a util.SourceStampFilter at its end"),
        (lambda: OldBuildCanceller("old", [], branch_key="b"), "branch_key must be a function"),
        (
            lambda: FailingBuildsetCanceller("f", [(["a"], MAIN)]),
            "(builders to watch, builders to cancel or None, Sour",
        ),
    ],
)
def test_mistakes(make: Any, said: str) -> None:
    """Wrong arguments are mistakes of the configuration."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert said in str(caught.value)


def test_names() -> None:
    """The plugin names are the classes."""
    assert util.SourceStampFilter is ssfilter.SourceStampFilter is SourceStampFilter
    assert util.OldBuildCanceller is OldBuildCanceller
    assert util.FailingBuildsetCanceller is FailingBuildsetCanceller
