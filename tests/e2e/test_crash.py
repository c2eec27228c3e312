"""A master that is killed in the middle of a build: nothing that a client saw is lost, and the work is done again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.support.masters import make_master

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
CONFIG = """
from buildbot.plugins import schedulers, steps, util, worker
c = BuildmasterConfig = {{}}
c["workers"] = [worker.Worker("w", "secret")]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
# says something, then waits until it may go on
command = "echo one; echo two; while [ ! -e {gate} ]; do sleep 0.1; done; echo three"
factory = util.BuildFactory([steps.ShellCommand(command=command, name="wait", logEnviron=False)])
c["builders"] = [util.BuilderConfig(name="b", workernames=["w"], factory=factory)]
c["schedulers"] = [schedulers.ForceScheduler(name="force", builderNames=["b"])]
c["buildbotURL"] = "http://127.0.0.1:{www}/"
c["www"] = {{"port": {www}}}
"""


#: a builder that triggers the one above, and waits for it
PARENT = """
waiting = util.BuildFactory([steps.Trigger(schedulerNames=["t"], waitForFinish=True)])
c["builders"].insert(0, util.BuilderConfig(name="parent", workernames=["w"], factory=waiting))
c["schedulers"] = [
    schedulers.ForceScheduler(name="force", builderNames=["parent"]),
    schedulers.Triggerable(name="t", builderNames=["b"]),
]
"""


class Farm:
    """A master with one real worker, and requests of clients."""

    def __init__(self, directory: Path, more: str = "") -> None:
        self.master = directory / "master"
        self.worker = directory / "worker"
        self.gate = directory / "gate"
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.www, self.pb = one.getsockname()[1], two.getsockname()[1]
        make_master(self.master)
        (self.master / "master.cfg").write_text(CONFIG.format(pb=self.pb, www=self.www, gate=self.gate) + more)
        _run(BIN / "buildbot-worker", "create-worker", str(self.worker), f"127.0.0.1:{self.pb}", "w", "secret")

    def start(self) -> None:
        """Start the master; returns when it is up."""
        _run(BIN / "buildbot", "start", str(self.master))

    def kill(self) -> None:
        """End the master without a chance to say anything."""
        os.kill(int((self.master / "twistd.pid").read_text()), signal.SIGKILL)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run the worker."""
        with subprocess.Popen([str(BIN / "buildbot-worker"), "start", "--nodaemon", str(self.worker)]) as agent:
            try:
                yield
            finally:
                agent.terminate()

    def get(self, path: str) -> Any:
        """A reply of the API."""
        with urlopen(f"http://127.0.0.1:{self.www}/api/v2/{path}") as reply:
            return json.load(reply)

    def force(self) -> int:
        """Ask for a build; the request's id."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"builderid": "1"}}
        url = f"http://127.0.0.1:{self.www}/api/v2/forceschedulers/force"
        with urlopen(Request(url, json.dumps(call).encode(), {"Content-Type": "application/json"})) as reply:
            return int(json.load(reply)["result"][1]["1"])

    def events(self, path: str, since: int) -> Iterator[tuple[int, str, Any]]:
        """The events under a path after a clock: clock, event and message of each."""
        with urlopen(f"http://127.0.0.1:{self.www}/sse/listen/{path}?since={since}") as stream:
            clock = since
            for line in stream:
                if line.startswith(b"id:"):
                    clock = int(line[3:])
                elif line.startswith(b"data:") and b'"key"' in line:
                    told = json.loads(line[5:])
                    yield clock, told["key"][-1], told["message"]


def _run(command: Path, *arguments: str) -> None:
    done = subprocess.run([str(command), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def farm(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Farm]:
    """A running master, stopped when the test ends."""
    made = Farm(tmp_path, getattr(request, "param", ""))
    made.start()
    yield made
    subprocess.run([str(BIN / "buildbot"), "stop", str(made.master)], capture_output=True, timeout=60)


def test_killed_in_the_middle_of_a_build(farm: Farm) -> None:
    """RETRY, the request runs again, no line shown is gone, and a client that resumes sees every event once."""
    begin = farm.get("builds")["meta"]["clock"]
    with farm.working():
        brid = farm.force()
        # wait until the page could show the lines
        for _, event, log in farm.events("logs/*/*", begin):
            if event == "append" and "two\n" in farm.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]:
                break
        shown = farm.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
        seen_before: list[tuple[int, str]] = []
        for clock, event, build in farm.events("builds/*/*", begin):
            seen_before.append((clock, event))
            if build["state_string"] == "building":
                break

        farm.kill()
        farm.start()

        # the lines that a client has read are there
        kept = farm.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]
        assert kept.startswith(shown)
        farm.gate.touch()
        seen_after: list[tuple[int, str]] = []
        for clock, event, build in farm.events("builds/*/*", seen_before[-1][0]):
            seen_after.append((clock, event))
            if event == "finished" and build["number"] == 2:
                break

    builds = farm.get(f"buildrequests/{brid}/builds")["builds"]
    assert [(build["number"], build["results"]) for build in builds] == [(1, 5), (2, 0)]
    assert farm.get(f"buildrequests/{brid}")["buildrequests"][0]["results"] == 0
    assert farm.get("buildsets")["buildsets"][0]["complete"]

    # both connections together saw every event exactly once, in order
    seen = seen_before + seen_after
    assert [clock for clock, _ in seen] == sorted({clock for clock, _ in seen})
    everything = []
    for clock, event, _ in farm.events("builds/*/*", begin):
        everything.append((clock, event))
        if clock == seen[-1][0]:
            break
    assert seen == everything


@pytest.mark.parametrize("farm", [PARENT], indirect=True, ids=["parent"])
def test_killed_while_a_build_waits_for_another(farm: Farm) -> None:
    """Both are built again, each for its own request: the triggered build is neither lost nor triggered twice."""
    begin = farm.get("builds")["meta"]["clock"]
    with farm.working():
        brid = farm.force()
        for _, event, log in farm.events("logs/*/*", begin):
            if event == "append" and "two\n" in farm.get(f"logs/{log['logid']}/contents")["logchunks"][0]["content"]:
                break
        clock = farm.get("builds")["meta"]["clock"]
        farm.kill()
        farm.start()
        farm.gate.touch()
        for _, event, request in farm.events("buildrequests/*/*", clock):
            if event == "complete" and request["buildrequestid"] == brid:
                break

    forced, triggered = farm.get("buildsets?order=bsid")["buildsets"]
    parents = farm.get(f"buildrequests/{brid}/builds?order=buildid")["builds"]
    assert [build["results"] for build in parents] == [5, 0]
    assert (forced["scheduler"], triggered["scheduler"]) == ("force", "t")
    assert (triggered["results"], triggered["parent_buildid"]) == (0, parents[-1]["buildid"])
    (child,) = farm.get(f"buildsets/{triggered['bsid']}/buildrequests")["buildrequests"]
    builds = farm.get(f"buildrequests/{child['buildrequestid']}/builds?order=buildid")["builds"]
    assert [build["results"] for build in builds] == [5, 0]
