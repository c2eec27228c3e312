"""Masters connector and the epochs that fence masters declared dead.

A master's *epoch* is raised when a process takes the master over, and when another master declares it dead. A claim has
the id of the master and its epoch; a write about a claim checks both. So a process that was paused past its expiry can
change nothing when it goes on.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects.context import dialect_of
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.statements import Statement
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.builders import builder_masters
from buildbot.resources.changesources import changesource_masters
from buildbot.resources.masters import DbMasterDict, masters
from buildbot.resources.schedulers import scheduler_masters
from buildbot.resources.workers import configured_workers, connected_workers
from buildbot.util import checks
from buildbot.util.clock import to_datetime
from buildbot.util.deferreds import deferred

#: the result of getters, under the name that plugins import
MasterModel = DbMasterDict

_names = NamedRows(masters)
_columns = (masters.c.id, masters.c.name, masters.c.active, masters.c.last_active)
_get = Statement(select(*_columns).where(masters.c.id == bindparam("masterid")))
_get_all = Statement(select(*_columns).order_by(masters.c.id))
_lock = Statement(
    select(masters.c.active, masters.c.epoch).where(masters.c.id == bindparam("masterid")).with_for_update()
)
#: the columns of the row itself
_lock_links = Statement(
    select(masters.c.id).where(masters.c.id == bindparam("masterid")).with_for_update(key_share=True)
)
_activate = Statement(
    update(masters)
    .where(masters.c.id == bindparam("masterid"))
    .values(active=1, last_active=bindparam("moment"), epoch=bindparam("new_epoch"))
)
_deactivate = Statement(
    update(masters).where(masters.c.id == bindparam("masterid")).values(active=0, epoch=bindparam("new_epoch"))
)
_beat = Statement(
    update(masters)
    .where(masters.c.id == bindparam("masterid"), masters.c.epoch == bindparam("old_epoch"), masters.c.active == 1)
    .values(last_active=bindparam("moment"))
)
_silent = Statement(
    select(masters.c.id)
    .where(masters.c.active == 1, masters.c.last_active < bindparam("before"))
    .order_by(masters.c.id)
    .with_for_update()
)
_forget_all = Statement(update(masters).values(last_active=0))
_links = [
    Statement(delete(table).where(table.c.masterid == bindparam("masterid")))
    for table in (scheduler_masters, changesource_masters, builder_masters, connected_workers, configured_workers)
]
_epoch = Statement(select(masters.c.epoch).where(masters.c.id == bindparam("masterid")))


class MastersConnectorComponent(DBConnectorComponent):
    """Masters, and whether they run; at ``master.db.masters``."""

    def thdFindMasterId(self, conn: Connection, name: str) -> int:
        """The id of the master with this name (generally ``hostname:basedir``); it is added, inactive, if it is new."""
        return _names.id(conn, name)

    findMasterId = writes(thdFindMasterId)

    def thdSetMasterState(self, conn: Connection, masterid: int, active: bool) -> bool:
        """Mark a master as running or not; true if that changed.

        Active: it has checked in now. Inactive: its links to schedulers, change sources, builders and workers are
        deleted in the same transaction, and its epoch is raised, so that it can write nothing about its builds.
        """
        checks.identifier(masterid, "masterid")
        active = checks.boolean(active, "active")
        row = _lock.first(conn, masterid=masterid)
        if row is None:
            return False
        was_active, epoch = bool(row[0]), row[1]
        if active:
            _activate.run(conn, masterid=masterid, moment=dialect_of(conn).server_now(conn), new_epoch=epoch)
        else:
            for unlink in _links:
                unlink.run(conn, masterid=masterid)
            if was_active:
                _deactivate.run(conn, masterid=masterid, new_epoch=epoch + 1)
        return was_active != active

    @deferred
    async def setMasterState(self, masterid: int, active: bool) -> bool:
        """As ``thdSetMasterState``, in a transaction of its own.

        A process that does this for its own master goes on at the new epoch; claims of the old epoch are over.
        """
        changed = await self.db.pool.do(self.thdSetMasterState, masterid, active)
        if masterid == self.db.masterid:
            self.db.epoch = await self.db.pool.read(self.thdGetEpoch, masterid)
        return changed

    def thdGetMaster(self, conn: Connection, masterid: int) -> dict[str, Any] | None:
        """The master with this id, or None: keys ``id``, ``name``, ``active``, ``last_active`` (datetime)."""
        row = _get.first(conn, masterid=checks.identifier(masterid, "masterid"))
        return None if row is None else _master_dict(row)

    getMaster = reads_short(thdGetMaster)

    def thdGetMasters(self, conn: Connection) -> list[dict[str, Any]]:
        """All masters, by id."""
        return [_master_dict(row) for row in _get_all.all(conn)]

    getMasters = reads_list(thdGetMasters)

    def thdSetAllMastersActiveLongTimeAgo(self, conn: Connection) -> None:
        """Set every ``last_active`` to the Unix epoch, so that housekeeping checks all masters. For upgrade-master."""
        _forget_all.run(conn)

    setAllMastersActiveLongTimeAgo = writes(thdSetAllMastersActiveLongTimeAgo)

    # -- the process layer's half -------------------------------------------------------------------

    def thdTakeOver(self, conn: Connection, masterid: int) -> int:
        """Let this process run the master: it becomes active at a new epoch, which is returned."""
        row = _lock.first(conn, masterid=masterid)
        if row is None:
            raise KeyError(f"masterid: there is no master {masterid}")
        epoch = int(row[1]) + 1
        _activate.run(conn, masterid=masterid, moment=dialect_of(conn).server_now(conn), new_epoch=epoch)
        return epoch

    def thdBeat(self, conn: Connection, masterid: int, epoch: int) -> bool:
        """Check in; false if the master was declared dead or taken over since that epoch."""
        moment = dialect_of(conn).server_now(conn)
        return _beat.count(conn, masterid=masterid, old_epoch=epoch, moment=moment) == 1

    def thdSilentMasters(self, conn: Connection, seconds: int) -> list[int]:
        """Ids of active masters that have not checked in for so long, by the database's clock; rows locked."""
        before = dialect_of(conn).server_now(conn) - seconds
        return [row[0] for row in _silent.all(conn, before=before)]

    def thdLockLinks(self, conn: Connection, masterid: int) -> None:
        """Lock the links of this master until the transaction ends."""
        _lock_links.first(conn, masterid=masterid)

    def thdGetEpoch(self, conn: Connection, masterid: int) -> int:
        """The master's epoch; 0 if it never ran."""
        return int(_epoch.scalar(conn, masterid=masterid) or 0)


def _master_dict(row: tuple[Any, ...]) -> dict[str, Any]:
    last_active: dt.datetime | None = to_datetime(row[3])
    return {"id": row[0], "name": row[1], "active": bool(row[2]), "last_active": last_active}
