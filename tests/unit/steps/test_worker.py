"""Steps that work with files on the worker."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.process.buildstep import BuildStep
from buildbot.process.properties import Interpolate
from buildbot.steps.worker import (
    CompositeStepMixin,
    CopyDirectory,
    FileExists,
    MakeDirectory,
    RemoveDirectory,
    SetPropertiesFromEnv,
)
from buildbot.test.steps import StepHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS


class Composite(CompositeStepMixin, BuildStep):
    """Calls a function as its ``run``."""

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
    """Commands return whether they failed, and write to one log; their arguments are those of agents."""
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
    """The text of a file is read from the worker, and written there."""
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
    """A file that is too large for memory fails the step, also if the worker hides its size."""
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
    """A class that is no step cannot use the mixin."""

    class NoStep(CompositeStepMixin):
        pass

    async def work(step: Any) -> int:
        await NoStep().runMkdir("d")
        return SUCCESS

    farm, row = await run(work)
    assert row["results"] == EXCEPTION
    assert "CompositeStepMixin is for subclasses of BuildStep" in farm.master.text(2, "err.text")


@pytest.mark.parametrize(
    ("step", "command", "done", "failed"),
    [
        (MakeDirectory(dir="d"), ("mkdir", {"dir": "d"}), "Created", "Create failed. (failure)"),
        (RemoveDirectory("d"), ("rmdir", {"dir": "d"}), "Deleted", "Delete failed. (failure)"),
        (
            CopyDirectory(src="a", dest=Interpolate("%(prop:buildername)s")),
            ("cpdir", {"fromdir": "a", "todir": "b", "timeout": 120}),
            "Copied a to b",
            "Copying a to b failed. (failure)",
        ),
        (
            CopyDirectory("a", "b", maxTime=5, timeout=None),
            ("cpdir", {"fromdir": "a", "todir": "b", "timeout": None, "maxTime": 5}),
            "Copied a to b",
            "Copying a to b failed. (failure)",
        ),
        (FileExists(file="f"), ("stat", {"file": "f"}), "File found.", "File not found. (failure)"),
    ],
)
async def test_file_steps(step: Any, command: Any, done: str, failed: str) -> None:
    """Each step runs one command without a log; a failure ends the build."""
    for rc, text in ((0, done), (1, failed)):
        farm = StepHarness(step, step, script=lambda name, args, rc=rc: ([("stat", (stat.S_IFREG,))], rc))
        await farm.run()
        rows = farm.master.steps(1)[1:]
        assert farm.connection.started == [command] * (2 - rc)
        assert (rows[0]["name"], rows[0]["state_string"]) == (type(step).__name__, text)
        assert farm.master.get("steps", 2, "logs") == []


@pytest.mark.parametrize("found", [(stat.S_IFDIR,), (), None, ("x",), 5])
async def test_not_a_file(found: Any) -> None:
    """A path that is no file fails the step; so does a malformed answer."""
    farm = StepHarness(FileExists("f"), script=lambda name, args: ([("stat", found)], 0))
    await farm.run()
    assert farm.master.steps(1)[1]["state_string"] == "Not a file. (failure)"


async def test_properties_from_the_environment() -> None:
    """Variables of the worker's environment become properties; missing ones do not."""
    farm = StepHarness(
        SetPropertiesFromEnv(["HOME", "NONE"]), SetPropertiesFromEnv(variables="Path", source="mine", name="windows")
    )
    await farm.start()
    await farm.build()
    await farm.ended()
    assert farm.master.build(1)["properties"]["HOME"] == ("/home/jo", "WorkerEnvironment")
    assert "NONE" not in farm.master.build(1)["properties"] and "Path" not in farm.master.build(1)["properties"]
    assert farm.master.text(2, "properties") == "HOME = '/home/jo'\n"
    assert farm.master.steps(1)[1]["state_string"] == "Set"
    farm.connection.keep_info({"system": "nt", "environ": {"PATH": "C:\\", "n": 5, 6: "x", "long": "x" * 300_000}})
    await farm.build()
    await farm.ended()
    assert farm.master.build(2)["properties"]["Path"] == ("C:\\", "mine")


def test_environment_that_is_none() -> None:
    """A malformed environment from a worker does no harm."""
    connection = StepHarness().connection
    useless: tuple[Any, ...] = (None, [], "x", {5: 6})
    for environ in useless:
        connection.keep_info({"environ": environ})
        assert connection.environ == {}


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: MakeDirectory(), "MakeDirectory: argument 'dir' is missing"),
        (lambda: CopyDirectory("a"), "CopyDirectory: argument 'dest' is missing"),
        (lambda: RemoveDirectory(dir=""), "dir must be a text that is not empty, not ''"),
        (lambda: SetPropertiesFromEnv(variables=[1]), "variables element 1 must be a string, not 1"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value)
