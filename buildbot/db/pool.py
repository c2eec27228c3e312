"""Database calls in threads, many of them in one transaction.

Terms. A *call* is one ``do(callable, …)``. A *group* is the calls that wait when a writer becomes free; they share one
transaction, one commit and one wake-up of the reactor. What a single caller can observe does not change, except time:

- A group first runs without savepoints, and calls that differ only in their ids run as one. If one of its calls raises,
  the whole is rolled back and run again with each call in a savepoint of its own, so that the failure touches nobody
  else.
- Events that a call announced are written once for the group, last before the commit, with numbers from the clock.
- A transient failure (deadlock, serialization failure, lost connection before the commit, a unique key that somebody
  else has taken since it was looked for, ``buildbot.db.engine.races``) is run again; a group that
  meets deadlocks repeatedly is taken apart. So a callable may run more than once, and its effects outside the
  database must bear that.
- On a remote database the events and the COMMIT go in one message, so that whoever has the clock does not keep it while
  a message is on its way, or its process stands still.
- If the connection is lost meanwhile, nobody knows whether it was committed. Every group on a remote database leaves a
  row in the log (an empty mark if it announces nothing). Once the server's session has ended, that row answers the
  question: nothing is applied twice. Where it cannot be asked any more (the log is trimmed, the server stays away),
  callers get ``OutcomeUnknownError``.

Reads have connections of their own and never wait for writers.
"""

from __future__ import annotations

import threading
import time
from collections import ChainMap
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.dialects.base import DataVersion, Dialect, NotAnsweredError
from buildbot.db.dialects.context import context_of, dialect_of
from buildbot.db.dialects.driver import execute_uncounted
from buildbot.db.engine.queues import Call, PoolStats, ThreadConnection, WorkQueue, joined
from buildbot.db.engine.serverclock import ServerClock
from buildbot.db.exceptions import OutcomeUnknownError, PoolClosedError, TakenMeanwhileError
from buildbot.db.transaction import Committed, Outbox, OutboxEntry, Transaction
from buildbot.util.metrics import Family, counter

P = ParamSpec("P")
T = TypeVar("T")
log = Logger()

#: how often a transaction is run before its transient failure becomes the caller's
MAX_ATTEMPTS = 12
#: for how long a transaction waits for room on a full disk, and how often it is tried again
ROOM_S = 60.0
ROOM_INTERVAL_S = 0.5
#: how long it is tried to find out what became of a COMMIT; at least once when the server is there again
FIND_S = 60.0


def in_snapshot(
    conn: Connection, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What ``function(conn, …)`` gives: all SELECTs in it see one and the same moment. On connections for reading."""
    dialect = dialect_of(conn)
    if dialect.in_memory:  # one connection, so nobody writes meanwhile
        return function(conn, *args, **kwargs)
    execute_uncounted(conn, dialect.begin_snapshot())
    try:
        return function(conn, *args, **kwargs)
    finally:
        if not conn.in_transaction():  # otherwise whoever gave the connection ends it
            conn.connection.rollback()


def _note_writing(conn: Connection, cursor: Any, statement: str, *others: Any) -> None:
    if not statement.lstrip().upper().startswith("SELECT"):
        transaction = context_of(conn).transaction
        if transaction is not None:
            transaction.note_writing(None)


class _RunCarefullyError(Exception):
    """A call of a group failed: run the group again, each call in its savepoint."""


class DBThreadPool:
    """Runs callables in threads with a database connection (specification 001, Direct Database Access)."""

    def __init__(self, dialect: Dialect, reactor: Any, outbox: Outbox | None = None) -> None:
        self.dialect = dialect
        self.reactor = reactor
        self.outbox = outbox
        #: called in the reactor with each committed group, before its callers hear of it
        self.on_commit: Callable[[Committed], None] | None = None
        #: the database's; transactions carry its time
        self.clock = ServerClock(dialect)
        #: why what is to be written waits, or could not be written the last time; None if it can be
        self.unwritable: str | None = None
        self.engine = dialect.create_engine()
        event.listen(self.engine, "before_cursor_execute", _note_writing)
        #: kinds of lists whose last one was long; whoever asks for such keeps them
        self.long_lists: set[tuple[str, ...]] = set()
        self._names: dict[tuple[str, str], int] = {}
        self._closing = threading.Event()
        self._reactor_reader = dialect.reactor_reader(self.engine, reactor)
        self._data_version: DataVersion | None = None
        self._immediate: tuple[ThreadConnection, ThreadConnection] | None = None
        self._connections: list[ThreadConnection] = []
        self._writes = WorkQueue("write", dialect.writers, self._serve_writes, self._writer)
        self._reads = WorkQueue("read", dialect.readers, self._serve_reads, self._reader)
        self._lanes = (self._writes, self._reads)
        if dialect.in_memory:
            self._immediate = (self._writer(), self._reader())

    def _writer(self) -> ThreadConnection:
        return self._held({})

    def _reader(self) -> ThreadConnection:
        return self._held({"isolation_level": "AUTOCOMMIT", "reader": True})

    def _held(self, options: dict[str, Any]) -> ThreadConnection:
        holder = ThreadConnection(self.engine, self.dialect, self._closing, options)
        self._connections.append(holder)
        return holder

    # -- the public calls ---------------------------------------------------------------------------

    def do(self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``callable(conn, …)`` in a thread, in a transaction.

        Args:
            callable: takes a SQLAlchemy Connection first, then ``args`` and ``kwargs``. It must return no SQLAlchemy
                object and not touch the reactor. It may run more than once if the database says so.

        Returns:
            Deferred firing with its result once the transaction is committed, or failing with what it raised, in
            which case nothing that it did remains. OutcomeUnknownError: the connection was lost during COMMIT, and
            nobody can tell whether it happened; rare.

        Source: specification 001, DBThreadPool.
        """
        return self._submit(Call(callable, args, kwargs), write=True)

    def do_all(self, callable: Callable[..., None], ids: list[int], *args: Any) -> Deferred[None]:
        """As ``do``, for a ``callable(conn, ids, …)`` that does the same for all of these ids, or fails.

        Calls that wait side by side and differ only in their ids are done as one; if that fails, each is run alone, so
        that nobody fails for the ids of others.
        """
        return self._submit(Call(callable, (ids, *args), {}, joins=True), write=True)

    def read(self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run a callable that makes one SELECT; it waits for no writer and sees all that is committed."""
        return self._submit(Call(callable, args, kwargs), write=False)

    def read_short(
        self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """As ``read``, for what asks for a row or a few by an index and quickly makes something of them: where the
        driver can, on the reactor's thread. It may be called several times.
        """
        reactor_reader = None
        if self._reactor_reader is not None and not self._closing.is_set():
            reactor_reader = self._reactor_reader.read(callable, args, kwargs)
        if reactor_reader is None:
            return self.read(callable, *args, **kwargs)
        return reactor_reader.addErrback(self._not_answered, callable, args, kwargs)

    def _not_answered(self, failure: Failure, callable: Callable[..., T], args: Any, kwargs: Any) -> Deferred[T]:
        failure.trap(NotAnsweredError)
        return self.read(callable, *args, **kwargs)

    def snapshot(
        self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run a callable that makes several SELECTs which see one and the same moment."""
        return self._submit(Call(in_snapshot, (callable, *args), kwargs), write=False)

    def data_version(self) -> int | None:
        """A number that is another one once anybody has committed anything; None where that takes a statement.

        For the reactor's thread, which it does not keep waiting.
        """
        if self._data_version is None and not self._closing.is_set():
            self._data_version = self.dialect.data_version(self.engine)
        return None if self._data_version is None else self._data_version.read()

    @property
    def statements(self) -> int:
        """How many statements its threads have executed."""
        reactor_reader = 0 if self._reactor_reader is None else self._reactor_reader.statements
        return reactor_reader + sum(holder.state.statements for holder in self._connections)

    def metrics(self) -> Iterator[Family]:
        """How much it has done, and how much waits."""
        total = PoolStats()
        for holder in self._connections:
            total.groups += holder.tally.groups
            total.calls.add(holder.tally.calls)
            total.retries += holder.tally.retries
            total.seconds.add(holder.tally.seconds)
        yield counter("commit_groups", "transactions that may write, each with one or several calls", total.groups)
        yield Family("commit_group_calls", "histogram", "calls in one transaction", values={(): total.calls})
        doc = "from the begin of a transaction to its commit"
        yield Family("commit_group_seconds", "histogram", doc, values={(): total.seconds})
        doc = "transactions and reads run again after a deadlock or a lost connection"
        yield counter("database_retries", doc, total.retries)
        waiting = {(lane.name,): len(lane.queue) for lane in self._lanes}
        doc = "calls that wait for a connection to the database"
        yield Family("database_queue", "gauge", doc, ("lane",), waiting)

    def do_with_engine(
        self, callable: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """Run ``callable(engine, …)`` in a thread; only for changes of the schema.

        Source: specification 001, DBThreadPool.
        """
        if self._closing.is_set():
            return fail(PoolClosedError("the database pool is closed"))
        if self._immediate is not None:
            return maybeDeferred(callable, self.engine, *args, **kwargs)
        return self._in_thread(lambda: callable(self.engine, *args, **kwargs))

    def close(self) -> Deferred[None]:
        """Finish what was asked for, then close all connections; Deferred."""
        self._closing.set()
        sign, self._data_version = self._data_version, None
        if sign is not None:
            sign.close()
        if self._reactor_reader is not None:
            self._reactor_reader.close()
        if self._immediate is not None:
            for holder in self._immediate:
                holder.close()
            return maybeDeferred(self.engine.dispose)
        for lane in self._lanes:
            lane.close()

        def join() -> None:
            for lane in self._lanes:
                lane.join()
            self.engine.dispose()

        return self._in_thread(join)

    def _in_thread(self, function: Callable[[], T]) -> Deferred[T]:
        """Run something in a thread of its own: the reactor's pool is not there if only an asyncio loop runs."""
        done: Deferred[T] = Deferred()

        def run() -> None:
            try:
                result: Any = function()
            except Exception as error:
                result = self._failure(error)
            self.reactor.callFromThread(done.callback, result)

        threading.Thread(target=run, name="db-once", daemon=True).start()
        return done

    # -- running ------------------------------------------------------------------------------------

    def _submit(self, call: Call, write: bool) -> Deferred[Any]:
        if self._closing.is_set():
            return fail(PoolClosedError("the database pool is closed"))
        if self._immediate is not None:
            writer, reader = self._immediate
            if write:
                self._finish(*self._run_group(writer, [call]))
            else:
                self._finish(self._run_reads(reader, [call]), [])
        else:
            (self._writes if write else self._reads).put(call)
        return call.deferred

    def _serve_writes(self, holder: ThreadConnection, calls: list[Call]) -> None:
        outcomes, committed = self._run_group(holder, calls)
        self.reactor.callFromThread(self._finish, outcomes, committed)

    def _serve_reads(self, holder: ThreadConnection, calls: list[Call]) -> None:
        self.reactor.callFromThread(self._finish, self._run_reads(holder, calls), [])

    def _finish(self, calls: list[Call], committed: list[Committed]) -> None:
        for lane in self._lanes:
            lane.held = True
        try:
            if self.on_commit is not None:
                for group in committed:
                    self.on_commit(group)
            for call in calls:
                outcome = call.outcome
                if isinstance(outcome, Failure):
                    call.deferred.errback(outcome)
                else:
                    call.deferred.callback(outcome)
        finally:
            for lane in self._lanes:
                lane.release()

    def _run_group(self, holder: ThreadConnection, calls: list[Call]) -> tuple[list[Call], list[Committed]]:
        """Run the calls in one transaction; every call has its outcome afterwards."""
        careful = False
        delay = 0.005
        attempt = 0
        deadline: float | None = None
        while True:
            attempt += 1
            begin = time.perf_counter()
            try:
                committed = self._attempt(holder, calls, careful)
                if holder.state.transaction is not None and holder.state.transaction.wrote:
                    self.unwritable = None
                tally = holder.tally
                tally.groups += 1
                tally.calls.observe(len(calls))
                tally.seconds.observe(time.perf_counter() - begin)
                return calls, [committed] if committed else []
            except _RunCarefullyError:
                careful = True
            except Exception as raised:
                error = self._as_database_error(raised)
                if isinstance(error, DBAPIError) and self.dialect.is_out_of_room(error):
                    self.unwritable = self.dialect.explain_failure(error) or "the database cannot be written"
                    if deadline is None:
                        deadline = time.monotonic() + ROOM_S
                        log.warn("{reason}; waiting for room", reason=self.unwritable)
                    if time.monotonic() < deadline and not self._closing.is_set():
                        attempt = 0
                        self._closing.wait(ROOM_INTERVAL_S)
                        continue
                retry = self._may_retry(holder, error)
                if not retry or attempt == MAX_ATTEMPTS:
                    if isinstance(error, DBAPIError):
                        self.unwritable = self.dialect.explain_failure(error)
                    for call in calls:
                        call.outcome = self._failure(error)
                    return calls, []
                if attempt >= 2 and len(calls) > 1:
                    return self._apart(holder, calls)
                self._closing.wait(delay)
                delay = min(delay * 2, 0.5)

    def _apart(self, holder: ThreadConnection, calls: list[Call]) -> tuple[list[Call], list[Committed]]:
        all_committed: list[Committed] = []
        for call in calls:
            _, committed = self._run_group(holder, [call])
            all_committed += committed
        return calls, all_committed

    def _as_database_error(self, error: Exception) -> Exception:
        """The error; a driver's own, which a cursor may raise late, as SQLAlchemy's."""
        family = self.engine.dialect.loaded_dbapi.Error
        if not isinstance(error, family):
            return error
        wrapped = DBAPIError.instance(None, None, error, family, dialect=self.engine.dialect)
        return wrapped if isinstance(wrapped, Exception) else error

    def _may_retry(self, holder: ThreadConnection, error: Exception) -> bool:
        lost = isinstance(error, DBAPIError) and self.dialect.is_disconnect(error)
        if lost:
            holder.drop()
        may = lost or isinstance(error, TakenMeanwhileError)
        may = may or (isinstance(error, DBAPIError) and self.dialect.is_transient(error))
        holder.tally.retries += may
        return may

    def _is_transient(self, error: Exception) -> bool:
        """Whether the same transaction may succeed when it is run again."""
        if isinstance(error, TakenMeanwhileError):
            return True
        return isinstance(error, DBAPIError) and (
            self.dialect.is_disconnect(error) or self.dialect.is_transient(error) or self.dialect.is_out_of_room(error)
        )

    def _attempt(self, holder: ThreadConnection, calls: list[Call], careful: bool) -> Committed | None:
        conn = holder.get()
        try:
            root = conn.begin()
        except DBAPIError:
            holder.drop()  # a half-begun transaction must not be met again
            raise
        try:
            self.clock.keep(conn)
        except DBAPIError:
            self._roll_back(holder, root)
            raise
        transaction = holder.state.transaction = Transaction(self.clock.now(), names=ChainMap({}, self._names))
        entry: OutboxEntry | None = None
        committed: Committed | None = None
        try:
            if len(calls) == 1:
                calls[0].run(conn)
            elif careful:
                for call in calls:
                    self._run_in_savepoint(conn, transaction, call)
            else:
                self._run_together(conn, calls)
            if self.outbox is not None:
                mark = self.dialect.remote and bool(transaction.wrote or transaction.events)
                entry = self.outbox.entry(transaction.events, transaction.now, mark)
                if entry is not None:
                    committed = self.outbox.append(conn, entry)  # from here on it may be committed
            root.commit()
        except BaseException as raised:
            lost = self._as_database_error(raised) if isinstance(raised, Exception) else raised
            if not isinstance(lost, DBAPIError) or not self.dialect.is_disconnect(lost):
                self._roll_back(holder, root)
                raise
            if entry is None or not entry.token:
                raise
            holder.drop()
            committed = self._find(holder, entry, lost)
            if committed is None:
                raise
        self._names.update(transaction.names.maps[0])
        return committed

    def _find(self, holder: ThreadConnection, entry: OutboxEntry, lost: DBAPIError) -> Committed | None:
        """What became of a group whose connection was lost as it was written; None if it was not committed."""
        assert self.outbox is not None
        session = holder.session
        deadline = time.monotonic() + FIND_S
        while True:
            try:
                conn = holder.get()  # waits for the server
            except DBAPIError:
                break
            try:
                with conn.begin():
                    if session is None or self.dialect.end_session(conn, session):
                        return self.outbox.find(conn, entry)
                self._closing.wait(0.01)
            except DBAPIError as error:
                if not self._may_retry(holder, error):
                    break
            if time.monotonic() > deadline:
                break
        raise OutcomeUnknownError("the connection was lost during COMMIT, and nobody tells what became of it") from lost

    @staticmethod
    def _roll_back(holder: ThreadConnection, root: Any) -> None:
        try:
            root.rollback()
        except DBAPIError:
            holder.drop()

    def _run_together(self, conn: Connection, calls: list[Call]) -> None:
        for call in joined(calls):
            try:
                call.run(conn)
            except Exception as error:
                if self._is_transient(error):
                    raise
                raise _RunCarefullyError from error

    def _run_in_savepoint(self, conn: Connection, transaction: Transaction, call: Call) -> None:
        mark = len(transaction.events)
        savepoint = conn.begin_nested()
        try:
            call.run(conn)
            savepoint.commit()
        except Exception as error:
            if self._is_transient(error):
                raise
            savepoint.rollback()
            transaction.written.clear()
            transaction.found.clear()
            transaction.names.clear()
            del transaction.events[mark:]
            call.outcome = self._failure(error)

    def _run_reads(self, holder: ThreadConnection, calls: list[Call]) -> list[Call]:
        for call in calls:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                try:
                    self._read(holder.get(), call)
                    break
                except Exception as raised:
                    error = self._as_database_error(raised)
                    if attempt < MAX_ATTEMPTS and self._may_retry(holder, error):
                        continue
                    call.outcome = self._failure(error)
                    break
        return calls

    @staticmethod
    def _read(conn: Connection, call: Call) -> None:
        try:
            call.run(conn)
        finally:
            if conn.in_transaction():
                conn.rollback()

    def _failure(self, error: Exception) -> Failure:
        """For the caller: with its traceback, and with a sentence for people where that helps."""
        if isinstance(error, DBAPIError):
            sentence = self.dialect.explain_failure(error)
            if sentence is not None:
                error.add_note(sentence)
        return Failure(error)
