"""Builds as JSON to any server, and servers that behave badly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from buildbot.config import ConfigErrors
from buildbot.process.properties import Secret
from buildbot.reporters import delivery
from buildbot.reporters.delivery import deliveries_of
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.http import HttpStatusPush
from buildbot.reporters.message import MessageFormatter, MessageFormatterEmpty, MessageFormatterFunction
from buildbot.secrets.manager import SecretManager
from buildbot.test.reporters import HttpRecorder, ReporterHarness
from buildbot.test.running import until
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import CANCELLED, FAILURE, SUCCESS
from tests.support.reactor import reactor
from tests.unit.secrets.test_providers import InMemory

URL = "https://hooks.example.org/builds?key=1"


async def harness(*reporters: Any, answer: Any = lambda request: b"") -> ReporterHarness:
    """A harness with a running reporter."""
    made = ReporterHarness(*reporters, server=HttpRecorder(answer))
    await made.start()
    return made


async def test_builds() -> None:
    """Beginnings, and ends of the default mode, are sent with the whole build; times are seconds."""
    farm = await harness(HttpStatusPush(URL))
    await farm.build(SUCCESS)
    await farm.build(CANCELLED)
    await farm.idle()
    requests = farm.server.requests
    assert [(each["json"]["buildid"], each["json"]["results"]) for each in requests] == [(1, None), (1, 0), (2, None)]
    for each in requests:
        assert (each["method"], each["url"]) == ("POST", URL)
        assert each["headers"]["content-type"] == "application/json"
    ended = requests[1]["json"]
    assert ended["state_string"] == "build successful" and isinstance(ended["complete_at"], int)
    assert ended["properties"]["scheduler"] == ["all", "Scheduler"]
    assert ended["builder"]["name"] == "b one" and ended["url"] == "https://ci/#/builders/1/builds/1"
    assert ended["buildset"]["sourcestamps"][0]["revision"] == "1a2b3c" and ended["parentbuild"] is None
    assert len({each["headers"]["idempotency-key"] for each in requests}) == 3
    await farm.stop()


@pytest.mark.parametrize(("formatter", "body", "content_type"), [
    (MessageFormatterFunction(lambda context: [context["build"]["number"]], "json"), b"[1]", "application/json"),
    (MessageFormatter(template="hello"), b"hello", "text/plain; charset=utf-8"),
    (MessageFormatter(template="<b>", template_type="html"), b"<b>", "text/html; charset=utf-8"),
    (MessageFormatterEmpty(), b"", None),
])  # fmt: skip
async def test_bodies(formatter: Any, body: bytes, content_type: str | None) -> None:
    """The body is JSON, text or nothing; of two reports the first one is sent."""
    generators = [BuildStatusGenerator(message_formatter=each) for each in (formatter, MessageFormatter())]
    farm = await harness(HttpStatusPush(URL, generators=generators))
    await farm.build()
    await farm.idle()
    (asked,) = farm.server.requests
    assert (asked["body"], asked["headers"].get("content-type")) == (body, content_type)
    await farm.stop()


async def test_secrets() -> None:
    """Credentials and headers may be secrets, which are read when the reporter starts."""
    reporter = HttpStatusPush(URL, auth=(Secret("user"), Secret("password")), headers={"X-Key": Secret("user")},
                              skip_encoding=True)  # fmt: skip
    farm = ReporterHarness(reporter)
    secrets = SecretManager(farm.master)
    farm.master.namedServices = {"secrets": secrets}
    await secrets.startService()
    await secrets.use([InMemory({"user": "joe", "password": "hush"})])
    await farm.start()
    await farm.build(FAILURE)
    await farm.idle()
    headers = farm.server.requests[0]["headers"]
    assert headers["authorization"] == "Basic am9lOmh1c2g=" and headers["x-key"] == "joe"
    assert headers["accept-encoding"] == "identity"
    await farm.stop()


class Hostile(Protocol):
    """Reads a request and then misbehaves as the test says."""

    behaviour: Callable[[Any], None]

    def dataReceived(self, data: bytes) -> None:
        self.factory.count += 1
        self.behaviour(self.transport)


@asynccontextmanager
async def hostile(behave: Callable[[Any], None]) -> AsyncIterator[tuple[str, Any]]:
    """A real server; its URL and its factory, which counts requests."""
    kind = type("Behaves", (Hostile,), {"behaviour": staticmethod(behave)})
    factory: Any = Factory.forProtocol(kind)
    factory.count = 0
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port.getHost().port}/hook", factory
    finally:
        await maybeDeferred(port.stopListening)


def hangs(transport: Any) -> None:
    """Never answers."""


def closes(transport: Any) -> None:
    """Closes the connection in the middle of its answer."""
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    transport.loseConnection()


def fails(transport: Any) -> None:
    """Answers 500."""
    transport.write(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")


def floods(transport: Any) -> None:
    """Answers with 100 MB."""
    transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 2_000_000)


def redirects(transport: Any) -> None:
    """Answers with a redirect."""
    transport.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")


def refuses(transport: Any) -> None:
    """Answers with a refusal."""
    transport.write(b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\nno\nthanks")


@pytest.mark.parametrize(("behave", "again"), [
    (hangs, True), (closes, True), (fails, True), (floods, False), (redirects, False), (refuses, False),
])  # fmt: skip
async def test_servers_that_behave_badly(behave: Any, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transient failures are repeated; permanent ones are given up, with the answer in the log."""
    monkeypatch.setattr(delivery, "FIRST_S", 0.01)
    defaults = HttpClient.request.__kwdefaults__ or {}
    monkeypatch.setattr(HttpClient.request, "__kwdefaults__", {**defaults, "timeout_s": 0.2})
    async with hostile(behave) as (url, server):
        farm = ReporterHarness(HttpStatusPush(url, generators=[BuildStatusGenerator()]))
        farm.master._http = HttpClient(reactor)
        await farm.start()
        with capturedLogs() as logs:
            await farm.build()
            if again:

                async def twice() -> bool:
                    return bool(server.count >= 2)

                await until(twice)
                assert farm.waiting() == 1
            else:
                await farm.idle()
                assert server.count == 1
        values = {each.name: dict(each.values) for each in deliveries_of(farm.master).families()}
        assert bool(values["reports_given_up"]) is not again
        said = [each for each in logs if "is given up" in each["log_format"]]
        if behave is refuses:
            assert said[0]["problem"].endswith("answers 422: no thanks") and "key=" not in said[0]["problem"]
        await farm.stop()
        await farm.master._http.close()


async def test_hours_of_500() -> None:
    """A server that comes back after hours gets all missed reports once, in order for each build."""
    clock = Clock()
    healthy = False
    farm = ReporterHarness(
        HttpStatusPush(URL), server=HttpRecorder(lambda request: b"" if healthy else (500, b"no")), reactor=clock
    )
    await farm.start()
    clock.pump([0.0] * 20)
    for _ in range(5):
        await farm.build()
        clock.pump([0.0] * 20)
    for _ in range(180):
        clock.advance(60)
    assert 50 < len(farm.server.requests) < 400
    farm.server.requests.clear()
    healthy = True
    for _ in range(30):
        clock.advance(60)
        clock.pump([0.0] * 20)
    told = [(each["json"]["buildid"], each["json"]["results"]) for each in farm.server.requests]
    assert sorted(told, key=str) == sorted([(n, r) for n in range(1, 6) for r in (None, 0)], key=str)
    assert all(told.index((n, None)) < told.index((n, 0)) for n in range(1, 6))
    await farm.stop()


async def test_retry_after_as_a_date() -> None:
    """``Retry-After`` may be a date."""
    clock = Clock()
    answers: list[Any] = [(503, b"", {"Retry-After": "Thu, 01 Jan 1970 00:05:00 GMT"}), b""]
    farm = ReporterHarness(
        HttpStatusPush(URL, generators=[BuildStatusGenerator()]),
        server=HttpRecorder(lambda request: answers.pop(0)), reactor=clock,
    )  # fmt: skip
    farm.master.wall_seconds = clock.seconds
    await farm.start()
    await farm.build()
    clock.pump([0.0] * 20)
    clock.advance(295)
    assert len(farm.server.requests) == 1
    clock.advance(60)
    assert len(farm.server.requests) == 2
    await farm.stop()


@pytest.mark.parametrize(("arguments", "said"), [
    ({}, "argument 'serverUrl' is missing"),
    ({"serverUrl": "x"}, "serverUrl must be a URL"),
    ({"auth": "joe:hush"}, "auth must be a pair (user, password), not a value of type str"),
    ({"auth": ("joe", 5)}, "auth must be a pair of texts, but has a value of type int"),
    ({"headers": {"X": 1}}, "headers ['X'] must be a text"),
    ({"cert": 5}, "cert must be the path of a file"),
])  # fmt: skip
def test_mistakes(arguments: dict[str, Any], said: str) -> None:
    """Mistakes are reported when the configuration is read; credentials are not shown."""
    with pytest.raises(ConfigErrors) as caught:
        HttpStatusPush(**({"serverUrl": URL, **arguments} if arguments else {}))
    assert said in str(caught.value) and "hush" not in str(caught.value)
