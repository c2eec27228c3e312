"""Real `buildbot-worker` agents, unmodified, over MessagePack: the same as over PB."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater

from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.properties import Interpolate
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.workers.connection import Connection, RemoteError
from buildbot.steps.shell import ShellCommand
from buildbot.util.results import CANCELLED, RETRY, SUCCESS
from tests.e2e.agents import Farm
from tests.support.reactor import reactor, run

pytestmark = pytest.mark.e2e


@pytest.fixture
def farm(tmp_path: Path) -> Any:
    farm = Farm(tmp_path, "msgpack_experimental_v7")
    yield farm
    run(farm.stop())


class End:
    """The master's end of a transfer."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.calls: list[str] = []
        self.times: Any = None

    def write(self, data: bytes) -> None:
        self.content += data

    def read(self, length: int) -> bytes:
        piece, self.content = self.content[:length], self.content[length:]
        return piece

    def close(self) -> None:
        self.calls.append("close")

    def unpack(self) -> None:
        self.calls.append("unpack")

    def utime(self, times: Any) -> None:
        self.times = times


class Broken(End):
    """One whose disk is full."""

    def write(self, data: bytes) -> None:
        raise OSError("the disk is full")


def connection(farm: Farm) -> Connection:
    found = farm.manager.workers["w1"].connection
    assert found is not None
    return found


async def command(farm: Farm, name: str, **args: Any) -> RemoteCommand:
    """Run a command as steps spell it."""
    done = RemoteCommand(name, args, collectStdout=True, collectStderr=True)
    await done.run(connection(farm), "runtests")
    return done


async def test_builds(farm: Farm) -> None:
    """Shell steps: environment, directories, ends of lines, long lines whole, hidden arguments, watched files; and a
    build that is stopped."""
    await farm.start(
        ShellCommand(command=["echo", Interpolate("on %(worker:name)s")]),
        ShellCommand(
            name="where",
            command="pwd; echo $A; printf '1\\r2\\r\\n3\\n'; echo no >&2; exit 3",
            workdir="d/e",
            env={"A": "a"},
            haltOnFailure=False,
        ),
        ShellCommand(name="long", command="head -c 100000 /dev/zero | tr '\\0' x; echo"),
        ShellCommand(name="hidden", command=["echo", ("obfuscated", "pass word", "XXX")]),
        ShellCommand(name="file", command="echo written > out.txt", logfiles={"watched": "out.txt"}),
        ShellCommand(name="endless", command="echo pid $$ > ../pid; while [ -e ../pid ]; do sleep 0.1; done"),
    )
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.master.until(lambda: any("echo pid" in text for _, text in farm.master.of("appendLog")))
    await farm.master.stop_build(buildid, "enough")
    await farm.ended()
    master = farm.master
    steps = {step["name"]: step for step in master.steps(buildid)}
    assert {name: step["results"] for name, step in steps.items()} == {
        "worker_preparation": 0, "shell": 0, "where": 2, "long": 0, "hidden": 0, "file": 0, "endless": 6
    }  # fmt: skip
    text = {name: master.text(step["stepid"]) for name, step in steps.items() if name != "worker_preparation"}
    assert "oon w1\n" in text["shell"]
    assert f"o{farm.tmp_path}/w1/runtests/d/e\noa\no1\no2\no3\n" in text["where"] and "eno\n" in text["where"]
    assert steps["where"]["state_string"].endswith("exit code 3 (failure)")
    assert "o" + "x" * 100_000 + "\n" in text["long"]
    assert "opass word\n" in text["hidden"] and "XXX" in text["hidden"] and "hecho pass" not in text["hidden"]
    assert not any("pass word" in line for line in text["hidden"].splitlines() if line.startswith("h"))
    assert master.text(steps["file"]["stepid"], "watched") == "owritten\n"
    build = master.build(buildid)
    assert (build["results"], build["state_string"]) == (CANCELLED, "cancelled: enough")
    assert build["properties"]["builddir"][0] == f"{farm.tmp_path}/w1/runtests"
    assert "hidden" not in str(master.get("workers", 1)) and "admin" in master.get("workers", 1)["workerinfo"]


async def test_commands(farm: Farm) -> None:
    """Every command of agents, spelled as steps spell it, has the same effect as over PB, and fails with a message."""
    await farm.start()
    farm.agent()
    await farm.connected()
    place = farm.tmp_path / "w1" / "runtests"
    assert (await command(farm, "mkdir", dir="build/sub")).rc == 0 and (place / "build/sub").is_dir()
    (place / "build" / "file").write_text("text")
    assert (await command(farm, "stat", workdir="build", file="file")).updates["stat"][0][6] == 4
    assert (await command(farm, "stat", file="nothing")).rc == 2
    assert (await command(farm, "glob", path="build/*")).updates["files"][0].sort() is None
    assert (await command(farm, "cpdir", fromdir="build", todir="copy")).rc == 0
    assert sorted((await command(farm, "listdir", dir="copy")).updates["files"][0]) == ["file", "sub"]
    assert (await command(farm, "rmfile", path="copy/file")).rc == 0
    assert (await command(farm, "rmdir", dir=["copy", "nothing"])).rc == 0 and not (place / "copy").exists()
    assert (await command(farm, "shell", command="cat", workdir="", initial_stdin=b"in")).stdout == "in\n"
    data = b"\xff\x00\r\n" * 50_000
    done = await command(farm, "shell", command="cat > 'a b'; exit 3", workdir="", initial_stdin=data)
    assert done.rc == 3 and (farm.tmp_path / "w1/runtests/a b").read_bytes() == data
    done = await command(farm, "shell", command=["dd", "of=$c"], workdir="", initial_stdin=data)
    assert done.rc == 0 and (farm.tmp_path / "w1/runtests/$c").read_bytes() == data

    up = {"maxsize": None, "blocksize": 10}
    end = End()
    await command(farm, "uploadFile", workdir="build", workersrc="file", writer=end, keepstamp=True, **up)
    assert (end.content, end.calls) == (b"text", ["close"]) and end.times[1] == (place / "build/file").stat().st_mtime
    end = End()
    await command(farm, "uploadDirectory", workdir="", workersrc="build", writer=end, compress="gz", **up)
    assert end.calls == ["unpack"]
    with tarfile.open(fileobj=io.BytesIO(end.content)) as tar:
        assert sorted(tar.getnames()) == ["", "file", "sub"]
    content = bytes(range(256)) * 12_000
    end = End(content)
    down = {"maxsize": None, "blocksize": 2_000_000, "mode": 0o600}
    await command(farm, "downloadFile", workdir="build", workerdest="new/file", reader=end, **down)
    assert (place / "build/new/file").read_bytes() == content and end.calls == ["close"]
    assert (place / "build/new/file").stat().st_mode & 0o777 == 0o600

    with pytest.raises(RemoteError, match="the disk is full"):
        await command(farm, "uploadFile", workdir="build", workersrc="file", writer=Broken(), **up)
    for name, args, complaint in (
        ("dance", {}, "there is no command 'dance'; agents know shell, mkdir"),
        ("stat", {}, "command 'stat' needs the argument 'file'"),
        ("mkdir", {"dir": 3}, "command 'mkdir' has an argument of the wrong type"),
        ("shell", {"workdir": "", "command": "true", "usePTY": "maybe"}, "AssertionError: Unexpected usePTY"),
        ("shell", {"workdir": "", "command": ["true", object()]}, "start_command cannot be sent"),
    ):
        with pytest.raises(RemoteError, match=complaint):
            await command(farm, name, **args)
    assert (await command(farm, "shell", command="true", workdir="")).rc == 0


async def test_commands_side_by_side(farm: Farm) -> None:
    """A step may run two commands at once, with one log: it ends when both have, and a stop kills both."""

    class Both(ShellMixin, BuildStep):
        name = "both"

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**self.setupShellMixin(kwargs))

        async def run(self) -> int:
            for number in (1, 2):
                command = await self.makeRemoteShellCommand(command=f"echo go{number}; {self.command}")
                self.runCommand(command)
            return SUCCESS

    await farm.start(Both(command="true"), Both(command="echo waits; sleep 1000"))
    farm.agent()
    await farm.connected()
    buildid = await farm.build()

    def both_wait() -> bool:
        return "".join(text for _, text in farm.master.of("appendLog")).count("owaits\n") == 2

    await farm.master.until(both_wait)
    await farm.master.stop_build(buildid, "enough")
    await farm.ended()
    assert [step["results"] for step in farm.master.steps(buildid)[1:]] == [SUCCESS, CANCELLED]
    for stepid, end in ((2, "program finished with exit code 0"), (3, "process killed by signal 9")):
        lines = farm.master.text(stepid).splitlines()
        assert sorted(line for line in lines if line.startswith("ogo")) == ["ogo1", "ogo2"]
        assert lines.count(f"h{end}") == 2
    assert farm.manager.available("runtests")


async def test_comes_and_goes(farm: Farm) -> None:
    """A second agent of the name and one with a wrong password are refused and stay up; one that is killed loses its
    build, which ends with RETRY; one that gets a shutdown ends its commands and itself.
    """
    await farm.start(ShellCommand(command="echo pid $$ > ../pid; sleep 1000"))
    wrong = farm.agent("wrong", "wrong")
    first = farm.agent()
    await farm.connected()
    second = farm.agent(directory="again")
    buildid = await farm.build()
    await farm.master.until(lambda: any("sleep 1000" in text for _, text in farm.master.of("appendLog")))
    first.kill()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == RETRY
    await farm.master.until(lambda: len(farm.master.of("workerConnected")) == 2)
    assert not second.ended.called and not wrong.ended.called
    again = await farm.build()
    await farm.master.until(lambda: len([1 for _, text in farm.master.of("appendLog") if "sleep 1000" in text]) == 2)
    await farm.manager.workers["w1"].shut_down("the test says so")
    assert await second.ended == 0
    await farm.ended()
    assert farm.master.build(again)["results"] == RETRY
    await ended((farm.tmp_path / "again/runtests/pid").read_text().split()[1])


async def ended(pid: str) -> None:
    """Wait until a process is gone, or is a zombie."""
    status = Path("/proc", pid, "status")
    while status.exists() and "State:\tZ" not in status.read_text():
        await turn()


async def turn() -> None:
    """Let the reactor turn once."""
    await deferLater(reactor, 0, lambda: None)


async def test_leftovers(farm: Farm) -> None:
    """An agent that removes leftovers removes the directories of no builder, and nothing else."""
    await farm.start(ShellCommand(command="true"))
    farm.options = ["--delete-leftover-dirs"]
    base = farm.make("w1")
    for name in ("old", "runtests", "old.file"):
        (base / name).touch() if "." in name else (base / name / "sub").mkdir(parents=True)
    farm.agent()
    await farm.connected()
    while (base / "old").exists():
        await turn()
    assert {each.name for each in base.iterdir()} >= {"runtests", "old.file", "info", "buildbot.tac"}
    await farm.build()
    await farm.ended()
    assert farm.master.build(1)["results"] == SUCCESS
