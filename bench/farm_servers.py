"""Whole masters, ours and upstream's, with the same configuration, and their agents, for the time of a block."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

from bench import http_load
from bench.databases import new_database
from bench.farm_items import DELAY_S, Shape
from bench.process import ROOT, ActorError, environment, python
from bench.upstream_env import UpstreamEnvironment

#: until a master answers, all agents are there, a build is done
PATIENCE_S = 300.0

_CONFIG = """\
from buildbot.plugins import schedulers, steps, util, worker

workers = ["w%d" % i for i in range({first}, {first} + {agents})]
names = ["b%d" % i for i in range({builders})]
command = ["farm", "{lines}", "80", "0"]
factory = util.BuildFactory([steps.ShellCommand(name="step%d" % i, command=command) for i in range({steps})])
c = BuildmasterConfig = {{
    "multiMaster": True,
    "db": {{"db_url": {url!r}}},
    "buildbotURL": "http://127.0.0.1:{http}/",
    "buildbotNetUsageData": None,
    "collapseRequests": False,
    "www": {{"port": "tcp:{http}:interface=127.0.0.1"}},
    "protocols": {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}},
    "workers": [worker.Worker(name, "pw", max_builds=1) for name in workers],
    "builders": [util.BuilderConfig(name=name, workernames=workers, factory=factory) for name in names],
    "schedulers": [schedulers.ForceScheduler(name="force{number}", builderNames=names)],
}}
"""


class Farm:
    """One master that runs.

    Attributes:
        http: its port.
        pid: of its process.
        idle_mb: its memory before any agent came.
        service_s, service_cpu_s: how long its agents took until all were in service, and what that took of its CPU.
    """

    def __init__(self, tool: Path, url: str, shape: Shape, number: int, directory: Path) -> None:
        self.shape, self.number = shape, number
        self._tool, self._directory = tool, directory
        self.http, self.pb = free_port(), free_port()
        self.base = directory / f"master{number}"
        self.idle_mb = self.service_s = self.service_cpu_s = 0.0
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._run("create-master", str(self.base))
        first = number * shape.agents
        text = _CONFIG.format(
            url=url, http=self.http, pb=self.pb, number=number, first=first, agents=shape.agents,
            builders=shape.builders, steps=shape.steps, lines=shape.lines,
        )  # fmt: skip
        (self.base / "master.cfg").write_text(text)
        if number == 0:
            self._run("upgrade-master", str(self.base))

    def _run(self, *arguments: str) -> None:
        command = [str(self._tool), *arguments]
        done = subprocess.run(command, cwd=self._directory, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise ActorError(f"buildbot {arguments[0]}: {(done.stdout + done.stderr)[-2000:]}")

    def start(self) -> None:
        """Start it; it answers when this returns."""
        with (self._directory / f"log{self.number}").open("ab") as log:
            command = [str(self._tool), "start", "--nodaemon", str(self.base)]
            self._process = subprocess.Popen(
                command, cwd=self._directory, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        self._wait(lambda: len(self.get("builders")["builders"]) >= self.shape.builders, "does not answer")
        # a command line may have started the master as its child
        self.pid = max(_session(self._process.pid), key=http_load.memory_mb)
        self.idle_mb = http_load.memory_mb(self.pid)

    def start_agents(self) -> None:
        """Start its agents; all are in service when this returns."""
        begin, cpu = time.perf_counter(), http_load.cpu_seconds(self.pid)
        port = self.pb
        if self.shape.delayed:
            delay = self._help(python("bench.actors.delay", str(port), str(DELAY_S)))
            port = int(delay)
        self._help(
            python(
                "bench.actors.agents",
                f"--port={port}",
                f"--first={self.number * self.shape.agents}",
                f"--count={self.shape.agents}",
                f"--directory={self._directory / 'agents'}",
            )
        )
        first = self.number * self.shape.agents
        mine = {f"w{i}" for i in range(first, first + self.shape.agents)}

        def all_here() -> bool:
            workers = self.get("workers?field=name&field=connected_to")["workers"]
            return mine <= {worker["name"] for worker in workers if worker["connected_to"]}

        self._wait(all_here, "has not all of its agents", 0.2)
        self.service_s = time.perf_counter() - begin
        self.service_cpu_s = http_load.cpu_seconds(self.pid) - cpu

    def _help(self, command: list[str]) -> bytes:
        with (self._directory / f"agents{self.number}.log").open("ab") as log:
            helper = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        assert helper.stdout is not None
        self._helpers.append(helper)
        return helper.stdout.readline()

    def _wait(self, ready: Any, problem: str, pause_s: float = 0.05) -> None:
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit:
            if self._process.poll() is not None:
                raise ActorError(f"the master ended: {(self._directory / f'log{self.number}').read_text()[-2000:]}")
            try:
                if ready():
                    return
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(pause_s)
        raise ActorError(f"the master {problem} after {PATIENCE_S:g} s")

    def get(self, path: str) -> Any:
        """An answer of the API."""
        return self._ask(path)

    def force(self, builderid: int) -> int:
        """Ask for a build; the id of its buildset."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"builderid": builderid}}
        return int(self._ask(f"forceschedulers/force{self.number}", call)["result"][0])

    def _ask(self, path: str, call: dict[str, Any] | None = None) -> Any:
        """An answer; upstream cuts one short now and then, which is asked again."""
        body = None if call is None else json.dumps(call).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/api/v2/{path}", body, headers)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                    return json.load(reply)
            except IncompleteRead:
                if body is not None:
                    raise

    def transactions(self) -> float:
        """How many transactions that may write it has made; only ours tells."""
        _, _, body = http_load.get(self.http, "/metrics")
        found = re.search(rb"^tenfold_commit_groups_total (\S+)$", body, re.MULTILINE)
        if found is None:
            raise ActorError("the master does not tell how many transactions it has made")
        return float(found[1])

    def stop(self) -> None:
        """End it and its agents."""
        for helper in self._helpers:
            assert helper.stdin is not None
            helper.stdin.close()
            helper.wait(60)
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def farms(who: str, backend: str, shape: Shape, directory: Path, agents: bool = True) -> Iterator[list[Farm]]:
    """Masters of ``tenfold`` or ``upstream`` on a new database.

    ``agents``: start their agents too; otherwise `Farm.start_agents` does. Raises NoServerError, NoUpstreamError.
    """
    tool = Path(sys.executable).with_name("buildbot")
    with ExitStack() as stack:
        elsewhere = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farm-", dir=directory)))
        theirs = UpstreamEnvironment(directory / "upstream")
        if who == "upstream":
            theirs.prepare(backend)
            tool = theirs.python.with_name("buildbot")
        url = ours = stack.enter_context(new_database(backend, "farm", directory))
        if who == "upstream":
            url = theirs.url(url)
        masters = [Farm(tool, url, shape, number, elsewhere) for number in range(shape.masters)]
        if shape.waiting:
            counts = [str(shape.waiting), str(shape.builders)]
            subprocess.run(python("bench.actors.queue_up", ours, *counts), cwd=ROOT, check=True)
        for master in masters:
            stack.callback(master.stop)
            master.start()
        if agents:
            for master in masters:
                master.start_agents()
        yield masters


def free_port() -> int:
    """A TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[3]) == leader:
            found.append(int(stat.parent.name))
    return found
