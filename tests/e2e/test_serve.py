"""The demonstration: script/serve makes a master and a worker, and the two build a repository."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.importing.support import sample_copy

pytestmark = pytest.mark.e2e

SERVE = Path(__file__).parents[2] / "script" / "serve.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit."""
    path = tmp_path / "repository"
    git(tmp_path, "init", "--quiet", str(path))
    commit(path, "first")
    return path


def git(directory: Path, *arguments: str) -> None:
    """Run git with an identity."""
    identity = ["-c", "user.name=Joe", "-c", "user.email=joe@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=directory, check=True)


def commit(repository: Path, name: str) -> None:
    """Commit a new file."""
    (repository / name).write_text("one line\n")
    git(repository, "add", name)
    git(repository, "commit", "--quiet", "--message", name)


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[str]:
    """script/serve, once the page is served; gives the page's address, and stops it as Ctrl-C does."""
    with subprocess.Popen(
        [sys.executable, str(SERVE), *arguments, str(directory)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if "Ctrl-C stops everything" in line:
                    break
            page = re.search(r"Its page: (\S+)", "".join(said))
            assert page, said
            yield page[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.read()
    assert process.returncode == 0


def get(page: str, path: str) -> Any:
    """A reply of the API."""
    with urlopen(f"{page}api/v2/{path}") as reply:
        return json.load(reply)


def events(page: str, path: str) -> Iterator[str]:
    """The routing keys of the events under a path, as they come."""
    with urlopen(f"{page}sse/listen/{path}") as stream:
        yield ""
        for line in stream:
            if line.startswith(b"data:") and b'"key"' in line:
                yield json.loads(line[5:])["key"]


def test_force_and_commit(tmp_path: Path, repository: Path) -> None:
    """A forced build and a build of a new commit both succeed, and a second start continues the first."""
    directory = tmp_path / "demo"
    with serving(directory, "--repo", str(repository)) as page:
        finished = events(page, "builds/*/finished")
        next(finished)
        call = {"jsonrpc": "2.0", "id": 1, "method": "force", "params": {"builderid": 1}}
        request = Request(
            f"{page}api/v2/forceschedulers/force",
            json.dumps(call).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(request) as reply:
            assert "result" in json.load(reply)
        next(finished)
        commit(repository, "second")
        next(finished)
        builds = get(page, "builds")["builds"]
        assert [(build["number"], build["state_string"]) for build in builds] == [
            (1, "build successful"),
            (2, "build successful"),
        ]
    with serving(directory) as page:
        assert get(page, "builds")["builds"] == builds
        assert len(get(page, "masters")["masters"]) == 1


@pytest.mark.parametrize("repo", ["/nonexistent", "file:///nonexistent", "nobody@127.0.0.1:nonexistent.git"])
def test_no_repository(tmp_path: Path, repo: str) -> None:
    """A repository that cannot be read is said at once, and nothing is made."""
    done = subprocess.run(
        [sys.executable, str(SERVE), "--repo", repo, str(tmp_path / "demo")], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"'{repo}' ")
    assert not (tmp_path / "demo").exists()


def test_not_a_repository(tmp_path: Path) -> None:
    """A directory that is no repository is named, and nothing is made."""
    done = subprocess.run(
        [sys.executable, str(SERVE), "--repo", str(tmp_path), str(tmp_path / "demo")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (f"'{tmp_path}' is not a git repository; name one with: script/serve --repo PATH_OR_URL\n")
    assert not (tmp_path / "demo").exists()


def test_import(tmp_path: Path, repository: Path) -> None:
    """--import brings a Buildbot database in first: its builds are served under their numbers, and new ones follow.
    Where the master has run since, it is refused."""
    source = f"sqlite:///{sample_copy(tmp_path)}"
    arguments = (tmp_path / "demo", "--repo", str(repository), "--import", source)
    with serving(*arguments) as page:
        assert get(page, "builds/48")["builds"][0]["number"] == 16
        text = get(page, "logs/139/contents")["logchunks"][0]["content"]
        assert hashlib.sha256(text.encode()).hexdigest().startswith("e41f57c4f4d2967f")
    refused = subprocess.run(
        [sys.executable, str(SERVE), "--import", source, str(tmp_path / "demo")], capture_output=True, text=True
    )
    assert refused.returncode == 1 and "has run on this database since it was imported" in refused.stderr
