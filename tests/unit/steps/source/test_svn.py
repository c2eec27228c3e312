"""The SVN step with real repositories, a real svn and its server."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.shell import SetPropertyFromCommand, ShellCommand
from buildbot.steps.source.svn import SVN
from buildbot.util.results import SUCCESS
from tests.support.local_worker import LocalFarm, checked_out
from tests.support.svn import SvnRepository, svnserve


@pytest.fixture
def repository(tmp_path: Path) -> SvnRepository:
    return SvnRepository(tmp_path / "svn")


async def test_revisions_and_branches(farm: LocalFarm, repository: SvnRepository) -> None:
    """The newest revision, an older one and another branch are checked out; the property is the number."""
    repository.svn("copy", "-q", f"{repository.url}/trunk", f"{repository.url}/branches/a b", "-m", "branch")
    url = Interpolate("%(kw:url)s/%(src::branch:-trunk)s", url=repository.url)
    await farm.start(SVN(repourl=url), SVN(repourl=url, preferLastChangedRev=True, workdir="last"))
    for stamp, revision, last in (
        ({"branch": "trunk"}, "4", "3"),
        ({"branch": "trunk", "revision": "2"}, "2", "2"),
        ({"branch": "branches/a b"}, "4", "4"),
        ({"branch": "trunk", "revision": "3"}, "3", "3"),
    ):
        buildid = await farm.build(**stamp)
        await farm.ended()
        assert [step["state_string"] for step in farm.master.steps(buildid)[1:]] == [
            f"update {revision}",
            f"update {last}",
        ]
        assert farm.master.build(buildid)["properties"]["got_revision"] == (last, "SVN")
        assert (farm.directory / "file").read_text() == ("one\n" if revision == "2" else "two\n")
    for stamp, complaint in (
        ({"branch": "trunk", "revision": "99"}, "svn update: svn: E160006: No such revision 99 (failure)"),
        ({"branch": "nothing"}, "svn checkout: svn: E170000: URL 'file://"),
        (
            {"branch": "trunk", "revision": "BASE"},
            "revision BASE depends on the files of an older build",
        ),
        (
            {"branch": "trunk", "revision": "prev"},
            "revision prev depends on the files of an older build",
        ),
        ({"branch": "trunk", "revision": "--x"}, "not the name of a revision: '--x' (failure)"),
    ):
        found, text = await checked_out(farm, **stamp)
        assert found is None and text.startswith(complaint), text


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, ".svn file ignored kept new"),
        ({"mode": "full"}, ".svn file"),
        ({"mode": "full", "keep_on_purge": ["kept/in"]}, ".svn file kept"),
        ({"mode": "full", "method": "clean"}, ".svn file ignored"),
        ({"mode": "full", "method": "clobber"}, ".svn file"),
        ({"mode": "full", "method": "copy"}, ".svn file"),
        ({"mode": "full", "method": "export"}, "file"),
    ],
)
async def test_modes(farm: LocalFarm, repository: SvnRepository, arguments: dict[str, Any], left: str) -> None:
    """Each mode and method keeps and removes files of an earlier build as documented; changes are undone."""
    repository.svn("propset", "-q", "svn:ignore", "ignored", str(repository.working / "trunk"))
    repository.commit({})
    await farm.start(
        SVN(repourl=f"{repository.url}/trunk", **arguments),
        SetPropertyFromCommand(command="ls -A | tr '\\n' ' '; cat file", property="left"),
        ShellCommand(command="mkdir kept; touch ignored new kept/in added; test ! -d .svn || svn add -q added"),
        ShellCommand(command="echo changed > file"),
    )
    for expected in (left.replace(" ignored", "").replace(" kept", "").replace(" new", ""), left):
        buildid = await farm.build()
        await farm.ended()
        assert farm.master.build(buildid)["properties"]["left"][0] == f"{expected} two"


async def test_a_password(farm: LocalFarm, repository: SvnRepository) -> None:
    """All commands that ask the server log in; the password is no argument, and is not logged."""
    with svnserve(repository, "jo", "s3cret") as address:
        timeout = ["--config-option", "servers:global:http-timeout=9"]
        login = {"username": "jo", "password": Property("password"), "extra_args": timeout}
        await farm.start(SVN(repourl=f"{address}/trunk", mode="full", method="export", depth="files", **login))
        for _ in range(2):
            found, text = await checked_out(farm, properties={"password": ("s3cret", "Force")})
            assert found == "3", text
        found, text = await checked_out(farm, properties={"password": ("wr0ng", "Force")})
        assert found is None and "E170001" in text
    logs = "".join(farm.master.text(stepid) for stepid in (2, 4, 6))
    assert "s3cret" not in logs and "wr0ng" not in logs
    assert farm.connection.arguments and "s3cret" not in " ".join(farm.connection.arguments)


async def test_a_password_for_an_old_svn(farm: LocalFarm, repository: SvnRepository, tmp_path: Path) -> None:
    """Before 1.10 svn takes a password only as an argument; the log does not show it."""
    old = tmp_path / "bin" / "svn"
    old.parent.mkdir()
    old.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo 1.9.7; exit;; *from-stdin*) exit 1;; esac\n'
        f'exec {repository.svn_program} "$@"\n'
    )
    old.chmod(0o755)
    farm.connection.environment["PATH"] = f"{old.parent}:/usr/bin:/bin"
    with svnserve(repository, "jo", "s3cret") as address:
        await farm.start(SVN(repourl=f"{address}/trunk", username="jo", password="s3cret"))
        assert (await checked_out(farm))[0] == "3"
    assert "XXXXXX" in farm.master.text(2) and "s3cret" not in farm.master.text(2)


async def test_a_password_in_the_address(farm: LocalFarm, repository: SvnRepository) -> None:
    """Svn ignores it; it is neither an argument nor logged."""
    with svnserve(repository, "jo", "s3cret") as address:
        url = f"{address}/trunk".replace("://", "://jo:s3cret@")
        await farm.start(SVN(repourl=url, username="jo", password="s3cret"))
        assert (await checked_out(farm))[0] == "3"
        assert (await checked_out(farm))[0] == "3"
    assert "s3cret" not in farm.master.text(2) and "s3cret" not in " ".join(farm.connection.arguments)


async def test_what_a_killed_svn_left(farm: LocalFarm, repository: SvnRepository) -> None:
    """A locked working copy is unlocked; a damaged one is replaced."""
    await farm.start(SVN(repourl=f"{repository.url}/trunk"))
    assert (await checked_out(farm))[0] == "3"
    database = farm.directory / ".svn" / "wc.db"
    with sqlite3.connect(database) as connection:
        connection.execute("insert into wc_lock values (1, '', -1)")
    connection.close()
    revision = repository.commit({"trunk/file": "three\n"})
    assert (await checked_out(farm))[0] == revision
    database.write_bytes(b"")
    assert (await checked_out(farm))[0] == revision
    assert (farm.directory / "file").read_text() == "three\n"


async def test_patch(farm: LocalFarm, repository: SvnRepository) -> None:
    """A patch is applied in its directory, and the next build undoes it; one that does not apply fails."""
    repository.commit({"trunk/sub/inside": "in\n"})
    await farm.start(
        SVN(repourl=f"{repository.url}/trunk"),
        SetPropertyFromCommand(command="cat sub/inside; ls sub | tr '\\n' ' '", property="seen"),
    )
    body = "--- a/inside\n+++ b/inside\n@@ -1 +1 @@\n-in\n+patched\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n"
    patch = {"patch_level": 1, "patch_subdir": "sub", "patch_author": "Jo", "patch_comment": "no"}
    for text in (body, body.replace("\n", "\r\n")):
        buildid = await farm.build(patch_body=text, **patch)
        await farm.ended()
        assert farm.master.build(buildid)["results"] == SUCCESS, farm.master.steps(buildid)[1]["state_string"]
        assert farm.master.build(buildid)["properties"]["seen"][0] == "patched\ninside new"
        plain = await farm.build()
        await farm.ended()
        assert farm.master.build(plain)["properties"]["seen"][0] == "in\ninside"
    for text in (body.replace("-in", "-other"), "nothing\n"):
        found, said = await checked_out(farm, patch_body=text, **patch)
        assert found is None and said.startswith("svn patch: "), said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "SVN: argument 'repourl' is missing"),
        (
            {"repourl": "x", "depth": "all"},
            "depth must be one of 'empty', 'files', 'immediates', 'infinity', not 'all'",
        ),
        ({"repourl": "x", "method": "fast"}, "method must be one of 'clobber', 'fresh', 'clean', 'copy', 'export'"),
        ({"repourl": "x", "keep_on_purge": "a"}, "keep_on_purge must be a list, not 'a'"),
        ({"repourl": "x", "extra_args": "a"}, "extra_args must be a list, not 'a'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        SVN(**arguments)


def test_plugin_name() -> None:
    assert steps.SVN is SVN
