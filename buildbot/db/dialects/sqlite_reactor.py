"""Reads on the reactor's thread: of the data version, and of a row or a few.

A reader of a file in WAL mode never waits, and takes less time than two wake-ups of a thread.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, fail, succeed

from buildbot.db.dialects.base import ConnectionContext
from buildbot.db.dialects.driver import CONTEXT

if TYPE_CHECKING:
    from buildbot.db.dialects.base import Dialect

#: the limit of a read, in steps of SQLite's virtual machine: about half a millisecond
_MAX_STEPS = 10_000
#: reads in a row on the reactor's thread; then one goes to a worker thread, since a loop of reads would block the
#: reactor
_IN_A_ROW = 20
#: after a read slower than _SLOW_S seconds (the pages were not cached), the next _REST reads go to threads
_SLOW_S = 0.01
_REST = 100


class SQLiteDataVersion:
    """As ``DataVersion``: on a connection of its own; it takes three microseconds and no lock."""

    def __init__(self, connection: Any, in_memory: bool) -> None:
        self._connection = connection
        self._driver: sqlite3.Connection = connection.driver_connection
        self._in_memory = in_memory

    def read(self) -> int | None:
        """As ``DataVersion.read``."""
        if self._in_memory:
            return self._driver.total_changes
        try:
            return int(self._driver.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError:  # another process has locked the file exclusively
            return None

    def close(self) -> None:
        """As ``DataVersion.close``."""
        self._connection.close()


class SQLiteReactorReader:
    """As ``ReactorReader``: on a connection of its own, whose reads are stopped before they take long.

    ``engine``: its connections wait for no lock.
    """

    def __init__(self, engine: Engine, dialect: Dialect) -> None:
        self._engine = engine
        self._state = ConnectionContext(dialect)
        self._connection: Connection | None = None
        #: reads until the next one goes to a thread; below zero: reads that still go to threads
        self._left = _IN_A_ROW
        #: whether the present read has used half of its steps, and all of them
        self._is_late = self._is_stopped = False

    @property
    def statements(self) -> int:
        """As ``ReactorReader.statements``."""
        return self._state.statements

    def read(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Deferred[Any] | None:
        """As ``ReactorReader.read``."""
        if self._left <= 0:
            self._left = self._left + 1 if self._left else _IN_A_ROW
            return None
        self._left -= 1
        self._is_late = self._is_stopped = False
        statements = self._state.statements
        begun = time.perf_counter()
        try:
            return succeed(self._run(function, args, kwargs))
        except (DBAPIError, sqlite3.Error):
            # a worker thread runs it: there it may take longer, wait for a lock, or fail
            self._state.statements = statements
            if not self._is_stopped:
                self.close()
            return None
        except Exception:
            return fail()
        finally:
            if time.perf_counter() - begun > _SLOW_S:
                self._left = -_REST

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        conn = self._connection
        if conn is None:
            conn = self._connection = self._connect()
        try:
            return function(conn, *args, **kwargs)
        finally:
            if conn.in_transaction():
                conn.rollback()

    def _connect(self) -> Connection:
        options = {"isolation_level": "AUTOCOMMIT", "reader": True, CONTEXT: self._state}
        conn = self._engine.connect().execution_options(**options)
        driver: Any = conn.connection.driver_connection
        driver.set_progress_handler(self._stop, _MAX_STEPS // 2)
        return conn

    def _stop(self) -> bool:
        # SQLite counts the steps of all reads, so the first call may come early
        self._is_stopped, self._is_late = self._is_late, True
        return self._is_stopped

    def close(self) -> None:
        """As ``ReactorReader.close``."""
        conn, self._connection = self._connection, None
        if conn is not None:
            conn.close()
            self._engine.dispose()
