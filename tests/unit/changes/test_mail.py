"""Mails about commits become changes, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs

from buildbot.changes.base import PollError
from buildbot.changes.mail import (
    BzrLaunchpadEmailMaildirSource,
    CVSMaildirSource,
    MaildirSource,
    SVNCommitEmailMaildirSource,
)
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.test.running import Running

HEAD = "From: Jo Doe <jo@example.org>\nSubject: x\nDate: Sat, 01 Aug 2009 11:00:00 +0000\n"
CVS_11 = (
    f"{HEAD}\nCvsmode: 1.11\nCategory: None\nCVSROOT: :ext:h:/cvs\n"
    "Files: base/src GNUmakefile,1.362,1.363 x y,1.1,NONE\n"
    "Project: MyModule\nUpdate of /cvs/base\n\nModified Files:\n\tGNUmakefile\nLog Message:\nline one\nline two\n"
)
CVS_12 = CVS_11.replace("Cvsmode: 1.11", "Cvsmode: 1.12\nPath: base/src\nTag: b1").replace(
    "Files: base/src ", "Files: "
)
SVN = (
    f"{HEAD}\nAuthor: ann\nDate: 2009-08-01\nNew Revision: 1234\n\nLog:\nfirst line\n\nthird\n\n"
    "Added:\n   trunk/a/new.c\n"
    "Modified:\n   trunk/a/b.c\nRemoved:\n   tags/old\n\nModified: trunk/a/b.c\n=====\n   not/a/file\n"
)
BZR = (
    f"{HEAD}X-Launchpad-Branch: ~u/p/trunk\n\n{'-' * 60}\nrevno: 7 [merge]\ncommitter: Ann B <ann@x>\n"
    "branch nick: trunk\ntimestamp: Fri 2009-05-15 10:35:43 +0200\nmessage:\n  a message\n  with: more\n"
    "added:\n  new.c\nrenamed:\n  a => b\n"
    "\n--\nlp:p\n"
)


class Reading:
    """A source in a master that reads mails from a directory."""

    def __init__(self, master: Any, tmp_path: Path) -> None:
        self.master, self.tmp_path = Running(master, tmp_path), tmp_path
        (tmp_path / "mail" / "new").mkdir(parents=True)

    def deliver(self, name: str, text: str) -> None:
        (self.tmp_path / "mail" / "new" / name).write_text(text)

    async def read(self, kind: type[MaildirSource], *arguments: Any, **more: Any) -> list[dict[str, Any]]:
        """Read with a new source, which has the state in the database only; gives all changes so far."""
        source = kind("mail", *arguments, **more)
        source.master = self.master  # type: ignore[assignment]
        await source.claim(self.master.masterid)
        await source.poll()
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["changeid"]}, ("changes",))
        return found

    @property
    def left(self) -> dict[str, list[str]]:
        return {
            each: sorted(path.name for path in (self.tmp_path / "mail" / each).iterdir()) for each in ("new", "cur")
        }


@pytest.fixture
def reading(master: Any, tmp_path: Path) -> Reading:
    return Reading(master, tmp_path)


def shown(change: dict[str, Any], *names: str) -> list[Any]:
    return [change[name] for name in names]


async def test_cvs(reading: Reading) -> None:
    """Mails of both kinds of CVS; a mail that is none goes to ``cur``, too."""
    reading.deliver("1", CVS_11)
    reading.deliver("2", CVS_12)
    reading.deliver("3", f"{HEAD}\nhello\n")
    with capturedLogs() as logs:
        first, second = await reading.read(CVSMaildirSource, None, "c", properties={"p": 1})
    assert any("no change found in maildir file" in event["log_format"] for event in logs)
    assert shown(first, "author", "files", "comments", "revision", "branch", "when_timestamp") == [
        "jo", ["base/src/GNUmakefile", "base/src/x y"], "line one\nline two", "2009-08-01 11:00:00", None, 1249124400
    ]  # fmt: skip
    assert shown(first, "category", "repository", "project") == ["c", ":ext:h:/cvs", "MyModule"]
    assert first["properties"] == {"p": [1, "Change"]}
    assert shown(second, "files", "branch") == [first["files"], "b1"]
    assert reading.left == {"new": [], "cur": ["1", "2", "3"]}


async def test_svn(reading: Reading) -> None:
    """The files below the prefix, in a mail whose differences do not count."""
    reading.deliver("1", SVN)
    (change,) = await reading.read(SVNCommitEmailMaildirSource, "trunk", repository="r")
    assert shown(change, "author", "files", "comments", "revision", "branch", "repository", "category") == [
        "ann", ["a/new.c", "a/b.c"], "first line\n\nthird", "1234", None, "r", None
    ]  # fmt: skip
    reading.deliver("2", SVN)
    assert len(await reading.read(SVNCommitEmailMaildirSource, prefix="nothing")) == 1


async def test_bzr(reading: Reading) -> None:
    """A branch has the name that the map says, the default, or Launchpad's."""
    ways: list[dict[str, Any]] = [{"branchMap": {"lp:~u/p/trunk": "main"}}, {"defaultBranch": "d"}, {}]
    for number, arguments in enumerate(ways):
        reading.deliver(str(number), BZR)
        changes = await reading.read(BzrLaunchpadEmailMaildirSource, **arguments)
    assert [change["branch"] for change in changes] == ["main", "d", "lp:~u/p/trunk"]
    assert shown(changes[0], "author", "files", "comments", "revision", "repository", "when_timestamp") == [
        "Ann B <ann@x>", ["new.c", "b"], "a message\nwith: more", "7", "lp:~u/p/trunk", 1242376543
    ]  # fmt: skip


async def test_a_master_that_is_killed(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail that became a change and was not moved is moved, and is no second change."""
    reading.deliver("1", SVN)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        await reading.read(SVNCommitEmailMaildirSource)
    monkeypatch.undo()
    reading.deliver("2", SVN)
    assert len(await reading.read(SVNCommitEmailMaildirSource)) == 2
    assert reading.left == {"new": [], "cur": ["1", "2"]}


async def test_a_users_own_source(reading: Reading) -> None:
    """A subclass with ``parse``; a mail that it cannot read is logged and put aside."""

    class Own(MaildirSource):
        def parse(self, m: Any, prefix: str | None = None) -> Any:
            return "own", {
                "author": m["from"],
                "revision": m["x-revision"],
                "files": self.below_prefix(["a/b"], prefix),
            }

    reading.deliver("1", f"{HEAD}X-Revision: 5\n\n")
    (change,) = await reading.read(Own, "a/")
    assert shown(change, "author", "revision", "files") == ["Jo Doe <jo@example.org>", "5", ["b"]]
    reading.deliver("2", f"{HEAD}\n")
    with capturedLogs() as logs:
        assert len(await reading.read(MaildirSource)) == 1
    assert any("cannot be read" in event["log_format"] for event in logs)


async def test_no_mail_directory(reading: Reading) -> None:
    """It is said, and looked for again."""
    (reading.tmp_path / "mail" / "new").rmdir()
    with pytest.raises(PollError, match="mail is no mail directory: it has no directory 'new'"):
        await reading.read(SVNCommitEmailMaildirSource)


def test_mistakes() -> None:
    with pytest.raises(ConfigErrors, match="CVSMaildirSource: argument 'maildir' is missing"):
        CVSMaildirSource()


def test_plugin_names() -> None:
    for kind in (MaildirSource, CVSMaildirSource, SVNCommitEmailMaildirSource, BzrLaunchpadEmailMaildirSource):
        assert getattr(plugins, kind.__name__) is kind
    assert CVSMaildirSource("m").pollInterval == 10
