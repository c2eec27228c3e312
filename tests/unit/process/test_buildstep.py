"""Steps: the methods for users' own steps, and their results."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, inlineCallbacks, succeed
from twisted.internet.task import deferLater

from buildbot.config.builder import BuilderConfig
from buildbot.config.errors import ConfigErrors
from buildbot.db.exceptions import OutcomeUnknownError
from buildbot.process.buildstep import BuildStep, BuildStepCancelled, BuildStepFailed, CommandMixin, ShellMixin
from buildbot.process.factory import BuildFactory
from buildbot.process.logobserver import BufferLogObserver, LineConsumerLogObserver, LogLineObserver, LogObserver
from buildbot.process.properties import Interpolate, Property, renderer
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.workers.connection import RemoteError, WorkerLostError
from buildbot.steps.master import SetProperties
from buildbot.steps.shell import Compile, SetPropertyFromCommand, ShellCommand, Test, WarningCountingShellCommand
from buildbot.steps.source.git import Git
from buildbot.test.steps import StepHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS
from tests.support.events import next_turn
from tests.support.steps import Own, run


async def test_own_step() -> None:
    """Logs, links, properties and a description that changes while it runs."""

    async def work(step: Any) -> int:
        log = await step.addLog("notes")
        await log.addStdout("one\ntw")
        await log.addStdout("o\n")
        await step.addCompleteLog("all", "text\n")
        await step.addHTMLLog("page", "<b>x</b>")
        await step.addURL("there", "http://there/")
        step.setProperty("mine", [1], "Own")
        step.descriptionDone = ["did", Interpolate("%(prop:mine)s")][:1]
        assert (step.getProperty("mine"), step.workername, step.build.number) == ([1], "w", 1)
        return SUCCESS

    farm, (step,) = await run(Own(work, description="working", descriptionSuffix=["for", "you"]))
    assert step["state_string"] == "did for you" and step["urls"] == [{"name": "there", "url": "http://there/"}]
    logs = farm.master.get("steps", 2, "logs")
    assert [(log["name"], log["type"], log["complete"]) for log in logs] == [
        ("notes", "s", True), ("all", "t", True), ("page", "h", True)
    ]  # fmt: skip
    assert [farm.master.text(2, log["name"]) for log in logs] == ["oone\notwo\n", "text\n", "<b>x</b>\n"]
    assert farm.master.build(1)["properties"]["mine"] == ([1], "Own")
    assert ("setStepStateString", 2, "working for you") in farm.master.calls


async def test_build_data_and_test_results() -> None:
    """Bytes for the build; sets of results that are stored and completed when the step ends, or before."""
    sets = {}

    async def work(step: Any) -> int:
        await step.setBuildData("coverage", b"\x00\xff", "own")
        for category in ("pass_fail", "pass_only", "fail_only", "performance"):
            unit = "boolean" if category == "pass_fail" else "s"
            sets[category] = await step.addTestResultSet(None, category, unit)
        for number, value in enumerate("110"):
            step.addTestResult(sets["pass_fail"], value, f"test {number}", "t.py", number, duration_ns=5)
        for category in ("pass_only", "fail_only", "performance"):
            step.addTestResult(sets[category], "2.5", test_name="t")
        if step.name == "early":
            await step.finishTestResultSets()
            with pytest.raises(ValueError, match="setid"):
                step.addTestResult(sets["pass_fail"], "1", "t")
        return SUCCESS

    for name in ("own", "early"):
        farm, (row,) = await run(Own(work, name=name))
        assert row["results"] == SUCCESS
        assert farm.master.get("builds", 1, "data", "coverage", "value")["value"] == b"\x00\xff"
        found = {each["test_result_setid"]: each for each in farm.master.get("steps", 2, "test_result_sets")}
        counts = {
            category: (found[setid]["complete"], found[setid]["tests_passed"], found[setid]["tests_failed"])
            for category, setid in sets.items()
        }
        assert counts == {
            "pass_fail": (True, 2, 1),
            "pass_only": (True, 1, None),
            "fail_only": (True, None, 1),
            "performance": (True, None, None),
        }
        results = farm.master.get("test_result_sets", sets["pass_fail"], "results")
        assert [(each["test_name"], each["line"], each["value"]) for each in results] == [
            ("test 0", 0, "1"), ("test 1", 1, "1"), ("test 2", 2, "0")
        ]  # fmt: skip


async def test_wrong_test_result() -> None:
    """A result that cannot be stored makes the step end with EXCEPTION, and says why."""

    async def work(step: Any) -> int:
        step.addTestResult(await step.addTestResultSet(None, "pass_fail", "boolean"), "1")
        return SUCCESS

    farm, (row,) = await run(Own(work))
    assert row["results"] == EXCEPTION
    assert "test_name or a test_code_path" in farm.master.text(2, "err.text")


async def test_inline_callbacks() -> None:
    """Steps written before async functions work as they are."""

    class Old(BuildStep):
        name = "old"

        @inlineCallbacks
        def run(self) -> Generator[Any, Any, int]:  # type: ignore[override]
            log = yield self.addLog("x")
            yield log.addStdout("a\n")
            command = RemoteCommand("shell", {"command": "x"})
            yield self.runCommand(command)
            return command.results()

        def getResultSummary(self) -> Deferred[dict[str, str]]:
            return succeed({"step": "old style"})

    _, (step,) = await run(Old())
    assert (step["results"], step["state_string"]) == (SUCCESS, "old style")


@pytest.mark.parametrize(
    ("work", "results", "text", "log"),
    [
        (lambda step: FAILURE, FAILURE, "finished (failure)", None),
        (lambda step: 1 / 0, EXCEPTION, "finished (exception)", "ZeroDivisionError: division by zero"),
        (lambda step: None, EXCEPTION, "finished (exception)", "must return a result code, not None"),
        (lambda step: 17, EXCEPTION, "finished (exception)", "must return a result code, not 17"),
        (lambda step: step.setProperty("x", object()), EXCEPTION, "finished (exception)", "property 'x' is not a JSON"),
        (lambda step: step.runCommand(RemoteCommand("refuse", {})), EXCEPTION, "finished (exception)", "unknown"),
        (lambda step: step.runCommand(RemoteCommand("failure", {})), EXCEPTION, "finished (exception)", "bad env"),
    ],
)  # fmt: skip
async def test_how_it_ends(work: Any, results: int, text: str, log: str | None) -> None:
    """The result is that of run(), or follows from its exception; an unexpected one goes to a log err.text."""
    farm, (step,) = await run(
        Own(work), script=lambda name, args: ([(name, {"refuse": "unknown", "failure": "bad env"}[name])], None)
    )
    assert (step["results"], step["state_string"]) == (results, text)
    if log is not None:
        assert log in farm.master.text(2, "err.text")


@pytest.mark.parametrize(
    ("error", "results", "text"),
    [
        (BuildStepFailed("no luck"), FAILURE, "no luck (failure)"),
        (BuildStepFailed(), FAILURE, "finished (failure)"),
        (BuildStepCancelled(), CANCELLED, "finished (cancelled)"),
    ],
)
async def test_raised(error: Exception, results: int, text: str) -> None:
    """A step may end by an exception of the API without the result EXCEPTION."""

    async def work(step: Any) -> int:
        raise error

    _, (step,) = await run(Own(work))
    assert (step["results"], step["state_string"]) == (results, text)


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        (True, True),
        (False, False),
        (lambda step: step.getProperty("buildername") == "b", True),
        (lambda step: succeed(False), False),
        (Property("nothing"), False),
        (renderer(lambda props: props["workername"] == "w"), True),
    ],
)
async def test_do_step_if(condition: Any, runs: bool) -> None:
    """A step that ``doStepIf`` refuses is stored as skipped, and does not change the build's result."""
    farm, (step,) = await run(Own(lambda step: SUCCESS, doStepIf=condition))
    assert step["results"] == (SUCCESS if runs else SKIPPED)
    assert farm.master.build(1)["results"] == SUCCESS


@pytest.mark.parametrize(
    ("hide", "hidden"),
    [(True, True), (lambda results, step: results == SUCCESS and step.name == "own", True), (False, False)]
)  # fmt: skip
async def test_hide_step_if(hide: Any, hidden: bool) -> None:
    """Whether a step is hidden is asked at its end."""
    _, (step,) = await run(Own(lambda step: SUCCESS, hideStepIf=hide))
    assert step["hidden"] is hidden


async def test_broken_conditions() -> None:
    """A condition or a rendering that fails ends the step with an exception, not the build in the middle."""
    farm, steps = await run(
        Own(lambda step: SUCCESS, doStepIf=lambda step: 1 / 0, alwaysRun=True),
        Own(lambda step: SUCCESS, hideStepIf=lambda results, step: 1 / 0, alwaysRun=True),
        Own(lambda step: SUCCESS, name=renderer(lambda props: props["nothing"]), alwaysRun=True),
        ShellCommand(command=["x", renderer(lambda props: props["nothing"])], alwaysRun=True),
    )
    assert [step["results"] for step in steps] == [EXCEPTION] * 4
    assert "KeyError: 'nothing'" in farm.master.text(5, "err.text")
    assert farm.connection.started == []


async def test_names() -> None:
    """Names may be rendered, are cut, and are made unique."""
    _, steps = await run(
        Own(lambda step: SUCCESS, name=Interpolate("on %(prop:workername)s")),
        Own(lambda step: SUCCESS, name="n" * 60),
        Own(lambda step: SUCCESS),
        Own(lambda step: SUCCESS),
    )
    assert [step["name"] for step in steps] == ["on w", "n" * 50, "own", "own_1"]


async def test_interrupt_a_wait() -> None:
    """A step that waits for something of its own is stopped as well."""
    never: Deferred[None] = Deferred()

    async def work(step: Any) -> int:
        await step.wait(never)
        return SUCCESS

    farm = StepHarness(Own(work))
    await farm.start()
    await farm.build()
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.steps(1)[1]["results"] == CANCELLED and never.called


async def test_stop_of_a_step_that_has_not_begun() -> None:
    """A step that is stopped before it is in the database has nothing to interrupt: it ends, and so does the build."""
    name: Deferred[str] = Deferred()
    asked: list[Any] = []

    class Says(ShellCommand):
        def interrupt(self, reason: Any) -> Any:
            asked.append(reason)
            self.addCompleteLog("interrupted", "why\n")
            return super().interrupt(reason)

    farm = StepHarness(Says(command="x", name=renderer(lambda props: name)))
    await farm.start()
    await farm.build()
    await farm.master.stop_build(1, "enough")
    await next_turn()
    name.callback("late")
    await farm.ended()
    build, row = farm.master.build(1), farm.master.steps(1)[1]
    assert (build["results"], build["complete"]) == (CANCELLED, True)
    assert (row["name"], row["results"], row["complete"]) == ("late", CANCELLED, True)
    assert farm.master.text(2, "cancelled") == "enough\n"
    assert asked == [] and farm.connection.started == []
    assert farm.master.get("buildrequests", 1)["results"] == CANCELLED


@pytest.mark.parametrize("consume", [False, True])
@pytest.mark.parametrize("lost", [False, True])
async def test_commands_side_by_side(lost: bool, consume: bool) -> None:
    """A step with two commands at once: their output is in one log, and a stop ends both."""

    async def work(step: Any) -> int:
        await gatherResults([step.runCommand(RemoteCommand("shell", {})) for _ in range(2)], consumeErrors=consume)
        return SUCCESS

    farm = StepHarness(Own(work), script=lambda name, args: ([("stdout", "hello\n")], None))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: len(farm.connection.running) == 2)
    if lost:
        farm.connection.closed("gone")
    else:
        await farm.master.stop_build(1, "enough")
    await farm.ended()
    row = farm.master.steps(1)[1]
    assert row["results"] == (RETRY if lost else CANCELLED) == farm.master.build(1)["results"]
    assert farm.connection.interrupted == ([] if lost else ["enough"] * 2)
    ends = "" if lost else "hprogram finished with exit code -1\n" * 2
    assert farm.master.text(2) == "ohello\n" * 2 + ends
    names = [log["name"] for log in farm.master.get("steps", 2, "logs")]
    assert names == ["stdio", "cancelled"]


async def test_command_that_nobody_waits_for() -> None:
    """A step waits for the end of its commands, whether it has awaited them or raised; their errors are its own."""

    async def returns(step: Any) -> int:
        step.runCommand(RemoteCommand("slow", {}))
        return SUCCESS

    async def raises(step: Any) -> int:
        step.runCommand(RemoteCommand("slow", {}))
        raise BuildStepFailed("no luck")

    async def fails(step: Any) -> int:
        step.runCommand(RemoteCommand("bad", {}))
        return SUCCESS

    farm = StepHarness(
        Own(returns),
        Own(raises),
        Own(fails),
        script=lambda name, args: ([("failure", "no way")] if name == "bad" else [("stdout", "hello\n")], None),
    )
    await farm.start()
    await farm.build()
    for count in (1, 2):
        await farm.master.until(lambda count=count: len(farm.connection.started) == count)  # type: ignore[misc]
        await next_turn()
        assert farm.master.steps(1)[-1]["complete"] is False and len(farm.master.steps(1)) == count + 1
        farm.connection.end(0)
    await farm.ended()
    assert [step["results"] for step in farm.master.steps(1)[1:]] == [SUCCESS, FAILURE, EXCEPTION]
    for stepid in (2, 3):
        assert farm.master.text(stepid) == "ohello\nhprogram finished with exit code 0\n"
    assert "no way" in farm.master.text(4, "err.text")


async def test_step_that_handles_errors_of_commands() -> None:
    """What a step makes of the errors of its commands is its own business, however it waits for them."""

    def bad(step: Any) -> Deferred[Any]:
        command: Deferred[Any] = step.runCommand(RemoteCommand("bad", {}))
        return command

    async def gathers(step: Any) -> int:
        with pytest.raises(FirstError):
            await gatherResults([bad(step), bad(step)])
        return SUCCESS

    async def awaits(step: Any) -> int:
        with pytest.raises(RemoteError):
            await bad(step)
        return SUCCESS

    @inlineCallbacks
    def helper(step: Any) -> Generator[Deferred[Any], Any, int]:
        try:
            yield bad(step)
        except RemoteError:
            return WARNINGS
        return SUCCESS

    _, rows = await run(
        Own(gathers), Own(awaits), Own(helper), script=lambda name, args: ([("failure", "no way")], None)
    )
    assert [row["results"] for row in rows] == [SUCCESS, SUCCESS, WARNINGS]


async def test_waits_side_by_side() -> None:
    """A step that waits for two things at once is stopped in both."""
    waits: list[Deferred[None]] = [Deferred(), Deferred()]

    async def work(step: Any) -> int:
        await gatherResults([Deferred.fromCoroutine(step.wait(each)) for each in waits], consumeErrors=True)
        return SUCCESS

    farm = StepHarness(Own(work))
    await farm.start()
    await farm.build()
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.steps(1)[1]["results"] == CANCELLED and all(each.called for each in waits)


async def test_finished_log_of_a_command() -> None:
    """A command whose log is finished gets another one of this name; nothing that it prints is lost."""

    async def own(step: Any) -> int:
        log = await step.addLog("stdio")
        await log.addStdout("mine\n")
        await log.finish()
        await step.runCommand(RemoteCommand("shell", {}))
        return SUCCESS

    async def closing(step: Any) -> int:
        for logfile in ("stdio", None):
            command = RemoteCommand("shell", {})
            if logfile is not None:
                command.useLog(await step.addLog("stdio"), closeWhenFinished=True)
            await step.runCommand(command)
        return SUCCESS

    farm, _ = await run(Own(own), Own(closing))
    output = "ohello\nhprogram finished with exit code 0\n"
    for stepid, texts in ((2, ["omine\n", output]), (3, [output, output])):
        logs = farm.master.get("steps", stepid, "logs")
        assert [(log["name"], log["slug"], log["complete"]) for log in logs] == [
            ("stdio", "stdio", True), ("stdio", "stdio_2", True)
        ]  # fmt: skip
        assert [farm.master.get("logs", log["logid"], "contents")["content"] for log in logs] == texts


async def test_shell_mixin() -> None:
    """A user's step that makes its own shell commands."""

    class Twice(ShellMixin, BuildStep):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

        async def run(self) -> int:
            first = await self.makeRemoteShellCommand(command=["a", ["b", "c"]], collectStdout=True)
            await self.runCommand(first)
            second = await self.makeRemoteShellCommand(command=first.stdout, workdir="other")
            return (await self.runCommand(second)).results()

    farm = StepHarness(
        Twice(env={"X": Property("workername"), "PATH": ["/a", "/b"]}, timeout=5), env={"X": "0", "Y": "1"}
    )
    await farm.run()
    (_, first), (_, second) = farm.connection.started
    assert first["command"] == ["a", "b", "c"] and first["workdir"] == "build" and first["timeout"] == 5
    assert first["env"] == {"X": "w", "Y": "1", "PATH": ["/a", "/b"]}
    assert second["command"] == "hello\n" and second["workdir"] == "other"
    assert farm.master.text(2) == "ohello\nhprogram finished with exit code 0\n" * 2
    with pytest.raises(ConfigErrors, match="argument 'command' is not allowed"):
        Twice(command="x")


async def test_logfiles() -> None:
    """Watched files have logs of their own, after that of the command; a lazy one appears with its first line."""
    script = [("log", ("a", "1\n")), ("log", ("b", "2\n")), ("stdout", "3\n"), ("log", ("nobody asked", "4\n"))]
    farm, _ = await run(
        ShellCommand(
            command="x", logfiles={"a": "a.log", "b": {"filename": "b.log", "follow": True}}, lazylogfiles=True
        ),
        ShellCommand(command="x", logfiles={"c": "c.log"}),
        script=lambda name, args: (script, 0),
    )
    assert (farm.master.text(2, "a"), farm.master.text(2, "b"), farm.master.text(2)) == (
        "o1\n", "o2\n", "o3\nhprogram finished with exit code 0\n"
    )  # fmt: skip
    for stepid, names in ((2, ["stdio", "a", "b"]), (3, ["stdio", "c"])):
        assert [log["name"] for log in farm.master.get("steps", stepid, "logs")] == names


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (ShellCommand(command="make"), "'make': exit code 1 (failure)"),
        (ShellCommand(command="make all -j 4"), "'make all ...': exit code 1 (failure)"),
        (ShellCommand(command=["make", ("obfuscated", "secret", "xxx")]), "'make xxx': exit code 1 (failure)"),
        (
            ShellCommand(command="x", description="doing", descriptionDone=["did", "it"]),
            "did it: exit code 1 (failure)",
        ),
        (Compile(), "compile: exit code 1 (failure)"),
    ],
)
async def test_shell_texts(step: Any, text: str) -> None:
    """A command is shown by its first words, or as its description says."""
    _, (row,) = await run(step, script=lambda name, args: ([], 1))
    assert row["state_string"] == text


@pytest.mark.parametrize(
    ("reason", "rc", "text", "timed_out"),
    [
        ("timeout_without_output", -1, "'x': timed out after 7 s without output (failure)", True),
        ("timeout", -1, "'x': timed out after 8 s (failure)", True),
        ("max_lines_failure", -1, "'x': killed after 9 lines of output (failure)", False),
        (None, -1, "'x': killed by a signal (failure)", False),
        (None, 3, "'x': exit code 3 (failure)", False),
        (None, 4, "'x': exit code 4 (warnings)", False),
        (None, 5, "'x'", False),
    ],
)
async def test_why_it_failed(reason: str | None, rc: int, text: str, timed_out: bool) -> None:
    """The exit code, or why the command was killed, is said in the step's text and in the log's last line."""
    seen = []

    class Looks(ShellCommand):
        async def run(self) -> int:
            results = await super().run()
            seen.append(self.timed_out)
            return results

    step = Looks(command="x", timeout=7, maxTime=8, max_lines=9, decodeRC={0: SUCCESS, 4: WARNINGS, 5: SUCCESS})
    output = [("stdout", "a\nunfinished"), *([("failure_reason", reason)] if reason else [])]
    farm, (row,) = await run(step, script=lambda name, args: (output, rc))
    assert (row["state_string"], seen) == (text, [timed_out])
    assert farm.master.text(2).splitlines() == ["oa", "ounfinished", f"hprogram finished with exit code {rc}"]


async def test_build_names_its_failed_step() -> None:
    """The build's text calls a failed step by its name, if it has one, or by its description."""
    for step, text in (
        (ShellCommand(name="pytest", command="bash -c x"), "failed pytest: exit code 3 (failure)"),
        (ShellCommand(name=Interpolate("%(prop:workername)s-t"), command="x"), "failed w-t: exit code 3 (failure)"),
        (ShellCommand(command="bash -c x"), "failed 'bash -c ...': exit code 3 (failure)"),
        (ShellCommand(name="pytest", command="x", descriptionDone="tests"), "failed tests: exit code 3 (failure)"),
        (Own(lambda step: FAILURE, name="deploy"), "failed deploy (failure)"),
    ):
        farm, (row,) = await run(step, script=lambda name, args: ([], 3))
        assert farm.master.build(1)["state_string"] == text
    assert row["state_string"] == "finished (failure)"
    both = [ShellCommand(command=["a"]), ShellCommand(command=["b"]), ShellCommand(name="c", command=["c"])]
    farm, _ = await run(*both, ShellCommand(name="c", command=["d"]), script=lambda name, args: ([], 3))
    code = "exit code 3 (failure)"
    assert farm.master.build(1)["state_string"] == f"failed 'a': {code} 'b': {code} c: {code} c_1: {code}"


async def test_step_that_finishes_its_own_log() -> None:
    """Finishing a log twice is harmless, also while the first finish is under way; adding to it then is an error."""

    async def work(step: Any) -> int:
        log = await step.addLog("l")
        await log.addStdout("x\n")
        first, second = log.finish(), log.finish()
        await first
        await second
        await log.finish()
        if step.name == "late":
            await log.addStdout("y\n")
        return SUCCESS

    farm, (row, late) = await run(Own(work), Own(work, name="late"))
    assert row["results"] == SUCCESS and farm.master.text(2, "l") == "ox\n"
    assert len(farm.master.of("finishLog")) == 2 and len(farm.master.of("newCompleteLog")) == 1
    assert late["results"] == EXCEPTION
    assert "log 'l' is finished, nothing can be added" in farm.master.text(3, "err.text")


async def test_calls_that_are_not_awaited() -> None:
    """Links, logs and data that a step does not wait for belong to it all the same, in the order of the calls."""
    started: list[Deferred[None]] = []

    async def work(step: Any) -> int:
        step.addURL("one", "http://one/")
        step.addURL("two", "http://two/")
        step.addCompleteLog("text", "t\n")
        step.addHTMLLog("html", "<b>")
        step.setBuildData("data", b"x", "own")
        return SUCCESS

    farm = StepHarness(Own(work), Own(lambda step: SUCCESS))
    update = farm.master.data.update
    add_url = update.addStepURL

    async def slow(*args: Any) -> None:
        waiting: Deferred[None] = Deferred()
        started.append(waiting)
        await waiting
        await add_url(*args)

    update.addStepURL = lambda *args: Deferred.fromCoroutine(slow(*args))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: bool(farm.master.of("setBuildData")))
    assert farm.master.of("finishStep")[1:] == []
    for each in started:
        each.callback(None)
    await farm.ended()
    row = farm.master.steps(1)[1]
    assert row["results"] == SUCCESS and [url["name"] for url in row["urls"]] == ["one", "two"]
    assert (farm.master.text(2, "text"), farm.master.text(2, "html")) == ("t\n", "<b>\n")


async def test_failed_call_that_is_not_awaited() -> None:
    """The failure of such a call ends the step with an exception; one that the step took itself does not."""

    async def careless(step: Any) -> int:
        step.setBuildData("no/good", b"x", "own")
        return SUCCESS

    async def careful(step: Any) -> int:
        with pytest.raises(ValueError, match="no/good"):
            await step.setBuildData("no/good", b"x", "own")
        return SUCCESS

    farm, (bad, good) = await run(Own(careless), Own(careful, alwaysRun=True))
    assert (bad["results"], good["results"]) == (EXCEPTION, SUCCESS)
    assert "no/good" in farm.master.text(2, "err.text")


@pytest.mark.parametrize("what", ["hide", "summary", "log", "properties"])
async def test_exception_is_always_explained(what: str) -> None:
    """The reason of EXCEPTION is in the step's log err.text, also for a failure after its run."""

    class Odd(BuildStep):
        name = "odd"

        async def run(self) -> int:
            self.setProperty("x", 1)
            await (await self.addLog("l")).addStdout("x\n")
            return SUCCESS

        def getResultSummary(self) -> Any:
            return {"step": "odd"} if what != "summary" else 1 / 0

    farm = StepHarness(Odd(hideStepIf=lambda results, step: 1 / 0 if what == "hide" else False))
    update = farm.master.data.update
    broken: dict[str, tuple[str, Callable[..., bool]]] = {
        "log": ("finishLog", lambda logid, text: logid == 1),
        "properties": ("setBuildProperties", lambda buildid, properties: "x" in properties),
    }
    if what in broken:
        method, condition = broken[what]
        works = getattr(update, method)
        setattr(update, method, lambda *args: 1 / 0 if condition(*args) else works(*args))
    await farm.run()
    row = farm.master.steps(1)[1]
    assert row["results"] == EXCEPTION and row["complete"]
    assert row["state_string"] == ("finished (exception)" if what == "summary" else "odd")
    assert farm.master.text(2, "err.text").count("ZeroDivisionError: division by zero") == 1


async def test_skipped_step_with_renderables() -> None:
    """A step that does not run is shown with its descriptions, or without those that cannot be rendered."""
    bad = renderer(lambda props: props["nothing"])
    _, steps = await run(
        ShellCommand(command=["x", Property("workername")], doStepIf=False),
        ShellCommand(command="x", doStepIf=False, descriptionDone=Interpolate("on %(prop:workername)s")),
        ShellCommand(command=["x", bad], doStepIf=False, name="named"),
        ShellCommand(command="x", doStepIf=False, description=[bad]),
    )
    assert [(step["results"], step["state_string"]) for step in steps] == [
        (SKIPPED, "'x w' (skipped)"),
        (SKIPPED, "on w (skipped)"),
        (SKIPPED, "finished (skipped)"),
        (SKIPPED, "'x' (skipped)"),
    ]


async def test_log_observers() -> None:
    """Each kind of observer gets the command's output, added before the log or after."""
    seen: list[Any] = []

    class Whole(LogObserver):
        def outReceived(self, data: str) -> None:
            seen.append(("out", data, self.step.name, self.log and self.log.name))

        def finishReceived(self) -> None:
            seen.append("end")

    class Lines(LogLineObserver):
        def outLineReceived(self, line: str) -> None:
            seen.append(("line", line))

        def headerLineReceived(self, line: str) -> None:
            seen.append(("header", line))

    class Broken(LogLineObserver):
        def outLineReceived(self, line: str) -> None:
            raise ZeroDivisionError

    def consume() -> Generator[None, tuple[str, str], None]:
        try:
            while True:
                seen.append((yield))
        finally:
            seen.append("closed")

    class Observed(ShellMixin, BuildStep):
        name = "observed"

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs))
            self.buffer = BufferLogObserver(wantStderr=True)
            for observer in (Broken(), Whole(), Lines(), LineConsumerLogObserver(consume)):
                self.addLogObserver("stdio", observer)

        async def run(self) -> int:
            await self.addLog("stdio")
            self.addLogObserver("stdio", self.buffer)
            results: int = (await self.runCommand(await self.makeRemoteShellCommand())).results()
            seen.append((self.buffer.getStdout(), self.buffer.getStderr()))
            return results

    _, (row,) = await run(
        Observed(command="x"), script=lambda name, args: ([("stdout", "a\nb"), ("stderr", "c\n"), ("stdout", "\n")], 0)
    )
    assert row["results"] == SUCCESS
    ended = "program finished with exit code 0"
    assert [each for each in seen if each[0] == "out"] == [
        ("out", "a\n", "observed", "stdio"),
        ("out", "b\n", "observed", "stdio"),
    ]
    assert [each for each in seen if each[0] in ("line", "header")] == [("line", "a"), ("line", "b"), ("header", ended)]
    assert [each for each in seen if len(each) == 2 and each[0] in ("o", "e", "h")] == [
        ("o", "a"),
        ("e", "c"),
        ("o", "b"),
        ("h", ended),
    ]
    assert ("a\nb\n", "c\n") in seen and "end" in seen and "closed" in seen


async def test_log_observer_of_text() -> None:
    """For an observer the text of a log of another type is output; lines come whole."""
    buffer = BufferLogObserver()

    async def work(step: Any) -> int:
        step.addLogObserver("notes", buffer)
        log = await step.addLog("notes", "t")
        await log.addContent("one\ntw")
        await log.addContent("o")
        await log.flush()
        await log.addContent("three")
        return SUCCESS

    farm, _ = await run(Own(work))
    assert buffer.getStdout() == "one\ntwo\nthree\n" and buffer.getStderr() == ""
    assert farm.master.text(2, "notes") == "one\ntwo\nthree\n"


async def test_command_set_later() -> None:
    """A subclass may set the command after ShellCommand's own part; without one it is an error of the configuration."""

    class After(ShellCommand):
        def __init__(self, target: str | None = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            if target is not None:
                self.command = ["make", target]

    class InRun(ShellCommand):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)

        async def run(self) -> int:
            if self.getProperty("nothing") is None and self.name == "in_run":
                self.command = ["late"]
            return await super().run()

    farm, rows = await run(After("all"), InRun(name="in_run"), InRun(name="never"))
    assert [args["command"] for _, args in farm.connection.started] == [["make", "all"], ["late"]]
    assert [row["results"] for row in rows] == [SUCCESS, SUCCESS, EXCEPTION]
    assert "has no command" in farm.master.text(4, "err.text")
    for wrong in (After, WarningCountingShellCommand):
        with pytest.raises(ConfigErrors, match=f"{wrong.__name__} needs a command"):
            BuildFactory([wrong()])


@pytest.mark.parametrize("what", ["start", "end", "interrupt", "held back"])
async def test_agent_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A build can be stopped though its agent answers neither the start nor the stop of a command, or never ends it."""
    monkeypatch.setattr("buildbot.process.remotecommand.STOP_TIMEOUT_S", 0)
    farm = StepHarness(ShellCommand(command="x"))
    await farm.start()
    connection: Any = farm.connection

    async def silent(*args: Any) -> None:
        lost: Deferred[None] = Deferred()
        connection.on_lost(lambda reason: lost.errback(WorkerLostError(reason)))
        await lost

    async def start(builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        farm.master.note("started")
        if what == "start":
            await silent()

    async def interrupt(builder: str, command_id: str, why: str) -> None:
        if what == "interrupt":
            await silent()

    connection.start_command, connection.interrupt_command = start, interrupt
    await farm.build()
    await farm.master.until(lambda: bool(farm.master.of("started")))
    if what == "held back":  # its answer may be among what the master does not read now
        connection.hold_back(True)
    await farm.master.stop_build(1, "enough")
    if what == "held back":
        for _ in range(3):
            await deferLater(farm.master.reactor, 0, lambda: None)
        assert not connection.lost and farm.builder.running
        connection.hold_back(False)
    await farm.ended()
    row = farm.master.build(1)
    assert (row["results"], row["state_string"]) == (CANCELLED, "cancelled: enough")
    assert connection.lost


@pytest.mark.parametrize(
    ("news", "text"),
    [
        ([("rc", "0")], "the worker sent '0' as the exit status, not a number"),
        ([("rc", None)], "the worker sent None as the exit status, not a number"),
        ([("stdout", None)], "the worker sent None as stdout, not a text"),
        ([("header", 5)], "the worker sent 5 as header, not a text"),
        ([("log", "x")], "the worker sent 'x' as log, not a name and a text"),
        ([("log", ("a", b"x"))], "as log, not a name and a text"),
        ([("odd", "x" * 1000)] * 300, "characters of 'odd'"),
        ([(f"odd{number}", None) for number in range(5000)], "characters of 'odd"),
        ([("stdout", "x" * 1000 + "\n")] * 300, "characters of output, too many to be collected"),
    ],
)
async def test_agent_that_reports_rubbish(monkeypatch: pytest.MonkeyPatch, news: Any, text: str) -> None:
    """Invalid messages, or too many, fail the command, and the agent is asked to stop it."""
    monkeypatch.setattr("buildbot.process.remotecommand.MAX_NEWS_CHARS", 200_000)
    monkeypatch.setattr("buildbot.process.remotecommand.MAX_COLLECTED_CHARS", 200_000)
    farm, (row,) = await run(SetPropertyFromCommand(command="x", property="p"), script=lambda name, args: (news, 0))
    assert row["results"] == EXCEPTION and "p" not in farm.master.build(1)["properties"]
    assert text in farm.master.text(2, "err.text")


async def test_decode_rc() -> None:
    """Exit statuses may mean other results; a command that ends without one has failed."""
    for rc, results in ((0, SUCCESS), (3, WARNINGS), (1, FAILURE)):
        _, (row,) = await run(
            ShellCommand(command="x", decodeRC={0: SUCCESS, 3: WARNINGS}), script=lambda name, args, rc=rc: ([], rc)
        )
        assert row["results"] == results
    _, (row,) = await run(ShellCommand(command="x"), script=lambda name, args: ([("failure", None)], None))
    assert row["results"] == FAILURE


async def test_warnings() -> None:
    """Warnings in the output are counted, logged and summed over the build."""
    output = [("header", "warning: not this\n"), ("stdout", "a.c:1: warning: x\nok\n"), ("stderr", "WARNING: y\n")]
    farm, steps = await run(
        Compile(),
        Compile(maxWarnCount=1, haltOnFailure=False),
        Test(warningPattern="^ok"),
        Test(),
        script=lambda name, args: (output, 0),
    )
    assert [step["results"] for step in steps] == [WARNINGS, FAILURE, WARNINGS, SUCCESS]
    assert farm.master.text(2, "warnings (2)") == "a.c:1: warning: x\nWARNING: y\n"
    assert farm.master.build(1)["properties"]["warnings-count"][0] == 5


async def test_set_property_from_command() -> None:
    """A property from a command's output, or several by a function."""
    output = [("stdout", " out \n"), ("stderr", "err\n")]
    farm, _ = await run(
        SetPropertyFromCommand(command="x", property="a"),
        SetPropertyFromCommand(command="x", property=Interpolate("b%(prop:a)s"), strip=False, includeStderr=True),
        SetPropertyFromCommand(command="x", extract_fn=lambda rc, out, err: {"c": [rc, out, err]}),
        SetProperties(properties={"d": Property("a")}),
        script=lambda name, args: (output, 0),
    )
    values = {name: value for name, (value, _) in farm.master.build(1)["properties"].items()}
    assert (values["a"], values["bout"], values["d"]) == ("out", " out \nerr\n", "out")
    assert values["c"] == [0, " out \n", "err\n"]
    assert farm.master.text(2, "property changes") == "a: 'out'\n"


async def test_failed_command_sets_no_property() -> None:
    """The output of a failed command is not a value, unless a function wants it."""
    farm, steps = await run(
        SetPropertyFromCommand(command="x", property="a"),
        SetPropertyFromCommand(command="x", extract_fn=lambda rc, out, err: {"c": rc}),
        script=lambda name, args: ([], 1),
    )
    properties = farm.master.build(1)["properties"]
    assert "a" not in properties and properties["c"][0] == 1
    assert [step["results"] for step in steps] == [FAILURE, FAILURE]


async def test_command_mixin() -> None:
    """Work with files on the worker."""

    class Files(CommandMixin, BuildStep):
        async def run(self) -> int:
            await self.runMkdir("d")
            there = await self.pathExists("d")
            await self.runRmdir("d")
            self.setProperty("there", there)
            await self.runRemoteCommand("rmfile", {"path": "x"})
            return SUCCESS

    farm, (step,) = await run(Files(), script=lambda name, args: ([], 0 if name in ("mkdir", "rmdir") else 2))
    assert [name for name, _ in farm.connection.started] == ["mkdir", "stat", "rmdir", "rmfile"]
    assert step["state_string"] == "rmfile failed (failure)"
    assert farm.master.build(1)["properties"]["there"][0] is False


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ShellCommand(command="x", haltOnFailur=True), "ShellCommand: unknown argument 'haltOnFailur'"),
        (lambda: ShellCommand(), "ShellCommand needs a command"),
        (lambda: ShellCommand(command=3), "command must be a text, a list or a renderable, not 3"),
        (
            lambda: ShellCommand(command="x", interruptSignal="SIGTERM"),
            "interruptSignal must be the name of a signal without 'SIG', or its number, not 'SIGTERM'",
        ),
        (lambda: ShellCommand(command="x", name=3), "name must be a string, not 3 (int)"),
        (lambda: SetPropertyFromCommand(command="x"), "needs either property or extract_fn"),
        (lambda: BuildFactory([ShellCommand]), "a step must be an instance"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)


async def test_step_that_stands_in_for_another() -> None:
    """A step may make another one, hand it its build, master and worker, and run it."""

    class Leader(BuildStep):
        name = "leader"

        async def run(self) -> int:
            part = SetProperties(properties={"part": 1})
            part.build, part.master, part.worker = self.build, self.master, self.worker
            assert (part.build, part.master, part.worker) == (self.build, self.build.master, self.build.worker)
            return await part.run()

    farm, (row,) = await run(Leader())
    assert row["results"] == SUCCESS and farm.master.build(1)["properties"]["part"][0] == 1


def test_no_files_of_secrets() -> None:
    """``withSecrets`` without files adds nothing."""
    factory = BuildFactory()
    factory.addSteps([ShellCommand(command="a")], withSecrets=None)
    factory.addSteps([ShellCommand(command="b")], withSecrets=[])
    with factory.withSecrets([]):
        factory.addStep(ShellCommand(command="c"))
    assert len(factory.steps) == 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("haltOnFailure", lambda step: True),
        ("alwaysRun", bool),
        ("updateBuildSummaryPolicy", Property("x")),
        ("updateBuildSummaryPolicy", 2),
    ],
)
def test_wrong_flags(argument: str, value: Any) -> None:
    """A function would be a silent yes, and a renderable a policy that cannot be asked."""
    with pytest.raises(ConfigErrors, match=f"ShellCommand: {argument} must be (True, False|known when)"):
        ShellCommand(command="x", **{argument: value})


@pytest.mark.parametrize("workdir", [None, 5, ["a"]])
def test_wrong_workdir_of_a_factory(workdir: Any) -> None:
    """A directory that can be none is an error of the configuration."""
    factory = BuildFactory([ShellCommand(command="a")])
    factory.workdir = workdir
    with pytest.raises(ConfigErrors, match=r"factory\.workdir must be a text, a renderable or a function, not"):
        BuilderConfig(name="b", workernames=["w"], factory=factory)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"mode": "fresh"}, "mode must be one of 'incremental', 'full', not 'fresh'"),
        ({"method": "fast"}, "method must be one of 'clobber', 'fresh', 'clean', 'copy', not 'fast'"),
        ({"mode": "full", "method": "fast"}, "method must be one of"),
        ({"getDescription": "yes"}, "getDescription must be True, False or a dictionary, not 'yes'"),
        ({"getDescription": {"tag": True}}, "getDescription has no 'tag'; it has abbrev, all,"),
        ({"shallow": "deep"}, "shallow must be True, False or a number of commits, not 'deep'"),
        ({"shallow": -1}, "shallow must be True, False or a number of commits, not -1"),
        ({"retry": 5}, "retry must be .seconds, times., not 5"),
        ({"repourl": ""}, "Git: repourl must be the address of a repository"),
        ({"repourl": 5}, "Git: repourl must be a string, not 5"),
    ],
)
def test_git_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments of Git are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        Git(**{"repourl": "/r", **arguments})


def test_git_arguments_of_existing_configurations() -> None:
    """Arguments that 4.3 accepts are accepted: a method without mode full, renderables."""
    Git(repourl=Property("url"), method="clobber", progress=True, getDescription={}, retryFetch=True, tags=True)
    Git(repourl=Interpolate("%(prop:url)s"), mode=Property("mode"), method=Property("method"))
    Git(repourl="/r", shallow=Property("depth"), submodules=Property("s") == 1, retry=Property("r"), tags=Property("t"))


@pytest.mark.parametrize(
    ("problem", "results"),
    [
        (OperationalError("INSERT", {}, Exception("database or disk is full")), RETRY),
        (OutcomeUnknownError("nobody tells"), RETRY),
        (IntegrityError("INSERT", {}, Exception("no")), EXCEPTION),
        (ValueError("no"), EXCEPTION),
    ],
    ids=repr,
)
async def test_values_that_cannot_be_stored(problem: Exception, results: int) -> None:
    """A step whose log cannot be written, since the database is away or full, is RETRY; a mistake is EXCEPTION."""

    async def work(step: Any) -> int:
        await step.addCompleteLog("all", "text\n")
        return SUCCESS

    farm = StepHarness(Own(work))
    update = farm.master.data.update
    refused = [problem]
    real = update.newCompleteLog

    def new_log(*args: Any) -> Any:
        return fail(refused.pop()) if refused else real(*args)

    update.newCompleteLog = new_log
    assert (await farm.run())["results"] == results
