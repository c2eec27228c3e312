"""Workers over Twisted's Perspective Broker.

What an agent is answered at login decides its fate: with `UnauthorizedLogin` it stays up and tries again, after any
other error its process ends. So every refusal, also that of a second worker of one name, is an `UnauthorizedLogin`:
workers come and go by themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameHashedPassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.spread import pb
from zope.interface import implementer

from buildbot.process.workers import door
from buildbot.process.workers.connection import Connection, DuplicateWorkerError, RemoteError, WorkerLostError
from buildbot.util.deferreds import deferred
from buildbot.util.guessing import Guesses, TooManyGuessesError

_log = Logger()

#: what is kept and logged of the name that somebody claims to have
_NAME_CHARS = 200
#: what is kept of what a worker tells about itself: bytes of all keys and values, and of one value
_INFO_BYTES = 256 * 1024

#: attach(name, connection): takes a new connection into service, or raises
Attach = Callable[[str, Connection], Awaitable[None]]
#: passwords(name): the password of a configured worker; None for an unknown one
Passwords = Callable[[str], str | None]


class RefusedError(UnauthorizedLogin, pb.Error):
    """A login was refused. As a `pb.Error` it goes to the agent without a traceback in the master's log."""


def make_factory(reactor: Any, passwords: Passwords, attach: Attach, graceful: Callable[[str], None]) -> door.Factory:
    """The server factory that lets workers in.

    Args:
        reactor: for time.
        passwords: gives the password of a worker.
        attach: called with each new connection before its login is answered; what it raises refuses the login.
        graceful: called with the name of a worker that asks to be shut down after its builds.
    """
    return door.Factory(Portal(_Realm(attach, graceful), [_Checker(passwords, Guesses(reactor))]), reactor)


@implementer(ICredentialsChecker)
class _Checker:
    """Knows who may log in. The agent hears the same about a wrong name as about a wrong password."""

    credentialInterfaces = [IUsernameHashedPassword]

    def __init__(self, passwords: Passwords, guesses: Guesses) -> None:
        self._passwords = passwords
        self._guesses = guesses

    @deferred
    async def requestAvatarId(self, credentials: Any) -> bytes | tuple[()]:
        if not isinstance(credentials.username, bytes):
            credentials.broker.is_refused()
            raise RefusedError("a name is text")
        name: str = credentials.username.decode("utf-8", "replace")[:_NAME_CHARS]
        broker: door.Broker = credentials.broker
        try:
            await self._guesses.turn(broker.address, name)
        except TooManyGuessesError as problem:
            broker.is_refused()
            raise RefusedError(f"worker {name!r}: {problem}") from None
        password = self._passwords(name)
        if password is not None and credentials.checkPassword(password.encode()):
            self._guesses.right(broker.address, name)
            broker.password_was_right()
            return bytes(credentials.username)
        self._guesses.wrong(broker.address, name)
        broker.is_refused()
        why = "wrong password" if password is not None else "master.cfg has no worker of this name"
        _log.warn("worker {name} at {address} refused: {why}", name=name, address=broker.address, why=why)
        raise RefusedError(f"worker {name!r}: unknown name or wrong password")


@implementer(IRealm)
class _Realm:
    """Makes a connection of each login."""

    def __init__(self, attach: Attach, graceful: Callable[[str], None]) -> None:
        self._attach, self._graceful = attach, graceful

    @deferred
    async def requestAvatar(self, avatarId: bytes | tuple[()], mind: Any, *interfaces: Any) -> Any:
        if not avatarId or pb.IPerspective not in interfaces or mind is None:
            raise RefusedError("only workers log in here")
        name = avatarId.decode()
        connection, broker = PBConnection(mind), mind.broker
        try:
            await self._attach(name, connection)
        except Exception as problem:
            _log.warn(
                "worker {name} at {peer} refused: {problem}",
                name=name,
                peer=connection.peer,
                problem=problem,
            )
            if not isinstance(problem, (DuplicateWorkerError, RemoteError, WorkerLostError)):
                _log.failure("login of worker {name}", name=name)
            broker.is_refused()
            raise RefusedError(f"worker {name!r}: {problem}") from None
        broker.is_in_service()
        return pb.IPerspective, _Avatar(name, self._graceful), lambda: None


class _Avatar(pb.Avatar):
    """What the agent may call in the master."""

    def __init__(self, name: str, graceful: Callable[[str], None]) -> None:
        self._name, self._graceful = name, graceful

    def perspective_keepalive(self) -> None:
        """The agent's own sign of life; arriving is all it has to do."""

    def perspective_shutdown(self) -> None:
        """The agent asks to be shut down when its builds are done."""
        self._graceful(self._name)


class _Command(pb.Referenceable):
    """The master's end of a running command: the agent reports to it."""

    def __init__(self, connection: PBConnection, command_id: str) -> None:
        self._connection, self._id = connection, command_id

    def remote_update(self, updates: Sequence[tuple[dict[str, Any], int]]) -> None:
        """News, as ``[[{key: value}, 0], …]``."""
        try:
            pairs = [pair for update, _ in updates for pair in update.items()]
        except (TypeError, ValueError, AttributeError):
            self._connection.misreported(self._id, f"the worker sent an update that is none: {updates!r:.100}")
            return
        for key, value in pairs:
            self._connection.update(self._id, key, value)

    def remote_complete(self, failure: Any = None) -> None:
        """The end."""
        if failure is None:
            reason = None
        elif isinstance(failure, Failure):
            reason = f"{_type(failure)}: {getattr(failure, 'value', '')}"
        else:
            reason = f"the worker ended the command with {failure!r:.100}, not with a failure"
        self._connection.complete(self._id, reason)


class PBConnection(Connection):
    """An agent over PB.

    Args:
        mind: the agent's root object.
    """

    def __init__(self, mind: pb.RemoteReference) -> None:
        super().__init__(str(mind.broker.transport.getPeer()))
        self._mind = mind
        self._builders: dict[str, pb.RemoteReference] = {}
        mind.broker.transport.setTcpKeepAlive(True)
        mind.notifyOnDisconnect(lambda _: self.closed("the connection to the worker was lost"))
        if mind.broker.disconnected:  # it would never be told
            self.closed("the connection to the worker was lost")

    async def get_info(self) -> dict[str, Any]:
        try:
            info = await self._call(self._mind, "getWorkerInfo")
        except RemoteError as problem:
            raise RemoteError(f"it does not tell about itself, an agent before 3.0? ({problem})") from None
        if not isinstance(info, dict):
            raise RemoteError(f"its information is not a dictionary but {info!r}")
        told = {key: value for key, value in info.items() if key != "environ"}  # it may hold secrets
        size = len(repr(told))
        if size > _INFO_BYTES:
            raise RemoteError(f"its information is longer than {_INFO_BYTES} characters ({size})")
        self.info = told
        return self.info

    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        self._builders = await self._call(self._mind, "setBuilderList", [tuple(pair) for pair in directories])

    async def say(self, text: str) -> None:
        await self._call(self._mind, "print", text)

    async def ping(self) -> None:
        await self._call(self._mind, "getVersion")  # unlike `print` it leaves no line in the agent's log

    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        if builder not in self._builders:
            raise RemoteError(f"the worker does not know builder {builder!r}")
        await self._call(self._builders[builder], "startCommand", _Command(self, command_id), command_id, name, args)

    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        if builder in self._builders and command_id in self._commands:  # the agent interrupts whatever runs
            await self._call(self._builders[builder], "interruptCommand", command_id, why)

    async def shutdown(self) -> None:
        await self._call(self._mind, "shutdown")

    def read(self, on: bool) -> None:
        transport = self._mind.broker.transport
        if on:
            transport.resumeProducing()
        else:
            transport.pauseProducing()

    def close(self) -> None:
        self._mind.broker.transport.abortConnection()

    async def _call(self, target: pb.RemoteReference, method: str, *args: Any) -> Any:
        """Call the agent, with errors in this project's terms."""
        try:
            return await target.callRemote(method, *args)
        except (pb.PBConnectionLost, pb.DeadReferenceError, ConnectionClosed):
            raise WorkerLostError("the connection to the worker was lost") from None
        except pb.RemoteError as problem:
            raise RemoteError(f"{_type(problem)}: {problem.args[0]}") from None


def _type(problem: Any) -> str:
    """The class name of a failure of the agent, which comes as text or bytes, with or without its module."""
    name = problem.remoteType if isinstance(problem, pb.RemoteError) else getattr(problem, "type", "Failure")
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return text.rpartition(".")[2]
