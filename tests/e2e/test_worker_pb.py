"""Real `buildbot-worker` agents, unmodified, against our workers, builds and steps over PB."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from buildbot.process.properties import Interpolate, Property
from buildbot.steps.master import MasterShellCommand, SetProperty
from buildbot.steps.shell import Compile, SetPropertyFromCommand, ShellCommand
from buildbot.steps.shellsequence import ShellArg, ShellSequence
from buildbot.steps.transfer import DirectoryUpload, FileDownload, FileUpload, MultipleFileUpload, StringDownload
from buildbot.steps.worker import CopyDirectory, FileExists, MakeDirectory, RemoveDirectory, SetPropertiesFromEnv
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SUCCESS
from tests.e2e.agents import Farm
from tests.support.reactor import run

pytestmark = pytest.mark.e2e


@pytest.fixture
def farm(tmp_path: Path) -> Any:
    farm = Farm(tmp_path)
    yield farm
    run(farm.stop())


async def test_shell_steps(farm: Farm) -> None:
    """ShellCommand steps run on a real worker: properties, env, workdir, log lines, results."""
    await farm.start(
        SetProperty(property="who", value="world"),
        ShellCommand(command=["echo", Interpolate("hello %(prop:who)s on %(worker:name)s")]),
        ShellCommand(
            name="env",
            command="echo $A-$B; pwd; echo oops >&2",
            env={"B": Property("who")},
            workdir="sub/dir",
        ),
        SetPropertyFromCommand(command="echo '  v1  '", property="version"),
        ShellCommand(name="fails", command="exit 3", haltOnFailure=True),
        ShellCommand(name="never", command="true"),
        ShellCommand(name="always", command=["echo", Property("version")], alwaysRun=True),
        env={"A": "a", "B": "b"},
    )
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.ended()
    master = farm.master
    assert master.build(buildid)["results"] == FAILURE
    steps = {step["name"]: (step["results"], step["state_string"]) for step in master.steps(buildid)}
    assert steps == {
        "worker_preparation": (0, "worker w1 ready"),
        "SetProperty": (0, "Set"),
        "shell": (0, "'echo hello world on w1'"),
        "env": (0, "'echo $A-$B; ...'"),
        "setproperty": (0, "property 'version' set"),
        "fails": (2, "'exit 3': exit code 3 (failure)"),
        "always": (0, "'echo v1'"),
    }
    assert "ohello world on w1\n" in master.text(3)
    assert "oa-world\n" in master.text(4) and "eoops\n" in master.text(4)
    assert f"o{farm.tmp_path}/w1/runtests/sub/dir\n" in master.text(4)
    assert "ov1\n" in master.text(7)
    assert "hidden" not in str(master.get("workers", 1)) and "admin" in master.get("workers", 1)["workerinfo"]
    properties = {name: value[0] for name, value in master.build(buildid)["properties"].items()}
    assert properties["builddir"] == f"{farm.tmp_path}/w1/runtests"
    assert (properties["who"], properties["version"], properties["workername"]) == ("world", "v1", "w1")
    assert master.build(buildid)["state_string"] == "failed fails: exit code 3 (failure)"
    assert master.text(6).splitlines()[-1] == "hprogram finished with exit code 3"


async def test_much_output(farm: Farm) -> None:
    """A lot of output arrives completely and in order, in few writes."""
    await farm.start(ShellCommand(command="seq 300000"))
    farm.agent()
    await farm.connected()
    await farm.build()
    await farm.ended()
    lines = [line[1:] for line in farm.master.text(2).splitlines() if line.startswith("o")]
    assert lines == [str(number) for number in range(1, 300001)]
    assert len(farm.master.of("appendLog")) < 100


async def test_wrong_password(farm: Farm) -> None:
    """A wrong password is a clear error on both sides, and the agent stays up."""
    await farm.start()
    agent = farm.agent("wrong", loud=True)
    await agent.says("unauthorized login; check worker name and password")
    assert not agent.ended.called
    assert farm.manager.workers["w1"].connection is None


async def test_two_workers_of_one_name(farm: Farm) -> None:
    """The second is refused while the first is alive, and takes over when it is gone."""
    await farm.start()
    first = farm.agent()
    await farm.connected()
    connection = farm.manager.workers["w1"].connection
    second = farm.agent(directory="again", loud=True)
    await second.says("unauthorized login")
    assert farm.manager.workers["w1"].connection is connection
    first.kill()
    await farm.master.until(lambda: len(farm.master.of("workerConnected")) == 2)
    assert not second.ended.called


async def test_worker_killed(farm: Farm) -> None:
    """A worker killed in the middle of a build: RETRY, the request is given back, and it can build again."""
    await farm.start(ShellCommand(command="echo pid $$; echo go; [ -e ../again ] || (touch ../again; sleep 1000)"))
    agent = farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.master.until(lambda: any("ogo\n" in text for _, text in farm.master.of("appendLog")))
    pid = int(farm.master.text(2).partition("opid ")[2].split()[0])
    agent.kill()
    await farm.ended()
    os.killpg(pid, signal.SIGKILL)
    assert farm.master.build(buildid)["results"] == RETRY
    assert farm.master.build(buildid)["state_string"] == "retry: worker w1 was lost"
    assert not farm.master.get("buildrequests", 1)["claimed"]
    farm.agent()
    await farm.connected()
    again = await farm.build()
    await farm.ended()
    assert farm.master.build(again)["results"] == SUCCESS


async def test_stop(farm: Farm) -> None:
    """Stopping a running build kills its command and ends it as cancelled; the worker can build again."""
    await farm.start(ShellCommand(command="echo go; sleep 1000"))
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.master.until(lambda: any("ogo\n" in text for _, text in farm.master.of("appendLog")))
    await farm.master.stop_build(buildid, "enough")
    await farm.ended()
    assert farm.master.build(buildid)["results"] == CANCELLED
    assert farm.master.build(buildid)["state_string"] == "cancelled: enough"
    assert farm.master.text(2, "cancelled") == "enough\n"
    assert farm.manager.available("runtests")


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (ShellCommand(command="sleep 1000", timeout=1), "'sleep 1000': timed out after 1 s without output (failure)"),
        (ShellCommand(command="sleep 1000", maxTime=1), "'sleep 1000': timed out after 1 s (failure)"),
        (ShellCommand(command="kill -9 $$"), "'kill -9 ...': killed by a signal (failure)"),
        (ShellCommand(command="printf unfinished; exit 3"), "'printf unfinished; ...': exit code 3 (failure)"),
    ],
)
async def test_why_a_command_failed(farm: Farm, step: ShellCommand, text: str) -> None:
    """How a program ended is said in the step's text, and in the last line of its log's headers."""
    await farm.start(step)
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.ended()
    row = farm.master.steps(buildid)[1]
    assert row["state_string"] == text
    headers = [line for line in farm.master.text(2).splitlines() if line.startswith("h")]
    assert headers[-1] == f"hprogram finished with exit code {3 if 'exit' in text else -1}"


async def test_transfers(farm: Farm) -> None:
    """Files, directories and texts go both ways; one of exactly `maxsize` is taken, a longer one is not."""
    farm.master.basedir = farm.tmp_path / "master"
    farm.master.basedir.mkdir()
    (farm.master.basedir / "script").write_bytes(bytes(range(256)) * 1000)
    await farm.start(
        FileDownload("script", "in/script", mode=0o755, maxsize=256_000),
        StringDownload(Interpolate("%(prop:workername)s"), "in/text"),
        ShellCommand(command="cat in/script in/text > out; mkdir -p site/d; ln -s d site/l; echo x > site/d/f"),
        FileUpload("out", "up/out", maxsize=256_002, keepstamp=True),
        DirectoryUpload("site", "up/site", compress="gz"),
        MultipleFileUpload(["in/*", "site"], "many", glob=True, maxsize=1_000_000),
        FileUpload("out", "up/long", maxsize=256_001, haltOnFailure=False),
        FileUpload("missing", "up/missing", haltOnFailure=False),
        FileDownload("script", "in/long", maxsize=255_999, haltOnFailure=False),
        FileDownload("script", "out/below/a/file"),
    )
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.ended()
    results = [step["results"] for step in farm.master.steps(buildid)[1:]]
    assert results == [SUCCESS] * 6 + [FAILURE] * 3 + [EXCEPTION]
    up, many = farm.master.basedir / "up", farm.master.basedir / "many"
    assert (up / "out").read_bytes() == bytes(range(256)) * 1000 + b"w1"
    assert (up / "out").stat().st_mtime == (farm.tmp_path / "w1" / "runtests" / "build" / "out").stat().st_mtime
    assert (up / "site" / "l" / "f").read_text() == (many / "site" / "d" / "f").read_text() == "x\n"
    assert sorted(path.name for path in many.iterdir()) == ["script", "site", "text"]
    assert sorted(path.name for path in up.iterdir()) == ["out", "site"]


async def test_families_of_steps(farm: Farm) -> None:
    """Files, environment, warnings with suppressions, sequences and programs on the master, with a real agent."""
    farm.master.basedir = farm.tmp_path
    prints = "echo \"make[1]: Entering directory 'sub/d'\"; echo a.c:5: warning: x; echo b.c:6: warning: y >&2"
    await farm.start(
        MakeDirectory(dir="build/d/e"),
        ShellCommand(command="echo '.*/b.c : y # not a comment' > supp; echo 'sub/d/a.c : x : 1-9' >> supp; touch d/f"),
        FileExists(file="build/d/f"),
        CopyDirectory(src="build/d", dest="build/copy"),
        FileExists(file="build/copy", haltOnFailure=False, flunkOnFailure=False),
        RemoveDirectory(dir="build/d"),
        FileExists(file="build/d/f", haltOnFailure=False, flunkOnFailure=False),
        SetPropertiesFromEnv(variables=["SECRET_TOKEN", "NO_SUCH_VARIABLE"]),
        Compile(
            command=prints,
            suppressionFile="supp",
            warningPattern=r"(.*?):(\d+): warning: (.*)",
            warningExtractor=Compile.warnExtractFromRegexpGroups,
        ),
        ShellSequence(
            [
                ShellArg("echo one", logname="l"),
                ShellArg("exit 3", logname="m", flunkOnFailure=False, warnOnFailure=True),
            ]
        ),
        MasterShellCommand(command=["echo", Property("warnings-count")]),
    )
    farm.agent()
    await farm.connected()
    buildid = await farm.build()
    await farm.ended()
    steps = farm.master.steps(buildid)[1:]
    assert [(step["name"], step["state_string"]) for step in steps] == [
        ("MakeDirectory", "Created"),
        ("shell", "'echo '.*/b.c ...'"),
        ("FileExists", "File found."),
        ("CopyDirectory", "Copied build/d to build/copy"),
        ("FileExists_1", "Not a file. (failure)"),
        ("RemoveDirectory", "Deleted"),
        ("FileExists_2", "File not found. (failure)"),
        ("SetPropertiesFromEnv", "Set"),
        ("compile", "compile (warnings)"),
        ("shellsequence", "'exit 3': exit code 3 (warnings)"),
        ("MasterShellCommand", "Ran"),
    ]
    properties = farm.master.build(buildid)["properties"]
    assert properties["SECRET_TOKEN"] == ("hidden", "WorkerEnvironment")
    assert properties["warnings-count"][0] == 1
    assert farm.master.text(steps[8]["stepid"], "warnings (1)") == "b.c:6: warning: y\n"
    assert "oone\n" in farm.master.text(steps[9]["stepid"], "l")
    assert "o1\n" in farm.master.text(steps[10]["stepid"])
