"""GitLab, Gitea and Bitbucket Cloud, by their exact requests."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from twisted.internet.task import Clock

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate
from buildbot.reporters.bitbucket import BitbucketStatusPush
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator, BuildStatusGenerator
from buildbot.reporters.gitea import GiteaStatusPush
from buildbot.reporters.gitlab import GitLabStatusPush
from buildbot.reporters.message import MessageFormatterRenderable
from buildbot.reporters.repositories import owner_and_name, pull_request
from buildbot.test.reporters import STAMP, HttpRecorder, ReporterHarness
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, SKIPPED, SUCCESS, WARNINGS

BUILD = "https://ci/#/builders/1/builds/1"
ENDS = [BuildStatusGenerator(mode="all", message_formatter=MessageFormatterRenderable("said"))]


async def sent(
    reporter: Any, answer: Any = lambda request: (201, b'{"id": 5, "access_token": "tok"}'), **build: Any
) -> Any:
    """The requests about one build."""
    farm = ReporterHarness(reporter, server=HttpRecorder(answer))
    await farm.start()
    await farm.build(**build)
    await farm.idle()
    await farm.stop()
    return farm.server.requests


def states(requests: list[dict[str, Any]]) -> list[str]:
    """The states of the sent statuses."""
    return [each["json"]["state"] for each in requests if each["json"] and "state" in each["json"]]


@pytest.mark.parametrize(("kind", "arguments", "expected"), [
    (GitLabStatusPush, {"token": "t"}, ["success", "success", "failed", "success", "failed", "pending", "canceled"]),
    (GiteaStatusPush, {"baseURL": "https://gitea/", "token": "t"},
     ["success", "warning", "failure", "success", "error", "pending", "error"]),
    (BitbucketStatusPush, {"auth": ("u", "p")}, ["SUCCESSFUL", *["FAILED"] * 6]),
])  # fmt: skip
async def test_states(kind: Any, arguments: dict[str, Any], expected: list[str]) -> None:
    """The state of each result."""
    found = []
    for results in (SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED):
        reporter = kind(generators=[BuildStartEndStatusGenerator()], **arguments)
        found += states(await sent(reporter, results=results))[-1:]
    assert found == expected


async def test_gitlab() -> None:
    """The project is asked for once; then pending, running and success are sent."""
    stamp = {**STAMP, "repository": "git@gitlab.example.org:group/sub/widget.git"}
    requests = await sent(GitLabStatusPush("tok", baseURL="https://gitlab.example.org/", verbose=True), stamps=[stamp])
    base = "https://gitlab.example.org/api/v4/projects"
    assert [(each["method"], each["url"]) for each in requests] == [
        ("GET", f"{base}/group%2Fsub%2Fwidget"), *[("POST", f"{base}/5/statuses/1a2b3c")] * 3,
    ]  # fmt: skip
    assert all(each["headers"]["private-token"] == "tok" for each in requests)
    assert states(requests) == ["pending", "running", "success"]
    assert requests[2]["json"] == {
        "state": "running", "ref": "main", "description": "Build started.", "target_url": BUILD,
        "name": "buildbot/b one",
    }  # fmt: skip


async def test_gitlab_says_no() -> None:
    """A project that is not found is asked for again with the next report; an unchanged state is no error."""
    answers: list[Any] = [(404, b"{}"), b'{"id": 5}', (400, b'{"message": "Cannot transition status via :run"}'), b"{}"]
    requests = await sent(GitLabStatusPush("tok"), lambda request: answers.pop(0))
    assert [each["method"] for each in requests] == ["GET", "GET", "POST", "POST"]


async def test_gitea() -> None:
    """Beginning and end of a build are sent; for a pull request, to its head."""
    reporter = GiteaStatusPush("https://gitea/", "tok", warningAsSuccess=True)
    requests = await sent(reporter, results=WARNINGS)
    assert {(each["method"], each["url"]) for each in requests} == {
        ("POST", "https://gitea/api/v1/repos/acme/widget/statuses/1a2b3c")
    }
    assert requests[0]["headers"]["authorization"] == "token tok"
    assert requests[0]["json"] == {
        "state": "pending", "description": "Build started.", "target_url": BUILD, "context": "buildbot/b one",
    }  # fmt: skip
    assert states(requests) == ["pending", "success"]
    properties = {
        name: (value, "Change")
        for name, value in (("pr_id", 3), ("head_owner", "zoe"), ("head_reponame", "fork"), ("head_sha", "f00"))
    }
    requests = await sent(GiteaStatusPush("https://gitea", "tok", generators=ENDS), properties=properties)
    (asked,) = requests
    assert asked["url"] == "https://gitea/api/v1/repos/zoe/fork/statuses/f00"
    assert asked["json"]["context"] == "buildbot/pull_request/b one"


async def test_bitbucket() -> None:
    """Each report gets a token; the key is a hash, the description the subject."""
    reporter = BitbucketStatusPush("key", "secret", status_name=Interpolate("N %(prop:branch)s"))
    requests = await sent(reporter, lambda request: b'{"access_token": "tok"}')
    token, begun, _, ended = requests
    assert token["url"] == "https://bitbucket.org/site/oauth2/access_token"
    assert (
        token["headers"]["authorization"] == "Basic a2V5OnNlY3JldA=="
        and token["body"] == b"grant_type=client_credentials"
    )
    assert begun["url"] == "https://api.bitbucket.org/2.0/repositories/acme/widget/commit/1a2b3c/statuses/build"
    assert begun["headers"]["authorization"] == "Bearer tok"
    assert begun["json"] == {
        "state": "INPROGRESS", "key": hashlib.sha1(b"b one").hexdigest(), "name": "N main", "description": "",
        "url": BUILD,
    }  # fmt: skip
    assert states([ended]) == ["SUCCESSFUL"]


async def test_bitbucket_without_a_token() -> None:
    """A report whose token is refused is sent again; an app password needs no token."""
    clock = Clock()
    answers: list[Any] = [(400, b"no"), b'{"access_token": "tok"}', b"{}"]
    farm = ReporterHarness(
        BitbucketStatusPush("key", "secret", generators=ENDS),
        server=HttpRecorder(lambda request: answers.pop(0)), reactor=clock,
    )  # fmt: skip
    await farm.start()
    await farm.build()
    clock.pump([0.0] * 20)
    assert len(farm.server.requests) == 1
    clock.advance(3)
    assert len(farm.server.requests) == 3 and farm.waiting() == 0
    await farm.stop()
    (asked,) = await sent(BitbucketStatusPush(auth=("u", "p"), generators=ENDS))
    assert asked["headers"]["authorization"] == "Basic dTpw"


@pytest.mark.parametrize(("kind", "arguments", "said"), [
    (GitLabStatusPush, {}, "argument 'token' is missing"),
    (GiteaStatusPush, {"token": "t"}, "argument 'baseURL' is missing"),
    (BitbucketStatusPush, {"oauth_key": "k"}, "oauth_key and oauth_secret go together"),
    (BitbucketStatusPush, {"oauth_key": "k", "oauth_secret": "s", "auth": ("u", "p")}, "not both"),
])  # fmt: skip
def test_mistakes(kind: Any, arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=said):
        kind(**arguments)


@pytest.mark.parametrize(("url", "parts"), [
    ("https://git.example.org/acme/widget.git", ("acme", "widget")),
    ("https://git.example.org/acme/widget/", ("acme", "widget")),
    ("ssh://git@git.example.org:22/acme/aa.git", ("acme", "aa")),
    ("git@git.example.org:acme/bb", ("acme", "bb")),
    ("git.example.org:a/b/c.git", ("a/b", "c")),
    ("/local/path", ("local", "path")),
    ("https://git.example.org/widget", None),
    ("", None),
    ("https://[bad/a/b", None),
])  # fmt: skip
def test_owner_and_name(url: str, parts: Any) -> None:
    """Owner and name are found in all forms of repository URLs."""
    assert owner_and_name(url) == parts


def test_pull_requests() -> None:
    """The number is found in the name of the branch."""
    branches = ("refs/pull/7/merge", "refs/pull/8/head", "refs/pull/x/head", "main", None, "refs/pull/7/merge/x")
    assert [pull_request(each) for each in branches] == [7, 8, None, None, None, None]
