"""Deliveries connector: the last delivery of change hooks for each branch."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects import Dialect
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.statements import Statement
from buildbot.resources.deliveries import deliveries
from buildbot.util import checks

#: seconds for which a delivery is remembered; services repeat theirs within days
REMEMBERED_S = 30 * 24 * 3600


def _insert(dialect: Dialect) -> Any:
    return dialect.insert_ignore(deliveries).values(  # type: ignore[attr-defined]
        delivery_hash=bindparam("hash"), taker=bindparam("taker"), received_at=bindparam("at")
    )


_add = Statement(_insert)
_taker = Statement(select(deliveries.c.taker).where(deliveries.c.delivery_hash == bindparam("hash")))
_follow = Statement(
    update(deliveries)
    .where(deliveries.c.delivery_hash == bindparam("hash"), deliveries.c.taker != bindparam("by"))
    .values(taker=bindparam("by"), received_at=bindparam("at"))
)
_trim = Statement(delete(deliveries).where(deliveries.c.received_at < bindparam("before")))


class DeliveriesConnectorComponent(DBConnectorComponent):
    """Deliveries of change hooks; at ``master.db.deliveries``."""

    def thdTake(self, conn: Connection, line: str, delivery: str) -> bool:
        """Store the last delivery for a line, for ``REMEMBERED_S``; False if it was this one already.

        Of two racing calls with one delivery one gets True; the other waits for its transaction.

        Args:
            line: the name of the line, such as a branch of a repository.
            delivery: the delivery's name.
        """
        now = transaction_of(conn).now
        _trim.run(conn, before=now - REMEMBERED_S)
        key = checks.name_hash(checks.text(line, "line"))
        name = checks.name_hash(checks.text(delivery, "delivery"))
        # if this call added the row, it was the first
        mine = secrets.token_hex(16)
        _add.run(conn, hash=key, taker=mine, at=now)
        first = _taker.scalar(conn, hash=key) == mine
        follows = _follow.count(conn, hash=key, by=name, at=now) == 1
        return first or follows
