"""Listening with room for many, and messages that are not kept waiting."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from buildbot.util import tcp

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
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            await turn
        turn = Deferred()
        reactor.callLater(0, turn.callback, None)
        await turn
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
