"""GitHub: the exact requests of statuses, comments and checks."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.task import Clock

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.github import GitHubChecksPush, GitHubCommentPush, GitHubStatusPush
from buildbot.reporters.message import MessageFormatterRenderable
from buildbot.test.reporters import STAMP, HttpRecorder, ReporterHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS


async def harness(reporter: Any, answer: Any = lambda request: (201, b"{}")) -> ReporterHarness:
    """A harness with a running reporter."""
    made = ReporterHarness(reporter, server=HttpRecorder(answer))
    await made.start()
    return made


async def test_a_build_from_its_request_to_its_end() -> None:
    """Pending, started and done are sent in this order, with GitHub's headers and bodies."""
    farm = await harness(GitHubStatusPush(token="tok"))
    buildid = await farm.build()
    assert buildid == 1
    await farm.idle()
    requests = farm.server.requests
    assert {(each["method"], each["url"]) for each in requests} == {
        ("POST", "https://api.github.com/repos/acme/widget/statuses/1a2b3c")
    }
    for each in requests:
        assert each["headers"]["authorization"] == "token tok"
        assert each["headers"]["user-agent"] == "Buildbot"
        assert each["headers"]["content-type"] == "application/json"
    build = "https://ci/#/builders/1/builds/1"
    assert [each["json"] for each in requests] == [
        {"state": state, "description": said, "target_url": url, "context": "buildbot/b one"}
        for state, said, url in (
            ("pending", "Build pending.", "https://ci/#/buildrequests/1"),
            ("pending", "Build started.", build),
            ("success", "Build done.", build),
        )
    ]
    await farm.stop()


@pytest.mark.parametrize(("results", "state"), [
    (SUCCESS, "success"), (WARNINGS, "success"), (FAILURE, "failure"), (SKIPPED, "success"), (EXCEPTION, "error"),
    (RETRY, "pending"), (CANCELLED, "error"),
])  # fmt: skip
async def test_states(results: int, state: str) -> None:
    """The state of each result."""
    farm = await harness(GitHubStatusPush("tok", generators=[BuildStartEndStatusGenerator()]))
    await farm.build(results)
    await farm.idle()
    assert farm.server.requests[-1]["json"]["state"] == state
    await farm.stop()


async def test_a_cancelled_request() -> None:
    """The state is error, with the URL of the request."""
    farm = await harness(GitHubStatusPush("tok"))
    brid = await farm.request()
    await farm.master.data.control("cancel", {"reason": "no"}, ("buildrequests", brid))
    await farm.idle()
    states = [each["json"]["state"] for each in farm.server.requests]
    assert states == ["pending", "error"]
    await farm.stop()


async def test_each_source_stamp() -> None:
    """Each source stamp has a status, unless it has no revision or repository."""
    stamps = [
        {**STAMP, "codebase": "a", "repository": "git@example.org:acme/aa"},
        {**STAMP, "codebase": "b", "repository": "ssh://git@example.org/acme/bb.git"},
        {**STAMP, "codebase": "c", "revision": None},
        {**STAMP, "codebase": "d", "repository": ""},
    ]
    farm = await harness(GitHubStatusPush("tok", generators=[BuildStatusGenerator()]))
    await farm.build(stamps=stamps)
    await farm.idle()
    assert sorted(each["url"].partition("/repos/")[2] for each in farm.server.requests) == [
        "acme/aa/statuses/1a2b3c", "acme/bb/statuses/1a2b3c",
    ]  # fmt: skip
    await farm.stop()


async def test_arguments() -> None:
    """Context and base URL are used; a token may be a renderable; a too long description is cut off."""
    reporter = GitHubStatusPush(
        token=Interpolate("t-%(prop:buildername)s"), context=Interpolate("x/%(prop:branch)s"),
        baseURL="https://ghe/api/v3/", verbose=True, debug=True,
        generators=[BuildStatusGenerator(message_formatter=MessageFormatterRenderable("x" * 200))],
    )  # fmt: skip
    farm = await harness(reporter)
    await farm.build()
    await farm.idle()
    (asked,) = farm.server.requests
    assert asked["url"] == "https://ghe/api/v3/repos/acme/widget/statuses/1a2b3c"
    assert asked["headers"]["authorization"] == "token t-b one"
    assert asked["json"]["context"] == "x/main" and asked["json"]["description"] == "x" * 139 + "…"
    await farm.stop()


async def test_a_rate_limit() -> None:
    """The report is sent again at the time that GitHub names."""
    clock = Clock()
    answers = [(403, b"slow down", {"X-RateLimit-Remaining": "0", "Retry-After": "30"}), (201, b"{}")]
    farm = ReporterHarness(
        GitHubStatusPush("tok", generators=[BuildStatusGenerator()]),
        server=HttpRecorder(lambda request: answers.pop(0)), reactor=clock,
    )  # fmt: skip
    await farm.start()
    await farm.build()
    clock.pump([0.1] * 10)
    assert len(farm.server.requests) == 1
    clock.advance(29)
    assert len(farm.server.requests) == 1
    clock.advance(5)
    assert len(farm.server.requests) == 2 and farm.waiting() == 0
    await farm.stop()


class Own(GitHubStatusPush):
    """A user's reporter, as written for Buildbot."""

    name = "Own"

    def checkConfig(self, *args: Any, extra: str = "", **kwargs: Any) -> None:
        super().checkConfig(*args, **kwargs)

    async def reconfigService(self, token: Any, *args: Any, extra: str = "", **kwargs: Any) -> None:  # type: ignore[override]
        self.extra = extra
        await super().reconfigService(token, *args, **kwargs)

    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:  # type: ignore[override]
        reports[0]["body"] += f" {self.extra}"
        await super().sendMessage(reports)

    async def createStatus(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        kwargs["context"] = kwargs["context"].upper()
        return await super().createStatus(*args, **kwargs)


async def test_a_subclass() -> None:
    """Methods that users override are called with the expected arguments."""
    said = MessageFormatterRenderable("done")
    farm = await harness(Own("tok", extra="!", generators=[BuildStatusGenerator(message_formatter=said)]))
    await farm.build()
    await farm.idle()
    (asked,) = farm.server.requests
    assert asked["json"]["context"] == "BUILDBOT/B ONE" and asked["json"]["description"] == "done !"
    await farm.stop()


async def test_comments() -> None:
    """The end of a build of a pull request makes one comment; other branches have none."""
    farm = await harness(GitHubCommentPush("tok"))
    for branch in ("refs/pull/34/merge", "refs/pull/35/head", "main", "refs/merge-requests/4/head"):
        await farm.build(stamps=[{**STAMP, "branch": branch}])
    await farm.idle()
    assert [each["url"] for each in farm.server.requests] == [
        f"https://api.github.com/repos/acme/widget/issues/{number}/comments" for number in (34, 35)
    ]
    bodies = [each["json"]["body"] for each in farm.server.requests]
    assert all(re.fullmatch(r"Build done\.\n\n<!-- buildbot:[0-9a-f]{24} -->", body) for body in bodies)
    assert bodies[0] != bodies[1]
    await farm.stop()


class Issues:
    """A GitHub that keeps comments, and loses its first answer."""

    def __init__(self, others: int, listing: tuple[int, bytes] | None = None) -> None:
        self.comments = [{"body": f"comment {number}"} for number in range(others)]
        self.bad, self.listing = True, listing

    def __call__(self, request: Any) -> Any:
        if request.method == b"GET":
            first = (int(request.args[b"page"][0]) - 1) * int(request.args[b"per_page"][0])
            page = self.comments[first : first + int(request.args[b"per_page"][0])]
            return self.listing or json.dumps(page).encode()
        self.comments.append(json.loads(request.content.getvalue()))
        bad, self.bad = self.bad, False
        return (502, b"") if bad else (201, b"{}")


@pytest.mark.parametrize("others", [0, 10, 23])
async def test_a_comment_that_was_made_before(monkeypatch: pytest.MonkeyPatch, others: int) -> None:
    """After a lost answer the comment is searched for before it is made again; first attempts do not search."""
    monkeypatch.setattr("buildbot.reporters.delivery.FIRST_S", 0.0)
    github = Issues(others)
    farm = await harness(GitHubCommentPush("tok"), github)
    await farm.build(stamps=[{**STAMP, "branch": "refs/pull/34/merge"}])
    await farm.idle()
    await farm.build(stamps=[{**STAMP, "branch": "refs/pull/34/merge"}])
    await farm.idle()
    assert len(github.comments) == others + 2
    methods = [each["method"] for each in farm.server.requests]
    assert methods == ["POST", *["GET"] * (others // 10 + 1), "POST"]
    assert re.search(r"comments\?since=\d{4}-\d\d-\d\dT[0-9:]+Z&per_page=10&page=1$", farm.server.requests[1]["url"])
    await farm.stop()


@pytest.mark.parametrize("listing", [(404, b"{}"), (200, b"no JSON"), (200, b"x" * 2_000_000)])
async def test_comments_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, listing: Any) -> None:
    """If comments cannot be read, the comment is made, perhaps twice, so that none is lost."""
    monkeypatch.setattr("buildbot.reporters.delivery.FIRST_S", 0.0)
    github = Issues(0, listing)
    farm = await harness(GitHubCommentPush("tok"), github)
    await farm.build(stamps=[{**STAMP, "branch": "refs/pull/34/merge"}])
    await farm.idle()
    assert len(github.comments) == 2
    await farm.stop()


async def test_checks() -> None:
    """A request and its build have one check, which is created once and then changed."""
    runs: list[dict[str, Any]] = []

    def github(request: Any) -> Any:
        if request.method == b"GET":
            return json.dumps({"check_runs": runs}).encode()
        if request.method == b"POST":
            runs.append({"id": 7, **json.loads(request.content.getvalue())})
        return 201, b"{}"

    farm = await harness(GitHubChecksPush("tok"), github)
    await farm.build(FAILURE, text="failed make")
    await farm.idle()
    asked = [each for each in farm.server.requests if each["method"] != "GET"]
    base = "https://api.github.com/repos/acme/widget/check-runs"
    assert [(each["method"], each["url"]) for each in asked] == [
        ("POST", base), ("PATCH", f"{base}/7"), ("PATCH", f"{base}/7"),
    ]  # fmt: skip
    assert farm.server.requests[0]["url"].endswith("/commits/1a2b3c/check-runs?check_name=buildbot%2Fb%20one")
    assert [(each["json"]["status"], each["json"].get("conclusion")) for each in asked] == [
        ("queued", None), ("in_progress", None), ("completed", "failure"),
    ]  # fmt: skip
    assert asked[2]["json"]["output"] == {"title": "failed make", "summary": "Build done."}
    assert asked[2]["json"]["completed_at"] >= asked[2]["json"]["started_at"]
    await farm.stop()


@pytest.mark.parametrize(("arguments", "said"), [
    ({}, "argument 'token' is missing"),
    ({"token": ""}, "token must be a text that is not empty"),
    ({"token": "t", "baseURL": "ftp://x"}, "baseURL must be a URL"),
    ({"token": "t", "verify": 3}, "verify must be True, False or the path of a file"),
    ({"token": "t", "generators": "x"}, "generators must be a list"),
    ({"token": "t", "generators": [1]}, "generators element 1 must be a generator"),
    ({"token": "t", "contxt": "x"}, "unknown argument 'contxt'; did you mean 'context'?"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors) as caught:
        GitHubStatusPush(**arguments)
    assert said in str(caught.value)
