"""Methods of steps, logs, commands and builds that existing plugins call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.interfaces import WorkerSetupError
from buildbot.process import results as public_results
from buildbot.process.buildstep import BuildStep, CommandMixin, ShellMixin
from buildbot.process.log import HtmlLog, Log, StreamLog, TextLog
from buildbot.process.logobserver import BufferLogObserver, OutputProgressObserver
from buildbot.process.remotecommand import RemoteCommand
from buildbot.steps.shell import ShellCommand
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS
from tests.support.steps import Own, run

Script = Callable[[str, dict[str, Any]], Any]


async def test_statistics() -> None:
    """A step keeps values for later steps; the build puts those of one name together."""
    seen: list[Any] = []

    def count(step: Any) -> int:
        step.setStatistic("tests", 3 if step.name == "own" else 4)
        step.setStatistic("name", step.name)
        return SUCCESS

    def look(step: Any) -> int:
        seen.append(step.build.getSummaryStatistic("tests", lambda a, b: a + b))
        seen.append(step.build.getSummaryStatistic("tests", lambda a, b: a + b, 10))
        seen.append(step.build.getSummaryStatistic("name", lambda a, b: f"{a},{b}"))
        seen.append(step.build.getSummaryStatistic("none", lambda a, b: a + b))
        seen.append((step.hasStatistic("tests"), step.getStatistic("tests", 9), step.getStatistics()))
        step.setStatistic("x", 1)
        seen.append((step.hasStatistic("x"), step.getStatistic("x"), step.getStatistics()))
        return SUCCESS

    await run(Own(count), Own(count), Own(look))
    assert seen == [7, 17, "own,own_1", None, (False, 9, {}), (True, 1, {"x": 1})]


async def test_progress() -> None:
    """Progress has declared metrics only; observers report the length of a log."""

    class Counting(ShellCommand):
        progressMetrics = ("output",)

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.addLogObserver("stdio", OutputProgressObserver("output"))

        async def run(self) -> int:
            results = await super().run()
            self.setProperty("chars", self.progress.values["output"])
            self.setProgress("tests", 1)
            return results

    farm, (row,) = await run(
        Counting(command="x"),
        script=lambda name, args: ([("stdout", "abc\n"), ("stderr", "de\n"), ("header", "f\n")], 0),
    )
    assert farm.master.build(1)["properties"]["chars"][0] == 7
    assert row["results"] == EXCEPTION
    assert "do not have 'tests'; they have output" in farm.master.text(2, "err.text")


async def test_expected_seconds() -> None:
    """How long a step takes is known from the last builds of its builder in which it ended well."""
    expected: list[Any] = []

    async def work(step: Any) -> int:
        expected.append(await step.expectedSeconds())
        return SUCCESS

    farm = StepHarness(Own(work), Own(work, name="other", useProgress=False))
    await farm.start()
    for _ in range(3):
        await farm.build()
        await farm.ended()
    assert expected[:2] == [None, None] and expected[3] is expected[5] is None
    took = farm.master.steps(1)[1]
    assert expected[2] == took["complete_at"] - took["started_at"]


async def test_log_with_failure() -> None:
    """A failure that does not end the step can be written to logs of its own, as text and as HTML."""

    async def work(step: Any) -> int:
        try:
            raise ZeroDivisionError("<5>")
        except ZeroDivisionError:
            await step.addLogWithFailure(Failure(), "a-")
        step.addLogWithException(KeyError("k"))
        return SUCCESS

    farm, (row,) = await run(Own(work))
    assert row["results"] == SUCCESS
    assert "ZeroDivisionError: <5>" in farm.master.text(2, "a-err.text")
    assert "ZeroDivisionError: &lt;5&gt;" in farm.master.text(2, "a-err.html")
    assert "KeyError: 'k'" in farm.master.text(2, "err.text")
    assert [log["type"] for log in farm.master.get("steps", 2, "logs")] == ["t", "h", "t", "h"]


async def test_logs() -> None:
    """Each type of log has a class; bytes are decoded as the step says; two logs may have one name."""
    logs: list[Any] = []

    async def work(step: Any) -> int:
        logs.extend([await step.addLog(name, type) for name, type in (("s", "s"), ("t", "t"), ("h", "h"), ("s", "s"))])
        await logs[0].addStdout(b"\xe4\n")
        await logs[0].addStderr("b\n")
        await logs[0].addHeader("c\n")
        await logs[1].addContent("d")
        await logs[3].addStdout("second\n")
        await step.addCompleteLog("bytes", b"\xfc")
        assert logs[0].decoder(b"\xdf") == "ß" and logs[0].getName() == "s" and not logs[0].had_errors()
        return SUCCESS

    farm, (row,) = await run(Own(work, logEncoding="latin-1"))
    assert row["results"] == SUCCESS
    assert [type(log) for log in logs] == [StreamLog, TextLog, HtmlLog, StreamLog]
    assert all(isinstance(log, Log) for log in logs)
    rows = farm.master.get("steps", 2, "logs")
    assert all(log["complete"] for log in rows)
    assert sorted((log["name"], log["slug"]) for log in rows) == [
        ("bytes", "bytes"), ("h", "h"), ("s", "s"), ("s", "s_2"), ("t", "t")
    ]  # fmt: skip
    texts = {log["slug"]: farm.master.get("logs", log["logid"], "contents")["content"] for log in rows}
    assert texts["s"] == "oä\neb\nhc\n" and texts["s_2"] == "osecond\n"
    assert (texts["t"], texts["bytes"]) == ("d\n", "ü\n")


async def test_wrong_log_type() -> None:
    """A log of a type that does not exist says which there are."""

    async def work(step: Any) -> int:
        await step.addLog("x", "x")
        return SUCCESS

    farm, (row,) = await run(Own(work))
    assert row["results"] == EXCEPTION
    assert "there are logs of the types s, t, h, not 'x'" in farm.master.text(2, "err.text")


async def test_versions_of_commands() -> None:
    """A step asks for the worker's commands; a missing one ends the step with the reason."""
    seen: list[Any] = []

    async def work(step: Any) -> int:
        step.build.connection.info["worker_commands"] = {"shell": "3.3", "old": "2.16"}
        seen.extend([step.workerVersion("shell"), step.workerVersion("none"), step.workerVersion("none", "1.0")])
        seen.extend(step.workerVersionIsOlderThan("old", version) for version in ("2.9", "2.16", "2.17", "3"))
        seen.append(step.workerVersionIsOlderThan("none", "0.1"))
        seen.append(step.getWorkerName())
        step.checkWorkerHasCommand("shell")
        step.checkWorkerHasCommand("none")
        return SUCCESS

    farm, (row,) = await run(Own(work))
    assert seen == ["3.3", None, None, False, False, True, True, True, "w"]
    assert row["results"] == EXCEPTION and WorkerSetupError.__name__ in farm.master.text(2, "err.text")
    assert "worker 'w' does not have the command 'none'" in farm.master.text(2, "err.text")


async def test_descriptions_of_steps() -> None:
    """A step in a configuration can be looked at and changed before builds are made of it."""
    step = ShellCommand(command="x")
    step.set_step_arg("name", "renamed")
    assert step.is_exact_step_class(ShellCommand) and not step.is_exact_step_class(BuildStep)
    made = step.get_step_factory().buildStep()
    assert (made.name, type(made), step.name) == ("renamed", ShellCommand, "shell")
    _, (row,) = await run(step)
    assert row["name"] == "renamed"


async def test_handed_a_build_and_a_worker() -> None:
    """``setBuild`` and ``setWorker`` do what assignments do; properties are those of the build."""

    async def work(step: Any) -> int:
        part = Own(lambda part: SUCCESS if part.getProperties().getProperty("workername") == "w" else FAILURE)
        part.setBuild(step.build)
        part.setWorker(step.worker)
        assert part.worker is step.worker
        outcome: int = await part.run()
        return outcome

    _, (row,) = await run(Own(work))
    assert row["results"] == SUCCESS


async def test_does_a_part_of_the_work_of_another() -> None:
    """A step that another one makes may write to that one's logs."""

    class Outer(BuildStep):
        async def run(self) -> int:
            inner = ShellCommand(command=["inner"], workdir="here")
            inner.build, inner.master, inner.worker, inner.stepid = self.build, self.master, self.worker, self.stepid
            inner.addLog = self.addLog  # type: ignore[method-assign]
            return await inner.run()

    farm = StepHarness(Outer(), script=lambda name, args: ([("stdout", "x\n")], 0))
    await farm.run()
    assert [args["workdir"] for _, args in farm.connection.started] == ["here"]
    assert "ox\n" in farm.master.text(2)


async def test_remote_command() -> None:
    """A command takes logs, also those that are made at the first output, and closes them if asked to."""
    commands: list[RemoteCommand] = []

    async def work(step: Any) -> int:
        command = RemoteCommand("shell", {}, False, True, stdioLogName="out")
        extra = await step.addLog("extra")
        command.useLog(extra, True, "file")
        command.useLogDelayed("lazy", lambda command: step.addLog("made late"), closeWhenFinished=True)
        command.useLogDelayed("never", lambda command: step.addLog("not made"))
        done = await step.runCommand(command)
        assert done is command and not command.active and set(command.logs) == {"file", "lazy", "out"}
        command.addStdout("after\n")
        command.addStderr("error\n")
        command.addHeader("header\n")
        command.addToLog("file", "dropped\n")
        commands.append(command)
        results: int = command.results()
        return results

    news = [("log", ("file", "1\n")), ("log", ("lazy", "2\n")), ("log", ("lazy", "3\n")), ("stdout", "4\n")]
    farm, (row,) = await run(Own(work), script=lambda name, args: (news, 0))
    assert row["results"] == SUCCESS
    assert farm.master.text(2, "extra") == "o1\n" and farm.master.text(2, "made late") == "o2\no3\n"
    assert farm.master.text(2, "out") == "o4\nhprogram finished with exit code 0\noafter\neerror\nhheader\n"
    assert (commands[0].stdout, commands[0].stderr) == ("4\nafter\n", "")
    assert "not made" not in [log["name"] for log in farm.master.get("steps", 2, "logs")]


async def test_ignored_updates() -> None:
    """A command whose news is of no interest keeps the exit status only."""

    async def work(step: Any) -> int:
        command = await step.runCommand(RemoteCommand("stat", {}, ignore_updates=True))
        assert (command.rc, command.updates, command.stdout) == (0, {}, "")
        results: int = command.results()
        return results

    _, (row,) = await run(Own(work), script=lambda name, args: ([("stat", [1]), ("stdout", "x\n")], 0))
    assert row["results"] == SUCCESS


async def test_log_that_cannot_be_made() -> None:
    """A log that cannot be made at the first output does not hold the command back."""

    def fails(command: RemoteCommand) -> Deferred[Any]:
        raise ZeroDivisionError

    async def work(step: Any) -> int:
        command = RemoteCommand("shell", {})
        command.useLogDelayed("lazy", fails)
        results: int = (await step.runCommand(command)).results()
        return results

    _, (row,) = await run(Own(work), script=lambda name, args: ([("log", ("lazy", "2\n"))], 0))
    assert row["results"] == SUCCESS


async def test_shell_wire() -> None:
    """All keys that agents know are in every shell command."""

    class Bare(ShellMixin, BuildStep):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs))

        async def run(self) -> int:
            return (await self.runCommand(await self.makeRemoteShellCommand(command=["a"]))).results()

    farm, _ = await run(Bare(usePTY=None))
    ((_, args),) = farm.connection.started
    assert args == {
        "command": ["a"], "workdir": "build", "env": {}, "want_stdout": True, "want_stderr": True, "logfiles": {},
        "timeout": 1200, "maxTime": None, "max_lines": None, "sigtermTime": None, "usePTY": False, "logEnviron": True,
        "initial_stdin": None, "interruptSignal": "KILL",
    }  # fmt: skip


async def test_command_mixin() -> None:
    """Work with files on the worker, where a failure need not end the step."""
    seen: list[Any] = []

    class Files(CommandMixin, BuildStep):
        async def run(self) -> int:
            seen.append(await self.runMkdir("d", abandonOnFailure=False))
            seen.append(await self.runRmdir("d", abandonOnFailure=False))
            seen.append(await self.runGlob("*.c"))
            await self.runMkdir("d")
            return SUCCESS

    def script(name: str, args: dict[str, Any]) -> Any:
        return ([("files", ["/b.c", 5, "/a.c"])], 0) if name == "glob" else ([], 1)

    _, (row,) = await run(Files(), script=script)
    assert seen == [False, False, ["/b.c", "/a.c"]]
    assert row["state_string"] == "mkdir failed (failure)"


def test_results() -> None:
    """The names and functions of result codes."""
    assert public_results.Results == ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]
    assert list(range(7)) == public_results.ALL_RESULTS
    assert public_results.statusToString(None) == "not finished"
    order = [3, 0, 1, 2, 4, 5, 6]
    for place, code in enumerate(order):
        assert all(public_results.worst_status(code, other) == code for other in order[: place + 1])


@pytest.mark.parametrize("path", ["StreamLog", "Log", "PlainLog", "TextLog", "HtmlLog"])
def test_import_paths(path: str) -> None:
    """Logs can be imported where existing plugins look for them."""
    from buildbot.process import log, logs

    assert getattr(log, path) is getattr(logs, path)


async def test_hooks() -> None:
    """Sets of test results are begun before ``run``; the text for the build is asked for separately."""

    class Hooked(Own):
        async def addTestResultSets(self) -> None:
            self.setid = await self.addTestResultSet("d", "pass_fail", "boolean")

        def getResultSummary(self) -> Any:
            return {"step": "for the step"}

    class Built(Hooked):
        async def getBuildResultSummary(self) -> Any:
            return {**await super().getBuildResultSummary(), "build": "for the build"}

    def work(step: Any) -> int:
        step.addTestResult(step.setid, "1", "t")
        return FAILURE

    farm, rows = await run(Hooked(work), Built(work, name="built"))
    assert [row["state_string"] for row in rows] == ["for the step"] * 2
    assert farm.master.build(1)["state_string"] == "failed for the step for the build"
    assert [each["tests_passed"] for each in farm.master.get("test_result_sets")] == [1, 1]


async def test_buffer_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """An observer that keeps output keeps no more than the memory bears, and does not pretend that this was all."""
    monkeypatch.setattr("buildbot.process.logobserver.MAX_BUFFERED_CHARS", 10)

    async def work(step: Any) -> int:
        kept = BufferLogObserver(wantStderr=True)
        step.addLogObserver("l", kept)
        log = await step.addLog("l")
        await log.addStdout("12345\n")
        await log.addStderr("78\n")
        assert (kept.getStdout(), kept.getStderr()) == ("12345\n", "78\n")
        await log.addStdout("more\n" * 1000)
        kept.getStdout()
        return SUCCESS

    farm, (row,) = await run(Own(work))
    assert row["results"] == EXCEPTION
    assert "more than 10 characters of output, too many to be kept" in farm.master.text(2, "err.text")
