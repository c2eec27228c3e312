"""Where databases differ: each question says why it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple, Protocol

from sqlalchemy import Column, ColumnElement, Table, create_engine
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql import Executable
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.db.dialects.driver import CONTEXT, execute, execute_uncounted
from buildbot.db.transaction import Transaction

#: a process that stands still in the middle of a transaction (it was suspended, its machine is gone) loses it after so
#: long: what it has locked, the clock perhaps, all others wait for. Its calls are run again when it goes on
MAX_IDLE_S = 5
#: more rows than so many are a thread's business
SHORT_ROWS = 200

#: statements that SQLAlchemy keeps compiled: those whose number of values shapes them, which hostile clients choose
COMPILED = 128


class InvalidURLError(ValueError):
    """A connection string that cannot work; the message says why and what would."""


class Listener(Protocol):
    """A connection that hears wake-ups."""

    def close(self) -> None:
        """Hear no more."""


class DataVersion(Protocol):
    """Tells, without waiting, whether anything has been committed."""

    def read(self) -> int | None:
        """A number that is another one after any commit of any process; None if it cannot be told now."""

    def close(self) -> None:
        """Tell no more."""


class NotAnsweredError(Exception):
    """What was asked on the reactor's thread has no answer there; it may be asked otherwise."""


#: for those who asked what a thread had better ask
NOT_ANSWERED = Failure(NotAnsweredError("it is to be asked otherwise"))


class ReactorReader(Protocol):
    """Reads on the reactor's thread what takes a row or a few."""

    @property
    def statements(self) -> int:
        """How many it has executed."""

    def read(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Deferred[Any] | None:
        """What ``function(conn, …)`` gives, which only reads and sees all that was committed before this call.

        None, or a failure with NotAnsweredError, where it is a thread's business.
        """

    def close(self) -> None:
        """Read nothing more."""


class Session(NamedTuple):
    """A server's end of a connection."""

    identifier: int
    #: when it was made, in seconds of the monotonic clock
    since: float

    @property
    def least_age(self) -> float:
        """In seconds, but for what clocks may differ by: what is younger is another session, or another server."""
        return time.monotonic() - self.since - 2


#: where connections keep it
_SESSION = "tenfold_session"


class ClockReader(Protocol):
    """Reads the clock without a thread; for the reactor's."""

    def read(self) -> Deferred[tuple[int, int]] | None:
        """The last number given out and the last one removed, at a moment after this call.

        Fails with NotAnsweredError; None while there is no connection.
        """

    def close(self) -> None:
        """Read no more."""


class ConnectionContext:
    """The dialect, the current transaction and the statement count of a connection.

    Each thread of the pool has one; all other connections of an engine share one.
    """

    __slots__ = ("dialect", "statements", "transaction")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        #: executed so far
        self.statements = 0
        #: the one that a thread function runs in; between transactions, the last one
        self.transaction: Transaction | None = None


class Dialect:
    """The answers of one database for one connection string."""

    #: of its SQL
    name: str
    #: how many connections write at once; one where the database has one writer anyway
    writers: ClassVar[int] = 2
    #: how many connections read at once
    readers: ClassVar[int] = 2
    #: asks for the database's clock
    server_clock: ClassVar[str]
    #: whether the answer to a COMMIT can be lost on the way, and the database has a clock of its own
    remote: ClassVar[bool] = True
    #: whether an INSERT tells the id of its row only by RETURNING
    ids_by_returning: ClassVar[bool] = False
    #: whether INSERT, and whether UPDATE, can return the rows as they are afterwards; where an UPDATE cannot, a SELECT
    #: goes with it in one message
    returns_inserted: bool = False
    returns_updated: ClassVar[bool] = False
    #: whether one statement can insert into several tables
    chains_inserts: ClassVar[bool] = False
    #: whether LIMIT belongs to a statement's text: a planner that makes one plan for all values guesses it otherwise
    plans_by_limit: ClassVar[bool] = False
    #: sets how many seconds a session's transactions may stand still; None where nobody waits for their locks
    limits_idle: ClassVar[str | None] = None
    #: whether an UPDATE meets the rows that it looks for by id in their order, so that crossed ones do not deadlock
    updates_in_order: ClassVar[bool] = True
    #: whether writers lock rows; not where there is one writer anyway
    locks_rows: ClassVar[bool] = True
    #: of the driver, for a value in a statement's text
    _placeholder: ClassVar[str] = "%s"
    #: for the driver, so that a connection can only read
    reading_arguments: ClassVar[Mapping[str, str]] = {}
    #: options of a connection string that old configurations carry and that mean nothing any more
    obsolete_options: ClassVar[frozenset[str]] = frozenset({"max_idle", "use_unicode", "charset", "storage_engine"})

    def __init__(self, url: URL, basedir: str | None) -> None:
        #: whether the database has been there: who finds it gone waits for it, on a new connection too
        self.was_reached = False
        query = {key: value for key, value in url.query.items() if key not in self.obsolete_options}
        self.url = url.set(query=query)
        self.basedir = basedir

    # -- connecting ---------------------------------------------------------------------------------

    @property
    def in_memory(self) -> bool:
        """Whether the database is this process's memory, so that there is but one connection."""
        return False

    def create_engine(self) -> Engine:
        """An engine, with the settings that durability and isolation need."""
        return self._created(self._create_engine)

    def _create_engine(self) -> Engine:
        raise NotImplementedError

    def create_reading_engine(self) -> Engine:
        """An engine that only reads, in a database of whatever schema: it changes nothing there, no setting either.

        Each statement sees what is committed when it begins. Text that is no UTF-8 comes as bytes.
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
        """Within this block transactions may stand still: nobody would run them again. Commit in its end."""
        if self.limits_idle is None:
            yield
            return
        self._limit_idle(conn, 0)
        try:
            yield
        except BaseException:
            conn.invalidate()  # with its setting
            raise
        self._limit_idle(conn, MAX_IDLE_S)

    def _limit_idle(self, conn: Connection, seconds: int) -> None:
        assert self.limits_idle is not None
        conn.exec_driver_sql(self.limits_idle.format(seconds))  # begins, so that there is something to commit
        conn.commit()

    @staticmethod
    def note_session(record: Any, identifier: int) -> None:
        """A connection was made, to this session."""
        record.info[_SESSION] = Session(identifier, time.monotonic())

    @staticmethod
    def session(conn: Connection) -> Session | None:
        """The server's end of a connection; None where there is no server."""
        return conn.info.get(_SESSION)

    def end_session(self, conn: Connection, session: Session) -> bool:
        """End a session whose connection is lost: what it was told last may be under way. True once it has ended."""
        raise NotImplementedError

    def begin_snapshot(self) -> str:
        """What begins a read-only transaction that sees one moment: engines name it differently."""
        raise NotImplementedError

    def listen(self, wake: Callable[[], None]) -> Listener | None:
        """Have ``wake`` called, in a thread, when any master notifies; None where the database wakes nobody."""
        return None

    def notify(self, conn: Connection) -> None:
        """Wake whoever listens, from outside of a writing transaction: inside, it would lock out other commits."""

    def data_version(self, engine: Engine) -> DataVersion | None:
        """A sign of every commit that costs no round trip; None where there is none, and the clock tells instead."""
        return None

    def clock_reader(self, reactor: Any) -> ClockReader | None:
        """What reads the clock without a thread; None where the driver cannot."""
        return None

    def reactor_reader(self, engine: Engine, reactor: Any) -> ReactorReader | None:
        """What reads a row or a few without a thread; None where the driver would keep the reactor waiting."""
        return None

    # -- statements ---------------------------------------------------------------------------------

    def insert_ignore(self, table: Table) -> Executable:
        """An INSERT that does nothing if a unique key is there already: no two engines spell it alike."""
        raise NotImplementedError

    def insert_many(
        self, conn: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Insert many rows, each with the values of these columns, in the way in which the driver is fastest."""
        quote = conn.dialect.identifier_preparer.quote
        names = ", ".join(map(quote, columns))
        values = ", ".join([self._placeholder] * len(columns))
        execute(conn, f"INSERT INTO {quote(table.name)} ({names}) VALUES ({values})", rows, many=True)

    def wait_for_disk(self, conn: Connection, wait: bool) -> None:
        """Whether commits of a connection, outside of a transaction, wait until they are on the disk. Where they do
        not, a power failure may lose the newest ones, whole ones and in their order; the next one that waits saves all
        before it. Databases that only ask the whole server to do so wait anyway.
        """

    def last_id(self, conn: Connection, table: Table) -> int:
        """The highest number that a table's ids ever had, whether its row is still there or not; 0 for none."""
        raise NotImplementedError

    def skip_ids(self, conn: Connection, table: Table, through: int) -> None:
        """Give no row of a table an id up to this one any more; databases differ in whether ids that were given with
        their rows count.
        """
        raise NotImplementedError

    def analyze(self, conn: Connection, tables: Sequence[Table]) -> None:
        """Have the planner look at tables that were filled at once. Outside of a transaction where need be."""
        raise NotImplementedError

    def compact(self, conn: Connection, tables: Sequence[Table]) -> None:
        """Give the room of removed rows back to the file system; nobody else uses the database meanwhile.

        Asked since each engine has a statement of its own for it. The connection has no transaction.
        """
        raise NotImplementedError

    def ordered(self, expression: ColumnElement[Any], descending: bool, nullable: bool) -> ColumnElement[Any]:
        """An element of ORDER BY in which NULL is lower than every value: engines disagree where it goes."""
        return expression.desc() if descending else expression.asc()

    def insert_or_find(self, table: Table) -> Executable:
        """As ``insert_ignore``; where no rows are returned, it tells the id of the one that is there already."""
        return self.insert_ignore(table)

    def spread_ids(self, ids: Sequence[int | str]) -> tuple[str | None, list[Any]]:
        """Ids (or hashes: hexadecimal digits) as text in place of the statement's token, and values for its
        placeholders.

        No text: they go as one parameter, the list.
        """
        raise NotImplementedError

    def count_up(self, conn: Connection, column: Column[int], key: int, by: int) -> int:
        """Add to a column of the row with this id and return its new value; the row stays locked until commit."""
        cursor = execute(conn, self._count_up(column) + f" RETURNING {column.name}", (by, key))
        return int(cursor.fetchall()[0][0])

    def _count_up(self, column: Column[int]) -> str:
        return f"UPDATE {column.table.name} SET {column.name} = {column.name} + %s WHERE id = %s"

    def commit_with_events(self, conn: Connection, rows: Sequence[Mapping[str, Any]]) -> int | None:
        """Take numbers, store events and commit in one round trip, and return the last number; None where it takes
        more, and nothing is done.

        ``rows`` have all columns of ``events`` but the number.
        """
        return None

    def server_time(self, conn: Connection) -> float:
        """Seconds since the epoch by the database's clock, the only one that masters share; not the transaction's
        time, which stands still.
        """
        return float(execute_uncounted(conn, self.server_clock).fetchall()[0][0])

    def server_now(self, conn: Connection) -> int:
        """As ``server_time``, in whole seconds."""
        return int(execute(conn, self.server_clock).fetchall()[0][0])

    # -- errors -------------------------------------------------------------------------------------

    def is_transient(self, error: DBAPIError) -> bool:
        """Whether the same transaction may succeed when it is run again: deadlock, serialization failure, busy."""
        raise NotImplementedError

    def is_disconnect(self, error: DBAPIError) -> bool:
        """Whether the connection is gone (the server restarted, the network failed)."""
        return error.connection_invalidated or (isinstance(error, OperationalError) and self._is_gone(error))

    def _is_gone(self, error: DBAPIError) -> bool:
        return False

    def is_unique_violation(self, error: DBAPIError) -> bool:
        """Whether a unique key was there already."""
        raise NotImplementedError

    def is_foreign_key_violation(self, error: DBAPIError) -> bool:
        """Whether a row refers to one that does not exist."""
        raise NotImplementedError

    def is_out_of_room(self, error: DBAPIError) -> bool:
        """Whether the disk is full, or failed for the moment: the same transaction may succeed when there is room."""
        raise NotImplementedError

    def explain_failure(self, error: DBAPIError) -> str | None:
        """A sentence for people where an error means that the disk is full or the database read-only."""
        return None
