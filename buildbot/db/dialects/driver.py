"""Statements on the driver's own cursor, with SQLAlchemy's errors."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, DontWrapMixin

#: the execution option that holds a connection's context, see `buildbot.db.dialects.base.ConnectionContext`
CONTEXT = "tenfold_context"


def execute(conn: Connection, text: str, arguments: Any = (), many: bool = False, **options: Any) -> Any:
    """Run a statement in the database's own SQL, once or for many arguments, and return the cursor.

    ``options`` are for the cursor.
    """
    conn.get_execution_options()[CONTEXT].statements += 1
    return execute_uncounted(conn, text, arguments, many, **options)


def execute_uncounted(conn: Connection, text: str, arguments: Any = (), many: bool = False, **options: Any) -> Any:
    """As ``execute``, for statements that belong to every transaction; they are not counted."""
    cursor = conn.get_execution_options()[CONTEXT].dialect.cursor(conn.connection.dbapi_connection)
    try:
        if many:
            cursor.executemany(text, arguments)
        else:
            cursor.execute(text, arguments, **options)
    except Exception as error:
        raise wrapped(conn, text, arguments, error) from error
    return cursor


def execute_after(conn: Connection, before: tuple[str, Any], text: str, arguments: Any) -> Any:
    """As ``execute``, after another statement whose rows nobody needs; both go in one message."""
    conn.get_execution_options()[CONTEXT].statements += 1
    return execute(conn, text, arguments, before=before)


def execute_both(conn: Connection, text: str, arguments: Any) -> tuple[int, list[tuple[Any, ...]]]:
    """Run a statement and a SELECT in one message; gives the number of changed rows, and the rows of the SELECT."""
    cursor = _execute_several(conn, text, arguments)
    changed: int = cursor.rowcount
    _next_result(conn, cursor, text, arguments)
    return changed, list(cursor.fetchall())


def execute_and_commit(conn: Connection, first: str, second: str, arguments: Any) -> Any:
    """Run two statements and COMMIT in one message, and return the first one's ``lastrowid``."""
    text = f"{first}; {second}; COMMIT"
    cursor = _execute_several(conn, text, arguments)
    last = cursor.lastrowid
    while _next_result(conn, cursor, text, arguments):
        pass
    return last


def _execute_several(conn: Connection, text: str, arguments: Any) -> Any:
    """The cursor at the first of several results."""
    conn.get_execution_options()[CONTEXT].statements += 1
    return execute(conn, text, arguments)


def _next_result(conn: Connection, cursor: Any, text: str, arguments: Any) -> bool:
    """Go to the next result; False if there is none. Raises the error of its statement."""
    try:
        return bool(cursor.nextset())
    except Exception as error:
        raise wrapped(conn, text, arguments, error) from error


def wrapped(conn: Connection, text: str, arguments: Any, error: Exception) -> BaseException:
    """The driver's error as SQLAlchemy's; other errors stay as they are."""
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
