"""The Bzr and CVS steps with real repositories and the real programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.steps.shell import SetPropertyFromCommand, ShellCommand
from buildbot.steps.source.bzr import Bzr
from buildbot.steps.source.cvs import CVS
from buildbot.util.results import SUCCESS
from tests.support.cvs import pserver
from tests.support.local_worker import LocalFarm, checked_out
from tests.support.tools import program

PATCH = "--- a/inside\n+++ b/inside\n@@ -1 +1 @@\n-in\n+patched\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n"
PATCHED = {"patch_level": 1, "patch_subdir": "sub", "patch_author": "Jo", "patch_comment": "no"}


def run(*command: str, cwd: Path) -> str:
    env = {
        **os.environ,
        "BZR_EMAIL": "Jo <jo@x>",
        "BRZ_EMAIL": "Jo <jo@x>",
        "BZR_LOG": os.devnull,
        "BRZ_LOG": os.devnull,
    }
    return subprocess.run(command, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def trunk(tmp_path: Path) -> Path:
    """A branch of Bazaar's with two revisions."""
    bzr, path = program("bzr"), tmp_path / "bzr" / "trunk"
    path.parent.mkdir()
    run(bzr, "init", "-q", str(path), cwd=tmp_path)
    for content in ("one\n", "two\n"):
        write(path / "file", content)
        write(path / "sub" / "inside", "in\n")
        write(path / ".bzrignore", "ignored\n")
        run(bzr, "add", "-q", cwd=path)
        run(bzr, "commit", "-q", "-m", content, cwd=path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A CVS repository with a module ``project``, a branch ``side`` and a tag."""
    cvs, root, work = program("cvs"), tmp_path / "cvs", tmp_path / "work"
    run(cvs, "-d", str(root), "init", cwd=tmp_path)
    write(work / "file", "one\n")
    write(work / "sub" / "inside", "in\n")
    write(work / ".cvsignore", "ignored\n")
    run(cvs, "-d", str(root), "import", "-m", "x", "project", "v", "r", cwd=work)
    run(cvs, "-q", "-d", str(root), "checkout", "project", cwd=tmp_path)
    run(cvs, "-q", "tag", "-b", "side", cwd=tmp_path / "project")
    write(tmp_path / "project" / "file", "two\n")
    run(cvs, "-q", "commit", "-m", "two", cwd=tmp_path / "project")
    return root


def modes(ignore: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("arguments", "left"),
        [
            ({}, f"{ignore} file ignored new sub"),
            ({"mode": "full"}, f"{ignore} file sub"),
            ({"mode": "full", "method": "clean"}, f"{ignore} file ignored sub"),
            ({"mode": "full", "method": "clobber"}, f"{ignore} file sub"),
            ({"mode": "full", "method": "copy"}, f"{ignore} file sub"),
        ],
    )


async def what_is_left(farm: LocalFarm, step: Any, left: str) -> None:
    """Build twice; the files of the first build that the second one finds. Changes of tracked files are undone."""
    await farm.start(
        step,
        SetPropertyFromCommand(command="ls -A | grep -v -e '^.bzr$' -e CVS | tr '\\n' ' '; cat file", property="left"),
        ShellCommand(command="touch ignored new; echo changed > file"),
    )
    for expected in (left.replace(" ignored", "").replace(" new", ""), left):
        buildid = await farm.build()
        await farm.ended()
        assert farm.master.build(buildid)["results"] == SUCCESS, farm.master.steps(buildid)[1]["state_string"]
        assert farm.master.build(buildid)["properties"]["left"][0].replace(".#file.1.2 ", "") == f"{expected} two"


async def patched(farm: LocalFarm, step: Any) -> None:
    """Build with a patch, then without; the second build undoes the patch."""
    await farm.start(step, SetPropertyFromCommand(command="cat sub/inside; ls sub | grep -v CVS | tr '\\n' ' '",
                                                  property="seen"))  # fmt: skip
    for body, expected in ((PATCH, "patched\ninside new"), (None, "in\ninside")):
        buildid = await farm.build(**({} if body is None else {"patch_body": body, **PATCHED}))
        await farm.ended()
        assert farm.master.build(buildid)["results"] == SUCCESS, farm.master.steps(buildid)[1]["state_string"]
        assert farm.master.build(buildid)["properties"]["seen"][0] == expected
    found, text = await checked_out(farm, patch_body=PATCH.replace("-in", "-other"), **PATCHED)
    assert found is None and text.startswith("patch: "), text


async def test_bzr(farm: LocalFarm, trunk: Path) -> None:
    """The newest revision, an older one and another branch are checked out."""
    run(program("bzr"), "branch", "-q", "-r1", str(trunk), str(trunk.with_name("side")), cwd=trunk)
    await farm.start(Bzr(baseURL=f"{trunk.parent}/", defaultBranch="trunk"))
    for stamp, revision in (({}, "2"), ({"revision": "1"}, "1"), ({"branch": "side"}, "1"), ({"branch": "trunk"}, "2")):
        assert await checked_out(farm, **stamp) == (revision, f"update {revision}")
    found, text = await checked_out(farm, branch="nope")
    assert found is None and text.startswith("bzr checkout: b"), text
    assert (await checked_out(farm, revision="99"))[0] is None


@modes(".bzrignore")
async def test_modes_of_bzr(farm: LocalFarm, trunk: Path, arguments: dict[str, Any], left: str) -> None:
    """Each mode and method keeps and removes files of an earlier build as documented."""
    await what_is_left(farm, Bzr(repourl=str(trunk), **arguments), left)


async def test_patch_with_bzr(farm: LocalFarm, trunk: Path) -> None:
    """A patch is applied, and the next build undoes it."""
    await patched(farm, Bzr(repourl=str(trunk)))


async def test_cvs(farm: LocalFarm, root: Path) -> None:
    """A branch, the trunk, and the state of a time are checked out."""
    await farm.start(CVS(cvsroot=str(root), cvsmodule="project"))
    for stamp, content in (({}, "two"), ({"branch": "side"}, "one"), ({}, "two"), ({"branch": "HEAD"}, "two")):
        found, text = await checked_out(farm, **stamp)
        assert found is not None and text == f"update {found}" and found.endswith(" +0000")
        assert (farm.directory / "file").read_text() == f"{content}\n"
    assert await checked_out(farm, revision="2001-01-01 00:00:00 +0000") == (
        "2001-01-01 00:00:00 +0000", "update 2001-01-01 00:00:00 +0000"
    )  # fmt: skip
    assert not (farm.directory / "file").exists()
    found, text = await checked_out(farm, branch="nope")
    assert found is None and text.startswith("cvs update: cvs"), text


@pytest.mark.parametrize("login", [None, "s3cret"], ids=["cvsroot", "login"])
async def test_a_password_of_cvs(farm: LocalFarm, root: Path, tmp_path: Path, login: str | None) -> None:
    """A password in ``cvsroot`` or ``login`` is neither an argument nor logged."""
    farm.connection.environment["HOME"] = str(tmp_path)
    with pserver(root) as address:
        user = "jo:s3cret" if login is None else "jo"
        await farm.start(CVS(cvsroot=f":pserver:{user}@{address}", cvsmodule="project", login=login))
        for _ in range(2):
            found, text = await checked_out(farm)
            assert found is not None, text
    logs = "".join(farm.master.text(step["stepid"]) for number in (1, 2) for step in farm.master.steps(number)[1:])
    assert "PATH=" in logs and "s3cret" not in logs and "s3cret" not in " ".join(farm.connection.arguments)


@modes(".cvsignore")
async def test_modes_of_cvs(farm: LocalFarm, root: Path, arguments: dict[str, Any], left: str) -> None:
    """Each mode and method keeps and removes files of an earlier build as documented."""
    await what_is_left(farm, CVS(cvsroot=str(root), cvsmodule="project", **arguments), left)


async def test_patch_with_cvs(farm: LocalFarm, root: Path) -> None:
    """A patch is applied, and the next build undoes it."""
    await patched(farm, CVS(cvsroot=str(root), cvsmodule="project"))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Bzr(), "Bzr: give either repourl or baseURL"),
        (lambda: Bzr(repourl="x", baseURL="y", defaultBranch="z"), "Bzr: give either repourl or baseURL"),
        (lambda: Bzr(baseURL="y"), "Bzr: baseURL needs a defaultBranch"),
        (lambda: CVS(cvsmodule="x"), "CVS: argument 'cvsroot' is missing"),
        (lambda: CVS(cvsroot="x", global_options="-q"), "global_options must be a list, not '-q'"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        make()


def test_plugin_names() -> None:
    assert (steps.Bzr, steps.CVS) == (Bzr, CVS)
