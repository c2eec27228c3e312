"""Deliveries connector: which deliveries of change hooks have been taken."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects import Dialect
from buildbot.db.engine.statements import Statement
from buildbot.resources.deliveries import deliveries
from buildbot.util import checks, clock

#: a delivery is remembered this long, in seconds; services repeat theirs within days
REMEMBERED_S = 30 * 24 * 3600


def _insert(dialect: Dialect) -> Any:
    return dialect.insert_ignore(deliveries).values(  # type: ignore[attr-defined]
        delivery_hash=bindparam("hash"), taker=bindparam("taker"), received_at=bindparam("at")
    )


_add = Statement(_insert)
_taker = Statement(select(deliveries.c.taker).where(deliveries.c.delivery_hash == bindparam("hash")))
_trim = Statement(delete(deliveries).where(deliveries.c.received_at < bindparam("before")))


class DeliveriesConnectorComponent(DBConnectorComponent):
    """Deliveries of change hooks; at ``master.db.deliveries``."""

    def thdTake(self, conn: Connection, delivery: str) -> bool:
        """Remember a delivery for ``REMEMBERED_S``; False if it has been taken before.

        Of two racing calls one gets True; the other waits for its transaction.
        """
        now = clock.now()
        _trim.run(conn, before=now - REMEMBERED_S)
        hashed = checks.name_hash(checks.text(delivery, "delivery"))
        taker = secrets.token_hex(16)
        _add.run(conn, hash=hashed, taker=taker, at=now)
        return bool(_taker.scalar(conn, hash=hashed) == taker)
