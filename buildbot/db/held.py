"""Objects of the state connector that one active master holds at a time, for parts that have no table of their own.

The holder is a value of the object, ``held_by``: the master and its epoch. A master that was declared dead, or has
restarted, has another epoch. So any master can take the objects that it held, and its writes for them are refused.
"""

from __future__ import annotations

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Connection

from buildbot.db.connector import DBConnector
from buildbot.db.engine.statements import Statement
from buildbot.db.exceptions import NotClaimedError
from buildbot.resources.state import objects

_KEY = "held_by"
_lock = Statement(select(objects.c.id).where(objects.c.id == bindparam("oid")).with_for_update())


def thd_take(conn: Connection, db: DBConnector, objectid: int) -> bool:
    """Let this master hold an object; False if another active master does."""
    _lock.first(conn, oid=objectid)
    holder = db.state.thdGetState(conn, objectid, _KEY, None)
    if holder is not None and holder[0] != db.masterid:
        other = db.masters.thdGetMaster(conn, holder[0])
        if other is not None and other["active"] and db.masters.thdGetEpoch(conn, holder[0]) == holder[1]:
            return False
    db.state.thdSetState(conn, objectid, _KEY, [db.masterid, db.epoch])
    return True


def thd_hold(conn: Connection, db: DBConnector, objectid: int) -> None:
    """Make sure that this master holds an object until this transaction ends. Raises NotClaimedError."""
    _lock.first(conn, oid=objectid)
    holder = db.state.thdGetState(conn, objectid, _KEY, None)
    if holder != [db.masterid, db.epoch] or db.masters.thdGetEpoch(conn, db.masterid) != db.epoch:
        raise NotClaimedError(f"object {objectid} is not held by this master")


def thd_release(conn: Connection, db: DBConnector, objectid: int) -> None:
    """Release an object that this master holds; an object of another master stays as it is."""
    _lock.first(conn, oid=objectid)
    if db.state.thdGetState(conn, objectid, _KEY, None) == [db.masterid, db.epoch]:
        db.state.thdSetState(conn, objectid, _KEY, None)
