"""PostgreSQL, by psycopg 3."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Integer, SmallInteger, Table, create_engine, event
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable
from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from buildbot.db.dialects.base import (
    COMPILED,
    MAX_IDLE_S,
    ClockReader,
    Dialect,
    InvalidURLError,
    Listener,
    ReactorReader,
    Session,
)
from buildbot.db.dialects.driver import CONTEXT, execute, execute_uncounted, wrapped
from buildbot.db.dialects.postgresql_prepared import PreparedCursor, is_outdated
from buildbot.db.dialects.postgresql_reactor import PostgreSQLClock, PostgreSQLReader, connection_arguments
from buildbot.db.dialects.replay import ReplayReader
from buildbot.db.transaction import OutboxEntry

try:
    import psycopg
except ModuleNotFoundError:  # create_engine says what to install
    psycopg = None  # type: ignore[assignment]


#: the channel of the masters' notifications
CHANNEL = "tenfold_events"

log = Logger()


_APPEND_EVENTS = """
WITH raised AS (UPDATE clock SET seq = seq + %(count)s::bigint WHERE id = 1 RETURNING seq), appended AS (
    INSERT INTO events (seq, routing_keys, body, masterid, group_token, created_at)
    SELECT raised.seq - %(count)s::bigint + told.place, told.keys, told.body,
        %(masterid)s::bigint, %(group_token)s::text, %(created_at)s::bigint
    FROM raised, unnest(%(keys)s::text[], %(bodies)s::text[]) WITH ORDINALITY AS told(keys, body, place)
    ORDER BY told.place
)
SELECT seq FROM raised
"""
_END_SESSION = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = %s AND pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user
AND clock_timestamp() - backend_start > %s * interval '1 second'
"""


class _NotificationListener(threading.Thread):
    """Listens on a connection of its own, and connects again when it is lost."""

    def __init__(self, url: URL, own: str, wake: Callable[[], None]) -> None:
        super().__init__(name="db-listen", daemon=True)
        self._url = url
        self._own = own
        self._wake = wake
        self._closing = threading.Event()
        self.start()

    def close(self) -> None:
        """As ``Listener.close``; the thread ends within its next second."""
        self._closing.set()

    def run(self) -> None:
        """Until closed: connect, listen, wake."""
        while not self._closing.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                log.debug("the listening connection was lost: {error}", error=error)
                self._closing.wait(1.0)

    def _listen(self) -> None:
        with psycopg.connect(autocommit=True, **connection_arguments(self._url)) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._wake()  # for events while it did not listen
            while not self._closing.is_set():
                for heard in connection.notifies(timeout=1.0, stop_after=1):
                    if heard.payload != self._own:  # this process knows its own events
                        self._wake()


class PostgreSQLDialect(Dialect):
    """READ COMMITTED for writers, whose conditions are in the writing statement; snapshots for readers."""

    name = "postgresql"
    reading_arguments = {"options": "-c default_transaction_read_only=on"}
    server_clock = "SELECT extract(epoch FROM clock_timestamp())"
    ids_by_returning = True
    returns_inserted = True
    returns_updated = True
    chains_inserts = True
    joins_rows = True
    plans_by_limit = True
    updates_in_order = False
    limits_idle = "SET idle_in_transaction_session_timeout = '{}s'"
    writers = 2
    readers = 2

    def __init__(self, url: URL, basedir: str | None) -> None:
        driver = url.drivername
        if driver not in ("postgresql", "postgresql+psycopg", "postgresql+psycopg2"):
            raise InvalidURLError(f"db_url: the driver of {driver!r} is not supported; write postgresql://…")
        super().__init__(url.set(drivername="postgresql+psycopg"), basedir)
        #: this process's mark in its notifications
        self._own = secrets.token_hex(8)

    def _create_engine(self) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=self.readers + self.writers + 2,
            max_overflow=5,
            connect_args=connection_arguments(self.url),
            query_cache_size=COMPILED,
        )

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
            return _connection_class().connect(*arguments, **options)

        @event.listens_for(engine, "rollback_savepoint")
        def forget_prepared(conn: Connection, name: Any, context: Any) -> None:
            conn.connection.dbapi_connection.forget_prepared()  # type: ignore[union-attr]  # the driver deallocates all

        @event.listens_for(engine, "connect")
        def settings(connection: Any, record: Any) -> None:
            encoding = connection.info.parameter_status("server_encoding") or "UTF8"
            if encoding != "UTF8":
                raise InvalidURLError(
                    f"the database {self.url.database!r} has the encoding {encoding}, in which texts and logs cannot be"
                    " stored; make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
                )
            # not as options of the connection, which poolers refuse; of the database they may be others
            connection.execute(self.limits_idle.format(MAX_IDLE_S))
            connection.execute("SET default_transaction_isolation = 'read committed'")
            # the server's own number; a pooler's would be another one
            self.note_session(record, connection.execute("SELECT pg_backend_pid()").fetchone()[0])
            connection.commit()

        # no casts of parameters to INTEGER: a number that is too large for the column is not found, without an error
        casts = {kind: spec for kind, spec in engine.dialect.colspecs.items() if kind not in (Integer, SmallInteger)}
        engine.dialect.colspecs = casts
        return engine

    def begin_snapshot(self) -> str:
        """As ``Dialect.begin_snapshot``."""
        return "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def listen(self, wake: Callable[[], None]) -> Listener:
        """As ``Dialect.listen``: a thread with a connection, which connects again when that is lost."""
        return _NotificationListener(self.url, self._own, wake)

    def clock_reader(self, reactor: Any) -> ClockReader | None:
        """As ``Dialect.clock_reader``, for reactors that watch sockets."""
        return PostgreSQLClock(self.url, reactor) if IReactorFDSet.providedBy(reactor) else None

    def reactor_reader(self, engine: Engine, reactor: Any) -> ReactorReader | None:
        """As ``Dialect.reactor_reader``, for reactors that watch sockets."""
        if not IReactorFDSet.providedBy(reactor):
            return None
        return ReplayReader(PostgreSQLReader(self.url, reactor), self, engine.dialect)

    def notify(self, conn: Connection) -> None:
        """As ``Dialect.notify``."""
        execute_uncounted(conn, "SELECT pg_notify(%s, %s)", (CHANNEL, self._own))

    def insert_ignore(self, table: Table) -> Executable:
        """As ``Dialect.insert_ignore``."""
        return insert(table).on_conflict_do_nothing()

    def insert_many(
        self, conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """As ``Dialect.insert_many``, by COPY, which takes a fraction of the time of INSERT."""
        quote = conn.dialect.identifier_preparer.quote
        text = f"COPY {quote(table.name)} ({', '.join(map(quote, columns))}) FROM STDIN"
        conn.get_execution_options()[CONTEXT].statements += 1
        cursor: Any = conn.connection.dbapi_connection.cursor()  # type: ignore[union-attr]
        try:
            with cursor.copy(text) as copy:
                for row in rows:
                    copy.write_row(row)
        except Exception as error:
            raise wrapped(conn, text, (), error) from error

    def wait_for_disk(self, conn: Connection, wait: bool) -> None:
        """As ``Dialect.wait_for_disk``."""
        with conn.begin():
            execute_uncounted(conn, f"SET synchronous_commit={'on' if wait else 'off'}")

    def last_id(self, conn: Connection, table: Table) -> int:
        """As ``Dialect.last_id``."""
        name = self._sequence(conn, table)
        last, called = execute(conn, f"SELECT last_value, is_called FROM {name}").fetchone()
        return int(last) if called else int(last) - 1

    def skip_ids(self, conn: Connection, table: Table, through: int) -> None:
        """As ``Dialect.skip_ids``; the sequence ignores explicit ids of rows."""
        if through > self.last_id(conn, table):
            execute(conn, "SELECT setval(%s, %s)", (self._sequence(conn, table), through))

    @staticmethod
    def _sequence(conn: Connection, table: Table) -> str:
        return str(execute(conn, "SELECT pg_get_serial_sequence(%s, 'id')", (table.name,)).fetchone()[0])

    def analyze(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.analyze``."""
        names = ", ".join(conn.dialect.identifier_preparer.quote(table.name) for table in tables)
        execute(conn, f"ANALYZE {names}")

    def compact(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.compact``; the tables are written anew."""
        names = ", ".join(conn.dialect.identifier_preparer.quote(table.name) for table in tables)
        driver: Any = conn.connection.driver_connection
        driver.autocommit = True
        driver.execute(f"VACUUM (FULL, ANALYZE) {names}")

    def ordered(self, expression: ColumnElement[Any], descending: bool, nullable: bool) -> ColumnElement[Any]:
        """As ``Dialect.ordered``. By default NULL is the highest here, also in indexes; so NULLS FIRST is added only
        for columns that can be NULL.
        """
        if not nullable:
            return super().ordered(expression, descending, nullable)
        return expression.desc().nulls_last() if descending else expression.asc().nulls_first()

    def spread_ids(self, ids: Sequence[int | str]) -> tuple[str | None, list[Any]]:
        """As ``Dialect.spread_ids``; one array, for ANY."""
        return None, list(ids)

    def cursor(self, connection: Any) -> Any:
        """As ``Dialect.cursor``: prepared statements, without psycopg's cursors, on the connections of this engine."""
        return getattr(connection, "prepared_cursor", connection.cursor)()

    def commit_with_events(self, conn: Connection, entry: OutboxEntry) -> int | None:
        """As ``Dialect.commit_with_events``."""
        arguments = {
            "count": len(entry.events),
            "keys": entry.keys,
            "bodies": entry.bodies,
            "masterid": entry.masterid,
            "group_token": entry.token,
            "created_at": entry.created_at,
        }
        return int(execute(conn, _APPEND_EVENTS, arguments, commit=True).fetchall()[0][0])

    def end_session(self, conn: Connection, session: Session) -> bool:
        """As ``Dialect.end_session``."""
        return not execute(conn, _END_SESSION, (session.identifier, session.least_age)).fetchall()

    def _sqlstate(self, error: DBAPIError) -> str:
        return getattr(error.orig, "sqlstate", None) or ""

    def is_unprepared(self, error: DBAPIError) -> bool:
        """As ``Dialect.is_unprepared``: psycopg has statements of its own for the calls of SQLAlchemy."""
        return is_outdated(error.orig)

    def is_transient(self, error: DBAPIError) -> bool:
        """As ``Dialect.is_transient``: deadlock, serialization failure, lock not available, prepared statement gone or
        outdated.
        """
        return self._sqlstate(error) in ("40P01", "40001", "55P03") or is_outdated(error.orig)

    def _is_gone(self, error: DBAPIError) -> bool:
        # no state: the client library lost the server, or got no connection; 57P0x: the server stops or starts;
        # 08: connection; 53300: it has no connection left
        state = self._sqlstate(error)
        return state in ("", "53300") or state.startswith(("57P", "08"))

    def is_unique_violation(self, error: DBAPIError) -> bool:
        """By SQLSTATE."""
        return self._sqlstate(error) == "23505"

    def is_foreign_key_violation(self, error: DBAPIError) -> bool:
        """By SQLSTATE."""
        return self._sqlstate(error) == "23503"

    def is_out_of_room(self, error: DBAPIError) -> bool:
        """By SQLSTATE."""
        return self._sqlstate(error) == "53100"

    def explain_failure(self, error: DBAPIError) -> str | None:
        """As ``Dialect.explain_failure``."""
        state = self._sqlstate(error)
        if state == "53100":
            return "the database server's disk is full; nothing of this transaction was kept"
        if state == "25006":
            return "the database server is read-only (a standby?)"
        if state == "3D000" or ("does not exist" in str(error.orig) and "database" in str(error.orig)):
            return f"the database {self.url.database!r} does not exist on the server; create it first"
        return None


@cache
def _connection_class() -> Any:
    """A subclass of psycopg's connection that has prepared statements, and keeps them at a ROLLBACK: lost claims are
    frequent.
    """

    class _Connection(psycopg.Connection[Any]):
        _prepared_cursor: PreparedCursor | None = None

        def prepared_cursor(self) -> PreparedCursor:
            cursor = self._prepared_cursor
            if cursor is None:
                cursor = self._prepared_cursor = PreparedCursor(self)
            return cursor

        def forget_prepared(self) -> None:
            if self._prepared_cursor is not None:
                self._prepared_cursor.statements.forget()

        def commit(self) -> None:
            if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                super().commit()

        def rollback(self) -> None:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                return
            result = self.pgconn.exec_(b"ROLLBACK")
            if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
                raise psycopg.OperationalError(f"ROLLBACK: {result.error_message.decode(errors='replace')}")

    return _Connection
