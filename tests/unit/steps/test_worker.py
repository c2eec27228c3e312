"""Steps that work with files on the worker."""

from __future__ import annotations

from typing import Any

from buildbot.process.buildstep import BuildStep
from buildbot.steps.worker import CompositeStepMixin
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS


class Composite(CompositeStepMixin, BuildStep):
    """Calls a function as its work."""

    name = "composite"

    def __init__(self, work: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.work = work

    async def run(self) -> int:
        await self.addLogForRemoteCommands("stdio")
        result: int = await self.work(self)
        return result


async def run(work: Any, script: Any = None, **kwargs: Any) -> tuple[StepHarness, dict[str, Any]]:
    farm = StepHarness(Composite(work, **kwargs), script=script)
    await farm.run()
    return farm, farm.master.steps(1)[1]


async def test_composite() -> None:
    """Commands give whether they failed, and go to one log; their arguments are those that agents know."""
    seen: list[Any] = []

    async def work(step: Any) -> int:
        step.logEnviron = False
        seen.append(await step.runMkdir("d"))
        seen.append(await step.runRmdir("d", timeout=5, abandonOnFailure=False))
        seen.append(await step.runRmFile("f", abandonOnFailure=False))
        seen.append(await step.pathExists("p"))
        seen.append(await step.runGlob("g*"))
        seen.append(await step.runRemoteCommand("x", {}, False, lambda command: command.rc))
        await step.runRmFile("f")
        return SUCCESS

    def script(name: str, args: dict[str, Any]) -> Any:
        return [("files", ["/g1"])] if name == "glob" else [], 0 if name in ("mkdir", "glob") else 7

    farm, row = await run(work, script)
    assert seen == [False, True, True, False, ["/g1"], 7]
    assert row["results"] == FAILURE and row["state_string"] == "rmfile failed (failure)"
    assert farm.connection.started[:5] == [
        ("mkdir", {"dir": "d", "logEnviron": False}),
        ("rmdir", {"dir": "d", "logEnviron": False, "timeout": 5}),
        ("rmfile", {"path": "f", "logEnviron": False}),
        ("stat", {"file": "p", "logEnviron": False}),
        ("glob", {"path": "g*", "logEnviron": False}),
    ]
    assert farm.master.text(2).count("program finished with exit code") == 7


async def test_content_of_files() -> None:
    """A file's text comes from the worker and goes there."""
    seen: list[Any] = []
    sent: list[Any] = []

    async def work(step: Any) -> int:
        seen.append(await step.getFileContentFromWorker("there"))
        seen.append(await step.getFileContentFromWorker("missing"))
        seen.append(await step.downloadFileContentToWorker("dest", "tü", mode=0o600))
        seen.append(await step.downloadFileContentToWorker("/abs", b"\xff", workdir="/"))
        seen.append(step.workerPathToMasterPath("a/b"))
        step.build.connection.info["system"] = "nt"
        seen.append(step.workerPathToMasterPath("a\\b"))
        return SUCCESS

    def script(name: str, args: dict[str, Any]) -> Any:
        if name == "downloadFile":
            content = b""
            while data := args["reader"].read(1).result:
                content += data
            args["reader"].close()
            sent.append((args["workdir"], args["workerdest"], args["mode"], content))
            return [], 0
        if args["workersrc"] == "missing":
            args["writer"].close()
            return [("stderr", "no\n")], 1
        args["writer"].write(b"t\xc3")
        args["writer"].write(b"\xbc")
        args["writer"].close()
        return [], 0

    _, row = await run(work, script, workdir="d")
    assert row["results"] == SUCCESS
    assert seen == ["tü", None, False, False, "a/b", "a/b"]
    assert sent == [("d", "dest", 0o600, "tü".encode()), ("/", "/abs", None, b"\xff")]


async def test_content_that_is_too_large(monkeypatch: Any) -> None:
    """A file that would not fit into memory fails the step, whatever the worker says of it."""
    monkeypatch.setattr("buildbot.steps.worker.MAX_CONTENT_BYTES", 5)

    async def work(step: Any) -> int:
        await step.getFileContentFromWorker("large")
        return SUCCESS

    def script(name: str, args: dict[str, Any]) -> Any:
        for _ in range(3):
            args["writer"].write(b"abc")
        args["writer"].close()
        return [], 0

    farm, row = await run(work, script)
    assert (row["results"], row["state_string"]) == (FAILURE, "uploadFile: the worker sent more than 5 bytes (failure)")
    assert farm.connection.interrupted == ["the worker sent more than 5 bytes"]


async def test_mixed_into_something_else() -> None:
    """What is no step cannot use it, and is told."""

    class NoStep(CompositeStepMixin):
        pass

    async def work(step: Any) -> int:
        await NoStep().runMkdir("d")
        return SUCCESS

    farm, row = await run(work)
    assert row["results"] == EXCEPTION
    assert "CompositeStepMixin is for subclasses of BuildStep" in farm.master.text(2, "err.text")
