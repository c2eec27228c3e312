"""Trigger: its buildsets, its wait, and repeated builds, which take over their buildsets."""

from __future__ import annotations

from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import schedulers, steps
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Interpolate, Property, renderer
from buildbot.schedulers.triggerable import Triggerable
from buildbot.steps.trigger import Trigger
from buildbot.test.running import until
from buildbot.test.steps import StepHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

URL = "http://localhost:8080/"


class Farm(StepHarness):
    """A builder with a worker, and schedulers that its steps may trigger; the test builds what they ask for."""

    def __init__(self, *its_steps: Any, **named: Any) -> None:
        super().__init__(*its_steps)
        self.builder.schedulers = {name: self.scheduler(each) for name, each in named.items()}

    def scheduler(self, scheduler: Any) -> Any:
        scheduler.master = self.master
        return scheduler

    def step(self, buildid: int = 1) -> dict[str, Any]:
        """The last step of a build."""
        return self.master.steps(buildid)[-1]

    def buildsets(self) -> list[dict[str, Any]]:
        """The triggered buildsets."""
        found = self.master.get("buildsets", order=["bsid"])
        return [each for each in found if each["scheduler"] is not None]

    async def waits(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many buildsets were triggered and the step shows a link for each; them."""

        async def there() -> bool:
            return len(self.buildsets()) >= count and len(self.master.of("addStepURL")) >= count

        await until(there)
        return self.buildsets()

    async def build_child(self, bsid: int, results: int) -> None:
        """Build the requests of a buildset."""
        update = self.master.state.data.update
        for request in self.master.get("buildsets", bsid, "buildrequests"):
            brid = request["buildrequestid"]
            await update.claimBuildRequests([brid])
            await update.endBuild(await update.newBuild(brid), brid, results)


def farm(*its_steps: Any, **named: Any) -> Farm:
    return Farm(*its_steps, **(named or {"t": Triggerable("t", ["child"])}))


async def test_triggers_and_goes_on() -> None:
    """Without waiting the step is a success at once, and shows a link to each request."""
    made = farm(Trigger(schedulerNames=["t"]), t=Triggerable("t", ["x", "y"]))
    build = await made.run(branch="main", revision="r1")
    step = made.step()
    assert (build["results"], step["results"], step["state_string"]) == (SUCCESS, SUCCESS, "triggered t")
    (buildset,) = made.buildsets()
    requests = made.master.get("buildsets", buildset["bsid"], "buildrequests")
    assert step["urls"] == [
        {"name": f"t #{each['buildrequestid']}", "url": f"{URL}#/buildrequests/{each['buildrequestid']}"}
        for each in requests
    ]
    assert not any(each["waited_for"] for each in requests)
    assert (buildset["parent_buildid"], buildset["parent_relationship"]) == (1, "Triggered from")
    assert buildset["reason"] == "The Triggerable scheduler named 't' triggered this build"
    (stamp,) = buildset["sourcestamps"]
    assert (stamp["branch"], stamp["revision"]) == ("main", "r1")
    await made.stop()


@pytest.mark.parametrize(
    ("results", "unimportant", "expected"),
    [
        ([SUCCESS, WARNINGS], [], WARNINGS),
        ([SUCCESS, FAILURE], [], FAILURE),
        ([SUCCESS, FAILURE], ["b"], SUCCESS),
        ([SKIPPED, SUCCESS], [], SUCCESS),
    ],
)
async def test_waits(results: list[int], unimportant: list[str], expected: int) -> None:
    """The step has the worst result that counts; the builds are linked and counted."""
    step = Trigger(schedulerNames=["a", "b"], waitForFinish=True, unimportantSchedulerNames=unimportant)
    made = farm(step, a=Triggerable("a", ["x"]), b=Triggerable("b", ["y"]))
    await made.start()
    await made.build()
    children = await made.waits(2)
    assert made.step()["state_string"] == "triggering a, b"
    for child, result in zip(children, results, strict=True):
        await made.build_child(child["bsid"], result)
    await made.ended()
    shown = made.step()
    assert shown["results"] == expected
    names = {SUCCESS: "success", WARNINGS: "warnings", FAILURE: "failure", SKIPPED: "skipped"}
    assert [url["name"] for url in shown["urls"][2:]] == [
        f"{names[result]}: {builder} #1" for builder, result in zip("xy", results, strict=True)
    ]
    assert shown["urls"][2]["url"].endswith("/builds/1")
    counted = ", ".join(f"1 {names[result]}" for result in sorted(results))
    assert shown["state_string"] == f"triggered a, b, {counted}"
    assert all(each["waited_for"] for each in made.master.get("buildsets", children[0]["bsid"], "buildrequests"))
    await made.stop()


async def stamps_of(step: Any, scheduler: Any = None, **properties: Any) -> list[dict[str, Any]]:
    made = farm(steps.SetProperties(properties=properties), step, t=scheduler or Triggerable("t", ["x"]))
    await made.run(branch="main", revision="r1", repository="repo", project="p")
    (buildset,) = made.buildsets()
    await made.stop()
    found: list[dict[str, Any]] = buildset["sourcestamps"]
    return found


async def test_builds_the_revision_that_was_got() -> None:
    """The revision is ``got_revision`` by codebase; with updateSourceStamp=False the requested one."""
    (stamp,) = await stamps_of(Trigger(["t"]), got_revision="r2")
    assert (stamp["revision"], stamp["branch"], stamp["repository"], stamp["project"]) == ("r2", "main", "repo", "p")
    (stamp,) = await stamps_of(Trigger(["t"]), got_revision={"": "r3", "other": "r4"})
    assert stamp["revision"] == "r3"
    (stamp,) = await stamps_of(Trigger(["t"], updateSourceStamp=False), got_revision="r2")
    assert stamp["revision"] == "r1"


async def test_builds_other_code() -> None:
    """The newest of the default branch, completed by the scheduler's codebases, or the given source stamps."""
    (stamp,) = await stamps_of(Trigger(["t"], alwaysUseLatest=True))
    assert (stamp["branch"], stamp["revision"], stamp["repository"]) == (None, None, "")
    own = Triggerable("t", ["x"], codebases={"": {"repository": "own", "branch": "b"}})
    (stamp,) = await stamps_of(Trigger(["t"], alwaysUseLatest=True), own)
    assert (stamp["branch"], stamp["repository"]) == ("b", "own")
    given = [{"codebase": "", "branch": Property("wanted"), "patch_body": b"diff", "patch_level": 1}]
    (stamp,) = await stamps_of(Trigger(["t"], sourceStamps=given), wanted="w")
    assert (stamp["branch"], stamp["revision"], stamp["patch"]["body"]) == ("w", None, "diff")
    (stamp,) = await stamps_of(Trigger(["t"], sourceStamp={"branch": "one"}))
    assert stamp["branch"] == "one"


async def test_properties() -> None:
    """Properties of the step have the source Trigger; the scheduler's own win; others are not copied."""
    step = Trigger(["t"], set_properties={"a": Interpolate("%(prop:mine)s!"), "b": 1}, copy_properties=["mine", "none"])
    made = farm(steps.SetProperty("mine", "m"), step, t=Triggerable("t", ["x"], properties={"b": 2}))
    await made.run()
    (buildset,) = made.buildsets()
    assert {
        name: tuple(pair) for name, pair in made.master.get("buildsets", buildset["bsid"], "properties").items()
    } == {
        "a": ("m!", "Trigger"),
        "mine": ("m", "Trigger"),
        "b": (2, "Scheduler"),
        "scheduler": ("t", "Scheduler"),
    }
    await made.stop()


async def test_secrets_stay_behind() -> None:
    """The triggered buildset gets the name of a secret of the build, not its value."""

    class Telling(Trigger):
        def getSchedulersAndProperties(self) -> Any:
            self.build.properties.useSecret("hush-hush", "token")
            return super().getSchedulersAndProperties()

    made = farm(Telling(["t"], set_properties={"a": ["is hush-hush"]}), t=Triggerable("t", ["x"]))
    await made.run()
    (buildset,) = made.buildsets()
    assert tuple(made.master.get("buildsets", buildset["bsid"], "properties")["a"]) == (["is <token>"], "Trigger")
    await made.stop()


async def test_priority_of_the_parent() -> None:
    """A scheduler without a priority gives its requests that of the triggering build's."""
    made = farm(Trigger(["t", "own"]), t=Triggerable("t", ["x"]), own=Triggerable("own", ["x"], priority=7))
    await made.start()
    request = await made.master.add_request("b")
    path = ("buildrequests", request["buildrequestid"])
    await made.master.state.data.control("set_priority", {"priority": 3}, path)
    await made.builder.start_build(request, made.manager.workers["w"])
    await made.ended()
    found = [made.master.get("buildsets", each["bsid"], "buildrequests")[0]["priority"] for each in made.buildsets()]
    assert found == [3, 7]
    await made.stop()


async def test_a_subclass_chooses() -> None:
    """A subclass may trigger a scheduler several times, also asynchronously."""

    class Several(Trigger):
        async def getSchedulersAndProperties(self) -> Any:
            names = await self.render(Property("names"))
            return [{"sched_name": "t", "props_to_set": {"name": name}, "unimportant": True} for name in names]

    made = farm(steps.SetProperty("names", ["one", "two"]), Several(waitForFinish=True))
    await made.start()
    await made.build()
    for child in await made.waits(2):
        await made.build_child(child["bsid"], FAILURE)
    await made.ended()
    assert made.master.build(1)["results"] == SUCCESS
    assert made.step()["state_string"] == "triggered t, t, 2 failure"
    await made.stop()


async def test_a_stopped_build_cancels_what_it_waits_for() -> None:
    """Waiting builds are cancelled, running ones are stopped; the step is CANCELLED."""
    made = farm(Trigger(["t"], waitForFinish=True), t=Triggerable("t", ["x", "y"]))
    await made.start()
    await made.build()
    (child,) = await made.waits()
    waiting, running = made.master.get("buildsets", child["bsid"], "buildrequests")
    update = made.master.state.data.update
    await update.claimBuildRequests([running["buildrequestid"]])
    buildid = await update.newBuild(running["buildrequestid"])
    stops: list[Any] = []
    await made.master.mq.startConsuming(
        lambda key, message: stops.append(message), ("control", "builds", str(buildid), None)
    )
    await made.master.stop_build(1, "enough")
    await made.ended()
    assert (made.step()["results"], made.step()["state_string"]) == (CANCELLED, "interrupted")
    assert made.master.get("buildrequests", waiting["buildrequestid"])["results"] == CANCELLED
    assert stops == [{"reason": "parent build was interrupted"}]
    await made.stop()


@pytest.mark.parametrize("waits", [True, False])
async def test_built_again_after_its_worker_was_lost(waits: bool) -> None:
    """A build that ends with RETRY keeps its buildsets; the repeated build takes them over."""
    number = {"n": Property("buildnumber"), "page": Interpolate("http://x/#/builders/1/builds/%(prop:buildnumber)s")}
    made = farm(Trigger(["t"], waitForFinish=waits, set_properties=number), steps.ShellCommand(command=["x"]))
    made.connection.script = lambda name, args: ([], None)
    await made.start()
    request = await made.master.add_request("b")
    await made.builder.start_build(request, made.manager.workers["w"])
    (child,) = await made.waits()
    if not waits:
        await made.master.until(lambda: bool(made.connection.running))
    made.connection.closed("gone")
    await made.ended()
    assert made.master.build(1)["results"] == RETRY
    again = type(made.connection)()
    await made.manager.workers["w"].attach(again)
    await made.master.state.data.update.claimBuildRequests([request["buildrequestid"]])
    await made.builder.start_build(request, made.manager.workers["w"])
    if waits:
        await made.waits(2 - 1)
        await until(lambda: _later(made.buildsets()[0]["parent_buildid"] == 2))
        await made.build_child(child["bsid"], WARNINGS)
    await made.ended()
    assert made.step(2)["results"] == SUCCESS and made.master.steps(2)[1]["results"] == (WARNINGS if waits else SUCCESS)
    (only,) = made.buildsets()
    assert (only["bsid"], only["parent_buildid"]) == (child["bsid"], 2)
    assert made.master.steps(2)[1]["urls"][0] == made.master.steps(1)[1]["urls"][0]
    await made.stop()


async def _later(answer: bool) -> bool:
    return answer


async def test_other_code_is_triggered_anew() -> None:
    """A repeated build with another revision does not take over buildsets of the first one."""
    made = farm(steps.SetProperty("got_revision", renderer(lambda props: str(props["buildnumber"]))), Trigger(["t"]))
    made.config.factory.addStep(steps.ShellCommand(command=["x"]))
    made.connection.script = lambda name, args: ([], None)
    await made.start()
    request = await made.master.add_request("b")
    await made.builder.start_build(request, made.manager.workers["w"])
    await made.master.until(lambda: bool(made.connection.running))
    made.connection.closed("gone")
    await made.ended()
    await made.manager.workers["w"].attach(type(made.connection)())
    await made.master.state.data.update.claimBuildRequests([request["buildrequestid"]])
    await made.builder.start_build(request, made.manager.workers["w"])
    await made.ended()
    assert [each["sourcestamps"][0]["revision"] for each in made.buildsets()] == ["1", "2"]
    await made.stop()


async def test_a_build_that_was_taken_over_triggers_nothing() -> None:
    """A master that was declared dead can neither trigger nor cancel for a build that it lost."""

    class Lost(Trigger):
        async def getSchedulersAndProperties(self) -> Any:
            brid = self.build.request["buildrequestid"]
            await self.master.state.data.update.unclaimBuildRequests([brid])
            return super().getSchedulersAndProperties()

    made = farm(Lost(["t"], waitForFinish=True))
    await made.start()
    await made.build()
    await made.ended()
    assert made.buildsets() == []
    await made.stop()


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"u": Triggerable("u", ["x"])}, "there is no scheduler 't' in the configuration; did you mean 'u'?"),
        ({"t": schedulers.Periodic("t", ["x"], 60)}, "the scheduler 't' is a Periodic, which cannot be triggered"),
    ],
)
async def test_what_cannot_be_triggered(named: dict[str, Any], said: str) -> None:
    """Nothing is triggered, and the step's log has the reason."""
    made = farm(Trigger(["t"]), **named)
    await made.run()
    step = made.step()
    assert step["results"] == EXCEPTION and said.split(";")[0] in made.master.text(step["stepid"], "err.text")
    assert made.buildsets() == []
    await made.stop()


async def test_switched_off() -> None:
    """A disabled scheduler triggers nothing, and the step fails."""
    made = farm(Trigger(["t"]))
    schedulerid = await made.master.data.update.findSchedulerId("t")
    await made.master.state.data.control("enable", {"enabled": False}, ("schedulers", schedulerid))
    await made.run()
    step = made.step()
    assert step["results"] == EXCEPTION
    assert "the scheduler 't' is switched off" in made.master.text(step["stepid"], "err.text")
    await made.stop()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Trigger: schedulerNames must name at least one scheduler"),
        ({"schedulerNames": "t"}, "schedulerNames must be a list"),
        ({"schedulerNames": ["t"], "unimportantSchedulerNames": ["u"]}, "'u' is not"),
        ({"schedulerNames": ["t"], "alwaysUseLatest": True, "updateSourceStamp": True}, "contradict each other"),
        (
            {"schedulerNames": ["t"], "alwaysUseLatest": True, "sourceStamps": [{"branch": "b"}]},
            "contradict each other",
        ),
        ({"schedulerNames": ["t"], "sourceStamps": [{"brunch": "b"}]}, "did you mean 'branch'?"),
        ({"schedulerNames": ["t"], "set_properties": [1]}, "set_properties must be a dictionary"),
    ],
)
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        BuildFactory([Trigger(**arguments)])
    assert said in str(caught.value)


def test_names() -> None:
    """The plugin names are the classes."""
    assert steps.Trigger is Trigger and schedulers.Triggerable is Triggerable
