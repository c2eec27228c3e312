"""SVNPoller on real repositories: every revision once, also after failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildbot.changes.base import PollError
from buildbot.changes.svnpoller import SVNPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.plugins import util
from buildbot.process.properties import renderer
from tests.support.svn import SvnRepository, svnserve
from tests.unit.changes.polling import Polling


class SvnPolling(Polling):
    """Pollers of one repository."""

    def __init__(self, master: Any, basedir: Path, url: str) -> None:
        super().__init__(master, basedir, self.__poller)
        self.url = url

    def __poller(self, **arguments: Any) -> SVNPoller:
        return SVNPoller(self.url, **arguments)


@pytest.fixture
def svn(tmp_path: Path) -> SvnRepository:
    return SvnRepository(tmp_path / "svn")


@pytest.fixture
def polling(master: Any, tmp_path: Path, svn: SvnRepository) -> SvnPolling:
    return SvnPolling(master, tmp_path, svn.url)


async def test_revisions_once(polling: SvnPolling, svn: SvnRepository) -> None:
    """Revisions before the first poll are no changes; later ones are, in order, each once, in any number."""
    assert await polling.poll() == []
    new = [svn.commit({"trunk/file": f"{number}\n"}) for number in range(5)]
    await polling.poll(histmax=2)
    assert await polling.poll() == []
    assert await polling.revisions() == new


async def test_attributes_of_a_change(polling: SvnPolling, svn: SvnRepository) -> None:
    """Author, message, files, a link; directories end with a slash."""
    await polling.poll()
    revision = svn.commit({"trunk/a b/ü": "1"}, "Subject é\n\nBody")
    (change,) = await polling.poll(revlinktmpl="http://x/%s", project="p", category=lambda change: change["revision"])
    expected = {
        "author": "jo",
        "comments": "Subject é\n\nBody",
        "files": ["trunk/a b/", "trunk/a b/ü"],
        "revision": revision,
        "branch": None,
        "repository": svn.url,
        "project": "p",
        "category": revision,
        "revlink": f"http://x/{revision}",
    }
    assert {key: change[key] for key in expected} == expected


async def test_branches(polling: SvnPolling, svn: SvnRepository) -> None:
    """A revision is one change for each branch that it touches; a branch that is removed is none."""
    split = {"split_file": util.svn.split_file_branches}
    await polling.poll(**split)
    svn.svn("copy", "-q", f"{svn.url}/trunk", f"{svn.url}/branches/b", "-m", "branch")
    svn.svn("update", "-q", str(svn.working))
    both = svn.commit({"branches/b/file": "b\n", "trunk/file": "t\n", "README": "no branch\n"})
    svn.svn("delete", "-q", f"{svn.url}/branches/b", "-m", "gone")
    changes = await polling.poll(**split)
    assert [(change["branch"], change["files"]) for change in changes] == [
        ("branches/b", [""]), ("branches/b", ["file"]), (None, ["file"])
    ]  # fmt: skip
    assert [change["revision"] for change in changes[1:]] == [both, both]


async def test_a_directory_of_the_repository(polling: SvnPolling, svn: SvnRepository) -> None:
    """Below the address only; a function may name project and repository."""
    polling.url = f"{svn.url}/trunk/"
    svn.commit({"trunk/proj/trunk/a": "1"})

    def split(path: str) -> Any:
        found = util.svn.split_file_projects_branches(path)
        return found and {**found, "repository": f"r/{found['project']}"}

    await polling.poll(split_file=split)
    svn.commit({"trunk/proj/trunk/a": "2", "trunk/proj/branches/b/c": "3", "branches/x": "4", "trunk/file": "5"})
    changes = await polling.poll(split_file=split)
    assert [(change["project"], change["repository"], change["branch"], change["files"]) for change in changes] == [
        ("proj", "r/proj", "branches/b", ["", "c"]), ("proj", "r/proj", None, ["a"])
    ]  # fmt: skip


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_poll_that_is_killed(
    polling: SvnPolling, svn: SvnRepository, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes and position are stored together: nothing is lost, nothing doubled."""
    monkeypatch.setattr("buildbot.changes.svnpoller._BATCH", 1)
    await polling.poll()
    new = [svn.commit({"trunk/file": f"{number}\n"}) for number in range(3)]
    polling.dies_after = after
    with pytest.raises(PollError, match="killed"):
        await polling.poll()
    polling.dies_after = None
    await polling.poll()
    assert await polling.revisions() == new


async def test_the_file_of_the_last_revision(polling: SvnPolling, svn: SvnRepository, tmp_path: Path) -> None:
    """``cachepath`` says where to begin, and is kept up to date."""
    (tmp_path / "last").write_text("2\n")
    assert [change["revision"] for change in await polling.poll(cachepath="last")] == ["3"]
    assert (tmp_path / "last").read_text() == "3\n"


async def test_a_login(polling: SvnPolling, svn: SvnRepository) -> None:
    """User and password may be renderables; a wrong one is said without showing it."""
    with svnserve(svn, "jo", "s3cret") as address:
        polling.url = f"{address}/trunk"
        login = {"svnuser": "jo", "svnpasswd": renderer(lambda props: "s3cret")}
        await polling.poll(**login)
        svn.commit({"trunk/file": "new\n"})
        assert len(await polling.poll(**login)) == 1
        with pytest.raises(PollError, match=r"cannot be read: svn info failed .* E170001: .*") as caught:
            await polling.poll(svnuser="jo", svnpasswd="wr0ng")
        assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"split_file": "x"}, "split_file must be a function, not 'x'"),
        ({"histmax": 0}, "histmax must be at least 1, not 0"),
        ({"extra_args": "x"}, "extra_args must be a list"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        SVNPoller("x", **arguments)


@pytest.mark.parametrize(
    ("path", "branches", "projects"),
    [
        ("trunk/a/b.c", (None, "a/b.c"), None),
        ("trunk/", (None, ""), None),
        ("branches/x/a.c", ("branches/x", "a.c"), None),
        ("branches/x/", ("branches/x", ""), None),
        ("trunk", None, None),
        ("branches/x", None, None),
        ("tags/x/a", None, None),
        ("proj/trunk/a.c", None, {"project": "proj", "path": "a.c"}),
        ("proj/branches/b/a.c", None, {"project": "proj", "path": "a.c", "branch": "branches/b"}),
    ],
)
def test_ways_to_split(path: str, branches: Any, projects: Any) -> None:
    """The branch and file of a path by ``util.svn``."""
    assert util.svn.split_file_alwaystrunk(path) == {"path": path}
    assert util.svn.split_file_branches(path) == branches
    assert util.svn.split_file_projects_branches(path) == projects


def test_plugin_name() -> None:
    assert plugins.SVNPoller is SVNPoller
