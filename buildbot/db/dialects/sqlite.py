"""SQLite: the embedded default."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import Table, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool
from sqlalchemy.sql import Executable
from twisted.logger import Logger

from buildbot.db.dialects.base import COMPILED, DataVersion, Dialect, InvalidURLError, ReactorReader
from buildbot.db.dialects.driver import execute, execute_uncounted
from buildbot.db.dialects.sqlite_reactor import SQLiteDataVersion, SQLiteReactorReader

_log = Logger()

#: seconds that a writer waits for another process's transaction
BUSY_TIMEOUT_MS = 30_000
#: pages of the file that a connection caches; the reactor reads mostly the upper pages of trees
_CACHE_KB, _NEARBY_CACHE_KB = 32_000, 2_000
#: prepared statements that a connection keeps, each of some 10 kB
_CACHED_STATEMENTS = 256
#: more ids than this go as JSON, since the number of variables is limited
MAX_PLACEHOLDERS = 4**7


class SQLiteDialect(Dialect):
    """WAL, so that readers never wait; one writer, which takes the lock at BEGIN, so that it never fails later."""

    name = "sqlite"
    server_clock = "SELECT CAST(strftime('%s', 'now') AS INTEGER)"
    writers = 1
    readers = 2
    remote = False
    returns_inserted = True
    returns_updated = True
    locks_rows = False
    _placeholder = "?"
    obsolete_options = Dialect.obsolete_options | {"serialize_access", "journal_mode"}

    def __init__(self, url: URL, basedir: str | None) -> None:
        super().__init__(url.set(drivername="sqlite+pysqlite"), basedir)
        self._warned = False
        path = self.url.database
        if path and path != ":memory:":
            if self.url.host:
                raise InvalidURLError(
                    f"db_url: sqlite has no host ({self.url.host!r}); write sqlite:///relative.sqlite or"
                    " sqlite:////absolute.sqlite"
                )
            if basedir is not None and not path.startswith("file:"):
                path = os.path.join(basedir, path.replace("%(basedir)s", basedir))
            self.url = self.url.set(database=path)

    @property
    def in_memory(self) -> bool:
        """True for ``sqlite://``."""
        return self.url.database in (None, "", ":memory:")

    def _create_engine(self, busy_timeout_ms: int = BUSY_TIMEOUT_MS, cache_kb: int = _CACHE_KB) -> Engine:
        connect_args: dict[str, Any] = {
            "check_same_thread": False,
            "timeout": busy_timeout_ms / 1000,
            "cached_statements": _CACHED_STATEMENTS,
        }
        engine = create_engine(
            self.url,
            connect_args=connect_args,
            query_cache_size=COMPILED,
            poolclass=StaticPool if self.in_memory else QueuePool,
            **({} if self.in_memory else {"pool_size": self.readers + self.writers + 2, "max_overflow": 5}),
        )

        @event.listens_for(engine, "do_connect")
        def make_private(dialect: Any, record: Any, cargs: Any, cparams: Any) -> None:
            # It holds logs, hashes of passwords and the sessions' key. SQLite gives the files beside it the same mode.
            path = self.url.database
            if path and not self.in_memory and not path.startswith("file:"):
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                except FileExistsError:
                    self._warn_of_readers(path)
                except OSError:
                    return  # SQLite reports it

        @event.listens_for(engine, "connect")
        def settings(connection: sqlite3.Connection, record: Any) -> None:
            connection.isolation_level = None  # the dialect executes BEGIN
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
            if not self.in_memory:
                self._use_wal(cursor)
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute(f"PRAGMA cache_size=-{cache_kb}")
            # RETURNING stores its rows in a temporary table: a file would cost more than the statement
            cursor.execute("PRAGMA temp_store=MEMORY")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(conn: Connection) -> None:
            if not conn.get_execution_options().get("reader"):
                execute_uncounted(conn, "BEGIN IMMEDIATE")

        return engine

    def _create_reading_engine(self) -> Engine:
        # A reader of a file that others may write needs files beside it (-wal, -shm). If file or directory are
        # read-only, they are not needed, and not possible.
        path = os.path.abspath(self.url.database or "")
        address = f"file:{quote(path)}?mode=ro" + ("&immutable=1" if _is_at_rest(path) else "")

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(
                address, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
            )
            connection.text_factory = _text_or_bytes
            return connection

        return create_engine("sqlite+pysqlite://", creator=connect, poolclass=StaticPool)

    def _warn_of_readers(self, path: str) -> None:
        """Say once if every account of the machine may read a database that was made by an older version."""
        try:
            modes = os.stat(path).st_mode, os.stat(os.path.dirname(os.path.abspath(path))).st_mode
        except OSError:
            return  # SQLite reports it
        if modes[0] & 0o004 and modes[1] & 0o001 and not self._warned:
            self._warned = True
            _log.warn("every account of this machine may read the database {path}: chmod o= {path}*", path=path)

    @staticmethod
    def _use_wal(cursor: sqlite3.Cursor) -> None:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):  # the first write reports it better
                raise

    def begin_snapshot(self) -> str:
        """As ``Dialect.begin_snapshot``: a deferred transaction sees the moment of its first read."""
        return "BEGIN"

    def data_version(self, engine: Engine) -> DataVersion | None:
        """As ``Dialect.data_version``: a file counts commits; in memory the one connection counts changes."""
        return SQLiteDataVersion(engine.raw_connection(), self.in_memory)

    def reactor_reader(self, engine: Engine, reactor: Any) -> ReactorReader | None:
        """As ``Dialect.reactor_reader``: it waits for no lock."""
        if self.in_memory:
            return None
        return SQLiteReactorReader(self._create_engine(busy_timeout_ms=0, cache_kb=_NEARBY_CACHE_KB), self)

    def insert_ignore(self, table: Table) -> Executable:
        """As ``Dialect.insert_ignore``."""
        return insert(table).on_conflict_do_nothing()

    def spread_ids(self, ids: Sequence[int | str]) -> tuple[str | None, list[Any]]:
        """As ``Dialect.spread_ids``: a few fixed numbers of placeholders, so that prepared statements are used again
        and the planner knows the number.
        """
        if not ids:
            return "NULL", []
        if len(ids) > MAX_PLACEHOLDERS:
            listed = ",".join(f'"{key}"' if isinstance(key, str) else str(key) for key in ids)
            return "SELECT value FROM json_each(?)", [f"[{listed}]"]
        count = 1
        while count < len(ids):
            count *= 4
        return ",".join("?" * count), [*ids, *[ids[-1]] * (count - len(ids))]

    def wait_for_disk(self, conn: Connection, wait: bool) -> None:
        """As ``Dialect.wait_for_disk``."""
        execute_uncounted(conn, f"PRAGMA synchronous={'FULL' if wait else 'NORMAL'}")

    def last_id(self, conn: Connection, table: Table) -> int:
        """As ``Dialect.last_id``."""
        counted = execute(conn, "SELECT seq FROM sqlite_sequence WHERE name = ?", (table.name,)).fetchone()
        return int(counted[0]) if counted else 0

    def skip_ids(self, conn: Connection, table: Table, through: int) -> None:
        """As ``Dialect.skip_ids``: explicit ids of existing rows count here, but not those of removed rows."""
        if through > self.last_id(conn, table):
            execute(conn, "DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
            execute(conn, "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table.name, through))

    def analyze(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.analyze``; nothing to do: the plans are right without statistics."""

    def compact(self, conn: Connection, tables: Sequence[Table]) -> None:
        """As ``Dialect.compact``; a new file is written beside the old one."""
        driver: Any = conn.connection.driver_connection
        driver.execute("VACUUM")
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def is_transient(self, error: DBAPIError) -> bool:
        """As ``Dialect.is_transient``: another process held the lock for longer than the timeout."""
        return isinstance(error.orig, sqlite3.OperationalError) and (
            "locked" in str(error.orig) or "busy" in str(error.orig)
        )

    def is_unique_violation(self, error: DBAPIError) -> bool:
        """By its extended code."""
        return getattr(error.orig, "sqlite_errorname", "") in (
            "SQLITE_CONSTRAINT_UNIQUE",
            "SQLITE_CONSTRAINT_PRIMARYKEY",
        )

    def is_foreign_key_violation(self, error: DBAPIError) -> bool:
        """By its extended code."""
        return getattr(error.orig, "sqlite_errorname", "") == "SQLITE_CONSTRAINT_FOREIGNKEY"

    def is_out_of_room(self, error: DBAPIError) -> bool:
        """By its code, with all its extended codes."""
        return getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_FULL", "SQLITE_IOERR"))

    def explain_failure(self, error: DBAPIError) -> str | None:
        """As ``Dialect.explain_failure``."""
        said = str(error.orig)
        path = self.url.database
        if "unable to open" in said:
            return f"cannot open the database {path}: its directory does not exist or may not be written"
        if "readonly" in said:
            return f"the database {path} is read-only: check the owner and mode of the file and its directory"
        if "is full" in said or "disk I/O" in said:
            return f"the disk of the database {path} is full or failing ({said}); nothing of this transaction was kept"
        return None


def _is_at_rest(path: str) -> bool:
    """Whether no process can be writing a file, and it has no journal beside it."""
    try:
        if os.path.exists(f"{path}-wal") and os.path.getsize(f"{path}-wal"):
            return False
        # root may write everything, but should not write where no other user may
        read_only = any(not os.stat(each).st_mode & 0o222 for each in (path, os.path.dirname(path)))
    except OSError:
        return False
    return read_only or not os.access(os.path.dirname(path), os.W_OK)


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
