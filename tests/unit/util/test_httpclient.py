"""Requests to other servers: requests, answers, and messages of failures."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from buildbot.test.fake.fakedb import FakeMaster
from buildbot.util.httpclient import HttpClient, HttpError, NoAnswerError, TooLargeError, UnexpectedAnswerError
from buildbot.util.httpclientservice import HTTPClientService, HTTPSession
from tests.support.reactor import fired, reactor


class Server(Resource):
    """A server that answers by ``answer``, and keeps its requests."""

    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any] = lambda request: b"{}") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.peers: set[int] = set()

    def render(self, request: Any) -> Any:
        """Any method."""
        self.peers.add(request.getClientAddress().port)
        self.asked.append(
            {
                "method": request.method.decode(),
                "uri": request.uri.decode(),
                "headers": {
                    name.decode().lower(): value[0].decode()
                    for name, value in request.requestHeaders.getAllRawHeaders()
                },
                "body": request.content.read(),
                "args": request.args,
            }
        )
        return self.answer(request)


def in_memory(server: Server) -> Any:
    """Twisted's agent for requests of the server, without a socket."""
    return RequestTraversalAgent(server)  # type: ignore[no-untyped-call]


def client(server: Server) -> HttpClient:
    """A client of a server in memory."""
    return HttpClient(Clock(), in_memory(server))


@asynccontextmanager
async def serving(factory: Any, tls: Any = None) -> AsyncIterator[tuple[HttpClient, str]]:
    """A real server and a client for it."""
    if tls is None:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    else:
        port = reactor.listenSSL(0, factory, tls, interface="127.0.0.1")
    http = HttpClient(reactor)
    try:
        yield http, f"{'http' if tls is None else 'https'}://127.0.0.1:{port.getHost().port}"
    finally:
        await http.close()
        await maybeDeferred(port.stopListening)


async def test_json() -> None:
    """JSON goes and comes; a query is added to that of the URL, lists as several, booleans as true and false."""
    server = Server(lambda request: b'{"a": [1]}')
    answer = await client(server).request(
        "post", "http://x/p?a=1", params={"b": ["ä", 2], "c": True, "d": None}, json={"x": None}
    )
    assert (answer.status, answer.ok, answer.json()) == (200, True, {"a": [1]})
    asked = server.asked[0]
    assert (asked["method"], asked["uri"]) == ("POST", "/p?a=1&b=%C3%A4&b=2&c=true")
    assert (asked["body"], asked["headers"]["content-type"]) == (b'{"x":null}', "application/json")
    assert asked["headers"]["user-agent"] == "Buildbot"


async def test_null_is_json() -> None:
    """``json=None`` is JSON's null."""
    server = Server()
    await client(server).request("PUT", "http://x/", json=None)
    assert server.asked[0]["body"] == b"null"


async def test_content_type_is_the_callers() -> None:
    """A Content-Type among the headers is that of the body, however it is spelled."""
    server = Server()
    http = client(server)
    await http.request("POST", "http://x/", json={}, headers={"content-type": "application/vnd.x+json"})
    await http.request("POST", "http://x/", data={"a": "1"}, headers={"CONTENT-TYPE": "text/form"})
    assert [each["headers"]["content-type"] for each in server.asked] == ["application/vnd.x+json", "text/form"]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"a": "ä b", "c": [1, 2]}, b"a=%C3%A4+b&c=1&c=2"),
        ([("a", 1), ("a", False)], b"a=1&a=false"),
        ("text ä", "text ä".encode()),
        (b"\0raw", b"\0raw"),
        ({}, b""),
    ],
)
async def test_data(data: Any, body: bytes) -> None:
    """Fields are a form; text and bytes are the body."""
    server = Server()
    await client(server).request("POST", "http://x/", data=data)
    assert server.asked[0]["body"] == body
    form = not isinstance(data, str | bytes)
    assert (server.asked[0]["headers"].get("content-type") == "application/x-www-form-urlencoded") is form


async def test_files() -> None:
    """Files go as parts of a form, with its other fields: content, open files, and given names."""
    server = Server()
    files = {"a": b"one", "b": ("two.txt", b"two"), "c": ("three.png", io.BytesIO(b"three"))}
    async with serving(Site(server)) as (http, url):
        await http.request("POST", url, data={"chat": 7}, files=files)  # type: ignore[arg-type]
    body = server.asked[0]["body"]
    assert server.asked[0]["args"][b"chat"] == [b"7"] and server.asked[0]["args"][b"a"] == [b"one"]
    assert b'filename="two.txt"' in body and b'filename="three.png"' in body and b"image/png" in body


@pytest.mark.parametrize("login", [{"auth": ("joe", "pä:ss")}, {"url": "http://joe:pä:ss@x/p"}])
async def test_basic(login: dict[str, Any]) -> None:
    """A user and password go as Basic authentication, from the URL too; never as a part of the URL."""
    server = Server()
    await client(server).request("GET", **{"url": "http://x/p", **login})
    assert server.asked[0]["headers"]["authorization"] == "Basic am9lOnDDpDpzcw=="
    assert server.asked[0]["headers"]["host"] == "x"


async def test_status() -> None:
    """An answer of any status is given; ``require`` makes an error of a wrong one, which names it."""

    def missing(request: Any) -> bytes:
        request.setResponseCode(404)
        request.setHeader("X-Two", "a")
        return b"<html>"

    answer = await client(Server(missing)).request("GET", "http://x/p?token=hush")
    assert (answer.status, answer.ok, answer.body, answer.headers["x-two"]) == (404, False, b"<html>", "a")
    assert answer.require(200, 404) is answer
    with pytest.raises(UnexpectedAnswerError, match=r"^GET http://x/p answers 404$") as caught:
        answer.require()
    assert caught.value.status == 404
    with pytest.raises(UnexpectedAnswerError, match=r"^GET http://x/p answers without JSON$"):
        answer.json()


@pytest.mark.parametrize("said", [True, False])
async def test_too_large(said: bool) -> None:
    """An answer beyond the limit is cut off, with or without its size in the header; a smaller one is accepted."""
    ended = Deferred[None]()

    def large(request: Any) -> Any:
        request.notifyFinish().addErrback(lambda _: ended.callback(None))
        if said:
            request.setHeader("Content-Length", str(100_000_000))
        request.write(b"x" * 1001)
        return NOT_DONE_YET

    async with serving(Site(Server(large))) as (http, url):
        with pytest.raises(TooLargeError, match=rf"^GET {url}/p: the answer has more than 1000 bytes$"):
            await http.request("GET", f"{url}/p?q", max_bytes=1000)
        await ended  # the connection is closed, so the server need not send the rest
    answer = await client(Server(lambda _: b"x" * 1000)).request("GET", "http://x/", max_bytes=1000)
    assert len(answer.body) == 1000


async def test_packed_answers_count_unpacked() -> None:
    """A compressed answer that is too large when unpacked is too large."""

    def packed(request: Any) -> bytes:
        request.setHeader("Content-Encoding", "gzip")
        return gzip.compress(b"x" * 5000)

    http = client(Server(packed))
    assert (await http.request("GET", "http://x/")).body == b"x" * 5000
    with pytest.raises(TooLargeError):
        await http.request("GET", "http://x/", max_bytes=1000)


async def test_head_of_something_large() -> None:
    """HEAD gives the size of a large answer, and is not refused for it."""

    def head(request: Any) -> bytes:
        request.setHeader("Content-Length", "100000000")
        return b""

    async with serving(Site(Server(head))) as (http, url):
        answer = await http.request("HEAD", url, max_bytes=10)
        assert (answer.headers["content-length"], answer.body) == ("100000000", b"")


@pytest.mark.parametrize("begun", [True, False])
async def test_timeout(begun: bool) -> None:
    """The time is for the whole exchange: a body that never ends is given up like an answer that never begins."""

    def slow(request: Any) -> Any:
        if begun:
            request.write(b"x")
        return NOT_DONE_YET

    clock = Clock()
    http = HttpClient(clock, in_memory(Server(slow)))
    asking = ensureDeferred(http.request("GET", "http://x/p?token=hush", timeout_s=7))
    clock.advance(6.9)
    assert not fired(asking)
    clock.advance(0.2)
    with pytest.raises(NoAnswerError, match=r"^GET http://x/p: no complete answer within 7 s$"):
        await asking
    assert clock.getDelayedCalls() == []


async def test_timer_ends_with_the_exchange() -> None:
    """An exchange that ends in time leaves no timer."""
    clock = Clock()
    await HttpClient(clock, in_memory(Server())).request("GET", "http://x/")
    assert clock.getDelayedCalls() == []


class Says(Protocol):
    """Sends some bytes and hangs up."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def dataReceived(self, data: bytes) -> None:
        """Any request."""
        self.transport.write(self.text)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Saying(Factory):
    """Connections that all say the same."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def buildProtocol(self, addr: Any) -> Protocol:
        """For each one."""
        return Says(self.text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "the server closed the connection before its answer was complete"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nxx",
            "no usable answer|before its answer",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nxx", "no usable answer|before its answer"),
        (b"SSH-2.0-x\r\n", "no usable answer: ParseError"),
    ],
)
async def test_broken_answers(text: bytes, words: str) -> None:
    """A part of an answer is an error, never taken for the whole."""
    async with serving(Saying(text)) as (http, url):
        with pytest.raises(NoAnswerError, match=words):
            await http.request("GET", url)


async def test_answer_until_the_connection_ends() -> None:
    """An answer without a length ends with its connection, as HTTP/1.0 has it."""
    async with serving(Saying(b"HTTP/1.0 200 OK\r\n\r\nall of it")) as (http, url):
        assert (await http.request("GET", url)).body == b"all of it"


async def test_refused_connections() -> None:
    """The error says that the connection was refused. It and its causes have no query, password and fragment."""
    async with serving(Saying(b"")) as (_, url):
        pass
    secret = url.replace("http://", "http://joe:hush1@") + "/p?token=hush2#hush3"
    http = HttpClient(reactor)
    with pytest.raises(NoAnswerError) as caught:
        await http.request("GET", secret, params={"more": "hush4"}, headers={"X": "hush5"})
    assert str(caught.value) == f"GET {url}/p: the connection is refused"
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    with pytest.raises(NoAnswerError, match=r"^the bot: the connection is refused$"):
        await http.request("GET", url + "/bothush/send", name="the bot")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "ftp://joe:hush@x/?hush"}, r"^url: 'ftp://x/' is no http"),
        ({"url": "x/p"}, r"^url: 'x/p' is no http"),
        ({"url": "http:///p"}, r"^url: 'http:///p' is no http"),
        ({"url": "http://x:port/?hush"}, r"^url: its server or port cannot be read$"),
        ({"url": "http://[x/?hush"}, r"^url: its server or port cannot be read$"),
        ({"url": "http://x/a b"}, r"^url: 'http://x/a b' is no http"),
        ({"url": "http://x/\r\nX: y"}, r"^url: .* is no http"),
        ({"url": None}, r"^url: a string, not NoneType$"),
        ({"method": "GET /"}, r"^method: 'GET /' is no HTTP method$"),
        ({"timeout_s": 0}, r"^timeout_s: 0 is no number above 0$"),
        ({"max_bytes": "1"}, r"^max_bytes: '1' is no number above 0$"),
        ({"timeout_s": True}, r"^timeout_s: True is no number above 0$"),
        ({"timeout_s": float("nan")}, r"^timeout_s: nan is no number above 0$"),
        ({"json": 1, "data": b""}, r"^json: excludes data and files$"),
        ({"json": float("nan")}, r"^json: "),
        ({"json": object()}, r"^json: "),
        ({"data": "text", "files": {}}, r"^data: with files it must be fields"),
    ],
)
async def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    """A wrong argument is named with its value, without secrets, and nothing is sent."""
    server = Server()
    given = {"method": "GET", "url": "http://x/", **arguments}
    with pytest.raises(ValueError, match=words) as caught:
        await client(server).request(**given)
    assert "hush" not in str(caught.value) and server.asked == []


async def test_redirects() -> None:
    """A redirect is an answer unless it is to be followed; another server gets no headers and no password."""
    there = Server(lambda _: b'"there"')
    async with serving(Site(there)) as (_, other):

        def away(request: Any) -> bytes:
            if request.uri == b"/near":
                return b'"near"'
            request.redirect(b"/near" if request.uri == b"/a" else f"{other}/far".encode())
            return b""

        here = Server(away)
        async with serving(Site(here)) as (http, url):
            secret = {"headers": {"Private-Token": "hush", "User-Agent": "us"}, "auth": ("joe", "hush")}
            assert (await http.request("GET", f"{url}/a", **secret)).status == 302  # type: ignore[arg-type]
            near = await http.request("GET", f"{url}/a", follow_redirects=True, **secret)  # type: ignore[arg-type]
            far = await http.request("GET", f"{url}/b", follow_redirects=True, **secret)  # type: ignore[arg-type]
            assert (near.json(), far.json()) == ("near", "there")
            posted = await http.request("POST", f"{url}/b", follow_redirects=True, data="x")
            assert posted.status == 302
            assert here.asked[2]["headers"]["private-token"] == "hush"
    headers = there.asked[0]["headers"]
    assert "private-token" not in headers and "authorization" not in headers and len(there.asked) == 1


async def test_redirects_in_a_circle() -> None:
    """A circle of redirects ends, and its error has no query."""

    def again(request: Any) -> bytes:
        request.redirect(b"/?token=hush")
        return b""

    with pytest.raises(NoAnswerError) as caught:
        await client(Server(again)).request("GET", "http://x/", follow_redirects=True)
    assert str(caught.value) == "GET http://x/: no usable answer: InfiniteRedirection"
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


async def test_cookies_are_not_kept() -> None:
    """A cookie of one request is not sent with the next one, which may be another user's."""

    def setting(request: Any) -> bytes:
        request.addCookie(b"session", b"hush")
        return b""

    server = Server(setting)
    http = client(server)
    await http.request("GET", "http://x/")
    await http.request("GET", "http://x/")
    assert "cookie" not in server.asked[1]["headers"]


async def test_connections_are_kept_and_closed() -> None:
    """Requests that only read share a connection. Closing the client ends it; running and later requests fail."""
    server = Server()
    waiting = Deferred[None]()

    def answer(request: Any) -> Any:
        if request.uri == b"/wait":
            waiting.callback(None)
            return NOT_DONE_YET
        return b"{}"

    server.answer = answer
    async with serving(Site(server)) as (http, url):
        await http.request("GET", url)
        await http.request("GET", url)
        assert len(server.peers) == 1
        running = ensureDeferred(http.request("GET", url + "/wait"))
        await waiting
        await http.close()
        with pytest.raises(NoAnswerError, match=f"^GET {url}/wait: the master stops$"):
            await running
        with pytest.raises(NoAnswerError, match="the master stops"):
            await http.request("GET", url)
        assert len(server.asked) == 3


class Old(Protocol):
    """A server of HTTP/1.0: it keeps its end open, and closes the connection when a second request comes on it."""

    requests: list[bytes]
    has_answered = False

    def dataReceived(self, data: bytes) -> None:
        """A request, whole."""
        assert self.transport is not None
        if self.has_answered:
            self.transport.loseConnection()
            return
        self.has_answered = True
        self.requests.append(data.split()[0])
        self.transport.write(b"HTTP/1.0 201 Created\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("POST", {"json": 1}),
        ("PUT", {}),
        ("PATCH", {"data": "a"}),
        ("DELETE", {}),
        ("DELETE", {"json": 1}),
        ("GET", {}),
    ],
)
async def test_server_that_ends_kept_connections(method: str, options: dict[str, Any]) -> None:
    """A request is answered though the server closes each connection after one answer, and is obeyed once."""
    requests: list[bytes] = []
    server = Factory.forProtocol(type("OldHere", (Old,), {"requests": requests}))
    async with serving(server) as (http, url):
        for _ in range(3):
            assert (await http.request("GET", url)).status == 201
            assert (await http.request(method, url, **options)).status == 201
    assert requests == [b"GET", method.encode()] * 3


def make_certificate(directory: Path, name: str) -> Path:
    """A key and a certificate of its own for 127.0.0.1, or for another name; one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternative: x509.GeneralName = x509.DNSName(name)
    if name == "127.0.0.1":
        alternative = x509.IPAddress(ip_address(name))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    path = directory / f"{name}.pem"
    path.write_bytes(pem)
    return path


async def test_certificates(tmp_path: Path) -> None:
    """An untrusted certificate is refused, unless its file is given or checks are off.

    A connection that was not checked is not used by a request that checks.
    """
    pem = make_certificate(tmp_path, "127.0.0.1")
    async with serving(Site(Server()), PrivateCertificate.loadPEM(pem.read_text()).options()) as (http, url):
        assert (await http.request("GET", url, verify=False)).ok
        with pytest.raises(NoAnswerError, match="no TLS connection: certificate verify failed"):
            await http.request("GET", url)
        assert (await http.request("GET", url, ca_file=str(pem))).ok
        assert (await http.request("GET", url.replace("127.0.0.1", "localhost"), verify=False)).ok
        with pytest.raises(NoAnswerError, match="another name"):
            await http.request("GET", url.replace("127.0.0.1", "localhost"), ca_file=str(pem))


async def test_own_certificate(tmp_path: Path) -> None:
    """A server that asks for a certificate gets the client's."""
    pem, own = make_certificate(tmp_path, "127.0.0.1"), make_certificate(tmp_path, "client")
    options = PrivateCertificate.loadPEM(pem.read_text()).options(Certificate.loadPEM(own.read_bytes()))
    async with serving(Site(Server()), options) as (http, url):
        assert (await http.request("GET", url, ca_file=str(pem), cert_file=str(own))).ok
        assert (await http.request("GET", url, verify=False, cert_file=str(own), key_file=str(own))).ok
        with pytest.raises(HttpError):
            await http.request("GET", url, ca_file=str(pem))


@pytest.mark.parametrize("argument", ["ca_file", "cert_file"])
async def test_wrong_files(tmp_path: Path, argument: str) -> None:
    """A file of certificates that cannot be used is named."""
    http = HttpClient(reactor)
    missing, empty, broken = tmp_path / "missing", tmp_path / "empty", tmp_path / "broken"
    empty.write_text("")
    broken.write_text("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n")
    for path in (missing, empty, broken, tmp_path):
        with pytest.raises(ValueError, match=f"^{argument}: {path} "):
            await http.request("GET", "https://127.0.0.1/", **{argument: str(path)})  # type: ignore[arg-type]


async def test_session() -> None:
    """A session of an existing plugin: common arguments of requests, methods, answers."""
    server = Server(lambda _: b'{"a": 1}')
    session = HTTPSession(client(server), "http://x/api", auth=("u", "p"), headers={"A": "1"}, skip_encoding=True)
    session.update_headers({"B": "2"})
    for method in ("get", "delete", "post", "put"):
        answer = await getattr(session, method)("/p", params={"q": "1"}, headers={"C": "3"})
        assert (answer.code, answer.url) == (200, "http://x/api/p")
        assert (await answer.content(), await answer.json()) == (b'{"a": 1}', {"a": 1})
    assert [each["method"] for each in server.asked] == ["GET", "DELETE", "POST", "PUT"]
    asked = server.asked[0]
    assert asked["uri"] == "/api/p?q=1" and asked["headers"]["authorization"] == "Basic dTpw"
    assert [asked["headers"][each] for each in "abc"] == ["1", "2", "3"]
    await session.post("/p", json={"x": 1})
    await session.post("http://y/q", data={"x": 1})
    assert json.loads(server.asked[-2]["body"]) == {"x": 1} and server.asked[-1]["body"] == b"x=1"
    assert (server.asked[-1]["headers"]["host"], server.asked[-1]["uri"]) == ("y", "/q")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"base_url": "http://x/"}, "^base_url: "),
        ({"base_url": "x"}, "^base_url: "),
        ({"auth": object()}, r"^auth: a pair \(user, password\), not object"),
        ({"auth": ("u", None)}, r"^auth: a pair"),
        ({"verify": 1}, "^verify: True, False or the path of a file, not int"),
        ({"cert": ("a", "b", "c")}, "^cert: "),
    ],
)
def test_wrong_session(arguments: dict[str, Any], words: str) -> None:
    """An argument of a session that cannot be right is named when it is made."""
    with pytest.raises(ValueError, match=words):
        HTTPSession(client(Server()), **{"base_url": "http://x", **arguments})


async def test_wrong_requests_of_a_session() -> None:
    """An endpoint that is neither below the base URL nor a URL, and two bodies, are errors."""
    session = HTTPSession(client(Server()), "http://x")
    with pytest.raises(ValueError, match=r"^endpoint: 'p' must begin with a slash"):
        await session.get("p")
    with pytest.raises(ValueError, match=r"^json: excludes data"):
        await session.post("/p", json={}, data={})


async def test_older_service(master: FakeMaster) -> None:
    """``HTTPClientService.getService`` gives a session of the master's client, which ends with the master."""
    async with serving(Site(Server())) as (_, url):
        service = await HTTPClientService.getService(master, url, headers={"A": "1"})
        service.updateHeaders({"B": "2"})
        assert (await service.get("/")).code == 200
        await master.httpservice.close()
        with pytest.raises(NoAnswerError, match="the master stops"):
            await service.get("/")
