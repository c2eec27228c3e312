"""Updates of changes and change sources."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db.exceptions import ChangeSourceAlreadyClaimedError
from buildbot.resources.changes import CHANGE
from buildbot.util.deferreds import deferred


class ChangeUpdates(Transacts):
    """``addChange``, ``findChangeSourceId``, ``setChangeSourceMaster``."""

    def addChange(self, **change: Any) -> Deferred[int]:
        """Add a change. Event: ``changes/N/new``.

        Args:
            change: the keywords of the connector's ``addChange``. A property may be a plain value, which gets the
            source
                ``Change``; ``when_timestamp`` may be integer Unix seconds.

        Returns:
            Deferred with the changeid.
        """
        return self.transact(self._thdAddChange, change)

    def _thdAddChange(self, conn: Connection, events: Events, change: dict[str, Any]) -> int:
        changeid = self._db.changes.thdAddChange(conn, **_completed(change))
        events.announce(CHANGE, "new", changeid)
        return changeid

    def findChangeSourceId(self, name: str) -> Deferred[int]:
        """The id of the change source with this name, which is added if it is new."""
        return self._db.changesources.findChangeSourceId(name)

    @deferred
    async def setChangeSourceMaster(self, changesourceid: int, masterid: int | None) -> bool:
        """Have a master run a change source, or with None nobody.

        Returns:
            Deferred with false if another active master runs it.
        """
        try:
            await self._db.changesources.setChangeSourceMaster(changesourceid, masterid)
        except ChangeSourceAlreadyClaimedError:
            return False
        return True


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
