"""The Git step with real repositories and a real git."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import inlineCallbacks

from buildbot.process.properties import Property
from buildbot.steps.shell import SetPropertyFromCommand, ShellCommand
from buildbot.steps.source.base import Source
from buildbot.steps.source.git import Git
from buildbot.util.results import FAILURE, SUCCESS
from tests.e2e.agents import Repository
from tests.support.local_worker import LocalFarm, checked_out


async def test_git(farm: LocalFarm, repository: Repository) -> None:
    """Git checks out the newest commit, an older one, one that is on no branch any more, and a branch."""
    lost = repository.commit("file", "lost\n")
    repository.git("reset", "-q", "--hard", "HEAD~")
    repository.git("branch", "side", repository.first)
    await farm.start(
        Git(repourl=str(repository.path), branch="main"),
        ShellCommand(command="cat file; touch .git/index.lock; ls"),
    )
    for stamp, revision, content in (
        ({}, repository.second, "two"),
        ({"revision": repository.first}, repository.first, "one"),
        ({"revision": lost, "branch": "main"}, lost, "lost"),
        ({"branch": "side"}, repository.first, "one"),
        ({"revision": repository.second[:9], "branch": "gone"}, repository.second, "two"),
    ):
        buildid = await farm.build(**stamp)
        await farm.ended()
        row = farm.master.build(buildid)
        git = farm.master.steps(buildid)[1]
        assert row["results"] == SUCCESS, git["state_string"]
        assert row["properties"]["got_revision"] == (revision, "Git")
        assert git["state_string"] == f"update {revision[:10]}"
        assert f"o{content}\n" in farm.master.text(3 * buildid)


@pytest.mark.parametrize(
    ("arguments", "stamp", "state"),
    [
        ({"repourl": "/nowhere"}, {}, "git fetch: fatal: '/nowhere' does not appear to be a git repository (failure)"),
        ({"branch": "nope"}, {}, "git fetch: fatal: couldn't find remote ref nope (failure)"),
        ({}, {"revision": "12" * 20}, f"revision {'12' * 20} is not in {{repository}} (failure)"),
        ({}, {"branch": "--upload-pack=x"}, "not the name of a branch or revision: '--upload-pack=x' (failure)"),
        ({"codebase": "lib"}, {}, "the build has no source stamp for codebase 'lib' (failure)"),
        ({"timeout": 1, "config": {"core.sshCommand": "sleep 60;"}, "repourl": "ssh://a:b@localhost/"}, {},
         "git fetch: no output for 1 s (failure)"),
    ],
)  # fmt: skip
async def test_git_failures(
    farm: LocalFarm, repository: Repository, arguments: dict[str, Any], stamp: dict[str, Any], state: str
) -> None:
    """The step's text has the reason of a failure, and the build ends there."""
    await farm.start(Git(**{"repourl": str(repository.path), **arguments}), ShellCommand(command="true"))
    buildid = await farm.build(**stamp)
    await farm.ended()
    git = farm.master.steps(buildid)[1]
    assert git["state_string"] == state.format(repository=repository.path)
    assert len(farm.master.steps(buildid)) == 2
    assert farm.master.build(buildid)["results"] == FAILURE


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        ({}, "file ignored new"),
        ({"mode": "full"}, "file"),
        ({"mode": "full", "method": "clean"}, "file ignored"),
        ({"mode": "full", "method": "clobber"}, "file"),
        ({"mode": "full", "method": "copy"}, "file"),
        ({"shallow": True}, "file ignored new"),
    ],
)
async def test_git_modes(farm: LocalFarm, repository: Repository, arguments: dict[str, Any], left: str) -> None:
    """Each mode and method keeps and removes files of an earlier build as documented; changes are undone."""
    await farm.start(
        Git(repourl=f"file://{repository.path}", **arguments),
        SetPropertyFromCommand(
            command="ls | tr '\\n' ' '; cat file; git rev-list --count HEAD", property="left", timeout=None
        ),
        ShellCommand(command="echo ignored > .git/info/exclude; touch ignored new; echo changed > file"),
    )
    for expected in ("file", left):
        buildid = await farm.build(revision=repository.first)
        await farm.ended()
        row = farm.master.build(buildid)
        assert row["results"] == SUCCESS
        assert row["properties"]["left"][0] == f"{expected} one\n1"


async def test_git_submodules_and_patch(farm: LocalFarm, repository: Repository, tmp_path: Path) -> None:
    """Submodules are checked out, and the source stamp's patch is applied."""
    other = Repository(tmp_path / "other")
    allow = ["-c", "protocol.file.allow=always"]
    repository.git(*allow, "submodule", "--quiet", "add", "../other", "sub")
    repository.git("commit", "-q", "-m", "submodule")
    body = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n"
    await farm.start(
        Git(
            repourl=str(repository.path),
            submodules=True,
            mode="full",
            config={"protocol.file.allow": "always"},
        ),
        SetPropertyFromCommand(command="cat file sub/file; git -C sub rev-parse HEAD", property="seen"),
    )
    buildid = await farm.build(patch_body=body, patch_level=1, patch_subdir=".", patch_author="Jo", patch_comment="no")
    await farm.ended()
    assert farm.master.build(buildid)["properties"]["seen"][0] == f"patched\ntwo\n{other.second}"


INCREMENTAL: dict[str, Any] = {}
FULL: dict[str, Any] = {"mode": "full"}


@pytest.mark.parametrize("arguments", [INCREMENTAL, FULL, {"shallow": True}, {"mode": "full", "shallow": 1}])
async def test_branch_and_tag_of_one_name(farm: LocalFarm, repository: Repository, arguments: dict[str, Any]) -> None:
    """A source stamp's branch is the branch, also if a tag has its name; without a branch the tag is used."""
    repository.git("tag", "rel")
    repository.git("tag", "-a", "-m", "v0", "v0", repository.first)
    repository.git("checkout", "-q", "-b", "rel")
    third = repository.commit("file", "rel\n")
    repository.git("update-ref", "refs/pull/2/head", repository.first)
    await farm.start(Git(repourl=f"file://{repository.path}", **arguments), ShellCommand(command="cat file"))
    for branch, revision in (
        ("rel", third),
        ("main", repository.second),
        ("refs/tags/rel", repository.second),
        ("tags/rel", repository.second),
        ("refs/heads/rel", third),
        ("v0", repository.first),
        ("refs/pull/2/head", repository.first),
        ("rel", third),
        (None, third),  # the server's HEAD
    ):
        assert (await checked_out(farm, branch=branch))[0] == revision, branch
    fourth = repository.commit("file", "newer\n")
    assert (await checked_out(farm, branch="rel"))[0] == fourth


@pytest.mark.parametrize("arguments", [INCREMENTAL, FULL, {"shallow": True}])
async def test_symbolic_revisions(farm: LocalFarm, repository: Repository, arguments: dict[str, Any]) -> None:
    """A revision that is a name is looked up on the server, not in the directory of an older build."""
    repository.git("tag", "moves")
    repository.git("branch", "20261128", repository.first)
    await farm.start(Git(repourl=f"file://{repository.path}", **arguments))
    for stamp in ({"branch": "main"}, {"revision": "moves", "branch": "main"}):
        assert (await checked_out(farm, **stamp))[0] == repository.second
    repository.git("checkout", "-q", "-b", "side", repository.first)
    side = repository.commit("file", "side\n")
    repository.git("checkout", "-q", "main")
    third = repository.commit("file", "three\n")
    repository.git("checkout", "-q", "side")
    repository.git("tag", "-f", "moves")
    for revision, expected in (
        ("HEAD", third),
        ("FETCH_HEAD", third),
        ("@", third),
        ("HEAD^{commit}", third),
        ("main", third),
        ("refs/heads/main", third),
        ("side", side),
        ("moves", side),
        ("refs/tags/moves", side),
        ("20261128", repository.first),
        (third[:8], third),
        (side[:12], side),
        (repository.second, repository.second),
    ):
        assert (await checked_out(farm, revision=revision, branch="main"))[0] == expected, revision
    repository.git("branch", "-D", "20261128")
    repository.git("tag", "-d", "moves")
    for revision, complaint in (
        ("20261128", "revision 20261128 is not in"),
        ("moves", "revision moves is not in"),
        ("ORIG_HEAD", "revision ORIG_HEAD is not in"),
        ("origin/main", "revision origin/main is not in"),
        ("MERGE_HEAD~1", "revision MERGE_HEAD is not in"),
        ("main@{1}", "is not a commit's hash"),
        ("@{-1}", "is not a commit's hash"),
        (":/three", "is not a commit's hash"),
        ("main..side", "is not a commit's hash"),
        ("main file", "is not a commit's hash"),
        ("main~40", "there is no main~40 in"),
    ):
        found, text = await checked_out(farm, revision=revision, branch="main")
        assert found is None and complaint in text, (revision, text)
    if "shallow" not in arguments:
        for revision in ("main~1", "HEAD^", f"{third}~", f"{third[:10]}^1"):
            assert (await checked_out(farm, revision=revision, branch="main"))[0] == repository.second, revision


async def test_revision_that_is_a_branch_and_a_tag(farm: LocalFarm, repository: Repository) -> None:
    """An ambiguous name fails the step with both full names; a full name works."""
    repository.git("tag", "rel", repository.first)
    repository.git("branch", "rel")
    await farm.start(Git(repourl=str(repository.path)))
    found, text = await checked_out(farm, revision="rel")
    assert found is None and "give refs/heads/rel or refs/tags/rel" in text
    assert (await checked_out(farm, revision="refs/heads/rel"))[0] == repository.second
    assert (await checked_out(farm, revision="refs/tags/rel"))[0] == repository.first


@pytest.fixture
def nested(repository: Repository, tmp_path: Path) -> tuple[Repository, Repository]:
    """The repository with a submodule, which has one itself, in a hidden directory; the two inner ones."""
    inner, sub = Repository(tmp_path / "inner"), Repository(tmp_path / "other")
    allow = ["-c", "protocol.file.allow=always"]
    sub.git(*allow, "submodule", "--quiet", "add", str(inner.path), "deep/inner")
    sub.git("commit", "-q", "-m", "inner")
    repository.git(*allow, "submodule", "--quiet", "add", str(sub.path), ".vendor/sub")
    repository.git("commit", "-q", "-m", "submodule")
    return sub, inner


def move_submodule(repository: Repository, commit: str) -> str:
    """A commit that moves the submodule."""
    repository.git("update-index", "--cacheinfo", f"160000,{commit},.vendor/sub")
    repository.git("commit", "-q", "-m", f"moved to {commit}")
    return repository.git("rev-parse", "HEAD")


@pytest.mark.parametrize("arguments", [INCREMENTAL, FULL])
async def test_locks_that_a_killed_git_left(
    farm: LocalFarm, repository: Repository, nested: tuple[Repository, Repository], arguments: dict[str, Any]
) -> None:
    """Lock files of a killed git, also in submodules, do not fail the next build."""
    sub, inner = nested
    config = {"protocol.file.allow": "always"}
    await farm.start(Git(repourl=str(repository.path), submodules=True, config=config, **arguments))
    assert (await checked_out(farm))[0] == repository.git("rev-parse", "HEAD")
    top = farm.tmp_path / "w1" / "runtests" / "build" / ".git"
    outer = top / "modules" / ".vendor" / "sub"
    for where in (top, outer, outer / "modules" / "deep" / "inner"):
        for lock in ("index.lock", "config.lock", "HEAD.lock", "shallow.lock", "packed-refs.lock"):
            (where / lock).touch()
    inner_commit = inner.commit("file", "inner moves\n")
    sub.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--remote")
    sub.git("commit", "-q", "-a", "-m", "inner moves")
    moved = move_submodule(repository, sub.git("rev-parse", "HEAD"))
    found, text = await checked_out(farm)
    assert found == moved, text
    path = top.parent / ".vendor" / "sub" / "deep" / "inner" / "file"
    assert inner_commit and path.read_text() == "inner moves\n"
    assert not list(top.rglob("*.lock"))


@pytest.mark.parametrize("damaged", ["", "modules/deep/inner"])
async def test_submodule_whose_clone_was_killed(
    farm: LocalFarm, repository: Repository, nested: tuple[Repository, Repository], damaged: str
) -> None:
    """A damaged repository of a submodule is cloned again."""
    await farm.start(Git(repourl=str(repository.path), submodules=True, config={"protocol.file.allow": "always"}))
    expected = repository.git("rev-parse", "HEAD")
    assert (await checked_out(farm))[0] == expected
    top = farm.tmp_path / "w1" / "runtests" / "build"
    (top / ".git" / "modules" / ".vendor" / "sub" / damaged / "HEAD").unlink()
    found, text = await checked_out(farm)
    assert found == expected, text
    assert (top / ".vendor" / "sub" / "deep" / "inner" / "file").read_text() == "two\n"


@pytest.mark.parametrize("arguments", [INCREMENTAL, FULL, {"shallow": True}])
async def test_submodule_commits_that_exist_nowhere(
    farm: LocalFarm, repository: Repository, nested: tuple[Repository, Repository], arguments: dict[str, Any]
) -> None:
    """Missing submodule commits do no harm on tags, branches and commits that are not checked out."""
    good = nested[0].git("rev-parse", "HEAD")
    config = {"protocol.file.allow": "always", "fetch.recurseSubmodules": "on-demand"} if arguments == FULL else None
    await farm.start(
        Git(
            repourl=f"file://{repository.path}",
            submodules=True,
            branch="main",
            config=config or {"protocol.file.allow": "always"},
            **arguments,
        )
    )
    assert (await checked_out(farm))[0] == repository.git("rev-parse", "HEAD")
    repository.git("checkout", "-q", "-b", "side")
    move_submodule(repository, "1" * 40)
    repository.git("tag", "wip")
    repository.git("checkout", "-q", "-f", "main")
    second = repository.commit("file", "t2\n")
    assert (await checked_out(farm))[0] == second
    bad = move_submodule(repository, "2" * 40)
    last = move_submodule(repository, good)
    for _ in range(2):
        found, text = await checked_out(farm)
        assert found == last, text
    found, text = await checked_out(farm, revision=bad)
    assert found is None and "git submodule" in text


PATCH = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-two\n+patched\n"
IN_MAIL = (
    "From 0123 Mon Sep 17 00:00:00 2001\nFrom: Jo <jo@example.org>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n"
    "Subject: [PATCH] change\n\nWhy.\n---\n file | 2 +-\n new  | 1 +\n 2 files changed\n\n"
    "diff --git a/file b/file\nindex f719efd..1b2b3f1 100644\n" + PATCH
    + "diff --git a/new b/new\nnew file mode 100644\nindex 0000000..3e75765\n--- /dev/null\n+++ b/new\n"
    "@@ -0,0 +1 @@\n+new\n-- \n2.39.5\n\n"
)  # fmt: skip


@pytest.mark.parametrize(
    ("body", "level", "subdir", "content"),
    [
        (PATCH, 1, "", "patched\n"),
        (PATCH, 1, None, "patched\n"),
        (PATCH[:-1], 1, ".", "patched\n"),
        (PATCH.replace("\n", "\r\n"), 1, ".", "patched\n"),
        (PATCH.replace("\n", "\r\n")[:-1], 1, ".", "patched\n"),
        (PATCH.replace("\n", "\r\n")[:-2], 1, ".", "patched\n"),
        (PATCH.replace(" a/file", " file").replace(" b/file", " file"), 0, ".", "patched\n"),
        (PATCH.replace("a/file", "a/x/file").replace("b/file", "b/x/file"), 2, ".", "patched\n"),
        (IN_MAIL, 1, ".", "patched\nnew\n"),
        (IN_MAIL[: IN_MAIL.index("-- \n")][:-1], 1, ".", "patched\nnew\n"),
        (PATCH.replace("file", "inside").replace("two", "in"), 1, "sub", "patched\n"),
        (PATCH.replace("file", "inside").replace("two", "in"), 1, "sub/", "patched\n"),
        (PATCH.replace("file", "inside").replace("two", "in"), 1, "./sub", "patched\n"),
        (PATCH.replace("file", "crlf").replace("two", "in\r").replace("patched", "patched\r"), 1, ".", "patched\r\n"),
        (PATCH.replace("file", "crlf").replace("two", "in").replace("\n", "\r\n"), 1, ".", "patched\r\n"),
    ],
)
async def test_patches(
    farm: LocalFarm, repository: Repository, body: str, level: int, subdir: str | None, content: str
) -> None:
    """Patches in all forms are applied, and the next build undoes them."""
    (repository.path / "sub").mkdir()
    repository.commit("sub/inside", "in\n")
    (repository.path / "crlf").write_bytes(b"in\r\n")
    repository.git("add", "crlf")
    repository.git("commit", "-q", "-m", "crlf")
    await farm.start(
        Git(repourl=str(repository.path)),
        SetPropertyFromCommand(
            command="git diff --name-only HEAD | xargs -r cat -v; git status --short", property="seen"
        ),
    )
    patch = {"patch_level": level, "patch_subdir": subdir, "patch_author": "Jo", "patch_comment": "no"}
    buildid = await farm.build(patch_body=body, **patch)
    await farm.ended()
    text = farm.master.steps(buildid)[1]["state_string"]
    assert farm.master.build(buildid)["results"] == SUCCESS, text
    for line in content.replace("\r", "^M").splitlines():
        assert f"o{line}\n" in farm.master.text(3)
    assert farm.master.text(2, "patch").rstrip("\n") == body.rstrip("\n")
    plain = await farm.build()
    await farm.ended()
    assert farm.master.build(plain)["properties"]["seen"][0] == ""


async def test_patch_that_does_not_apply(farm: LocalFarm, repository: Repository) -> None:
    """The step's text has git's message."""
    await farm.start(Git(repourl=str(repository.path)))
    for body in (PATCH.replace("two", "other"), PATCH.replace("two", "other").replace("\n", "\r\n")):
        found, text = await checked_out(
            farm, patch_body=body, patch_level=1, patch_subdir=".", patch_author="Jo", patch_comment=""
        )
        assert found is None and text.startswith("git apply: error: patch failed: file:1"), text


async def test_description(farm: LocalFarm, repository: Repository) -> None:
    """``getDescription`` sets a property to the output of ``git describe``, if there is any."""
    await farm.start(
        Git(repourl=str(repository.path), getDescription=True, progress=False, retryFetch=True),
        Git(repourl=str(repository.path), getDescription={"tags": True, "long": True, "match": "w*", "abbrev": 12}),
        Git(repourl=str(repository.path), getDescription={"always": Property("yes"), "dirty": "-d", "exclude": None}),
    )
    first = await farm.build()
    await farm.ended()
    properties = farm.master.build(first)["properties"]
    assert "commit-description" not in properties and farm.master.build(first)["results"] == SUCCESS
    repository.git("tag", "-a", "-m", "v1", "v1", repository.first)
    repository.git("tag", "w1")
    second = await farm.build(properties={"yes": (True, "Force")})
    await farm.ended()
    set_to = [
        properties["commit-description"][0]
        for _, properties in farm.master.of("setBuildProperties")
        if "commit-description" in properties
    ]
    short = repository.second[:7]
    assert set_to == [f"v1-1-g{short}", f"w1-0-g{repository.second[:12]}", f"v1-1-g{short}"]
    assert farm.master.build(second)["results"] == SUCCESS


async def test_retry_of_a_fetch(farm: LocalFarm, repository: Repository) -> None:
    """With ``retryFetch`` a failed fetch is tried once more, at once."""
    hidden = repository.path.with_name("hidden")
    os.rename(repository.path, hidden)
    await farm.start(
        Git(repourl=str(repository.path), retryFetch=True, alwaysRun=True),
        Git(repourl=str(repository.path), retryFetch=False, alwaysRun=True),
    )
    buildid = await farm.build()
    await farm.ended()
    assert farm.master.build(buildid)["results"] == FAILURE
    assert [farm.master.text(stepid).count("trying again in 0 s") for stepid in (2, 3)] == [1, 0]
    assert [farm.master.text(stepid).count("does not appear to be a git repository") for stepid in (2, 3)] == [2, 1]


async def test_rendered_mode(farm: LocalFarm, repository: Repository) -> None:
    """Mode and method may be renderables; a wrong value fails the step and says what is allowed."""
    await farm.start(
        Git(repourl=str(repository.path), mode=Property("mode"), method=Property("method")),
        SetPropertyFromCommand(command="ls | tr '\\n' ' '; touch new", property="left"),
    )
    for mode, method, left in (("full", "fresh", "file"), ("incremental", None, "file new"), ("full", None, "file")):
        buildid = await farm.build(properties={"mode": (mode, "Force"), "method": (method, "Force")})
        await farm.ended()
        assert farm.master.build(buildid)["properties"]["left"][0] == left
    _, text = await checked_out(farm, properties={"mode": ("ful", "Force")})
    assert text == "Git: mode must be one of 'incremental', 'full', not 'ful' (str); did you mean 'full'? (failure)"


async def test_objects_of_a_reference(farm: LocalFarm, repository: Repository, tmp_path: Path) -> None:
    """Objects of a ``reference`` are not fetched; a missing one fails the step."""
    repository.git("clone", "-q", "--bare", str(repository.path), str(tmp_path / "mirror.git"))
    await farm.start(Git(repourl=f"file://{repository.path}", reference=Property("reference")))
    for reference in (str(tmp_path / "mirror.git"), "../../../mirror.git", str(repository.path)):
        found, text = await checked_out(farm, properties={"reference": (reference, "Force")})
        assert found == repository.second, text
        assert not [each for each in (farm.directory / ".git" / "objects").iterdir() if len(each.name) == 2]
    assert (await checked_out(farm, properties={"reference": ("/nowhere", "Force")}))[1] == (
        "reference /nowhere is not a git repository on the worker (failure)"
    )


async def test_filters(farm: LocalFarm, repository: Repository) -> None:
    """Objects that a filter leaves out are fetched at the checkout."""
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    await farm.start(Git(repourl=f"file://{repository.path}", filters=["blob:none"]))
    for revision in (repository.second, repository.first):
        assert (await checked_out(farm, revision=revision))[0] == revision
    assert (farm.directory / "file").read_text() == "one\n"
    assert "blob:none" in (farm.directory / ".git" / "config").read_text()


async def test_newest_commits_of_submodules(
    farm: LocalFarm, repository: Repository, nested: tuple[Repository, Repository]
) -> None:
    """With ``remoteSubmodules`` the newest commit of a submodule's branch is checked out."""
    sub, _ = nested
    sub.commit("file", "newer\n")
    await farm.start(
        Git(repourl=str(repository.path), submodules=True, remoteSubmodules=Property("newest"),
            config={"protocol.file.allow": "always"})
    )  # fmt: skip
    for newest, content in ((False, "two\n"), (True, "newer\n")):
        found, text = await checked_out(farm, properties={"newest": (newest, "Force")})
        assert found, text
        assert (farm.directory / ".vendor" / "sub" / "file").read_text() == content


async def test_codebases(farm: LocalFarm, repository: Repository) -> None:
    """A step with a codebase has its name, and an entry in the property; its own branch is the default."""
    repository.git("branch", "side", repository.first)
    await farm.start(
        Git(repourl=str(repository.path), codebase="lib", getDescription={"always": True}),
        Git(repourl=str(repository.path), codebase="lib", name="again", alwaysUseLatest=True, branch="side"),
    )
    buildid = await farm.build(codebase="lib", branch="main", revision=repository.second)
    await farm.ended()
    properties = farm.master.build(buildid)["properties"]
    assert properties["commit-description-lib"] == (repository.second[:7], "Git")
    assert properties["got_revision"] == ({"lib": repository.first}, "Git")
    assert [(step["name"], step["state_string"]) for step in farm.master.steps(buildid)[1:]] == [
        ("git-lib", f"update {repository.second[:10]} lib"),
        ("again-lib", f"update {repository.first[:10]} lib"),
    ]


async def test_patch_of_a_subclass(farm: LocalFarm, repository: Repository) -> None:
    """Users' subclasses apply patches themselves, by Buildbot's methods."""
    calls: list[Any] = []

    class Own(Git):
        @inlineCallbacks
        def patch(self, patch: Any) -> Generator[Any, Any, None]:
            yield self._dovccmd(["update-index", "--refresh"])
            rc = yield self._dovccmd(["apply", "-p", str(patch[0])], initialStdin=patch[1])
            bad = yield self._dovccmd(["rev-parse", "--verify", "nope"], abandonOnFailure=False)
            head = yield self._dovccmd(["rev-parse", "HEAD"], collectStdout=True)
            self.updateSourceProperty("patched", True)
            calls.append((rc, bad, head, patch.subdir))

    await farm.start(Own(repourl=str(repository.path)))
    patch = {"patch_level": 1, "patch_subdir": "sub", "patch_author": "Jo", "patch_comment": ""}
    buildid = await farm.build(patch_body=PATCH, **patch)
    await farm.ended()
    assert calls == [(0, 128, f"{repository.second}\n", "sub")]
    assert farm.master.build(buildid)["properties"]["patched"] == (True, "Own")
    assert (farm.directory / "file").read_text() == "patched\n"


async def test_run_vc_of_a_subclass(farm: LocalFarm) -> None:
    """A user's version control system is a subclass of `Source` with a ``run_vc``."""

    class Own(Source):
        name = "own"
        program = ("echo",)

        async def run_vc(self, branch: str | None, revision: str | None, patch: Any) -> int:
            said = await self.retried(lambda: self.vc("get", str(branch), str(revision)))
            self.set_revision(said.stdout.split()[-1])
            await self.apply_patch(patch)
            return SUCCESS

    await farm.start(Own(env={"A": "b"}, logEnviron=True), env={"A": "a", "B": "c"})
    buildid = await farm.build(branch="b1", revision="r17")
    await farm.ended()
    assert farm.master.build(buildid)["properties"]["got_revision"] == ("r17", "Own")
    assert farm.master.text(2).count("A=b\n") == 1 and "B=c\n" in farm.master.text(2)
    patch = {"patch_level": 1, "patch_subdir": "", "patch_author": "Jo", "patch_comment": ""}
    patched = await farm.build(patch_body=PATCH, **patch)
    await farm.ended()
    assert farm.master.steps(patched)[1]["state_string"] == "Own cannot apply the source stamp's patch (failure)"


@pytest.mark.parametrize("arguments", [{"retry": (0, 2)}, {"retryFetch": True}, {}])
async def test_retries(farm: LocalFarm, repository: Repository, arguments: dict[str, Any]) -> None:
    """A failed fetch is tried again, by ``retry`` or ``retryFetch``; a missing name is not."""
    hidden = repository.path.with_name("hidden")
    attempts = 0

    def heal(name: str, args: dict[str, Any]) -> None:
        nonlocal attempts
        if "fetch" in args.get("command", ()):
            attempts += 1
            if attempts == 2 and hidden.exists():
                hidden.rename(repository.path)

    await farm.start(Git(repourl=str(repository.path), **arguments))
    repository.path.rename(hidden)
    farm.connection.on_command = heal
    found, _ = await checked_out(farm)
    assert found == (repository.second if arguments else None)
    if not hidden.exists():
        attempts = 0
        assert (await checked_out(farm, branch="nope"))[0] is None
        assert attempts == 2  # as a branch, and as any other ref
