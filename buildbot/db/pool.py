"""Database calls in threads, many of them in one transaction (`groups`).

A *call* is one ``do(callable, …)``. A caller can notice the group in which its call runs only by the time that it
takes. Reads have connections of their own and never wait for writers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import InvalidRequestError
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from buildbot.db.dialects.base import DataVersion, Dialect, NotAnsweredError
from buildbot.db.dialects.context import context_of, dialect_of
from buildbot.db.dialects.driver import execute_uncounted
from buildbot.db.engine.queues import Call, CallConnection, CallForOne, PoolStats, ThreadConnection, WorkQueue
from buildbot.db.exceptions import PoolClosedError
from buildbot.db.groups import GroupCommit
from buildbot.db.transaction import Committed, Outbox
from buildbot.util.metrics import Family, counter

P = ParamSpec("P")
T = TypeVar("T")


def in_snapshot(
    conn: Connection, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """The result of ``function(conn, …)``, whose SELECTs all see the same moment; on connections for reading."""
    dialect = dialect_of(conn)
    if dialect.in_memory:  # one connection, so there are no writes meanwhile
        return function(conn, *args, **kwargs)
    execute_uncounted(conn, dialect.begin_snapshot())
    try:
        return function(conn, *args, **kwargs)
    finally:
        if not conn.in_transaction():  # otherwise the caller ends its transaction
            conn.connection.rollback()


#: ends a transaction; databases whose DDL does that have more words for it
_ENDING = re.compile(r"\s*(?:COMMIT|END|ABORT|BEGIN|START|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b", re.I)


def _note_writing(conn: Connection, cursor: Any, statement: str, *others: Any) -> None:
    """Take note of a statement that a call gave to SQLAlchemy. Raises InvalidRequestError if it would end the
    transaction, in which there may be other calls.
    """
    if isinstance(conn, CallConnection) and conn.in_transaction():
        if _ENDING.match(statement):
            raise InvalidRequestError(f"pool.do begins and ends the transaction; take this out: {statement}")
        if dialect_of(conn).commits_at.match(statement):
            raise InvalidRequestError(f"on this database it ends the transaction; use do_with_engine for: {statement}")
    if not statement.lstrip().upper().startswith("SELECT"):
        transaction = context_of(conn).transaction
        if transaction is not None:
            transaction.note_writing(None)


class DBThreadPool:
    """Runs callables in threads with a database connection."""

    def __init__(self, dialect: Dialect, reactor: Any, outbox: Outbox | None = None) -> None:
        self.dialect = dialect
        self.reactor = reactor
        #: called in the reactor with each committed group, before its callers get their results
        self.on_commit: Callable[[Committed], None] | None = None
        self.engine = dialect.create_engine()
        event.listen(self.engine, "before_cursor_execute", _note_writing)
        #: kinds of lists whose last one was long; the callers keep these names
        self.long_lists: set[tuple[str, ...]] = set()
        self._closing = threading.Event()
        #: runs the groups; the message queue gives it the outbox
        self.groups = GroupCommit(dialect, self.engine, self._closing, outbox)
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
                object and not touch the reactor. It may run more than once if the database says so. It cannot
                roll back or close: the transaction may be others', too. ``begin_nested`` is its own. ``conn.commit()``
                in it has no effect: all is committed when it has returned. On MySQL a change of the schema would
                commit, so it is refused there; see ``do_with_engine``.

        Returns:
            Deferred that fires with its result once the transaction is committed. It fails with the error that the
            callable raised; then its changes are rolled back. OutcomeUnknownError, which is rare: the connection was
            lost during COMMIT, and it cannot be found out whether the transaction was committed.
        """
        return self._submit(Call(callable, args, kwargs), write=True)

    def do_all(self, callable: Callable[..., None], ids: list[int], *args: Any) -> Deferred[None]:
        """As ``do``, for a ``callable(conn, ids, …)`` that does the same for all of these ids, or fails.

        Calls that wait at the same time and differ only in their ids run as one. If that fails, each is run alone, so
        that a wrong id fails only its own call.
        """
        return self._submit(Call(callable, (ids, *args), {}, joins=True), write=True)

    def do_each(self, callable: Callable[..., Collection[int]], identifier: int, *args: Any) -> Deferred[bool]:
        """As ``do_all`` for one id and a ``callable(conn, ids, …)`` that gives the ids for which it could do it.

        Returns:
            Deferred with whether the id is among them.
        """
        return self._submit(CallForOne(callable, ([identifier], *args), {}, joins=True), write=True)

    def read(self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run a callable that makes one SELECT; it waits for no writer and sees all that is committed."""
        return self._submit(Call(callable, args, kwargs), write=False)

    def read_short(
        self, callable: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[T]:
        """As ``read``, for a callable that reads a row or a few by an index and takes little time. It runs on the
        reactor's thread if the driver allows that, and may be called several times.
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
        """A number that changes with every commit; None on databases where that takes a statement.

        It does not block, so the reactor's thread may call it.
        """
        if self._data_version is None and not self._closing.is_set():
            self._data_version = self.dialect.data_version(self.engine)
        return None if self._data_version is None else self._data_version.read()

    @property
    def statements(self) -> int:
        """The number of statements that its threads have executed."""
        reactor_reader = 0 if self._reactor_reader is None else self._reactor_reader.statements
        return reactor_reader + sum(holder.state.statements for holder in self._connections)

    def metrics(self) -> Iterator[Family]:
        """Counters of its work, and the calls that wait."""
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
        """Run ``callable(engine, …)`` in a thread; only for changes of the schema."""
        if self._closing.is_set():
            return fail(PoolClosedError("the database pool is closed"))
        if self._immediate is not None:
            return maybeDeferred(callable, self.engine, *args, **kwargs)
        return self._in_thread(lambda: callable(self.engine, *args, **kwargs))

    def close(self) -> Deferred[None]:
        """Finish the present calls, then close all connections; Deferred."""
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
        """Run a function in a thread of its own: without Twisted's reactor there is no thread pool."""
        done: Deferred[T] = Deferred()

        def run() -> None:
            try:
                result: Any = function()
            except Exception as error:
                result = self.groups.failure(error)
            except BaseException:
                result = Failure()
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
                self._finish(*self.groups.write(writer, [call]))
            else:
                self._finish(self.groups.read(reader, [call]), [])
        else:
            (self._writes if write else self._reads).put(call)
        return call.deferred

    def _serve_writes(self, holder: ThreadConnection, calls: list[Call]) -> None:
        outcomes, committed = self.groups.write(holder, calls)
        self.reactor.callFromThread(self._finish, outcomes, committed)

    def _serve_reads(self, holder: ThreadConnection, calls: list[Call]) -> None:
        self.reactor.callFromThread(self._finish, self.groups.read(holder, calls), [])

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
