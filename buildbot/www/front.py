"""twisted.web as the carrier: bytes in, a ``Request`` to the handler, its ``Response`` out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from autobahn.twisted import resource as _resource
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IAddress, IPushProducer
from twisted.logger import Logger
from twisted.web import http as _http
from zope.interface import implementer

from buildbot.www import app
from buildbot.www.messages import Request, Response
from buildbot.www.ws import EventFactory

_log = Logger()

# Both libraries have no types for what is used of them here.
http: Any = _http
resource: Any = _resource

#: a longer body is refused
MAX_BODY_BYTES = 10 * 1024 * 1024
#: a connection without a request in progress is closed after this
IDLE_TIMEOUT_S = 75

Handler = Callable[[Request], Awaitable[Response]]


@implementer(IPushProducer)
class WebRequest(http.Request):  # type: ignore[misc]
    """One request on a connection."""

    channel: WebChannel
    _received_bytes = 0
    _paused: Deferred[None] | None = None

    def handleContentChunk(self, data: bytes) -> None:
        """Part of the body; too long a body is refused without keeping it."""
        self._received_bytes += len(data)
        if self._received_bytes <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        elif self.channel is not None and not self.channel.refused:
            self.channel.refused = True
            self.channel.transport.write(
                b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            self.channel.loseConnection()

    def process(self) -> None:
        """All of the request is here."""
        front = self.channel.factory
        if front.sockets is not None and self.path == b"/ws":
            # The connection changes hands; what watched its outgoing buffer for HTTP lets go of it.
            self.channel.transport.unregisterProducer()
            resource.WebSocketResource(front.sockets).render(self)
            return
        serving = ensureDeferred(self._serve(front.handler))
        self.notifyFinish().addErrback(lambda _: serving.cancel())
        serving.addErrback(self._failed)

    async def _serve(self, handler: Handler) -> None:
        request = _value_of(self)
        try:
            response = await handler(request)
        except CancelledError:
            raise
        except Exception:
            _log.failure("a request failed")
            response = app.internal_error()
        self.setResponseCode(response.status)
        for name, value in response.headers:
            self.responseHeaders.addRawHeader(name.encode(), value.encode("latin-1", "replace"))
        if isinstance(response.body, bytes):
            if response.status != 304:
                self.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(response.body)])
            if request.method != "HEAD" and response.body:
                self.write(response.body)
        elif request.method == "HEAD":
            await response.body.aclose()
        else:
            await self._stream(response.body)
        self.finish()

    async def _stream(self, body: AsyncGenerator[bytes, None]) -> None:
        """Send a body as it comes, and wait where the client does not keep up."""
        self.registerProducer(self, True)
        try:
            async for chunk in body:
                self.write(chunk)
                if self._paused is not None:
                    await self._paused
        finally:
            await body.aclose()
            self.unregisterProducer()

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """The client has read what the transport held."""
        waiting, self._paused = self._paused, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; ``notifyFinish`` follows."""

    def _failed(self, failure: Any) -> None:
        if failure.check(CancelledError) is None:
            _log.failure("a reply broke off", failure)
            if self.channel is not None:
                self.channel.forceAbortClient()


class WebChannel(http.HTTPChannel):  # type: ignore[misc]
    """One connection."""

    factory: Front
    requestFactory = WebRequest
    refused = False

    def connectionMade(self) -> None:
        """A client is there."""
        self.factory.connections.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        """The client is gone."""
        self.factory.connections.discard(self)
        super().connectionLost(reason)


class Front(http.HTTPFactory):  # type: ignore[misc]
    """Listens; hands every request to ``handler``, and WebSocket handshakes to ``sockets``."""

    def __init__(self, reactor: Any, handler: Handler, sockets: EventFactory | None) -> None:
        super().__init__(timeout=IDLE_TIMEOUT_S, reactor=reactor)
        self.handler = handler
        self.sockets = sockets
        self.connections: set[WebChannel] = set()

    def buildProtocol(self, addr: IAddress | None) -> WebChannel:
        """A channel for a new connection; HTTP/1.1 only, so that the WebSocket can take it over."""
        channel = WebChannel()
        channel.factory = self
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        channel.site = self
        return channel

    def log(self, request: Any) -> None:
        """Requests are not logged: at a build farm's pace the log would say nothing else."""

    def abort_connections(self) -> None:
        """Drop every connection, WebSockets included."""
        for channel in list(self.connections):
            if channel.transport is not None:
                channel.forceAbortClient()
        if self.sockets is not None:
            for protocol in list(self.sockets.protocols):
                protocol.dropConnection(abort=True)


def _value_of(incoming: Any) -> Request:
    path, _, query = incoming.uri.partition(b"?")
    headers = {
        name.decode("latin-1").lower(): ", ".join(value.decode("utf-8", "replace") for value in values)
        for name, values in incoming.requestHeaders.getAllRawHeaders()
    }
    body = incoming.content.read() if incoming.content is not None else b""
    return Request(incoming.method.decode("latin-1"), path.decode("latin-1"), query.decode("latin-1"), headers, body)


__all__ = ["MAX_BODY_BYTES", "Front", "Handler", "WebChannel", "WebRequest"]
