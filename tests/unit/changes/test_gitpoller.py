"""GitPoller on real repositories: every commit once, also after failures."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import capturedLogs

from buildbot.changes.base import PollError
from buildbot.changes.gitpoller import GitPoller
from buildbot.config.errors import ConfigErrors
from buildbot.test.fake.fakedb import make_master
from buildbot.test.running import Running
from tests.support.reactor import run
from tests.unit.changes.repository import Repository


class Killed(Exception):
    """An exception at the place where the master dies."""


class Polling:
    """A poller of a repository in a master, and the changes that it made."""

    def __init__(self, master: Any, basedir: Path, url: str, **arguments: Any) -> None:
        self.master = Running(master, basedir)
        self.url = url
        self.arguments = {"branches": True} | arguments
        self.restart()

    def restart(self, **arguments: Any) -> None:
        """Another poller with the same configuration, which has the state in the database and on disk only."""
        self.poller = GitPoller(self.url, **(self.arguments | arguments))
        self.poller.master = self.master  # type: ignore[assignment]

    async def poll(self) -> list[dict[str, Any]]:
        """Poll; the changes that are new."""
        before = len(await self.changes())
        await self.poller.claim(self.master.masterid)
        await self.poller.poll()
        return (await self.changes())[before:]

    async def killed_after(self, count: int) -> None:
        """Poll with a master that dies after ``count`` changes, if there are so many; another one replaces it."""
        await self.poller.claim(self.master.masterid)
        add, left = self.poller.add_change, count

        def mortal(**change: Any) -> Any:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return add(**change)

        self.poller.add_change = mortal  # type: ignore[method-assign]
        with contextlib.suppress(Killed):
            await self.poller.poll()
        self.restart()

    async def changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.master.data.get({"order": ["changeid"]}, ("changes",))
        return found

    async def revisions(self) -> list[str]:
        return [change["revision"] for change in await self.changes()]


@pytest.fixture
def polling(master: Any, tmp_path: Path, repository: Repository) -> Polling:
    """A poller of all branches of ``repository``."""
    return Polling(master, tmp_path, repository.url)


async def test_the_first_sight_records_the_position_only(polling: Polling, repository: Repository) -> None:
    repository.commit()
    assert await polling.poll() == []
    revision = repository.commit()
    assert [change["revision"] for change in await polling.poll()] == [revision]


async def test_the_first_commits_of_an_empty_repository_are_new(polling: Polling, repository: Repository) -> None:
    assert await polling.poll() == []
    revisions = [repository.commit(), repository.commit()]
    await polling.poll()
    assert await polling.revisions() == revisions


async def test_attributes_of_a_change(polling: Polling, repository: Repository) -> None:
    repository.commit()
    await polling.poll()
    revision = repository.commit(files={"src/a.c": "1", "x y\nz": "2"}, message="Target é\n\nBody\n")
    (change,) = await polling.poll()
    expected = {
        "author": "Ann Author <ann@example.org>",
        "committer": "Carl Committer <carl@example.org>",
        "comments": "Target é\n\nBody",
        "revision": revision,
        "branch": "main",
        "when_timestamp": repository.clock,
        "repository": repository.url,
        "project": "",
        "codebase": "",
        "category": None,
        "properties": {},
    }
    assert {key: change[key] for key in expected} == expected
    assert sorted(change["files"]) == ["src/a.c", "x y\nz"]


async def test_bytes_that_are_not_utf8_do_no_harm(polling: Polling, repository: Repository) -> None:
    """Text that is not UTF-8 is read in the configured encoding, else shown with escapes."""
    repository.commit()
    await polling.poll()
    strange: dict[str, Any] = {
        "files": {b"caf\xe9": "1"},
        "message": b"gr\xfc\xdfe",
        "author": b"Andr\xe9 <andre@example.org>",
    }
    repository.commit(**strange)
    (change,) = await polling.poll()
    assert (change["author"], change["comments"]) == ("Andr\\xe9 <andre@example.org>", "gr\\xfc\\xdfe")
    assert change["files"] == ["caf\\xe9"]
    polling.restart(encoding="latin-1")
    repository.commit(**strange | {"files": {b"t\xe9": "1"}})
    (change,) = await polling.poll()
    assert (change["author"], change["comments"]) == ("André <andre@example.org>", "grüße")
    assert change["files"] == ["té"]


async def test_a_commit_may_declare_its_encoding(polling: Polling, repository: Repository) -> None:
    repository.commit()
    await polling.poll()
    repository.commit(message="Größe".encode("latin-1"), headers=b"encoding ISO-8859-1\n")
    (change,) = await polling.poll()
    assert change["comments"] == "Größe"


async def test_odd_commits(polling: Polling, repository: Repository) -> None:
    """No files, no message, no author's name, times before 1970 or absurdly late, a second root."""
    repository.commit()
    await polling.poll()
    repository.commit(files={}, message=b"", author=b" <>", when=0)
    repository.commit(files={}, when=10**15)
    repository.commit("other", parents=[])
    changes = await polling.poll()
    assert [change["branch"] for change in changes] == ["main", "main", "other"]
    assert changes[0]["files"] == []
    assert changes[0]["comments"] == ""
    assert await polling.poll() == []


async def test_a_merge_brings_the_commits_of_both_sides_once(polling: Polling, repository: Repository) -> None:
    """The files of a merge are those that differ from its first parent."""
    base = repository.commit(files={"base": "1"})
    await polling.poll()
    side = repository.commit("side", files={"side": "1"}, parents=[base])
    (change,) = await polling.poll()
    assert (change["revision"], change["branch"]) == (side, "side")
    ours = repository.commit(files={"ours": "1"})
    merge = repository.commit(files={"side": "1"}, parents=[ours, side])
    changes = await polling.poll()
    assert [change["revision"] for change in changes] == [ours, merge]
    assert changes[1]["files"] == ["side"]


async def test_parents_come_before_children_although_clocks_were_wrong(
    polling: Polling, repository: Repository
) -> None:
    repository.commit()
    await polling.poll()
    revisions = [repository.commit(when=when) for when in (1_500_000_000, 1_400_000_000, 1_600_000_000, 5)]
    await polling.poll()
    assert await polling.revisions() == revisions


async def test_rewritten_history(polling: Polling, repository: Repository) -> None:
    """Only commits that the old history did not have become changes; going back brings nothing twice."""
    base = repository.commit()
    await polling.poll()
    old = repository.commit()
    await polling.poll()
    new = [repository.commit(parents=[base]), repository.commit()]
    with capturedLogs() as logs:
        assert [change["revision"] for change in await polling.poll()] == new
    assert any("was rewritten" in event["log_format"] for event in logs)
    repository.set_head("main", old)
    assert await polling.poll() == []
    assert await polling.revisions() == [old, *new]


async def test_rewritten_history_after_git_cleaned_up(polling: Polling, repository: Repository) -> None:
    base = repository.commit()
    await polling.poll()
    repository.commit()
    await polling.poll()
    repository.git("gc", "-q", "--prune=now")
    new = repository.commit(parents=[base])
    repository.git("gc", "-q", "--prune=now")
    assert [change["revision"] for change in await polling.poll()] == [new]


async def test_deleted_branches(polling: Polling, repository: Repository) -> None:
    """A branch that goes brings nothing; nor does it when it comes back, or makes room for others below its name."""
    base = repository.commit()
    await polling.poll()
    side = repository.commit("side", parents=[base])
    await polling.poll()
    repository.delete("side")
    assert await polling.poll() == []
    repository.set_head("side", side)
    assert await polling.poll() == []
    repository.delete("side")
    below = repository.commit("side/below", parents=[side])
    assert [change["revision"] for change in await polling.poll()] == [below]


async def test_all_branches_deleted_and_back(polling: Polling, repository: Repository) -> None:
    head = repository.commit()
    await polling.poll()
    repository.delete("main")
    assert await polling.poll() == []
    repository.set_head("main", head)
    assert await polling.poll() == []
    revision = repository.commit()
    assert [change["revision"] for change in await polling.poll()] == [revision]


async def test_a_lost_mirror_is_fetched_again(polling: Polling, repository: Repository, tmp_path: Path) -> None:
    base = repository.commit()
    side = repository.commit("side", parents=[base])
    await polling.poll()
    shutil.rmtree(tmp_path / "gitpoller-work")
    merge = repository.commit(parents=[base, side])
    await polling.poll()
    assert await polling.revisions() == [merge]


async def test_a_lost_mirror_and_rewritten_history_start_anew(
    polling: Polling, repository: Repository, tmp_path: Path
) -> None:
    repository.commit()
    repository.commit()
    await polling.poll()
    shutil.rmtree(tmp_path / "gitpoller-work")
    repository.delete("main")
    repository.commit(parents=[])
    repository.git("gc", "-q", "--prune=now")
    with capturedLogs() as logs:
        assert await polling.poll() == []
    assert any("starting anew" in event["log_format"] for event in logs)
    revision = repository.commit()
    assert [change["revision"] for change in await polling.poll()] == [revision]


@pytest.mark.parametrize(
    ("branches", "expected"),
    [
        (["main", "none"], {"main"}),
        (["refs/heads/side"], {"side"}),
        (True, {"main", "side", "te/st", "übung"}),
        (lambda ref: ref.startswith("refs/heads/te"), {"te/st"}),
        (None, {"main"}),
    ],
)
async def test_which_branches(polling: Polling, repository: Repository, branches: Any, expected: set[str]) -> None:
    polling.restart(branches=branches)
    names = ("main", "side", "te/st", "übung")
    for name in names:
        repository.commit(name)
    await polling.poll()
    for name in names:
        repository.commit(name)
    assert {change["branch"] for change in await polling.poll()} == expected


async def test_a_branch_name_that_is_no_utf8(polling: Polling, repository: Repository) -> None:
    head = repository.commit()
    await polling.poll()
    (repository.path / "refs/heads").joinpath(b"caf\xe9".decode("utf-8", "surrogateescape")).write_text(head + "\n")
    assert await polling.poll() == []
    polling.restart()
    assert await polling.poll() == []


async def test_the_default_branch_moves(polling: Polling, repository: Repository) -> None:
    polling.restart(branches=None)
    repository.commit("main")
    await polling.poll()
    repository.set_head("trunk", repository.head("main"))
    repository.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    revision = repository.commit("trunk")
    assert [(change["revision"], change["branch"]) for change in await polling.poll()] == [(revision, "trunk")]


async def test_a_commit_on_several_branches_is_one_change_of_the_default_branch(
    polling: Polling, repository: Repository
) -> None:
    repository.commit()
    await polling.poll()
    revision = repository.commit()
    repository.set_head("a-branch", revision)
    assert [(change["revision"], change["branch"]) for change in await polling.poll()] == [(revision, "main")]


async def test_pushes_with_no_commits(polling: Polling, repository: Repository) -> None:
    polling.restart(buildPushesWithNoCommits=True)
    first = repository.commit()
    await polling.poll()
    repository.set_head("side", first)
    second = repository.commit()
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("main", second), ("side", first)]
    repository.set_head("side", second)
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("side", second)]
    repository.set_head("side", first)
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("side", first)]
    assert await polling.poll() == []


async def test_tags(polling: Polling, repository: Repository) -> None:
    """Light and annotated ones; one that points to no commit is passed over."""
    polling.restart(branches=None, only_tags=True)
    for _ in range(3):
        first = repository.commit()
    assert await polling.poll() == []
    repository.git("tag", "v1", first)
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("refs/tags/v1", first)]
    second = repository.commit()
    repository.git("tag", "-a", "-m", "two", "v2", second)
    repository.git("tag", "tree", f"{second}^{{tree}}")
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("refs/tags/v2", second)]
    assert await polling.poll() == []


def _all_kinds(ref: str) -> bool:
    return ref.startswith(("refs/tags/", "refs/heads/"))


@pytest.mark.parametrize("annotated", [False, True])
async def test_a_function_is_asked_about_tags(polling: Polling, repository: Repository, annotated: bool) -> None:
    """A tag on a commit that is known is a change where pushes without commits are built."""
    polling.restart(branches=_all_kinds, buildPushesWithNoCommits=True)
    revision = repository.commit()
    assert await polling.poll() == []
    repository.git("tag", *(["-a", "-m", "one"] if annotated else []), "v1", revision)
    (change,) = await polling.poll()
    assert (change["branch"], change["revision"]) == ("refs/tags/v1", revision)
    assert await polling.poll() == []
    polling.restart(branches=_all_kinds)
    repository.git("tag", "v2", revision)
    assert await polling.poll() == []


async def test_a_function_is_given_every_ref(polling: Polling, repository: Repository) -> None:
    """Branches, tags, notes and pull requests, by their full names."""
    given: list[str] = []
    polling.restart(branches=lambda ref: bool(given.append(ref)))  # type: ignore[func-returns-value]
    revision = repository.commit()
    refs = ["refs/heads/main", "refs/notes/x", "refs/pull/2/head", "refs/tags/v1"]
    for ref in refs[1:]:
        repository.git("update-ref", ref, revision)
    await polling.poll()
    assert given == refs


async def test_pull_requests(polling: Polling, repository: Repository) -> None:
    """A pull request brings its own commits on its own ref, whether it is new or known, and nothing of the branch that
    it begins at or merges."""

    def push(number: int, *parents: str) -> str:
        revision = repository.commit("away", parents=list(parents))
        repository.git("update-ref", f"refs/pull/{number}/head", revision)
        repository.delete("away")
        return revision

    polling.restart(branches=lambda ref: ref.startswith("refs/pull/"))
    base = [repository.commit() for _ in range(3)][-1]
    first = push(2, base)
    assert await polling.poll() == []
    second = push(2, first)
    (change,) = await polling.poll()
    assert (change["branch"], change["revision"]) == ("refs/pull/2/head", second)
    later = [repository.commit() for _ in range(2)][-1]
    third, merge = push(3, later), push(2, second, later)
    assert {(each["branch"], each["revision"]) for each in await polling.poll()} == {
        ("refs/pull/2/head", merge),
        ("refs/pull/3/head", third),
    }


async def test_the_first_pull_request_of_a_long_history(polling: Polling, repository: Repository) -> None:
    """A repository without pull requests is no mistake, and the first one does not bring the whole history."""
    polling.restart(branches=lambda ref: ref.startswith(("refs/pull/", "refs/heads/release")))
    base = [repository.commit() for _ in range(3)][-1]
    assert await polling.poll() == []
    revision = repository.commit("away", parents=[base])
    repository.git("update-ref", "refs/pull/1/head", revision)
    repository.git("update-ref", "refs/heads/release-1", base)
    assert [(each["branch"], each["revision"]) for each in await polling.poll()] == [("refs/pull/1/head", revision)]


async def test_category_project_codebase_and_time(polling: Polling, repository: Repository) -> None:
    polling.restart(
        category=lambda change: "docs" if change["files"] == ["doc"] else None,
        project="p", codebase="c", usetimestamps=False,
    )  # fmt: skip
    repository.commit()
    await polling.poll()
    repository.commit(files={"doc": "1"})
    (change,) = await polling.poll()
    assert (change["category"], change["project"], change["codebase"]) == ("docs", "p", "c")
    assert change["when_timestamp"] != repository.clock


async def test_a_repository_that_does_not_exist(master: Any, tmp_path: Path) -> None:
    polling = Polling(master, tmp_path, str(tmp_path / "none"))
    with pytest.raises(PollError, match=r"repository .*none cannot be read: .*does not appear to be a git repository"):
        await polling.poll()
    assert await polling.changes() == []


async def test_a_repository_that_becomes_unreachable_and_comes_back(
    polling: Polling, repository: Repository, tmp_path: Path
) -> None:
    repository.commit()
    await polling.poll()
    revisions = [repository.commit()]
    repository.path.rename(tmp_path / "away")
    with pytest.raises(PollError, match="cannot be read"):
        await polling.poll()
    (tmp_path / "away").rename(repository.path)
    revisions.append(repository.commit())
    await polling.poll()
    assert await polling.revisions() == revisions


async def test_a_branch_to_follow_that_is_not_there_yet(polling: Polling, repository: Repository) -> None:
    """A repository that has other branches has not been seen until one of those to follow is there."""
    polling.restart(branches=["later"])
    for _ in range(3):
        repository.commit()
    with pytest.raises(PollError, match="none of the branches"):
        await polling.poll()
    repository.set_head("later", repository.head())
    assert await polling.poll() == []
    revision = repository.commit("later")
    assert [change["revision"] for change in await polling.poll()] == [revision]


async def test_secrets_in_the_address_are_not_shown(master: Any, tmp_path: Path) -> None:
    polling = Polling(master, tmp_path, "https://user:secret@127.0.0.1:1/repository.git")
    with pytest.raises(PollError) as caught:
        await polling.poll()
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value) + polling.poller.name + polling.poller.repository


async def test_no_git_program(polling: Polling) -> None:
    polling.restart(gitbin="no-such-git")
    with pytest.raises(PollError, match="there is no program 'no-such-git'"):
        await polling.poll()


@pytest.mark.parametrize(
    ("url", "arguments", "message"),
    [
        ("--upload-pack=touch x", {}, "repourl"),
        ("", {}, "repourl"),
        ("u", {"branch": "a", "branches": ["b"]}, "either branch or branches"),
        ("u", {"branches": "main"}, "must be a list"),
        ("u", {"branches": ["a"], "only_tags": True}, "only_tags"),
        ("u", {"encoding": "klingon"}, "encoding"),
        ("u", {"pollInterval": -1}, "pollInterval"),
        ("u", {"pollRandomDelayMax": 700}, "pollRandomDelayMax"),
    ],
)
def test_mistakes_in_the_configuration(url: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigErrors, match=message):
        GitPoller(url, **arguments)


async def test_hostile_branch_names_are_no_options(polling: Polling, repository: Repository, tmp_path: Path) -> None:
    head = repository.commit()
    await polling.poll()
    repository.git("update-ref", "refs/heads/--upload-pack=touch${IFS}hacked", head)
    repository.commit("$(touch${IFS}hacked)", parents=[head])
    assert len(await polling.poll()) == 1
    assert not (tmp_path / "hacked").exists()


def many_commits(repository: Repository, count: int, seed: int) -> None:
    """A history with branches and merges, written by ``git fast-import``."""
    dice = random.Random(seed)
    heads: dict[str, int] = {}
    plan = []
    for mark in range(1, count + 1):
        branch = dice.choice(["main", "main", "main", "dev", f"topic/{dice.randrange(12)}"])
        lines = [f"commit refs/heads/{branch}", f"mark :{mark}"]
        lines.append(f"committer C <c@example.org> {1_650_000_000 + dice.randrange(10**6)} +0000")
        lines += ["data <<END", f"commit number {mark}", "END"]
        if branch in heads:
            lines.append(f"from :{heads[branch]}")
            others = sorted(set(heads.values()) - {heads[branch]})
            lines += [f"merge :{other}" for other in dice.sample(others, min(len(others), dice.choice([0, 0, 1, 2])))]
        elif heads:
            lines.append(f"from :{dice.choice(sorted(heads.values()))}")
        lines += [f"M 644 inline dir/{dice.randrange(40)}.txt", "data <<END", str(mark), "END"]
        heads[branch] = mark
        plan.append("\n".join(lines))
    repository.grow("\n".join(plan) + "\n")


async def assert_every_commit_once(polling: Polling, repository: Repository) -> None:
    revisions = await polling.revisions()
    assert len(revisions) == len(set(revisions))
    assert set(revisions) == repository.all_commits()
    place = {revision: index for index, revision in enumerate(revisions)}
    for line in repository.git("rev-list", "--parents", "--branches").splitlines():
        revision, *parents = line.split()
        assert all(place[parent] < place[revision] for parent in parents)


async def test_a_long_history(polling: Polling, repository: Repository) -> None:
    """Over 500 commits with branches and merges come as changes, each once, parents first."""
    await polling.poll()
    many_commits(repository, 600, seed=1)
    await polling.poll()
    await assert_every_commit_once(polling, repository)
    assert len(await polling.revisions()) == 600


@pytest.mark.parametrize("seed", range(4))
async def test_killed_again_and_again(
    polling: Polling, repository: Repository, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """A master that dies before or after any write, and starts again, loses and doubles nothing."""
    dice = random.Random(seed)
    await polling.poll()
    many_commits(repository, 250, seed=seed)
    deadly = True

    def mortal(write: Any) -> Any:
        def call(*arguments: Any, **further: Any) -> Any:
            if deadly and dice.random() < 0.01:
                raise Killed
            done: Deferred[Any] = ensureDeferred(write(*arguments, **further))
            return done.addCallback(lambda result: _die() if deadly and dice.random() < 0.01 else result)

        return call

    def _die() -> None:
        raise Killed

    monkeypatch.setattr(GitPoller, "add_change", mortal(GitPoller.add_change))
    monkeypatch.setattr(GitPoller, "set_state", mortal(GitPoller.set_state))
    deaths = 0
    while True:
        try:
            await polling.poll()
            break
        except Killed:
            deaths += 1
            deadly = deaths < 20
            polling.restart()
    assert deaths
    await assert_every_commit_once(polling, repository)


async def test_an_interrupted_push_without_commits_is_one_change(
    polling: Polling, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    polling.restart(buildPushesWithNoCommits=True)
    head = repository.commit()
    await polling.poll()
    repository.set_head("side", head)
    save = GitPoller.set_state

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(GitPoller, "set_state", killed)
    with pytest.raises(Killed):
        await polling.poll()
    monkeypatch.setattr(GitPoller, "set_state", save)
    polling.restart(buildPushesWithNoCommits=True)
    await polling.poll()
    assert await polling.revisions() == [head]


async def test_stopping_in_the_middle_of_a_poll(
    polling: Polling, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop ends the poll after the change being added; the next start goes on there."""
    await polling.poll()
    many_commits(repository, 150, seed=9)
    add, added = GitPoller.add_change, 0
    stopped: list[Deferred[Any]] = []

    def count(poller: GitPoller, **change: Any) -> Any:
        nonlocal added
        added += 1
        if added == 50:
            stopped.append(ensureDeferred(polling.poller.stop_work()))
        return add(poller, **change)

    monkeypatch.setattr(GitPoller, "add_change", count)
    await polling.poller.poll_now()
    await stopped[0]
    assert len(await polling.changes()) == 50
    monkeypatch.setattr(GitPoller, "add_change", add)
    polling.restart()
    await polling.poll()
    await assert_every_commit_once(polling, repository)


async def test_the_remote_moves_on_after_a_kill(
    polling: Polling, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch of an interrupted poll is finished, also if the remote has merged or rewritten it since."""
    base = repository.commit()
    await polling.poll()
    side = [repository.commit("side", parents=[base]), repository.commit("side"), repository.commit("side")]
    add = GitPoller.add_change

    def killed(poller: GitPoller, **change: Any) -> Any:
        if change["revision"] == side[1]:
            raise Killed
        return add(poller, **change)

    monkeypatch.setattr(GitPoller, "add_change", killed)
    with pytest.raises(Killed):
        await polling.poll()
    monkeypatch.setattr(GitPoller, "add_change", add)
    merge = repository.commit(parents=[base, side[1]])
    repository.delete("side")
    polling.restart()
    await polling.poll()
    assert [(each["revision"], each["branch"]) for each in await polling.changes()] == [
        (side[0], "side"), (side[1], "side"), (side[2], "side"), (merge, "main"),
    ]  # fmt: skip


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["commit", "commit", "merge", "branch", "rewind", "delete", "poll", "restart", "kill"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=25,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_history(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]) -> None:
    """After any commits, merges, rewinds and deletions between polls, the commits that a poll could see are changes,
    each once.
    """
    directory = tmp_path_factory.mktemp("any")
    repository = Repository(directory / "repository.git")
    master = make_master()

    async def go() -> None:
        polling = Polling(master, directory, repository.url)
        await polling.poll()
        seen: set[str] = set()
        ever: set[str] = set()
        for action, one, two in [*steps, ("poll", 0, 0)]:
            branch, other = f"b{one}", repository.head(f"b{two}")
            if action == "commit":
                repository.commit(branch)
            elif action == "merge" and other and repository.head(branch) not in ("", other):
                repository.commit(branch, parents=[repository.head(branch), other])
            elif action == "branch" and other:
                repository.set_head(branch, other)
            elif action == "rewind" and repository.head(branch):
                parents = repository.git("rev-list", "--parents", "-1", repository.head(branch)).split()[1:]
                if parents:
                    repository.set_head(branch, parents[0])
            elif action == "delete" and repository.head(branch):
                repository.delete(branch)
            elif action == "restart":
                polling.restart()
            elif action == "kill":
                ever |= repository.all_commits()
                await polling.killed_after(one)
            elif action == "poll":
                await polling.poll()
                seen |= repository.all_commits()
                ever |= seen
        revisions = await polling.revisions()
        assert len(revisions) == len(set(revisions))
        assert seen <= set(revisions) <= ever

    try:
        run(go())
    finally:
        master.mq.stop()
        master.db.close()
