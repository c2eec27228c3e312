"""Services that several others use: one for each class and arguments."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, Self

from twisted.internet.defer import Deferred

from buildbot.process.service import BuildbotService
from buildbot.util.deferreds import deferred


class SharedServices(Protocol):
    """Where shared services run; see `buildbot.process.servicemanager.ServiceManager`.

    Attributes:
        shared: the services by name, each with the Deferred of its start.
    """

    shared: dict[str, tuple[SharedService, Deferred[None]]]

    def addService(self, service: Any) -> object:
        """Put a service below this one; Deferred, which fires when it has started."""

    def removeService(self, service: Any) -> object:
        """Take a service away; Deferred, which fires when it has stopped."""


class SharedService(BuildbotService):
    """A service with one instance for each class and arguments, made and started by the first `getService`."""

    @classmethod
    def getName(cls, *args: Any, **kwargs: Any) -> str:
        """The class's name with a hash of the arguments."""
        described = repr((args, sorted(kwargs.items())))
        return f"{cls.__name__}_{hashlib.sha256(described.encode()).hexdigest()[:24]}"

    @classmethod
    @deferred
    async def getService(cls, parent: Any, *args: Any, **kwargs: Any) -> Self:
        """The instance with these arguments, started; it runs until the master stops. Deferred.

        Args:
            parent: the master, or a service in it.
        """
        name = cls.getName(*args, **kwargs)
        manager: SharedServices = getattr(parent, "master", parent).service_manager
        found = manager.shared.get(name)
        if found is None:
            made = cls(*args, name=name, **kwargs)
            # later callers wait for the same start
            found = manager.shared[name] = made, made.setServiceParent(manager)
        service, starting = found
        if not starting.called:
            waiting: Deferred[None] = Deferred()
            starting.addBoth(_pass_on, waiting)
            await waiting
        assert isinstance(service, cls)
        return service


def _pass_on(result: Any, waiting: Deferred[None]) -> Any:
    waiting.callback(None)
    return result
