"""Whole configurations as people write them, with real agents over both protocols: the builds of a change, and their
reports.

They load in Buildbot 4.3 as well, with the same words.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from buildbot.util.results import FAILURE, SKIPPED, SUCCESS, WARNINGS
from tests.support.databases import database_url, selected_backends
from tests.support.http import Handler
from tests.support.masters import make_master, migrate

pytestmark = pytest.mark.e2e

BIN = Path(sys.executable).parent
CONFIGURATIONS = Path(__file__).parent / "configurations"
SECRET = "hush-hush-42"
#: the files of the compiler's repository
SOURCES = {
    "configure": "echo configured > config.log; echo checking",
    "compile": "echo $WHO; echo jobs $1; echo 'a.c:3: warning: odd'; echo 'generated.c:1: warning: even'; "
    "echo binary > out.bin",
    "check": "echo 'PASS: one'; echo 'FAIL: two'; echo 'PASS: three'",
    "docs/index": "an index\n",
}


class Recorder:
    """A server that keeps every request and answers each with success."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self._came = threading.Condition()
        recorder = self

        class Recording(Handler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                headers = {key.lower(): value for key, value in self.headers.items()}
                with recorder._came:
                    recorder.requests.append((self.path, headers, body))
                    recorder._came.notify_all()
                self.reply(b"{}", 201)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Recording)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, end: str, count: int) -> None:
        """Wait for a number of requests whose path ends with a text."""
        with self._came:
            self._came.wait_for(lambda: sum(path.endswith(end) for path, _, _ in self.requests) >= count)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"


class Farm:
    """A master with one of the configurations, and an agent for each protocol."""

    def __init__(self, directory: Path, configuration: str, url: str) -> None:
        self.directory, self.master = directory, directory / "master"
        self.http = Recorder()
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            self.pb, self.msgpack, self.www = (each.getsockname()[1] for each in sockets)
        make_master(self.master)
        (self.master / "master.cfg").write_text((CONFIGURATIONS / f"{configuration}.cfg").read_text())
        (directory / "notes.txt").write_text("notes\n")
        (directory / "secrets").mkdir(mode=0o700)
        secret = directory / "secrets" / "token"
        secret.touch(mode=0o600)
        secret.write_text(SECRET)
        ports = {"PB": self.pb, "MSGPACK": self.msgpack, "WWW": self.www}
        self.environment = os.environ | {"FARM": str(directory), "DB_URL": url, "HTTP": self.http.url}
        self.environment |= {name: str(port) for name, port in ports.items()}
        self.revision = _repository(directory / "repository")
        migrate(url)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the master and the agents."""
        with ExitStack() as stack:
            command = [str(BIN / "buildbot"), "start", "--nodaemon", str(self.master)]
            master = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment)
            )
            stack.callback(master.terminate)
            assert master.stdout is not None
            said = ""
            while "BuildMaster is running" not in said:
                line = master.stdout.readline()
                assert line, said
                said += line
            threading.Thread(target=master.stdout.read, daemon=True).start()
            for name, port in (("pb", self.pb), ("msgpack", self.msgpack)):
                protocol = "pb" if name == "pb" else "msgpack_experimental_v7"
                agent = self.directory / name
                make = ("create-worker", f"--protocol={protocol}", str(agent), f"127.0.0.1:{port}", name, "pw")
                _run(BIN / "buildbot-worker", *make)
                child = subprocess.Popen([str(BIN / "buildbot-worker"), "start", "--nodaemon", str(agent)])
                stack.callback(child.wait)
                stack.callback(child.kill)
            yield

    def get(self, path: str) -> Any:
        """A reply of the API: the items of a collection."""
        with urlopen(f"http://127.0.0.1:{self.www}/api/v2/{path}") as reply:
            found = json.load(reply)
        (name,) = found.keys() - {"meta"}
        return found[name]

    def change(self) -> None:
        """Tell the master of the newest commit."""
        change = {"author": "Al <al@example.org>", "comments": "mend it", "branch": "main", "revision": self.revision,
                  "files": json.dumps(["lib/a.c"]), "repository": str(self.directory / "repository")}  # fmt: skip
        with urlopen(f"http://127.0.0.1:{self.www}/change_hook/base", urlencode(change).encode()) as reply:
            assert reply.status == 200

    def wait_for_buildsets(self, count: int) -> None:
        """Wait until a number of buildsets have ended."""
        with urlopen(f"http://127.0.0.1:{self.www}/sse/listen/buildsets/*/complete?since=0") as stream:
            for line in stream:
                if line.startswith(b"data:") and b'"key"' in line:
                    count -= 1
                    if count == 0:
                        return
        raise AssertionError("the stream of events ended")

    def build(self, builder: str, number: int = 1) -> dict[str, Any]:
        """A build with its properties and steps; the text of each log by step and name."""
        build: dict[str, Any] = self.get(f"builders/{builder}/builds/{number}?property=*")[0]
        build["properties"] = {name: value for name, (value, _) in build["properties"].items()}
        build["steps"] = self.get(f"builds/{build['buildid']}/steps?order=number")
        build["logs"] = {
            (step["name"], log["name"]): self.text(log["logid"])
            for step in build["steps"]
            for log in self.get(f"steps/{step['stepid']}/logs")
        }
        return build

    def text(self, logid: int) -> str:
        """The text of a log."""
        with urlopen(f"http://127.0.0.1:{self.www}/api/v2/logs/{logid}/raw") as reply:
            return str(reply.read().decode())


def _run(command: Path, *arguments: str, **options: Any) -> str:
    done = subprocess.run([str(command), *arguments], capture_output=True, text=True, timeout=100, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def _repository(path: Path) -> str:
    """A git repository with the sources, and a tag; its newest revision."""
    git = Path("git")
    for name, text in SOURCES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    who = ("-c", "user.name=Al", "-c", "user.email=al@example.org")
    _run(git, "init", "-q", "-b", "main", cwd=path)
    _run(git, "add", ".", cwd=path)
    _run(git, *who, "commit", "-qm", "begin", cwd=path)
    _run(git, *who, "tag", "-m", "first", "v1", cwd=path)
    return _run(git, "rev-parse", "HEAD", cwd=path).strip()


@pytest.fixture(params=selected_backends())
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database_url(request.param, "configurations", tmp_path) as made:
        yield made


def of_steps(build: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """How each step ended, by name."""
    return {step["name"]: (step["results"], step["state_string"]) for step in build["steps"]}


def test_compiler(url: str, tmp_path: Path) -> None:
    """Checked out, configured, compiled, tested and packed: on both agents alike."""
    farm = Farm(tmp_path, "compiler", url)
    with farm.running():
        farm.change()
        farm.wait_for_buildsets(1)
        for name, jobs in (("pb", 2), ("msgpack", 3)):
            build = farm.build(name)
            assert of_steps(build) == {
                "worker_preparation": (SUCCESS, f"worker {name} ready"),
                "checkout": (SUCCESS, f"update {farm.revision[:10]}"),
                "system": (SUCCESS, "2 properties set"),
                "names": (SUCCESS, "Properties Set"),
                "label": (SUCCESS, "downloading to label.txt"),
                "notes": (SUCCESS, "downloading to notes.txt"),
                "json_properties_download": (SUCCESS, "downloading to properties.json"),
                "configure": (SUCCESS, "configure"),
                "compile": (WARNINGS, "compile (warnings)"),
                "check": (WARNINGS, "3 tests 2 passed 1 failed (warnings)"),
                "sizes": (SUCCESS, "7 bytes"),
                "quick": (SKIPPED, "'false' (skipped)"),
                "pack": (SUCCESS, "uploading out.bin"),
                "docs": (SUCCESS, "uploading docs"),
                "texts": (SUCCESS, "uploading 2 files"),
                "on master": (SUCCESS, "Ran"),
                "status": (WARNINGS, "'exit 3': exit code 3 (warnings)"),
                "too slow": (FAILURE, "'sleep 60': timed out after 1 s (failure)"),
                "at last": (SUCCESS, "ended"),
            }
            assert build["results"] == WARNINGS, of_steps(build)
            expected = {"got_revision": farm.revision, "commit-description": "v1", "system": "Linux", "lines": 2,
                        "label": f"{name}-release", "upper": "LINUX", "size": 7, "warnings-count": 1, "quick": "no",
                        "jobs": jobs, "scheduler": "changes", "owners": ["Al <al@example.org>"]}  # fmt: skip
            assert expected.items() <= build["properties"].items()
            logs = build["logs"]
            assert f"\na:b\njobs -j{jobs}\na.c:3: warning: odd\n" in logs["compile", "stdio"]
            assert logs["compile", "warnings (1)"].endswith("\na.c:3: warning: odd\n".lstrip())
            assert logs["configure", "config.log"].endswith("configured\n")
            assert logs["on master", "stdio"].endswith(f"on the master: {name}-release\n")
            steps = {step["name"]: step for step in build["steps"]}
            assert steps["quick"]["hidden"] and not steps["check"]["hidden"]
            link = f"http://files.example.org/{name}.bin"
            assert [each["url"] for each in steps["pack"]["urls"]] == [link]
            packed = tmp_path / "uploads" / f"{name}.bin"
            assert packed.read_text() == "binary\n" and packed.stat().st_mode & 0o777 == 0o640
            assert (tmp_path / "uploads" / f"{name}-docs" / "index").read_text() == "an index\n"
            texts = tmp_path / "uploads" / f"{name}-texts"
            assert (texts / "label.txt").read_text() == f"label = {name}-release\n"
            assert (texts / "notes.txt").read_text() == "notes\n"


def test_distribution(url: str, tmp_path: Path) -> None:
    """A build triggers four images and waits for them; the one that fails does not count, and others depend on it."""
    farm = Farm(tmp_path, "distribution", url)
    with farm.running():
        farm.change()
        farm.wait_for_buildsets(7)
        parent = farm.build("parent")
        assert parent["results"] == SUCCESS
        assert of_steps(parent) == {
            "worker_preparation": (SUCCESS, "worker pb ready"),
            "layers": (SUCCESS, "triggered image, image, image, image, 3 success, 1 failure"),
            "docs": (SUCCESS, "triggered docs"),
        }
        links = [link["name"] for link in parent["steps"][1]["urls"]]
        assert len(links) == 8 and {"success", "failure"} == {link.split(":")[0] for link in links[4:]}
        images = [farm.build("image", number) for number in range(1, 5)]
        by_machine = {build["properties"]["machine"]: build for build in images}
        assert {machine: build["results"] for machine, build in by_machine.items()} == {
            "arm": SUCCESS, "x86": SUCCESS, "free": SUCCESS, "broken": FAILURE,
        }  # fmt: skip
        for machine, build in by_machine.items():
            steps = of_steps(build)
            assert steps.pop("machine works")[0] == (FAILURE if machine == "broken" else SUCCESS)
            assert {results for results, _ in steps.values()} == {SUCCESS}
            assert list(steps) == [
                "worker_preparation", "locks_acquire", "MakeDirectory", "write",
                "CopyDirectory", "FileExists", "RemoveDirectory", "recipes", "manifest", "more", "added", "sequence",
                "log", "environment",
            ]  # fmt: skip
            assert build["properties"]["manifest"] == [machine, "image"]
            assert build["properties"]["scheduler"] == "image" and build["properties"]["recipes"] == ["one", "two"]
            assert build["logs"]["recipes", "log two"].count("recipe two\n") == 1
            assert f"\n{machine.upper()} IMAGE\n" in build["logs"]["sequence", "list"]
            assert build["logs"]["manifest", "content"].endswith(f"{machine} image\n")
            (buildset,) = farm.get(f"buildsets?parent_buildid={parent['buildid']}&bsid={self_of(farm, build)}")
            assert buildset["parent_relationship"] == "Triggered from"
        (docs, after) = farm.build("docs"), farm.build("after")
        assert "\nparent #1\n" in docs["logs"]["tell", "stdio"] and docs["properties"]["kind"] == "docs"
        assert "\ndependent\n" in after["logs"]["tell", "stdio"] and after["properties"]["revision"] == farm.revision


def self_of(farm: Farm, build: dict[str, Any]) -> int:
    """The buildset that a build belongs to."""
    (request,) = farm.get(f"buildrequests/{build['buildrequestid']}")
    return int(request["buildsetid"])


def test_robots(url: str, tmp_path: Path) -> None:
    """Three agents, one of them the master's own; no secret is shown; services and reporters get each build."""
    farm = Farm(tmp_path, "robots", url)
    with farm.running():
        farm.change()
        farm.wait_for_buildsets(1)
        for name in ("pb", "msgpack", "local"):
            build = farm.build(name)
            assert of_steps(build) == {
                "worker_preparation": (SUCCESS, f"worker {name} ready"),
                "move": (SUCCESS, "finished"),
                "token": (SUCCESS, "'echo token <token>'"),
                "flat": (SUCCESS, "'echo a ...'"),
                "old": (SUCCESS, f"'echo {name} of {name}'"),
                "post": (SUCCESS, "Status code: 201"),
                "killed": (FAILURE, "'sh -c ...': killed by a signal (failure)"),
            }
            assert build["results"] == WARNINGS
            logs = build["logs"]
            assert "\ntoken <token>\n" in logs["token", "stdio"] and "TOKEN=<token>" in logs["token", "stdio"]
            assert f"\na arm of {name}\n" in logs["flat", "stdio"]
            assert f"arm arm of {name}\n" in logs["move", "moves"] and "<b>moved</b>" in logs["move", "page"]
            assert SECRET not in json.dumps(farm.build(name)["steps"]) + "".join(logs.values())
        farm.http.wait_for("/push", 6)
        farm.http.wait_for("/chat", 3)
        farm.http.wait_for(f"statuses/{farm.revision}", 9)
    assert sorted(line.split()[:2] for line in (tmp_path / "notes").read_text().splitlines()) == [
        ["local", "1"], ["msgpack", "1"], ["pb", "1"],
    ]  # fmt: skip
    assert sorted(body for path, _, body in farm.http.requests if path == "/step") == [
        "arm=arm+of+local", "arm=arm+of+msgpack", "arm=arm+of+pb",
    ]  # fmt: skip
    statuses: dict[str, list[str]] = {}
    for path, headers, body in farm.http.requests:
        if path.endswith(f"/statuses/{farm.revision}"):
            assert headers["authorization"] == f"token {SECRET}"
            told = json.loads(body)
            statuses.setdefault(told["context"], []).append(told["description"])
    in_order = ["Build pending.", "Build started.", "Build done."]
    assert statuses == {f"ci/{name}": in_order for name in ("pb", "msgpack", "local")}
