"""Services with others below them, whose start and stop can take time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from zope.interface import implementer

from buildbot.data.interfaces import Master
from buildbot.util.deferreds import deferred
from buildbot.util.later import set_later


class ChildService(Protocol):
    """A service that may be put below another one: of one of these classes, or of Twisted's."""

    master: Any

    @property
    def name(self) -> str | None: ...

    @property
    def running(self) -> object: ...

    def startService(self) -> object: ...

    def stopService(self) -> object: ...

    def disownServiceParent(self) -> object: ...


class ParentService(Protocol):
    """A service that others may be put below."""

    def addService(self, service: Any) -> object: ...

    def removeService(self, service: Any) -> object: ...


@implementer(IService)
class AsyncMultiService(Service):
    """A service with others below it, whose start and stop wait for theirs.

    Attributes:
        master: the master that it runs in, taken from its parent.
    """

    master: Master = set_later()
    parent: ParentService | None = None

    def __init__(self) -> None:
        self.__children: list[ChildService] = []

    @property
    def services(self) -> list[ChildService]:
        """The services below it, in the order in which they start."""
        return list(self.__children)

    def __iter__(self) -> Iterator[ChildService]:
        return iter(self.services)

    @deferred
    async def startService(self) -> None:
        """Start it, then the services below it; Deferred."""
        Service.startService(self)
        for child in self.services:
            await maybeDeferred(child.startService)

    @deferred
    async def stopService(self) -> None:
        """Stop the services below it, the last one first, then itself; Deferred."""
        Service.stopService(self)
        for child in reversed(self.services):
            await maybeDeferred(child.stopService)

    @deferred
    async def setServiceParent(self, parent: ParentService) -> None:
        """Put it below another service, and start it if that one runs; Deferred."""
        if self.parent is not None:
            await self.disownServiceParent()
        self.parent = parent
        await maybeDeferred(parent.addService, self)

    @deferred
    async def disownServiceParent(self) -> None:
        """Take it away from its parent; it stops. Deferred."""
        parent, self.parent = self.parent, None
        if parent is not None:
            await maybeDeferred(parent.removeService, self)

    def addService(self, service: ChildService) -> Deferred[object]:
        """Put a service below this one; Deferred, which waits for its start if this one runs."""
        service.master = self.master
        self.__children.append(service)
        return maybeDeferred(service.startService) if self.running else succeed(None)

    def removeService(self, service: ChildService) -> Deferred[object]:
        """Take a service away; Deferred, which waits for its stop."""
        self.__children.remove(service)
        return maybeDeferred(service.stopService) if service.running else succeed(None)

    def getServiceNamed(self, name: str) -> Any:
        """The service of a name below this one. Raises KeyError."""
        for child in self.__children:
            if child.name == name:
                return child
        raise KeyError(name)


class AsyncService(AsyncMultiService):
    """A service with none below it; users' classes name it so."""
