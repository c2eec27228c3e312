"""Updates of masters: their check-in, and the clean-up after a dead master.

A master checks in every few seconds. Any other master declares it dead when it has not checked in for the expiry time,
by the database's clock. One transaction makes it inactive at a new epoch, removes its links, ends its unfinished builds
(RETRY, or CANCELLED if a person had stopped them) and releases its claims. The same clean-up is done when a process of
a master starts again. If the dead master still tries to write, it meets the new epoch and gets ``NotClaimedError``.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.data.buildrequests import end_cancelled
from buildbot.data.builds import close_parts
from buildbot.resources.builders import BUILDER
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.changesources import CHANGESOURCE
from buildbot.resources.masters import MASTER
from buildbot.resources.schedulers import SCHEDULER
from buildbot.resources.workers import WORKER
from buildbot.util.deferreds import deferred
from buildbot.util.results import CANCELLED, RETRY


class MasterUpdates(Transacts):
    """``findMasterId``, ``masterActive``, ``masterStopped``, ``expireMasters``."""

    #: whether this process runs its master: false before the first check-in, and after it was declared dead
    running = False

    def findMasterId(self, name: str) -> Deferred[int]:
        """The id of the master with this name, which is added, inactive, if it is new.

        Event if so: ``masters/N/new``.
        """
        return self.transact(self._thdFindMasterId, name)

    def _thdFindMasterId(self, conn: Connection, events: Events, name: str) -> int:
        return self._db.masters.thdFindMasterId(conn, name)

    @deferred
    async def masterActive(self) -> bool:
        """Check in.

        With the first call this process runs the master: it takes a new epoch and cleans up after an earlier process.
        Events: ``masters/N/started``, and those of the clean-up.

        Returns:
            Deferred with true; false if another master declared this one dead since the last call. Then every claim is
            released: stop all builds and call again, which begins at a new epoch.
        """
        masterid = self._db.masterid
        if not self.running:
            self._db.epoch = await self.transact(self._thdBegin, masterid)
            self.running = True
            return True
        alive = await self._db.pool.do(self._db.masters.thdBeat, masterid, self._db.epoch)
        if not alive:
            self.running = False
        return alive

    @deferred
    async def masterStopped(self) -> None:
        """End this master: it becomes inactive without claims and links. Event: ``masters/N/stopped``."""
        self.running = False
        await self.transact(self._thdEnd, self._db.masterid, self._db.epoch)

    def expireMasters(self, seconds: int = 60) -> Deferred[list[int]]:
        """Declare dead every master that has not checked in for the expiry time, by the database's clock.

        Safe to call by any master at any time. A running master checks in with it: it is never among them, even if the
        clock was set forth since its last call of ``masterActive``. Events: ``masters/N/stopped`` and those of the
        clean-up.

        Returns:
            Deferred with the ids of those masters.
        """
        return self.transact(self._thdExpire, seconds)

    def _thdBegin(self, conn: Connection, events: Events, masterid: int) -> int:
        epoch = self._db.masters.thdTakeOver(conn, masterid)
        self._thdCleanUp(conn, events, masterid)
        events.announce(MASTER, "started", masterid)
        schedulers, sources = self._parts(conn, masterid)  # these resources show whether their master is active
        events.announce(SCHEDULER, "updated", schedulers)
        events.announce(CHANGESOURCE, "updated", sources)
        return epoch

    def _thdEnd(self, conn: Connection, events: Events, masterid: int, epoch: int) -> None:
        self._db.masters.thdLockLinks(conn, masterid)
        if self._db.masters.thdGetEpoch(conn, masterid) == epoch:  # otherwise another process runs it now
            self._thdStop(conn, events, masterid)

    def _thdExpire(self, conn: Connection, events: Events, seconds: int) -> list[int]:
        if self.running:
            self._db.masters.thdBeat(conn, self._db.masterid, self._db.epoch)
        silent = self._db.masters.thdSilentMasters(conn, seconds)
        for masterid in silent:
            self._thdStop(conn, events, masterid)
        return silent

    def _thdStop(self, conn: Connection, events: Events, masterid: int) -> None:
        db = self._db
        self._thdCleanUp(conn, events, masterid)
        schedulers, sources = self._parts(conn, masterid)
        builders = sorted(db.builders.thdSetOfMaster(conn, masterid, ()))
        workers = db.workers.thdConfigure(conn, masterid, {})
        if db.masters.thdSetMasterState(conn, masterid, False):
            events.announce(SCHEDULER, "updated", schedulers)
            events.announce(CHANGESOURCE, "updated", sources)
            run_here = {builderid: {"masterids": [masterid]} for builderid in builders}
            events.announce(BUILDER, "update", builders, asides=run_here)
            events.announce(BUILDER, "stopped", builders, asides=run_here)
            events.announce(WORKER, "state_updated", sorted(workers), asides=workers)
            events.announce(MASTER, "stopped", masterid, asides={masterid: {"builderids": builders}})

    def _parts(self, conn: Connection, masterid: int) -> tuple[list[int], list[int]]:
        """Ids of the schedulers and change sources that a master runs; locked."""
        db = self._db
        return db.schedulers.thdLockOfMaster(conn, masterid), db.changesources.thdLockOfMaster(conn, masterid)

    def _thdCleanUp(self, conn: Connection, events: Events, masterid: int) -> None:
        """End the builds of the master and release its claims."""
        db = self._db
        cancelled: set[int] = set()
        requests = db.buildrequests.thdOfMaster(conn, masterid)
        for bid, stop_reason, brid in db.builds.thdUnfinished(conn, masterid=masterid):
            results = RETRY if stop_reason is None else CANCELLED
            if stop_reason is not None:
                cancelled.add(brid)
            close_parts(db, conn, events, bid, results)
            db.builds.thdFinishLost(conn, bid, results, "master lost" if stop_reason is None else "cancelled")
            events.announce(BUILD, "finished", bid)
        cancelled.update(brid for brid, reason in requests if reason is not None)
        ids = [brid for brid, _ in requests]
        db.buildrequests.thdReleaseAny(conn, ids)
        events.announce(BUILDREQUEST, "unclaimed", [brid for brid in ids if brid not in cancelled])
        end_cancelled(db, conn, events, [brid for brid in ids if brid in cancelled])
        for workerid in db.workers.thdConnectedTo(conn, masterid):
            db.workers.thdDisconnected(conn, workerid, masterid)
            events.announce(WORKER, "disconnected", workerid)
