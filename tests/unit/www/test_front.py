"""Attacks of a client by bytes alone: invalid requests, slowness, large amounts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.logger import capturedLogs

from buildbot.util.tcp import listen
from buildbot.www.app import plain_error
from buildbot.www.http import connection as connections
from buildbot.www.http import parser as parsing
from buildbot.www.http import server as serving_http
from buildbot.www.http.messages import Request, Response
from buildbot.www.http.server import HttpServer
from tests.support.reactor import reactor
from tests.unit.www.clients import raw, turn, until

HEAD = b"Host: x\r\nConnection: close\r\n"


class Echo:
    """A handler that answers with the request, and keeps it."""

    def __init__(self) -> None:
        self.got: list[Request] = []
        self.held: Deferred[None] | None = None
        self.response: Response | None = None

    async def __call__(self, request: Request) -> Response:
        self.got.append(request)
        if self.held is not None:
            await self.held
        if request.path == "/broken":
            raise RuntimeError("secret details")
        if self.response is not None:
            return self.response
        return Response(200, (("Content-Type", "text/plain"),), f"{request.method} {request.path}".encode())


@asynccontextmanager
async def serving(handler: Any = None, description: str = "tcp:0:interface=127.0.0.1") -> AsyncIterator[Any]:
    server = HttpServer(reactor, handler or Echo(), plain_error, None)
    port: Any = await listen(reactor, description, server)
    try:
        yield server, getattr(port.getHost(), "port", None)
    finally:
        await port.stopListening()
        await server.stop()


class Client(Protocol):
    """A connection that keeps the received bytes and can stop reading."""

    transport: tcp.Connection

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(None)


async def client(port: int) -> Any:
    return await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Client())


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


BAD_REQUESTS = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "binary": (bytes(range(256)) * 4, 400),
    "TLS to a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "unknown method": (b"BREW / HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "another version": (b"GET / HTTP/3.0\r\n" + HEAD + b"\r\n", 400),
    "HTTP/2 by prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "bare newlines": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "blank before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    "control character in a header": (b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunks and length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "negative length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    "length with a sign": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na", 400),
    "immense length": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "chunks that are not last": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, x\r\n\r\n", 400),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bad chunk size": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    "chunk size with a sign": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    "bad percent-encoding": (b"GET /a%zz HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "cut percent-encoding": (b"GET /?a=%1 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "percent-encoding of no text": (b"GET /%ff%fe HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
    "long target": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n", 414),
    "many headers": (b"GET / HTTP/1.1\r\n" + HEAD + b"A: b\r\n" * 200 + b"\r\n", 431),
    "unknown expectation": (b"POST / HTTP/1.1\r\nHost: x\r\nExpect: cake\r\nContent-Length: 1\r\n\r\na", 417),
    "body that is announced too long": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n", 413),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
async def test_rubbish(name: str) -> None:
    """An invalid request gets its status, reaches no handler, and ends the connection."""
    sent, expected = BAD_REQUESTS[name]
    echo = Echo()
    with capturedLogs() as events:
        async with serving(echo) as (_, port):
            reply = await raw(port, sent + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status(reply) == expected
    assert reply.count(b"HTTP/1.1 ") == 1 or (expected == 400 and b"%" in sent)
    assert b"Traceback" not in reply
    assert not echo.got
    assert not [event for event in events if event.get("log_failure")]


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_any_cut(cut: int) -> None:
    """It does not matter how the bytes of a request come."""
    sent = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Long: abcdef\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    echo = Echo()
    async with serving(echo) as (_, port):
        one = await client(port)
        for start in range(0, len(sent), cut):
            one.transport.write(sent[start : start + cut])
            await turn()
        await one.lost
    (request,) = echo.got
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a", "b=c", b"hello")
    assert request.headers["x-long"] == "abcdef"
    assert one.data.endswith(b"POST /a")


async def test_pipelining() -> None:
    """Requests sent at once are answered one after the other, in their order."""
    async with serving() as (_, port):
        sent = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(500))
        reply = await raw(port, sent + b"GET /last HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert re.findall(rb"GET /(\w+?)(?:HTTP|$)", reply) == [b"%d" % number for number in range(500)] + [b"last"]


async def test_rubbish_behind_requests() -> None:
    """Requests before the invalid bytes are answered before the refusal."""
    async with serving() as (_, port):
        reply = await raw(port, b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\nrubbish\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", reply) == [b"200", b"200", b"400"]


async def test_chunked_body() -> None:
    """A body in chunks is put together; the bytes after it are the next request."""
    echo = Echo()
    async with serving(echo) as (_, port):
        chunks = b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n"
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        reply = await raw(port, head + chunks + b"GET /b HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert [(request.path, request.body) for request in echo.got] == [("/a", b"hello!"), ("/b", b"")]
    assert "trailer" not in echo.got[0].headers
    assert reply.count(b"200 OK") == 2


async def test_expect_continue() -> None:
    """A client that sends ``Expect: 100-continue`` gets the status 100."""
    async with serving() as (_, port):
        one = await client(port)
        one.transport.write(b"POST /a HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        await until(lambda: b"\r\n\r\n" in one.data)
        assert one.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.transport.write(b"hi")
        await one.lost
        assert b"200 OK" in one.data


async def test_http_1_0() -> None:
    """The old protocol closes after each answer unless asked to keep the connection; streams end with it."""

    async def body() -> Any:
        yield b"one"
        yield b"two"

    echo = Echo()
    async with serving(echo) as (_, port):
        assert (await raw(port, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"GET /")
        kept = await raw(port, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n")
        assert kept.count(b"200 OK") == 2
        echo.response = Response(200, (), body())
        assert (await raw(port, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")).endswith(b"\r\n\r\nonetwo")


async def test_absolute_target() -> None:
    """A target with scheme and host, as proxies write it, means its path."""
    echo = Echo()
    async with serving(echo) as (_, port):
        await raw(port, b"GET http://x:1/a/b?c HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert (echo.got[0].path, echo.got[0].query) == ("/a/b", "c")


async def test_unknown_upgrade() -> None:
    """An offer to speak something else is not taken; the request is answered and the connection ends."""
    async with serving() as (_, port):
        sent = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nwhatever"
        reply = await raw(port, sent)
    assert status(reply) == 200
    assert b"Connection: close" in reply


async def test_no_header_injection() -> None:
    """A value cannot end its line."""
    echo = Echo()
    echo.response = Response(200, (("X-Name", "a\r\nSet-Cookie: b\r\n\r\nbody\0"),), b"ok")
    async with serving(echo) as (_, port):
        reply = await raw(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")
    assert b"X-Name: a  Set-Cookie: b    body \r\n" in head
    assert body == b"ok"


async def test_no_stack_trace() -> None:
    """A handler that fails is a 500 that says nothing; the log has the reason, the connection goes on."""
    with capturedLogs() as events:
        async with serving() as (_, port):
            reply = await raw(port, b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", reply) == [b"500", b"200"]
    assert b"secret" not in reply
    assert any("secret" in str(event.get("log_failure")) for event in events)


async def test_100_mb_body() -> None:
    """A body far over the limit is refused at once, however it is sent, and not kept."""
    async with serving() as (served, port):
        for head in (b"Content-Length: 104857600", b"Transfer-Encoding: chunked"):
            one = await client(port)
            one.transport.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            piece = b"x" * 65536
            block = piece if b"Length" in head else b"%x\r\n%b\r\n" % (len(piece), piece)
            sent = 0
            while not one.data:
                one.transport.write(block)
                sent += len(piece)
                assert sent < 100 * 1024 * 1024
                await turn()
            assert status(one.data) == 413
            assert served.bodies.bytes == 0
            one.transport.abortConnection()


async def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many uploads at once do not add up: beyond a bound the server is busy, and afterwards it is not."""
    monkeypatch.setattr(parsing, "MAX_BODIES_BYTES", 100_000)
    async with serving() as (served, port):
        clients = [await client(port) for _ in range(4)]
        for one in clients:
            one.transport.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"x" * 40_000)
        await until(lambda: any(b"503" in one.data for one in clients))
        assert served.bodies.bytes <= 100_000
        for one in clients:
            one.transport.abortConnection()
        await until(lambda: not served.connections)
        assert served.bodies.bytes == 0


@pytest.mark.parametrize("part", ["a header", "a trailer"])
async def test_endless_fields(part: str) -> None:
    """A header field without an end is refused, and so is one behind the last chunk."""
    async with serving() as (_, port):
        one = await client(port)
        one.transport.write(b"POST / HTTP/1.1\r\nHost: x\r\n")
        if part == "a trailer":
            one.transport.write(b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        one.transport.write(b"X-Long: ")
        while not one.data:
            one.transport.write(b"x" * 4096)
            await turn()
        assert status(one.data) == 431
        one.transport.abortConnection()


@pytest.mark.parametrize(
    "sent",
    [b"G", b"GET / HTTP/1.1\r\nHost: x\r\nA", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx"],
    ids=["a byte", "half a head", "half a body"],
)
async def test_slow_requests(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """A request that does not come to its end is answered 408, and the connection ends."""
    monkeypatch.setattr(connections, "REQUEST_TIMEOUT_S", 0.01)
    monkeypatch.setattr(serving_http, "SWEEP_S", 0.01)
    async with serving() as (served, port):
        assert status(await raw(port, sent)) == 408
        await until(lambda: not served.connections)


async def test_idle_connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is asked is closed, before and after a request."""
    monkeypatch.setattr(connections, "IDLE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(serving_http, "SWEEP_S", 0.01)
    async with serving() as (_, port):
        assert await raw(port, b"") == b""
        assert status(await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == 200


async def test_clients_that_do_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unread answers have a limit for all clients together; beyond it clients are dropped."""
    monkeypatch.setattr(connections, "MAX_UNSENT_BYTES", 60_000_000)
    echo = Echo()
    echo.response = Response(200, (), b"x" * 30_000_000)
    async with serving(echo) as (served, port):
        greedy = [await client(port) for _ in range(3)]
        for one in greedy:
            one.transport.pauseProducing()
            one.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: served.unsent_bytes > 60_000_000)
        assert status(await raw(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")) == 503
        for connection in list(served.connections):
            if connection.deadline != float("inf"):
                connection.expired()
        await until(lambda: not served.connections)
        assert served.unsent_bytes == 0


async def test_short_answers_are_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an answer that the socket takes at once, the reactor is told neither to write nor to read again."""
    told: list[str] = []
    async with serving() as (served, port):
        one = await client(port)
        await until(lambda: len(served.connections) == 1)
        (connection,) = served.connections
        for name in ("startWriting", "startReading"):
            monkeypatch.setattr(connection.transport, name, partial(told.append, name))
        for number in range(1, 6):
            one.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(partial(_has, one, number))
        monkeypatch.undo()
    assert told == []


def _has(one: Client, answers: int) -> bool:
    return one.data.count(b"GET /") == answers


async def test_answers_that_the_socket_takes_in_parts() -> None:
    """Whole answers come in their order, long ones and short ones, however much the socket takes of each."""

    async def handler(request: Request) -> Response:
        number = int(request.path[1:])
        return Response(200, (), b"<%d>" % number + b"x" * (number % 3 * 50_000))

    async with serving(handler) as (served, port):
        one = await client(port)
        one.transport.pauseProducing()
        count = 300
        for number in range(count):
            one.transport.write(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
        await until(lambda: any(each._stalled is not None for each in served.connections))
        one.transport.resumeProducing()
        await until(lambda: b"<%d>" % (count - 1) in one.data and one.data.endswith(b"x" * 100_000))
    bodies = re.findall(rb"\r\n\r\n<(\d+)>(x*)", one.data)
    assert [int(number) for number, _ in bodies] == list(range(count))
    assert [len(text) for _, text in bodies] == [number % 3 * 50_000 for number in range(count)]


async def test_stalled_stream_waits() -> None:
    """A stream is made no faster than it is read."""
    made = 0

    async def body() -> Any:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 65536

    echo = Echo()
    echo.response = Response(200, (), body())
    async with serving(echo) as (_, port):
        one = await client(port)
        one.transport.pauseProducing()
        one.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        before = -1
        while made != before:
            before = made
            for _ in range(50):
                await turn()
        assert made < 500
        one.transport.resumeProducing()
        await until(lambda: made > before + 10)
        one.transport.abortConnection()


async def test_requests_wait_for_their_turn() -> None:
    """While one request is served nothing is read beyond a few more: memory does not grow."""
    echo = Echo()
    echo.held = Deferred()
    async with serving(echo) as (served, port):
        one = await client(port)
        one.transport.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 200_000)
        await until(lambda: bool(echo.got))
        for _ in range(200):
            await turn()
        (connection,) = served.connections
        assert len(connection._reader.waiting) < 5_000
        held, echo.held = echo.held, None
        held.callback(None)
        await until(lambda: len(echo.got) > 20_000)
        one.transport.abortConnection()


async def test_a_client_that_leaves_ends_its_request() -> None:
    """The handler's work is cancelled when its client is gone."""
    echo = Echo()
    cancelled: list[bool] = []
    echo.held = Deferred(lambda _: cancelled.append(True))
    async with serving(echo) as (served, port):
        one = await client(port)
        one.transport.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: bool(echo.got))
        one.transport.abortConnection()
        await until(lambda: not served.connections)
        assert cancelled


async def test_a_reply_that_breaks_off() -> None:
    """A stream that fails ends the connection without the end of its body, and the log says why."""

    async def body() -> Any:
        yield b"one"
        raise RuntimeError("the disk is gone")

    echo = Echo()
    echo.response = Response(200, (), body())
    with capturedLogs() as events:
        async with serving(echo) as (_, port):
            reply = await raw(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not reply.endswith(b"0\r\n\r\n")
    assert b"disk" not in reply
    assert any("disk" in str(event.get("log_failure")) for event in events)


async def test_half_closed_client_gets_its_answer() -> None:
    """A client may close its end after the request."""
    echo = Echo()
    echo.held = Deferred()
    async with serving(echo) as (_, port):
        one = await client(port)
        one.transport.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        one.transport.loseWriteConnection()
        await until(lambda: bool(echo.got))
        held, echo.held = echo.held, None
        held.callback(None)
        await one.lost
        assert one.data.endswith(b"GET /a")


async def test_stop_lets_answers_finish() -> None:
    """When the server stops, answers under way are finished; idle connections end at once."""
    echo = Echo()
    echo.held = Deferred()
    async with serving(echo) as (served, port):
        idle, busy = await client(port), await client(port)
        busy.transport.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: bool(echo.got))
        stopped = served.stop()
        await idle.lost
        assert not stopped.called
        echo.held.callback(None)
        await busy.lost
        assert b"Connection: close" in busy.data
        assert busy.data.endswith(b"GET /a")
        await stopped


async def test_many_slow_clients() -> None:
    """Hundreds of clients that dribble do not keep others from being served."""
    async with serving() as (served, port):
        slow = [await client(port) for _ in range(400)]
        for one in slow:
            one.transport.write(b"GET / HTTP/1.1\r\nHost: x\r\nA: ")
        await until(lambda: len(served.connections) == 400)
        for number in range(50):
            slow[number].transport.write(b"b")
            assert status(await raw(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")) == 200
        for one in slow:
            one.transport.abortConnection()
        await until(lambda: not served.connections)


async def test_unix_socket(tmp_path: Path) -> None:
    """Endpoint descriptions other than TCP work too."""
    path = tmp_path / "s"
    async with serving(description=f"unix:{path}"):
        from twisted.internet.endpoints import UNIXClientEndpoint

        one: Any = await connectProtocol(UNIXClientEndpoint(reactor, str(path)), Client())
        one.transport.write(b"GET /a HTTP/1.1\r\n" + HEAD + b"\r\n")
        await one.lost
        assert one.data.endswith(b"GET /a")


async def test_tls(tmp_path: Path) -> None:
    """``ssl:`` descriptions work, with long answers and refusals."""
    import subprocess

    from twisted.internet.endpoints import wrapClientTLS
    from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *making.split(), *files], check=True, capture_output=True)
    issuer = Certificate.loadPEM(certificate.read_bytes())
    echo = Echo()
    echo.response = Response(200, (), b"x" * 3_000_000)
    description = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"

    async def ask(port: int, sent: bytes) -> bytes:
        trusting = optionsForClientTLS("localhost", trustRoot=trustRootFromCertificates([issuer]))
        endpoint = wrapClientTLS(trusting, TCP4ClientEndpoint(reactor, "127.0.0.1", port))
        one: Any = await connectProtocol(endpoint, Client())
        one.transport.write(sent)
        await one.lost
        data: bytes = one.data
        return data

    async with serving(echo, description) as (_, port):
        reply = await ask(port, b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert len(reply.partition(b"\r\n\r\n")[2]) == 3_000_000
        assert status(await ask(port, b"rubbish\r\n\r\n")) == 400
