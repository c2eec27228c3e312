"""The process layer: the order in which its parts start, change and stop; and a push that becomes a request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, succeed

from buildbot.changes.filter import ChangeFilter
from buildbot.changes.gitpoller import GitPoller
from buildbot.config.builder import BuilderConfig
from buildbot.config.projects import Codebase, Project
from buildbot.data.exceptions import ControlParamsError, InvalidControlError
from buildbot.process.factory import BuildFactory
from buildbot.process.services import ProcessLayer
from buildbot.schedulers.basic import SingleBranchScheduler
from buildbot.schedulers.forcesched import ForceScheduler
from buildbot.schedulers.groups import AnyPropertyParameter
from buildbot.schedulers.triggerable import Triggerable
from buildbot.steps.shell import ShellCommand
from buildbot.steps.trigger import Trigger
from buildbot.test.running import Running, until
from buildbot.test.steps import ScriptedConnection
from buildbot.util.results import RETRY, SUCCESS
from buildbot.worker.base import Worker
from tests.support.events import next_turn
from tests.unit.changes.conftest import child_processes, repository
from tests.unit.changes.repository import Repository
from tests.unit.changes.test_gitpoller import many_commits

__all__ = ["child_processes", "repository"]


def config(**values: Any) -> Any:
    builders = values.pop("builders", ["b1"])
    schedulers = values.pop("schedulers", [])
    factory = BuildFactory()
    return SimpleNamespace(
        **{
            "builders": [BuilderConfig(name=name, workernames=["w"], factory=factory) for name in builders],
            "workers": [Worker("w", "password")],
            "protocols": {},
            "projects": [],
            "codebases": [],
            "change_source": [],
            "schedulers": {each.name: each for each in schedulers},
        }
        | values
    )


@pytest.fixture
def layer(master: Any, tmp_path: Path) -> Iterator[ProcessLayer]:
    """A process layer that does not run yet."""
    return ProcessLayer(Running(master, tmp_path))  # type: ignore[arg-type,return-value]


def single(name: str = "s", **arguments: Any) -> SingleBranchScheduler:
    return SingleBranchScheduler(name, **({"builderNames": ["b1"]} | arguments))


async def test_configured_parts_are_registered(layer: ProcessLayer) -> None:
    data, masterid = layer.master.data, layer.master.masterid
    source = GitPoller("no-such-repository", name="git")
    await layer.start(config(builders=["b1", "b2"], schedulers=[single()], change_source=[source]))
    assert {each["name"]: each["masterids"] for each in await data.get({}, ("builders",))} == {
        "b1": [masterid], "b2": [masterid],
    }  # fmt: skip
    (worker,) = await data.get({}, ("workers",))
    configured = {each["builderid"] for each in worker["configured_on"]}
    assert configured == {each.builderid for each in layer.builders.values()}
    assert layer.getBuilderById(layer.builders["b2"].builderid) is layer.builders["b2"]
    assert layer.getBuilderById(99) is None
    for kind in ("schedulers", "changesources"):
        (part,) = await data.get({}, (kind,))
        assert part["master"]["masterid"] == masterid
    await layer.stop()
    for kind in ("schedulers", "changesources"):
        (part,) = await data.get({}, (kind,))
        assert part["master"] is None


async def test_builders_stop_side_by_side(layer: ProcessLayer) -> None:
    """A builder whose agent hangs does not delay the stop of the others' builds."""
    await layer.start(config(builders=["b1", "b2"]))
    ends: list[Deferred[None]] = []

    async def stop_all(reason: str, results: int) -> None:
        ends.append(Deferred())
        await ends[-1]

    for builder in layer.builders.values():
        builder.stop_all = stop_all  # type: ignore[method-assign]
    stopping = ensureDeferred(layer.stop())
    await until(lambda: succeed(len(ends) == 2))
    assert not stopping.called
    for end in ends:
        end.callback(None)
    await stopping


async def test_projects_are_registered(layer: ProcessLayer) -> None:
    """Projects and codebases are those of the configuration, and builders are in theirs."""
    builder = BuilderConfig(name="b", workernames=["w"], factory=BuildFactory(), project="p")
    projects = [Project("p", slug="pe", description="*d*", description_format="markdown")]
    given = config(projects=projects, codebases=[Codebase("c", "p", "ce")])
    given.builders = [builder]
    await layer.start(given)
    data = layer.master.data
    (project,) = await data.get({}, ("projects",))
    assert (project["name"], project["slug"], project["description"], project["active"]) == ("p", "pe", "*d*", True)
    (codebase,) = await data.get({}, ("codebases",))
    assert (codebase["name"], codebase["slug"], codebase["projectid"]) == ("c", "ce", project["projectid"])
    assert [each["name"] for each in await data.get({}, ("projects", "1", "builders"))] == ["b"]
    clock = await data.clock()
    await layer.reconfigure(given)
    assert await data.clock() == clock
    given.projects, given.codebases = [Project("p")], [Codebase("c", "p")]
    await layer.reconfigure(given)
    (project,) = await data.get({}, ("projects",))
    assert (project["slug"], project["description"]) == ("p", None)
    await layer.stop()


async def test_a_new_configuration_leaves_equal_parts_alone(layer: ProcessLayer) -> None:
    same = {"change_filter": ChangeFilter(branch="main")}
    await layer.start(config(schedulers=[single("same", **same), single("changed"), single("gone")]))
    before, builder = dict(layer.schedulers), layer.builders["b1"]
    after = [single("same", change_filter=ChangeFilter(branch="main")), single("changed", priority=1), single("new")]
    await layer.reconfigure(config(builders=["b1", "b2"], schedulers=after))
    assert layer.schedulers["same"] is before["same"]
    assert layer.schedulers["changed"] is after[1]
    assert set(layer.schedulers) == {"same", "changed", "new"}
    assert [each.working for each in layer.schedulers.values()] == [True] * 3
    assert not before["changed"].working
    assert not before["gone"].working
    assert layer.builders["b1"] is builder
    rows = {each["name"]: each["master"] is not None for each in await layer.master.data.get({}, ("schedulers",))}
    assert rows == {"same": True, "changed": True, "new": True, "gone": False}
    await layer.reconfigure(config(builders=["b2"]))
    assert set(layer.builders) == {"b2"}
    builders = {each["name"]: each["masterids"] for each in await layer.master.data.get({}, ("builders",))}
    assert builders["b1"] == []
    await layer.stop()


async def test_a_build_is_forced(layer: ProcessLayer) -> None:
    data = layer.master.data
    await layer.start(config(schedulers=[ForceScheduler("force", ["b1"])]))
    bsid, brids = await data.control("force", {"reason": "why"}, ("forceschedulers", "force"))
    assert (await data.get({}, ("buildsets", bsid)))["reason"] == "A build was forced by '': why"
    assert list(brids) == [str(layer.builders["b1"].builderid)]
    force = layer.schedulers["force"]
    assert isinstance(force, ForceScheduler)
    schedulerid = force.schedulerid
    await data.update.schedulerEnable(schedulerid, False)
    with pytest.raises(InvalidControlError, match="switched off"):
        await data.control("force", {}, ("forceschedulers", "force"))
    await layer.stop()


async def test_forms_that_a_killed_master_left_are_removed(layer: ProcessLayer) -> None:
    update = layer.master.data.update
    for name in ("left", "ours"):
        spec = ForceScheduler(name, ["b1"]).describe()
        await update.setForceScheduler(await update.findSchedulerId(name), spec)
    await layer.start(config(schedulers=[ForceScheduler("ours", ["b1"])]))
    assert [each["name"] for each in await layer.master.data.get({}, ("forceschedulers",))] == ["ours"]
    await layer.stop()


async def test_a_master_taken_for_dead_registers_anew(layer: ProcessLayer) -> None:
    """Expiry removed its links and claims; after it has checked in again all is as before."""
    data, masterid = layer.master.data, layer.master.masterid
    await layer.start(config(schedulers=[single()]))
    scheduler = layer.schedulers["s"]
    await data.update.masterStopped()

    async def stopped() -> bool:
        return not scheduler.working and not layer.builders

    await until(stopped)
    assert (await data.get({}, ("builders",)))[0]["masterids"] == []
    await data.update.masterActive()

    async def back() -> bool:
        return scheduler.working and "b1" in layer.builders

    await until(back)
    assert (await data.get({}, ("builders",)))[0]["masterids"] == [masterid]
    await layer.stop()


async def test_a_master_that_cannot_register_at_once_tries_again(
    layer: ProcessLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that fails just when a master comes back does not keep it from building for good."""
    monkeypatch.setattr("buildbot.process.services.AGAIN_S", 0.0)
    data, update = layer.master.data, layer.master.data.update
    await layer.start(config())
    failures = [OSError("gone again"), OSError("and again")]
    register = update.setBuilders

    def fails_twice(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return register(*arguments)

    monkeypatch.setattr(update, "setBuilders", fails_twice)
    await update.masterStopped()

    async def stopped() -> bool:
        return not layer.builders

    await until(stopped)
    await update.masterActive()

    async def back() -> bool:
        return "w" in layer.workers.workers and (await data.get({}, ("builders",)))[0]["masterids"] != []

    await until(back)
    assert not failures
    await layer.stop()


async def test_a_real_history_through_poller_and_scheduler(
    layer: ProcessLayer, repository: Repository, tmp_path: Path
) -> None:
    """A project with over 500 commits: each becomes a change, and each of the branch a buildset with its request."""
    data = layer.master.data
    poller = GitPoller(repository.url, branches=True, pollInterval=3600)
    scheduler = single(change_filter=ChangeFilter(branch="main"))
    await layer.start(config(schedulers=[scheduler], change_source=[poller]))
    await poller.poll_now()
    many_commits(repository, 520, seed=5)
    await poller.poll_now()
    changes = await data.get({"order": ["changeid"]}, ("changes",))
    assert {change["revision"] for change in changes} == repository.all_commits()
    assert len(changes) == 520
    wanted = [change["revision"] for change in changes if change["branch"] == "main"]

    async def all_built() -> bool:
        return len(await data.get({"fields": ["bsid"]}, ("buildsets",))) >= len(wanted)

    await until(all_built)
    buildsets = await data.get({"order": ["bsid"]}, ("buildsets",))
    assert [stamp["revision"] for each in buildsets for stamp in each["sourcestamps"]] == wanted
    requests = await data.get({}, ("buildrequests",))
    assert sorted(each["buildsetid"] for each in requests) == [each["bsid"] for each in buildsets]
    await layer.stop()


@pytest.mark.parametrize("by_functions", [False, True])
async def test_a_clean_stop_lets_triggered_builds_through(layer: ProcessLayer, by_functions: bool) -> None:
    """Before a clean stop builds are started that running builds wait for, at any depth, and no others."""

    def builder(name: str, *steps: Any) -> BuilderConfig:
        given: dict[str, Any] = {}
        if by_functions:
            given = {"canStartBuild": lambda *_: True, "nextBuild": lambda builder, requests: requests[0]}
        return BuilderConfig(name=name, workernames=["w"], factory=BuildFactory(steps), **given)

    given = config(schedulers=[Triggerable("to child", ["child"]), Triggerable("to grandchild", ["grandchild"])])
    given.builders = [
        builder("parent", ShellCommand(command="hold"), Trigger(["to child"], waitForFinish=True)),
        builder("child", Trigger(["to grandchild"], waitForFinish=True), Trigger(["to grandchild"])),
        builder("grandchild"),
        builder("other"),
    ]
    if by_functions:
        given.prioritizeBuilders = lambda master, builders: builders
    connection = ScriptedConnection(lambda name, args: ([], None))
    await layer.start(given)
    await layer.workers.workers["w"].attach(connection)
    data, update = layer.master.data, layer.master.data.update

    async def request(builder: str, **more: Any) -> int:
        stamps = [{"codebase": ""}]
        _, brids = await update.addBuildset(sourcestamps=stamps, reason="", builderNames=[builder], **more)
        return int(brids[builder])

    async def holds() -> bool:
        return bool(connection.running)

    parent = await request("parent")
    await until(holds)
    drained = ensureDeferred(layer.drain())
    others = [await request("other"), await request("grandchild"), await request("grandchild", waited_for=True)]
    connection.end(0)
    await drained
    rows = {row["buildrequestid"]: row for row in await data.get({}, ("buildrequests",))}
    assert rows[parent]["results"] == SUCCESS
    waiting = {brid for brid, row in rows.items() if not row["complete"]}
    assert waiting == {*others, max(rows)} and len(rows) == 7
    assert len(await data.get({}, ("builds",))) == 3
    await request("other")
    await next_turn()
    assert len(await data.get({}, ("builds",))) == 3
    await layer.stop()


@pytest.mark.parametrize(("moment", "by_functions"), [("claimBuildRequests", False), ("batch", False), ("batch", True)])
async def test_a_builder_is_removed_while_its_build_begins(
    layer: ProcessLayer, moment: str, by_functions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build goes on; a clean stop waits for it, and the stop of the master ends it."""
    held = BuildFactory([ShellCommand(command="hold")])
    given = config(builders=[])
    chooses: dict[str, Any] = {"canStartBuild": lambda *_: True} if by_functions else {}
    given.builders = [BuilderConfig(name="b1", workernames=["w"], factory=held, **chooses)]
    connection = ScriptedConnection(lambda name, args: ([], None))
    await layer.start(given)
    await layer.workers.workers["w"].attach(connection)
    data, update = layer.master.data, layer.master.data.update
    before = getattr(update, moment)
    changing: list[Deferred[None]] = []

    def removes(*args: Any) -> Any:
        if not changing:
            changing.append(ensureDeferred(layer.reconfigure(config(builders=["b2"]))))
        return before(*args)

    monkeypatch.setattr(update, moment, removes)
    stamps = [{"codebase": ""}]
    _, brids = await update.addBuildset(sourcestamps=stamps, reason="", builderNames=["b1"])
    await until(lambda: succeed(connection.running))
    await changing[0]
    await layer.reconfigure(config(builders=["b2"]))
    drained = ensureDeferred(layer.drain())
    await next_turn()
    assert not drained.called
    await layer.stop()
    assert [build["results"] for build in await data.get({}, ("builds",))] == [RETRY]
    request = await data.get({}, ("buildrequests", brids["b1"]))
    assert (request["claimed"], request["complete"]) == (False, False)


async def test_reconfiguration_of_a_stopped_layer(layer: ProcessLayer) -> None:
    """A new configuration that comes while the master stops starts nothing again."""
    await layer.start(config())
    stopping = ensureDeferred(layer.stop())
    changed = config(schedulers=[single()], protocols={"pb": {"port": "tcp:0:interface=127.0.0.1"}})
    await layer.listen(changed)
    await layer.reconfigure(changed)
    await stopping
    assert (layer.builders, layer.schedulers, layer.workers.workers) == ({}, {}, {})
    assert layer.workers.address is None


async def test_the_configurations_keys_about_changes(layer: ProcessLayer) -> None:
    """Changes that come without a codebase or a link get those of its functions, wherever they come from."""
    seen: list[dict[str, Any]] = []

    def codebase(change: dict[str, Any]) -> Any:
        seen.append(change)
        return {"r": "lib", "bad": 3}.get(change["repository"], "")

    def link(revision: str | None, repository: str) -> str | None:
        return f"https://x/{repository}/{revision}" if repository else None

    data = layer.master.data
    await layer.start(config(codebaseGenerator=codebase, revlink=link))
    change = {"author": "a", "comments": "c", "revision": "1"}
    await data.update.addChange(**change, repository="r")
    await data.update.addChanges([change | {"repository": "r", "codebase": "own", "revlink": "mine"}])
    await data.update.addDelivery({"main": [change]})
    found = await data.get({"order": ["changeid"]}, ("changes",))
    assert [(each["codebase"], each["revlink"]) for each in found] == [
        ("lib", "https://x/r/1"), ("own", "mine"), ("", ""),
    ]  # fmt: skip
    assert seen[0].items() >= {"changeid": None, "branch": None, "files": [], "repository": "r", "author": "a"}.items()
    with pytest.raises(TypeError, match=r"c\['codebaseGenerator'\] must give a text, not 3"):
        await data.update.addChange(**change, repository="bad")
    await layer.reconfigure(config())
    await data.update.addChange(**change, repository="r")
    assert (await data.get({"order": ["-changeid"], "limit": 1}, ("changes",)))[0]["codebase"] == ""
    await layer.stop()


async def test_a_poller_asks_for_the_codebase(layer: ProcessLayer, repository: Repository) -> None:
    """Without a codebase of the source the configuration decides; a repeated poll recognises its own changes."""
    repository.commit()
    poller = GitPoller(repository.url, name="git", pollInterval=0)
    given = config(change_source=[poller], codebaseGenerator=lambda change: "lib")
    await layer.start(given)
    await poller.poll_now()
    revision = repository.commit()
    await poller.poll_now()
    await poller.poll_now()
    (change,) = await layer.master.data.get({}, ("changes",))
    assert (change["codebase"], change["revision"]) == ("lib", revision)
    await layer.stop()


async def test_forms_are_held_to_the_patterns(layer: ProcessLayer) -> None:
    """Values of a form must match the configuration's patterns."""
    force = ForceScheduler("force", ["b1"], properties=[AnyPropertyParameter("any")])
    patterns = {name: re.compile("[a-z]*$") for name in ("branch", "revision", "property_name", "property_value")}
    await layer.start(config(schedulers=[force], validation=patterns))
    (shown,) = await layer.master.data.get({}, ("forceschedulers",))
    values = {"branch": "A", "revision": "1", "any_name": "B", "any_value": "2"}
    with pytest.raises(ControlParamsError) as caught:
        await layer.master.data.control("force", values, ("forceschedulers", shown["name"]))
    assert caught.value.messages == {
        name: f"'{value}' does not match the pattern '[a-z]*$'" for name, value in values.items()
    }
    await layer.master.data.control("force", {"branch": "a", "any_name": "b"}, ("forceschedulers", shown["name"]))
    await layer.stop()


async def test_drain_and_resume(layer: ProcessLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the builds of every builder have ended; its revocation counts at once."""
    await layer.start(config(builders=["b1", "b2"]))
    ends: dict[str, Deferred[None]] = {}
    runs = {"b1", "b2"}
    monkeypatch.setattr(layer, "_running", lambda: runs)
    for name in ("b1", "b2"):
        monkeypatch.setattr(layer.builders[name], "ended", lambda name=name: ends.setdefault(name, Deferred()))
    drained = ensureDeferred(layer.drain())
    await until(lambda: succeed("b1" in ends))
    ends["b1"].callback(None)
    assert not drained.called
    runs.clear()
    ends["b2"].callback(None)
    assert await drained is True
    runs.add("b1")
    ends.clear()
    drained = ensureDeferred(layer.drain())
    await until(lambda: succeed("b1" in ends))
    await layer.resume()
    ends["b1"].callback(None)
    assert await drained is False and list(ends) == ["b1"]
    await layer.stop()
