"""The worker port before the login: limits of time, connections and bytes."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.spread import banana, pb
from zope.interface import implementer

from buildbot.process.workers import broker as pb_broker
from buildbot.process.workers import door


@implementer(pb.IPBRoot)
class Root:
    def rootObject(self, broker: Any) -> Any:
        return pb.Root()


class Door:
    """A port whose connections are in memory, and whose time a test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.strangers = door.Strangers(self.clock)
        self.factory = pb_broker.Factory(Root(), self.strangers)

    def connect(self, host: str = "192.0.2.1") -> Any:
        """A new connection, or None where it is closed at once."""
        peer = IPv4Address("TCP", host, 1)
        broker: Any = self.factory.buildProtocol(peer)
        if broker is not None:
            broker.makeConnection(Transport(broker, peer))
        return broker


_StringTransport: Any = StringTransport  # has no types


class Transport(_StringTransport):  # type: ignore[misc]
    """A transport that keeps how it was ended, and notifies the protocol."""

    def __init__(self, broker: Any, peer: Any) -> None:
        super().__init__(peerAddress=peer)
        self.broker = broker

    def abortConnection(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        if not self.disconnecting:
            super().loseConnection()
            self.broker.connectionLost(None)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.setattr(door, "share", lambda part, most: 8)
    return Door()


def gone(broker: Any) -> bool:
    return bool(broker.transport.disconnecting)


def test_a_silent_client_is_dropped(port: Door) -> None:
    """A connection that has not logged in after a while ends, and is not counted any more."""
    broker = port.connect()
    port.clock.advance(door.LOGIN_S - 1)
    assert not gone(broker)
    assert port.strangers.count == 1
    port.clock.advance(1)
    assert gone(broker)
    assert port.strangers.count == 0


def test_a_worker_that_has_logged_in_may_stay(port: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker in service is no stranger, however long it says nothing and however much it says."""
    monkeypatch.setattr(door, "MAX_GUEST_BYTES", 1000)
    broker = port.connect()
    broker.password_was_right()
    assert port.strangers.count == 0
    broker.is_in_service()
    port.clock.advance(door.WELCOME_S * 10)
    broker.dataReceived(banana.encode(b"pb"))
    for _ in range(10):
        broker.dataReceived(banana.encode([b"version", pb.Broker.version]) * 100)
    assert not gone(broker)
    assert port.clock.getDelayedCalls() == []


def test_a_login_that_does_not_end(port: Door) -> None:
    """A worker that does not answer while it is taken into service is dropped."""
    broker = port.connect()
    broker.password_was_right()
    port.clock.advance(door.WELCOME_S)
    assert gone(broker)


def test_a_refused_client_has_a_moment(port: Door) -> None:
    """The refusal can be read, then the connection ends."""
    broker = port.connect()
    broker.is_refused()
    port.clock.advance(door.REFUSED_S / 2)
    assert not gone(broker)
    port.clock.advance(door.REFUSED_S)
    assert gone(broker)


def test_crowds(port: Door) -> None:
    """One address has half the places, all have eight; after a while the oldest gives way to a new one."""
    crowd = [port.connect() for _ in range(4)]
    assert port.connect() is None  # these have just come
    others = [port.connect(f"192.0.2.{number}") for number in range(2, 6)]
    assert None not in others
    assert port.connect("192.0.2.9") is None
    port.clock.advance(door.GRACE_S)
    assert port.connect("192.0.2.9") is not None
    assert [gone(each) for each in crowd] == [True, False, False, False]
    assert port.connect("192.0.2.1") is not None
    assert port.strangers.count == 8


def test_crowds_of_ipv6(port: Door) -> None:
    """The addresses of one /64 have half the places together."""
    assert None not in [port.connect(f"2001:db8::{number}") for number in range(4)]
    assert port.connect("2001:db8::9") is None
    assert port.connect("2001:db8:0:1::9") is not None


@pytest.mark.parametrize(
    "said",
    [
        b"x" * 10,
        b"\x01\x80" * 9000,
        b"\x01\x80" * 30,
        banana.encode(b"pb") + b"\x01\x80" * 30 + banana.encode(1),
        b"\x7f\x7f\x7f\x80",
        banana.encode(b"pb") + banana.encode(b"x" * 9000) + banana.encode(b"x" * 9000),
        b"\xff",
    ],
    ids=["no type", "many lists", "deep", "deep and whole", "long list", "long", "unknown type"],
)
def test_what_strangers_say(port: Door, said: bytes) -> None:
    """Much, deeply nested, or no PB: it is dropped, or forgotten with the connection soon after."""
    broker = port.connect()
    broker.dataReceived(said)
    if not gone(broker):
        port.clock.advance(door.LOGIN_S)
    assert gone(broker)


def test_much_in_pieces(port: Door) -> None:
    """A text of which much is announced is not kept: all that comes counts."""
    broker = port.connect()
    broker.dataReceived(banana.encode(b"pb") + b"\x00\x00\x20\x82")
    sent = 0
    while not gone(broker):
        broker.dataReceived(b"x" * 1024)
        sent += 1024
        assert sent <= door.MAX_STRANGER_BYTES
