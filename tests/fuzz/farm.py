"""A whole master in a process of its own, with a little of everything in its database."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import takewhile
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.result import Ok

from buildbot.master import openMaster
from buildbot.util.results import FAILURE
from tests.support.databases import database_url
from tests.support.masters import make_master
from tests.support.reactor import run
from tests.unit.www.farm import Farm

BUILDBOT = str(Path(sys.executable).with_name("buildbot"))

#: a name that is harmless only where it is escaped
HTML = "<script>alert('x')</script>\"&\r\nX-Injected: 1"

_CONFIG = """\
from buildbot.plugins import schedulers, util, worker

c = BuildmasterConfig = {{
    "db_url": {url!r},
    "buildbotURL": "http://127.0.0.1:{port}/",
    "www": {{
        "port": {port},
        "change_hook_dialects": {{
            "base": True, "github": {{"secret": "s3cret-of-hooks"}}, "gitlab": True, "gitea": True,
        }},
    }},
    "protocols": {{"pb": {{"port": "tcp:0:interface=127.0.0.1"}}}},
    "workers": [worker.Worker("w1", "pw")],
    "builders": [util.BuilderConfig(name="b1", workernames=["w1"], factory=util.BuildFactory(), tags=["t"])],
    "schedulers": [
        schedulers.ForceScheduler(
            name="force",
            builderNames=["b1"],
            properties=[
                util.IntParameter("number", default=1),
                util.ChoiceStringParameter("choice", choices=["a", "b"], default="a"),
                util.NestedParameter("nest", fields=[util.StringParameter("inner", default="")]),
            ],
        )
    ],
}}
"""


#: names that there are, by the parameters that take them
_NAMES = {
    "buildername": "b1",
    "schedulername": "force",
    "step_name": "compile",
    "log_slug": "stdio",
    "name": "data",
    "projectname": "proj",
    "codebasename": "code",
    "revision": "1" * 40,
}


class Master:
    """A running master.

    Attributes:
        port: of its web server.
        pid: of its process.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self._log = directory / "fuzz.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        (directory / "master.cfg").write_text(_CONFIG.format(url=url, port=self.port))
        with self._log.open("wb") as log:
            command = [BUILDBOT, "start", "--nodaemon", str(directory)]
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid
        while not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.05)  # another process starts: there is no event to wait for

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def described(self) -> dict[str, Any]:
        """Its OpenAPI document."""
        document: dict[str, Any] = json.loads(self.get("/api/v2/openapi.json")[1])
        return document

    def memory_kb(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def quickness_s(self) -> float:
        """The median of some ordinary requests."""
        took = []
        for number in range(41):
            begin = time.perf_counter()
            assert self.get(f"/api/v2/builds?limit=50&order=-buildid&offset={number}")[0] == 200
            took.append(time.perf_counter() - begin)
        return sorted(took)[20]

    def complaints(self) -> list[str]:
        """Tracebacks in its log, which tell of something that nobody foresaw; each once."""
        found: dict[str, str] = {}
        for part in self._log.read_text(errors="replace").split("Traceback (most recent call last):")[1:]:
            lines = list(takewhile(lambda line: line.startswith("\t") and line.strip(), part.splitlines()[1:]))
            found.setdefault("".join(lines[-2:]), "\n".join(lines))
        return list(found.values())

    def log_bytes(self) -> int:
        """How long its log is."""
        return self._log.stat().st_size

    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return self.get("/ready")[0] == 200
        except OSError:
            return False


@contextmanager
def running_master(directory: Path, database: str) -> Iterator[Master]:
    """A master on a database, ``sqlite``, ``postgresql`` or ``mysql``, that is filled first."""
    with database_url(database, "fuzz", directory) as url:
        run(_fill(url))
        make_master(directory)
        master = Master(directory, url)
        try:
            yield master
        finally:
            master.stop()


def likely(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with paths that lead to something: small numbers and names that there are."""
    made = deepcopy(document)
    for item in made["paths"].values():
        for parameter in item.get("parameters", ()):
            values: list[Any] = [_NAMES[name] for name in parameter["name"].split("_or_") if name in _NAMES]
            if "integer" in str(parameter["schema"]):
                values += [1, 2, 3]
            parameter["schema"] = {"enum": values or [1, 2]}
    return made


def operations(document: dict[str, Any]) -> list[Any]:
    """What schemathesis finds in a document made ``likely``, but for streams, which do not end."""
    found = []
    for result in schemathesis.openapi.from_dict(likely(document)).get_all_operations():
        assert isinstance(result, Ok), result
        found.append(result.ok())
    return [each for each in found if not each.path.startswith("/sse")]


async def _fill_codebase(update: Any) -> None:
    """A project with a codebase: two lines of commits from a common one, and a branch on each."""
    projectid = await update.find_project_id("proj")
    await update.update_project_info(projectid, "proj", HTML, "markdown", HTML)
    codebaseid = await update.find_codebase_id(projectid=projectid, name="code")
    await update.update_codebase_info(codebaseid=codebaseid, projectid=projectid, slug="code")
    commits: list[int] = []
    for number, parent in enumerate((None, 0, 1, 1, 3, 2)):
        commits.append(
            await update.add_commit(
                codebaseid=codebaseid,
                author="me <me@example.org>",
                comments=HTML,
                revision=f"{number}" * 40,
                parent_commitid=None if parent is None else commits[parent],
            )
        )
    for name, commitid in (("main", commits[-1]), (HTML, commits[-2]), ("gone", None)):
        await update.update_branch(codebaseid=codebaseid, name=name, commitid=commitid)


async def _add_results(update: Any, builderid: int, buildid: int, stepid: int, complete: bool) -> None:
    """Test results of a step, in two sets."""
    for category, unit in (("pass_fail", "boolean"), (HTML[:10], "s")):
        setid = await update.addTestResultSet(builderid, buildid, stepid, HTML, category, unit)
        results = [
            {"value": str(n % 2), "test_name": f"{HTML}{n}", "test_code_path": "../a.py", "line": n, "duration_ns": n}
            for n in range(20)
        ]
        await update.addTestResults(builderid, setid, results)
        if complete:
            await update.completeTestResultSet(setid, tests_passed=10, tests_failed=10)


async def _fill(url: str) -> None:
    master = await openMaster(url, name="before:/", upgrade=True)
    try:
        update = master.data.update
        await update.masterActive()
        farm = Farm(master)
        await farm.configure({"b1": ["t"], "b2": []}, ["w1", "w2"])
        await _fill_codebase(update)
        for number in range(6):
            changeid = await update.addChange(
                author="me <me@example.org>",
                files=["a", HTML],
                comments=HTML,
                revision=f"{number}" * 40,
                branch="main",
                repository="https://example.org/r",
                properties={"big": (2**70, "Change")},
            )
            assert changeid
            properties = {"owner": ("me", "test"), "n": (number, "test")}
            stamp = {"codebase": "code", "project": "proj", "revision": f"{number}" * 40, "branch": "main"}
            build = await farm.build("b1", "w1", properties=properties, sourcestamps=[stamp])
            step = await build.step("compile")
            await _add_results(update, farm.builders["b1"], build.buildid, step, complete=bool(number % 2))
            await build.log(step, "ohello\nebad\n" * 500)
            for name, kind in ((HTML, "h"), ("../../etc/passwd", "t")):
                await update.finishLog(await build.log(step, "text\n", name, kind))
            await update.setBuildProperties(build.buildid, {HTML: ([HTML], "test")})
            await update.setBuildData(build.buildid, "data", b"\x00\xff", "test")
            if number % 2:
                await build.end_step(step)
                await build.end(FAILURE)
        await farm.request("b2")
        await update.masterStopped()
    finally:
        await master.close()
