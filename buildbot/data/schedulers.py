"""Updates of schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db.exceptions import SchedulerAlreadyClaimedError
from buildbot.resources.schedulers import SCHEDULER
from buildbot.util import checks
from buildbot.util.deferreds import deferred


class SchedulerUpdates(Transacts):
    """``findSchedulerId``, ``setSchedulerMaster``, ``schedulerEnable``, ``setForceScheduler``."""

    def findSchedulerId(self, name: str) -> Deferred[int]:
        """The id of the scheduler with this name, which is added if it is new.

        Event if so: ``schedulers/N/updated``.
        """
        return self.transact(self._thdFindSchedulerId, name)

    def _thdFindSchedulerId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.schedulers.thdFindSchedulerId(conn, name)

    @deferred
    async def setSchedulerMaster(self, schedulerid: int, masterid: int | None) -> bool:
        """Set the master that runs a scheduler; None: no master. Event: ``schedulers/N/updated``.

        Returns:
            Deferred with false if another active master runs it.
        """
        try:
            await self.transact(self._thdSetSchedulerMaster, schedulerid, masterid)
        except SchedulerAlreadyClaimedError:
            return False
        return True

    def _thdSetSchedulerMaster(self, conn: Connection, events: Events, schedulerid: int, masterid: int | None) -> None:
        until_now = self._db.schedulers.thdMoveToMaster(conn, schedulerid, masterid)
        asides = None if until_now is None else {schedulerid: {"master": {"masterid": until_now}}}
        events.announce(SCHEDULER, "updated", schedulerid, asides=asides)

    def schedulerEnable(self, schedulerid: int, enabled: bool) -> Deferred[None]:
        """Switch a scheduler on or off. Event: ``schedulers/N/updated``."""
        return self.transact(self._thdEnable, schedulerid, enabled)

    def _thdEnable(self, conn: Connection, events: Events, schedulerid: int, enabled: bool) -> None:
        if self._db.schedulers.thdEnable(conn, schedulerid, enabled):
            events.announce(SCHEDULER, "updated", schedulerid)

    def setForceScheduler(self, schedulerid: int, spec: Mapping[str, Any] | None) -> Deferred[None]:
        """Store the form of a force scheduler, for ``/forceschedulers``.

        Args:
            spec: ``button_name``, ``label``, ``builder_names`` (list of text), ``all_fields`` (list of
            descriptions); None for a scheduler that cannot be forced.
        """
        return self.transact(self._thdSetForce, schedulerid, spec)

    def _thdSetForce(self, conn: Connection, events: Events, schedulerid: int, spec: Mapping[str, Any] | None) -> None:
        names = checks.texts((spec or {}).get("builder_names", ()), "builder_names")
        ids = self._db.builders.thdFindBuilderIds(conn, names) if names else {}
        self._db.schedulers.thdSetForce(conn, schedulerid, spec, list(ids.values()))
