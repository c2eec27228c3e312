"""MySQL and MariaDB, by mysqlclient where it is installed, by PyMySQL elsewhere and for ``mysql+pymysql://…``.

PyMySQL needs no compiler and no headers; mysqlclient takes a third to an eighth of the CPU to read rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, Table, create_engine, event, func
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from buildbot.db.dialects.base import COMPILED, MAX_IDLE_S, Dialect, InvalidURLError, Session
from buildbot.db.dialects.driver import execute, execute_and_commit
from buildbot.db.transaction import OutboxEntry

try:
    import MySQLdb
    import MySQLdb.connections
except ImportError:  # also where its library is missing
    MySQLdb = None  # type: ignore[assignment]

#: flags of the protocol: UPDATE counts unchanged rows, too (SQLAlchemy sets it as well); several statements at once
_FOUND_ROWS, _MULTI_STATEMENTS = 1 << 1, 1 << 16
#: characters of events in one statement: after escaping less than the default packet size of servers
_MAX_EVENTS = 2_000_000

_NO_SUCH_SESSION, _NOT_OWN_SESSION = 1094, 1095
#: the server's code for a statement that is longer than max_allowed_packet
_TOO_LONG = 1153

_RAISE_CLOCK = "UPDATE clock SET seq = LAST_INSERT_ID(seq + %s) WHERE id = 1"
_APPEND_EVENTS = "INSERT INTO events (seq, routing_keys, body, masterid, group_token, created_at) VALUES "


class MySQLDialect(Dialect):
    """InnoDB and utf8mb4, required; READ COMMITTED for writers, consistent snapshots for readers."""

    name = "mysql"
    reading_arguments = {"init_command": "SET SESSION TRANSACTION READ ONLY"}
    # NOW is constant within a statement
    server_clock = "SELECT UNIX_TIMESTAMP(SYSDATE(3))"
    #: for MySQL, which has no such limit, the second setting is a comment
    limits_idle = "SET SESSION sql_mode='TRADITIONAL,ANSI_QUOTES' /*M!100300 , idle_transaction_timeout={} */"
    commits_at = re.compile(
        r"\s*(?:(?:CREATE|DROP)\s+(?!TEMPORARY\b)|ALTER\b|TRUNCATE\b|RENAME\b|LOCK\b|UNLOCK\b|ANALYZE\b|OPTIMIZE\b)",
        re.I,
    )
    writers = 2
    readers = 2

    def __init__(self, url: URL, basedir: str | None) -> None:
        driver = url.drivername.partition("+")[2]
        if driver not in ("", "pymysql", "mysqldb"):
            raise InvalidURLError(f"db_url: the driver of {url.drivername!r} is not supported; write mysql://…")
        if driver != "pymysql":
            driver = "pymysql" if MySQLdb is None else "mysqldb"
        engine = url.query.get("storage_engine")
        if engine is not None and str(engine).lower() != "innodb":
            raise InvalidURLError(f"db_url: storage_engine={engine} has no transactions; InnoDB is required")
        super().__init__(url.set(drivername=f"mysql+{driver}"), basedir)
        self.url = self.url.update_query_dict({"charset": "utf8mb4"})

    def _create_engine(self) -> Engine:
        engine = create_engine(
            self.url,
            pool_size=self.readers + self.writers + 2,
            max_overflow=5,
            pool_recycle=3600,
            isolation_level="READ COMMITTED",
            paramstyle="pyformat",  # both drivers take it; SQLAlchemy would use another one for mysqlclient
            connect_args={
                "connect_timeout": 10,
                "init_command": self.limits_idle.format(MAX_IDLE_S),
                "client_flag": _FOUND_ROWS | _MULTI_STATEMENTS,
            },
            query_cache_size=COMPILED,
        )

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
            return _connection_class(dialect.driver)(*arguments, **options)

        @event.listens_for(engine, "connect")
        def recognise(connection: Any, record: Any) -> None:
            # MariaDB's INSERT has RETURNING since 10.5, MySQL's has none; UPDATE has it nowhere
            if engine.dialect.insert_returning:
                self.name, self.returns_inserted = "mariadb", True
            self.note_session(record, connection.thread_id())
            cursor = connection.cursor()
            cursor.execute("SELECT @@max_allowed_packet")
            connection.most_bytes = int(cursor.fetchall()[0][0]) - 1

        @event.listens_for(engine, "set_connection_execution_options")
        def isolate(conn: Connection, options: dict[str, Any]) -> None:
            # at a lower level WITH CONSISTENT SNAPSHOT is silently ignored
            if options.get("reader"):
                execute(conn, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        @event.listens_for(engine, "before_cursor_execute", retval=True)
        def storage(
            conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
        ) -> tuple[str, Any]:
            # for migrations and tests: every table is InnoDB, in a collation that compares byte for byte
            if statement.lstrip().upper().startswith("CREATE TABLE"):
                statement = f"{statement.rstrip()} ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE {_collation(conn)}"
            return statement, parameters

        return engine

    def end_session(self, conn: Connection, session: Session) -> bool:
        """As ``Dialect.end_session``; the numbers of sessions begin anew when the server restarts."""
        uptime = execute(conn, "SHOW GLOBAL STATUS LIKE 'Uptime'").fetchall()[0][1]
        own = self.session(conn)
        if int(uptime) < session.least_age or (own is not None and own.identifier == session.identifier):
            return True
        try:
            execute(conn, f"KILL CONNECTION {session.identifier}")
        except DBAPIError as error:
            if self._code(error) in (_NO_SUCH_SESSION, _NOT_OWN_SESSION):
                return True
            raise
        return False  # it got the KILL, and may still be running a statement

    def begin_snapshot(self) -> str:
        """As ``Dialect.begin_snapshot``; the snapshot is taken at once, not at the first read."""
        return "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"

    def insert_ignore(self, table: Table) -> Executable:
        """As ``Dialect.insert_ignore``. INSERT IGNORE would also hide broken references; a no-op update does not."""
        statement = insert(table)
        column = next(iter(table.primary_key.columns))
        return statement.on_duplicate_key_update({column.name: column})

    def insert_or_find(self, table: Table) -> Executable:
        """As ``Dialect.insert_or_find``; LAST_INSERT_ID(id) gives the id of the new or the existing row."""
        return insert(table).on_duplicate_key_update(id=func.last_insert_id(table.c.id))

    def spread_ids(self, ids: Sequence[int | str]) -> tuple[str | None, list[Any]]:
        """As ``Dialect.spread_ids``; into the text, where the driver would put them anyway."""
        return ",".join(f"'{key}'" if isinstance(key, str) else str(key) for key in ids) or "NULL", []

    def count_up(self, conn: Connection, column: Column[int], key: int, by: int) -> int:
        """As ``Dialect.count_up``. UPDATE has no RETURNING here; its answer has LAST_INSERT_ID(expression)."""
        text = f"UPDATE {column.table.name} SET {column.name} = LAST_INSERT_ID({column.name} + %s) WHERE id = %s"
        return int(execute(conn, text, (by, key)).lastrowid)

    def commit_with_events(self, conn: Connection, entry: OutboxEntry) -> int | None:
        """As ``Dialect.commit_with_events``: the second statement uses the number from the first."""
        if sum(map(len, entry.bodies)) > _MAX_EVENTS:
            return None
        count = len(entry.events)
        # the driver takes longer to convert a number than a row takes otherwise
        same = f"%s, %s, {entry.masterid:d}, '{entry.token}', {entry.created_at:d}"
        values = ", ".join([f"(LAST_INSERT_ID() - {before}, {same})" for before in reversed(range(count))])
        texts = [text for row in zip(entry.keys, entry.bodies, strict=True) for text in row]
        last = execute_and_commit(conn, _RAISE_CLOCK, _APPEND_EVENTS + values, [count, *texts])
        connection: Any = conn.connection.dbapi_connection
        connection.committed = True
        return int(last)

    def last_id(self, conn: Connection, table: Table) -> int:
        """As ``Dialect.last_id``; by default the server caches this for a day."""
        shown = execute(conn, f"SHOW CREATE TABLE {conn.dialect.identifier_preparer.quote(table.name)}").fetchone()[1]
        found = re.search(r"\bAUTO_INCREMENT=(\d+)", shown)
        return int(found[1]) - 1 if found else 0

    def skip_ids(self, conn: Connection, table: Table, through: int) -> None:
        """As ``Dialect.skip_ids``; explicit ids of rows count here. It commits, as every ALTER does."""
        if through > self.last_id(conn, table):
            quoted = conn.dialect.identifier_preparer.quote(table.name)
            execute(conn, f"ALTER TABLE {quoted} AUTO_INCREMENT = {through + 1}")

    def analyze(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.analyze``."""
        names = ", ".join(conn.dialect.identifier_preparer.quote(table.name) for table in tables)
        execute(conn, f"ANALYZE TABLE {names}").fetchall()

    def compact(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.compact``; InnoDB writes the tables anew."""
        names = ", ".join(conn.dialect.identifier_preparer.quote(table.name) for table in tables)
        execute(conn, f"OPTIMIZE TABLE {names}").fetchall()

    def _code(self, error: DBAPIError) -> int:
        arguments = getattr(error.orig, "args", ())
        return arguments[0] if arguments and isinstance(arguments[0], int) else 0

    def is_transient(self, error: DBAPIError) -> bool:
        """As ``Dialect.is_transient``: deadlock, lock wait timeout, record changed since the snapshot."""
        return self._code(error) in (1213, 1205, 1020)

    def _is_gone(self, error: DBAPIError) -> bool:
        # 2002/2003: cannot connect; 2006/2013/2014: gone; 1053/1927/1080: shutting down or killed; 0: socket closed;
        # 1040: too many connections, 1203: of this user, 1226: the user's limit is used up, 1135: no thread for it
        return self._code(error) in (
            0,
            1040,
            1053,
            1080,
            1135,
            1152,
            1158,
            1159,
            1160,
            1161,
            1203,
            1226,
            1927,
            2002,
            2003,
            2006,
            2013,
            2014,
            2055,
        )

    def is_disconnect(self, error: DBAPIError) -> bool:
        """As ``Dialect.is_disconnect``; PyMySQL raises InterfaceError or InternalError for some lost connections."""
        return error.connection_invalidated or self._is_gone(error)

    def is_unique_violation(self, error: DBAPIError) -> bool:
        """By its code."""
        return self._code(error) == 1062

    def is_foreign_key_violation(self, error: DBAPIError) -> bool:
        """By its code."""
        return self._code(error) in (1452, 1216)

    def is_out_of_room(self, error: DBAPIError) -> bool:
        """By its code."""
        return self._code(error) in _NO_ROOM

    def explain_failure(self, error: DBAPIError) -> str | None:
        """As ``Dialect.explain_failure``."""
        code = self._code(error)
        if code in _NO_ROOM:
            return "the database server's disk is full; nothing of this transaction was kept"
        if code in (1290, 1836):
            return "the database server is read-only"
        if code == 1049:
            return f"the database {self.url.database!r} does not exist on the server; create it first"
        return None


#: the disk or a table is full, or a file of it cannot be written
_NO_ROOM = (1021, 1114, 3)


def _collation(conn: Connection) -> str:
    # no padding: trailing spaces count
    return "utf8mb4_nopad_bin" if getattr(conn.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"


@cache
def _connection_class(driver: str) -> Any:
    """A subclass of the driver's connection that does not send a COMMIT which was sent with the events, nor a statement
    that is too long: the server would end the connection, as if it were gone.
    """
    base: Any
    error: Any
    if driver == "mysqldb":
        base, error = MySQLdb.connections.Connection, MySQLdb.DataError
    else:
        from pymysql.connections import Connection as base
        from pymysql.err import DataError as error

    class _Connection(base):  # type: ignore[misc]
        #: the driver's state of the transaction is not reliable: results with rows do not update it
        committed = False
        #: the length of the longest statement that the server takes; None while it is not known
        most_bytes: int | None = None

        def query(self, statement: str | bytes, *others: Any, **named: Any) -> Any:
            most = self.most_bytes
            if most is not None and len(statement) > most // 4:  # a character has up to four bytes
                length = len(
                    statement if isinstance(statement, bytes | bytearray) else statement.encode(errors="replace")
                )
                if length > most:
                    text = f"a statement of {length:,} bytes; max_allowed_packet of the server is {most + 1:,}"
                    raise error(_TOO_LONG, text)
            return super().query(statement, *others, **named)

        def commit(self) -> None:
            if self.committed:
                self.committed = False
            else:
                super().commit()

    return _Connection
