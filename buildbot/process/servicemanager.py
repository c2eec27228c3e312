"""The manager of the services of a configuration: starts, changes and stops them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.process.multiservice import AsyncMultiService
from buildbot.process.service import BuildbotService
from buildbot.process.servicemaster import ServiceMaster
from buildbot.process.sharedservice import SharedService
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred

_log = Logger()

#: seconds until a service that could not start is tried again
RETRY_S = 60.0


class ServiceManager(AsyncMultiService):
    """Runs the services of the configuration, and the services that these share.

    Args:
        master: the master that they run in.

    Attributes:
        named: all running services by name, services below other services included.
        shared: the services that `SharedService.getService` made, by name, each with the Deferred of its start.
    """

    master: ServiceMaster
    name = "services"

    def __init__(self, master: ServiceMaster) -> None:
        super().__init__()
        self.master = master
        self.shared: dict[str, tuple[SharedService, Deferred[None]]] = {}
        self.__configured: dict[str, BuildbotService] = {}
        self.__failed: dict[str, BuildbotService] = {}
        self.__switching = DeferredLock()
        self.__retry_timer: IDelayedCall | None = None

    @property
    def named(self) -> Mapping[str, Any]:
        """All running services by name."""
        found: dict[str, Any] = {}
        _collect(self, found)
        return found

    async def configure(self, wanted: Sequence[BuildbotService]) -> None:
        """Run the services of a configuration: stop the removed ones, then start the new ones, then change the others.

        A service that fails is logged, and tried again after `RETRY_S`; the others go on.
        """
        async with self.__switching:
            self.__cancel_retry()
            self.__failed = {}
            by_name = {each.name: each for each in wanted}
            changed: list[tuple[BuildbotService, BuildbotService]] = []
            for name, service in list(self.__configured.items()):
                new = by_name.get(name)
                if new is None or not service.canReconfigWithSibling(new):
                    await self.__drop(service)
                elif not service.is_described_by(new):
                    changed.append((service, new))
            for name, new in by_name.items():
                if name not in self.__configured:
                    await self.__start(new)
            for service, new in changed:
                await self.__change(service, new)
            self.__schedule_retry()

    @deferred
    async def stopService(self) -> None:
        """Stop all services, the shared ones last; Deferred."""
        async with self.__switching:
            self.__cancel_retry()
            self.__failed = {}
            for service in reversed(list(self.__configured.values())):
                await self.__drop(service)
            await super().stopService()

    async def __start(self, service: BuildbotService) -> None:
        self.__configured[service.name] = service
        try:
            await service.setServiceParent(self)
        except Exception:
            _log.failure("{service!r} could not start; next try in {delay} s", service=service, delay=RETRY_S)
            self.__failed[service.name] = service

    async def __change(self, service: BuildbotService, new: BuildbotService) -> None:
        try:
            await service.reconfigServiceWithSibling(new)
        except NotImplementedError:  # it cannot change while it runs
            await self.__drop(service)
            await self.__start(new)
        except Exception:
            _log.failure("{service!r} could not take its new arguments", service=service)
            await self.__drop(service)
            self.__configured[new.name] = self.__failed[new.name] = new

    async def __drop(self, service: BuildbotService) -> None:
        self.__configured.pop(service.name, None)
        try:
            await service.disownServiceParent()
        except Exception:
            _log.failure("{service!r} could not be stopped cleanly", service=service)

    def __schedule_retry(self) -> None:
        if self.__failed:
            self.__retry_timer = self.master.reactor.callLater(RETRY_S, self.__retry_now)

    def __retry_now(self) -> None:
        self.__retry_timer = None
        in_background(self.__retry(), "retrying services")

    async def __retry(self) -> None:
        async with self.__switching:
            failed, self.__failed = self.__failed, {}
            for service in failed.values():
                await self.__drop(service)
                await self.__start(service)
            self.__schedule_retry()

    def __cancel_retry(self) -> None:
        if self.__retry_timer is not None:
            self.__retry_timer.cancel()
            self.__retry_timer = None


def _collect(parent: AsyncMultiService, found: dict[str, Any]) -> None:
    for child in parent.services:
        if child.name is not None:
            found.setdefault(child.name, child)
        if isinstance(child, AsyncMultiService):
            _collect(child, found)
