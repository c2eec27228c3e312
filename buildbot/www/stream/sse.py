"""``/sse``: the event stream for ``EventSource``.

Each event's ``id`` is its clock. A client that comes back with ``Last-Event-ID`` or ``?since=`` gets the missed events
first; 410 if these are gone. While there are no events, the ``id`` moves on by events named ``bookmark``.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import AsyncGenerator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from buildbot.data.connector import path_of
from buildbot.mq.log import Event
from buildbot.util.descriptors import share
from buildbot.www import jsonbody
from buildbot.www.errors import RefusedError, problem_of
from buildbot.www.http.messages import Request, Response
from buildbot.www.sessions import Hold, Visitor
from buildbot.www.stream.feeds import Events, Feed, clock_of
from buildbot.www.stream.limits import Limits, check_room

#: bytes of events that may wait for a client that does not read
MAX_WAITING_BYTES = 256 * 1024
BOOKMARK_INTERVAL_S = 5.0
#: connections, a share of the descriptors: the others are for requests and workers
CLIENTS_PART, MAX_CLIENTS = 0.15, 10_000

_STREAM_HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    # This header tells reverse proxies not to buffer the reply.
    ("X-Accel-Buffering", "no"),
)


class EventStreams:
    """Answers GET below ``/sse``.

    Args:
        events: the Data API.
        reactor: for the pings.
        hold: ends a stream with its visitor's session (``Gate.hold``).
    """

    def __init__(self, events: Events, reactor: IReactorTime, hold: Hold, limits: Limits | None = None) -> None:
        self._limits = limits
        self._most = share(CLIENTS_PART, MAX_CLIENTS)
        self._events = events
        self._hold = hold
        self._reactor = reactor
        self._streams: dict[str, _Stream] = {}

    @property
    def clients(self) -> int:
        """The number of open streams."""
        return len(self._streams)

    async def handle(self, request: Request, segments: tuple[str, ...], visitor: Visitor) -> Response:
        """The reply to ``/sse/<segments>``, errors included."""
        try:
            return await self._handle(request, segments, visitor)
        except Exception as error:
            problem = problem_of(error)
            return Response.text(problem.status, problem.text)

    async def _handle(self, request: Request, segments: tuple[str, ...], visitor: Visitor) -> Response:
        if segments and segments[-1] == "":
            segments = segments[:-1]
        if segments and segments[0] in ("add", "remove"):
            return await self._change(segments[0], segments[1:], visitor)
        path = segments[1:] if segments[:1] == ("listen",) else segments
        check_room(request.client, (each.address for each in self._streams.values()), self._most)
        if request.method == "HEAD":  # the client reads no events, so nothing may be kept for it
            return Response(200, _STREAM_HEADERS)
        stream = _Stream(self._events, self._reactor, visitor, self._limits, request.client)
        # it counts from now on, also while it waits until the log may be read for it
        self._streams[stream.identifier] = stream
        try:
            if path:
                await stream.feed.start(path_of(path), _since(request))
        except BaseException:
            self._streams.pop(stream.identifier)
            raise
        return Response(200, _STREAM_HEADERS, self._run(stream))

    async def _change(self, action: str, segments: tuple[str, ...], visitor: Visitor) -> Response:
        if not segments:
            raise RefusedError(400, "need uuid")
        stream = self._streams.get(segments[0])
        if stream is None or stream.visitor != visitor:
            raise RefusedError(400, "unknown uuid")
        path = path_of(segments[1:])
        if action == "add":
            await stream.feed.start(path)
        elif not stream.feed.stop(path):
            raise RefusedError(404, "consumer is not listening to this event")
        return Response.text(200, "ok")

    async def _run(self, stream: _Stream) -> AsyncGenerator[bytes, None]:
        release = self._hold(stream.visitor, stream.end)
        try:
            async for block in stream.blocks():
                yield block
        finally:
            release()
            self._streams.pop(stream.identifier, None)
            stream.feed.close()


class _Stream:
    """One stream: events wait here until its connection takes them."""

    def __init__(
        self, events: Events, reactor: IReactorTime, visitor: Visitor, limits: Limits | None, address: str
    ) -> None:
        self.visitor, self.address = visitor, address
        self.identifier = str(uuid.uuid4())
        self.feed = Feed(events, self._take, self.end, limits, address)
        self._reactor = reactor
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._behind = False
        self._ended = False
        self._wake: Deferred[None] | None = None

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """The blocks to send, until the client goes."""
        yield f"event: handshake\ndata: {self.identifier}\n\n".encode()
        while not self._ended:
            if self._waiting:
                block = b"".join(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                yield block
            elif self._behind:
                self._behind = False
                self.feed.resume()
            elif not await self._something():
                clock = self.feed.bookmark()
                yield b": idle\n\n" if clock is None else f"event: bookmark\nid: {clock}\ndata: {clock}\n\n".encode()

    async def _something(self) -> bool:
        """Wait for an event; False if a ping is due first."""
        self._wake = Deferred()
        timer = self._reactor.callLater(BOOKMARK_INTERVAL_S, self._wake.cancel)
        try:
            await self._wake
        except CancelledError:
            if timer.active():
                # It was not the timer: the connection is gone.
                raise
            return False
        finally:
            self._wake = None
            if timer.active():
                timer.cancel()
        return True

    def _take(self, event: Event, key: tuple[str, ...]) -> None:
        head = f"event: event\nid: {event.seq}\ndata: ".encode()
        block = b'%b{"key":%b,"message":%b}\n\n' % (head, jsonbody.frame(key), event.body)
        self._waiting.append(block)
        self._waiting_bytes += len(block)
        if self._waiting_bytes > MAX_WAITING_BYTES and not self._behind:
            self._behind = True
            # In a later turn, so that an event with several keys is sent under all of them.
            self._reactor.callLater(0, self._suspend)
        self._awake()

    def _suspend(self) -> None:
        if self._behind:
            self.feed.suspend()

    def end(self) -> None:
        """Send the waiting events, and nothing more."""
        self._ended = True
        self._awake()

    def _awake(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None:
            wake.callback(None)


def _since(request: Request) -> int | None:
    text = dict(request.parameters()).get("since") or request.header("last-event-id")
    return None if text is None else clock_of(text)
