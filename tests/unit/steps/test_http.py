"""Steps that send HTTP requests, to a server in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import succeed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from buildbot.config.errors import ConfigErrors
from buildbot.process.properties import Interpolate, Property
from buildbot.steps.http import DELETE, GET, HEAD, OPTIONS, POST, PUT, HTTPStep
from buildbot.test.steps import StepHarness
from buildbot.util.httpclient import HttpClient
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS
from tests.support.events import next_turn
from tests.support.reactor import reactor


class Server(Resource):
    """Answers by a function, and keeps the requests."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any] = lambda request: b"fine\n") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer = answer
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    def render(self, request: Any) -> Any:
        headers = {name.decode(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()}
        self.asked.append((request.method.decode(), request.uri.decode(), headers, request.content.read()))
        return self.answer(request)


def harness(server: Server, *steps: Any) -> StepHarness:
    """A master whose requests go to a server in memory."""
    farm = StepHarness(*steps)
    agent = RequestTraversalAgent(server)  # type: ignore[no-untyped-call]
    farm.master.httpservice = HttpClient(farm.master.reactor, agent)
    return farm


async def run(server: Server, *steps: Any) -> tuple[StepHarness, list[dict[str, Any]]]:
    """Run the steps in a build; their rows."""
    farm = harness(server, *steps)
    await farm.run()
    return farm, farm.master.steps(1)[1:]


async def test_methods() -> None:
    """Each method has a step."""
    server = Server()
    url = "http://there/a"
    steps = [GET(url), POST(url, data="x"), PUT(url, json={"a": 1}), DELETE(url), HEAD(url), OPTIONS(url)]
    _, rows = await run(server, *steps, HTTPStep(url, "PATCH"))
    assert [method for method, *_ in server.asked] == ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
    assert [row["name"] for row in rows] == ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "HTTPStep"]
    assert {(row["results"], row["state_string"]) for row in rows} == {(SUCCESS, "Status code: 200")}
    assert [body for *_, body in server.asked[1:3]] == [b"x", b'{"a":1}']


async def test_what_is_sent_and_logged() -> None:
    """All arguments may be renderables; the log shows request and answer without passwords."""

    def answer(request: Any) -> bytes:
        request.setHeader(b"content-type", b"text/plain; charset=latin-1")
        request.setHeader(b"x-token", b"hidden-in-answer")
        request.addCookie(b"session", b"hidden-cookie")
        return b"\xfcber\0\n"

    server = Server(answer)
    step = POST(
        Interpolate("http://user:hidden-password@there/%(prop:buildername)s?q=1"),
        params={"p": [Property("workername"), "x"]}, data={"field": Property("buildername")},
        headers={"X-Mine": "shown", "X-Secret": "hidden-header", "Authorization": "hidden-auth"},
        cookies={"c": "hidden"}, hide_request_headers=["x-secret"], hide_response_headers=["X-Token"],
    )  # fmt: skip
    farm, (row,) = await run(server, step)
    ((method, uri, headers, body),) = server.asked
    assert (method, uri, body) == ("POST", "/b?q=1&p=w&p=x", b"field=b")
    assert headers["X-Mine"] == "shown" and headers["Cookie"] == "c=hidden"
    log = farm.master.text(2, "log")
    assert "hidden" not in log and row["results"] == SUCCESS
    lines = log.splitlines()
    for line in (
        "hPerforming POST request to http://there/b?q=1", "h\tp: ['w', 'x']", "h\tfield: b", "h\tX-Mine: shown",
        "h\tX-Secret: <HIDDEN>", "oURL: http://there/b?q=1", "oStatus: 200", "h\tx-token: <HIDDEN>", "o\u00fcber\ufffd",
    ):  # fmt: skip
        assert line in lines
    assert farm.master.text(2, "content") == "o\u00fcber\ufffd\n"


async def test_files_and_login() -> None:
    """Files of a form, and user and password, are sent."""
    server = Server()
    _, (row,) = await run(server, POST("http://there/", auth=("jo", Property("none"))))
    assert row["results"] == FAILURE and "auth must be (user, password)" in row["state_string"] and not server.asked
    port = reactor.listenTCP(0, Site(server), interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}/"
    farm = StepHarness(POST(url, files={"f": ("n.txt", "content")}, data={"a": "b"}, auth=("jo", "pw")))
    await farm.run()
    await farm.master.httpservice.close()
    await port.stopListening()
    ((_, _, headers, body),) = server.asked
    assert headers["Authorization"] == "Basic am86cHc=" and headers["Content-Type"].startswith("multipart/form-data")
    assert b'filename="n.txt"' in body and b"content" in body


@pytest.mark.parametrize("status", [301, 399, 400, 404, 500])
async def test_status(status: int) -> None:
    """A status of 400 or more is a failure."""

    def answer(request: Any) -> bytes:
        request.setResponseCode(status)
        return b""

    _, (row,) = await run(Server(answer), GET("http://there/", allow_redirects=False))
    failed = status >= 400
    assert row["results"] == (FAILURE if failed else SUCCESS)
    assert row["state_string"] == f"Status code: {status}{' (failure)' if failed else ''}"


@pytest.mark.parametrize(("follow", "asked"), [(None, ["/", "/there"]), (True, ["/", "/there"]), (False, ["/"])])
async def test_redirects(follow: bool | None, asked: list[str]) -> None:
    """A GET follows redirects, unless ``allow_redirects`` is False."""

    def answer(request: Any) -> bytes:
        if request.uri == b"/":
            request.redirect(b"/there")
        return b""

    server = Server(answer)
    await run(server, GET("http://here/", allow_redirects=follow))
    assert [uri for _, uri, *_ in server.asked] == asked


async def test_redirects_of_other_methods() -> None:
    """Other methods follow redirects as GET, if ``allow_redirects`` is True."""

    def answer(request: Any) -> bytes:
        if request.uri == b"/":
            request.redirect(b"/there")
        return b""

    server = Server(answer)
    await run(server, POST("http://here/", data="x"), POST("http://here/", data="x", allow_redirects=True))
    assert [(method, uri) for method, uri, *_ in server.asked] == [("POST", "/"), ("POST", "/"), ("GET", "/there")]


async def test_hooks() -> None:
    """Hooks get the answer, and may return another one, or a Deferred; their exceptions fail the step."""
    seen: list[Any] = []

    class Other:
        status_code = 404

    def first(response: Any) -> None:
        seen.append((response.status_code, response.ok, response.text, response.content, response.headers["x-a"]))
        seen.append((response.url, response.json()))

    def answer(request: Any) -> bytes:
        request.setHeader(b"x-a", b"1")
        return '["ü"]'.encode()

    _, rows = await run(
        Server(answer),
        GET("http://there/", hooks={"response": [first, lambda response: succeed(Other())]}, haltOnFailure=False),
        GET("http://there/", hooks={"response": lambda response: 1 // 0}),
    )
    assert seen == [(200, True, '["ü"]', '["ü"]'.encode(), "1"), ("http://there/", ["ü"])]
    assert [row["results"] for row in rows] == [FAILURE, EXCEPTION]
    assert rows[0]["state_string"] == "Status code: 404 (failure)"


async def test_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer of any size is written to the log as it arrives, and pauses while the log is full."""
    monkeypatch.setattr("buildbot.util.httpclient.MAX_BYTES", 10)
    monkeypatch.setattr("buildbot.process.logwriter.MAX_BACKLOG_CHARS", 20_000)
    line = "ü" * 60 + "\n"

    def answer(request: Any) -> bytes:
        request.setHeader(b"content-type", b"text/plain; charset=latin-1")
        return (line * 3_000).encode("latin-1")

    port = reactor.listenTCP(0, Site(Server(answer)), interface="127.0.0.1")
    url = f"http://127.0.0.1:{port.getHost().port}/"
    farm = StepHarness(GET(url, stream=True), GET("http://127.0.0.1:1/", stream=True))
    await farm.run()
    await farm.master.httpservice.close()
    await port.stopListening()
    streamed, refused = farm.master.steps(1)[1:]
    assert (streamed["results"], refused["results"]) == (SUCCESS, FAILURE)
    assert farm.master.text(2, "content") == "".join(f"o{line}" for _ in range(3_000))
    assert " ------ Content" not in farm.master.text(2, "log")
    assert farm.master.text(3, "content") == ""


async def test_stop_of_a_stream() -> None:
    """An endless answer ends when its build is stopped; the part that arrived is in the log."""
    gone: list[Any] = []

    def answer(request: Any) -> Any:
        def more() -> None:
            request.write(b"x" * 999 + b"\n")
            again.append(reactor.callLater(0, more))

        def stop(failure: Any) -> None:
            gone.append(failure)
            again[-1].cancel()

        again: list[Any] = []
        request.notifyFinish().addErrback(stop)
        more()
        return NOT_DONE_YET

    port = reactor.listenTCP(0, Site(Server(answer)), interface="127.0.0.1")
    farm = StepHarness(GET(f"http://127.0.0.1:{port.getHost().port}/", stream=True))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: any("xxx" in str(call[-1]) for call in farm.master.of("appendLog")))
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    while not gone:
        await next_turn()
    await farm.master.httpservice.close()
    await port.stopListening()
    assert farm.master.steps(1)[1]["results"] == CANCELLED and farm.master.text(2, "content").startswith("oxxx")


async def test_proxies() -> None:
    """A request uses the proxy for its server."""
    server = Server()
    port = reactor.listenTCP(0, Site(server), interface="127.0.0.1")
    proxy = f"http://jo:{{}}@127.0.0.1:{port.getHost().port}"
    given = {"http": Interpolate(proxy.format("%(prop:workername)s")), "no_proxy": "127.0.0.1"}
    farm = StepHarness(GET("http://there.example/a?b", proxies=given), GET("http://127.0.0.1:1/", proxies=given))
    await farm.run()
    await farm.master.httpservice.close()
    await port.stopListening()
    ((method, uri, headers, _),) = server.asked
    assert (method, uri, headers["Host"]) == ("GET", "http://there.example/a?b", "there.example")
    assert headers["Proxy-Authorization"] == "Basic am86dw=="
    assert [step["results"] for step in farm.master.steps(1)[1:]] == [SUCCESS, FAILURE]


async def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is too large for memory fails the step."""
    farm, (row,) = await run(Server(lambda request: b"x" * 11_000_000), GET("http://there/"))
    assert row["results"] == FAILURE
    assert row["state_string"] == "Requested: the answer has more than 10485760 bytes (failure)"
    assert "the answer has more than" in farm.master.text(2, "log")


async def test_no_answer() -> None:
    """A server that does not answer in time fails the step, with the reason."""
    farm, (row,) = await run(Server(lambda request: NOT_DONE_YET), GET("http://there/", timeout=(0.01, 0.01)))
    assert (row["results"], row["state_string"]) == (FAILURE, "Requested: no complete answer within 0.02 s (failure)")
    assert "eGET http://there/: no complete answer" in farm.master.text(2, "log")


async def test_refused() -> None:
    """A refused connection fails the step, with the reason."""
    farm = StepHarness(GET("http://127.0.0.1:1/"))
    row = await farm.run()
    await farm.master.httpservice.close()
    assert row["state_string"] == "failed GET: the connection is refused (failure)"


async def test_stop() -> None:
    """A running request ends when its build is stopped."""
    farm = harness(Server(lambda request: NOT_DONE_YET), GET("http://there/"))
    await farm.start()
    await farm.build()
    await farm.master.until(lambda: any("Performing" in str(call) for call in farm.master.of("appendLog")))
    await farm.master.stop_build(1, "enough")
    await farm.ended()
    assert farm.master.steps(1)[1]["results"] == CANCELLED


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GET(), "GET: argument 'url' is missing"),
        (lambda: GET("ftp://there"), "url must be a URL that starts with http:// or https://, not 'ftp://there'"),
        (lambda: HTTPStep("http://there", "get"), "method must be one of 'GET', 'POST'"),
        (lambda: GET("http://a", headers={"X": "a\nb"}), "headers ['X'] must be in one line"),
        (lambda: GET("http://a", headers={"X": None}), "headers ['X'] must be a text, not None"),
        (lambda: GET("http://a", params="a=b"), "params must be a list, not 'a=b'"),
        (lambda: GET("http://a", data=5), "data must be a list, not 5"),
        (lambda: GET("http://a", auth="jo:secret"), "auth must be (user, password), not a value of type str"),
        (lambda: GET("http://a", timeout=0), "timeout must be a number above 0, not 0"),
        (lambda: GET("http://a", verify=None), "verify must be True, False or the path"),
        (lambda: GET("http://a", cert=5), "cert must be the path of a file"),
        (lambda: GET("http://a", files={"f": 5}), "files ['f'] must be a text, bytes, or (name, content)"),
        (lambda: GET("http://a", proxies={"ftp": "x"}), "proxies has the key 'ftp'; there are 'http', 'https'"),
        (
            lambda: GET("http://a", proxies={"all": "socks5://jo:secret@x"}),
            "proxies ['all'] must be http://server:port",
        ),
        (lambda: GET("http://a", proxies={"all": "http://jo:secret@x:port"}), "proxies ['all'] must be http://server"),
        (lambda: GET("http://a", proxies={"http": 5}), "proxies must have texts as keys and as values"),
        (lambda: GET("http://a", stream="yes"), "stream must be"),
        (lambda: GET("http://a", hooks={"request": print}), "hooks has the key 'request'; there is only 'response'"),
        (lambda: GET("http://a", hooks={"response": [5]}), "hooks ['response'] must be a function or a list"),
        (lambda: POST("http://a", json={}, data="x"), "POST: json excludes data and files"),
    ],
)
def test_mistakes(make: Any, complaint: str) -> None:
    """Wrong arguments are errors of the configuration that name them, without passwords."""
    with pytest.raises(ConfigErrors) as caught:
        make()
    assert complaint in str(caught.value) and "secret" not in str(caught.value)
