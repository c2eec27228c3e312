"""Sessions connector: people who are logged in, each known by a secret token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.base import DBConnectorComponent, Invalidation, cached, everything
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.statements import Insert, Statement
from buildbot.db.operations import writes
from buildbot.resources.sessions import sessions
from buildbot.util import checks, jsontext

_add = Insert(
    insert(sessions).values(
        token_hash=bindparam("hash"), user_info=bindparam("user_info"), expires_at=bindparam("expires_at")
    )
)
_find = Statement(
    select(sessions.c.id, sessions.c.user_info, sessions.c.expires_at).where(sessions.c.token_hash == bindparam("hash"))
)
_end = Statement(delete(sessions).where(sessions.c.id == bindparam("sessionid")))
_trim = Statement(delete(sessions).where(sessions.c.expires_at <= bindparam("now")))


class SessionDict(dict[str, Any]):
    """A session; allows weak references."""


class SessionsConnectorComponent(DBConnectorComponent):
    """Sessions of logged-in users; at ``master.db.sessions``.

    A session has the keys ``sessionid``, ``user_info`` (the user's attributes from the login) and ``expires_at``
    (integer Unix seconds). Only its end is announced, as ``sessions/N/ended``.
    """

    invalidations = (Invalidation("sessions", ("sessions", None, "ended"), everything),)

    def thdAddSession(self, conn: Connection, token: str, user_info: Mapping[str, Any], lifetime_s: int) -> int:
        """Begin a session, and remove expired ones; gives the sessionid.

        Args:
            token: the secret by which the session is found; only its hash is stored.
            user_info: JSON values.
        """
        now = transaction_of(conn).now
        _trim.run(conn, now=now)
        return _add.id(
            conn,
            hash=checks.name_hash(checks.text(token, "token")),
            user_info=jsontext.dumps(dict(user_info)),
            expires_at=now + lifetime_s,
        )

    addSession = writes(thdAddSession)

    @cached("sessions")
    def getSession(self, token: str) -> Deferred[SessionDict | None]:
        """The session with this token, or None; the caller must check whether it has expired."""
        return self.db.pool.read_short(self.thdGetSession, token)

    def thdGetSession(self, conn: Connection, token: str) -> SessionDict | None:
        """The session with this token, or None."""
        row = _find.first(conn, hash=checks.name_hash(checks.text(token, "token")))
        if row is None:
            return None
        return SessionDict(sessionid=row[0], user_info=jsontext.loads(row[1]), expires_at=row[2])

    def thdEndSession(self, conn: Connection, sessionid: int) -> None:
        """End a session, on all masters; nothing happens if it has ended."""
        if _end.count(conn, sessionid=checks.identifier(sessionid, "sessionid")):
            # caches and open connections of all masters follow this event
            transaction_of(conn).events.append(((f"sessions/{sessionid}/ended",), {"sessionid": sessionid}))

    endSession = writes(thdEndSession, forgets="sessions")
