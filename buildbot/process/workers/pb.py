"""Workers over Twisted's Perspective Broker.

After an `UnauthorizedLogin` an agent stays up and tries again; after any other error at login its process ends. So
every refusal is an `UnauthorizedLogin`, also of a second worker of one name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

from buildbot.process.workers.broker import Broker, Factory
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.door import Strangers
from buildbot.process.workers.login import Login, LoginRefusedError
from buildbot.process.workers.transfers import Reader, Writer
from buildbot.util.deferreds import deferred


class RefusedError(UnauthorizedLogin, pb.Error):
    """A login was refused. As a `pb.Error` it goes to the agent without a traceback in the master's log."""


def make_factory(login: Login, strangers: Strangers) -> Factory:
    """The server factory for workers over PB, and for other programs.

    Args:
        login: checks the logins, and takes workers into service.
        strangers: the connections that have not logged in, at this port and at others.
    """
    return Factory(Portal(_Realm(login), [_Checker(login)]), strangers)


@implementer(ICredentialsChecker)
class _Checker:
    """Checks logins."""

    credentialInterfaces = [IUsernameHashedPassword]

    def __init__(self, login: Login) -> None:
        self._login = login

    @deferred
    async def requestAvatarId(self, credentials: Any) -> bytes | tuple[()]:
        broker: Broker = credentials.broker
        name = credentials.username  # `buildbot user` of Buildbot 4.3 sends a text, everybody else bytes
        if isinstance(name, bytes):
            name = name.decode("utf-8", "replace")
        if not isinstance(name, str):
            broker.is_refused()
            raise RefusedError("a name is text")
        try:
            await self._login.prove(
                broker,
                name,
                lambda password: bool(credentials.checkPassword(password.encode())),
            )
        except LoginRefusedError as refused:
            raise RefusedError(str(refused)) from None
        return name.encode("utf-8", "replace")


@implementer(IRealm)
class _Realm:
    """Makes a connection for each login."""

    def __init__(self, login: Login) -> None:
        self._login = login

    @deferred
    async def requestAvatar(self, avatarId: bytes | tuple[()], mind: Any, *interfaces: Any) -> Any:
        if not avatarId or pb.IPerspective not in interfaces:
            raise RefusedError("only workers log in here")
        name = avatarId.decode()
        if mind is None:  # a worker has one
            perspective = self._login.clients.perspective(name)
            if perspective is None:
                raise RefusedError("only workers log in here")
            return pb.IPerspective, perspective, lambda: None
        try:
            await self._login.enter(mind.broker, name, PBConnection(mind))
        except LoginRefusedError as refused:
            raise RefusedError(str(refused)) from None
        return pb.IPerspective, _Avatar(name, self._login.graceful), lambda: None


class _Avatar(pb.Avatar):
    """The methods of the master that the agent may call."""

    def __init__(self, name: str, graceful: Callable[[str], None]) -> None:
        self._name, self._graceful = name, graceful

    def perspective_keepalive(self) -> None:
        """The agent's keepalive: nothing to do."""

    def perspective_shutdown(self) -> None:
        """The agent asks to be shut down when its builds are done."""
        self._graceful(self._name)


class _Command(pb.Referenceable):
    """The master's end of a running command: the agent reports to it."""

    def __init__(self, connection: PBConnection, command_id: str) -> None:
        self._connection, self._id = connection, command_id

    def remote_update(self, updates: Sequence[tuple[dict[str, object], int]]) -> None:
        """Updates, as ``[[{key: value}, 0], …]``."""
        try:
            pairs = [pair for update, _ in updates for pair in update.items()]
        except (TypeError, ValueError, AttributeError):
            self._connection.misreported(self._id, f"the worker sent an update that is none: {updates!r:.100}")
            return
        for key, value in pairs:
            self._connection.update(self._id, key, value)

    def remote_complete(self, failure: object = None) -> None:
        """The end."""
        if failure is None:
            reason = None
        elif isinstance(failure, Failure):
            reason = f"{_type(failure)}: {getattr(failure, 'value', '')}"
        else:
            reason = f"the worker ended the command with {failure!r:.100}, not with a failure"
        self._connection.complete(self._id, reason)


class _Writer(pb.Referenceable):
    """A `Writer` for agents."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def remote_write(self, data: object) -> Deferred[None]:
        """The next block."""
        return self._writer.write(data)

    def remote_close(self) -> Deferred[None]:
        """The end."""
        return self._writer.close()

    def remote_utime(self, times: object) -> Deferred[None]:
        """When the file was read and changed."""
        return self._writer.utime(times)

    def remote_unpack(self) -> Deferred[None]:
        """The end of an archive."""
        return self._writer.unpack()


class _Reader(pb.Referenceable):
    """A `Reader` for agents."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def remote_read(self, size: object) -> Deferred[bytes]:
        """The next block."""
        return self._reader.read(size)

    def remote_close(self) -> Deferred[None]:
        """The agent needs no more."""
        return self._reader.close()


def _sendable(value: object) -> object:
    """An argument of a command for PB."""
    if isinstance(value, Writer):
        return _Writer(value)
    return _Reader(value) if isinstance(value, Reader) else value


class PBConnection(Connection):
    """An agent over PB.

    Args:
        mind: the agent's root object.
    """

    def __init__(self, mind: pb.RemoteReference) -> None:
        broker: Broker = mind.broker
        super().__init__(str(broker.transport.getPeer()))
        self._mind, self._broker = mind, broker
        #: the ids of the agent's objects, by builder: an object here for each would be most of what a worker takes
        self._builders: dict[str, int] = {}
        broker.transport.setTcpKeepAlive(True)
        mind.notifyOnDisconnect(lambda _: self.closed("the connection to the worker was lost"))
        if broker.disconnected:  # there would be no notification
            self.closed("the connection to the worker was lost")

    async def get_info(self) -> dict[str, Any]:
        try:
            info = await self._call(self._mind, "getWorkerInfo")
        except RemoteError as problem:
            raise RemoteError(f"it does not tell about itself, an agent before 3.0? ({problem})") from None
        self.keep_info(info)
        return self.info

    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        told = await self._call(self._mind, "setBuilderList", [tuple(pair) for pair in directories])
        if not isinstance(told, dict) or not all(isinstance(each, pb.RemoteReference) for each in told.values()):
            raise RemoteError(f"it answers its list of builders with {told!r:.100}")
        older = self._builders
        self._builders = {name: told[name].luid for name, _ in directories if name in told}
        for name in self._builders.keys() & told.keys():
            told[name].doRefCount = 0  # the agent keeps its object though this one goes
        for luid in older.values():
            self._broker.sendDecRef(luid)

    def _builder(self, name: str) -> pb.RemoteReference:
        """The agent's object of a builder."""
        return pb.RemoteReference(None, self._broker, self._builders[name], 0)

    async def say(self, text: str) -> None:
        await self._call(self._mind, "print", text)

    async def ping(self) -> None:
        await self._call(self._mind, "getVersion")  # unlike `print` it writes no line into the agent's log

    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        if builder not in self._builders:
            raise RemoteError(f"the worker does not know builder {builder!r}")
        sent = {key: _sendable(value) for key, value in args.items()}
        await self._call(self._builder(builder), "startCommand", _Command(self, command_id), command_id, name, sent)

    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        if builder in self._builders and command_id in self._commands:  # the agent interrupts any running command
            await self._call(self._builder(builder), "interruptCommand", command_id, why)

    async def shutdown(self) -> None:
        await self._call(self._mind, "shutdown")

    def read(self, on: bool) -> None:
        transport = self._broker.transport
        if on:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def close(self) -> None:
        self._broker.transport.abortConnection()

    async def _call(self, target: pb.RemoteReference, method: str, *args: object) -> object:
        """Call a method of the agent, with the errors of `connection`."""
        try:
            return await target.callRemote(method, *args)
        except (pb.PBConnectionLost, pb.DeadReferenceError, ConnectionClosed):
            raise WorkerLostError("the connection to the worker was lost") from None
        except pb.RemoteError as problem:
            raise RemoteError(f"{_type(problem)}: {problem.args[0]}") from None


def _type(problem: object) -> str:
    """The class name of a failure of the agent, which comes as text or bytes, with or without its module."""
    name = problem.remoteType if isinstance(problem, pb.RemoteError) else getattr(problem, "type", "Failure")
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.rpartition(".")[2]
