"""Users connector."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.db.base import DBConnectorComponent, Invalidation, cached
from buildbot.db.dialects import Dialect
from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import fixed
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.statements import Insert, Row, Statement
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.users import users, users_info
from buildbot.util import checks

_columns = (users.c.id, users.c.identifier, users.c.bb_username, users.c.bb_password)
_get = Statement(select(*_columns).where(users.c.id == bindparam("uid")))
_by_username = Statement(
    select(users.c.id).where(users.c.bb_username_hash == bindparam("hash")).order_by(users.c.id).limit(fixed(1))
)
_all = Statement(select(*_columns).order_by(users.c.id))
_attributes = Statement(
    select(users_info.c.attr_type, users_info.c.attr_data)
    .where(users_info.c.uid == bindparam("uid"))
    .order_by(users_info.c.attr_type)
)
_find = Statement(select(users_info.c.uid).where(users_info.c.attr_hash == bindparam("hash")))
_add = Insert(insert(users).values(identifier=bindparam("identifier"), identifier_hash=bindparam("hash")))
_attribute: dict[str, Any] = {
    "uid": bindparam("uid"),
    "attr_type_hash": bindparam("type_hash"),
    "attr_type": bindparam("attr_type"),
    "attr_data": bindparam("attr_data"),
    "attr_hash": bindparam("hash"),
}


def _insert_attribute(dialect: Dialect) -> Any:
    return dialect.insert_ignore(users_info).values(_attribute)  # type: ignore[attr-defined]


_add_attribute = Statement(_insert_attribute)
_change_attribute = Statement(
    update(users_info)
    .where(users_info.c.uid == bindparam("uid"), users_info.c.attr_type_hash == bindparam("type_hash"))
    .values(attr_data=bindparam("attr_data"), attr_hash=bindparam("hash"))
)
_remove = Statement(delete(users).where(users.c.id == bindparam("uid")))
_lock = Statement(select(users.c.id).where(users.c.id == bindparam("uid")).with_for_update())
_lowest = Statement(select(func.min(users.c.id)).where(users.c.identifier_hash == bindparam("hash")))


class UsDict(dict[str, Any]):
    """A user; allows weak references."""


class UsersConnectorComponent(DBConnectorComponent):
    """Users, recognized by attributes of several types; at ``master.db.users``.

    A usdict has the keys ``uid``, ``identifier``, ``bb_username``, ``bb_password`` (a hash) and one for each attribute
    type; types that collide with the former are ignored.
    """

    invalidations = (Invalidation("usdicts", ("users", None, "updated")),)

    def thdFindUserByAttr(self, conn: Connection, identifier: str, attr_type: str, attr_data: str) -> int:
        """The uid of the user with this attribute; a user is added if there is none.

        Args:
            identifier: used only for a new user.
        """
        checks.text(identifier, "identifier")
        attribute_hash = _attr_hash(attr_type, attr_data)
        found = _find.scalar(conn, hash=attribute_hash)
        if found is not None:
            return int(found)
        uid = _add.id(conn, identifier=identifier, hash=checks.name_hash(identifier))
        row = {"type_hash": checks.name_hash(attr_type), "attr_type": attr_type, "attr_data": attr_data}
        _add_attribute.run(conn, uid=uid, hash=attribute_hash, **row)
        winner = int(_find.scalar(conn, hash=attribute_hash))
        if winner != uid:  # another transaction was faster while this one waited for the unique key
            _remove.run(conn, uid=uid)
        return winner

    findUserByAttr = writes(thdFindUserByAttr)

    @cached("usdicts")
    def getUser(self, uid: int) -> Deferred[UsDict | None]:
        """The user with this id, or None.

        ``no_cache``: read the database even if the user is cached.
        """
        return self.db.pool.snapshot(self.thdGetUser, uid)

    def thdGetUser(self, conn: Connection, uid: int) -> UsDict | None:
        """The user with this id, or None."""
        row = _get.first(conn, uid=checks.identifier(uid, "uid"))
        if row is None:
            return None
        return UsDict({**dict(_attributes.all(conn, uid=uid)), **_partial(row)})

    def thdGetUserByUsername(self, conn: Connection, username: str) -> UsDict | None:
        """The user with this login name, or None."""
        uid = _by_username.scalar(conn, hash=checks.name_hash(checks.text(username, "username")))
        return None if uid is None else self.thdGetUser(conn, uid)

    getUserByUsername = reads_short(thdGetUserByUsername)

    def thdGetUsers(self, conn: Connection) -> list[UsDict]:
        """All users without their attributes, by uid."""
        return [_partial(row) for row in _all.all(conn)]

    getUsers = reads_list(thdGetUsers)

    def thdUpdateUser(
        self,
        conn: Connection,
        uid: int | None = None,
        identifier: str | None = None,
        bb_username: str | None = None,
        bb_password: str | None = None,
        attr_type: str | None = None,
        attr_data: str | None = None,
    ) -> None:
        """Change the given attributes of a user; nothing happens if there is no such user.

        Raises:
            ValueError: ``bb_username`` without ``bb_password``, one of ``attr_type`` and ``attr_data`` without the
            other, or
                an attribute that another user has.
        """
        checks.identifier(uid, "uid")
        assert uid is not None
        values: dict[str, Any] = {}
        if identifier is not None:
            values["identifier"] = checks.text(identifier, "identifier")
            values["identifier_hash"] = checks.name_hash(identifier)
        if bb_username is not None:
            if bb_password is None:
                raise ValueError("bb_password must be given with bb_username")
            values["bb_username"] = checks.text(bb_username, "bb_username")
            values["bb_username_hash"] = checks.name_hash(bb_username)
        if bb_password is not None:
            values["bb_password"] = checks.text(bb_password, "bb_password")
        if (attr_type is None) != (attr_data is None):
            raise ValueError("attr_type and attr_data must be given together")
        if _lock.first(conn, uid=uid) is None:
            return
        if values:
            conn.execute(update(users).where(users.c.id == uid).values(values))
        if attr_type is not None and attr_data is not None:
            self._set_attribute(conn, uid, attr_type, attr_data)
        _announce(conn, uid)

    updateUser = writes(thdUpdateUser, forgets="usdicts")

    def thdRemoveUser(self, conn: Connection, uid: int) -> None:
        """Remove a user with its attributes; nothing happens if there is none."""
        if _remove.count(conn, uid=checks.identifier(uid, "uid")):
            _announce(conn, uid)

    removeUser = writes(thdRemoveUser, forgets="usdicts")

    def thdIdentifierToUid(self, conn: Connection, identifier: str) -> int | None:
        """The lowest uid with this identifier, or None."""
        hashed = checks.name_hash(checks.text(identifier, "identifier"))
        return _lowest.scalar(conn, hash=hashed)  # type: ignore[no-any-return]

    identifierToUid = reads_short(thdIdentifierToUid)

    @staticmethod
    def _set_attribute(conn: Connection, uid: int, attr_type: str, attr_data: str) -> None:
        attribute_hash = _attr_hash(attr_type, attr_data)
        owner = _find.scalar(conn, hash=attribute_hash)
        if owner is None:
            row = {"uid": uid, "type_hash": checks.name_hash(attr_type), "attr_data": attr_data, "hash": attribute_hash}
            with again_if_taken(conn):
                if not _change_attribute.count(conn, **row):
                    _add_attribute.run(conn, attr_type=attr_type, **row)
            owner = _find.scalar(conn, hash=attribute_hash)
        if owner != uid:
            raise ValueError(f"attr_data: user {owner} has {attr_type} {attr_data!r}")


def _announce(conn: Connection, uid: int) -> None:
    # caches of all masters follow this event
    transaction_of(conn).events.append(((f"users/{uid}/updated",), {"uid": uid}))


def _attr_hash(attr_type: str, attr_data: str) -> str:
    return checks.name_hash(checks.text(attr_type, "attr_type"), checks.text(attr_data, "attr_data"))


def _partial(row: Row) -> UsDict:
    return UsDict(uid=row[0], identifier=row[1], bb_username=row[2], bb_password=row[3])
