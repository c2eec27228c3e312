"""Bitbucket Server, Zulip, Pushover and Pushjet, by their exact requests."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

import pytest

from buildbot.config import ConfigErrors
from buildbot.process.properties import Interpolate
from buildbot.reporters.bitbucketserver import (
    BitbucketServerCoreAPIStatusPush,
    BitbucketServerPRCommentPush,
    BitbucketServerStatusPush,
)
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.message import MessageFormatterRenderable
from buildbot.reporters.push import PushjetNotifier, PushoverNotifier
from buildbot.reporters.zulip import ZulipStatusPush
from buildbot.test.reporters import STAMP, HttpRecorder, ReporterHarness
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS, WARNINGS

BUILD = "https://ci/#/builders/1/builds/1"
SAID = [BuildStatusGenerator(mode="all", message_formatter=MessageFormatterRenderable("said", "title"))]


async def sent(reporter: Any, *builds: dict[str, Any]) -> list[dict[str, Any]]:
    """The requests about some builds."""
    farm = ReporterHarness(reporter, server=HttpRecorder(lambda request: b"{}"))
    await farm.start()
    for each in builds or ({},):
        await farm.build(**each)
    await farm.idle()
    await farm.stop()
    return farm.server.requests


async def test_bitbucket_server() -> None:
    """Each source stamp has a status, at its commit."""
    requests = await sent(
        BitbucketServerStatusPush("https://bb/", "u", "p", statusName=Interpolate("n %(src::branch)s"))
    )
    assert [each["url"] for each in requests] == ["https://bb/rest/build-status/1.0/commits/1a2b3c"] * 2
    assert requests[0]["headers"]["authorization"] == "Basic dTpw"
    assert requests[0]["json"] == {
        "state": "INPROGRESS", "url": BUILD, "key": "b one", "description": "Build started.", "name": "n main",
    }  # fmt: skip
    assert requests[1]["json"]["state"] == "SUCCESSFUL"


async def test_bitbucket_server_core() -> None:
    """Statuses from the request to the end have number, ref, duration and tests."""
    properties = {"tests_failed": (2, "Step")}
    reporter = BitbucketServerCoreAPIStatusPush("https://bb", token="t", statusSuffix="!", key="k")
    requests = await sent(reporter, {"results": WARNINGS, "properties": properties})
    url = "https://bb/rest/api/1.0/projects/acme/repos/widget/commits/1a2b3c/builds"
    assert {each["url"] for each in requests} == {url}
    assert requests[0]["headers"]["authorization"] == "Bearer t"
    assert [each["json"]["state"] for each in requests] == ["INPROGRESS", "INPROGRESS", "FAILED"]
    assert requests[0]["json"]["name"] == "b one #(build request)!" and requests[0]["json"]["buildNumber"] == ""
    ended = requests[2]["json"]
    assert ended.pop("duration") in (0, 1000)
    assert ended == {
        "state": "FAILED", "url": BUILD, "key": "k", "parent": "b one", "ref": "refs/heads/main", "buildNumber": "1",
        "description": "Build done.", "name": "b one #1!",
        "testResults": {"failed": 2, "skipped": 0, "successful": 0},
    }  # fmt: skip


async def test_comments_on_pull_requests() -> None:
    """The path of the pull request gets the comment; other builds have none."""
    url = "https://bb.example.org/x/projects/P/repos/r/pull-requests/7"
    reporter = BitbucketServerPRCommentPush("https://bb", "u", "p", generators=SAID)
    (asked,) = await sent(reporter, {"properties": {"pullrequesturl": (url, "Change")}}, {})
    assert asked["url"] == "https://bb/rest/api/1.0/x/projects/P/repos/r/pull-requests/7/comments"
    assert re.fullmatch(r"said\n\n\[//\]: # \(buildbot:[0-9a-f]{24}\)", asked["json"]["text"])


@pytest.mark.parametrize("listing", ["comments", "refused"])
async def test_a_comment_that_was_made_before(monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    """After a lost answer the comment is searched for; if that fails it is made again."""
    monkeypatch.setattr("buildbot.reporters.delivery.FIRST_S", 0.0)
    comments: list[Any] = []

    def bitbucket(request: Any) -> Any:
        if request.method == b"GET":
            history = [{"action": "OPENED"}, *({"action": "COMMENTED", "comment": each} for each in comments)]
            return json.dumps({"values": history}).encode() if listing == "comments" else (403, b"{}")
        comments.append(json.loads(request.content.getvalue()))
        return (503, b"") if len(comments) == 1 else (201, b"{}")

    reporter = BitbucketServerPRCommentPush("https://bb", "u", "p", generators=SAID)
    farm = ReporterHarness(reporter, server=HttpRecorder(bitbucket))
    await farm.start()
    await farm.build(properties={"pullrequesturl": ("https://bb/projects/P/repos/r/pull-requests/7", "Change")})
    await farm.idle()
    await farm.stop()
    assert len(comments) == (1 if listing == "comments" else 2)
    look = farm.server.requests[1]
    assert look["url"] == "https://bb/rest/api/1.0/projects/P/repos/r/pull-requests/7/activities?limit=20"


async def test_zulip() -> None:
    """Beginnings and ends are sent; with several codebases the project is that of the stamps."""
    stamps = [{**STAMP, "codebase": "a"}, {**STAMP, "codebase": "b"}]
    begun, ended = await sent(
        ZulipStatusPush("https://zulip", "key", stream="a b"), {"stamps": stamps, "results": FAILURE}
    )
    assert begun["url"] == "https://zulip/api/v1/external/buildbot?api_key=key&stream=a%20b"
    timestamp = begun["json"].pop("timestamp")
    assert isinstance(timestamp, int)
    assert begun["json"] == {
        "event": "new", "buildid": 1, "buildername": "b one", "url": BUILD, "project": "acme/widget",
    }  # fmt: skip
    assert (ended["json"]["event"], ended["json"]["results"]) == ("finished", FAILURE)


async def test_pushover() -> None:
    """The fields are in the body, which proxies do not log; numbers are those of results or of a change."""
    reporter = PushoverNotifier(
        "user", "token", priorities={"failing": 1, "change": 2}, otherParams={"sound": "x"},
        generators=[BuildStatusGenerator(mode=["change", "failing", "passing"],
                                         message_formatter=MessageFormatterRenderable("said", "title"))],
    )  # fmt: skip
    requests = await sent(reporter, {"results": SUCCESS}, {"results": FAILURE}, {"results": EXCEPTION})
    assert {each["url"] for each in requests} == {"https://api.pushover.net/1/messages.json"}
    fields = [dict(parse_qsl(each["body"].decode())) for each in requests]
    expected = {"message": "said", "title": "title", "user": "user", "token": "token", "sound": "x"}
    assert fields == [expected, {**expected, "priority": "1"}, {**expected, "priority": "2"}]


async def test_pushjet() -> None:
    """A form is sent; the default text is HTML with escaped values."""
    (asked,) = await sent(PushjetNotifier("s", levels={"passing": 3}), {"builder": "<b>"})
    assert asked["url"] == "https://api.pushjet.io/message"
    fields = dict(parse_qsl(asked["body"].decode()))
    assert (fields["secret"], fields["level"]) == ("s", "3")
    assert f'<a href="{BUILD}">passing build</a> on builder <i>&lt;b&gt;</i>' in fields["message"]


@pytest.mark.parametrize(("kind", "arguments", "said"), [
    (BitbucketServerStatusPush, {"base_url": "https://bb"}, "argument 'user' is missing"),
    (BitbucketServerCoreAPIStatusPush, {"base_url": "https://bb", "token": "t", "auth": ("u", "p")}, "not both"),
    (ZulipStatusPush, {"endpoint": "https://z"}, "argument 'token' is missing"),
    (PushoverNotifier, {"user_key": "u", "api_token": "t", "otherParams": {"sond": 1}}, "has 'sond'; did you mean"),
    (PushjetNotifier, {"secret": "s", "levels": {"failing": "high"}}, r"levels \['failing'\] must be a whole number"),
])  # fmt: skip
def test_mistakes(kind: Any, arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read."""
    with pytest.raises(ConfigErrors, match=said):
        kind(**arguments)
