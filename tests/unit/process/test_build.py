"""Builds: how their steps' results, a stop, the loss of the worker or of the claim end them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from twisted.internet.defer import Deferred, ensureDeferred, fail

from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.db.exceptions import NotClaimedError
from buildbot.process.build import Build
from buildbot.process.buildstep import BuildStep, BuildStepFailed
from buildbot.process.defaults import BuildDefaults, LogLimits
from buildbot.process.factory import BuildFactory
from buildbot.process.logwriter import FIRST_S
from buildbot.process.properties import Interpolate, Property, renderer
from buildbot.process.workers.connection import WorkerLostError
from buildbot.process.workers.managed import WorkerNotAvailableError
from buildbot.steps.master import SetProperty
from buildbot.steps.shell import ShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS
from tests.support.events import next_turn


class Ends(BuildStep):
    """Ends with the given result."""

    name = "ends"

    def __init__(self, results: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outcome = results

    async def run(self) -> int:
        return self.outcome


async def test_order_of_writes() -> None:
    """The life of a build as its readers see it."""
    farm = StepHarness(ShellCommand(command="make"))
    row = await farm.run()
    assert row["results"] == SUCCESS
    names = [call[0] for call in farm.master.calls if call[0] not in ("changed", "finished", "findWorkerId")]
    assert names == [
        *("workerConnected", "newBuild"),
        *("newStartedStep", "setBuildStateString", "setBuildProperties", "setBuildStateString"),
        *("finishStep", "setBuildStateString"),
        *("newStartedStep", "setStepStateString", "newCompleteLog", "finishStep"),
        *("setBuildStateString", "endBuild"),
    ]
    assert [text for _, text in farm.master.of("setBuildStateString")] == [
        "preparing worker", "pinging worker", "building", "build successful"
    ]  # fmt: skip
    assert farm.finished == [farm.builder] and farm.manager.available("b")


@pytest.mark.parametrize("answers", [True, False])
async def test_worker_that_answers_late(answers: bool) -> None:
    """The build's first properties and state are stored while the worker takes its time to answer, and only once."""
    farm = StepHarness(Ends(SUCCESS))
    await farm.start()
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    answer: Deferred[None] = Deferred()

    async def ping() -> None:
        await answer

    farm.connection.ping = ping  # type: ignore[method-assign]
    buildid = await farm.build()
    clock.advance(FIRST_S)
    await farm.master.until(lambda: farm.master.build(buildid)["state_string"] == "pinging worker")
    assert farm.master.build(buildid)["properties"]["workername"] == ("w", "Worker")
    if answers:
        answer.callback(None)
    else:
        answer.errback(WorkerLostError("gone"))
    await farm.ended()
    assert len([text for _, text in farm.master.of("setBuildStateString") if text == "pinging worker"]) == 1
    assert farm.master.build(buildid)["results"] == (SUCCESS if answers else RETRY)


async def test_worker_lost_at_once() -> None:
    """The build's first properties are stored though the worker is lost before they had to be."""
    farm = StepHarness(Ends(SUCCESS))
    await farm.start()

    async def ping() -> None:
        raise WorkerLostError("gone")

    farm.connection.ping = ping  # type: ignore[method-assign]
    buildid = await farm.build()
    await farm.ended()
    row = farm.master.build(buildid)
    assert row["results"] == RETRY and row["properties"]["workername"] == ("w", "Worker")


async def test_properties() -> None:
    """Where the properties of a build come from, and which win."""
    farm = StepHarness(
        SetProperty(property="from_step", value=Interpolate("%(prop:branch)s/%(src::project)s/%(worker:admin)s")),
        properties={"both": "builder", "p": Property("workername")},
        defaultProperties={"reason": "default", "color": "red"},
    )
    await farm.start(properties={"both": "worker", "os": "linux"}, defaultProperties={"color": "blue", "cpu": "x"})
    change = {"properties": {"fruit": "pear", "reason": "change"}, "author": "Al", "files": []}
    await farm.build(
        branch="main", project="p1", changes=[change], properties={"reason": ("why", "Force"), "owner": ("Jo", "Force")}
    )
    await farm.ended()
    assert farm.master.build(1)["properties"] == {
        "fruit": ("pear", "Change"),
        "reason": ("why", "Force"),
        "owner": ("Jo", "Force"),
        "owners": (["Al", "Jo"], "Build"),
        "branch": ("main", "Build"),
        "revision": (None, "Build"),
        "repository": ("", "Build"),
        "project": ("p1", "Build"),
        "codebase": ("", "Build"),
        "buildername": ("b", "Builder"),
        "builderid": (1, "Builder"),
        "buildnumber": (1, "Build"),
        "workername": ("w", "Worker"),
        "basedir": ("/w", "Worker"),
        "builddir": ("/w/b", "Worker"),
        "os": ("linux", "Worker"),
        "both": ("worker", "Worker"),
        "p": ("w", "Builder"),
        "color": ("red", "Builder"),
        "cpu": ("x", "Worker"),
        "from_step": ("main/p1/Jo\n", "SetProperty"),
    }


@pytest.mark.parametrize(
    ("steps", "results", "run", "text"),
    [
        ([(SUCCESS, {}), (SUCCESS, {})], SUCCESS, 2, "build successful"),
        ([], SUCCESS, 0, "build successful"),
        ([(WARNINGS, {})], SUCCESS, 1, "build successful"),
        ([(WARNINGS, {"warnOnWarnings": True})], WARNINGS, 1, "warnings ends (warnings)"),
        ([(WARNINGS, {"flunkOnWarnings": True})], FAILURE, 1, "failed ends (warnings)"),
        ([(FAILURE, {}), (SUCCESS, {})], FAILURE, 2, "failed ends (failure)"),
        ([(FAILURE, {"haltOnFailure": True}), (SUCCESS, {})], FAILURE, 1, "failed ends (failure)"),
        ([(FAILURE, {"flunkOnFailure": False}), (SUCCESS, {})], SUCCESS, 2, "build successful"),
        (
            [(FAILURE, {"flunkOnFailure": False, "warnOnFailure": True, "descriptionDone": "lint"})],
            WARNINGS, 1, "warnings lint (failure)",
        ),
        ([(FAILURE, {"updateBuildSummaryPolicy": False})], FAILURE, 1, "failed"),
        ([(SKIPPED, {})], SUCCESS, 1, "build successful"),
        (
            [(EXCEPTION, {}), (SUCCESS, {}), (SUCCESS, {"alwaysRun": True})],
            EXCEPTION, 2, "exception ends (exception)",
        ),
        ([(RETRY, {}), (SUCCESS, {})], RETRY, 1, "retry ends (retry)"),
        ([(CANCELLED, {}), (SUCCESS, {})], CANCELLED, 1, "cancelled ends (cancelled)"),
    ],
)  # fmt: skip
async def test_results(steps: list[tuple[int, dict[str, Any]]], results: int, run: int, text: str) -> None:
    """The flags of the steps decide how their results count."""
    farm = StepHarness(*(Ends(outcome, **flags) for outcome, flags in steps))
    row = await farm.run()
    assert (row["results"], len(farm.master.steps(1)) - 1, row["state_string"]) == (results, run, text)
    assert farm.master.get("buildrequests", 1)["claimed"] is (results != RETRY)
    assert farm.master.get("buildrequests", 1)["results"] == (-1 if results == RETRY else results)


@pytest.mark.parametrize(
    ("flags", "properties", "results", "ran"),
    [
        ({"haltOnFailure": Property("halt_it")}, {}, FAILURE, 2),
        ({"haltOnFailure": Property("halt_it")}, {"halt_it": True}, FAILURE, 1),
        ({"flunkOnFailure": Property("f", default=False)}, {}, SUCCESS, 2),
        ({"flunkOnFailure": Property("f", default=False)}, {"f": True}, FAILURE, 2),
        ({"flunkOnFailure": False, "warnOnFailure": Property("branch") == "main"}, {}, WARNINGS, 2),
        ({"flunkOnFailure": False, "warnOnFailure": Property("branch") != "main"}, {}, SUCCESS, 2),
    ],
)
async def test_rendered_flags(flags: dict[str, Any], properties: dict[str, Any], results: int, ran: int) -> None:
    """A flag that is a renderable counts as its rendered value."""
    farm = StepHarness(Ends(FAILURE, **flags), Ends(SUCCESS))
    await farm.start()
    given = {name: (value, "Force") for name, value in properties.items()}
    row = farm.master.build(await farm.build(branch="main", properties=given))
    await farm.ended()
    row = farm.master.build(1)
    assert (row["results"], len(farm.master.steps(1)) - 1) == (results, ran)


async def test_rendered_flags_of_warnings() -> None:
    """The flags for warnings, and those that decide whether a step runs or is shown."""
    main = Property("branch") == "main"
    farm = StepHarness(
        Ends(WARNINGS, name="warn", warnOnWarnings=main),
        Ends(FAILURE, name="skip", doStepIf=Property("branch") != "main", hideStepIf=main),
        Ends(WARNINGS, name="flunk", flunkOnWarnings=main, hideStepIf=lambda results, step: Property("none")),
        Ends(FAILURE, name="halt", haltOnFailure=True),
        Ends(SUCCESS, name="not always", alwaysRun=Property("none")),
        Ends(SUCCESS, name="always", alwaysRun=main),
    )
    row = await farm.run(branch="main")
    steps = [(step["name"], step["results"], step["hidden"]) for step in farm.master.steps(1)[1:]]
    assert steps == [
        ("warn", WARNINGS, False), ("skip", SKIPPED, True), ("flunk", WARNINGS, False), ("halt", FAILURE, False),
        ("always", SUCCESS, False),
    ]  # fmt: skip
    assert row["results"] == FAILURE and "warn (warnings) flunk (warnings) halt (failure)" in row["state_string"]


async def test_flags_that_cannot_be_rendered() -> None:
    """Such a step ends with an exception that says why, also where it runs only if its flag says so."""
    farm = StepHarness(Ends(FAILURE, haltOnFailure=True), Ends(SUCCESS, alwaysRun=Property("none") + 1))
    row = await farm.run()
    assert row["results"] == EXCEPTION and len(farm.master.steps(1)) == 3
    assert "Property(none) + 1: unsupported operand" in farm.master.text(3, "err.text")


@pytest.mark.parametrize(
    ("workdir", "expected"),
    [
        (Interpolate("wd-%(prop:buildername)s"), "wd-b"),
        (lambda stamps: f"{stamps[0].branch}-{stamps[0]['project']}-{len(stamps)}", "main-p1-1"),
        (lambda stamps: Interpolate("%(prop:later)s"), "set"),
        (Property("later"), "set"),
        ("plain", "plain"),
    ],
)
async def test_workdir_of_the_factory(workdir: Any, expected: str) -> None:
    """A text, a renderable or a function of the source stamps; a step's own goes before it."""
    farm = StepHarness(
        SetProperty(property="later", value="set"),
        ShellCommand(command="pwd"),
        ShellCommand(command="pwd", workdir=Interpolate("own-%(prop:buildername)s")),
        ShellCommand(command="pwd", workdir=Property("none")),
    )
    farm.config.factory.workdir = workdir
    row = await farm.run(branch="main", project="p1")
    assert row["results"] == SUCCESS
    assert [args["workdir"] for _, args in farm.connection.started] == [expected, "own-b", expected]


async def test_workdir_that_is_none() -> None:
    """A directory that is no text, or cannot be found out, ends the step with an exception that says so."""
    for workdir, text in (
        (lambda stamps: 5, "workdir of <ShellCommand"),
        (lambda stamps: stamps[0].nothing, "no 'nothing'"),
    ):
        farm = StepHarness(ShellCommand(command="pwd"))
        farm.config.factory.workdir = workdir
        assert (await farm.run())["results"] == EXCEPTION
        assert text in farm.master.text(2, "err.text") and not farm.connection.started


async def test_summary_that_fails_at_the_end() -> None:
    """A build whose own end fails is not left with the text of one that runs."""

    class Odd(BuildStep):
        """Its summary works once, for the step, and then no more."""

        name = "odd"
        asked = 0

        async def run(self) -> int:
            return FAILURE

        def getResultSummary(self) -> Any:
            self.asked += 1
            return {"step": "odd"} if self.asked == 1 else 1 / 0

    row = await StepHarness(Odd()).run()
    assert (row["results"], row["state_string"]) == (EXCEPTION, "build exception")


async def test_fresh_steps_for_every_build() -> None:
    """A step in a factory is a description: changes of a build's own step do not reach the next build."""

    class Counts(BuildStep):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.count: list[int] = []

        async def run(self) -> int:
            self.count.append(1)
            self.setProperty("count", len(self.count))
            return SUCCESS

    farm = StepHarness(Counts(name="c"))
    await farm.start()
    for buildid in (1, 2):
        await farm.build()
        await farm.ended()
        assert farm.master.build(buildid)["properties"]["count"] == (1, "Step")


async def test_a_step_is_shown_before_its_output() -> None:
    """A command that prints nothing has its summary and its log after a moment, without its end."""
    farm = StepHarness(ShellCommand(command="sleep"), script=lambda name, args: ([], None))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: bool(farm.master.of("newLog")))
    (step,) = [row for row in farm.master.steps(1) if row["name"] == "shell"]
    assert (step["state_string"], step["complete"]) == ("'sleep'", False)
    (log,) = farm.master.get("steps", step["stepid"], "logs")
    assert (log["name"], log["num_lines"], log["complete"]) == ("stdio", 0, False)
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.get("logs", log["logid"])["complete"]


async def test_a_short_step_before_one_whose_name_takes_long() -> None:
    """A short step whose end waits for the next one's name has its log once, with its lines, and it ends."""
    name: Deferred[str] = Deferred()
    farm = StepHarness(ShellCommand(command="one"), Ends(SUCCESS, name=renderer(lambda props: name)))
    await farm.start()
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    await farm.build()
    await farm.master.until(lambda: len(farm.connection.started) == 1)
    await next_turn()
    update, queue = farm.master.data.update, list[Any]()
    make = update.batch

    def slow_batch() -> Any:
        """A batch that is stored only when the next one is sent."""
        batch = make()
        send, sent = batch.send, Deferred[None]()
        queue.append((send, sent))
        batch.send = lambda: sent
        return batch

    def next_batch() -> Any:
        batch = make()
        send = batch.send

        def send_in_order() -> Any:
            while queue:
                earlier, sent = queue.pop(0)
                earlier().chainDeferred(sent)
            return send()

        batch.send = send_in_order
        return batch

    update.batch = slow_batch
    clock.advance(1)  # the step's first state would be stored now, if its end did not store it, too
    update.batch = next_batch
    name.callback("slow")
    await farm.ended()
    one, slow = farm.master.steps(1)[1:]
    assert (one["results"], slow["results"], slow["name"]) == (SUCCESS, SUCCESS, "slow")
    (log,) = farm.master.get("steps", one["stepid"], "logs")
    assert log["complete"] and log["num_lines"] > 0


async def test_stop_while_a_step_begins() -> None:
    """A stop that comes while the beginning of a step is being stored reaches that step: its command never runs."""
    farm = StepHarness(ShellCommand(command="one"), ShellCommand(command="two"), ShellCommand(command="three"))

    def begun(key: tuple[str, ...], message: dict[str, Any]) -> None:
        if message["number"] == 2:
            (build,) = farm.builder.running.values()
            build.stopBuild("enough")

    await farm.master.mq.startConsuming(begun, ("steps", None, "started"))
    await next_turn()
    row = await farm.run()
    assert (row["results"], row["state_string"]) == (CANCELLED, "cancelled: enough")
    assert [args["command"] for _, args in farm.connection.started] == ["one"]
    steps = farm.master.steps(row["buildid"])
    assert [step["results"] for step in steps] == [SUCCESS, SUCCESS, CANCELLED]
    assert all(step["complete"] for step in steps)


async def test_an_end_that_cannot_be_stored_at_once_changes_what_follows() -> None:
    """Failures at the end of a step are found one by one; it fails, and the steps that it halts do not run."""
    farm = StepHarness(ShellCommand(command="one", haltOnFailure=True), ShellCommand(command="two"))
    update = farm.master.data.update
    real = farm.master.state.data.update
    update.newCompleteLog = real.newCompleteLog  # batches refuse a method that is set
    update.finishLog = lambda logid, text: fail(ValueError("no end")) if logid == 1 else real.finishLog(logid, text)
    row = await farm.run()
    steps = farm.master.steps(row["buildid"])
    assert [(step["name"], step["results"]) for step in steps] == [
        ("worker_preparation", SUCCESS),
        ("shell", EXCEPTION),
    ]
    assert row["results"] == EXCEPTION and all(step["complete"] for step in steps)
    assert "no end" in farm.master.text(steps[1]["stepid"], "err.text")


@pytest.mark.parametrize("when", ["running", "before", "cancelled"])
async def test_stop(when: str) -> None:
    """A stop interrupts the command, skips the other steps except those with ``alwaysRun``, and cancels the build."""
    farm = StepHarness(
        ShellCommand(command="sleep"),
        Ends(SUCCESS),
        ShellCommand(command="clean", alwaysRun=True),
        script=lambda name, args: ([], None if args["command"] == "sleep" else 0),
    )
    await farm.start()
    if when == "before":
        new_build = farm.master.data.update.newBuild

        async def stopped_at_once(brid: int, workerid: int) -> int:
            buildid: int = await new_build(brid, workerid=workerid)
            await farm.master.stop_build(buildid, "enough")
            return buildid

        farm.master.data.update.newBuild = stopped_at_once
    await farm.build()
    if when == "running":
        await farm.master.stop_build(1, "enough")
    elif when == "cancelled":
        await farm.master.data.control("cancel", {"reason": "enough"}, ("buildrequests", 1))
    await farm.ended()
    row = farm.master.build(1)
    assert (row["results"], row["state_string"]) == (CANCELLED, "cancelled: enough")
    commands = [args["command"] for _, args in farm.connection.started]
    assert commands == (["clean"] if when == "before" else ["sleep", "clean"])
    if when != "before":
        assert farm.connection.interrupted == ["enough"]
        assert farm.master.steps(1)[1]["results"] == CANCELLED
        assert farm.master.text(2, "cancelled") == "enough\n"
    assert farm.master.of("endBuild") == [(1, 1, CANCELLED)]


@pytest.mark.parametrize("results", [CANCELLED, RETRY])
async def test_stop_while_the_database_is_away(results: int) -> None:
    """A stopped build whose steps cannot be stored ends as it was told to: a cancelled one is not built again."""
    farm = StepHarness(
        ShellCommand(command="sleep"),
        ShellCommand(command="next", alwaysRun=True),
        script=lambda name, args: ([], None),
    )
    await farm.start()
    await farm.build()
    update, make = farm.master.data.update, farm.master.data.update.batch

    def refused() -> Any:
        batch = make()
        batch.send = lambda: fail(OperationalError("COMMIT", {}, Exception("deadlock")))
        return batch

    update.batch = refused
    (build,) = farm.builder.running.values()
    build.stopBuild("enough", results)
    await farm.ended()
    row = farm.master.build(1)
    text = "cancelled: enough" if results == CANCELLED else "retry: enough"
    assert (row["results"], row["state_string"], row["complete"]) == (results, text, True)
    assert farm.master.get("buildrequests", 1)["claimed"] is (results == CANCELLED)
    assert all(step["complete"] for step in farm.master.steps(1))


@pytest.mark.parametrize("method", ["appendLog", "finishLog"])
async def test_log_that_cannot_be_written(method: str) -> None:
    """A log of which a part could not be written ends with its step; what always runs sees no open log."""
    seen: list[Any] = []

    class Looks(BuildStep):
        async def run(self) -> int:
            seen.extend(farm.master.get("steps", 2, "logs"))
            return SUCCESS

    farm = StepHarness(ShellCommand(command="x"), Looks(alwaysRun=True), script=lambda name, args: ([], None))
    await farm.start()
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    await farm.build()
    clock.advance(1)  # the log is created
    update = farm.master.data.update
    works = getattr(update, method)
    away = OperationalError("INSERT", {}, Exception("disk full"))
    setattr(update, method, lambda logid, text: fail(away) if "hello" in text else works(logid, text))
    (command_id,) = farm.connection.running
    farm.connection.update(command_id, "stdout", "hello\n")
    if method == "appendLog":
        clock.advance(1)
    farm.connection.end(0)
    await farm.ended()
    assert [step["results"] for step in farm.master.steps(1)[1:]] == [RETRY, SUCCESS]
    assert [(log["name"], log["complete"]) for log in seen] == [("stdio", True), ("err.text", True)]
    assert "disk full" in farm.master.text(2, "err.text")


async def test_summary_of_a_stopped_step() -> None:
    """A step that was stopped, or has lost its worker, keeps that result though its summary fails."""

    class Odd(ShellCommand):
        def getResultSummary(self) -> Any:
            return 1 / 0

    for lost in (False, True):
        farm = StepHarness(Odd(command="x"), script=lambda name, args: ([], None))
        await farm.start()
        await farm.build()
        if lost:
            farm.connection.closed("gone")
        else:
            await farm.master.stop_build(1, "enough")
        await farm.ended()
        row = farm.master.steps(1)[1]
        assert row["results"] == farm.master.build(1)["results"] == (RETRY if lost else CANCELLED)
        assert "ZeroDivisionError" in farm.master.text(2, "err.text")


async def test_virtual_builder() -> None:
    """Page, number and test results of a build of a virtual builder are that builder's; the rest is as always."""

    class Tests(BuildStep):
        async def run(self) -> int:
            setid = await self.addTestResultSet("tests", "pass_fail", "boolean")
            self.addTestResult(setid, "1", test_name="t")
            self.setProperty("url", self.build.getUrl())
            return SUCCESS

    farm = StepHarness(Tests(), ShellCommand(command="x"))
    await farm.start()
    request = await farm.master.add_request("b", properties={"virtual_builder_name": ("v", "Trigger")})
    await farm.builder.start_build(request, farm.manager.workers["w"])
    await farm.ended()
    row = farm.master.build(1)
    builder = farm.master.get("builders", "v")
    assert (row["builderid"], row["number"], row["results"]) == (builder["builderid"], 1, SUCCESS)
    names = ("buildername", "builderid", "buildnumber")
    assert [row["properties"][name][0] for name in names] == ["b", request["builderid"], 1]
    assert row["properties"]["url"][0].endswith(f"#/builders/{builder['builderid']}/builds/1")
    (results,) = farm.master.get("builders", "v", "test_result_sets")
    assert results["tests_passed"] == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (5, "preparation failed: the property virtual_builder_name must be text, not int"),
        ("c", "preparation failed: the property virtual_builder_name: 'c' is a builder of the configuration"),
    ],
)
async def test_virtual_builder_that_cannot_be(name: Any, said: str) -> None:
    """Properties that name none end the build with EXCEPTION and the reason, under the builder that builds."""
    farm = StepHarness(Ends(SUCCESS))
    await farm.start()
    await farm.master.data.update.setBuilders([{"name": "b"}, {"name": "c"}])
    request = await farm.master.add_request("b", properties={"virtual_builder_name": (name, "Force")})
    await farm.builder.start_build(request, farm.manager.workers["w"])
    await farm.ended()
    row = farm.master.build(1)
    assert (row["builderid"], row["results"]) == (request["builderid"], EXCEPTION)
    assert farm.master.steps(1)[0]["state_string"].startswith(said)


async def test_worker_lost() -> None:
    """A lost worker: RETRY, the request is given back, nothing further runs, not even alwaysRun."""
    farm = StepHarness(ShellCommand(command="x"), Ends(SUCCESS, alwaysRun=True), script=lambda name, args: ([], None))
    await farm.start()
    await farm.build()
    farm.connection.closed("cable cut")
    await farm.ended()
    row = farm.master.build(1)
    assert (row["results"], row["state_string"]) == (RETRY, "retry: worker w was lost")
    assert [step["results"] for step in farm.master.steps(1)] == [SUCCESS, RETRY]
    assert farm.master.of("endBuild") == [(1, 1, RETRY)] and not farm.master.get("buildrequests", 1)["claimed"]
    assert farm.manager.available("b") == []


async def test_worker_lost_while_a_step_runs_on_the_master() -> None:
    """A step that does not notice the loss does not hide it."""
    farm = StepHarness()

    class Oblivious(BuildStep):
        async def run(self) -> int:
            farm.connection.closed("cable cut")
            return SUCCESS

    farm.config.factory.addStep(Oblivious())
    row = await farm.run()
    assert row["results"] == RETRY


async def test_stopped_and_lost() -> None:
    """A build that was stopped is not built again because its worker went away meanwhile."""
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()

    async def no_answer(builder: str, command_id: str, why: str) -> None:
        farm.connection.closed("cable cut")

    farm.connection.interrupt_command = no_answer  # type: ignore[method-assign]
    await farm.build()
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.build(1)["results"] == CANCELLED


async def test_worker_silent_at_the_start() -> None:
    """A worker that does not answer before the build is dropped, and the build is retried."""
    farm = StepHarness(Ends(SUCCESS))
    await farm.start()
    farm.connection.silent = True
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    await farm.build()
    clock.advance(60)
    await farm.ended()
    row = farm.master.build(1)
    assert row["results"] == RETRY
    assert [step["state_string"] for step in farm.master.steps(1)] == ["worker w lost: it does not answer"]
    assert farm.manager.workers["w"].connection is None


async def test_not_claimed() -> None:
    """When another master owns the build, its command is interrupted and nothing more is written."""
    farm = StepHarness(ShellCommand(command="x"), Ends(SUCCESS, alwaysRun=True), script=lambda name, args: ([], None))
    await farm.start()
    await farm.build()
    await farm.master.state.data.update.unclaimBuildRequests([1])
    written = len(farm.master.calls)
    farm.connection.update(farm.connection.running[0], "stdout", "a line\n")
    await farm.ended()
    assert farm.connection.interrupted == ["another master took the build over"]
    assert {call[0] for call in farm.master.calls[written:]} == {"refused", "changed", "finished"}
    assert farm.finished == [farm.builder] and farm.manager.available("b")


async def test_not_claimed_between_steps() -> None:
    """The same where the refusal meets a write of the build itself."""
    farm = StepHarness()

    class Loses(BuildStep):
        async def run(self) -> int:
            await farm.master.state.data.update.unclaimBuildRequests([1])
            return SUCCESS

    farm.config.factory.addSteps([Loses(), Ends(SUCCESS, alwaysRun=True)])
    row = await farm.run()
    assert row["results"] is None and len(farm.master.steps(1)) == 2
    assert farm.manager.available("b")


@pytest.mark.parametrize("problem", [NotClaimedError(), OperationalError("COMMIT", {}, Exception("deadlock"))])
async def test_much_output_that_is_never_stored(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    """A worker whose output was too much to be stored at once is read again, though the rest is never stored."""
    monkeypatch.setattr("buildbot.process.logwriter.MAX_BACKLOG_CHARS", 10)
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([("stdout", "much output\n")], None))
    await farm.start()
    await farm.build()
    assert farm.connection.held_back
    update, make = farm.master.data.update, farm.master.data.update.batch

    def refused() -> Any:
        batch = make()
        batch.send = lambda: fail(problem)
        return batch

    update.batch = refused
    farm.connection.end(0)
    await farm.ended()
    assert farm.connection.reading and not farm.connection.held_back


async def test_start_refused() -> None:
    """A busy or absent worker takes no build; a start that fails leaves the worker free."""
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()
    request = await farm.master.add_request("b")
    await farm.master.state.data.update.unclaimBuildRequests([request["buildrequestid"]])
    with pytest.raises(NotClaimedError):
        await farm.builder.start_build(request, farm.manager.workers["w"])
    await farm.build()
    assert not farm.builder.can_start()
    with pytest.raises(WorkerNotAvailableError, match="worker 'w' cannot take a build of 'b' now"):
        await farm.build()
    farm.connection.end(0)
    await farm.ended()
    assert farm.builder.can_start()


async def test_stop_all() -> None:
    """All running builds end with the given result before it returns, and none starts afterwards."""
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()
    await farm.build()
    await farm.builder.stop_all("going down", RETRY)
    row = farm.master.build(1)
    assert (row["results"], row["state_string"]) == (RETRY, "retry: going down")
    assert farm.master.of("endBuild") == [(1, 1, RETRY)] and not farm.builder.can_start()
    assert farm.builder.running == {}


async def test_ended() -> None:
    """Running builds end by themselves before it returns; without one it returns at once."""
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()
    await farm.builder.ended()
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()
    await farm.build()
    ended = ensureDeferred(farm.builder.ended())
    assert not ended.called
    farm.connection.end(0)
    await ended
    assert farm.master.build(1)["results"] == SUCCESS


async def test_stop_all_drops_a_worker_that_does_not_end() -> None:
    """A command that cannot be interrupted does not keep the master from stopping."""
    farm = StepHarness(ShellCommand(command="x"), script=lambda name, args: ([], None))
    await farm.start()

    async def ignored(builder: str, command_id: str, why: str) -> None:
        """As agents do with cpdir."""

    farm.connection.interrupt_command = ignored  # type: ignore[method-assign]
    await farm.build()
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    stopping = farm.builder.stop_all("going down", RETRY)
    waiting = ensureDeferred(stopping)
    assert not waiting.called
    clock.advance(60)
    await waiting
    assert farm.master.build(1)["results"] == RETRY and farm.connection.lost


async def test_the_end_is_stored_though_the_database_was_away() -> None:
    """A request never stays claimed because its end could not be stored at once."""
    farm = StepHarness(Ends(SUCCESS))
    await farm.start()
    farm.master.reactor = clock = ClockInFront(farm.master.reactor)
    update, failures = farm.master.data.update, [OSError("away"), OSError("away")]
    store = update.endBuild

    def fails(*arguments: int) -> Any:
        if failures:
            raise failures.pop()
        return store(*arguments)

    update.endBuild = fails
    await farm.build()
    assert farm.builder.running
    clock.advance(1)
    clock.advance(5)
    await farm.ended()
    assert farm.master.of("endBuild") == [(1, 1, SUCCESS)]


async def test_steps_added_while_it_runs() -> None:
    """A step may add further ones, right behind itself or at the end."""

    class Adds(BuildStep):
        async def run(self) -> int:
            self.build.addStepsAfterLastStep([Ends(SUCCESS, name="last")])
            self.build.addStepsAfterCurrentStep([Ends(SUCCESS, name="next")])
            return SUCCESS

    farm = StepHarness(Adds(name="adds"), Ends(SUCCESS, name="planned"))
    await farm.run()
    assert [step["name"] for step in farm.master.steps(1)][1:] == ["adds", "next", "planned", "last"]


async def test_preparation_fails() -> None:
    """A property that cannot be rendered ends the build with an exception that says so."""

    def broken(props: Any) -> Any:
        raise BuildStepFailed("no such thing")

    from buildbot.process.properties import renderer

    farm = StepHarness(Ends(SUCCESS), properties={"x": renderer(broken)})
    row = await farm.run()
    assert row["results"] == EXCEPTION
    assert farm.master.steps(1)[0]["state_string"] == "preparation failed: no such thing"


class ClockInFront:
    """The real reactor with a clock that the test moves."""

    def __init__(self, reactor: Any) -> None:
        from twisted.internet.task import Clock

        self._reactor, self._clock = reactor, Clock()
        self.callLater, self.advance, self.seconds = self._clock.callLater, self._clock.advance, self._clock.seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


async def test_a_builder_describes_its_queue() -> None:
    """Functions that order builders get the oldest request, the highest priority, and the time of the newest end."""
    farm = StepHarness()
    builder = farm.builder
    asked: tuple[Any, ...] = (builder.getOldestRequestTime, builder.get_highest_priority, builder.getNewestCompleteTime)
    update = farm.master.state.data.update
    builder.builderid = await update.findBuilderId("b")
    assert [await each() for each in asked] == [None, None, None]
    stamps = [{"codebase": ""}]
    brids = [
        (await update.addBuildset(sourcestamps=stamps, reason="", builderNames=["b"], priority=priority))[1]["b"]
        for priority in (0, 5, 1)
    ]
    await update.claimBuildRequests([brids[0]])
    await update.completeBuildRequests([brids[0]], 0)
    oldest, priority, ended = [await each() for each in asked]
    row = farm.master.get("buildrequests", brids[1])
    assert (oldest.timestamp(), priority) == (row["submitted_at"], 5)
    assert ended.timestamp() == farm.master.get("buildrequests", brids[0])["complete_at"]


async def test_properties_of_every_build() -> None:
    """Properties of the configuration count where no other source sets them; defaults come after them."""
    farm = StepHarness(ShellCommand(command="make"), properties={"b": 2}, defaultProperties={"a": 9, "d": 9})
    given = {"a": 1, "b": 1, "c": Interpolate("%(prop:b)s of %(prop:buildername)s")}
    farm.builder.defaults = BuildDefaults(given, "/srv/ci/master.cfg")
    properties = (await farm.run())["properties"]
    assert {name: properties[name] for name in "abcd"} == {
        "a": (1, "/srv/ci/master.cfg"),
        "b": (2, "Builder"),
        "c": ("2 of b", "/srv/ci/master.cfg"),
        "d": (9, "Builder"),
    }


async def test_logs_are_as_long_as_the_configuration_says() -> None:
    """Each log of a build by itself; how the command ended is shown all the same."""
    output = "".join(f"line {number}\n" for number in range(100))
    farm = StepHarness(ShellCommand(command="make"), script=lambda name, args: ([("stdout", output)], 0))
    farm.builder.defaults = BuildDefaults(logs=LogLimits(15, 8))
    build = await farm.run()
    text = farm.master.text(farm.master.steps(build["buildid"])[1]["stepid"])
    assert [line for line in text.splitlines() if line.startswith("oline")] == ["oline 0", "oline 1", "oline 99"]
    assert "hOutput exceeded 15 bytes, remaining output has been truncated" in text


@pytest.mark.parametrize("wanted", [True, False])
async def test_do_build_if(wanted: bool) -> None:
    """A build that ``do_build_if`` refuses ends as SKIPPED, without steps and properties; its request is complete."""
    asked: list[Any] = []

    async def do_build_if(build: Any) -> bool:
        asked.append((build.getProperty("branch"), build.number, [each.branch for each in build.getAllSourceStamps()]))
        return wanted

    farm = StepHarness(ShellCommand(command=["x"]), do_build_if=do_build_if)
    build = await farm.run(branch="main")
    assert asked == [("main", 1, ["main"])]
    names = [step["name"] for step in farm.master.steps(1)]
    if wanted:
        assert build["results"] == SUCCESS and names == ["worker_preparation", "shell"]
        assert build["properties"]["branch"] == ("main", "Build")
    else:
        assert (build["results"], build["state_string"], names) == (SKIPPED, "build successful", [])
        assert build["properties"] == {}
        assert farm.master.get("buildrequests", build["buildrequestid"])["results"] == SKIPPED
    await farm.stop()


@pytest.mark.parametrize(("skipped", "wanted"), [(True, True), (False, True), (False, False)])
async def test_set_skip_build_if(skipped: bool, wanted: bool) -> None:
    """A factory may say of which builds it makes none, beside do_build_if of the builder."""

    async def predicate(build: Any) -> bool:
        return skipped and build.getProperty("branch") == "main"

    farm = StepHarness(ShellCommand(command=["x"]), do_build_if=lambda build: wanted)
    farm.config.factory.setSkipBuildIf(predicate)
    build = await farm.run(branch="main")
    assert build["results"] == (SUCCESS if wanted and not skipped else SKIPPED)
    alone = StepHarness(ShellCommand(command=["x"]))
    alone.config.factory.setSkipBuildIf(lambda build: skipped)
    assert (await alone.run())["results"] == (SKIPPED if skipped else SUCCESS)


def test_mistakes_of_factories() -> None:
    """A method or argument without effect is a mistake of the configuration, which names the alternative."""
    with pytest.raises(ConfigErrors, match=r"Own\.newBuild would not be called: .* as buildClass of the factory"):

        class Own(BuildFactory):
            def newBuild(self, requests: Any, builder: Any) -> Any:
                return None

    with pytest.raises(ConfigErrors, match="setSkipBuildIf must be given a function of a build, not True"):
        BuildFactory().setSkipBuildIf(True)


async def test_do_build_if_fails() -> None:
    """A function that fails ends the build in EXCEPTION."""
    farm = StepHarness(ShellCommand(command=["x"]), do_build_if=lambda build: 1 // 0)
    build = await farm.run()
    assert (build["results"], build["state_string"]) == (EXCEPTION, "build exception")
    await farm.stop()


async def test_each_build_has_its_own_environment() -> None:
    """A step may change the environment of later steps; the next build begins with the configured one."""

    class Set(BuildStep):
        async def run(self) -> int:
            self.build.env["LIST"].append("more")
            return SUCCESS

    farm = StepHarness(Set(), ShellCommand(command=["x"], logEnviron=False), env={"LIST": ["one"]})
    await farm.run()
    await farm.build()
    await farm.ended()
    assert farm.config.env == {"LIST": ["one"]}
    assert [args["env"]["LIST"] for _, args in farm.connection.started] == [["one", "more"]] * 2
    await farm.stop()


async def test_a_class_of_builds() -> None:
    """A factory may name a subclass of Build, whose methods may be overridden."""

    class Mine(Build):
        _steps = _done = _prepared = "names of a user's own"

        def _prepare(self, *args: Any) -> None:
            raise AssertionError("nobody but the subclass calls this")

        _run_steps = _store_last = _begin = _set_state = _interrupt = _prepare

        def setProperty(self, name: str, value: Any, source: str, runtime: bool = False) -> None:
            super().setProperty(name, f"my {value}", source, runtime)

    class Uses(BuildStep):
        async def run(self) -> int:
            self.build.setProperty("p", "x", "Uses")
            return SUCCESS

    farm = StepHarness(Uses())
    farm.config.factory.buildClass = Mine
    build = await farm.run()
    assert build["properties"]["p"] == ("my x", "Uses")
    await farm.stop()
    with pytest.raises(ConfigErrors, match=r"factory.buildClass must be a subclass of Build, not 'Mine'"):
        factory = BuildFactory()
        factory.buildClass = "Mine"  # type: ignore[assignment]
        BuilderConfig(name="b", workername="w", factory=factory)


async def test_attributes_of_a_build_for_steps() -> None:
    """A build gives its request, its worker, the people of its changes, and its steps."""
    seen: list[Any] = []

    class Look(BuildStep):
        async def run(self) -> int:
            build: Any = self.build
            (request,) = build.requests
            seen.append((request.id, request.reason, request.properties.getProperty("p"), request.source.branch))
            seen.append((build.getWorkerName(), build.workerforbuilder.workername, build.blamelist()))
            seen.append((build.currentStep is self, build.executedSteps, build.getUrl()))
            return SUCCESS

    farm = StepHarness(Look())
    await farm.start()
    change = {"author": "Al", "files": []}
    await farm.build(branch="main", changes=[change], properties={"p": (1, "s")})
    await farm.ended()
    assert seen == [
        (1, "test", 1, "main"),
        ("w", "w", ["Al"]),
        (True, [], "http://localhost:8080/#/builders/1/builds/1"),
    ]
    await farm.stop()
