"""One client's connection: bytes in, a ``Request`` to the handler, its ``Response`` out.

- Requests of a connection are answered one after the other, in the order in which they came. While some wait, nothing
  more is read.
- A stream waits when its client reads too slowly, and the unread answers of all clients together are bounded.
- Every wait for a client ends: for the rest of a request, for the next request, for a client that does not read.
- A refused request gets an answer with the reason. Then the client's further bytes are thrown away for a moment, so
  that the answer arrives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any
from typing import Protocol as Shape

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from buildbot.util.tcp import QuickServer
from buildbot.www.http.head import BODILESS, head
from buildbot.www.http.messages import Request, Response
from buildbot.www.http.parser import Bodies, Incoming, Reader

_log = Logger()

#: bytes of answers that clients have not read yet, all connections together; beyond it the server is busy
MAX_UNSENT_BYTES = 256 * 1024 * 1024
#: requests of a connection that may wait before nothing more is read from it
MAX_WAITING_REQUESTS = 16
#: a connection without a request in progress is closed after this
IDLE_TIMEOUT_S = 75
#: a request must be here, from its first byte to its last, within this
REQUEST_TIMEOUT_S = 60
#: a client that reads nothing of an answer for this time is dropped
STALL_TIMEOUT_S = 60
#: how long the further bytes of a refused client are thrown away
LINGER_S = 2
#: a body is given to the transport in pieces of this size
PIECE_BYTES = 128 * 1024


class Transport(Shape):
    """A transport: TCP, TLS or a Unix socket."""

    def getPeer(self) -> object:
        """The address of the client."""

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the socket takes them."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Tell the producer when to pause."""

    def unregisterProducer(self) -> None:
        """Tell the producer no more."""

    def pauseProducing(self) -> None:
        """Read no more for now."""

    def resumeProducing(self) -> None:
        """Read again."""

    def loseConnection(self) -> None:
        """Close once all is sent."""

    def loseWriteConnection(self) -> None:
        """Send no more once all is sent."""

    def abortConnection(self) -> None:
        """Close at once."""


class Upgraded(Shape):
    """A protocol that takes over a connection whose client asks for a WebSocket."""

    async def handshake(self, request: Request) -> Response:
        """The response to the handshake: 101 if the client gets the WebSocket."""

    def makeConnection(self, transport: Transport) -> None:
        """The client has the answer."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes that came after the handshake."""

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection is gone."""

    def abort(self) -> None:
        """Drop the connection at once."""


class Upgrades(Shape):
    """Makes the WebSockets."""

    def client(self) -> Upgraded:
        """A protocol for a connection that asks for it."""


class Shared(Shape):
    """The state that all connections of a server share; see `buildbot.www.http.server.HttpServer`."""

    reactor: IReactorTime
    handler: Callable[[Request], Awaitable[Response]]
    refusal: Callable[[int, str], Response]
    bodies: Bodies
    unsent_bytes: int
    refused: int
    stopping: bool
    seconds: Callable[[], float]

    @property
    def sockets(self) -> Upgrades | None:
        """Makes WebSockets; None if there are none."""

    def add(self, connection: Connection) -> None:
        """A client has come."""

    def discard(self, connection: Connection) -> None:
        """A client has gone."""

    def date(self) -> str:
        """The ``Date`` field, now."""


@implementer(IPushProducer, IHalfCloseableProtocol)
class Connection(Protocol):
    """One client."""

    factory: Shared
    #: the deadline by the reactor's clock; infinite while the server works on a request
    deadline: float

    def connectionMade(self) -> None:
        """A client is there."""
        self._reader = Reader(self.factory.bodies, str(getattr(self._transport.getPeer(), "host", "")))
        self._serving: Deferred[None] | None = None
        self._streaming = False
        self._stalled: Deferred[None] | None = None
        self._closing = False
        self._lingering = False
        self._half_closed = False
        #: the protocol that took over the connection, and the bytes that came before
        self._socket: Upgraded | None = None
        self._behind: bytes | None = None
        transport = self._transport
        #: writes a whole answer, to the socket at once where that can be
        self._write_whole: Callable[[bytes], None] = (
            transport.send if isinstance(transport, QuickServer) else transport.write
        )
        #: whether nothing more is read for now
        self._paused = False
        self.factory.add(self)
        self._wait(IDLE_TIMEOUT_S)
        self._transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes, at most what the transport reads at once (64 KiB)."""
        if self._socket is not None:
            self._socket.dataReceived(data)
            return
        if self._behind is not None:
            self._behind += data
            return
        if self._lingering or self._closing:
            return
        reader, continued = self._reader, self._reader.incoming
        rest = reader.feed(data)
        if self._serving is None:
            if reader.waiting:
                if self._is_handshake(reader.waiting[0]):
                    self._behind = rest
                    self._serve(reader.waiting.popleft(), self._shake_hands)
                    return
            elif reader.incoming is not continued:
                self._wait(REQUEST_TIMEOUT_S)
        self._go_on()

    def readConnectionLost(self) -> None:
        """The client sends no more; its requests are still answered."""
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
        self._reader.release()
        if self._socket is not None:
            self._socket.connectionLost(reason)
            return
        self._closing = True
        self._reader.waiting.clear()
        serving, self._serving = self._serving, None
        if serving is not None:
            serving.cancel()

    # -- one after the other ------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Serve the next request; if there is none, answer a refusal or wait for more bytes."""
        if self._lingering:
            return
        while self._reader.waiting and self._serving is None and self._stalled is None and not self._closing:
            self._serve(self._reader.waiting.popleft(), self._answer)
        if self._serving is not None or self._reader.waiting or self._closing:
            if len(self._reader.waiting) > MAX_WAITING_REQUESTS or self._stalled is not None:
                self._pause()
            return
        if self._reader.refusal is not None:
            self._refuse(*self._reader.refusal)
            return
        self._resume()
        incoming = self._reader.incoming
        if incoming is None:
            if self._half_closed:
                self._close()
            self._wait(IDLE_TIMEOUT_S)
            return
        if self.deadline == float("inf"):
            self._wait(REQUEST_TIMEOUT_S)
        if incoming.expects and not self._reader.in_head:
            incoming.expects = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, incoming: Incoming, answer: Callable[[Incoming], Coroutine[Any, Any, None]]) -> None:
        self.deadline = float("inf")
        problem = incoming.problem()
        if problem is not None or self.factory.unsent_bytes > MAX_UNSENT_BYTES:
            status, why = problem or (503, "too many clients do not fetch their answers; try again")
            self.factory.refused += 1
            incoming.take_body()
            serving = ensureDeferred(self._send(incoming, self.factory.refusal(status, why)))
        else:
            serving = ensureDeferred(answer(incoming))
        self._serving = serving
        serving.addCallbacks(self._served, self._failed, callbackArgs=(incoming,))

    async def _answer(self, incoming: Incoming) -> None:
        await self._send(incoming, await self._handled(self.factory.handler, incoming))

    async def _handled(self, handler: Callable[[Request], Awaitable[Response]], incoming: Incoming) -> Response:
        try:
            return await handler(incoming.request())
        except CancelledError:
            raise
        except Exception:
            _log.failure("a request failed")
            return self.factory.refusal(500, "internal error - see logs")

    async def _send(self, incoming: Incoming, response: Response) -> None:
        body, write = response.body, self._transport.write
        if isinstance(body, bytes):
            head = self._head(incoming, response, len(body))
            if incoming.method == "HEAD" or response.status in BODILESS:
                self._write_whole(head)
            elif len(body) <= PIECE_BYTES:
                self._write_whole(head + body)
            else:
                write(head)
                await self._send_pieces(body)
        elif incoming.method == "HEAD":
            write(self._head(incoming, response, None))
            await body.aclose()
        else:
            chunked = incoming.version == "1.1"
            # A client of HTTP/1.0 knows the end of the body only by the end of the connection.
            incoming.keep_alive = incoming.keep_alive and chunked
            write(self._head(incoming, response, None))
            await self._stream(body, chunked)

    def _head(self, incoming: Incoming, response: Response, length: int | None) -> bytes:
        if self._half_closed or self.factory.stopping:
            incoming.keep_alive = False
        method, version, keep_alive = incoming.method, incoming.version, incoming.keep_alive
        return head(response, method, version, keep_alive, length, self.factory.date())

    async def _send_pieces(self, body: bytes) -> None:
        """Send a long body in pieces: each piece that the client takes moves the deadline."""
        for start in range(0, len(body), PIECE_BYTES):
            if self._stalled is not None:
                await self._wait_for_client(len(body) - start)
            self._transport.write(body[start : start + PIECE_BYTES])

    async def _stream(self, body: AsyncGenerator[bytes, None], chunked: bool) -> None:
        """Send a body as it is made, and wait when the client reads too slowly."""
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
        """Wait until the client has read, while this number of bytes is kept for it."""
        self.factory.unsent_bytes += unsent
        try:
            while self._stalled is not None:
                await self._stalled
        finally:
            self.factory.unsent_bytes -= unsent

    def _served(self, result: None, incoming: Incoming) -> None:
        self._serving = None
        if self._socket is not None:
            return
        if not incoming.keep_alive:
            self._close()
        elif self._stalled is None:
            reader = self._reader
            if reader.waiting or reader.refusal is not None or reader.incoming is not None or self._half_closed:
                # In a later turn: many requests at once must not make the stack deep.
                self.factory.reactor.callLater(0, self._go_on)
            else:
                self._resume()
                self._wait(IDLE_TIMEOUT_S)

    def _failed(self, failure: Failure) -> None:
        self._serving = None
        if self._closing and failure.check(CancelledError) is not None:
            return  # the client is gone
        _log.failure("a reply broke off", failure)
        self._transport.abortConnection()

    # -- the end ------------------------------------------------------------------------------------

    def _refuse(self, status: int, why: str) -> None:
        incoming = Incoming(self.factory.bodies)
        incoming.keep_alive = False
        self._reader.release()
        self._reader.incoming = None
        self._lingering = True
        self.factory.refused += 1
        self._wait(LINGER_S)
        self._resume()
        answer = self.factory.refusal(status, why)
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
        """Close once everything is sent; TLS waits for the producer to end."""
        self._transport.unregisterProducer()
        self._transport.loseConnection()

    def _wait(self, seconds: float) -> None:
        self.deadline = self.factory.seconds() + seconds

    def expired(self) -> None:
        """The deadline has passed."""
        if self._lingering or self._closing or self._stalled is not None:
            self._transport.abortConnection()
        elif self._reader.incoming is not None:
            self._refuse(408, "the request did not arrive in time")
        else:
            self._close()

    def retire(self) -> None:
        """The server stops: finish the answers in progress, and read no more requests."""
        if self._socket is not None or self._streaming:
            self.abort()
        elif self._serving is None:
            self._close()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._socket is not None:
            self._socket.abort()
        else:
            self._transport.abortConnection()

    def _pause(self) -> None:
        self._paused = True
        self._transport.pauseProducing()

    def _resume(self) -> None:
        """Read again; asking the transport each time would take longer."""
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    # -- pace ---------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        if self._stalled is None:
            self._stalled = Deferred()
            self._wait(STALL_TIMEOUT_S)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        waiting, self._stalled = self._stalled, None
        if waiting is not None and not self._closing and not self._lingering:
            self.deadline = float("inf")
            waiting.callback(None)
            if self._serving is None:
                self._go_on()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` follows."""

    # -- WebSocket ----------------------------------------------------------------------------------

    def _is_handshake(self, incoming: Incoming) -> bool:
        at_ws = incoming.target.partition(b"?")[0] == b"/ws"
        return at_ws and incoming.version == "1.1" and self.factory.sockets is not None

    async def _shake_hands(self, incoming: Incoming) -> None:
        """Hand the connection over to the WebSocket, if the client gets one."""
        assert self.factory.sockets is not None
        self._pause()
        socket = self.factory.sockets.client()
        response = await self._handled(socket.handshake, incoming)
        incoming.keep_alive = response.status == 101
        await self._send(incoming, response)
        if not incoming.keep_alive:
            return
        behind, self._behind = self._behind, None
        self._transport.unregisterProducer()
        self._socket = socket
        socket.makeConnection(self._transport)
        self._resume()
        if behind:
            socket.dataReceived(behind)

    @property
    def _transport(self) -> Transport:
        return self.transport  # type: ignore[return-value]  # what TCP and TLS give has more than ITransport says
