"""Updates of changes and change sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db.exceptions import ChangeSourceAlreadyClaimedError
from buildbot.resources.changes import CHANGE
from buildbot.resources.changesources import CHANGESOURCE
from buildbot.util.deferreds import deferred


class ChangeUpdates(Transacts):
    """``addChange``, ``addChanges``, ``findChangeSourceId``, ``setChangeSourceMaster``."""

    def addChange(self, **change: Any) -> Deferred[int]:
        """Add a change. Event: ``changes/N/new``.

        Args:
            change: the keywords of the connector's ``addChange``. A property may be a plain value, which gets the
            source
                ``Change``; ``when_timestamp`` may be integer Unix seconds.

        Returns:
            Deferred with the changeid.
        """
        return self.transact(self.thdAddChange, **change)

    def addChanges(self, changes: Sequence[Mapping[str, Any]], delivery: str | None = None) -> Deferred[list[int]]:
        """Add several changes, all or none. Event: ``changes/N/new`` for each.

        Args:
            changes: for each the arguments of ``addChange``.
            delivery: names what brought them; if it has brought changes before, nothing is added.

        Returns:
            Deferred with the changeids, none for a delivery that is known.
        """
        return self.addDelivery({delivery or "": changes}, delivery)

    def addDelivery(
        self, lines: Mapping[str, Sequence[Mapping[str, Any]]], delivery: str | None = None
    ) -> Deferred[list[int]]:
        """Add what a change hook was told, all or nothing. Event: ``changes/N/new`` for each change.

        Args:
            lines: what happened, by the line that it happened to (a branch of a repository): for each change the
                arguments of ``addChange``. No changes: nothing to build, as when a branch is deleted.
            delivery: names what brought them. Of a line nothing is added if its last delivery has the same name.

        Returns:
            Deferred with the changeids, none for lines to which this happened last.
        """
        return self.transact(self._thdAddDelivery, lines, delivery)

    def _thdAddDelivery(
        self, conn: Connection, events: Events, lines: Mapping[str, Sequence[Mapping[str, Any]]], delivery: str | None
    ) -> list[int]:
        added = []
        # in one order, so that two deliveries never wait for each other
        for line in sorted(lines):
            if delivery is None or self._db.deliveries.thdTake(conn, line, delivery):
                added += [self.thdAddChange(conn, events, **change) for change in lines[line]]
        return added

    def thdAddChange(self, conn: Connection, events: Events, /, **change: Any) -> int:
        """As ``addChange``, in a transaction that does more."""
        changeid = self._db.changes.thdAddChange(conn, **_completed(change))
        events.announce(CHANGE, "new", changeid)
        return changeid

    def findChangeSourceId(self, name: str) -> Deferred[int]:
        """The id of the change source with this name, which is added if it is new.

        Event if so: ``changesources/N/updated``.
        """
        return self.transact(self._thdFindChangeSourceId, name)

    def _thdFindChangeSourceId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.changesources.thdFindChangeSourceId(conn, name)

    @deferred
    async def setChangeSourceMaster(self, changesourceid: int, masterid: int | None) -> bool:
        """Have a master run a change source, or with None nobody. Event: ``changesources/N/updated``.

        Returns:
            Deferred with false if another active master runs it.
        """
        try:
            await self.transact(self._thdSetChangeSourceMaster, changesourceid, masterid)
        except ChangeSourceAlreadyClaimedError:
            return False
        return True

    def _thdSetChangeSourceMaster(
        self, conn: Connection, events: Events, changesourceid: int, masterid: int | None
    ) -> None:
        until_now = self._db.changesources.thdMoveToMaster(conn, changesourceid, masterid)
        asides = None if until_now is None else {changesourceid: {"master": {"masterid": until_now}}}
        events.announce(CHANGESOURCE, "updated", changesourceid, asides=asides)


def _completed(change: Mapping[str, Any]) -> dict[str, Any]:
    completed = dict(change)
    moment = completed.get("when_timestamp")
    if isinstance(moment, int) and not isinstance(moment, bool):
        try:
            completed["when_timestamp"] = dt.datetime.fromtimestamp(moment, dt.UTC)
        except (OverflowError, OSError, ValueError):
            raise ValueError(f"when_timestamp: {moment} is no time") from None
    properties = completed.get("properties")
    if isinstance(properties, Mapping):
        completed["properties"] = {name: _pair(value) for name, value in properties.items()}
    return completed


def _pair(value: Any) -> tuple[Any, str]:
    if isinstance(value, tuple | list) and len(value) == 2 and value[1] == "Change":
        return value[0], "Change"
    return value, "Change"
