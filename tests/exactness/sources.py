"""The ways to get a snapshot and the events after it: in Python, over WebSocket, over SSE."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.web.client import Agent, readBody

from buildbot.data.exceptions import SinceTooOldError
from tests.exactness.processes import reactor

#: called with number, routing key and message
Hear = Callable[[int, str, Any], None]
#: how long a server may take to answer before the client goes elsewhere
ANSWER_S = 5.0

_client_factory: Any = WebSocketClientFactory  # has no types


class UnreachableError(Exception):
    """The server is gone, or does not answer: try another one."""


class Following(ABC):
    """A subscription, seen from its client."""

    #: all events up to this number have come
    clock: int
    #: it will hear no more; go on elsewhere from ``clock``
    lost = False

    @abstractmethod
    def stop(self) -> None:
        """Hear no more, from now on."""


class Source(ABC):
    """Where snapshots and events come from."""

    name: str

    @abstractmethod
    async def snapshot(self, path: Sequence[Any], options: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """The entities at a path (a single one as a list), and the clock."""

    async def clock(self) -> int | None:
        """The number of the newest event that is committed, if this source has it at low cost."""
        return None

    @abstractmethod
    async def follow(self, path: Sequence[Any], since: int, hear: Hear, is_single: bool = False) -> Following:
        """Hear every event of a list's elements, or of a single one, after ``since``.

        Raises SinceTooOldError, UnreachableError.
        """


class Local(Source):
    """The Data API in this process."""

    name = "python"

    def __init__(self, data: Any) -> None:
        self._data = data

    async def snapshot(self, path: Sequence[Any], options: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """As ``Source.snapshot``."""
        found, clock = await self._data.snapshot(options, tuple(path))
        return found if isinstance(found, list) else [found], clock

    async def clock(self) -> int | None:
        """As ``Source.clock``."""
        return int(await self._data.clock())

    async def follow(self, path: Sequence[Any], since: int, hear: Hear, is_single: bool = False) -> Following:
        """As ``Source.follow``."""
        following = _LocalFollowing()

        def heard(key: tuple[str, ...], message: Any) -> None:
            # the clock is moved before each callback, so it is the event's number
            hear(following.subscription.clock, "/".join(key), message)

        following.subscription = await self._data.startConsuming(heard, {"since": since}, tuple(path))
        return following


class _LocalFollowing(Following):
    subscription: Any

    @property
    def clock(self) -> int:  # type: ignore[override]
        return int(self.subscription.clock)

    @property
    def lost(self) -> bool:  # type: ignore[override]
        return bool(self.subscription.stopped)

    def stop(self) -> None:
        self.subscription.stopConsuming()


class _Remote(Source):
    """One of the masters' HTTP servers, another one each time."""

    def __init__(self, directory: Path, chance: random.Random) -> None:
        self._directory = directory
        self._chance = chance
        self._agent: Any = Agent(reactor, connectTimeout=ANSWER_S)

    def port(self) -> int:
        """The port of some master; it may be dead or paused."""
        ports = [text for path in self._directory.glob("*.port") if (text := path.read_text())]
        if not ports:
            raise UnreachableError("no master has said where it listens yet")
        return int(self._chance.choice(sorted(ports)))

    async def snapshot(self, path: Sequence[Any], options: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """As ``Source.snapshot``."""
        url = f"http://127.0.0.1:{self.port()}/api/v2/{'/'.join(map(str, path))}?{_query(options)}"
        try:
            answer: Deferred[Any] = self._agent.request(b"GET", url.encode())
            response = await answer.addTimeout(ANSWER_S, reactor)
            reading: Deferred[bytes] = readBody(response)
            body = await reading.addTimeout(ANSWER_S, reactor)
        except Exception as error:
            raise UnreachableError(repr(error)) from error
        if response.code >= 500:
            raise UnreachableError(f"{url}: {response.code} {body[:300]!r}")
        assert response.code == 200, (url, response.code, body)
        found = json.loads(body)
        found.pop("meta")
        (rows,) = found.values()
        return rows, int(response.headers.getRawHeaders("X-Tenfold-Clock")[0])


def _text(path: Sequence[Any], is_single: bool) -> str:
    """The pattern of a path's events, as clients write it."""
    return "/".join(map(str, path)) + ("/*" if is_single else "/*/*")


def _query(options: dict[str, Any]) -> str:
    """Options of ``get`` as a query string."""
    parameters = list(options.get("filters", {}).items())
    parameters += [("field", name) for name in options.get("fields", ())]
    parameters += [("order", name) for name in options.get("order", ())]
    if "limit" in options:
        parameters.append(("limit", options["limit"]))
    return urlencode(parameters)


class WebSocket(_Remote):
    """``/ws``."""

    name = "websocket"

    async def follow(self, path: Sequence[Any], since: int, hear: Hear, is_single: bool = False) -> Following:
        """As ``Source.follow``."""
        factory: Any = _client_factory(f"ws://127.0.0.1:{(port := self.port())}/ws", reactor=reactor)
        factory.protocol = _WebSocketClient
        factory.noisy = False
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=ANSWER_S)
        client: Any = None
        try:
            client = await endpoint.connect(factory).addTimeout(ANSWER_S, reactor)
            client.clock, client.hear = since, hear
            answer = await client.ask(_text(path, is_single), since).addTimeout(ANSWER_S, reactor)
        except Exception as error:
            if client is not None:
                client.stop()
            raise UnreachableError(repr(error)) from error
        if answer["code"] != 200:
            client.stop()
        if answer["code"] == 410:
            raise SinceTooOldError(answer["error"])
        if answer["code"] != 200:
            raise UnreachableError(f"startConsuming: {answer}")
        return client  # type: ignore[no-any-return]


class _WebSocketClient(WebSocketClientProtocol, Following):  # type: ignore[misc]
    hear: Hear

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0
        self.lost = self.stopped = False
        self._opened: Deferred[None] = Deferred()
        self._answer: Deferred[Any] = Deferred()

    def ask(self, path: str, since: int) -> Deferred[Any]:
        """Subscribe; the server's answer."""

        def send(_: None) -> Deferred[Any]:
            frame = {"cmd": "startConsuming", "path": path, "since": since, "_id": 1}
            self.sendMessage(json.dumps(frame).encode())  # type: ignore[no-untyped-call]
            return self._answer

        return self._opened.addCallback(send)

    def onOpen(self) -> None:
        """The handshake is done."""
        self._opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A frame."""
        if self.stopped:
            return
        frame = json.loads(payload)
        if "bookmark" in frame:
            self.clock = max(self.clock, frame["bookmark"])
        elif "k" in frame:
            self.hear(frame["c"], frame["k"], frame["m"])
            self.clock = max(self.clock, frame["c"])
        elif not self._answer.called:
            self._answer.callback(frame)

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        """Cut, by whomever."""
        self.lost = True
        for waiting in (self._opened, self._answer):
            if not waiting.called:
                waiting.errback(UnreachableError("closed"))
                waiting.addErrback(lambda failure: None) if waiting is self._answer else None

    def stop(self) -> None:
        """Cut the connection without a word."""
        self.stopped = self.lost = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]


class EventSource(_Remote):
    """``/sse``."""

    name = "sse"

    async def follow(self, path: Sequence[Any], since: int, hear: Hear, is_single: bool = False) -> Following:
        """As ``Source.follow``."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port(), timeout=ANSWER_S)
        client = _SseClient(since, hear)
        try:
            await connectProtocol(endpoint, client).addTimeout(ANSWER_S, reactor)
            status = await client.ask(f"/sse/listen/{_text(path, is_single)}").addTimeout(ANSWER_S, reactor)
        except Exception as error:
            client.stop()
            raise UnreachableError(repr(error)) from error
        if status != 200:
            client.stop()
        if status == 410:
            raise SinceTooOldError("sse: 410")
        if status != 200:
            raise UnreachableError(f"sse: {status}")
        return client


class _SseClient(Protocol, Following):
    def __init__(self, since: int, hear: Hear) -> None:
        self.clock = since
        self.lost = self.stopped = False
        self._hear = hear
        self._answer: Deferred[int] = Deferred()
        self._buffer = b""

    def ask(self, path: str) -> Deferred[int]:
        """Send the request; the status of the reply."""
        request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\nLast-Event-ID: {self.clock}\r\n\r\n"
        self.transport.write(request.encode())  # type: ignore[union-attr]
        return self._answer

    def dataReceived(self, data: bytes) -> None:
        """The head, then blocks that end in an empty line."""
        if self.stopped:
            return
        self._buffer += data
        if not self._answer.called:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._buffer = rest
            self._answer.callback(int(head.split()[1]))
        while b"\n\n" in self._buffer and not self.stopped:
            block, _, self._buffer = self._buffer.partition(b"\n\n")
            self._block(dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line))

    def _block(self, fields: dict[str, str]) -> None:
        number = int(fields["id"]) if "id" in fields else None
        if fields.get("event") == "event" and number is not None:
            said = json.loads(fields["data"])
            self._hear(number, "/".join(said["key"]), said["message"])
        if number is not None:
            self.clock = max(self.clock, number)

    def connectionLost(self, reason: Any = None) -> None:
        """Cut, by whomever."""
        self.lost = True
        if not self._answer.called:
            self._answer.errback(UnreachableError("closed"))

    def stop(self) -> None:
        """Cut the connection without a word."""
        self.stopped = self.lost = True
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]
