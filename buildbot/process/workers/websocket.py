"""Workers over WebSocket: the handshake, which is their login, and the messages, one frame of MessagePack each.

An agent that gets a 401, or whose connection is closed after the handshake, connects again two seconds later, so a
refusal never ends it. The bytes before the answer to the handshake are limited as at every worker port (`door`), and so
is the size of a message.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable

from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory as TwistedFactory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure
from wsproto import WSConnection
from wsproto.connection import ConnectionType
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import ProtocolError, RemoteProtocolError
from zope.interface import implementer

from buildbot.process.workers.connection import Connection
from buildbot.process.workers.door import Guest, Strangers
from buildbot.process.workers.login import Login, LoginRefusedError
from buildbot.util.background import in_background
from buildbot.util.tcp import Promptness
from buildbot.util.transport import IStream
from buildbot.util.websocket import FrameLimit

#: the longest message: a block of an upload, or the output of some seconds with its longest line
MAX_MESSAGE_BYTES = 8 * 1024 * 1024


class MessageConnection(Connection, ABC):
    """A connection whose messages come whole."""

    @abstractmethod
    def received(self, message: bytes) -> None:
        """A whole message."""


class CredentialsError(Exception):
    """The name and password in a handshake are missing or malformed; the text says why."""


#: connect(link): the connection over a link whose handshake is answered
Connect = Callable[["AgentLink"], "MessageConnection"]


@implementer(IPushProducer)
class AgentLink(Guest, TwistedProtocol):
    """One connection.

    Args:
        login: checks the logins, and takes workers into service.
        strangers: the connections that have not logged in.
        connect: makes the `Connection`.
    """

    transport: IStream

    def __init__(self, login: Login, strangers: Strangers, connect: Connect) -> None:
        self._login = login
        self._all_strangers = strangers
        self._connect = connect
        self._frames = WSConnection(ConnectionType.SERVER)
        self._connection: MessageConnection | None = None
        #: whether a handshake waits for its answer; whether nothing more is read
        self._answering = self._ending = False
        #: the part so far of a message in several frames
        self._message = bytearray()
        self._wanted = self._drained = True

    def connectionMade(self) -> None:
        """A client has connected."""
        self._promptness = Promptness(self.transport)
        self.has_come(self._all_strangers)
        self.transport.registerProducer(self, True)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client has disconnected."""
        self.has_gone()
        self._ending = True
        if self._connection is not None:
            self._connection.closed("the connection to the worker was lost")

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come; their number is limited until the worker is in service."""
        self._promptness.received()
        if self._ending or not self.may_say(len(data)):
            return
        if self._answering:
            self.drop("it sends messages before its handshake is answered")
            return
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                self._handle(event)
                if self._stopped():
                    return
        except RemoteProtocolError as problem:
            self._reject_handshake(400, f"this is for workers that speak MessagePack over WebSocket: {problem}")
        except (ProtocolError, UnicodeError) as problem:
            self.drop(f"it does not speak WebSocket ({type(problem).__name__}: {problem})")

    def _stopped(self) -> bool:
        return self._ending

    def _handle(self, event: Event) -> None:
        if isinstance(event, Request):
            self._answering = True
            in_background(self._log_in(event), f"login from {self.address}")
        elif isinstance(event, BytesMessage):
            self._message += event.data
            if len(self._message) > MAX_MESSAGE_BYTES:
                self.end(CloseReason.MESSAGE_TOO_BIG, "the message is too long")
            elif event.message_finished:
                message, self._message = bytes(self._message), bytearray()
                assert self._connection is not None, "there are no messages before the handshake is answered"
                self._connection.received(message)
        elif isinstance(event, TextMessage):
            self.end(CloseReason.UNSUPPORTED_DATA, "messages are MessagePack, not text")
        elif isinstance(event, Ping):
            self.transport.write(self._frames.send(event.response()))
        elif isinstance(event, CloseConnection):
            self.end(event.code, event.reason or "")

    async def _log_in(self, request: Request) -> None:
        try:
            name, password = credentials_of(request)
            await self._login.prove(self, name, lambda right: hmac.compare_digest(password.encode(), right.encode()))
        except CredentialsError as problem:
            self._reject_handshake(400, str(problem))
            return
        except LoginRefusedError as refused:
            self._reject_handshake(401, str(refused))
            return
        if self._ending:
            return
        self.transport.write(self._frames.send(AcceptConnection(extensions=[FrameLimit(MAX_MESSAGE_BYTES)])))
        self._answering = False
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpKeepAlive(True)
        connection = self._connection = self._connect(self)
        try:
            await self._login.enter(self, name, connection)
        except LoginRefusedError as refused:
            connection.closed(str(refused))
            self.end(CloseReason.POLICY_VIOLATION, str(refused))

    def _reject_handshake(self, status: int, why: str) -> None:
        if self._ending:
            return
        if self._connection is not None:
            self.drop(why)
            return
        self._ending = True
        headers = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Connection", b"close")]
        if status == 401:
            headers.append((b"WWW-Authenticate", b'Basic realm="workers"'))
        try:
            head = self._frames.send(RejectConnection(status_code=status, headers=headers, has_body=True))
            self.transport.write(head + self._frames.send(RejectData(data=f"{why}\n".encode())))
        except ProtocolError:  # the bytes were not HTTP
            self.drop(why)
            return
        self.is_refused()
        self.transport.loseConnection()

    def send(self, message: bytes) -> None:
        """Send a message; nothing is sent once the link ends."""
        if not self._ending:
            self.transport.write(self._frames.send(BytesMessage(message)))

    def end(self, code: int, reason: str) -> None:
        """Send the reason, and end; nothing more is read."""
        if self._ending:
            return
        self._ending = True
        self.transport.write(self._frames.send(CloseConnection(code, reason)))
        self.is_refused()  # the connection is dropped if the agent does not read that in time
        self.transport.loseConnection()

    def read(self, on: bool) -> None:
        """Stop reading, or go on."""
        self._wanted = on
        self._set_reading()

    def pauseProducing(self) -> None:
        """The agent does not read its messages: nothing is read from it."""
        self._drained = False
        self._set_reading()

    def resumeProducing(self) -> None:
        """The agent has read its messages."""
        self._drained = True
        self._set_reading()

    def stopProducing(self) -> None:
        """The connection is gone; ``connectionLost`` follows."""

    def _set_reading(self) -> None:
        if self._wanted and self._drained:
            self.transport.resumeProducing()
        else:
            self.transport.pauseProducing()


class LinkFactory(TwistedFactory):
    """The factory of links; see `AgentLink` for the arguments."""

    noisy = False

    def __init__(self, login: Login, strangers: Strangers, connect: Connect) -> None:
        self._login, self._strangers, self._connect = login, strangers, connect

    def buildProtocol(self, addr: IAddress | None) -> AgentLink | None:
        """A connection, or None: it is closed at once."""
        if not self._strangers.have_room(addr):
            return None
        return AgentLink(self._login, self._strangers, self._connect)


def credentials_of(request: Request) -> tuple[str, str]:
    """Name and password in a handshake; empty if it has none.

    Raises:
        CredentialsError: the header is malformed.
    """
    given = [value for name, value in request.extra_headers if name.lower() == b"authorization"]
    if not given:
        return "", ""
    kind, _, encoded = given[0].partition(b" ")
    if len(given) > 1 or kind.lower() != b"basic":
        raise CredentialsError("Authorization must be Basic, once")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise CredentialsError("Authorization must be name:password in UTF-8, in base64") from None
    if not colon:
        raise CredentialsError("Authorization must be name:password")
    return name, password
