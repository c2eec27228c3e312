"""The differences between databases: each method says why it is needed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, NamedTuple, Protocol

from sqlalchemy import Column, ColumnElement, Table, create_engine
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql import Executable
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.db.dialects.driver import CONTEXT, execute, execute_uncounted
from buildbot.db.transaction import OutboxEntry, Transaction

#: seconds after which a paused process loses its transaction (it was suspended, or its machine is gone): all others
#: wait for the rows that it has locked, the clock perhaps. It runs the calls again when it goes on
MAX_IDLE_S = 5
#: reads of more rows than this go to a worker thread
SHORT_ROWS = 200

#: compiled statements that SQLAlchemy keeps. Only statements whose text depends on the number of values are compiled
#: there, and hostile clients choose that number
COMPILED = 128


class InvalidURLError(ValueError):
    """A connection string is wrong; the message says why, and shows a right one."""


class Listener(Protocol):
    """A connection that receives notifications."""

    def close(self) -> None:
        """Stop listening."""


class DataVersion(Protocol):
    """A number that changes with every commit, read without blocking."""

    def read(self) -> int | None:
        """The number, which differs after any commit of any process; None if it cannot be read now."""

    def close(self) -> None:
        """Close the connection."""


class NotAnsweredError(Exception):
    """A read on the reactor's thread has no answer there; a worker thread can run it."""


#: the answer to reads that a worker thread must run
NOT_ANSWERED = Failure(NotAnsweredError("a worker thread must run it"))


class ReactorReader(Protocol):
    """Reads a row or a few on the reactor's thread."""

    @property
    def statements(self) -> int:
        """The number of executed statements."""

    def read(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Deferred[Any] | None:
        """The result of ``function(conn, …)``, which only reads; it sees all that was committed before this call.

        None, or a failure with NotAnsweredError, if a worker thread must run it.
        """

    def close(self) -> None:
        """Close the connection."""


class Session(NamedTuple):
    """The server's session of a connection."""

    identifier: int
    #: when it was made, in seconds of the monotonic clock
    since: float

    @property
    def least_age(self) -> float:
        """Its least age in seconds, allowing for different clocks: a younger session is another one."""
        return time.monotonic() - self.since - 2


#: the key under which connections keep it
_SESSION = "tenfold_session"


class ClockReader(Protocol):
    """Reads the clock on the reactor's thread, without blocking."""

    def read(self) -> Deferred[tuple[int, int]] | None:
        """The last number given out and the last one removed, at a moment after this call.

        Fails with NotAnsweredError; None while there is no connection.
        """

    def close(self) -> None:
        """Close the connection."""


class ConnectionContext:
    """The dialect, the current transaction and the statement count of a connection.

    Each thread of the pool has one; all other connections of an engine share one.
    """

    __slots__ = ("dialect", "statements", "transaction")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        #: the number of executed statements
        self.statements = 0
        #: the transaction that a thread function runs in; between transactions, the last one
        self.transaction: Transaction | None = None


@cache
def _count_up(table: str, column: str, mark: str) -> str:
    return f"UPDATE {table} SET {column} = {column} + {mark} WHERE id = {mark} RETURNING {column}"


class Dialect:
    """A database, for one connection string."""

    #: the name of its SQL
    name: str
    #: connections that write at once; one if the database has only one writer
    writers: ClassVar[int] = 2
    #: connections that read at once
    readers: ClassVar[int] = 2
    #: the SQL that reads the database's clock
    server_clock: ClassVar[str]
    #: whether it is a server: the answer to a COMMIT can be lost, and it has a clock of its own
    remote: ClassVar[bool] = True
    #: whether an INSERT gives the id of its row only by RETURNING
    ids_by_returning: ClassVar[bool] = False
    #: whether INSERT, and whether UPDATE, has RETURNING; if UPDATE has not, a SELECT goes with it in one message
    returns_inserted: bool = False
    returns_updated: ClassVar[bool] = False
    #: whether one statement can insert into several tables
    chains_inserts: ClassVar[bool] = False
    #: whether an INSERT of several rows takes less time than one INSERT for each, sent together
    joins_rows: ClassVar[bool] = False
    #: whether LIMIT is written into a statement's text: a planner with one plan for all values guesses a parameter
    plans_by_limit: ClassVar[bool] = False
    #: the SQL that sets how many seconds a session's transactions may be idle; None if no other session waits for locks
    limits_idle: ClassVar[str | None] = None
    #: whether an UPDATE by ids locks the rows in the order of ids, so that crossed ones do not deadlock
    updates_in_order: ClassVar[bool] = True
    #: whether writers lock rows; False if there is only one writer
    locks_rows: ClassVar[bool] = True
    #: matches statements that commit the transaction by themselves
    commits_at: ClassVar[re.Pattern[str]] = re.compile(r"(?!)")
    #: the driver's placeholder of a value in a statement's text
    _placeholder: ClassVar[str] = "%s"
    #: the SQL after which a connection can only read
    reading_arguments: ClassVar[Mapping[str, str]] = {}
    #: options of connection strings in old configurations that have no effect any more
    obsolete_options: ClassVar[frozenset[str]] = frozenset({"max_idle", "use_unicode", "charset", "storage_engine"})

    def __init__(self, url: URL, basedir: str | None) -> None:
        #: whether the database was reachable before: if it is gone later, a new connection waits for it
        self.was_reached = False
        #: the texts of ``insert_many``, by table and columns
        self._inserts: dict[tuple[str, ...], str] = {}
        query = {key: value for key, value in url.query.items() if key not in self.obsolete_options}
        self.url = url.set(query=query)
        self.basedir = basedir

    # -- connecting ---------------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """Whether the database is in this process's memory, so that there is only one connection."""
        return False

    def create_engine(self) -> Engine:
        """An engine, with the settings for durability and isolation."""
        return self._created(self._create_engine)

    def _create_engine(self) -> Engine:
        raise NotImplementedError

    def create_reading_engine(self) -> Engine:
        """An engine that only reads, in a database of any schema; it changes no data and no setting.

        Each statement sees all that is committed when it begins. Text that is not UTF-8 comes as bytes.
        """
        return self._created(self._create_reading_engine)

    def _create_reading_engine(self) -> Engine:
        return create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            connect_args={"connect_timeout": 10, **self.reading_arguments},
        )

    def _created(self, create: Callable[[], Engine]) -> Engine:
        try:
            return create().execution_options(**{CONTEXT: ConnectionContext(self)})
        except ModuleNotFoundError:
            raise InvalidURLError(f"db_url: {self.name} needs the driver; pip install 'tenfold[{self.name}]'") from None

    @contextmanager
    def unhurried(self, conn: Connection) -> Iterator[None]:
        """Within this block transactions may be idle, since nothing would run them again. Commit at its end."""
        if self.limits_idle is None:
            yield
            return
        self._limit_idle(conn, 0)
        try:
            yield
        except BaseException:
            conn.invalidate()  # it has the setting
            raise
        self._limit_idle(conn, MAX_IDLE_S)

    def _limit_idle(self, conn: Connection, seconds: int) -> None:
        assert self.limits_idle is not None
        conn.exec_driver_sql(self.limits_idle.format(seconds))  # begins, so that there is something to commit
        conn.commit()

    @staticmethod
    def note_session(record: Any, identifier: int) -> None:
        """Keep the session of a new connection."""
        record.info[_SESSION] = Session(identifier, time.monotonic())

    @staticmethod
    def session(conn: Connection) -> Session | None:
        """The server's session of a connection; None if there is no server."""
        return conn.info.get(_SESSION)

    def end_session(self, conn: Connection, session: Session) -> bool:
        """End a session whose connection is lost: it may still run its last statement. True once it has ended."""
        raise NotImplementedError

    def begin_snapshot(self) -> str:
        """Begin a read-only transaction that sees one moment: databases have different SQL for it."""
        raise NotImplementedError

    def listen(self, wake: Callable[[], None]) -> Listener | None:
        """Call ``wake``, in a thread, when any master notifies; None if the database has no notifications."""
        return None

    def notify(self, conn: Connection) -> None:
        """Wake all listeners; outside of a writing transaction, since inside it would lock out other commits."""

    def data_version(self, engine: Engine) -> DataVersion | None:
        """A number that changes with every commit and costs no round trip; None on servers, where the clock serves."""
        return None

    def clock_reader(self, reactor: Any) -> ClockReader | None:
        """A reader of the clock for the reactor's thread; None if the driver cannot."""
        return None

    def reactor_reader(self, engine: Engine, reactor: Any) -> ReactorReader | None:
        """A reader of a row or a few for the reactor's thread; None if the driver would block it."""
        return None

    # -- statements ---------------------------------------------------------------------------------

    def cursor(self, connection: Any) -> Any:
        """The cursor of a driver's connection for statements of ``buildbot.db.dialects.driver``."""
        return connection.cursor()

    def insert_ignore(self, table: Table) -> Executable:
        """An INSERT that does nothing if a unique key exists already: each database has its own SQL for it."""
        raise NotImplementedError

    def insert_many(
        self, conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows, each with the values of these columns, in the driver's fastest way."""
        key = (table.name, *columns)
        text = self._inserts.get(key)
        if text is None:
            quote = conn.dialect.identifier_preparer.quote
            names = ", ".join(map(quote, columns))
            values = ", ".join([self._placeholder] * len(columns))
            text = self._inserts[key] = f"INSERT INTO {quote(table.name)} ({names}) VALUES ({values})"
        execute(conn, text, rows, many=True)

    def wait_for_disk(self, conn: Connection, wait: bool) -> None:
        """Set whether commits of a connection wait until they are on the disk; call it outside of a transaction.

        If they do not, a power failure may lose the newest ones, as whole transactions in their order; the next commit
        that waits saves all before it. Databases that have this setting only for the whole server always wait.
        """

    def last_id(self, conn: Connection, table: Table) -> int:
        """The highest id that a table ever had, of an existing or removed row; 0 for none."""
        raise NotImplementedError

    def skip_ids(self, conn: Connection, table: Table, through: int) -> None:
        """Let new rows of a table have ids above this one; databases differ in whether explicit ids of rows count."""
        raise NotImplementedError

    def analyze(self, conn: Connection, tables: Sequence[Table]) -> None:
        """Update the planner's statistics of tables that were filled at once; outside of a transaction if needed."""
        raise NotImplementedError

    def compact(self, conn: Connection, tables: Sequence[Table]) -> None:
        """Give the room of removed rows back to the file system, while no other process uses the database.

        Each database has its own statement for it. The connection has no transaction.
        """
        raise NotImplementedError

    def ordered(self, expression: ColumnElement[Any], descending: bool, nullable: bool) -> ColumnElement[Any]:
        """An element of ORDER BY in which NULL is lower than every value: databases differ in this."""
        return expression.desc() if descending else expression.asc()

    def insert_or_find(self, table: Table) -> Executable:
        """As ``insert_ignore``; without RETURNING, ``lastrowid`` is the id of the existing row."""
        return self.insert_ignore(table)

    def spread_ids(self, ids: Sequence[int | str]) -> tuple[str | None, list[Any]]:
        """Ids (or hashes: hexadecimal digits) as text in place of the statement's token, and the values of its
        placeholders.

        Without text, the list is one parameter.
        """
        raise NotImplementedError

    def count_up(self, conn: Connection, column: Column[int], key: int, by: int) -> int:
        """Add to a column of the row with this id and return its new value; the row stays locked until commit."""
        text = _count_up(column.table.name, column.name, self._placeholder)
        return int(execute(conn, text, (by, key)).fetchall()[0][0])

    def commit_with_events(self, conn: Connection, entry: OutboxEntry) -> int | None:
        """Take numbers, store events and commit in one round trip, and return the last number. None on databases where
        that takes several; then nothing is done.
        """
        return None

    def server_time(self, conn: Connection) -> float:
        """Seconds since the epoch by the database's clock, the only one that masters share; not the time when the
        transaction began.
        """
        return float(execute_uncounted(conn, self.server_clock).fetchall()[0][0])

    def server_now(self, conn: Connection) -> int:
        """As ``server_time``, in whole seconds."""
        return int(execute(conn, self.server_clock).fetchall()[0][0])

    # -- errors -------------------------------------------------------------------------------------

    def is_unprepared(self, error: DBAPIError) -> bool:
        """Whether the session does not have the prepared statements any more that the driver takes to be there."""
        return False

    def is_transient(self, error: DBAPIError) -> bool:
        """Whether the transaction may succeed when it is run again: deadlock, serialization failure, busy."""
        raise NotImplementedError

    def is_disconnect(self, error: DBAPIError) -> bool:
        """Whether the connection is gone (the server restarted, the network failed)."""
        return error.connection_invalidated or (isinstance(error, OperationalError) and self._is_gone(error))

    def _is_gone(self, error: DBAPIError) -> bool:
        return False

    def is_unique_violation(self, error: DBAPIError) -> bool:
        """Whether a unique key existed already."""
        raise NotImplementedError

    def is_foreign_key_violation(self, error: DBAPIError) -> bool:
        """Whether a row refers to a row that does not exist."""
        raise NotImplementedError

    def is_out_of_room(self, error: DBAPIError) -> bool:
        """Whether the disk is full, or failed for the moment: the transaction may succeed when there is room."""
        raise NotImplementedError

    def explain_failure(self, error: DBAPIError) -> str | None:
        """A sentence for people if an error means that the disk is full or the database read-only."""
        return None
