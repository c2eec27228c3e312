"""``/ws``: the event stream as WebSocket frames.

An addition to Buildbot 4.3: ``startConsuming`` takes ``since``, a clock of a reply or an event. The subscription then
begins with the event after it, and the reply's ``clock`` is where. If those events are gone the reply is
``{"error": …, "code": 410}``: fetch again. Every event has its clock as ``c``. A connection that uses ``since``
gets ``{"bookmark": clock}`` at least every ten seconds: everything up to it has been sent, so an idle client's
cursor does not grow old.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import DeferredQueue, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from wsproto import ConnectionType
from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.events import Event as FrameEvent
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import generate_accept_token
from zope.interface import implementer

from buildbot.data.exceptions import SinceTooOldError
from buildbot.mq.log import Event
from buildbot.util.descriptors import share
from buildbot.util.transport import IStream
from buildbot.util.websocket import FrameLimit
from buildbot.www import jsonbody
from buildbot.www.api.rest import error_response
from buildbot.www.errors import RefusedError, problem_of
from buildbot.www.gate import Gate, follows
from buildbot.www.http.messages import Request, Response
from buildbot.www.stream.feeds import Events, Feed, clock_of
from buildbot.www.stream.limits import Limits, check_room, checked_path

_log = Logger()

#: the longest frame of a client, and the most frames of a client that may wait to be served
MAX_FRAME_BYTES = 64 * 1024
MAX_WAITING_FRAMES = 1000
MAX_WAITING_COMMAND_BYTES = 256 * 1024
#: connections, a share of the descriptors: the others are for requests and workers
CLIENTS_PART, MAX_CLIENTS = 0.25, 10_000
#: bytes of events that may wait for a client that does not read, besides the transport's buffer
MAX_WAITING_BYTES = 256 * 1024
BOOKMARK_INTERVAL_S = 5.0
#: seconds for a client to read why its connection ends
CLOSE_TIMEOUT_S = 1.0
#: the version in a handshake, and its key: 16 bytes in base64 (RFC 6455, 4.2.1)
_VERSION = "13"
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")

_Command = Callable[..., Awaitable[dict[str, Any]]]


class BadFrameError(Exception):
    """A frame is no command; the code and the text of the reply."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """One client: takes its frames, sends replies and events.

    Args:
        feed: its subscriptions.
        reply: called with each reply, an object for JSON.
        allow: raises RefusedError for a path that the client may not follow.
    """

    def __init__(
        self, feed: Feed, reply: Callable[[dict[str, Any]], None], allow: Callable[[str], Awaitable[None]]
    ) -> None:
        self._feed = feed
        self._allow = allow
        self._reply = reply
        #: by command: the method, the required members, the optional members
        self._commands: dict[str, tuple[_Command, set[str], set[str]]] = {
            "ping": (self._ping, set(), set()),
            "startConsuming": (self._start, {"path"}, {"since"}),
            "stopConsuming": (self._stop, {"path"}, set()),
        }

    async def handle(self, frame: dict[str, Any]) -> None:
        """Run the command in a frame and reply; never raises."""
        identifier = frame.get("_id")
        try:
            answer = await self._execute(dict(frame))
        except BadFrameError as error:
            answer = {"error": str(error), "code": error.code}
        except SinceTooOldError as error:
            answer = {"error": str(error), "code": 410}
        except Exception as error:
            problem = problem_of(error)
            text = f"Internal Error '{problem.text}'" if problem.status == 500 else problem.text
            answer = {"error": text, "code": problem.status}
        self._reply({**answer, "_id": identifier})

    async def _execute(self, frame: dict[str, object]) -> dict[str, Any]:
        if "_id" not in frame and "type" not in frame:
            raise BadFrameError(400, "no '_id' or 'type' in websocket frame")
        frame.pop("_id", None)
        frame.pop("type", None)
        name = frame.pop("cmd", None)
        if name is None:
            raise BadFrameError(400, "no 'cmd' in websocket frame")
        if not isinstance(name, str) or name not in self._commands:
            raise BadFrameError(404, f"no such command type '{name}'")
        command, required, optional = self._commands[name]
        for member in sorted(required - frame.keys()) + sorted(frame.keys() - required - optional):
            raise BadFrameError(400, f"Invalid method argument '{member}'")
        return await command(**frame)

    async def _ping(self) -> dict[str, Any]:
        return {"msg": "pong", "code": 200}

    async def _start(self, path: object, since: object = None) -> dict[str, Any]:
        await self._allow(_checked(path))
        if since is None:
            clock = await self._feed.start(_checked(path))
        else:
            clock = await self._feed.start(_checked(path), clock_of(since))
        return {"msg": "OK", "code": 200, "clock": clock}

    async def _stop(self, path: object) -> dict[str, Any]:
        if not self._feed.stop(_checked(path)):
            raise BadFrameError(400, f"path was not consumed '{path}'")
        return {"msg": "OK", "code": 200}


def _checked(path: object) -> str:
    if not isinstance(path, str):
        raise BadFrameError(400, f"invalid path format '{str(path)[:200]}'")
    return checked_path(path)


def _text_frame(payload: bytes) -> bytes:
    """A whole message of a server as a frame (RFC 6455, 5.2): final, text, not masked."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def _accepted(request: Request) -> str:
    """The headers that accept a handshake; raises RefusedError for a wrong one (RFC 6455, 4.2)."""
    if request.method != "GET":
        raise RefusedError(405, "a WebSocket handshake is a GET")
    offered = [one.strip().lower() for one in (request.header("upgrade") or "").split(",")]
    wanted = [one.strip().lower() for one in (request.header("connection") or "").split(",")]
    if "websocket" not in offered or "upgrade" not in wanted:
        raise RefusedError(426, "this is for WebSocket clients")
    if request.header("sec-websocket-version") != _VERSION:
        raise RefusedError(400, f"the version of WebSocket must be {_VERSION}")
    key = request.header("sec-websocket-key") or ""
    if not _KEY.fullmatch(key):
        raise RefusedError(400, "the handshake has no key")
    return generate_accept_token(key.encode()).decode()


@implementer(IPushProducer)
class EventProtocol(Protocol):
    """A connection; the transport tells it when the client reads too slowly."""

    transport: IStream
    factory: EventFactory
    #: where the client is
    address: str

    async def handshake(self, request: Request) -> Response:
        """The response to a handshake: 101 if the client gets the connection."""
        try:
            accepted = _accepted(request)
        except RefusedError as error:
            return error_response(error).with_headers(("Sec-WebSocket-Version", _VERSION))
        try:
            self._visitor = await self.factory.gate.admit(request, ("ws",))
        except RefusedError as error:
            return error_response(RefusedError(403, error.message))
        self.address = request.client
        try:
            check_room(self.address, (each.address for each in self.factory.protocols), self.factory.most)
        except RefusedError as error:
            return error_response(error)
        return Response(101, (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accepted)))

    def connectionMade(self) -> None:
        """The client has the answer."""
        self._frames = Frames(ConnectionType.SERVER, [FrameLimit(MAX_FRAME_BYTES)])
        #: the part so far of a message in several frames
        self._message = bytearray()
        self._is_open = True
        self._was_heard = True
        self._end: IDelayedCall | None = None
        self._waiting: DeferredQueue[tuple[dict[str, Any], int] | None] = DeferredQueue(size=MAX_WAITING_FRAMES)
        self._paused = False
        self._unsent_bytes = 0
        self._suspending = False
        self._waiting_bytes = 0
        self.feed = Feed(self.factory.events, self._send_event, self.abort, self.factory.limits, self.address)
        self._session = Session(self.feed, self._send_reply, self._allow)
        self._release = self.factory.gate.hold(self._visitor, self.abort)
        self.factory.protocols.add(self)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        ensureDeferred(self._serve()).addErrback(self._failed)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of frames."""
        self._was_heard = True
        if self._is_open:
            self._frames.receive_data(data)
        events = self._frames.events()
        while self._is_open and (event := next(events, None)) is not None:
            self._handle(event)

    def _handle(self, event: FrameEvent) -> None:
        if isinstance(event, TextMessage | BytesMessage):
            self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
            if len(self._message) > MAX_FRAME_BYTES:
                self._close(CloseReason.MESSAGE_TOO_BIG, "the message is too long")
            elif event.message_finished:
                message, self._message = bytes(self._message), bytearray()
                self._command(message)
        elif isinstance(event, Ping):
            self.transport.write(self._frames.send(event.response()))
        elif isinstance(event, CloseConnection):
            if self._frames.state is ConnectionState.REMOTE_CLOSING:
                self._is_open = False
                self.transport.write(self._frames.send(event.response()))
                self.transport.loseConnection()
                self._abort_later()
            else:  # the bytes are no frames
                self._close(event.code, event.reason or "")

    def _command(self, message: bytes) -> None:
        """Serve a command; commands are served one after the other."""
        try:
            frame: object = jsonbody.parse(message)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict):
            self.abort()  # without a reason, as Buildbot does
        elif len(self._waiting.pending) >= MAX_WAITING_FRAMES or self._waiting_bytes > MAX_WAITING_COMMAND_BYTES:
            self._close(CloseReason.POLICY_VIOLATION, "too many commands wait")
        else:
            self._waiting_bytes += len(message)
            self._waiting.put((frame, len(message)))

    def _close(self, code: int, reason: str) -> None:
        """Send the reason, then drop the connection; further bytes are not read."""
        _log.debug("a WebSocket client is dropped: {reason}", reason=reason)
        self._is_open = False
        self.transport.write(self._frames.send(CloseConnection(code, reason)))
        self.transport.pauseProducing()
        self._abort_later()

    def _abort_later(self) -> None:
        self._end = self.factory.reactor.callLater(CLOSE_TIMEOUT_S, self.abort)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection is gone."""
        self._is_open = False
        if self._end is not None and self._end.active():
            self._end.cancel()
        self.factory.protocols.discard(self)
        self._release()
        self._waiting.put(None)
        self.feed.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._is_open = False
        self.transport.abortConnection()

    def ping(self) -> None:
        """Drop a client that sent nothing since the last ping; ping the others."""
        if not self._was_heard:
            self.abort()
        elif self._is_open:
            self._was_heard = False
            self.transport.write(self._frames.send(Ping()))

    def send_bookmark(self) -> None:
        """Send the present clock to a client that uses ``since``."""
        clock = self.feed.bookmark()
        if clock is not None and self._is_open and not self._paused:
            self.transport.write(_text_frame(jsonbody.frame({"bookmark": clock})))

    def pauseProducing(self) -> None:
        """The transport's buffer is full; it calls this again with every write."""
        if not self._paused:
            self._paused = True
            self._unsent_bytes = 0
            # A client that does not read its replies gets no more.
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._paused = False
        if self._is_open:
            self.transport.resumeProducing()
        if self._suspending:
            self._suspending = False
            self.feed.resume()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` follows."""

    async def _serve(self) -> None:
        while (waited := await self._waiting.get()) is not None:
            frame, size = waited
            self._waiting_bytes -= size
            await self._session.handle(frame)

    async def _allow(self, path: str) -> None:
        await self.factory.gate.check(self._visitor, follows(path))

    def _send_reply(self, answer: dict[str, Any]) -> None:
        if self._is_open:
            self.transport.write(_text_frame(jsonbody.frame(answer)))

    def _send_event(self, event: Event, key: tuple[str, ...]) -> None:
        if not self._is_open:
            return
        frame = self.factory.frame(event, key)
        self.transport.write(frame)
        if self._paused:
            self._unsent_bytes += len(frame)
            if self._unsent_bytes > MAX_WAITING_BYTES and not self._suspending:
                self._suspending = True
                # Later, so that one event under several keys is sent under all of them.
                self.factory.reactor.callLater(0, self._suspend)

    def _suspend(self) -> None:
        if self._suspending:
            self.feed.suspend()

    def _failed(self, failure: Failure) -> None:
        _log.failure("a WebSocket client is dropped", failure)
        self.abort()


class EventFactory:
    """Makes the connections and keeps the state that they share."""

    def __init__(
        self,
        events: Events,
        reactor: IReactorTime,
        gate: Gate,
        ping_interval_s: float = 0,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits
        self.most = share(CLIENTS_PART, MAX_CLIENTS)
        self.events = events
        self.gate = gate
        self.reactor = reactor
        self.protocols: set[EventProtocol] = set()
        self._framed: tuple[Event, tuple[str, ...]] | None = None
        self._frame = b""
        self._ping_interval_s = ping_interval_s
        self._bookmarks = LoopingCall(self._send_bookmarks)
        self._pings = LoopingCall(self._ping)
        self._bookmarks.clock = self._pings.clock = reactor

    def start(self) -> None:
        """Begin to send bookmarks and pings."""
        self._bookmarks.start(BOOKMARK_INTERVAL_S, now=False)
        if self._ping_interval_s:
            self._pings.start(self._ping_interval_s, now=False)

    def stop(self) -> None:
        """Stop bookmarks and pings, and drop all connections."""
        for call in (self._bookmarks, self._pings):
            if call.running:
                call.stop()
        for protocol in list(self.protocols):
            protocol.abort()

    def client(self) -> EventProtocol:
        """A new connection."""
        protocol = EventProtocol()
        protocol.factory = self
        return protocol

    def frame(self, event: Event, key: tuple[str, ...]) -> bytes:
        """The frame of an event under one of its keys, made once for all clients."""
        if self._framed is None or self._framed[0] is not event or self._framed[1] is not key:
            # The log holds the message as JSON already.
            payload = b'{"k":%b,"m":%b,"c":%d}' % (jsonbody.frame("/".join(key)), event.body, event.seq)
            self._framed = (event, key)
            self._frame = _text_frame(payload)
        return self._frame

    def _send_bookmarks(self) -> None:
        for protocol in list(self.protocols):
            protocol.send_bookmark()

    def _ping(self) -> None:
        for protocol in list(self.protocols):
            protocol.ping()
