"""A master that the others took for dead, because it stood still or was cut off, works again when it is back."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import select
from sqlalchemy.engine import make_url

from buildbot.db.dialects import dialect_for
from buildbot.resources.events import events
from tests.support.clocks import fake_time
from tests.support.databases import database_url, selected_backends
from tests.support.masters import make_master, migrate
from tests.support.proxy import proxy_to
from tests.support.servers import missing

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
WORKERS = 2
CONFIG = """
from buildbot.plugins import changes, schedulers, steps, util, worker
from buildbot.process import heartbeat
heartbeat.BEAT_S, heartbeat.EXPIRY_S = 0.5, {expiry}
c = BuildmasterConfig = {{"db": {{"db_url": {url!r}}}, "multiMaster": True}}
c["workers"] = [worker.Worker(f"{name}{{number}}", "secret") for number in range({workers})]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
factory = util.BuildFactory([steps.ShellCommand(command="true", name="true", logEnviron=False)])
names = [each.name for each in c["workers"]]
c["builders"] = [util.BuilderConfig(name="{name}", workernames=names, factory=factory)]
c["schedulers"] = [
    schedulers.ForceScheduler(name="force-{name}", builderNames=["{name}"]),
    schedulers.AnyBranchScheduler(name="any-{name}", builderNames=["{name}"]),
]
c["change_source"] = [changes.GitPoller({repository!r}, name="git-{name}", pollInterval=3600, pollAtLaunch=False)]
c["buildbotURL"] = "http://127.0.0.1:{www}/"
c["www"] = {{"port": "tcp:{www}:interface=127.0.0.1"}}
"""


class Master:
    """A real master with real workers of its own; its builder and its workers have its name in theirs."""

    def __init__(self, directory: Path, name: str, url: str, expiry_s: int) -> None:
        self.name = name
        self.directory = directory / name
        self.process: subprocess.Popen[str]
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self.www, self.pb = one.getsockname()[1], two.getsockname()[1]
        make_master(self.directory)
        values = {"url": url, "name": name, "pb": self.pb, "www": self.www, "workers": WORKERS, "expiry": expiry_s}
        (self.directory / "master.cfg").write_text(CONFIG.format(repository=str(directory / "none.git"), **values))

    @contextmanager
    def running(self, **environment: str) -> Iterator[None]:
        """Run a master and its workers, without the workers' logs; the environment is that of the master only."""
        with ExitStack() as stack:
            command = [str(BIN / "buildbot"), "start", "--nodaemon", str(self.directory)]
            env = os.environ | environment
            self.process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env))
            stack.callback(self.process.kill)
            assert self.process.stdout is not None
            while "BuildMaster is running" not in (line := self.process.stdout.readline()):
                assert line, "it ended"
            threading.Thread(target=self.process.stdout.read, daemon=True).start()
            for number in range(WORKERS):
                worker = self.directory / f"worker{number}"
                name = f"{self.name}{number}"
                _run(BIN / "buildbot-worker", "create-worker", str(worker), f"127.0.0.1:{self.pb}", name, "secret")
                agent = subprocess.Popen([str(BIN / "buildbot-worker"), "start", "--nodaemon", str(worker)])
                stack.callback(agent.wait)
                stack.callback(agent.kill)
            yield

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """A reply as JSON."""
        request = Request(f"http://127.0.0.1:{self.www}/{path}", body, {"Content-Type": "application/json"})
        try:
            with urlopen(request) as reply:
                return json.load(reply)
        except HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None

    def get(self, path: str) -> Any:
        """The items of a reply of the API."""
        return self.ask(f"api/v2/{path}")[path.partition("?")[0].split("/")[0]]

    def clock(self) -> int:
        """The number of the newest event."""
        return int(self.ask("api/v2/masters")["meta"]["clock"])

    def force(self) -> int:
        """Ask for a build of its builder; the request's id."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {}}
        (brid,) = self.ask(f"api/v2/forceschedulers/force-{self.name}", json.dumps(call).encode())["result"][1].values()
        return int(brid)

    def wait_for(self, path: str, since: int, is_it: Callable[[str, Any], bool]) -> Any:
        """The first message about a path after a clock of which ``is_it(event, message)`` is true."""
        with urlopen(f"http://127.0.0.1:{self.www}/sse/listen/{path}?since={since}") as stream:
            for line in stream:
                if line.startswith(b"data:") and b'"key"' in line:
                    told = json.loads(line[5:])
                    if is_it(told["key"][-1], told["message"]):
                        return told["message"]
        raise AssertionError(f"the stream of {path} ended")

    def build(self) -> int:
        """Force a build and wait for its end; its results."""
        since = self.clock()
        brid = self.force()
        request = self.wait_for(
            "buildrequests/*/*", since, lambda event, message: event == "complete" and message["buildrequestid"] == brid
        )
        return int(request["results"])

    def wait_for_workers(self, since: int) -> None:
        """Return when all its workers are connected, which they were not at a clock."""
        missing = {worker["workerid"] for worker in self.get("workers") if worker["name"].startswith(self.name)}

        def is_last(event: str, message: Any) -> bool:
            if event == "connected":
                missing.discard(message["workerid"])
            return not missing

        self.wait_for("workers/*/*", since, is_last)


def _run(command: Path, *arguments: str) -> None:
    done = subprocess.run([str(command), *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def two_masters(directory: Path, url: str, other_url: str, expiry_s: int) -> Iterator[tuple[Master, Master]]:
    """Two masters on one database, the first by the way of ``url``, each with its workers connected."""
    migrate(other_url)
    first, other = Master(directory, "a", url, expiry_s), Master(directory, "b", other_url, expiry_s)
    with first.running(), other.running():
        for each in (first, other):
            each.wait_for_workers(0)
        yield first, other


def check_lost_and_back(first: Master, other: Master, lose: Callable[[], None], restore: Callable[[], None]) -> None:
    """Both build; the first is lost and declared dead, the other goes on; it is back, and both build as before."""
    assert (first.build(), other.build()) == (0, 0)
    (lost,) = [each["masterid"] for each in first.get("masters") if each["name"].endswith(f"/{first.name}")]
    since = other.clock()
    heard: list[Any] = []
    listening = threading.Thread(
        target=lambda: heard.append(
            first.wait_for("builds/*/*", since, lambda event, message: event == "finished" and message["results"] == 0)
        ),
        daemon=True,
    )
    listening.start()
    lose()
    other.wait_for("masters/*/*", since, lambda event, message: event == "stopped" and message["masterid"] == lost)
    assert other.build() == 0
    since = other.clock()
    restore()
    other.wait_for("masters/*/*", since, lambda event, message: event == "started" and message["masterid"] == lost)
    first.wait_for_workers(since)
    assert (first.build(), other.build()) == (0, 0)
    # a client's earlier subscription has got all these events
    listening.join()
    assert heard
    # and the services that one master runs for all run again, on one of them
    for kind in ("schedulers", "changesources"):
        for part in first.get(kind):
            if part["name"].split("-")[0] != "force":
                assert part["master"] is not None, part["name"]


@pytest.mark.parametrize("backend", selected_backends())
def test_a_master_that_stood_still(backend: str, tmp_path: Path) -> None:
    """Declared dead while it was suspended, it lets all its workers in again and builds, without a restart."""
    with database_url(backend, "dead", tmp_path) as url, two_masters(tmp_path, url, url, 5) as (first, other):
        check_lost_and_back(
            first,
            other,
            lambda: first.process.send_signal(signal.SIGSTOP),
            lambda: first.process.send_signal(signal.SIGCONT),
        )


@pytest.mark.parametrize("backend", [backend for backend in selected_backends() if backend != "sqlite"])
def test_a_master_that_was_cut_off(backend: str, tmp_path: Path) -> None:
    """Declared dead while nothing came through to the database, it works again once the cable is back."""
    with database_url(backend, "dead", tmp_path) as text:
        url = make_url(text)
        port = int(url.port or dialect_for(text).url.port or 0)
        with proxy_to(str(url.host), port) as proxy:
            way = url.set(port=proxy.port).render_as_string(hide_password=False)
            with two_masters(tmp_path, way, text, 5) as (first, other):
                check_lost_and_back(first, other, proxy.pull, proxy.plug_in)


@pytest.mark.parametrize("backend", [backend for backend in selected_backends() if backend != "mysql"])
def test_a_clock_that_is_set(backend: str, tmp_path: Path) -> None:
    """A master whose clock is set forth by an hour and back again builds all the time, and is never taken for dead.

    With a database in its process, and with a server, whose clock is another.
    """
    found = fake_time(tmp_path)
    if found is None:
        missing("no libfaketime on this machine (Debian: libfaketime)")
    said, environment = found
    with database_url(backend, "clock", tmp_path) as url:
        migrate(url)
        master = Master(tmp_path, "a", url, 30)
        with master.running(**environment):
            master.wait_for_workers(0)
            since = master.clock()
            for offset in ("+3600\n", "+0\n"):
                assert master.build() == 0
                said.write_text(offset)
            assert master.build() == 0
            # by the database's clock, which is not this process's where there is a server
            (before,) = [each["last_active"] for each in master.get("masters")]
            while master.get("masters")[0]["last_active"] == before:
                assert master.build() == 0
            assert master.ask("ready")["ready"]
            done = master.clock()
        # all that was said of masters meanwhile: nothing
        assert _said_of_masters(url, since, done) == []


def _said_of_masters(url: str, after: int, until: int) -> list[str]:
    engine = dialect_for(url).create_engine()
    with engine.connect() as conn:
        found = (
            conn.execute(select(events.c.routing_keys).where(events.c.seq > after, events.c.seq <= until))
            .scalars()
            .all()
        )
    engine.dispose()
    return [key for key in found if str(key).startswith("masters/")]
