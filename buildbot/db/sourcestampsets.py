"""Source stamp sets connector."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, bindparam, func, insert, select
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects.context import dialect_of
from buildbot.db.engine.statements import Insert, Statement
from buildbot.db.operations import writes
from buildbot.resources.sourcestamps import sourcestampset_members, sourcestampsets

_add = Insert(insert(sourcestampsets))
_join = Statement(insert(sourcestampset_members).values(sourcestampsetid=bindparam("setid"), ssid=bindparam("ssid")))
_new = insert(sourcestampsets).returning(sourcestampsets.c.id).cte("new_set")
_add_with_members = Statement(
    insert(sourcestampset_members)
    .from_select(
        ["sourcestampsetid", "ssid"], select(_new.c.id, func.unnest(bindparam("ssids", type_=ARRAY(BigInteger))))
    )
    .returning(sourcestampset_members.c.sourcestampsetid)
)


class SourceStampSetsConnectorComponent(DBConnectorComponent):
    """Sets of source stamps; at ``master.db.sourcestampsets``."""

    def thdAddSourceStampSet(self, conn: Connection) -> int:
        """Add a new, empty set and return its id."""
        return _add.id(conn)

    addSourceStampSet = writes(thdAddSourceStampSet)

    def thdAddSetOf(self, conn: Connection, ssids: Sequence[int]) -> int:
        """Add a set of existing source stamps, and return its id."""
        if ssids and dialect_of(conn).chains_inserts:
            return int(_add_with_members.scalar(conn, ssids=list(ssids)))
        setid = self.thdAddSourceStampSet(conn)
        self.thdJoin(conn, setid, ssids)
        return setid

    def thdJoin(self, conn: Connection, setid: int, ssids: Sequence[int]) -> None:
        """Add source stamps to a set."""
        _join.many(conn, [{"setid": setid, "ssid": ssid} for ssid in ssids])
