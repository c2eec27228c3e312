"""Git steps for pull requests of servers, commits, tags, pushes and differences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from buildbot.config.errors import ConfigErrors
from buildbot.plugins import steps
from buildbot.process.properties import Property
from buildbot.steps.gitdiffinfo import GitDiffInfo, parsed
from buildbot.steps.shell import ShellCommand
from buildbot.steps.source.gerrit import Gerrit
from buildbot.steps.source.git import Git, GitCommit, GitPush, GitTag
from buildbot.steps.source.github import GitHub
from buildbot.steps.source.gitlab import GitLab
from buildbot.util.results import FAILURE, SUCCESS
from tests.e2e.agents import Repository
from tests.support.git_servers import HTTPServer
from tests.support.local_worker import LocalFarm

IDENTITY = {"user.name": "Jo", "user.email": "jo@example.org"}


async def built(farm: LocalFarm, **stamp: Any) -> tuple[int, list[str]]:
    """Build; the result, and the steps' texts."""
    buildid = await farm.build(**stamp)
    await farm.ended()
    texts = [step["state_string"] for step in farm.master.steps(buildid)[1:]]
    return farm.master.build(buildid)["results"], texts


async def test_pull_requests_of_github(farm: LocalFarm, repository: Repository) -> None:
    """Of a pull request the newest merge is checked out, or its head at the revision of the change."""
    repository.git("update-ref", "refs/pull/2/head", repository.second)
    repository.git("update-ref", "refs/pull/2/merge", repository.first)
    repository.git("branch", "feature/merge", repository.second)
    await farm.start(GitHub(repourl=str(repository.path)))
    for branch, revision, expected in (
        ("refs/pull/2/merge", repository.second, repository.first),
        ("refs/pull/2/head", repository.second, repository.second),
        ("refs/pull/2/head", repository.first, repository.first),
        ("feature/merge", repository.first, repository.first),
        ("main", None, repository.second),
    ):
        results, texts = await built(farm, branch=branch, revision=revision)
        assert (results, texts) == (SUCCESS, [f"update {expected[:10]}"])


async def test_merge_requests_of_gitlab(farm: LocalFarm, repository: Repository, tmp_path: Path) -> None:
    """The branch of a merge request is fetched from its own repository, by the protocol of ``repourl``."""
    fork = Repository(tmp_path / "fork")
    fork.git("checkout", "-q", "-b", "feature")
    commit = fork.commit("file", "feature\n")
    properties = {
        "source_branch": "feature",
        "source_git_ssh_url": "ssh://nobody.invalid/fork",
        "source_git_http_url": str(fork.path),
        "target_branch": "main",
        "target_git_ssh_url": "ssh://nobody.invalid/target",
    }
    over_ssh = {**properties, "target_git_ssh_url": str(repository.path), "source_git_ssh_url": str(fork.path)}
    hook = {**properties, "source_repository": str(fork.path), "target_repository": "http://gitlab/target.git"}
    del hook["source_git_http_url"]
    await farm.start(GitLab(repourl=str(repository.path)))
    for given, repository_of_stamp, revision in (
        (properties, "r", commit),
        (over_ssh, "r", commit),
        (hook, "http://gitlab/target.git", commit),
        (hook, "http://gitlab/target.git", None),
        (hook, "ssh://nobody.invalid/target", None),
    ):
        stamped = {name: (value, "Change") for name, value in given.items()}
        stamp = {"branch": "main", "revision": revision, "repository": repository_of_stamp}
        assert await built(farm, **stamp, properties=stamped) == (SUCCESS, [f"update {commit[:10]}"])
    stamped = {name: (value, "Change") for name, value in hook.items()}
    other = {"branch": "main", "revision": None, "repository": "http://gitlab/other.git"}
    assert await built(farm, **other, properties=stamped) == (SUCCESS, [f"update {repository.second[:10]}"])
    assert (await built(farm, branch="main"))[1] == [f"update {repository.second[:10]}"]


async def test_changes_of_gerrit(farm: LocalFarm, repository: Repository) -> None:
    """A patch set of an event or a property is checked out, unless it is of another project."""
    repository.git("update-ref", "refs/changes/07/1207/3", repository.first)
    await farm.start(Gerrit(repourl=str(repository.path)))
    event = {"event.change.project": ("p", "Change"), "event.patchSet.ref": ("refs/changes/07/1207/3", "Change")}
    first, second = f"update {repository.first[:10]}", f"update {repository.second[:10]}"
    for properties, project, expected in (
        (event, "p", first),
        (event, "other", second),
        ({"gerrit_change": ("1207/3", "Force")}, "p", first),
        ({"gerrit_change": ("", "Force")}, "p", second),
        ({}, "p", second),
    ):
        results, texts = await built(farm, properties=properties, project=project, revision=None)
        assert (results, texts) == (SUCCESS, [expected])
    assert (await built(farm, properties={"gerrit_change": ("12", "Force")}))[1] == [
        "gerrit_change must be a change and a patch set, as in 1234/5, not '12' (failure)"
    ]


async def test_commit_tag_and_push(farm: LocalFarm, repository: Repository, git_http: HTTPServer) -> None:
    """A build changes a file, commits it on the branch that was checked out, tags and pushes both."""
    repository.git("config", "http.receivepack", "true")
    repository.git("branch", "work")
    login = {"repourl": git_http.url(repository.path), "auth_credentials": ("jo", Property("password"))}
    await farm.start(
        Git(**login),
        ShellCommand(command="echo built > file; echo more > other"),
        GitCommit(paths=["file"], messages=["Built", "By a build."], config=IDENTITY),
        GitTag(tagName=Property("tag"), annotated=True, messages=["Version"], config=IDENTITY),
        GitPush(branch="work", **login),
        GitPush(branch=Property("tag"), force=True, **login),
    )
    properties = {"password": ("s3cret/%word", "Force"), "tag": ("v1", "Force")}
    results, texts = await built(farm, branch="work", properties=properties)
    assert results == SUCCESS, texts
    assert repository.git("show", "work:file") == "built"
    assert repository.git("log", "-1", "--format=%B", "work") == "Built\n\nBy a build."
    assert repository.git("cat-file", "-t", "v1") == "tag"
    assert repository.git("rev-parse", "v1^{commit}") == repository.git("rev-parse", "work")
    assert repository.git("ls-tree", "--name-only", "work") == "file"
    # a second time the tag is in the way
    results, texts = await built(farm, branch="work", properties=properties)
    assert results == FAILURE and "git tag: fatal: tag 'v1' already exists (failure)" in texts


@pytest.mark.parametrize(
    ("empty", "results", "commits", "text"),
    [("disallow", FAILURE, 2, "git commit: "), ("create-empty-commit", SUCCESS, 3, ""), ("ignore", SUCCESS, 2, "noth")],
)
async def test_nothing_to_commit(
    farm: LocalFarm, repository: Repository, empty: str, results: int, commits: int, text: str
) -> None:
    """``emptyCommits`` decides what happens if no file has changed; other files are not committed."""
    await farm.start(
        Git(repourl=str(repository.path)),
        ShellCommand(command="echo more > other"),
        GitCommit(paths=["file"], messages=["x"], emptyCommits=empty, config=IDENTITY),
        ShellCommand(command="git rev-list --count HEAD", alwaysRun=True),
    )
    got, texts = await built(farm, branch="main")
    assert got == results and texts[2].startswith(text), texts
    assert f"o{commits}\n" in farm.master.text(5)


async def test_commit_on_no_branch(farm: LocalFarm, repository: Repository) -> None:
    """Without a branch that is checked out, no commit is made."""
    await farm.start(
        Git(repourl=str(repository.path)),
        GitCommit(paths=["file"], messages=["x"], emptyCommits="create-empty-commit", config=IDENTITY),
    )
    results, texts = await built(farm, branch="refs/heads/main")
    assert results == FAILURE and texts[1] == "no branch is checked out, so the commit would be on no branch (failure)"


async def test_branches_that_cannot_be_together(farm: LocalFarm, repository: Repository) -> None:
    """A branch of an older build gives way to one whose name is a part of its name, and the reverse."""
    await farm.start(Git(repourl=str(repository.path)), ShellCommand(command="git symbolic-ref HEAD"))
    for branch in ("a/b", "a", "a/b/c", "a/b"):
        for ref in repository.git("for-each-ref", "--format=%(refname)", "refs/heads/a", "refs/heads/a/").split():
            repository.git("update-ref", "-d", ref)
        repository.git("branch", branch)
        results, texts = await built(farm, branch=branch)
        assert results == SUCCESS, texts
        assert (farm.directory / ".git" / "HEAD").read_text() == f"ref: refs/heads/{branch}\n"


async def test_what_differs(farm: LocalFarm, repository: Repository) -> None:
    """The lines that differ from the merge base with a branch are build data; the branch is fetched."""
    (repository.path / "new é\t1").write_text("x\n")
    repository.git("checkout", "-q", "-b", "side", repository.first)
    repository.git("add", ".")
    repository.git("commit", "-q", "-m", "new")
    repository.commit("file", "zero\none\n")
    await farm.start(Git(repourl=str(repository.path)), GitDiffInfo(Property("ref"), "info"))
    for ref in ("main", "origin/main", repository.second):
        results, texts = await built(farm, branch="side", properties={"ref": (ref, "Force")})
        assert results == SUCCESS, texts
    build = farm.master.build(1)
    assert build["properties"]["diffinfo-merge-base-commit"] == (repository.first, "GitDiffInfo")
    data = farm.master.get("builds", 1, "data", "info", "value")["value"]
    assert json.loads(data) == [
        {"source_file": "file", "target_file": "file", "is_binary": False, "is_rename": False,
         "hunks": [{"ss": 0, "sl": 0, "ts": 1, "tl": 1}]},
        {"source_file": "/dev/null", "target_file": "new é\t1", "is_binary": False, "is_rename": False,
         "hunks": [{"ss": 0, "sl": 0, "ts": 1, "tl": 1}]},
    ]  # fmt: skip
    results, texts = await built(farm, branch="side", properties={"ref": ("nope", "Force")})
    assert results == FAILURE and texts[1] == "there is no branch or commit nope (failure)"


def test_files_that_differ_oddly(repository: Repository) -> None:
    """Binary, renamed and removed files, other permissions, and lines that look like git's own are read."""
    (repository.path / "binary").write_bytes(b"\0\1")
    (repository.path / "gone").write_text("diff --git x y\n--- x\n")
    (repository.path / "old name").write_text("\n".join(map(str, range(50))))
    (repository.path / "script").write_text("x\n")
    repository.git("add", ".")
    repository.git("commit", "-q", "-m", "before")
    (repository.path / "binary").write_bytes(b"\0\2")
    repository.git("rm", "-q", "gone")
    repository.git("mv", "old name", "new name")
    (repository.path / "script").chmod(0o755)
    (repository.path / "file").write_text("@@ -1 +1 @@\n")
    repository.git("commit", "-q", "-a", "-m", "after")
    diff = repository.git("diff", "--no-prefix", "-M", "-U0", "HEAD~", "HEAD")
    found = {entry["source_file"]: entry for entry in parsed(diff)}
    assert found["binary"]["is_binary"] and found["binary"]["hunks"] == []
    assert (found["gone"]["target_file"], found["gone"]["hunks"]) == (
        "/dev/null",
        [{"ss": 1, "sl": 2, "ts": 0, "tl": 0}],
    )
    assert (found["old name"]["target_file"], found["old name"]["is_rename"]) == ("new name", True)
    assert (found["script"]["target_file"], found["script"]["hunks"]) == ("script", [])
    assert found["file"]["hunks"] == [{"ss": 1, "sl": 1, "ts": 1, "tl": 1}]
    assert len(found) == 5


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GitCommit(paths="file", messages=["x"]), "GitCommit: paths must be a list, not 'file'"),
        (lambda: GitCommit(paths=["file"], messages="x"), "GitCommit: messages must be a list, not 'x'"),
        (lambda: GitCommit(paths=[], messages=["x"]), "GitCommit: paths must have at least one element"),
        (lambda: GitCommit(messages=["x"]), "GitCommit: argument 'paths' is missing"),
        (lambda: GitCommit(paths=["f"], messages=["x"], emptyCommits="no"), "emptyCommits must be one of 'disallow'"),
        (lambda: GitTag(), "GitTag: argument 'tagName' is missing"),
        (lambda: GitTag(tagName="-d"), "tagName must not begin with '-': '-d'"),
        (lambda: GitTag(tagName="v", annotated=True), "GitTag: an annotated tag needs messages"),
        (lambda: GitTag(tagName="v", messages=["x"]), "GitTag: messages need annotated=True"),
        (lambda: GitPush(repourl="x"), "GitPush: argument 'branch' is missing"),
        (lambda: GitPush(branch="x"), "GitPush: argument 'repourl' is missing"),
        (lambda: GitPush(branch="x", repourl="y", sshHostKey="z"), "GitPush: sshHostKey and sshKnownHosts need an"),
        (lambda: GitDiffInfo(dataName="a b"), "dataName must be 1 to 70 letters"),
        (lambda: GitDiffInfo(auth_credentials=("a", "b")), "GitDiffInfo: auth_credentials need a repourl"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration."""
    with pytest.raises(ConfigErrors, match=complaint):
        make()


def test_plugin_names() -> None:
    """The names of `buildbot.plugins.steps` are these classes, under the paths that configurations import."""
    for kind in (Gerrit, Git, GitCommit, GitDiffInfo, GitHub, GitLab, GitPush, GitTag):
        assert getattr(steps, kind.__name__) is kind
