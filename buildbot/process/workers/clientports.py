"""The ports where programs that are no workers connect over PB: the workers' port, or ports of their own."""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger

from buildbot.process.workers import pb
from buildbot.process.workers.clients import Client, Clients
from buildbot.process.workers.connection import Connection, RemoteError
from buildbot.process.workers.door import Strangers
from buildbot.process.workers.login import Login
from buildbot.util import tcp
from buildbot.util.reactor import IReactor

_log = Logger()


class ClientPorts:
    """The ports of a master at which programs log in.

    Args:
        reactor: listens.
        shared: the programs that log in at the workers' port.
    """

    def __init__(self, reactor: IReactor, shared: Clients) -> None:
        self._reactor = reactor
        self._shared = shared
        self._own: dict[str, tuple[Clients, IListeningPort]] = {}

    async def add(self, port: int | str | None, name: str, client: Client) -> None:
        """Let a program log in.

        Args:
            port: a number or an endpoint description; None: the workers' port.
            name, client: see `Clients.add`.

        Raises:
            NameTakenError: another one logs in there under this name.
            CannotListenError: the port is in use.
        """
        if port is None:
            self._shared.add(name, client)
            return
        description = _description(port)
        if description not in self._own:
            clients = Clients()
            login = Login(self._reactor, _no_password, _no_worker, _nothing, clients)
            factory = pb.make_factory(login, Strangers(self._reactor))
            listening = await tcp.listen(self._reactor, description, factory)
            self._own[description] = clients, listening
            _log.info("programs connect to {address} by pb", address=listening.getHost())
        self._own[description][0].add(name, client)

    async def remove(self, port: int | str | None, name: str) -> None:
        """Let a program log in no more; its own port is closed after the last program."""
        if port is None:
            self._shared.remove(name)
            return
        description = _description(port)
        clients, listening = self._own[description]
        clients.remove(name)
        if not clients:
            del self._own[description]
            await maybeDeferred(listening.stopListening)

    def address(self, port: int | str) -> IAddress:
        """The address of a program's own port."""
        return self._own[_description(port)][1].getHost()


def _description(port: int | str) -> str:
    return f"tcp:{port}" if str(port).isdigit() else str(port)


async def _no_password(name: str) -> None:
    """The password of a worker: none may log in here."""


async def _no_worker(name: str, connection: Connection) -> None:
    raise RemoteError("this port is not for workers")


def _nothing(name: str) -> None:
    """A shutdown of a worker: there are none here."""
