"""Services that several masters are configured with, and one of them runs.

The master that runs a service has claimed an object of the database (`buildbot.db.held`). The others try to claim it
every `ClusteredBuildbotService.POLL_INTERVAL_SEC`, and can once that master has stopped or was declared dead.
"""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.db.held import thd_release, thd_take
from buildbot.mq.subscription import Subscription
from buildbot.process.service import BuildbotService, qualified_name
from buildbot.util.background import in_background
from buildbot.util.deferreds import deferred, resolved

_log = Logger()


class ClusteredBuildbotService(BuildbotService):
    """A service that runs in one master only: the first that claims it, or another one once that master is gone.

    A subclass overrides `activate` and `deactivate`. It may override how it is claimed, too.
    """

    #: seconds between two tries to claim a service that another master runs
    POLL_INTERVAL_SEC: ClassVar[float] = 60.0

    __active = False
    __poll: IDelayedCall | None = None
    __own_events: Subscription | None = None

    # users' services override these

    def activate(self) -> object:
        """Begin: this master runs the service now. May return a Deferred."""

    def deactivate(self) -> object:
        """End: this master runs the service no more. May return a Deferred."""

    @deferred
    async def _getServiceId(self) -> int:
        """The id of the object of the database that is claimed; Deferred."""
        return await self.master.db.state.getObjectId(self.name, qualified_name(self))

    @deferred
    async def _claimService(self) -> bool:
        """Claim the service for this master; Deferred: False if another master has claimed it."""
        db = self.master.db
        return await db.pool.do(thd_take, db, await self._getServiceId())

    @deferred
    async def _unclaimService(self) -> None:
        """Give the claim back; Deferred."""
        db = self.master.db
        await db.pool.do(thd_release, db, await self._getServiceId())

    def isActive(self) -> bool:
        """Whether this master runs the service."""
        return self.__active

    # the master calls these

    @deferred
    async def startService(self) -> None:
        """Take the arguments, then try to claim the service and run it; Deferred."""
        await super().startService()
        key = ("masters", str(self.master.masterid), "stopped")
        self.__own_events = await self.master.mq.startConsuming(self.__declared_dead, key)
        await self.__try_to_activate()

    @deferred
    async def stopService(self) -> None:
        """Stop the service and give the claim back; Deferred."""
        if self.__own_events is not None:
            await maybeDeferred(self.__own_events.stopConsuming)
            self.__own_events = None
        if self.__poll is not None:
            self.__poll.cancel()
            self.__poll = None
        active, self.__active = self.__active, False
        if active:
            await resolved(self.deactivate())
            await resolved(self._unclaimService())
        await super().stopService()

    def __declared_dead(self, key: tuple[str, ...], message: object) -> None:
        if self.__active:  # another master may run it already
            self.__active = False
            in_background(self.__deactivate(), f"deactivating {self!r}")

    async def __deactivate(self) -> None:
        try:
            await resolved(self.deactivate())
        finally:
            if self.__own_events is not None and self.__poll is None:
                self.__poll = self.master.reactor.callLater(self.POLL_INTERVAL_SEC, self.__poll_again)

    async def __try_to_activate(self) -> None:
        try:
            if await resolved(self._claimService()):
                self.__active = True
                await resolved(self.activate())
                return
        except Exception:
            _log.failure(
                "{service!r} could not be activated; next try in {s} s", service=self, s=self.POLL_INTERVAL_SEC
            )
            self.__active = False
        self.__poll = self.master.reactor.callLater(self.POLL_INTERVAL_SEC, self.__poll_again)

    def __poll_again(self) -> None:
        self.__poll = None
        in_background(self.__try_to_activate(), f"activating {self!r}")
