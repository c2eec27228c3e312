"""Group commit: calls that wait at the same time share one transaction.

A *group* is the calls that wait when a writer becomes free.

- A group first runs without savepoints, and calls that differ only in their ids run as one. If one of its calls raises,
  the group is rolled back and run again with a savepoint for each call, so that the other calls succeed.
- The events of all calls are written once for the group, last before the commit, with numbers from the clock.
- After a transient failure (deadlock, serialization failure, lost connection before the commit) the group runs again; a
  group that meets deadlocks repeatedly is split. So a callable may run more than once, and its effects outside the
  database must allow that.
- On a remote database the events and the COMMIT go in one message, so that the clock's row is not locked while a
  message travels or the process is paused.
- If the connection is lost then, it is unknown whether the group was committed. Every group on a remote database leaves
  a row in the log (an empty marker if it announces nothing). Once the server's session has ended, that row answers the
  question: nothing is applied twice. If it cannot be read any more (the log is trimmed, the server stays away), callers
  get ``OutcomeUnknownError``.
"""

from __future__ import annotations

import threading
import time
from collections import ChainMap
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.dialects.base import Dialect
from buildbot.db.engine.queues import Call, CallConnection, InterruptedCallError, ThreadConnection, joined
from buildbot.db.engine.serverclock import ServerClock
from buildbot.db.exceptions import OutcomeUnknownError, TakenMeanwhileError
from buildbot.db.transaction import Committed, Outbox, OutboxEntry, Transaction

P = ParamSpec("P")
T = TypeVar("T")
log = Logger()

#: how often a transaction is run before the caller gets its transient failure
MAX_ATTEMPTS = 12
#: seconds for which a transaction waits for room on a full disk, and seconds between two tries
ROOM_S = 60.0
ROOM_INTERVAL_S = 0.5
#: seconds for which the outcome of a COMMIT is looked up; at least once when the server is there again
FIND_S = 60.0


class _RunCarefullyError(Exception):
    """A call of a group failed: run the group again, each call in its savepoint."""


class _RunApartError(Exception):
    """A call of a group broke its savepoint: run each call in a transaction of its own."""


class GroupCommit:
    """Runs calls on a thread's connection: a group of writes in one transaction, reads one after the other.

    Afterwards every call has its outcome: its result, or a Failure.

    Attributes:
        outbox: writes the events of a group; None until the message queue sets it.
        clock: the database's; transactions carry its time.
        unwritable: why writes wait, or why the last write failed; None if the database can be written.
    """

    def __init__(self, dialect: Dialect, engine: Engine, closing: threading.Event, outbox: Outbox | None) -> None:
        self.dialect = dialect
        self.outbox = outbox
        self.clock = ServerClock(dialect)
        self.unwritable: str | None = None
        self._engine = engine
        self._closing = closing
        self._names: dict[tuple[str, str], int] = {}

    def write(self, holder: ThreadConnection, calls: list[Call]) -> tuple[list[Call], list[Committed]]:
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
                wrote = holder.state.transaction is not None and holder.state.transaction.wrote
                if wrote or committed is not None:
                    self.unwritable = None
                tally = holder.tally
                tally.groups += 1
                tally.calls.observe(len(calls))
                tally.seconds.observe(time.perf_counter() - begin)
                return calls, [committed] if committed else []
            except _RunCarefullyError:
                careful = True
            except _RunApartError:
                holder.drop()
                return self._apart(holder, calls)
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
                if not retry and len(calls) > 1 and isinstance(error, DBAPIError) and deadline is None:
                    return self._apart(holder, calls)  # the events of one of them, perhaps
                if not retry or attempt == MAX_ATTEMPTS:
                    if isinstance(error, DBAPIError):
                        self.unwritable = self.dialect.explain_failure(error)
                    for call in calls:
                        call.outcome = self.failure(error)
                    return calls, []
                if attempt >= 2 and len(calls) > 1:
                    return self._apart(holder, calls)
                self._closing.wait(delay)
                delay = min(delay * 2, 0.5)

    def _apart(self, holder: ThreadConnection, calls: list[Call]) -> tuple[list[Call], list[Committed]]:
        all_committed: list[Committed] = []
        for call in calls:
            _, committed = self.write(holder, [call])
            all_committed += committed
        return calls, all_committed

    def _as_database_error(self, error: Exception) -> Exception:
        """The error; a driver's own, which a cursor may raise late, as SQLAlchemy's."""
        family = self._engine.dialect.loaded_dbapi.Error
        if not isinstance(error, family):
            return error
        wrapped = DBAPIError.instance(None, None, error, family, dialect=self._engine.dialect)
        return wrapped if isinstance(wrapped, Exception) else error

    def _may_retry(self, holder: ThreadConnection, error: Exception) -> bool:
        lost = isinstance(error, DBAPIError) and self.dialect.is_disconnect(error)
        if lost or (isinstance(error, DBAPIError) and self.dialect.is_unprepared(error)):
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
            holder.drop()  # the connection may have a half-begun transaction
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
                    committed = self.outbox.append(conn, entry)  # from now on it may be committed
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
        """The outcome of a group whose connection was lost during the commit; None if it was not committed."""
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
        raise OutcomeUnknownError("the connection was lost during COMMIT; its outcome is unknown") from lost

    @staticmethod
    def _roll_back(holder: ThreadConnection, root: Any) -> None:
        try:
            root.rollback()
        except DBAPIError:
            holder.drop()

    def _run_together(self, conn: CallConnection, calls: list[Call]) -> None:
        for call in joined(calls):
            try:
                call.run(conn)
            except Exception as error:
                if self._is_transient(error):
                    raise
                raise _RunCarefullyError from error

    def _run_in_savepoint(self, conn: CallConnection, transaction: Transaction, call: Call) -> None:
        mark = len(transaction.events)
        savepoint = conn.begin_nested()
        try:
            call.run(conn)
            savepoint.commit()
        except Exception as error:
            if self._is_transient(error):
                raise
            try:
                savepoint.rollback()
            except Exception as broken:
                raise _RunApartError from broken
            if conn.invalidated:
                raise _RunApartError from error
            transaction.written.clear()
            transaction.found.clear()
            transaction.names.clear()
            del transaction.events[mark:]
            call.outcome = self.failure(error)

    def read(self, holder: ThreadConnection, calls: list[Call]) -> list[Call]:
        """Run calls that only read; afterwards each has its outcome."""
        for call in calls:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                try:
                    self._run_read(holder.get(), call)
                    break
                except Exception as raised:
                    error = self._as_database_error(raised)
                    if self._may_retry(holder, error) and attempt < MAX_ATTEMPTS:
                        continue
                    call.outcome = self.failure(error)
                    break
        return calls

    @staticmethod
    def _run_read(conn: CallConnection, call: Call) -> None:
        try:
            call.run(conn)
        finally:
            conn.end_reading()

    def failure(self, error: Exception) -> Failure:
        """The failure for the caller: with its traceback, and with a sentence for people where that helps."""
        if isinstance(error, InterruptedCallError):
            return Failure(error.__cause__)
        if isinstance(error, DBAPIError):
            sentence = self.dialect.explain_failure(error)
            if sentence is not None:
                error.add_note(sentence)
        return Failure(error)
