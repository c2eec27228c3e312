"""Steps: what users' own steps can do, and how they end."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from buildbot.config.errors import ConfigErrors
from buildbot.process.buildstep import BuildStep, BuildStepCancelled, BuildStepFailed, CommandMixin, ShellMixin
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Interpolate, Property, renderer, resolved
from buildbot.process.remotecommand import RemoteCommand
from buildbot.steps.master import SetProperties
from buildbot.steps.shell import Compile, SetPropertyFromCommand, ShellCommand, Test
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SKIPPED, SUCCESS, WARNINGS
from tests.unit.process.scripted import Farm


class Own(BuildStep):
    """Calls a function as its work."""

    name = "own"

    def __init__(self, work: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.work = work

    async def run(self) -> int:
        outcome: int = await resolved(self.work(self))
        return outcome


async def run(*steps: Any, script: Any = None) -> tuple[Farm, list[dict[str, Any]]]:
    """Run the steps in a build; their rows."""
    farm = Farm(*steps, script=script)
    await farm.run()
    return farm, farm.master.steps(1)[1:]


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
    """What run() returns or raises decides; what was not expected goes to a log err.text."""
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
    """A step may end by raising; that is no exception in the build's sense."""

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
    """A step that is not to run is there as skipped, and leaves the build's result alone."""
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

    farm = Farm(Own(work))
    await farm.start()
    await farm.build()
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.steps(1)[1]["results"] == CANCELLED and never.called


async def test_shell_mixin() -> None:
    """A user's step that makes its own shell commands."""

    class Twice(ShellMixin, BuildStep):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command"]))

        async def run(self) -> int:
            first = await self.makeRemoteShellCommand(command=["a", ["b", "c"]], collectStdout=True)
            await self.runCommand(first)
            second = await self.makeRemoteShellCommand(command=first.stdout, workdir="other")
            return await self.runCommand(second)

    farm = Farm(Twice(env={"X": Property("workername"), "PATH": ["/a", "/b"]}, timeout=5), env={"X": "0", "Y": "1"})
    await farm.run()
    (_, first), (_, second) = farm.connection.started
    assert first["command"] == ["a", "b", "c"] and first["workdir"] == "build" and first["timeout"] == 5
    assert first["env"] == {"X": "w", "Y": "1", "PATH": ["/a", "/b"]}
    assert second["command"] == "hello\n" and second["workdir"] == "other"
    assert farm.master.text(2) == "ohello\nohello\n"
    with pytest.raises(ConfigErrors, match="argument 'command' is not allowed"):
        Twice(command="x")


async def test_logfiles() -> None:
    """Watched files have logs of their own; a lazy one appears with its first line."""
    script = [("log", ("a", "1\n")), ("log", ("b", "2\n")), ("stdout", "3\n"), ("log", ("nobody asked", "4\n"))]
    farm, _ = await run(
        ShellCommand(
            command="x", logfiles={"a": "a.log", "b": {"filename": "b.log", "follow": True}}, lazylogfiles=True
        ),
        ShellCommand(command="x", logfiles={"c": "c.log"}),
        script=lambda name, args: (script, 0),
    )
    assert (farm.master.text(2, "a"), farm.master.text(2, "b"), farm.master.text(2)) == ("o1\n", "o2\n", "o3\n")
    assert [log["name"] for log in farm.master.get("steps", 3, "logs")] == ["c", "stdio"]


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (ShellCommand(command="make"), "'make' (failure)"),
        (ShellCommand(command="make all -j 4"), "'make all ...' (failure)"),
        (ShellCommand(command=["make", ("obfuscated", "secret", "xxx")]), "'make xxx' (failure)"),
        (ShellCommand(command="x", description="doing", descriptionDone=["did", "it"]), "did it (failure)"),
        (Compile(), "compile (failure)"),
    ],
)
async def test_shell_texts(step: Any, text: str) -> None:
    """A command is shown by its first words, or as its description says."""
    _, (row,) = await run(step, script=lambda name, args: ([], 1))
    assert row["state_string"] == text


async def test_killed_by_timeout() -> None:
    """Why the worker killed a command is said."""
    _, (row,) = await run(
        ShellCommand(command="x", timeout=7),
        script=lambda name, args: ([("failure_reason", "timeout_without_output")], -1),
    )
    assert row["state_string"] == "'x' killed: no output for 7 s (failure)"


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
        (lambda: ShellCommand(command="x", interruptSignal="SIGTERM"), "no signal 'SIGTERM'"),
        (lambda: ShellCommand(command="x", name=3), "the name must be a text or a renderable, not 3"),
        (lambda: SetPropertyFromCommand(command="x"), "needs either property or extract_fn"),
        (lambda: BuildFactory([ShellCommand]), "a step must be an instance"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)
