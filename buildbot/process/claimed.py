"""Schedulers and change sources: parts that exactly one master of the installation runs.

Every master with the part in its configuration tries to claim it in the database; the one that has the claim is
*working*. A master that finds the part claimed by another active master waits:

- for ``masters/N/stopped`` of another master: its claims are released, so it tries at once;
- for a minute at most: a master may also release a part because its configuration no longer has it, which is no event.

``masters/N/stopped`` of this master means that another one declared it dead (this process was suspended, or the
database was out of reach) and may run the part now: this master stops working at once, and tries again when it is back
(``masters/N/started``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

from twisted.internet.defer import DeferredLock, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.mq.subscription import Subscription
from buildbot.process.configured import Configured
from buildbot.process.servicemaster import ServiceMaster
from buildbot.process.workers.clientports import ClientPorts
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred, resolved

_log = Logger()


class RunningMaster(ServiceMaster, Protocol):
    """The master for the parts that run in it."""

    @property
    def client_ports(self) -> ClientPorts:
        """The ports where programs that are no workers log in over PB."""


class ClaimedPart(Declared, Configured, ABC):
    """A configured part that at most one master runs at a time.

    Attributes:
        master: the master that would run it.
        working: whether this master runs it now.
    """

    master: RunningMaster
    #: seconds until the next try to claim a part that another master has
    retry_s = 60.0
    #: seconds until the next try after an error, which is mostly of a database that is starting
    failed_retry_s = 5.0

    positional: ClassVar[tuple[str, ...]] = ("name",)
    name = argument(REQUIRED, checks.name, doc="unique among the parts of its kind in the installation")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.working = False
        self.__wanted = False
        self.__switching = DeferredLock()
        self.__retry: IDelayedCall | None = None
        self.__masters: Subscription | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @abstractmethod
    async def claim(self, masterid: int | None) -> bool:
        """Claim the part for a master, or release it with None; False if another active master has it."""

    async def start_work(self) -> None:
        """Begin to work; the part is claimed."""

    async def stop_work(self) -> None:
        """Stop working; return when all work has ended."""

    @deferred
    async def activate(self) -> None:
        """Begin to work; the part is claimed. Plugins override it and call ``super()``; Deferred."""
        await self.start_work()

    @deferred
    async def deactivate(self) -> None:
        """Stop working. Plugins override it and call ``super()``; Deferred."""
        await self.stop_work()

    async def run_in(self, master: RunningMaster) -> None:
        """Run the part in this master as soon as no other master runs it. Returns after the first try."""
        self.master = master
        self.__wanted = True
        self.__masters = await master.mq.startConsuming(self.__master_event, ("masters", None, None))
        await self.__take_up()

    async def stop_running(self) -> None:
        """Stop the part in this master and release it."""
        self.__wanted = False
        if self.__masters is not None:
            await maybeDeferred(self.__masters.stopConsuming)
            self.__masters = None
        async with self.__switching:
            self.__cancel_retry()
            if self.working:
                await self.__stop_working()
                await self.claim(None)

    def __master_event(self, routing_key: tuple[str, ...], message: dict[str, Any]) -> None:
        event, ours = routing_key[-1], message.get("masterid") == self.master.masterid
        if event == "stopped" and ours:
            in_background(self.__put_down(), f"stopping {self!r}")
        elif event == ("started" if ours else "stopped"):
            in_background(self.__take_up(), f"claiming {self!r}")

    async def __take_up(self) -> None:
        async with self.__switching:
            self.__cancel_retry()
            if not self.__wanted or self.working:
                return
            delay_s = self.retry_s
            try:
                if await self.claim(self.master.masterid):
                    self.working = True
                    await resolved(self.activate())
                    return
            except Exception:
                delay_s = min(self.failed_retry_s, self.retry_s)
                _log.failure("{part!r} could not start; next try in {delay} s", part=self, delay=delay_s)
                if self.working:
                    try:
                        await self.__stop_working()
                    except Exception:
                        _log.failure("{part!r} could not stop cleanly", part=self)
            self.__retry = self.master.reactor.callLater(delay_s, self.__try_again)

    def __try_again(self) -> None:
        self.__retry = None
        in_background(self.__take_up(), f"claiming {self!r}")

    async def __put_down(self) -> None:
        async with self.__switching:
            if self.working:
                _log.warn("{part!r} stops: another master declared this one dead", part=self)
                await self.__stop_working()

    async def __stop_working(self) -> None:
        self.working = False
        await resolved(self.deactivate())

    def __cancel_retry(self) -> None:
        if self.__retry is not None:
            self.__retry.cancel()
            self.__retry = None
