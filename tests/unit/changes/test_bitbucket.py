"""BitbucketPullrequestPoller against a server that answers as Bitbucket's documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from buildbot.changes.base import PollError
from buildbot.changes.bitbucket import BitbucketPullrequestPoller
from buildbot.config.errors import ConfigErrors
from buildbot.plugins import changes as plugins
from buildbot.test.running import Running
from tests.support.http import Handler
from tests.support.threads import in_thread


class Bitbucket(ThreadingHTTPServer):
    """An API with pull requests, two on a page."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pulls: dict[int, dict[str, Any]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/2.0"

    def push(self, number: int, head: str, branch: str = "feature", **more: Any) -> None:
        """A pull request is opened, or gets a new head."""
        commit = {"hash": head, "links": {"self": {"href": f"{self.url}/repositories/fork/r/commit/{head}"}}}
        repository = {"full_name": "fork/r", "links": {"html": {"href": "https://bitbucket.org/fork/r"}}}
        self.pulls[number] = {
            "id": number,
            "title": f"title {number}",
            "updated_on": "2026-01-01T00:00:00.123456+00:00",
            "author": {"display_name": "Ann"},
            "links": {"html": {"href": f"https://bitbucket.org/o/r/pull-requests/{number}"}},
            "source": {"commit": commit, "branch": {"name": branch}, "repository": repository},
            **more,
        }

    def answer(self, path: str) -> Any:
        if "/commit/" in path:
            return {"hash": f"{path.rpartition('/')[2]}-whole"}
        start = int(path.partition("&page=")[2] or 0)
        values = list(self.pulls.values())
        page: dict[str, Any] = {"values": values[start : start + 2]}
        if values[start + 2 :]:
            page["next"] = f"{self.url}/repositories/o/r/pullrequests?state=OPEN&page={start + 2}"
        return page


class _Handler(Handler):
    server: Bitbucket

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.reply(json.dumps(self.server.answer(self.path)).encode())


@pytest.fixture
def bitbucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bitbucket]:
    server = Bitbucket()
    monkeypatch.setattr(BitbucketPullrequestPoller, "api_url", server.url)
    with in_thread(server):
        yield server


async def poll(master: Any, **arguments: Any) -> list[dict[str, Any]]:
    """Poll with a new poller, which has the state in the database only; gives all changes so far."""
    poller = BitbucketPullrequestPoller("o", "r", **arguments)
    poller.master = Running(master)  # type: ignore[assignment]
    await poller.claim(master.masterid)
    await poller.poll()
    found: list[dict[str, Any]] = await master.data.get({"order": ["changeid"]}, ("changes",))
    return found


async def test_heads_of_pull_requests(master: Any, bitbucket: Bitbucket) -> None:
    """Each head of each open pull request is one change, also after further polls; every page counts."""
    for number in (9, 10, 11):
        bitbucket.push(number, f"head{number}")
    assert [change["revision"] for change in await poll(master)] == ["head9-whole", "head10-whole", "head11-whole"]
    bitbucket.push(10, "newer")
    assert [change["revision"] for change in await poll(master)][3:] == ["newer-whole"]
    assert len(await poll(master)) == 4


async def test_attributes_of_a_change(master: Any, bitbucket: Bitbucket) -> None:
    """The change has the pull request's data, and the wished fields as properties."""
    bitbucket.push(7, "abc")
    (change,) = await poll(
        master, project="p", category="c", auth=("jo", "pw"), bitbucket_property_whitelist=["bitbucket.source.branch.*"]
    )
    expected = {
        "author": "Ann",
        "comments": "title 7",
        "revision": "abc-whole",
        "branch": "feature",
        "repository": "https://bitbucket.org/fork/r",
        "revlink": "https://bitbucket.org/o/r/pull-requests/7",
        "project": "p",
        "category": "c",
        "when_timestamp": 1767225600,
        "files": [],
    }
    assert {key: change[key] for key in expected} == expected
    link = expected["revlink"]
    wished = {"pullrequesturl": [link, "Change"], "bitbucket.source.branch.name": ["feature", "Change"]}
    assert change["properties"] == wished
    assert bitbucket.asked[0] == ("/2.0/repositories/o/r/pullrequests?state=OPEN", "Basic am86cHc=")


async def test_which_pull_requests(master: Any, bitbucket: Bitbucket) -> None:
    """By their branch, and by a function."""
    bitbucket.push(1, "one", branch="other")
    bitbucket.push(2, "two", draft=True)
    bitbucket.push(3, "three", draft=False)
    arguments = {"branch": ["feature"], "pullrequest_filter": lambda pull: not pull["draft"], "useTimestamps": False}
    (change,) = await poll(master, **arguments)
    assert change["revision"] == "three-whole" and change["when_timestamp"] != 1767225600


async def test_answers_that_are_none(master: Any, bitbucket: Bitbucket) -> None:
    """They are said; a link to another server is not followed, which would get the password."""
    bitbucket.push(1, "one")
    bitbucket.pulls[1]["source"]["commit"] = None
    bitbucket.push(2, "two", author=None)
    with pytest.raises(PollError, match="Bitbucket's answer is not what was expected: pull request 1: TypeError"):
        await poll(master)
    (change,) = await master.data.get({}, ("changes",))
    assert (change["author"], change["revision"]) == ("unknown", "two-whole")
    bitbucket.push(1, "one")
    bitbucket.pulls[1]["source"]["commit"]["links"]["self"]["href"] = "http://evil/"
    with pytest.raises(PollError, match="it leads to another server"):
        await poll(master)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"branch": 5}, "branch must be a name or a list of names, not 5"),
        ({"auth": "x"}, r"auth must be \(user, password\), not str"),
        ({"pullrequest_filter": 1.5}, "pullrequest_filter must be True, False or a function"),
    ],
)
def test_mistakes(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigErrors, match=complaint):
        BitbucketPullrequestPoller("o", "r", **arguments)


def test_plugin_name() -> None:
    assert plugins.BitbucketPullrequestPoller is BitbucketPullrequestPoller
    assert BitbucketPullrequestPoller("o", "r").name == "o/r"
