"""Reporters and services that users have written for Buildbot: inlineCallbacks, arguments in signatures."""

from __future__ import annotations

from typing import Any

from twisted.internet import defer

from buildbot.config import error
from buildbot.plugins import reporters, util
from buildbot.reporters.base import ReporterBase
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.github import GitHubStatusPush
from buildbot.reporters.http import HttpStatusPush
from buildbot.reporters.message import MessageFormatter
from buildbot.reporters.utils import getDetailsForBuild, getURLForBuild
from buildbot.test.reporters import ReporterHarness
from buildbot.test.running import until
from buildbot.util import httpclientservice
from buildbot.util.service import BuildbotService


class Chat(ReporterBase):
    """A reporter from Buildbot's manual."""

    name: Any = "Chat"
    secrets = ["token"]

    def checkConfig(self, url: str, token: Any = None, generators: Any = None, **kwargs: Any) -> None:
        if not url.startswith("http"):
            error("url must begin with http")
        super().checkConfig(generators=generators or self._create_default_generators(), **kwargs)

    @defer.inlineCallbacks
    def reconfigService(self, url: str, token: Any = None, generators: Any = None, **kwargs: Any) -> Any:
        self._token = token
        yield super().reconfigService(generators=generators or self._create_default_generators(), **kwargs)
        self._http = yield httpclientservice.HTTPClientService.getService(self.master, url, headers={"X": "1"})

    def _create_default_generators(self) -> Any:
        formatter = MessageFormatter(template="{{ status_detected }}", want_steps=True)
        return [BuildStatusGenerator(mode=("failing", "passing"), message_formatter=formatter)]

    @defer.inlineCallbacks
    def sendMessage(self, reports: Any) -> Any:
        build = reports[0]["builds"][0]
        yield getDetailsForBuild(self.master, build, want_properties=True)
        url = getURLForBuild(self.master, build["builderid"], build["number"])
        payload = {
            "text": reports[0]["body"],
            "url": url,
            "token": self._token,
            "p": build["properties"]["scheduler"][0],
        }
        response = yield self._http.post("/messages", json=payload)
        if response.code != 200:
            error(f"{response.code}")


class Quiet(HttpStatusPush):
    """A subclass with fewer reports."""

    name = "Quiet"

    @defer.inlineCallbacks
    def reconfigService(self, serverUrl: str, *args: Any, **kwargs: Any) -> Any:
        yield super().reconfigService(serverUrl, *args, **kwargs)

    @defer.inlineCallbacks
    def sendMessage(self, reports: Any) -> Any:
        reports[0]["body"] = {"number": reports[0]["body"]["number"]}
        yield super().sendMessage(reports)


class Renamed(GitHubStatusPush):
    """A subclass that sets one more status."""

    name = "Renamed"

    @defer.inlineCallbacks
    def createStatus(self, *args: Any, **kwargs: Any) -> Any:
        for context in ("a", "b"):
            response = yield super().createStatus(*args, **{**kwargs, "context": context})
            assert response is not None


async def test_reporters() -> None:
    """They send the same as with Buildbot."""
    farm = ReporterHarness(
        Chat("https://chat", token="t"),
        Quiet("https://quiet", generators=None),
        Renamed(token="t", generators=[BuildStatusGenerator()]),
    )
    await farm.start()
    await farm.build(util.FAILURE)
    await farm.idle()
    await farm.stop()
    by_host: dict[str, list[Any]] = {}
    for each in farm.server.requests:
        by_host.setdefault(each["url"].split("/")[2], []).append(each["json"])
    assert by_host["chat"] == [
        {"text": "failed build", "url": "https://ci/#/builders/1/builds/1", "token": "t", "p": "all"}
    ]
    assert by_host["quiet"] == [{"number": 1}, {"number": 1}]
    assert [each["context"] for each in by_host["api.github.com"]] == ["a", "b"]


class Counting(BuildbotService):
    """A service that follows events."""

    name = "counting"

    def checkConfig(self, step: int = 1) -> None:
        if step < 1:
            error("step must be 1 or more")

    @defer.inlineCallbacks
    def reconfigService(self, step: int = 1) -> Any:
        yield super().reconfigService()
        self.step = step

    @defer.inlineCallbacks
    def startService(self) -> Any:
        yield super().startService()
        self.count = 0
        self.consumer = yield self.master.mq.startConsuming(self._heard, ("builds", None, "finished"))

    @defer.inlineCallbacks
    def stopService(self) -> Any:
        yield self.consumer.stopConsuming()
        yield super().stopService()

    def _heard(self, key: Any, message: Any) -> None:
        self.count += self.step


async def test_a_service() -> None:
    """It starts, is reconfigured and stops."""
    service = Counting(step=2)
    farm = ReporterHarness(service)
    await farm.start()
    await farm.build()

    async def heard() -> bool:
        return bool(service.count == 2)

    await until(heard)
    await farm.manager.configure([Counting(step=3)])
    await farm.build()
    chat = reporters.HttpStatusPush("https://x")
    await farm.manager.configure([chat, Counting(step=3)])
    await farm.build()
    await farm.idle()
    assert farm.manager.named["counting"] is service and service.count == 8
    await farm.stop()
    assert not service.running


class Bare(HttpStatusPush):
    """Sends requests by the session of its base."""

    name = "Bare"
    codes: Any = ()

    def checkConfig(self, serverUrl: str, extra: Any = None, **kwargs: Any) -> None:
        super().checkConfig(serverUrl, **kwargs)

    @defer.inlineCallbacks
    def reconfigService(self, serverUrl: str, extra: Any = None, **kwargs: Any) -> Any:
        yield super().reconfigService(serverUrl, **kwargs)
        self.extra = extra

    @defer.inlineCallbacks
    def sendMessage(self, reports: Any) -> Any:
        response = yield self._http.post("", json={"extra": self.extra})
        self.codes = [*self.codes, self.is_status_2xx(response.code)]


class Labels(GitHubStatusPush):
    """Asks GitHub by the session of its base."""

    name = "Labels"
    seen: Any = None

    @defer.inlineCallbacks
    def sendMessage(self, reports: Any) -> Any:
        response = yield self._http.get("/repos/acme/widget/labels")
        self.seen = yield response.json()


class OwnSession(HttpStatusPush):
    """Makes its own session."""

    name = "OwnSession"

    @defer.inlineCallbacks
    def reconfigService(self, serverUrl: str, **kwargs: Any) -> Any:
        yield super().reconfigService(serverUrl, **kwargs)
        self._http = yield httpclientservice.HTTPClientService.getService(self.master, serverUrl, headers={"X": "1"})

    @defer.inlineCallbacks
    def sendMessage(self, reports: Any) -> Any:
        yield self._http.post("/own", data=b"x")


async def test_sessions() -> None:
    """``_http`` sends requests with login and headers; a subclass may set another session."""
    bare = Bare("https://a.example/p/", extra=5, auth=("jo", "pw"), headers={"H": "h"})
    labels = Labels("tok")
    own = OwnSession("https://b.example")
    farm = ReporterHarness(bare, labels, own)
    await farm.start()
    buildid = await farm.begin(await farm.request())
    await farm.end(buildid)
    await farm.idle()
    asked = {each["url"]: each for each in farm.server.requests}
    assert set(asked) == {
        "https://a.example/p",
        "https://api.github.com/repos/acme/widget/labels",
        "https://b.example/own",
    }
    first = asked["https://a.example/p"]
    assert (first["json"], first["headers"]["h"], first["headers"]["authorization"]) == (
        {"extra": 5}, "h", "Basic am86cHc=",
    )  # fmt: skip
    assert asked["https://api.github.com/repos/acme/widget/labels"]["headers"]["authorization"] == "token tok"
    assert asked["https://b.example/own"]["headers"]["x"] == "1"
    assert bare.codes == [True, True] and labels.seen == {}
    await farm.stop()
