"""Logins of workers, in all protocols: the password is checked, then the worker is taken into service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from buildbot.process.workers.clients import Clients
from buildbot.process.workers.connection import Connection, DuplicateWorkerError, RemoteError, WorkerLostError
from buildbot.process.workers.door import Guest
from buildbot.util.guessing import Guesses, TooManyGuessesError

_log = Logger()

#: characters of a name that are kept and logged
_NAME_CHARS = 200

#: attach(name, connection): takes a new connection into service, or raises
Attach = Callable[[str, Connection], Awaitable[None]]
#: passwords(name): the password of a configured worker; None for an unknown one
Passwords = Callable[[str], Awaitable[str | None]]


class LoginRefusedError(Exception):
    """A login was refused; the text is for the agent."""


class Login:
    """The logins of workers; one object for all ports, so that guesses at one count at the others.

    Args:
        reactor: for time.
        passwords: gives the password of a worker.
        attach: called with each new connection before its login is over; its error refuses the login.
        graceful: called with the name of a worker that asks to be shut down after its builds.
        clients: programs that are no workers and log in too.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        passwords: Passwords,
        attach: Attach,
        graceful: Callable[[str], None],
        clients: Clients,
    ) -> None:
        self.graceful = graceful
        self.clients = clients
        self._passwords = passwords
        self._attach = attach
        self._guesses = Guesses(reactor)

    async def prove(self, guest: Guest, name: str, knows: Callable[[str], bool]) -> None:
        """Check a worker's password; after wrong ones this takes a while.

        Args:
            guest: the connection.
            name: the name of the worker that it gives.
            knows: whether the connection knows a password.

        Raises:
            LoginRefusedError: it does not; a wrong name has the same answer as a wrong password.
        """
        name = name[:_NAME_CHARS]
        try:
            await self._guesses.turn(guest.address, name)
        except TooManyGuessesError as problem:
            guest.is_refused()
            raise LoginRefusedError(f"worker {name!r}: {problem}") from None
        password = await self._passwords(name)
        if password is None:
            password = self.clients.password(name)
        if password is not None and knows(password):
            self._guesses.right(guest.address, name)
            guest.password_was_right()
            return
        self._guesses.wrong(guest.address, name)
        guest.is_refused()
        why = "wrong password" if password is not None else "master.cfg has no worker of this name"
        _log.warn("worker {name} at {address} refused: {why}", name=name, address=guest.address, why=why)
        raise LoginRefusedError(f"worker {name!r}: unknown name or wrong password")

    async def enter(self, guest: Guest, name: str, connection: Connection) -> None:
        """Take a worker whose password was right into service.

        Raises:
            LoginRefusedError: it cannot be taken.
        """
        try:
            await self._attach(name, connection)
        except Exception as problem:
            _log.warn("worker {name} at {peer} refused: {problem}", name=name, peer=connection.peer, problem=problem)
            if not isinstance(problem, (DuplicateWorkerError, RemoteError, WorkerLostError)):
                _log.failure("login of worker {name}", name=name)
            guest.is_refused()
            raise LoginRefusedError(f"worker {name!r}: {problem}") from None
        guest.is_in_service()
