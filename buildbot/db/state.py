"""State connector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects import Dialect
from buildbot.db.engine.statements import Statement
from buildbot.db.operations import reads_short, writes
from buildbot.resources.state import object_state, objects
from buildbot.util import checks, jsontext

_find_object = Statement(select(objects.c.id).where(objects.c.object_hash == bindparam("object_hash")))


def _insert_object(dialect: Dialect) -> Any:
    return dialect.insert_ignore(objects).values(  # type: ignore[attr-defined]
        name=bindparam("name"), class_name=bindparam("class_name"), object_hash=bindparam("object_hash")
    )


_add_object = Statement(_insert_object)
_here = (object_state.c.objectid == bindparam("oid"), object_state.c.name_hash == bindparam("hash"))
_state_values: dict[str, Any] = {
    "objectid": bindparam("oid"),
    "name_hash": bindparam("hash"),
    "name": bindparam("key"),
    "value_json": bindparam("value"),
}
_get = Statement(select(object_state.c.value_json).where(*_here))
_lock_object = Statement(select(objects.c.id).where(objects.c.id == bindparam("oid")).with_for_update())
_overwrite = Statement(update(object_state).where(*_here).values(value_json=bindparam("value")))
_add = Statement(insert(object_state).values(_state_values))

#: no default is given; None is a default
_REQUIRED: Any = object()


class StateConnectorComponent(DBConnectorComponent):
    """Arbitrary JSON values of named objects; at ``master.db.state``."""

    def thdGetObjectId(self, conn: Connection, name: str, class_name: str) -> int:
        """The id of the object with this name and class, which is added if it is new."""
        object_hash = checks.name_hash(checks.text(name, "name"), checks.text(class_name, "class_name"))
        found = _find_object.scalar(conn, object_hash=object_hash)
        if found is None:
            _add_object.run(conn, name=name, class_name=class_name, object_hash=object_hash)
            found = _find_object.scalar(conn, object_hash=object_hash)
        return int(found)

    getObjectId = writes(thdGetObjectId)

    def thdGetState(self, conn: Connection, objectid: int, name: str, default: Any = _REQUIRED) -> Any:
        """The value of ``name`` for the object.

        Args:
            default: what to return if there is no such value.

        Raises:
            KeyError: there is no such value and no default was given.
            TypeError: the stored text is not JSON.
        """
        checks.identifier(objectid, "objectid")
        text = _get.scalar(conn, oid=objectid, hash=checks.name_hash(checks.text(name, "name")))
        if text is not None:
            return jsontext.loads(text)
        if default is _REQUIRED:
            raise KeyError(f"no such state value {name!r} for object {objectid}")
        return default

    getState = reads_short(thdGetState)

    def thdSetState(self, conn: Connection, objectid: int, name: str, value: Any) -> Any:
        """Set the value of ``name`` for the object, over any existing one, and return the stored value.

        Of two racing first writes the first to reach the database wins, and both callers get the value that it wrote.

        Raises:
            TypeError: the value is not JSON; nothing is written.
            ValueError: there is no such object.
        """
        checks.identifier(objectid, "objectid")
        name_hash = checks.name_hash(checks.text(name, "name"))
        text = jsontext.dumps(value)
        if _overwrite.count(conn, oid=objectid, hash=name_hash, value=text):
            return jsontext.loads(text)
        return self._add_first(conn, objectid, name, name_hash, text)

    setState = writes(thdSetState)

    def thdAtomicCreateState(
        self, conn: Connection, objectid: int, name: str, thd_create_callback: Callable[[], Any]
    ) -> Any:
        """The value of ``name`` for the object; if there is none, the callback makes it, once for the whole cluster.

        Args:
            thd_create_callback: called in the database thread, returns a JSON value. It may be called and its value
                dropped if another master is faster.

        Raises:
            TypeError: the callback's value is not JSON; nothing is written.
            ValueError: there is no such object.
        """
        checks.identifier(objectid, "objectid")
        name_hash = checks.name_hash(checks.text(name, "name"))
        text = _get.scalar(conn, oid=objectid, hash=name_hash)
        if text is not None:
            return jsontext.loads(text)
        return self._add_first(conn, objectid, name, name_hash, jsontext.dumps(thd_create_callback()))

    atomicCreateState = writes(thdAtomicCreateState)

    @staticmethod
    def _add_first(conn: Connection, objectid: int, name: str, name_hash: str, text: str) -> Any:
        # first writes of an object queue at its row; the second one finds the value of the first
        if _lock_object.first(conn, oid=objectid) is None:
            raise ValueError(f"objectid: there is no object {objectid}")
        stored = _get.scalar(conn, oid=objectid, hash=name_hash)
        if stored is None:
            _add.run(conn, oid=objectid, hash=name_hash, key=name, value=text)
            stored = text
        return jsontext.loads(stored)
