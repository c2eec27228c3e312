"""Two real masters on one database, and many real agents of each."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from sqlalchemy.engine import make_url

from bench.process import ROOT, python
from tests.faults.databases import Database
from tests.faults.settings import Settings
from tests.support.masters import make_master, migrate
from tests.support.proxy import Proxy, proxy_to

BIN = Path(sys.executable).parent
CONFIG = """
from buildbot.plugins import schedulers, steps, util, worker
from buildbot.process import heartbeat
heartbeat.BEAT_S, heartbeat.EXPIRY_S = {expiry} / 6, {expiry}
c = BuildmasterConfig = {{"db": {{"db_url": {url!r}}}, "multiMaster": True}}
names = [f"w{{number}}" for number in range({first}, {first} + {workers})]
c["workers"] = [worker.Worker(name, "pw", max_builds=1) for name in names]
c["protocols"] = {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}}
command = ["farm", "{lines}", "{width}", "{pause}"]
factory = util.BuildFactory([
    steps.ShellCommand(name=f"step{{number}}", command=command, logEnviron=False) for number in range({steps})
])
builders = [f"b{{number}}" for number in range({builders})]
c["builders"] = [util.BuilderConfig(name=name, workernames=names, factory=factory) for name in builders]
c["collapseRequests"] = False
c["schedulers"] = [schedulers.ForceScheduler(name="force-{name}", builderNames=builders)]
c["buildbotURL"] = "http://127.0.0.1:{www}/"
c["www"] = {{"port": "tcp:{www}:interface=127.0.0.1"}}
"""
#: how long a master may need until it is ready, on a busy machine
_START_S = 120.0


class Child:
    """A process that may be killed, paused and started again."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Run it."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT, env=os.environ | environment
            )

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child = None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._child is not None
        self._child.send_signal(number)

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._child is not None and self._child.poll() is None

    def last_words(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-3000:]


class Master(Child):
    """A master, run by the command of this checkout.

    Attributes:
        name: ``a`` or ``b``.
        agents: its workers, all in one process.
        masterid: once it has been ready.
    """

    def __init__(self, directory: Path, name: str, url: str, settings: Settings, first: int) -> None:
        self.name = name
        self.masterid = 0
        self._base = directory / name
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            two.bind(("127.0.0.1", 0))
            self._www, pb = one.getsockname()[1], two.getsockname()[1]
        make_master(self._base)
        values = {"url": url, "name": name, "pb": pb, "www": self._www, "first": first, "expiry": settings.expiry_s}
        values |= {"workers": settings.workers, "lines": settings.lines, "width": settings.width}
        values |= {"pause": settings.pause_s, "steps": settings.steps, "builders": settings.builders}
        (self._base / "master.cfg").write_text(CONFIG.format(**values))
        super().__init__([str(BIN / "buildbot"), "start", "--nodaemon", str(self._base)], directory / f"{name}.log")
        agents = python("bench.actors.agents", f"--port={pb}", f"--count={settings.workers}", f"--first={first}")
        self.agents = Child([*agents, f"--directory={directory / 'workers'}"], directory / f"{name}-agents.log")

    def start(self, **environment: str) -> None:
        """Run it; returns when it says that it is ready."""
        super().start(**environment)
        wait_until(self._is_ready, _START_S, lambda: f"master {self.name} is not ready: {self.last_words()}")
        names = self.get("masters")["masters"]
        self.masterid = next(each["masterid"] for each in names if each["name"].endswith(f"/{self.name}"))

    def _is_ready(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"master {self.name} ended: {self.last_words()}")
        try:
            with urlopen(f"http://127.0.0.1:{self._www}/ready", timeout=10) as reply:
                return bool(json.load(reply)["ready"])
        except OSError:  # that it is not ready is one as well
            return False

    def get(self, path: str, timeout_s: float = 60.0) -> Any:
        """A reply of the API. Raises OSError."""
        with urlopen(f"http://127.0.0.1:{self._www}/api/v2/{path}", timeout=timeout_s) as reply:
            return json.load(reply)

    def force(self, builderid: int, timeout_s: float) -> int:
        """Ask for a build; the request's id. Raises OSError, HTTPException, or ValueError for half an answer."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"builderid": builderid}}
        url = f"http://127.0.0.1:{self._www}/api/v2/forceschedulers/force-{self.name}"
        request = Request(url, json.dumps(call).encode(), {"Content-Type": "application/json"})
        with urlopen(request, timeout=timeout_s) as reply:
            (brid,) = json.load(reply)["result"][1].values()
        return int(brid)

    def tracebacks(self) -> int:
        """How many are in its log."""
        found = [self._log, *self._base.glob("twistd.log*")]
        return sum(path.read_text(errors="replace").count("Traceback (most recent") for path in found)


class Farm:
    """All that a fault may be done to.

    Attributes:
        directory: of its files.
        masters: both; the first has its way to the database through a proxy, if it is a server's.
        database: of both.
        proxy: that way.
    """

    def __init__(
        self, directory: Path, masters: list[Master], database: Database, proxy: Proxy | None, settings: Settings
    ) -> None:
        self.directory = directory
        self.masters = masters
        self.database = database
        self.proxy = proxy
        self.settings = settings

    def await_workers(self) -> None:
        """Return when the workers of all masters are connected."""
        wanted = len(self.masters) * self.settings.workers

        def connected() -> bool:
            try:
                workers = self.masters[0].get("workers")["workers"]
            except OSError:
                return False
            return sum(bool(worker["connected_to"]) for worker in workers) == wanted

        wait_until(connected, _START_S, lambda: f"not all workers come: {self.masters[0].last_words()}")


@contextmanager
def running_farm(directory: Path, database: Database, settings: Settings) -> Iterator[Farm]:
    """Two masters that are ready, with all their workers; killed at the end."""
    with ExitStack() as stack:
        proxy, url = None, database.url
        if database.server is not None:
            proxy = stack.enter_context(proxy_to("127.0.0.1", database.server.port, tells=True))
            url = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
        migrate(database.url)
        masters = [
            Master(directory, name, way, settings, number * settings.workers)
            for number, (name, way) in enumerate({"a": url, "b": database.url}.items())
        ]
        farm = Farm(directory, masters, database, proxy, settings)
        for master in masters:
            for child in (master, master.agents):
                stack.callback(child.kill)
                child.start()
        farm.await_workers()
        yield farm


def wait_until(is_so: Callable[[], bool], seconds: float, otherwise: Callable[[], str]) -> None:
    """Look again and again, for other processes tell nobody; RuntimeError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise())
        time.sleep(0.1)
