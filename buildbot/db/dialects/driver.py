"""The driver's own cursor, with errors of the one family that callers know."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, DontWrapMixin

from buildbot.db.connection import state_of


def execute(conn: Connection, text: str, arguments: Any = (), many: bool = False) -> Any:
    """Run a statement in the database's own words, once or for many arguments, and return the cursor."""
    state_of(conn).statements += 1
    return execute_uncounted(conn, text, arguments, many)


def execute_uncounted(conn: Connection, text: str, arguments: Any = (), many: bool = False) -> Any:
    """As ``execute``, for what belongs to every transaction."""
    cursor = conn.connection.dbapi_connection.cursor()  # type: ignore[union-attr]
    try:
        if many:
            cursor.executemany(text, arguments)
        else:
            cursor.execute(text, arguments)
    except Exception as error:
        raise wrapped(conn, text, arguments, error) from error
    return cursor


def execute_both(conn: Connection, first: str, second: str, arguments: Any) -> Any:
    """Run two statements that a driver sends at once, and return the first one's ``lastrowid``."""
    text = f"{first}; {second}"
    state_of(conn).statements += 1
    cursor = execute(conn, text, arguments)
    found = cursor.lastrowid
    try:
        cursor.nextset()  # where the second one's errors are
    except Exception as error:
        raise wrapped(conn, text, arguments, error) from error
    return found


def wrapped(conn: Connection, text: str, arguments: Any, error: Exception) -> BaseException:
    """The driver's error as SQLAlchemy's; any other as it is."""
    if isinstance(error, DontWrapMixin) or not isinstance(error, conn.dialect.loaded_dbapi.Error):
        return error
    gone = conn.dialect.is_disconnect(error, conn.connection.dbapi_connection, None)
    return DBAPIError.instance(
        text,
        arguments,
        error,
        conn.dialect.loaded_dbapi.Error,
        connection_invalidated=gone,
        dialect=conn.dialect,
    )
