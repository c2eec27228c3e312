"""``/ws``: the event stream as WebSocket frames (http-api 5.1, and ``since``).

Beyond what 4.3 offers, ``startConsuming`` takes ``since``, a clock as replies and events carry it: the subscription
then begins with the event after it, and the reply's ``clock`` says where. If those events are gone the reply is
``{"error": …, "code": 410}``: fetch again. Every event carries its clock as ``c``. A connection that uses ``since``
gets ``{"bookmark": clock}`` at least every ten seconds: everything up to it has been sent, so an idle client's
cursor does not grow old.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from typing import Any

from autobahn.twisted import websocket as _websocket
from twisted.internet.defer import Deferred, DeferredQueue, ensureDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from buildbot.data.exceptions import SinceTooOldError
from buildbot.mq.log import Event
from buildbot.www import jsonbody
from buildbot.www.errors import RefusedError, problem_of
from buildbot.www.feeds import Events, Feed, clock_of
from buildbot.www.gate import Gate, follows
from buildbot.www.messages import Request

_log = Logger()
websocket: Any = _websocket  # has no types

#: a client's frame may not be longer, nor may more of its frames wait to be served
MAX_FRAME_BYTES = 64 * 1024
MAX_WAITING_FRAMES = 1000
#: bytes of events that may wait for a client that does not read, beyond what the transport holds anyway
MAX_WAITING_BYTES = 256 * 1024
BOOKMARK_INTERVAL_S = 5.0
#: codes and reasons of close frames (RFC 6455, 7.4 and 5.5)
_TOO_MUCH = 1008
_MAX_REASON_BYTES = 123

_Command = Callable[..., Awaitable[dict[str, Any]]]


class BadFrameError(Exception):
    """A frame that is no command; the reply's code and text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Session:
    """One client: takes its frames, gives replies and events.

    Args:
        feed: its subscriptions.
        reply: called with each reply, an object for JSON.
        allow: raises RefusedError for what the client may not follow.
    """

    def __init__(
        self, feed: Feed, reply: Callable[[dict[str, Any]], None], allow: Callable[[str], Awaitable[None]]
    ) -> None:
        self._feed = feed
        self._allow = allow
        self._reply = reply
        #: method, members that must be there, members that may be
        self._commands: dict[str, tuple[_Command, set[str], set[str]]] = {
            "ping": (self._ping, set(), set()),
            "startConsuming": (self._start, {"path"}, {"since"}),
            "stopConsuming": (self._stop, {"path"}, set()),
        }

    async def handle(self, frame: dict[str, Any]) -> None:
        """Do what a frame says and reply; never raises."""
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

    async def _execute(self, frame: dict[str, Any]) -> dict[str, Any]:
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

    async def _start(self, path: Any, since: Any = None) -> dict[str, Any]:
        await self._allow(_checked(path))
        if since is None:
            clock = await self._feed.start(_checked(path))
        else:
            clock = await self._feed.start(_checked(path), clock_of(since))
        return {"msg": "OK", "code": 200, "clock": clock}

    async def _stop(self, path: Any) -> dict[str, Any]:
        if not self._feed.stop(_checked(path)):
            raise BadFrameError(400, f"path was not consumed '{path}'")
        return {"msg": "OK", "code": 200}


def _checked(path: Any) -> str:
    if not isinstance(path, str):
        raise BadFrameError(400, f"invalid path format '{path}'")
    return path


def _text_frame(payload: bytes) -> bytes:
    """A whole message as a server sends it (RFC 6455, 5.2): final, text, not masked."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


@implementer(IPushProducer)
class EventProtocol(websocket.WebSocketServerProtocol):  # type: ignore[misc]
    """A connection; the transport tells it when the client does not keep up."""

    factory: EventFactory

    async def _admit(self, handshake: Any) -> None:
        headers = {name.lower(): value for name, value in handshake.headers.items()}
        try:
            self._visitor = await self.factory.gate.admit(Request("GET", "/ws", headers=headers), ("ws",))
        except RefusedError as error:
            raise websocket.ConnectionDeny(403, error.message) from None

    def onConnect(self, request: Any) -> Deferred[None]:
        """A client asks for the connection."""
        return ensureDeferred(self._admit(request))

    def onOpen(self) -> None:
        """The handshake is done."""
        self._waiting: DeferredQueue[dict[str, Any] | None] = DeferredQueue(size=MAX_WAITING_FRAMES)
        self._paused = False
        self._unsent_bytes = 0
        self._suspending = False
        self.feed = Feed(self.factory.events, self._send_event, self._abort)
        self._session = Session(self.feed, self._send_reply, self._allow)
        self._release = self.factory.gate.hold(self._visitor, self._abort)
        self.factory.protocols.add(self)
        self.transport.registerProducer(self, True)
        ensureDeferred(self._serve()).addErrback(self._failed)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A frame came; they are served one after the other."""
        if self.state != self.STATE_OPEN:
            return
        try:
            frame = jsonbody.parse(payload)
        except (ValueError, RecursionError):
            frame = None
        if not isinstance(frame, dict):
            self._abort()  # without a word, as clients know it (http-api 5.1)
        elif len(self._waiting.pending) >= MAX_WAITING_FRAMES:
            self._fail_connection(_TOO_MUCH, "too many commands wait")
        else:
            self._waiting.put(frame)

    def _fail_connection(self, code: int, reason: str) -> None:
        """Say why before the connection is dropped, which autobahn does a second later; what comes is not read."""
        if self.state == self.STATE_OPEN:
            _log.debug("a WebSocket client is dropped: {reason}", reason=reason)
            self.sendCloseFrame(code=code, reasonUtf8=reason.encode()[:_MAX_REASON_BYTES], isReply=False)
            self.transport.pauseProducing()
        else:
            self._abort()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone."""
        if self in self.factory.protocols:
            self.factory.protocols.discard(self)
            self._release()
            self._waiting.put(None)
            self.feed.close()

    def send_bookmark(self) -> None:
        """Tell a client that uses ``since`` how far it is."""
        clock = self.feed.bookmark()
        if clock is not None and not self._paused:
            self.sendMessage(jsonbody.frame({"bookmark": clock}))

    def pauseProducing(self) -> None:
        """The transport holds more than it likes; it says so again with every write."""
        if not self._paused:
            self._paused = True
            self._unsent_bytes = 0
            # Who does not fetch replies may ask for no more.
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read what the transport held."""
        self._paused = False
        if self.state == self.STATE_OPEN:
            self.transport.resumeProducing()
        if self._suspending:
            self._suspending = False
            self.feed.resume()

    def stopProducing(self) -> None:
        """The connection is gone; ``onClose`` follows."""

    async def _serve(self) -> None:
        while (frame := await self._waiting.get()) is not None:
            await self._session.handle(frame)

    async def _allow(self, path: str) -> None:
        await self.factory.gate.check(self._visitor, follows(path))

    def _send_reply(self, answer: dict[str, Any]) -> None:
        # A connection that autobahn fails is closed to us before we hear of it.
        if self in self.factory.protocols and self.state == self.STATE_OPEN:
            self.sendMessage(jsonbody.frame(answer))

    def _send_event(self, event: Event, key: tuple[str, ...]) -> None:
        if self.state != self.STATE_OPEN:  # it is closing
            return
        # Straight to the transport: to hundreds of clients, what the library does for each takes longer than that.
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

    def _abort(self) -> None:
        self.dropConnection(abort=True)

    def _failed(self, failure: Any) -> None:
        _log.failure("a WebSocket client is dropped", failure)
        self._abort()


class EventFactory(websocket.WebSocketServerFactory):  # type: ignore[misc]
    """Makes the connections and keeps what they share."""

    protocol = EventProtocol

    def __init__(self, events: Events, reactor: Any, gate: Gate, ping_interval_s: float = 0) -> None:
        super().__init__(server="")
        self.events = events
        self.gate = gate
        self.reactor = reactor
        self.protocols: set[EventProtocol] = set()
        self._framed: tuple[Event, tuple[str, ...]] | None = None
        self._frame = b""
        self.setProtocolOptions(
            maxFramePayloadSize=MAX_FRAME_BYTES,
            maxMessagePayloadSize=MAX_FRAME_BYTES,
            autoPingInterval=ping_interval_s,
            autoPingTimeout=ping_interval_s,
            tcpNoDelay=True,
            webStatus=False,
        )
        self._bookmarks = LoopingCall(self._send_bookmarks)
        self._bookmarks.clock = reactor

    def start(self) -> None:
        """Begin to send bookmarks."""
        self._bookmarks.start(BOOKMARK_INTERVAL_S, now=False)

    def stop(self) -> None:
        """Send no more bookmarks and drop all connections."""
        if self._bookmarks.running:
            self._bookmarks.stop()
        for protocol in list(self.protocols):
            protocol.dropConnection(abort=True)

    def frame(self, event: Event, key: tuple[str, ...]) -> bytes:
        """The frame of an event under one of its keys, made once for all clients, who are told one after the other."""
        if self._framed is None or self._framed[0] is not event or self._framed[1] is not key:
            # The message is JSON already, as the log holds it.
            payload = b'{"k":%b,"m":%b,"c":%d}' % (jsonbody.frame("/".join(key)), event.body, event.seq)
            self._framed = (event, key)
            self._frame = _text_frame(payload)
        return self._frame

    def _send_bookmarks(self) -> None:
        for protocol in list(self.protocols):
            protocol.send_bookmark()
