"""HgPoller on real repositories: every commit once, also after failures."""

from __future__ import annotations

import shutil
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import capturedLogs
from twisted.web.server import Site

from buildbot.changes.base import PollError
from buildbot.changes.hgpoller import HgPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.plugins import util
from tests.support.hg import HgRepository, hg_serve
from tests.unit.changes.polling import Polling
from tests.unit.util.test_httpclient import Server, serving


class HgPolling(Polling):
    """Pollers of one repository."""

    def __init__(self, master: Any, basedir: Path, url: str) -> None:
        super().__init__(master, basedir, self.__poller)
        self.url = url

    def __poller(self, **arguments: Any) -> HgPoller:
        return HgPoller(self.url, workdir="hg", **arguments)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> HgRepository:
    return HgRepository(tmp_path_factory.mktemp("hg") / "repository")


@pytest.fixture
def hg(template: HgRepository, tmp_path: Path) -> HgRepository:
    return template.copy(tmp_path / "repository")


@pytest.fixture
def polling(master: Any, tmp_path: Path, hg: HgRepository) -> HgPolling:
    return HgPolling(master, tmp_path, str(hg.path))


async def test_commits_once(polling: HgPolling, hg: HgRepository) -> None:
    """Commits before the first poll are no changes; later ones are, parents first, each once."""
    with hg_serve(hg) as address:
        polling.url = f"{address}repository"
        assert await polling.poll() == []
        new = [hg.commit("file", f"{number}\n") for number in range(3)]
        await polling.poll()
        assert await polling.poll() == []
        assert await polling.revisions() == new


async def test_attributes_of_a_change(polling: HgPolling, hg: HgRepository) -> None:
    """The change has the commit's author, whole message, files and time."""
    await polling.poll(revlink=None)
    revision = hg.commit("ü x", "1", "Subject é\n\nBody\n  more")
    (change,) = await polling.poll(
        revlink=lambda branch, revision: f"{branch}:{revision}", category=lambda change: change["branch"], project="p"
    )
    expected = {
        "author": "Jo <jo@example.org>",
        "committer": None,
        "files": ["ü x"],
        "comments": "Subject é\n\nBody\n  more",
        "revision": revision,
        "branch": "default",
        "category": "default",
        "when_timestamp": hg.clock,
        "repository": str(hg.path),
        "project": "p",
        "revlink": f"default:{revision}",
    }
    assert {key: change[key] for key in expected} == expected


async def test_branches_and_bookmarks(polling: HgPolling, hg: HgRepository) -> None:
    """The followed ones bring their commits in order; a later one brings all its commits, a bookmark those that no
    branch has brought.
    """
    following = {"branches": ["side", "default", "ver.1+x"], "bookmarks": ["mark"]}
    with capturedLogs() as logs:
        await polling.poll(**following)
    assert sum("there is no" in event.get("problem", "") for event in logs) == 3
    third = hg.commit("file", "three\n")
    hg.hg("branch", "-q", "side")
    side = [hg.commit("file", "side1\n"), hg.commit("file", "side2\n")]
    hg.hg("branch", "-q", "ver.1+x")
    version = hg.commit("file", "v\n")
    hg.hg("branch", "-q", "unfollowed")
    marked = hg.commit("file", "marked\n")
    hg.hg("bookmark", "mark")
    changes = await polling.poll(**following)
    assert [(change["branch"], change["revision"]) for change in changes] == [
        ("side", side[0]), ("side", side[1]), ("default", third), ("ver.1+x", version), ("mark", marked)
    ]  # fmt: skip
    assert await polling.poll(**following) == []
    # one that the configuration names later is new to the poller, not to the world
    assert await polling.poll(branches=[*following["branches"], "unfollowed"], bookmarks=["mark"]) == []


async def test_several_heads(polling: HgPolling, hg: HgRepository) -> None:
    """A branch with several heads brings nothing until they are merged, and then all at once."""
    await polling.poll()
    one = hg.commit("a", "1")
    hg.hg("update", "-q", hg.second)
    two = hg.commit("b", "2")
    with capturedLogs() as logs:
        assert await polling.poll() == []
    assert any("has 2 heads" in event.get("problem", "") for event in logs)
    hg.hg("merge", "-q")
    merge = hg.commit("c", "3")
    await polling.poll()
    assert await polling.revisions() == [one, two, merge]


async def test_history_that_the_server_removes(polling: HgPolling, hg: HgRepository) -> None:
    """A commit that the server has removed is no head any more; its replacement is new."""
    await polling.poll()
    old = hg.commit("a", "1")
    await polling.poll()
    hg.hg("--config", "extensions.strip=", "strip", "-q", "--no-backup", old)
    new = hg.commit("b", "2")
    await polling.poll()
    assert await polling.revisions() == [old, new]


@pytest.mark.parametrize("after", [1])
async def test_a_poll_that_is_killed(
    polling: HgPolling, hg: HgRepository, after: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Changes and position are stored together: nothing is lost, nothing doubled, though the clone is lost as well."""
    monkeypatch.setattr("buildbot.changes.hgpoller._BATCH", 1)
    await polling.poll()
    one = hg.commit("a", "1")
    hg.hg("update", "-q", hg.second)
    two = hg.commit("b", "2")
    hg.hg("merge", "-q")
    merge = hg.commit("c", "3")
    polling.dies_after = after
    with pytest.raises(PollError, match="killed"):
        await polling.poll()
    polling.dies_after = None
    shutil.rmtree(tmp_path / "hg")
    await polling.poll()
    assert await polling.revisions() == [one, two, merge]


async def test_a_lost_position(polling: HgPolling, hg: HgRepository, tmp_path: Path) -> None:
    """If neither server nor clone has the last seen commit, the poller starts anew and logs that."""
    old = hg.commit("a", "1")
    await polling.poll()
    shutil.rmtree(tmp_path / "hg")
    hg.hg("--config", "extensions.strip=", "strip", "-q", "--no-backup", old)
    hg.commit("b", "2")
    with capturedLogs() as logs:
        assert await polling.poll() == []
    assert any("starting anew" in event["log_format"] for event in logs)
    new = hg.commit("c", "3")
    assert [change["revision"] for change in await polling.poll()] == [new]


async def test_a_repository_that_cannot_be_read(polling: HgPolling) -> None:
    """The error says which and why, without the password."""
    polling.url = "http://jo:s3cret@127.0.0.1:1/nothing"
    with pytest.raises(
        PollError, match=r"repository http://127.0.0.1:1/nothing cannot be read: hg pull failed"
    ) as caught:
        await polling.poll()
    assert "s3cret" not in str(caught.value)
    with pytest.raises(PollError, match="there is no program 'nohg'"):
        await polling.poll(hgbin="nohg")


async def test_passwords_are_no_arguments(polling: HgPolling, hg: HgRepository, tmp_path: Path) -> None:
    """A password in the address is in no argument of a process: every account of the machine can read those."""
    log, wrapper = tmp_path / "arguments", tmp_path / "hg-logged"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {hg.hg_program} "$@"\n')
    wrapper.chmod(0o700)
    following = {"hgbin": str(wrapper), "bookmarks": ["mark"], "branches": ["default"]}
    with hg_serve(hg) as address:
        polling.url = f"{address}repository".replace("//", "//jo:s3$HOMEcret@", 1)
        assert await polling.poll(**following) == []
        hg.hg("bookmark", "mark")
        new = hg.commit("c", "3")
        hg.hg("update", "-q", hg.second)
        hg.commit("d", "second head")
        await polling.poll(**following)
        assert await polling.revisions() == [new]
    arguments = log.read_text()
    assert "pull" in arguments and "identify" in arguments and "outgoing" in arguments and "cret" not in arguments


async def test_login(polling: HgPolling, hg: HgRepository) -> None:
    """User and password of the address are used, also if they look like the name of a variable."""
    logins: list[str | None] = []

    def asks_for_login(request: Any) -> bytes:
        logins.append(request.getHeader("authorization"))
        request.setResponseCode(401 if logins[-1] is None else 404)
        request.setHeader("www-authenticate", 'Basic realm="here"')
        return b""

    async with serving(Site(Server(asks_for_login))) as (_, address):
        polling.url = address.replace("//", "//jo:s3$HOMEcret@", 1)
        with pytest.raises(PollError, match="Not Found"):
            await polling.poll()
    assert logins[:2] == [None, f"Basic {b64encode(b'jo:s3$HOMEcret').decode()}"]


async def test_an_address_with_secrets(polling: HgPolling, hg: HgRepository) -> None:
    """It is asked for at each poll; changes have the address without user and password."""
    url: Any = polling.url
    polling.url = util.Interpolate("%(kw:url)s", url=url)
    assert await polling.poll(name="secret") == []
    new = hg.commit("c", "3")
    (change,) = await polling.poll(name="secret")
    assert (change["revision"], change["repository"]) == (new, url)
    for wrong, said in (
        (util.Secret("none"), "secret key none is not found"),
        (util.Property("x"), "is not the address"),
    ):
        polling.url = wrong
        with pytest.raises(PollError, match=f"^repourl: .*{said}"):
            await polling.poll(name="secret")
    with pytest.raises(ConfigErrors, match="give a name, since repourl is known only when its secrets are asked for"):
        HgPoller(util.Secret("url"), workdir="hg")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "HgPoller: argument 'workdir' is missing"),
        ({"workdir": "w", "branch": "a", "branches": ["b"]}, "HgPoller x: give either branch or branches, not both"),
        ({"workdir": "w", "branches": "b"}, "branches must be a list, not 'b'"),
        ({"workdir": "w", "bookmarks": ["-b"]}, "bookmarks must not have a name that begins with '-'"),
        ({"workdir": "w", "revlink": "x"}, "revlink must be a function, not 'x'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        HgPoller("x", **arguments)


def test_plugin_name() -> None:
    assert plugins.HgPoller is HgPoller
    assert HgPoller("http://a:b@c/d", workdir="w").name == "http://c/d"
