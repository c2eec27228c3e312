"""HTTP/1.1 on a socket: bytes in, a ``Request`` to the handler, its ``Response`` out.

llhttp (by httptools) says what the bytes mean, strictly: whatever two servers might read differently (both lengths and
chunks, bare newlines, blanks around names) is refused. This module does the rest: order, pace and bounds.

- Requests of a connection are answered one after the other, in the order in which they came. While some wait, nothing
  more is read.
- What a client may make the server keep is bounded: the head, the body, all bodies together, what all clients
  together have not fetched yet. A stream waits where its client does not keep up.
- Every wait for a client ends: for the rest of a request, for the next request, for somebody who does not read. One
  look at all connections per second sees to that.
- What is refused gets an answer that says why, and what still comes is thrown away for a moment, so that the answer
  arrives.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import httptools
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from buildbot.www import app
from buildbot.www.messages import Request, Response
from buildbot.www.ws import EventFactory

_log = Logger()

#: a longer body is refused
MAX_BODY_BYTES = 10 * 1024 * 1024
#: bodies on their way in, all connections together; beyond them the server is busy
MAX_BODIES_BYTES = 64 * 1024 * 1024
#: answers that clients have not fetched yet, all connections together; beyond them the server is busy
MAX_UNSENT_BYTES = 256 * 1024 * 1024
#: a longer request target, more header fields, a longer head are refused
MAX_TARGET_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_HEAD_BYTES = 64 * 1024
#: requests of a connection that may wait before nothing more is read from it
MAX_WAITING_REQUESTS = 16
#: a connection without a request in progress is closed after this
IDLE_TIMEOUT_S = 75
#: a request must be here, from its first byte to its last, within this
REQUEST_TIMEOUT_S = 60
#: a client that reads nothing of an answer for so long is dropped
STALL_TIMEOUT_S = 60
#: how long what a refused client still sends is thrown away
LINGER_S = 2
#: how long answers in progress may take when the server stops
GRACE_S = 2.0
#: how often deadlines are looked at
SWEEP_S = 1.0
#: a body is given to the transport in pieces of this size
PIECE_BYTES = 128 * 1024

Handler = Callable[[Request], Awaitable[Response]]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_UNSAFE = dict.fromkeys((*range(32), 127), " ")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}
#: what never has a body
_BODILESS = frozenset({204, 304})


class _Incoming:
    """A request while it arrives."""

    __slots__ = ("body", "expects", "headers", "keep_alive", "method", "received", "size", "target", "version")

    def __init__(self) -> None:
        self.method = ""
        self.target = b""
        self.version = "1.1"
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.received = 0
        self.keep_alive = True
        self.expects = False


@implementer(IPushProducer, IHalfCloseableProtocol)
class Connection(Protocol):
    """One client."""

    factory: Front
    #: by the reactor's clock; infinite while it is the server that works
    deadline: float

    def connectionMade(self) -> None:
        """A client is there."""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._incoming: _Incoming | None = None
        self._in_head = False
        self._headers_seen = 0
        self._refusal: tuple[int, str] | None = None
        self._waiting: deque[_Incoming] = deque()
        self._serving: Deferred[None] | None = None
        self._streaming = False
        self._stalled: Deferred[None] | None = None
        self._closing = False
        self._lingering = False
        self._half_closed = False
        #: what the connection was handed over to
        self._socket: Any = None
        self.factory.add(self)
        self._wait(IDLE_TIMEOUT_S)
        self._transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes, at most what the transport reads at once (64 KiB)."""
        if self._socket is not None:
            self._socket.dataReceived(data)
            return
        if self._lingering or self._closing:
            return
        continued = self._incoming
        rest = b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
            if self._waiting:
                # Whatever it wants to speak from here on, only a WebSocket is spoken here.
                self._waiting[-1].keep_alive = False
        except httptools.HttpParserCallbackError:
            _log.failure("reading a request failed")
            self._refuse_later(500, "internal error - see logs")
        except httptools.HttpParserInvalidMethodError:
            self._refuse_later(400, "invalid HTTP method")
        except httptools.HttpParserError:
            self._refuse_later(400, "this is not HTTP/1.1")
        if continued is not None and continued is self._incoming:
            continued.received += len(data)
            # All but the body, which may come a byte to a chunk: the head, the fields after the last chunk.
            if continued.received - 8 * continued.size > MAX_HEAD_BYTES:
                self._refuse_later(431, "the request's header fields are too long")
        if self._waiting and self._serving is None and self._is_handshake(self._waiting[0]):
            self._hand_over(self._waiting.popleft(), rest)
            return
        self._go_on()

    def readConnectionLost(self) -> None:
        """The client sends no more; what it has asked for is still answered."""
        if self._socket is not None:
            self._transport.loseConnection()
            return
        self._half_closed = True
        if self._serving is None:
            self._close()

    def writeConnectionLost(self) -> None:
        """Our end of a refused connection is closed; the client's follows, or the deadline."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client is gone."""
        self.factory.discard(self)
        self._release_bodies()
        if self._socket is not None:
            self._socket.connectionLost(reason)
            return
        self._closing = True
        self._waiting.clear()
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()

    # -- what the parser says -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._incoming = _Incoming()
        self._in_head = True
        self._headers_seen = 0
        if self._serving is None and not self._waiting:
            self._wait(REQUEST_TIMEOUT_S)

    def on_url(self, target: bytes) -> None:
        """(A part of) the target."""
        incoming = self._incoming
        assert incoming is not None
        incoming.target += target
        if len(incoming.target) > MAX_TARGET_BYTES:
            self._refuse_later(414, "the request's target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field; also one that follows a body in chunks, which means nothing here."""
        if not self._in_head:
            return
        incoming = self._incoming
        assert incoming is not None
        self._headers_seen += 1
        if self._headers_seen > MAX_HEADERS:
            self._refuse_later(431, "the request has too many header fields")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("utf-8", "replace")
        headers = incoming.headers
        if key in headers:
            if key == "host":
                self._refuse_later(400, "the request has several Host fields")
            text = f"{headers[key]}, {text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._in_head = False
        incoming = self._incoming
        assert incoming is not None
        parser, headers = self._parser, incoming.headers
        incoming.method = parser.get_method().decode("latin-1")
        incoming.version = parser.get_http_version()
        incoming.keep_alive = parser.should_keep_alive()
        if incoming.version not in ("1.1", "1.0"):
            self._refuse_later(505, "this is a server for HTTP/1.1")
        elif incoming.version == "1.1" and "host" not in headers:
            self._refuse_later(400, "the request has no Host field")
        elif incoming.version == "1.0" and "transfer-encoding" in headers:
            self._refuse_later(400, "HTTP/1.0 has no Transfer-Encoding")
        elif int(headers.get("content-length") or 0) > MAX_BODY_BYTES:
            self._refuse_later(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        elif "expect" in headers and incoming.version == "1.1":
            if headers["expect"].lower() != "100-continue":
                self._refuse_later(417, "the only expectation that can be met is 100-continue")
            incoming.expects = True

    def on_body(self, part: bytes) -> None:
        """A part of the body."""
        incoming = self._incoming
        assert incoming is not None
        if self._refusal is not None:
            return
        incoming.size += len(part)
        self.factory.body_bytes += len(part)
        incoming.body.append(part)
        if incoming.size > MAX_BODY_BYTES:
            self._refuse_later(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        elif self.factory.body_bytes > MAX_BODIES_BYTES:
            self._refuse_later(503, "too much is being sent to this server; try again")

    def on_message_complete(self) -> None:
        """All of the request is here."""
        incoming, self._incoming = self._incoming, None
        assert incoming is not None
        if self._refusal is None:
            self._waiting.append(incoming)
        else:
            self.factory.body_bytes -= incoming.size

    # -- one after the other ------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Serve what waits; where nothing does, say what is wrong or wait for more."""
        if self._lingering:
            return
        while self._waiting and self._serving is None and self._stalled is None and not self._closing:
            self._serve(self._waiting.popleft())
        if self._serving is not None or self._waiting or self._closing:
            if len(self._waiting) > MAX_WAITING_REQUESTS or self._stalled is not None:
                self._transport.pauseProducing()
            return
        if self._refusal is not None:
            self._refuse(*self._refusal)
            return
        self._transport.resumeProducing()
        incoming = self._incoming
        if incoming is None:
            if self._half_closed:
                self._close()
            self._wait(IDLE_TIMEOUT_S)
            return
        if self.deadline == float("inf"):
            self._wait(REQUEST_TIMEOUT_S)
        if incoming.expects and not self._in_head:
            incoming.expects = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, incoming: _Incoming) -> None:
        self.deadline = float("inf")
        problem = _problem_with(incoming.target)
        if problem is not None or self.factory.unsent_bytes > MAX_UNSENT_BYTES:
            status, why = problem or (503, "too many clients do not fetch their answers; try again")
            self.factory.refused += 1
            self._take_body(incoming)
            serving = ensureDeferred(self._send(incoming, app.plain_error(status, why)))
        else:
            serving = ensureDeferred(self._answer(incoming))
        self._serving = serving
        serving.addCallbacks(self._served, self._failed, callbackArgs=(incoming,))

    async def _answer(self, incoming: _Incoming) -> None:
        request = self._request_of(incoming)
        try:
            response = await self.factory.handler(request)
        except CancelledError:
            raise
        except Exception:
            _log.failure("a request failed")
            response = app.internal_error()
        await self._send(incoming, response)

    async def _send(self, incoming: _Incoming, response: Response) -> None:
        body, write = response.body, self._transport.write
        if isinstance(body, bytes):
            head = self._head(incoming, response, len(body))
            if incoming.method == "HEAD" or response.status in _BODILESS:
                write(head)
            elif len(body) <= PIECE_BYTES:
                write(head + body)
            else:
                write(head)
                await self._send_pieces(body)
        elif incoming.method == "HEAD":
            write(self._head(incoming, response, None))
            await body.aclose()
        else:
            chunked = incoming.version == "1.1"
            # Nothing else tells a client of HTTP/1.0 where the body ends.
            incoming.keep_alive = incoming.keep_alive and chunked
            write(self._head(incoming, response, None))
            await self._stream(body, chunked)

    def _head(self, incoming: _Incoming, response: Response, length: int | None) -> bytes:
        """The status line and the header fields of an answer; ``length`` None: the body is a stream."""
        if self._half_closed or self.factory.stopping:
            incoming.keep_alive = False
        lines = [_STATUS_LINES[response.status]]
        for name, value in response.headers:
            line = f"{name}: {value}"
            # A value that would end its line could add fields, or another answer.
            lines.append(line if line.isprintable() else line.translate(_UNSAFE))
        if length is None:
            if incoming.method != "HEAD" and incoming.version == "1.1":
                lines.append("Transfer-Encoding: chunked")
        elif response.status not in _BODILESS:
            lines.append(f"Content-Length: {length}")
        if not incoming.keep_alive:
            lines.append("Connection: close")
        elif incoming.version == "1.0":
            lines.append("Connection: keep-alive")
        lines.append(self.factory.date())
        lines.append("\r\n")
        return "\r\n".join(lines).encode("latin-1", "replace")

    async def _send_pieces(self, body: bytes) -> None:
        """A long body, a piece at a time: while the client takes it, it is not stalled."""
        for start in range(0, len(body), PIECE_BYTES):
            if self._stalled is not None:
                await self._wait_for_client(len(body) - start)
            self._transport.write(body[start : start + PIECE_BYTES])

    async def _stream(self, body: AsyncGenerator[bytes, None], chunked: bool) -> None:
        """A body as it comes, and wait where the client does not keep up."""
        self._streaming = True
        write = self._transport.write
        try:
            async for chunk in body:
                if chunk:
                    write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    if self._stalled is not None:
                        await self._wait_for_client(len(chunk))
            if chunked:
                write(b"0\r\n\r\n")
        finally:
            self._streaming = False
            await body.aclose()

    async def _wait_for_client(self, unsent: int) -> None:
        """Until the client has fetched what it was sent, while so many bytes are kept for it."""
        self.factory.unsent_bytes += unsent
        try:
            while self._stalled is not None:
                await self._stalled
        finally:
            self.factory.unsent_bytes -= unsent

    def _served(self, result: None, incoming: _Incoming) -> None:
        self._serving = None
        if not incoming.keep_alive:
            self._close()
        elif self._stalled is None:
            if self._waiting or self._refusal is not None or self._incoming is not None or self._half_closed:
                # Later: a client that sends many requests at once does not make the stack deep.
                self.factory.reactor.callLater(0, self._go_on)
            else:
                self._transport.resumeProducing()
                self._wait(IDLE_TIMEOUT_S)

    def _failed(self, failure: Failure) -> None:
        self._serving = None
        if self._closing and failure.check(CancelledError) is not None:
            return  # the client is gone
        _log.failure("a reply broke off", failure)
        self._transport.abortConnection()

    def _request_of(self, incoming: _Incoming) -> Request:
        path, _, query = _ABSOLUTE.sub(b"", incoming.target, count=1).partition(b"?")
        return Request(
            incoming.method,
            path.decode("latin-1") or "/",
            query.decode("latin-1"),
            incoming.headers,
            self._take_body(incoming),
        )

    def _take_body(self, incoming: _Incoming) -> bytes:
        self.factory.body_bytes -= incoming.size
        body, incoming.body, incoming.size = b"".join(incoming.body), [], 0
        return body

    def _release_bodies(self) -> None:
        for incoming in (*self._waiting, *([self._incoming] if self._incoming is not None else [])):
            self._take_body(incoming)

    # -- the end ------------------------------------------------------------------------------------

    def _refuse_later(self, status: int, why: str) -> None:
        """Answer so once the requests before are answered; read no more."""
        if self._refusal is None:
            self._refusal = (status, why)

    def _refuse(self, status: int, why: str) -> None:
        incoming = _Incoming()
        incoming.keep_alive = False
        self._release_bodies()
        self._incoming = None
        self._lingering = True
        self.factory.refused += 1
        self._wait(LINGER_S)
        self._transport.resumeProducing()
        answer = app.plain_error(status, why)
        assert isinstance(answer.body, bytes)
        self._transport.write(self._head(incoming, answer, len(answer.body)) + answer.body)
        if ISSLTransport.providedBy(self._transport):
            self._lose()
        else:
            self._transport.loseWriteConnection()

    def _close(self) -> None:
        self._closing = True
        self._wait(STALL_TIMEOUT_S)
        self._lose()

    def _lose(self) -> None:
        """Close once everything is sent; TLS waits for whoever produces more."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def _wait(self, seconds: float) -> None:
        self.deadline = self.factory.seconds() + seconds

    def expired(self) -> None:
        """The deadline has passed."""
        if self._lingering or self._closing or self._stalled is not None:
            self._transport.abortConnection()
        elif self._incoming is not None:
            self._refuse(408, "the request did not arrive in time")
        else:
            self._close()

    def retire(self) -> None:
        """The server stops: answers in progress are given, nothing else."""
        if self._socket is not None or self._streaming:
            self.abort()
        elif self._serving is None:
            self._close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._socket is not None:
            self._socket.dropConnection(abort=True)
        else:
            self._transport.abortConnection()

    # -- pace ---------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        if self._stalled is None:
            self._stalled = Deferred()
            self._wait(STALL_TIMEOUT_S)

    def resumeProducing(self) -> None:
        """The client has read what the transport held."""
        waiting, self._stalled = self._stalled, None
        if waiting is not None and not self._closing and not self._lingering:
            self.deadline = float("inf")
            waiting.callback(None)
            if self._serving is None:
                self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` follows."""

    # -- WebSocket ----------------------------------------------------------------------------------

    def _is_handshake(self, incoming: _Incoming) -> bool:
        return self.factory.sockets is not None and incoming.target.partition(b"?")[0] == b"/ws"

    def _hand_over(self, incoming: _Incoming, rest: bytes) -> None:
        """From here on the bytes are autobahn's: it gets the handshake as it came, and answers it."""
        assert self.factory.sockets is not None
        self.deadline = float("inf")
        self._take_body(incoming)
        transport = self._transport
        transport.unregisterProducer()
        self._socket = self.factory.sockets.buildProtocol(transport.getPeer())
        lines = [f"{incoming.method} {incoming.target.decode('latin-1')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in incoming.headers.items()]
        self._socket.makeConnection(transport)
        self._socket.dataReceived("\r\n".join([*lines, "", ""]).encode() + rest)

    @property
    def _transport(self) -> Any:
        return self.transport


class Front(ServerFactory):
    """Listens; hands every request to ``handler``, and WebSocket handshakes to ``sockets``."""

    noisy = False

    def __init__(self, reactor: Any, handler: Handler, sockets: EventFactory | None) -> None:
        self.reactor = reactor
        self.handler = handler
        self.sockets = sockets
        self.connections: set[Connection] = set()
        #: bytes of bodies that are on their way in, and of answers that are not on their way out yet
        self.body_bytes = 0
        self.unsent_bytes = 0
        #: requests refused here
        self.refused = 0
        self.stopping = False
        self.seconds: Callable[[], float] = reactor.seconds
        self._date = (0, "")
        self._sweeps = LoopingCall(self._sweep)
        self._sweeps.clock = reactor
        self._all_gone: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A new connection."""
        connection = Connection()
        connection.factory = self
        return connection

    def add(self, connection: Connection) -> None:
        """A client has come."""
        self.connections.add(connection)
        if not self._sweeps.running:
            self._sweeps.start(SWEEP_S, now=False)

    def discard(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.discard(connection)
        if not self.connections:
            if self._sweeps.running:
                self._sweeps.stop()
            gone, self._all_gone = self._all_gone, None
            if gone is not None:
                gone.callback(None)

    def stop(self) -> Deferred[None]:
        """Let answers in progress be given, for a moment, then drop all connections, WebSockets included; Deferred."""
        self.stopping = True
        for connection in list(self.connections):
            connection.retire()
        if not self.connections:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        timer = self.reactor.callLater(GRACE_S, self.abort_all)

        def cancel(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return gone.addBoth(cancel)

    def date(self) -> str:
        """The ``Date`` field, now."""
        now = int(self.seconds())
        if now != self._date[0]:
            self._date = (now, f"Date: {formatdate(usegmt=True)}")
        return self._date[1]

    def _sweep(self) -> None:
        now = self.seconds()
        for connection in [one for one in self.connections if one.deadline < now]:
            connection.expired()

    def abort_all(self) -> None:
        """Drop all connections at once, WebSockets included."""
        for connection in list(self.connections):
            connection.abort()


def _problem_with(target: bytes) -> tuple[int, str] | None:
    """What is wrong with a request's target: escapes that mean nothing, or bytes that are no text."""
    if b"%" in target:
        if _BAD_ESCAPE.search(target):
            return 400, "the request's target has a bad percent-encoding"
        try:
            unquote_to_bytes(target.replace(b"+", b" ")).decode()
        except UnicodeDecodeError:
            return 400, "the request's target is not UTF-8"
    return None


__all__ = ["MAX_BODY_BYTES", "Connection", "Front", "Handler"]
