"""``buildbot try``: real trees, jobs as schedulers read them, a scheduler's side of the protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import NetstringReceiver
from twisted.spread import pb

from buildbot.scripts import optionsfile
from buildbot.scripts.main import main
from buildbot.scripts.pbclient import words
from buildbot.scripts.tryclient import Job, PbClient
from buildbot.scripts.trysource import Difference, difference
from buildbot.util.results import FAILURE, SUCCESS
from tests.support.reactor import reactor


def run(directory: Path, *command: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@x", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@x"}
    env = {**os.environ, **who, "HGUSER": "a", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(command, cwd=directory, env=env, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def git(tmp_path: Path) -> Path:
    """A clone with a commit of its own, and a change that is not committed."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    run(tmp_path, "git", "init", "-q", "-b", "main", str(origin))
    (origin / "a").write_text("1\n")
    run(origin, "git", "add", "a")
    run(origin, "git", "commit", "-qm", "1")
    run(tmp_path, "git", "clone", "-q", str(origin), str(clone))
    (clone / "a").write_text("2\n")
    run(clone, "git", "commit", "-qam", "2")
    (clone / "b").write_bytes(b"\0\xff")
    run(clone, "git", "add", "b")
    (clone / "sub").mkdir()
    return clone


def test_git(git: Path) -> None:
    """The base is the upstream of the current branch, or a named one; the patch is the whole difference."""
    base = run(git, "git", "rev-parse", "origin/main")
    for branch, revision in ((None, None), ("main", None), (None, base[:10])):
        found = difference("git", git / "sub", branch, revision)
        assert (found.branch, found.revision, found.patchlevel) == ("main", base, 1)
        assert found.repository == str(git.parent / "origin")
        assert b"-1\n+2\n" in found.patch and b"GIT binary patch" in found.patch
    run(git.parent / "origin", "git", "apply", "--check", str(write(git / "sub" / "patch", found.patch)))
    run(git, "git", "checkout", "-qb", "mine")
    with pytest.raises(click.ClickException, match="the current branch has no upstream"):
        difference("git", git, None, None)
    assert difference("git", git, "main", None).revision == base
    with pytest.raises(click.ClickException, match="not a git repository"):
        difference("git", git.parent, None, None)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.skipif(shutil.which("hg") is None, reason="hg is not installed")
def test_hg(tmp_path: Path) -> None:
    """The base is the newest public ancestor of the changeset that is checked out."""
    run(tmp_path, "hg", "init", "origin")
    (tmp_path / "origin" / "a").write_text("1\n")
    run(tmp_path / "origin", "hg", "commit", "-Aqm", "1")
    with pytest.raises(click.ClickException, match="no ancestor of this changeset is public"):
        difference("hg", tmp_path / "origin", None, None)
    run(tmp_path, "hg", "clone", "-q", "origin", "clone")
    (tmp_path / "clone" / "a").write_text("2\n")
    run(tmp_path / "clone", "hg", "commit", "-qm", "2")
    found = difference("hg", tmp_path / "clone", None, None)
    base = run(tmp_path / "clone", "hg", "log", "-r", "0", "--template", "{node}")
    assert (found.branch, found.revision, found.patchlevel) == ("default", base, 1)
    assert b"-1\n+2\n" in found.patch and found.repository == str(tmp_path / "origin")


@pytest.mark.skipif(shutil.which("svn") is None, reason="svn is not installed")
def test_svn(tmp_path: Path) -> None:
    """The base is the revision of the working copy."""
    run(tmp_path, "svnadmin", "create", "origin")
    url = (tmp_path / "origin").as_uri()
    run(tmp_path, "svn", "checkout", "-q", url, "copy")
    (tmp_path / "copy" / "a").write_text("1\n")
    run(tmp_path / "copy", "svn", "add", "-q", "a")
    run(tmp_path / "copy", "svn", "commit", "-qm", "1")
    run(tmp_path / "copy", "svn", "update", "-q")
    (tmp_path / "copy" / "a").write_text("2\n")
    found = difference("svn", tmp_path / "copy", None, None)
    assert (found.branch, found.revision, found.patchlevel, found.repository) == (None, "1", 0, url)
    assert b"-1\n+2\n" in found.patch


class Strings(NetstringReceiver):
    """Collects netstrings."""

    MAX_LENGTH = 10**6

    def connectionMade(self) -> None:
        self.strings: list[bytes] = []

    def stringReceived(self, string: bytes) -> None:
        self.strings.append(string)


@pytest.mark.parametrize("patch", [b"+\xc3\xa4\n", b"+\xff\n"])
def test_job(patch: bytes) -> None:
    """A job's file is version 5, or 6 if the patch is no text."""
    reader: Any = Strings()
    reader.makeConnection(StringTransport())
    tree = Difference(None, "abc", patch, 1, None)
    reader.dataReceived(Job(tree, builders=["b"], who="me", properties={"a": "1"}).file())
    version, described = reader.strings[0], json.loads(reader.strings[1])
    assert described.pop("jobid")
    if version == b"5":
        assert described.pop("patch_body").encode() == patch
    else:
        assert (version, b64decode(described.pop("patch_body_base64"))) == (b"6", patch)
    assert described == {
        "branch": "", "baserev": "abc", "patch_level": 1, "repository": "", "project": "", "who": "me",
        "comment": None, "builderNames": ["b"], "properties": {"a": "1"},
    }  # fmt: skip


def test_options_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest file is used; one that fails, or belongs to another user, ends the command."""
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    home = tmp_path / "home"
    for directory, text in ((home, "x = 'home'"), (tmp_path / "a", "import os\nx = 'a'\n__y = 1")):
        (directory / ".buildbot").mkdir(parents=True)
        (directory / ".buildbot" / "options").write_text(text)
    assert optionsfile.read(here, home)["x"] == "a"
    assert optionsfile.read(tmp_path, home)["x"] == "home"
    assert optionsfile.read(tmp_path, tmp_path) == {}
    (here / ".buildbot").mkdir()
    (here / ".buildbot" / "options").write_text("x = y")
    with pytest.raises(click.ClickException, match="NameError: name 'y' is not defined"):
        optionsfile.read(here, home)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    os.chown(tmp_path / "a" / ".buildbot" / "options", 54321, -1)
    with pytest.raises(click.ClickException, match="belongs to another user and is not run"):
        optionsfile.read(tmp_path / "a", home)


def invoke(directory: Path, *arguments: str, **more: Any) -> Result:
    before = Path.cwd()
    os.chdir(directory)
    try:
        return CliRunner().invoke(main, ["try", *arguments], **more)
    finally:
        os.chdir(before)


def test_command(git: Path, tmp_path: Path) -> None:
    """A job reaches a jobdir by a program like ssh; defaults come from the file of options; mistakes are reported."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    ssh = tmp_path / "ssh"
    bin = Path(sys.executable).parent
    ssh.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = \'-l me host\' ] || exit 9\nshift 3\nexec {bin}/"$@"\n')
    ssh.chmod(0o755)
    (git / ".buildbot").mkdir()
    (git / ".buildbot" / "options").write_text(
        f"try_connect = 'ssh'\ntry_host = 'host'\ntry_username = 'me'\ntry_jobdir = {str(tmp_path / 'jobs')!r}\n"
        f"try_ssh = {str(ssh)!r}\ntry_vc = 'git'\ntry_builders = ['b1', 'b2']\n"
    )
    result = invoke(git / "sub", "--property", "a=b=c", "--properties", "x=1,y=2", "--dryrun")
    assert result.exit_code == 0, result.output
    assert "branch: main\n" in result.output and "builders: b1, b2\n" in result.output
    assert "properties: {'x': '1', 'y': '2', 'a': 'b=c'}" in result.output and "\n+2\n" in result.output
    result = invoke(git / "sub", "-b", "b3", "--wait")
    assert (result.exit_code, result.output) == (
        0, "job has been delivered\nwaiting for builds with ssh is not supported\n",
    )  # fmt: skip
    (job,) = (tmp_path / "jobs" / "new").iterdir()
    assert b'"builderNames": ["b3"]' in job.read_bytes()
    for arguments, code, message in (
        (["--username", "x"], 1, "ended with exit code 9"),
        (["--vc", "cvs"], 2, "--vc must be one of git, hg, svn, or --diff must be given"),
        (["--property", "a"], 2, "a property must be NAME=VALUE, not 'a'"),
        (["--connect", "pb"], 2, "--connect=pb needs --master"),
        (["--get-builder-names"], 2, "that needs --connect=pb"),
        (["--connect", "pb", "-m", "x"], 2, "--master must be HOST:PORT, not 'x'"),
        (["--diff", "-"], 1, "there is no patch to try"),
    ):
        result = invoke(git, *arguments, input="")
        assert (result.exit_code, message in result.output) == (code, True), result.output


class Referenceable(pb.Referenceable):
    """Answers calls by functions."""

    def __init__(self, **calls: Any) -> None:
        for name, call in calls.items():
            setattr(self, f"remote_{name}", call)


class Scheduler(pb.Avatar):
    """The scheduler of the protocol: one request, whose build succeeds or fails."""

    def __init__(self, results: int | None) -> None:
        self.results = results
        self.tried: list[Any] = []
        self.finish: Deferred[None] = Deferred()

    def requestAvatar(self, name: Any, mind: Any, *interfaces: Any) -> Any:
        """The scheduler, for each login."""
        return pb.IPerspective, self, lambda: None

    def perspective_getAvailableBuilderNames(self) -> list[str]:
        """As the schedulers answer."""
        return ["b1", "b2"]

    def perspective_try(self, *arguments: Any) -> Any:
        """As the schedulers answer."""
        self.tried.append(arguments)
        if self.results is None:
            return None
        status = Referenceable(getResults=lambda: self.results, getText=lambda: ["build", "done"])

        def wait() -> Any:
            return self.finish.addCallback(lambda _: status)

        build = Referenceable(subscribe=lambda observer, seconds: None, waitUntilFinished=wait)

        async def subscribe(observer: Any) -> None:
            await observer.callRemote("newbuild", build, "b1")
            await observer.callRemote("stepStarted", "b1", build, "compile", None)
            await observer.callRemote("stepFinished", "b1", build, "compile", None, self.results)
            await observer.callRemote("buildETAUpdate", "b1", build, 7.2)
            self.finish.callback(None)

        request = Referenceable(subscribe=lambda observer: Deferred.fromCoroutine(subscribe(observer)))
        return Referenceable(getBuildRequests=lambda: [("b1", request)])


@asynccontextmanager
async def connected(scheduler: Scheduler, password: str = "pw") -> AsyncIterator[PbClient]:
    checker = InMemoryUsernamePasswordDatabaseDontUse(me=b"pw")
    factory: Any = pb.PBServerFactory(Portal(scheduler, [checker]))  # type: ignore[arg-type]
    factory.unsafeTracebacks = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        async with PbClient(reactor, ("127.0.0.1", port.getHost().port), "me", password) as client:
            yield client
    finally:
        await maybeDeferred(port.stopListening)


JOB = Job(Difference("main", "abc", b"+x\n", 1, "/r"), builders=["b1"], who="me", properties={"a": "1"})


@pytest.mark.parametrize(("results", "code"), [(SUCCESS, 0), (FAILURE, 1)])
async def test_pb(results: int, code: int) -> None:
    """A job is sent, and its builds are followed to their ends, which decide the exit code."""
    scheduler, told = Scheduler(results), list[str]()
    async with connected(scheduler) as client:
        assert await client.builders() == ["b1", "b2"]
        assert await client.attempt(JOB, True, told.append) == code
    assert scheduler.tried == [("main", "abc", (1, b"+x\n"), "/r", "", ["b1"], "me", None, {"a": "1"})]
    name = "success" if results == SUCCESS else "failure"
    steps = [] if results == SUCCESS else ["b1: compile: failure"]
    ends = ["All Builds Complete", f"b1: {name} (build done)"]
    assert told == ["b1: building", "b1: compile", *steps, "b1: 7 seconds left", *ends]


async def test_pb_without_waiting() -> None:
    """Without --wait the job is only sent; the refusal of a job or a login is an error."""
    told: list[str] = []
    async with connected(Scheduler(SUCCESS)) as client:
        assert await client.attempt(JOB, False, told.append) == 0
    assert told == ["job has been delivered"]
    async with connected(Scheduler(None)) as client:
        with pytest.raises(click.ClickException, match="does not have these builders"):
            await client.attempt(JOB, True, told.append)
    with pytest.raises(Exception) as caught:
        async with connected(Scheduler(None), "wrong"):
            pass
    assert words(caught.value) == "wrong user or password"
