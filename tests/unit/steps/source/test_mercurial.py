"""The Mercurial step with real repositories, a real hg and its server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.steps.shell import SetPropertyFromCommand, ShellCommand
from buildbot.steps.source.mercurial import Mercurial
from buildbot.util.results import SUCCESS
from tests.support.hg import HgRepository, hg_serve
from tests.support.local_worker import LocalFarm, checked_out

IN_REPOSITORY = {"branchType": "inrepo"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> HgRepository:
    return HgRepository(tmp_path_factory.mktemp("hg") / "repository")


@pytest.fixture
def repository(template: HgRepository, tmp_path: Path) -> HgRepository:
    """A repository with two commits; hg is slow, so it is made once."""
    return template.copy(tmp_path / "repository")


@pytest.fixture
def server(repository: HgRepository) -> Iterator[str]:
    with hg_serve(repository) as address:
        yield address


async def test_revisions(farm: LocalFarm, repository: HgRepository, server: str) -> None:
    """The newest of a branch, an older one, a tag and a bookmark are looked up on the server."""
    repository.hg("tag", "-u", "Jo", "v1", "-r", repository.first)
    tip = repository.hg("log", "-r", "tip", "-T", "{node}")
    repository.hg("branch", "-q", "side")
    side = repository.commit("file", "side\n")
    repository.hg("bookmark", "-r", repository.first, "mark")
    await farm.start(Mercurial(repourl=f"{server}repository", **IN_REPOSITORY), ShellCommand(command="cat file"))
    for stamp, revision in (
        ({}, tip),
        ({"revision": repository.first}, repository.first),
        ({"branch": "side"}, side),
        ({"branch": "default"}, tip),
        ({"branch": "side", "revision": repository.second[:12]}, repository.second),
        ({"revision": "v1"}, repository.first),
        ({"revision": "1"}, repository.second),
        ({"branch": "mark"}, repository.first),
    ):
        assert await checked_out(farm, **stamp) == (revision, f"update {revision[:10]}"), stamp
    repository.hg("update", "-q", "default")
    third = repository.commit("file", "three\n")
    repository.hg("bookmark", "-f", "-r", third, "mark")
    for stamp, revision in (({"branch": "default"}, third), ({"revision": "mark"}, third)):
        assert (await checked_out(farm, **stamp))[0] == revision
    for stamp, complaint in (
        ({"revision": "nope"}, f"there is no nope in {server}repository (failure)"),
        ({"revision": "12" * 20}, "hg pull: abort: unknown revision"),
        ({"branch": "--config=x"}, "not the name of a branch or revision: '--config=x' (failure)"),
    ):
        found, text = await checked_out(farm, **stamp)
        assert found is None and text.startswith(complaint), text


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, "file ignored new"),
        ({"mode": "full"}, "file"),
        ({"mode": "full", "method": "clean"}, "file ignored"),
        ({"mode": "full", "method": "clobber"}, "file"),
    ],
)
async def test_modes(farm: LocalFarm, repository: HgRepository, arguments: dict[str, Any], left: str) -> None:
    """Each mode and method keeps and removes files of an earlier build as documented; changes are undone."""
    repository.commit(".hgignore", "^ignored$\n")
    await farm.start(
        Mercurial(repourl=str(repository.path), **arguments),
        SetPropertyFromCommand(command="ls | tr '\\n' ' '; cat file", property="left"),
        ShellCommand(command="touch ignored new added; hg add added; echo changed > file"),
    )
    for expected in ("file", left):
        buildid = await farm.build()
        await farm.ended()
        assert farm.master.build(buildid)["properties"]["left"][0] == f"{expected} two"


async def test_branches_that_are_repositories(farm: LocalFarm, repository: HgRepository) -> None:
    """With ``dirname`` the branch is appended to the address, and is a repository of its own."""
    other = repository.copy(repository.path.parent / "other")
    newer = other.commit("file", "other\n")
    await farm.start(Mercurial(repourl=f"{repository.path.parent}/", defaultBranch="repository"))
    for branch, revision in ((None, repository.second), ("other", newer), ("repository", repository.second)):
        assert (await checked_out(farm, branch=branch))[0] == revision
    found, text = await checked_out(farm, branch="nothing")
    assert found is None and text.startswith(f"hg identify: abort: repository {repository.path.parent}/nothing"), text


@pytest.mark.parametrize(("clobber", "left"), [(True, False), (False, True)])
async def test_change_of_branch(farm: LocalFarm, repository: HgRepository, clobber: bool, left: bool) -> None:
    """With ``clobberOnBranchChange`` the directory of another branch is removed first."""
    repository.hg("branch", "-q", "side")
    repository.commit("file", "side\n")
    arguments = {**IN_REPOSITORY, "clobberOnBranchChange": clobber}
    await farm.start(Mercurial(repourl=str(repository.path), **arguments), ShellCommand(command="touch kept"))
    existing: list[bool] = []

    def look(name: str, args: dict[str, Any]) -> None:
        if "update" in args.get("command", ()):
            existing.append((farm.directory / "kept").exists())

    farm.connection.on_command = look
    for branch in ("default", "default", "side"):
        assert (await checked_out(farm, branch=branch))[0]
    assert existing == [False, True, left]


async def test_what_a_killed_hg_left(farm: LocalFarm, repository: HgRepository) -> None:
    """An unfinished transaction is recovered."""
    await farm.start(Mercurial(repourl=str(repository.path)))
    assert (await checked_out(farm))[0] == repository.second
    third = repository.commit("file", "three\n")
    store = farm.directory / ".hg" / "store"
    (store / "journal").write_text("")
    (store / "journal.backupfiles").write_text("2\n")
    found, text = await checked_out(farm)
    assert found == third, text
    assert any("recover" in args["command"] for name, args in farm.connection.started if name == "shell")


async def test_patch(farm: LocalFarm, repository: HgRepository) -> None:
    """A patch is applied in its directory; the next build undoes it."""
    (repository.path / "sub").mkdir()
    repository.commit("sub/inside", "in\n")
    await farm.start(
        Mercurial(repourl=str(repository.path)),
        SetPropertyFromCommand(command="cat sub/inside; ls sub | tr '\\n' ' '", property="seen"),
    )
    body = "--- a/inside\n+++ b/inside\n@@ -1 +1 @@\n-in\n+patched\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n"
    patch = {"patch_level": 1, "patch_subdir": "sub", "patch_author": "Jo", "patch_comment": "no"}
    for text, expected in ((body, "patched\ninside new"), (body.replace("\n", "\r\n"), "patched\ninside new")):
        buildid = await farm.build(patch_body=text, **patch)
        await farm.ended()
        assert farm.master.build(buildid)["results"] == SUCCESS, farm.master.steps(buildid)[1]["state_string"]
        assert farm.master.build(buildid)["properties"]["seen"][0] == expected
        plain = await farm.build()
        await farm.ended()
        assert farm.master.build(plain)["properties"]["seen"][0] == "in\ninside"
    found, text = await checked_out(farm, patch_body=body.replace("-in", "-other"), **patch)
    assert found is None and text.startswith("hg import: abort: patch failed"), text


@pytest.mark.parametrize("login", ["jo:s3$HOMEcret", "jo:s3${HOME}cret"], ids=["a variable", "braces"])
async def test_a_password_in_the_address(farm: LocalFarm, repository: HgRepository, server: str, login: str) -> None:
    """No log has it, and hg has it as an argument only if the worker would replace a part of it in a variable."""
    url = f"{server}repository".replace("://", f"://{login}@")
    await farm.start(Mercurial(repourl=url, **IN_REPOSITORY))
    for stamp, revision in (({"revision": repository.first}, repository.first), ({}, repository.second)):
        found, text = await checked_out(farm, **stamp)
        assert found == revision, text
    logs = farm.master.text(2) + farm.master.text(4)
    assert "PATH=" in logs and "cret" not in logs
    assert ("cret" in " ".join(farm.connection.arguments)) == ("${" in login)


async def test_a_server_that_comes_back(farm: LocalFarm, repository: HgRepository) -> None:
    """With ``retry`` the step waits for a server; a directory without a repository is replaced."""
    hidden = repository.path.with_name("hidden")
    repository.path.rename(hidden)
    attempts = []

    def heal(name: str, args: dict[str, Any]) -> None:
        if "identify" in args.get("command", ()):
            attempts.append(name)
            if len(attempts) == 3:
                hidden.rename(repository.path)

    farm.connection.on_command = heal
    farm.directory.mkdir(parents=True)
    (farm.directory / "mine").write_text("")
    await farm.start(Mercurial(repourl=str(repository.path), retry=(0, 3)))
    assert (await checked_out(farm))[0] == repository.second
    assert (farm.directory / "mine").exists() and len(attempts) == 3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "Mercurial: argument 'repourl' is missing"),
        ({"repourl": "x", "method": "copy"}, "method must be one of 'clobber', 'fresh', 'clean', not 'copy'"),
        ({"repourl": "x", "branchType": "in"}, "branchType must be one of 'dirname', 'inrepo', not 'in'"),
        ({"repourl": "x", "branch": "b"}, "Mercurial: unknown argument 'branch'"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        Mercurial(**arguments)


def test_plugin_name() -> None:
    assert steps.Mercurial is Mercurial
