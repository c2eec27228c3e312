"""Threads that take calls from a queue, all waiting ones at once, each with a database connection of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, NoReturn

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buildbot.db.dialects.base import ConnectionContext, Dialect, Session
from buildbot.db.dialects.driver import CONTEXT
from buildbot.util.metrics import Histogram

log = Logger()

#: calls in one transaction: enough to share the commit, few enough to answer the first one soon
MAX_GROUP = 100
#: seconds to wait for a database server that is away
PATIENCE_S = 600.0


class CallConnection(Connection):
    """The connection that calls get; they share it with others, often in one transaction."""

    def commit(self) -> None:
        """Nothing happens now: the transaction, which may be others', too, is committed when the function has returned.

        Existing functions call it.
        """

    def rollback(self) -> NoReturn:
        """Refused: others' changes would be lost."""
        raise InvalidRequestError(
            "to undo what a function of pool.do did, raise an error in it; to undo a part, use conn.begin_nested()"
        )

    def close(self) -> NoReturn:
        """Refused."""
        raise InvalidRequestError("the connection belongs to the pool, which closes it")

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within this block a call has it; afterwards it has its own options again."""
        options = self.get_execution_options()
        try:
            yield
        finally:
            self._execution_options = options

    def end_reading(self) -> None:
        """End the transaction of a call that read, if there is one."""
        if self.in_transaction():
            super().rollback()

    def discard(self) -> None:
        """Close it, and its session."""
        super().invalidate()
        super().close()

    def give_back(self) -> None:
        """Close it."""
        super().close()


class InterruptedCallError(Exception):
    """A function raised what is no Exception, SystemExit for instance: its ``__cause__``. Threads go on."""


class Call:
    """One ``do``: the callable, and the Deferred of its result."""

    __slots__ = ("args", "deferred", "function", "joins", "kwargs", "outcome")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], joins: bool = False
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        #: whether the first argument is a list of ids that may be joined with the ids of other calls
        self.joins = joins
        self.deferred: Deferred[Any] = Deferred()
        self.outcome: Any = None

    def run(self, conn: CallConnection) -> None:
        """Run it, and keep the result. Raises the function's error, or InterruptedCallError."""
        try:
            with conn.lent():
                result = self.function(conn, *self.args, **self.kwargs)
        except Exception:
            raise
        except BaseException as raised:
            raise InterruptedCallError(f"a function raised {raised!r}") from raised
        self.settle(result)

    def settle(self, result: Any) -> None:
        """Keep the result of the callable."""
        self.outcome = result


class CallForOne(Call):
    """One ``do_each``: its outcome is whether the callable did it for the call's id."""

    __slots__ = ()

    def settle(self, result: Any) -> None:
        """Keep whether the call's id is among the ids for which the callable did it."""
        self.outcome = self.args[0][0] in result


class _JoinedCalls(Call):
    """Several calls that differ only in their ids: the callable gets all ids, and each call its own outcome."""

    __slots__ = ("_calls",)

    def __init__(self, calls: list[Call]) -> None:
        ids = [identifier for call in calls for identifier in call.args[0]]
        super().__init__(calls[0].function, (ids, *calls[0].args[1:]), {}, joins=True)
        self._calls = calls

    def settle(self, result: Any) -> None:
        """Give each call its outcome."""
        for call in self._calls:
            call.settle(result)


def joined(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls in their order; consecutive calls that differ only in their ids become one, with all ids.

    Calls with a common id stay apart, since only one of them may succeed.
    """
    alike: list[Call] = []
    ids: set[int] = set()
    for call in calls:
        if alike and not (_are_alike(alike[0], call) and ids.isdisjoint(call.args[0])):
            yield alike[0] if len(alike) == 1 else _JoinedCalls(alike)
            alike, ids = [], set()
        alike.append(call)
        if call.joins:
            ids.update(call.args[0])
    if alike:
        yield alike[0] if len(alike) == 1 else _JoinedCalls(alike)


def _are_alike(one: Call, other: Call) -> bool:
    if not (one.joins and other.joins and one.function == other.function and len(one.args) == len(other.args)):
        return False
    # True is not 1: it may be an error
    return all(type(a) is type(b) and a == b for a, b in zip(one.args[1:], other.args[1:], strict=True))


class WorkQueue:
    """A queue of calls and the threads that take groups from it; they start with the first call.

    While it is ``held`` no thread is woken: callers usually make the next call when they get a result, and these calls
    should become one group.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        serve: Callable[[ThreadConnection, list[Call]], None],
        make: Callable[[], ThreadConnection],
    ):
        self.queue: deque[Call] = deque()
        self.held = False
        #: true: look into the queue; false: no more calls will come
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._serve = serve
        self._make = make
        self.name = name
        self._threads = [
            threading.Thread(target=self._loop, name=f"db-{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._started = False

    def put(self, call: Call) -> None:
        """Add a call, for the next free thread, while the queue is not held."""
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        self.queue.append(call)
        if not self.held:
            self._wakes.put(True)

    def release(self) -> None:
        """Stop holding the queue."""
        self.held = False
        if self.queue:
            for _ in range(0, len(self.queue), MAX_GROUP):
                self._wakes.put(True)

    def close(self) -> None:
        """End the threads once all calls are done."""
        for _ in self._threads:
            self._wakes.put(False)

    def join(self) -> None:
        """Wait, in a thread, until the threads have ended."""
        if self._started:
            for thread in self._threads:
                thread.join()

    def _loop(self) -> None:
        holder = self._make()
        more = True
        while more:
            more = self._wakes.get()
            while group := self._take():
                self._serve(holder, group)
        holder.close()

    def _take(self) -> list[Call]:
        queue = self.queue
        group: list[Call] = []
        while queue and len(group) < MAX_GROUP:
            try:
                group.append(queue.popleft())
            except IndexError:  # another thread was faster
                break
        return group


#: bounds of the histogram of groups
_CALLS = (1, 2, 5, 10, 20, 50, MAX_GROUP)


class PoolStats:
    """Counters of one thread's work."""

    __slots__ = ("calls", "groups", "retries", "seconds")

    def __init__(self) -> None:
        self.groups = 0
        self.calls = Histogram(_CALLS)
        self.retries = 0
        self.seconds = Histogram()


class ThreadConnection:
    """The connection of one thread; made when it is needed, and again when it was lost."""

    def __init__(self, engine: Engine, dialect: Dialect, closing: threading.Event, options: dict[str, Any]) -> None:
        self._engine = engine
        self._dialect = dialect
        self._closing = closing
        self._options = options
        #: the context of its connections
        self.state = ConnectionContext(dialect)
        #: the server's session of the connection, or of the last one
        self.session: Session | None = None
        self._connection: CallConnection | None = None
        self.tally = PoolStats()

    def get(self) -> CallConnection:
        """The connection; waits for a server that was reachable before and is away."""
        if self._connection is not None:
            if not self._connection.invalidated and not self._connection.in_transaction():
                return self._connection
            # by itself it would connect again, without its options and with another session
            self.drop()
        deadline = time.monotonic() + PATIENCE_S
        delay = 0.05
        while True:
            try:
                connection = CallConnection(self._engine)
                connection.execution_options(**self._options, **{CONTEXT: self.state})
                self._connection = connection
                self._dialect.was_reached = True
                self.session = self._dialect.session(connection)
                return connection
            except DBAPIError as error:
                patient = self._dialect.was_reached and self._dialect.is_disconnect(error)
                if not patient or time.monotonic() > deadline or self._closing.is_set():
                    raise
                log.warn("the database is away ({error}); waiting for it", error=error.orig)
                self._closing.wait(delay)
                delay = min(delay * 2, 2.0)

    def drop(self) -> None:
        """Forget a broken connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._away_ignored():
                connection.discard()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._away_ignored():
                connection.give_back()

    @contextmanager
    def _away_ignored(self) -> Iterator[None]:
        """Nothing is lost if the server is gone already; SQLAlchemy passes on some of the driver's own errors."""
        try:
            yield
        except (DBAPIError, self._engine.dialect.loaded_dbapi.Error) as error:
            log.debug("closing a broken connection: {error}", error=error)
