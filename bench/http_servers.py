"""Both servers, each with its database and the same farm in it, for the time of a block."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import http_load
from bench.bulk import Bulk
from bench.databases import new_database
from bench.http_data import Size, fill_tenfold, fill_upstream
from bench.process import ROOT, ActorError, Process, python
from bench.upstream_env import upstream_database

_CONFIG = """\
from buildbot.plugins import schedulers, util, worker

c = BuildmasterConfig = {{
    "multiMaster": True,
    "db_url": {url!r},
    "buildbotURL": "http://127.0.0.1:{port}/",
    "www": {{"port": {port}}},
    "protocols": {{"pb": {{"port": "tcp:0:interface=127.0.0.1"}}}},
    "workers": [worker.Worker(f"w{{i}}", "pw") for i in range(1, 51)],
    "builders": [
        util.BuilderConfig(
            name=f"b{{i}}",
            workernames=[f"w{{(i - 1) % 50 + 1}}"],
            factory=util.BuildFactory(),
            tags=[f"tag{{i % 10 + 1}}"],
        )
        for i in range(1, 101)
    ],
    "schedulers": [schedulers.ForceScheduler(name="force", builderNames=["b1"])],
}}
"""


class Server(Process):
    """A server's process.

    Attributes:
        port, pid: where it listens, what it is.
        first_s: seconds from its start to its first answer.
    """

    def __init__(self, name: str, command: list[str], directory: Path, port: int) -> None:
        self.port = port
        begin = time.perf_counter()
        super().__init__(name, command, directory)
        try:
            self.first_s = self._first_answer() - begin
            self.pid: int = self.answer()["pid"]
        except BaseException:
            self.kill()
            raise

    def statements(self, path: str) -> int:
        """SQL statements of one request: the fewest of a few, since others go on meanwhile."""
        counts: list[int] = []
        for _ in range(3):
            before = self.ask(do="statements")["statements"]
            http_load.get(self.port, path)
            counts.append(self.ask(do="statements")["statements"] - before)
        return min(counts)

    def _first_answer(self) -> float:
        while not self.has_ended:
            try:
                status, _, _ = http_load.get(self.port, "/api/v2/builds?limit=1")
            except OSError:
                time.sleep(0.01)
            else:
                if status == 200:
                    return time.perf_counter()
        self.answer()
        raise ActorError(f"{self.name} does not answer")


@contextmanager
def tenfold(backend: str, directory: Path, size: Size, fill: Any = fill_tenfold) -> Iterator[Server]:
    """Ours, with what ``fill`` puts there. Raises NoServerError."""
    with new_database(backend, "http", directory) as url:
        subprocess.run(python("bench.actors.schema", url), cwd=ROOT, check=True)
        _fill(url, fill, size)
        port, basedir = _free_port(), directory / f"http-{backend}-{size.pending}"
        basedir.mkdir(exist_ok=True)
        (basedir / "master.cfg").write_text(_CONFIG.format(url=url, port=port))
        server = Server("tenfold", python("bench.actors.http_tenfold", str(basedir)), ROOT, port)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def upstream(backend: str, directory: Path, size: Size) -> Iterator[Server]:
    """Theirs. Raises NoUpstreamError."""
    with upstream_database(backend, "http_upstream", directory) as made:
        _fill(made.url, fill_upstream, size)
        port = _free_port()
        arguments = [str(ROOT), made.theirs, str(made.elsewhere / f"http-{backend}"), str(port)]
        server = Server("upstream", made.command("http_upstream.py", *arguments), made.elsewhere, port)
        try:
            yield server
        finally:
            server.close()


def _fill(url: str, fill: Any, size: Size) -> None:
    bulk = Bulk(url)
    try:
        fill(bulk, size)
        bulk.settle()
    finally:
        bulk.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
