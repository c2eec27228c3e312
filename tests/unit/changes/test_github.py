"""GitHubPullrequestPoller against a server that answers as GitHub's API does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from buildbot.changes.base import PollError
from buildbot.changes.github import GitHubPullrequestPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.process.properties import renderer
from tests.support.http import Handler
from tests.support.threads import in_thread
from tests.unit.changes.polling import Polling


class GitHub(ThreadingHTTPServer):
    """An API with pull requests; lists have pages of two."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pulls: dict[int, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        #: the people of the heads, if not Ann and Carl
        self.nobody: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def push(self, number: int, head: str, base: str | None = "main", **more: Any) -> None:
        """A pull request is opened, or gets a new head."""
        self.pulls[number] = {
            "number": number,
            "html_url": f"https://github.com/o/r/pull/{number}",
            "title": f"title {number}",
            "body": "body",
            "commits": 3,
            "updated_at": f"2026-01-01T00:00:{len(self.pulls) % 60:02}Z",
            "head": {"sha": head, "ref": "feature", "repo": {"clone_url": "https://github.com/fork/r.git"}},
            "base": base
            and {
                "ref": base,
                "repo": {"clone_url": "https://github.com/o/r.git", "ssh_url": "git@x:o/r.git", "full_name": "o/r"},
            },
            **more,
        }

    def answer(self, path: str) -> list[Any] | dict[str, Any]:
        parts = path.removeprefix("/repos/o/r/pulls").strip("/").split("/")
        if parts == [""]:
            return list(self.pulls.values())
        pull = self.pulls[int(parts[0])]
        if len(parts) == 1:
            return pull
        if parts[1] == "files":
            return [{"filename": name} for name in ("a", "b", "c")]
        who = {"author": {"name": "Ann", "email": "ann@x"}, "committer": {"name": "Carl", "email": "carl@x"}}
        who = self.nobody or who
        nobody = {"author": {"name": "x", "email": "x"}, "committer": {"name": "x", "email": "x"}}
        return [
            {"sha": "1", "commit": nobody},
            {"sha": "2", "commit": nobody},
            {"sha": pull["head"]["sha"], "commit": who},
        ]


class _Handler(Handler):
    server: GitHub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.headers.append(dict(self.headers))
        path, _, page = self.path.partition("?page=")
        found = self.server.answer(path)
        headers = {}
        if isinstance(found, list):
            start = 2 * int(page or 0)
            if found[start + 2 :]:
                following = f"{self.server.url}{path}?page={int(page or 0) + 1}"
                headers["Link"] = f'<{following}>; rel="next", <x>; rel="last"'
            found = found[start : start + 2]
        self.reply(json.dumps(found).encode(), self.server.status, headers)


@pytest.fixture
def github() -> Iterator[GitHub]:
    server = GitHub()
    with in_thread(server):
        yield server


@pytest.fixture
def polling(master: Any, github: GitHub) -> Polling:
    return Polling(master, None, partial(GitHubPullrequestPoller, "o", "r", baseURL=github.url))


async def test_heads_of_pull_requests(polling: Polling, github: GitHub) -> None:
    """Each head of each open pull request is one change, also after further polls; every page of a list counts."""
    for number in (9, 10, 11):
        github.push(number, f"head{number}")
    assert [change["revision"] for change in await polling.poll()] == ["head9", "head10", "head11"]
    assert await polling.poll() == []
    github.push(10, "newer")
    github.pulls.pop(9)
    assert [change["revision"] for change in await polling.poll()] == ["newer"]
    github.push(9, "head9")  # it is opened again
    assert await polling.poll() == []


async def test_attributes_of_a_change(polling: Polling, github: GitHub) -> None:
    """Author and committer of the head, the files, the pull request's text and the wished fields."""
    github.push(7, "abc")
    (change,) = await polling.poll(github_property_whitelist=["github.number", "github.base.r*"], token="t0ken")
    expected = {
        "author": "Ann <ann@x>",
        "committer": "Carl <carl@x>",
        "files": ["a", "b", "c"],
        "comments": "GitHub Pull Request #7 (3 commits)\ntitle 7\nbody",
        "revision": "abc",
        "branch": "feature",
        "repository": "https://github.com/fork/r.git",
        "project": "o/r",
        "revlink": "https://github.com/o/r/pull/7",
        "category": None,
        "when_timestamp": 1767225600,
    }
    assert {key: change[key] for key in expected} == expected
    assert change["properties"]["pullrequesturl"] == ["https://github.com/o/r/pull/7", "Change"]
    assert change["properties"]["github.number"] == [7, "Change"]
    assert change["properties"]["github.base.ref"] == ["main", "Change"]
    assert "github.title" not in change["properties"]
    assert {headers["Authorization"] for headers in github.headers} == {"token t0ken"}
    assert {headers["User-Agent"] for headers in github.headers} == {"Buildbot"}
    assert github.asked[0] == "/repos/o/r/pulls"


async def test_merges(polling: Polling, github: GitHub) -> None:
    """With ``magic_link`` the branch is the merge, in the repository itself."""
    github.push(7, "abc", commits=1, body=None)
    arguments = {"magic_link": True, "repository_type": "ssh", "category": lambda change: change["branch"][-5:]}
    (change,) = await polling.poll(project="p", **arguments)
    assert (change["branch"], change["repository"]) == ("refs/pull/7/merge", "git@x:o/r.git")
    assert (change["category"], change["project"]) == ("merge", "p")
    assert change["comments"] == "GitHub Pull Request #7 (1 commit)\ntitle 7"


async def test_which_pull_requests(polling: Polling, github: GitHub) -> None:
    """By the branch that they go into, and by a function; one that it refuses is asked for again when it changes."""
    github.push(1, "one", base="other")
    github.push(2, "two", labels=[])
    github.push(3, "three", labels=["ci"])
    arguments = {"branches": ["main"], "pullrequest_filter": lambda pull: bool(pull["labels"])}
    assert [change["revision"] for change in await polling.poll(**arguments)] == ["three"]
    github.push(2, "two", labels=["ci"], updated_at="2026-01-02T00:00:00Z")
    assert [change["revision"] for change in await polling.poll(**arguments)] == ["two"]


async def test_an_interrupted_poll(polling: Polling, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that ends in the middle is gone on with: nothing is missing, nothing comes twice."""
    for number in (1, 2, 3):
        github.push(number, f"head{number}")
    answer = github.answer

    def breaks(path: str) -> Any:
        if "/2/files" in path:
            raise ConnectionError
        return answer(path)

    monkeypatch.setattr(github, "answer", breaks)
    monkeypatch.setattr(github, "handle_error", lambda *_: None)
    with pytest.raises(PollError):
        await polling.poll()
    monkeypatch.undo()
    await polling.poll()
    assert [change["revision"] for change in await polling.changes()] == ["head1", "head2", "head3"]


async def test_what_buildbot_has_written_down(polling: Polling, github: GitHub) -> None:
    """Heads that Buildbot 4 has seen, in a database that was brought over, are no changes again."""
    github.push(1, "one")
    state = polling.master.db.state
    objectid = await state.getObjectId("GitHubPullrequestPoller:o/r", "GitHubPullrequestPoller")
    await state.setState(objectid, "pull_request1", "one")
    assert await polling.poll() == []


async def test_an_odd_pull_request(polling: Polling, github: GitHub) -> None:
    """A mistake in one pull request is logged, and does not hide the others; author and time may be missing."""
    github.push(3, "c")
    github.pulls[3]["head"] = None
    github.push(4, "d", base=None)
    github.push(5, "nobody's", commits=0, updated_at=None)
    github.push(6, "f")
    github.push(7, "g")
    github.nobody = {"author": None, "committer": {"name": "bot", "email": None}}
    with pytest.raises(PollError) as caught:
        await polling.poll(pullrequest_filter=lambda pull: pull["number"] != 6 or pull["x"])
    told = str(caught.value)
    assert [told.count(f"pull request {number}: ") for number in range(3, 8)] == [1, 1, 0, 1, 0]
    assert "pullrequest_filter failed: KeyError: 'x'" in told
    found = await polling.changes()
    assert [(each["revision"], each["author"], each["committer"]) for each in found] == [
        ("nobody's", "unknown", "bot"),
        ("g", "unknown", "bot"),
    ]


async def test_errors(polling: Polling, github: GitHub) -> None:
    """A refusal, and an invalid answer, are logged without the token; a token may be a renderable."""
    github.push(1, "one")
    github.pulls[1]["head"] = None
    token = renderer(lambda props: "s3cret")
    with pytest.raises(PollError, match="GitHub's answer is not what was expected"):
        await polling.poll(token=token)
    assert github.headers[-1]["Authorization"] == "token s3cret"
    github.status = 403
    with pytest.raises(PollError, match=r"GET http://127.0.0.1:\d+/repos/o/r/pulls answers 403"):
        await polling.poll(token=token)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"repository_type": "hg"}, "repository_type must be one of 'https', 'svn', 'git', 'ssh', not 'hg'"),
        ({"baseURL": "api"}, "baseURL must be a URL that starts with http"),
        ({"pullrequest_filter": "x"}, "pullrequest_filter must be True, False or a function"),
        ({"github_property_whitelist": "x"}, "github_property_whitelist must be a list"),
        ({"branches": "main"}, "branches must be a list, not 'main'"),
        ({"pollInterval": 5, "pollRandomDelayMin": 2}, "pollRandomDelayMin must not be above"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        GitHubPullrequestPoller("o", "r", **arguments)


def test_plugin_name() -> None:
    assert plugins.GitHubPullrequestPoller is GitHubPullrequestPoller
    assert GitHubPullrequestPoller(owner="o", repo="r").name == "GitHubPullrequestPoller:o/r"
