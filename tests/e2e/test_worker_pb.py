"""Real `buildbot-worker` agents, unmodified, against our workers, builds and steps over PB."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.process import reapAllProcesses
from twisted.internet.protocol import ProcessProtocol

from buildbot.config.builder import BuilderConfig
from buildbot.process.builder import Builder
from buildbot.process.factory import BuildFactory
from buildbot.process.properties import Interpolate, Property
from buildbot.process.workers.manager import WorkerManager
from buildbot.steps.master import SetProperty
from buildbot.steps.shell import SetPropertyFromCommand, ShellCommand
from buildbot.steps.source.git import Git
from buildbot.util.results import CANCELLED, FAILURE, RETRY, SUCCESS
from buildbot.worker.base import Worker
from tests.support.reactor import run
from tests.unit.process.recording import Recording

reactor: Any = _reactor
pytestmark = pytest.mark.e2e
TOOL = Path(sys.executable).with_name("buildbot-worker")


class Agent(ProcessProtocol):
    """A running agent; what it prints is kept."""

    def __init__(self) -> None:
        self.output = ""
        self.ended: Deferred[int | None] = Deferred()
        self._watching: list[tuple[str, Deferred[None]]] = []

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data.decode()
        for entry in list(self._watching):
            if entry[0] in self.output:
                self._watching.remove(entry)
                entry[1].callback(None)

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(reason.value.exitCode)

    def says(self, text: str) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._watching.append((text, waiting))
        self.childDataReceived(1, b"")
        return waiting

    def kill(self) -> None:
        assert self.transport is not None
        self.transport.signalProcess("KILL")


class ReapedAtEnd(FileDescriptor):
    """Reaps a child when it ends: tests run the reactor without a handler for SIGCHLD."""

    def __init__(self, pid: int) -> None:
        super().__init__(reactor)
        self._pidfd = os.pidfd_open(pid)
        self.startReading()  # type: ignore[no-untyped-call]

    def fileno(self) -> int:
        return self._pidfd

    def doRead(self) -> None:
        self.stopReading()  # type: ignore[no-untyped-call]
        os.close(self._pidfd)
        reapAllProcesses()

    def logPrefix(self) -> str:
        return "agent"


class Farm:
    """A master's process layer for one builder, and agents for it."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.master = Recording()
        self.manager = WorkerManager(self.master)
        self.manager.on_change = lambda name: self.master.note("changed", name)
        self.agents: list[Agent] = []
        self.builder: Builder

    async def start(self, *steps: Any, **builder: Any) -> None:
        config = BuilderConfig(name="runtests", workernames=["w1"], factory=BuildFactory(steps), **builder)
        await self.manager.start(
            SimpleNamespace(
                workers=[Worker("w1", "pass")],
                builders=[config],
                protocols={"pb": {"port": "tcp:0:interface=127.0.0.1"}},
            )
        )
        self.builder = Builder(self.master, config, 1, self.manager)

    def agent(self, password: str = "pass", directory: str = "w1", loud: bool = False) -> Agent:
        """Start an agent; a loud one prints its log, which otherwise goes to a file."""
        port = self.manager.address.port  # type: ignore[union-attr]
        base = self.tmp_path / directory
        if not base.exists():
            subprocess.run(
                [TOOL, "create-worker", "--no-logrotate", base, f"127.0.0.1:{port}", "w1", password],
                check=True,
                capture_output=True,
            )
        agent = Agent()
        argv = [str(TOOL), "start", "--nodaemon", str(base)]
        if loud:  # what "start" runs, but for the log
            argv = [
                str(TOOL.with_name("twistd")),
                "--nodaemon",
                "--no_save",
                "--logfile=-",
                "-y",
                "buildbot.tac",
            ]
        process = reactor.spawnProcess(
            agent, argv[0], argv, env=dict(os.environ, SECRET_TOKEN="hidden"), path=str(base)
        )
        ReapedAtEnd(process.pid)
        self.agents.append(agent)
        return agent

    async def connected(self) -> None:
        await self.master.until(lambda: bool(self.manager.available("runtests")))

    async def build(self, **stamp: Any) -> int:
        """Start a build of a new request; its id."""
        request = await self.master.add_request("runtests", **stamp)
        await self.builder.start_build(request, self.manager.available("runtests")[0])
        return self.master.newest()

    def ended(self) -> Deferred[None]:
        """Fires when nothing is being built any more."""
        return self.master.until(lambda: not self.builder.running)

    async def stop(self) -> None:
        await self.builder.stop_all("the test ends", RETRY)
        await self.manager.stop()
        for agent in self.agents:
            if not agent.ended.called:
                agent.kill()
            await agent.ended


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
        "SetProperty": (0, "set"),
        "shell": (0, "'echo hello world on w1'"),
        "env": (0, "'echo $A-$B; ...'"),
        "setproperty": (0, "'echo ' ...'"),
        "fails": (2, "'exit 3' (failure)"),
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
    assert master.build(buildid)["state_string"] == "failed 'exit 3' (failure)"


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
    assert farm.master.of("unclaimBuildRequests") == [([1],)]
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


class Repository:
    """A Git repository with two commits on ``main``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("file", "one\n")
        self.second = self.commit("file", "two\n")

    def git(self, *args: str) -> str:
        who = ["-c", "user.name=Jo", "-c", "user.email=jo@example.org"]
        env = dict(os.environ, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
        done = subprocess.run(
            ["git", "-C", self.path, *who, *args], check=True, capture_output=True, text=True, env=env
        )
        return done.stdout.strip()

    def commit(self, name: str, content: str) -> str:
        (self.path / name).write_text(content)
        self.git("add", name)
        self.git("commit", "-q", "-m", content)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


async def test_git(farm: Farm, repository: Repository) -> None:
    """Git checks out the newest commit, an older one, one that is on no branch any more, and a branch."""
    lost = repository.commit("file", "lost\n")
    repository.git("reset", "-q", "--hard", "HEAD~")
    repository.git("branch", "side", repository.first)
    await farm.start(
        Git(repourl=str(repository.path), branch="main"),
        ShellCommand(command="cat file; touch .git/index.lock; ls"),
    )
    farm.agent()
    await farm.connected()
    for stamp, revision, content in (
        ({}, repository.second, "two"),
        ({"revision": repository.first}, repository.first, "one"),
        ({"revision": lost, "branch": "main"}, lost, "lost"),
        ({"branch": "side"}, repository.first, "one"),
        ({"revision": repository.second[:9], "branch": "gone"}, repository.second, "two"),
    ):
        buildid = await farm.build(**stamp)
        await farm.ended()
        row = farm.master.build(buildid)
        git = farm.master.steps(buildid)[1]
        assert row["results"] == SUCCESS, git["state_string"]
        assert row["properties"]["got_revision"] == (revision, "Git")
        assert git["state_string"] == f"update {revision[:10]}"
        assert f"o{content}\n" in farm.master.text(3 * buildid)


@pytest.mark.parametrize(
    ("arguments", "stamp", "state"),
    [
        ({"repourl": "/nowhere"}, {}, "git fetch: fatal: '/nowhere' does not appear to be a git repository (failure)"),
        ({"branch": "nope"}, {}, "git fetch: fatal: couldn't find remote ref nope (failure)"),
        ({}, {"revision": "12" * 20}, f"revision {'12' * 20} is not in {{repository}} (failure)"),
        ({}, {"branch": "--upload-pack=x"}, "not the name of a branch or revision: '--upload-pack=x' (failure)"),
        ({"codebase": "lib"}, {}, "the build has no source stamp for codebase 'lib' (failure)"),
        ({"timeout": 3, "config": {"core.sshCommand": "sleep 60;"}, "repourl": "ssh://a:b@localhost/"}, {},
         "git fetch: no output for 3 s (failure)"),
    ],
)  # fmt: skip
async def test_git_failures(
    farm: Farm, repository: Repository, arguments: dict[str, Any], stamp: dict[str, Any], state: str
) -> None:
    """What went wrong is said in the step's text, and the build ends there."""
    await farm.start(Git(**{"repourl": str(repository.path), **arguments}), ShellCommand(command="true"))
    farm.agent()
    await farm.connected()
    buildid = await farm.build(**stamp)
    await farm.ended()
    git = farm.master.steps(buildid)[1]
    assert git["state_string"] == state.format(repository=repository.path)
    assert len(farm.master.steps(buildid)) == 2
    assert farm.master.build(buildid)["results"] == FAILURE


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, "file ignored new"),
        ({"mode": "full"}, "file"),
        ({"mode": "full", "method": "clean"}, "file ignored"),
        ({"mode": "full", "method": "clobber"}, "file"),
        ({"mode": "full", "method": "copy"}, "file"),
        ({"shallow": True}, "file ignored new"),
    ],
)
async def test_git_modes(farm: Farm, repository: Repository, arguments: dict[str, Any], left: str) -> None:
    """What each mode leaves of an earlier build's files; changes of tracked files are never kept."""
    await farm.start(
        Git(repourl=f"file://{repository.path}", **arguments),
        SetPropertyFromCommand(
            command="ls | tr '\\n' ' '; cat file; git rev-list --count HEAD", property="left", timeout=None
        ),
        ShellCommand(command="echo ignored > .git/info/exclude; touch ignored new; echo changed > file"),
    )
    farm.agent()
    await farm.connected()
    for expected in ("file", left):
        buildid = await farm.build(revision=repository.first)
        await farm.ended()
        row = farm.master.build(buildid)
        assert row["results"] == SUCCESS
        assert row["properties"]["left"][0] == f"{expected} one\n1"


async def test_git_submodules_and_patch(farm: Farm, repository: Repository, tmp_path: Path) -> None:
    """Submodules are checked out, and the source stamp's patch is applied."""
    other = Repository(tmp_path / "other")
    allow = ["-c", "protocol.file.allow=always"]
    repository.git(*allow, "submodule", "--quiet", "add", "../other", "sub")
    repository.git("commit", "-q", "-m", "submodule")
    body = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n"
    await farm.start(
        Git(
            repourl=str(repository.path),
            submodules=True,
            mode="full",
            config={"protocol.file.allow": "always"},
        ),
        SetPropertyFromCommand(command="cat file sub/file; git -C sub rev-parse HEAD", property="seen"),
    )
    farm.agent()
    await farm.connected()
    buildid = await farm.build(patch_body=body, patch_level=1, patch_subdir=".", patch_author="Jo", patch_comment="no")
    await farm.ended()
    assert farm.master.build(buildid)["properties"]["seen"][0] == f"patched\ntwo\n{other.second}"
