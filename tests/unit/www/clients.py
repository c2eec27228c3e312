"""Clients on real sockets, for the tests of the server's edge."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import tcp
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from tests.support.reactor import reactor


def turn() -> Deferred[None]:
    """One turn of the reactor, in which sent bytes arrive in memory."""
    waited: Deferred[None] = Deferred()
    reactor.callLater(0, waited.callback, None)
    return waited


async def until(true: Callable[[], bool]) -> None:
    """Let the reactor turn until a condition is true; if it never is, the test's timeout ends the test."""
    while not true():
        await turn()


class WsClient(WebSocketClientProtocol):
    """A WebSocket client whose frames wait in ``frames``; ``closed`` fires when it is cut."""

    transport: tcp.Connection

    def __init__(self) -> None:
        super().__init__()
        self.frames: DeferredQueue[Any] = DeferredQueue()
        self.opened: Deferred[None] = Deferred()
        self.closed: Deferred[None] = Deferred()
        #: of the close frame that came
        self.code: Any = None

    def onOpen(self) -> None:
        self.opened.callback(None)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.frames.put(json.loads(payload))

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.code = code
        self.closed.callback(None)

    def send(self, **frame: Any) -> None:
        """Send a frame."""
        self.send_bytes(json.dumps(frame).encode())

    def send_bytes(self, payload: bytes, is_binary: bool = False) -> None:
        """Send a frame, whatever it holds."""
        self.sendMessage(payload, is_binary)  # type: ignore[no-untyped-call]

    async def ask(self, **frame: Any) -> Any:
        """Send a frame and give the next one that comes."""
        self.send(**frame)
        return await self.frames.get()


async def connect(port: int) -> WsClient:
    """An open WebSocket to the server."""
    client = await connecting(port)
    await client.opened
    return client


async def connecting(port: int, headers: dict[str, str] | None = None) -> WsClient:
    """A WebSocket that has sent its handshake."""
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/ws", headers=headers, reactor=reactor)
    factory.protocol = WsClient
    client = await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)
    assert isinstance(client, WsClient)
    return client


class _Collector(Protocol):
    transport: tcp.Connection

    def __init__(self, until: bytes | None) -> None:
        self.until = until
        self.data = b""
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        if self.until is not None and self.until in self.data and not self.done.called:
            self.done.callback(self.data)

    def connectionLost(self, reason: Any = None) -> None:
        if not self.done.called:
            self.done.callback(self.data)


async def raw(port: int, sent: bytes, until: bytes | None = None) -> bytes:
    """The server's answer to these bytes, up to the end of the connection or to ``until``."""
    collector = _Collector(until)
    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), collector)
    collector.transport.write(sent)
    data = await collector.done
    collector.transport.abortConnection()
    return data
