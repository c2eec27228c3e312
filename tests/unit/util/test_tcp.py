"""Listening with room for many, and messages that are not kept waiting."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from buildbot.util import tcp
from tests.support.events import next_turn

reactor: Any = _reactor
#: more than the 50 that Twisted has the kernel hold
MANY = 200


class Greeter(Protocol):
    """A server that greets each client, and keeps its `Promptness`."""

    def connectionMade(self) -> None:
        assert self.factory is not None and self.transport is not None
        self.promptness = tcp.Promptness(self.transport)
        self.factory.met.append(self)
        self.transport.write(b"hello")

    def dataReceived(self, data: bytes) -> None:
        self.promptness.received()
        assert self.factory is not None
        self.factory.heard.callback(self)


def greeters() -> Any:
    factory: Any = Factory.forProtocol(Greeter)
    factory.met, factory.heard, factory.noisy = [], Deferred(), False
    return factory


async def test_many_clients_at_once_are_all_served() -> None:
    """While the reactor stands still the kernel takes them all, and the reactor then meets them all."""
    factory = greeters()
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    clients = [socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30) for _ in range(MANY)]
    try:
        while len(factory.met) < MANY:
            await next_turn()
        await next_turn()
        assert [client.recv(5) for client in clients] == [b"hello"] * MANY
    finally:
        for client in clients:
            client.close()
        await port.stopListening()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("tcp:9989", "tcp:9989:backlog=4096"),
        ("tcp:9989:interface=127.0.0.1", "tcp:9989:interface=127.0.0.1:backlog=4096"),
        (r"tcp6:9989:interface=\:\:1", r"tcp6:9989:interface=\:\:1:backlog=4096"),
        ("ssl:443:privateKey=k.pem", "ssl:443:privateKey=k.pem:backlog=4096"),
        ("unix:/run/bb", "unix:/run/bb:backlog=4096"),
        ("tcp:9989:backlog=10", "tcp:9989:backlog=10"),
        (r"unix:/run/a\:backlog=1", r"unix:/run/a\:backlog=1:backlog=4096"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
    ],
)
def test_a_configured_backlog_stays(given: str, used: str) -> None:
    """An endpoint that makes its own sockets, or names its backlog, is left alone."""
    assert tcp._with_backlog(given) == used


async def test_small_messages_go_out_at_once() -> None:
    """TCP_NODELAY is on from the start, and data that comes is acknowledged at once (on Linux)."""
    factory = greeters()
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    client = socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30)
    try:
        client.sendall(b"x")
        met = await factory.heard
        handle = met.transport.getHandle()
        assert handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if tcp._QUICKACK is not None:
            assert handle.getsockopt(socket.IPPROTO_TCP, tcp._QUICKACK)
    finally:
        client.close()
        await port.stopListening()


async def test_unix_sockets_are_left_alone(tmp_path: Path) -> None:
    """Unix sockets have no such options; they are served all the same."""
    factory = greeters()
    port: Any = await tcp.listen(reactor, f"unix:{tmp_path / 'socket'}", factory)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "socket"))
        client.sendall(b"x")
        await factory.heard
    await port.stopListening()


class Sender(Protocol):
    """A server that sends what it is told to each client, and closes the connection if it is told to."""

    def connectionMade(self) -> None:
        factory: Any = self.factory
        assert self.transport is not None
        for part in factory.parts:
            self.transport.write(part)
        factory.met.append(self)
        if factory.closes:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        factory: Any = self.factory
        factory.lost.callback(reason)


def senders(*parts: bytes, closes: bool = True) -> Any:
    factory: Any = Factory.forProtocol(Sender)
    factory.met, factory.lost, factory.noisy, factory.parts, factory.closes = [], Deferred(), False, parts, closes
    return factory


async def _read_all(client: socket.socket) -> bytes:
    return await deferToThread(lambda: b"".join(iter(lambda: client.recv(65536), b"")))


@pytest.mark.parametrize("size", [0, 10, 10_000_000])
async def test_everything_is_sent_before_the_end(size: int) -> None:
    """Bytes that the socket does not take at once follow when it has room; the connection ends after the last one."""
    parts = [b"a" * size, b"b" * size, b"the end"]
    factory = senders(*parts)
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30) as client:
        assert await _read_all(client) == b"".join(parts)
        with pytest.raises(ConnectionDone):
            await factory.lost
    await port.stopListening()


async def test_messages_of_one_turn_are_one_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sent by one call, and the kernel is not asked whether there is room."""
    asked: list[Any] = []
    add_writer = reactor.addWriter

    def noted(each: Any) -> None:
        asked.append(each)
        add_writer(each)

    monkeypatch.setattr(reactor, "addWriter", noted)
    factory = senders(b"one ", b"two ", b"three", closes=False)
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30) as client:
        assert await deferToThread(client.recv, 100) == b"one two three"
        assert asked == []
    with pytest.raises(ConnectionDone):
        await factory.lost
    await port.stopListening()


async def test_a_client_that_goes_while_it_is_written_to() -> None:
    """The connection ends as any other that is lost."""
    factory = senders(closes=False)
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    client = socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while not factory.met:
        await next_turn()
    client.close()
    for _ in range(3):
        factory.met[0].transport.write(b"too late")
    with pytest.raises((ConnectionLost, ConnectionDone)):
        await factory.lost
    factory.met[0].transport.write(b"later still")
    await port.stopListening()


async def test_a_producer_is_asked_for_more() -> None:
    """A producer that writes when it is asked fills the connection as fast as the client reads."""
    factory = senders(closes=False)
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)

    class Producer:
        left = 50

        def resumeProducing(self) -> None:
            transport = factory.met[0].transport
            if self.left:
                self.left -= 1
                transport.write(b"x" * 100_000)
            else:
                transport.unregisterProducer()
                transport.loseConnection()

        def stopProducing(self) -> None:
            self.left = 0

    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30) as client:
        while not factory.met:
            await next_turn()
        factory.met[0].transport.registerProducer(Producer(), False)
        assert len(await _read_all(client)) == 5_000_000
        with pytest.raises(ConnectionDone):
            await factory.lost
    await port.stopListening()


async def test_a_message_that_came_with_its_connection() -> None:
    """A client that has waited for the server to accept it is read in that turn."""
    order: list[str] = []

    class Reads(Protocol):
        def connectionMade(self) -> None:
            reactor.callLater(0, order.append, "the next turn")

        def dataReceived(self, data: bytes) -> None:
            order.append(data.decode())

    factory: Any = Factory.forProtocol(Reads)
    factory.noisy = False
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    with socket.create_connection(("127.0.0.1", port.getHost().port), timeout=30) as client:
        client.sendall(b"hello")
        while len(order) < 2:
            await next_turn()
    assert order == ["hello", "the next turn"]
    await port.stopListening()


async def test_a_protocol_that_fails() -> None:
    """Its connection ends, and the one that is served after it in the same turn goes on."""
    heard: list[bytes] = []
    lost: Deferred[Any] = Deferred()

    class Fails(Protocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)
            if data == b"bad":
                raise RuntimeError("no")

        def connectionLost(self, reason: Any = None) -> None:
            if not lost.called:
                lost.callback(None)

    factory: Any = Factory.forProtocol(Fails)
    factory.noisy = False
    port: Any = await tcp.listen(reactor, "tcp:0:interface=127.0.0.1", factory)
    where = ("127.0.0.1", port.getHost().port)
    with socket.create_connection(where, timeout=30) as bad, socket.create_connection(where, timeout=30) as good:
        bad.sendall(b"bad")
        good.sendall(b"good")
        await lost
        assert sorted(heard) == [b"bad", b"good"]
    await port.stopListening()
