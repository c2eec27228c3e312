"""Source stamp sets connector (specification 001, sourcestampset)."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.operations import writes
from buildbot.db.statements import Insert
from buildbot.resources.sourcestamps import sourcestampsets

_add = Insert(insert(sourcestampsets))


class SourceStampSetsConnectorComponent(DBConnectorComponent):
    """Sets of source stamps; at ``master.db.sourcestampsets``."""

    def thdAddSourceStampSet(self, conn: Connection) -> int:
        """Add a new, empty set and return its id. Source: specification 001, sourcestampset."""
        return _add.id(conn)

    addSourceStampSet = writes(thdAddSourceStampSet)
