"""A real scheduler and a real change source that any of the masters may run, one at a time.

Their work can be counted: the source numbers its changes, and the scheduler makes one buildset of each change.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from buildbot.changes.base import PollingChangeSource
from buildbot.data.base import Events
from buildbot.schedulers.basic import AnyBranchScheduler
from tests.exactness.settings import Settings

SOURCE = "counter"
SCHEDULER = "each change"


class CountingSource(PollingChangeSource):
    """Makes the changes ``counter-1``, ``counter-2``, … without end; none is lost or doubled, on any master."""

    settings: Settings

    async def poll(self) -> None:
        """One more change, unless the run settles."""
        if self.settings.phase != "run":
            return
        objectid = await self.master.db.state.getObjectId(self.name, "CountingSource")
        await self.master.data.update.transact(self._thd_count, objectid)

    def _thd_count(self, conn: Connection, events: Events, objectid: int) -> None:
        self.thd_hold(conn)
        state = self.master.db.state
        number = state.thdGetState(conn, objectid, "number", 0) + 1
        self.master.data.update.thdAddChange(conn, events, author="a", repository="r", revision=f"{SOURCE}-{number}")
        state.thdSetState(conn, objectid, "number", number)


def parts(builder_names: list[str], settings: Settings) -> list[Any]:
    """The parts, for one master."""
    scheduler = AnyBranchScheduler(name=SCHEDULER, builderNames=builder_names, treeStableTimer=None)
    source = CountingSource(SOURCE, pollInterval=0.3, pollAtLaunch=True)
    source.settings = settings
    for part in (scheduler, source):
        part.retry_s = 1.0
    scheduler.retry_step_s = 0.5
    return [scheduler, source]
