"""The port for MessagePack over WebSocket, in memory: logins, and messages that no agent sends."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgpack
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from buildbot.config.builder import BuilderConfig
from buildbot.config.master import MasterConfig
from buildbot.process.factory import BuildFactory
from buildbot.process.remotecommand import RemoteCommand
from buildbot.process.workers import door, messagepack, websocket
from buildbot.process.workers.connection import RemoteError, WorkerLostError
from buildbot.process.workers.login import Login
from buildbot.process.workers.manager import WorkerManager
from buildbot.process.workers.spelling import Spelled
from buildbot.process.workers.transfers import Writer
from buildbot.test.recording import Recording
from buildbot.worker.base import Worker

INFO = {"admin": "Jo\n", "version": "4.3.0", "system": "posix", "basedir": "/w", "environ": {"HOME": "/home/w"}}
_StringTransport: Any = StringTransport  # has no types


class Transport(_StringTransport):  # type: ignore[misc]
    """A transport that notifies the protocol of its end, and hands written bytes to the agent."""

    def __init__(self, agent: Agent, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 1))
        self.agent = agent
        self.disconnecting: bool = False

    def write(self, data: bytes) -> None:
        self.agent.unread.append(data)

    def abortConnection(self) -> None:
        self.loseConnection()

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self.agent.clock.callLater(0, self.agent.link.connectionLost, None)


class Agent:
    """An agent that answers requests, and sends messages of the test."""

    def __init__(self, factory: Any, clock: Clock, host: str = "192.0.2.1") -> None:
        self.clock = clock
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.unread: list[bytes] = []
        #: the master's other messages: answers to handshakes, closes, pongs
        self.events: list[Any] = []
        self.asked: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {"get_worker_info": INFO}
        self._message = b""
        self.link: Any = factory.buildProtocol(IPv4Address("TCP", host, 1))
        if self.link is not None:
            self.link.makeConnection(Transport(self, host))

    def login(self, authorization: str | None = "w:p") -> None:
        headers = (
            [] if authorization is None else [(b"Authorization", b"Basic " + base64.b64encode(authorization.encode()))]
        )
        self.say(self.ws.send(Request(host="master", target="/", extra_headers=headers)))

    def say(self, data: bytes) -> None:
        """Send bytes, and take the answers."""
        self.link.dataReceived(data)
        self.turn()

    def message(self, message: Any) -> None:
        self.say(self.ws.send(BytesMessage(message if isinstance(message, bytes) else msgpack.packb(message))))

    def turn(self) -> None:
        """Answer everything."""
        while self.unread:
            self.ws.receive_data(self.unread.pop(0))
            for event in self.ws.events():
                if not isinstance(event, BytesMessage):
                    self.events.append(event)
                    continue
                self._message += event.data
                if event.message_finished:
                    message, self._message = msgpack.unpackb(self._message), b""
                    self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if message["op"] == "response":
            self.responses.append(message)
            return
        self.asked.append(message)
        answer = {"op": "response", "seq_number": message["seq_number"], "result": self.answers.get(message["op"])}
        self.link.dataReceived(self.ws.send(BytesMessage(msgpack.packb(answer))))
        if message["op"] == "start_command" and message["command_name"] == "mkdir":
            for number, (op, args) in enumerate((("update", [["rc", 0]]), ("complete", None))):
                said = {"op": op, "seq_number": number, "command_id": message["command_id"], "args": args}
                self.link.dataReceived(self.ws.send(BytesMessage(msgpack.packb(said))))

    @property
    def is_gone(self) -> bool:
        return bool(self.link.transport.disconnecting)

    def saw(self, kind: type) -> Any:
        return next((event for event in self.events if isinstance(event, kind)), None)


class Port:
    """A manager, and agents that come to it in memory."""

    def __init__(self) -> None:
        self.master = Recording()
        self.clock = self.master.reactor = Clock()
        self.manager = WorkerManager(self.master)
        self.strangers = door.Strangers(self.clock)
        manager: Any = self.manager
        self.login = Login(self.clock, manager._password, manager._attach, manager._ask_graceful, manager.clients)
        self.factory = messagepack.make_factory(self.login, self.strangers)

    async def start(self) -> None:
        builder = BuilderConfig(name="b", workernames=["w"], factory=BuildFactory())
        await self.manager.start(
            MasterConfig(Path(), workers=[Worker("w", "p", missing_timeout=0)], builders=[builder], protocols={})
        )

    def agent(self, host: str = "192.0.2.1") -> Agent:
        return Agent(self.factory, self.clock, host)

    def in_service(self) -> Agent:
        agent = self.agent()
        agent.login()
        assert self.connection is not None
        agent.asked.clear()
        agent.events.clear()
        return agent

    @property
    def connection(self) -> Any:
        return self.manager.workers["w"].connection


def new_port() -> Port:
    made = Port()
    started = ensureDeferred(made.start())
    assert started.called
    return made


def test_login() -> None:
    """The handshake is the login; then the master asks, says how output comes and makes directories."""
    port = new_port()
    agent = port.agent()
    assert port.strangers.count == 1
    agent.login()
    assert agent.saw(AcceptConnection) and port.strangers.count == 0
    assert [each["op"] for each in agent.asked] == ["get_worker_info", "set_worker_settings", "start_command", "print"]
    assert agent.asked[2]["args"] == {"paths": ["/w/b"]}
    assert port.connection.info == {key: value for key, value in INFO.items() if key != "environ"}
    assert port.manager.available("b")
    port.clock.advance(door.WELCOME_S * 2)
    assert not agent.is_gone


@pytest.mark.parametrize(
    ("authorization", "status", "text"),
    [
        ("w:wrong", 401, "unknown name or wrong password"),
        ("stranger:p", 401, "unknown name or wrong password"),
        (None, 401, "unknown name or wrong password"),
        ("w:p:p", 401, "unknown name or wrong password"),
        ("w", 400, "Authorization must be name:password"),
    ],
)
def test_refused(authorization: str | None, status: int, text: str) -> None:
    """A wrong password is refused in HTTP, and the connection ends."""
    port = new_port()
    agent = port.agent()
    agent.login(authorization)
    assert agent.saw(RejectConnection).status_code == status
    assert text in agent.saw(RejectData).data.decode()
    assert agent.is_gone and port.connection is None
    port.clock.advance(door.LOGIN_S)
    assert port.strangers.count == 0 and port.clock.getDelayedCalls() == []


@pytest.mark.parametrize("value", ["changed", None, 3])
def test_passwords_that_are_rendered(value: Any) -> None:
    """A renderable, as a secret is one, is asked at each login; with one that gives no text no login succeeds."""

    class Secret:
        value: Any = "first"

        def getRenderingFor(self, props: Any) -> Any:
            return succeed(self.value)

    port, secret = new_port(), Secret()
    port.manager.workers["w"].config.password = secret  # type: ignore[assignment]
    agent = port.agent()
    agent.login("w:first")
    assert agent.saw(AcceptConnection)
    agent.link.connectionLost(None)
    secret.value = value
    agent = port.agent()
    agent.login(f"w:{value}")
    assert bool(agent.saw(AcceptConnection)) == (value == "changed")


def test_a_second_of_the_name() -> None:
    """Its handshake succeeds, then it is closed with the reason; the first one stays."""
    port = new_port()
    first = port.in_service()
    second = port.agent()
    second.login()
    first.turn()
    second.turn()
    closed = second.saw(CloseConnection)
    assert "connected already" in closed.reason and second.is_gone and not first.is_gone


def test_a_silent_client_is_dropped() -> None:
    """As at the other port: without a password, and with one but without an answer."""
    port = new_port()
    silent, mute = port.agent(), port.agent()
    mute.answers = {}
    mute._take = lambda message: None  # type: ignore[method-assign]
    mute.login()
    port.clock.advance(door.LOGIN_S)
    assert silent.is_gone and mute.is_gone and port.connection is None


def test_crowds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections without a login are limited, for one address and overall."""
    monkeypatch.setattr(door, "share", lambda part, most: 4)
    port = new_port()
    assert [port.agent().link is None for _ in range(3)] == [False, False, True]
    assert [port.agent(f"192.0.2.{n}").link is None for n in range(2, 5)] == [False, False, True]


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01\x02",
        b"POST / HTTP/1.1\r\nHost: m\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: m\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"x" * 20_000,
        b"GET /" + b"x" * 20_000,
        b"\x02pb\x80",
    ],
    ids=["no HTTP", "POST", "no WebSocket", "long head", "long line", "PB"],
)
def test_invalid_handshakes_end_the_connection(said: bytes) -> None:
    """An invalid handshake, or one that is too long, ends the connection."""
    port = new_port()
    agent = port.agent()
    agent.link.dataReceived(said)
    if not agent.is_gone:
        port.clock.advance(door.LOGIN_S)
    assert agent.is_gone


def test_impatient() -> None:
    """A client that sends more before the handshake's answer is dropped: it could fill the memory meanwhile."""
    port = new_port()
    agents = [port.agent() for _ in range(6)]
    for agent in agents:
        agent.login("w:wrong")
    waiting = port.agent()
    waiting.login()  # it waits, for the wrong ones of its address
    assert not waiting.is_gone
    waiting.link.dataReceived(b"more")
    assert waiting.is_gone


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"\xc1", None),
        (msgpack.packb([1]), None),
        (msgpack.packb({"op": "update"}), None),
        (msgpack.packb({"op": "update", "seq_number": "x"}), None),
        (msgpack.packb({"op": "update", "seq_number": 1})[:-1], None),
        (b"\xdd\xff\xff\xff\xff", None),
        (b"\x91" * 5000, None),
        (b"\xc7\x01\x05x", None),
        (msgpack.packb({1: 2}), None),
        (b"x" * (websocket.MAX_MESSAGE_BYTES + 1), CloseConnection),
        (TextMessage("hello"), CloseConnection),
    ],
    ids=["none", "list", "no number", "number", "cut", "items", "deep", "ext", "keys", "long", "text"],
)
def test_rubbish(said: Any, kind: type | None) -> None:
    """An invalid message ends the connection, and nothing is kept of it."""
    port = new_port()
    agent = port.in_service()
    event = said if isinstance(said, TextMessage) else BytesMessage(said)
    agent.say(agent.ws.send(event))
    assert agent.is_gone and (kind is None or agent.saw(kind))
    port.clock.advance(0)
    assert port.connection is None


def test_long_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message of many frames is not longer than one."""
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 1000)
    port = new_port()
    agent = port.in_service()
    for _ in range(3):
        agent.say(agent.ws.send(BytesMessage(b"x" * 400, message_finished=False)))
    assert agent.saw(CloseConnection).reason == "the message is too long" and agent.is_gone


def test_requests_of_the_agent() -> None:
    """Each is answered, an unknown one with an error; an agent that does not wait for answers is dropped."""
    port = new_port()
    agent = port.in_service()
    messages: list[dict[str, Any]] = [
        {"op": "dance"},
        {"op": "update", "command_id": "9", "args": [["rc", 0]]},
        {"op": "update_upload_file_write", "command_id": "9", "args": b"x"},
        {"op": "update_read_file", "command_id": "9"},
    ]
    for number, message in enumerate(messages):
        agent.message({"seq_number": number, **message})
    del agent.responses[:-4]
    said = [(each.get("is_exception", False), each["result"]) for each in agent.responses]
    assert said[0] == (True, "RemoteError: the master has no 'dance'") and said[1] == (False, None)
    assert said[2:] == [(True, "RemoteError: no transfer of this id is running")] * 2
    port.connection._running["9"] = Spelled("upload_file", {}, Slow())
    for number in range(messagepack.MAX_WAITING + 1):
        agent.message({"op": "update_upload_file_write", "seq_number": number, "command_id": "9", "args": b"x"})
    assert agent.is_gone


class Slow(Writer):
    """The master's end of a transfer, which does not keep up."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[None]] = []

    def _take(self, data: bytes) -> Deferred[None]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        ("rubbish", "sent an update that is none: 'rubbish'"),
        ([["rc"]], "sent an update that is none"),
        (None, "sent an update that is none: None"),
        ([["stdout", []]], "sent an update that is none"),
        ([["stdout", [1]]], "sent 1 as stdout, not a text"),
        ([["log", ["name"]]], "sent an update that is none"),
        ([["log", ["name", [3]]]], "as log, not a name and a text"),
        ([["rc", [0]]], r"sent \[0\] as the exit status"),
    ],
)
def test_rubbish_updates(update: Any, complaint: str) -> None:
    """News that cannot be read fail the command, which the agent is asked to stop."""
    port = new_port()
    agent = port.in_service()
    running = ensureDeferred(RemoteCommand("shell", {"workdir": "", "command": "x"}).run(port.connection, "b"))
    agent.turn()
    command_id = agent.asked[-1]["command_id"]
    agent.message({"op": "update", "seq_number": 7, "command_id": command_id, "args": update})
    assert agent.asked[-1]["op"] == "interrupt_command"
    agent.message({"op": "complete", "seq_number": 8, "command_id": command_id, "args": None})
    failed: list[Any] = []
    running.addErrback(failed.append)
    with pytest.raises(RemoteError, match=complaint):
        failed[0].raiseException()


def test_lost() -> None:
    """Requests and commands under way fail when the connection is lost."""
    port = new_port()
    agent = port.in_service()
    connection = port.connection
    agent._take = lambda message: None  # type: ignore[method-assign]
    asked, running = (
        ensureDeferred(connection.ping()),
        ensureDeferred(RemoteCommand("stat", {"file": "x"}).run(connection, "b")),
    )
    agent.link.connectionLost(None)
    for each in (asked, running):
        failed: list[Any] = []
        each.addErrback(failed.append)
        assert failed[0].check(WorkerLostError)
    assert port.connection is None


def test_ping_and_close() -> None:
    """Pings are answered; a close ends the connection."""
    port = new_port()
    agent = port.in_service()
    agent.say(agent.ws.send(Ping(b"x")))
    assert agent.saw(Pong)
    agent.say(agent.ws.send(CloseConnection(1000)))
    assert agent.is_gone


def test_an_agent_that_does_not_read() -> None:
    """Nothing more is read from an agent while it does not take what it is sent, or its output cannot be stored."""
    port = new_port()
    agent = port.in_service()
    transport = agent.link.transport
    agent.link.pauseProducing()
    port.connection.hold_back(True)
    agent.link.resumeProducing()
    assert transport.producerState == "paused"
    port.connection.hold_back(False)
    assert transport.producerState == "producing"
