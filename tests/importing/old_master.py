"""A real Buildbot 4.3, in an environment that is made at first use, outside of the repository."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from bench.upstream_env import NoUpstreamError, UpstreamEnvironment

#: where it is kept, unless TENFOLD_UPSTREAM says otherwise
ENVIRONMENT = Path(os.environ.get("TENFOLD_UPSTREAM", Path.home() / ".cache" / "tenfold" / "upstream-4.3.0"))

CONFIG = """
from buildbot.plugins import changes, schedulers, steps, util, worker

c = BuildmasterConfig = {{}}
c["buildbotNetUsageData"] = None
c["workers"] = [worker.Worker("local", "password")]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
c["change_source"] = [
    changes.GitPoller(repourl={repository!r}, branches=["main"], pollInterval=3600, pollAtLaunch=True)
]
factory = util.BuildFactory([
    steps.ShellCommand(name="hello", command=["sh", "-c", "echo hällo; seq 200; echo oops >&2"]),
    steps.SetProperty(property="colour", value="blue"),
    steps.ShellCommand(name="fail", command=["false"], warnOnFailure=True, flunkOnFailure=False),
])
c["builders"] = [util.BuilderConfig(name="run tests", workernames=["local"], factory=factory, tags=["quick"])]
c["schedulers"] = [
    schedulers.SingleBranchScheduler(
        "main", change_filter=util.ChangeFilter(branch="main"), builderNames=["run tests"]
    ),
    schedulers.Periodic("often", periodicBuildTimer=2, builderNames=["run tests"]),
    schedulers.ForceScheduler("force", builderNames=["run tests"]),
]
c["www"] = {{"port": "tcp:{www}:interface=127.0.0.1"}}
c["buildbotURL"] = "http://127.0.0.1:{www}/"
c["db"] = {{"db_url": {db_url!r}}}
"""


class OldMaster:
    """A master of Buildbot 4.3 with a worker, in a directory of its own.

    Attributes:
        directory: the master's.
        buildbot: the program.
        url: of its page.
        repository: what it polls, with one commit.
    """

    def __init__(self, directory: Path, backend: str, db_url: str) -> None:
        environment = UpstreamEnvironment(ENVIRONMENT)
        try:
            environment.prepare(backend)
        except NoUpstreamError as reason:
            pytest.skip(f"no Buildbot 4.3 to test with: {reason}")
        self.directory = directory / "old"
        self.buildbot = environment.python.with_name("buildbot")
        self.repository = directory / "repository"
        self._elsewhere = directory
        www, pb = free_ports(2)
        self.url = f"http://127.0.0.1:{www}/"
        self.git("init", "--quiet", "--initial-branch=main", str(self.repository))
        self.commit("first")
        self.command("create-master", str(self.directory))
        config = CONFIG.format(pb=pb, www=www, repository=str(self.repository), db_url=environment.url(db_url))
        (self.directory / "master.cfg").write_text(config, encoding="utf-8")
        if backend != "sqlite":
            self.command("upgrade-master", str(self.directory))
        self._agent("create-worker", f"127.0.0.1:{pb}", "local", "password")

    def command(self, *arguments: str) -> None:
        """Run its program: never from here, where a package has the name of its own."""
        subprocess.run([self.buildbot, *arguments], cwd=self._elsewhere, check=True, timeout=110, capture_output=True)

    def _agent(self, command: str, *arguments: str) -> None:
        program = self.buildbot.with_name("buildbot-worker")
        subprocess.run(
            [program, command, str(self._elsewhere / "worker"), *arguments],
            cwd=self._elsewhere, check=True, timeout=110, capture_output=True,
        )  # fmt: skip

    def git(self, *arguments: str) -> None:
        """Run git as somebody."""
        who = ["-c", "user.name=Joe", "-c", "user.email=joe@example.org"]
        subprocess.run(["git", *who, *arguments], cwd=self._elsewhere, check=True)

    def commit(self, name: str) -> None:
        """Commit a new file to the repository."""
        (self.repository / name).write_text("one line\n")
        self.git("-C", str(self.repository), "add", name)
        self.git("-C", str(self.repository), "commit", "--quiet", "--message", name)

    def start(self) -> None:
        """Start it; returns when it is up."""
        self.command("start", "--start_timeout", "100", str(self.directory))

    def stop(self) -> None:
        """Stop it; returns when it has ended."""
        with ending(self.directory):
            # it gives up waiting after some seconds
            subprocess.run([self.buildbot, "stop", str(self.directory)], cwd=self._elsewhere, capture_output=True)

    def start_worker(self) -> None:
        """Start the worker, which connects to whatever master listens."""
        self._agent("start")

    def stop_worker(self) -> None:
        """Stop the worker."""
        self._agent("stop")

    def see_builds(self, count: int) -> None:
        """Return when so many builds have ended from now on."""
        with urlopen(f"{self.url}sse/builds/*/finished", timeout=100) as stream:
            for line in stream:
                count -= line.startswith(b"event: event")
                if not count:
                    return

    def api(self, path: str) -> Any:
        """A reply of its API."""
        with urlopen(f"{self.url}api/v2/{path}", timeout=60) as reply:
            return json.load(reply)


@contextmanager
def running(master: OldMaster) -> Iterator[None]:
    """The old master and its worker run during the block, and certainly not after it."""
    master.start()
    try:
        master.start_worker()
        yield
    finally:
        master.stop_worker()
        if (master.directory / "twistd.pid").exists():
            master.stop()


@contextmanager
def ending(directory: Path) -> Iterator[None]:
    """The block tells a master to stop; after it the process has ended, however long that takes."""
    process = os.pidfd_open(int((directory / "twistd.pid").read_text()))
    try:
        yield
        select.select([process], [], [], 100)
    finally:
        os.close(process)


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody uses."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        with closing(each):
            pass
    return ports
