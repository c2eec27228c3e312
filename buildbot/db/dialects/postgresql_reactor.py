"""Reads on the reactor's thread: of the clock, and of a row or a few.

Nearly every request needs them. A worker thread, its wake-ups and the driver's cursor would take several times as long
as the statement.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.dialects.base import NOT_ANSWERED, SHORT_ROWS, NotAnsweredError
from buildbot.db.dialects.postgresql_prepared import Bound, Prepared, PreparedStatements, Row, Undo

try:
    import psycopg
    from psycopg import errors, pq
except ModuleNotFoundError:  # create_engine says what to install
    psycopg = None  # type: ignore[assignment]

log = Logger()

_CLOCK = b"SELECT seq, trimmed FROM clock WHERE id = 1"
#: seconds between two attempts to connect to a server
_PAUSE_S = 1.0

Clock = tuple[int, int]


class _ReactorConnection:
    """A connection without a transaction, whose socket the reactor watches; a new one is made when it is lost."""

    def __init__(self, url: URL, reactor: Any) -> None:
        self._url = url
        self._reactor = reactor
        self._connection: Any = None
        #: a duplicate of its socket: the library closes its own before the reactor can forget it
        self._socket = -1
        self._connecting = False
        self._not_before = 0.0
        self._closed = False

    def close(self) -> None:
        """Close the connection."""
        self._closed = True
        self._lose()

    def _connect(self) -> None:
        if self._connecting or self._closed or self._reactor.seconds() < self._not_before:
            return
        self._connecting = True
        threading.Thread(target=self._run, name="db-reactor", daemon=True).start()

    def _run(self) -> None:
        connection = None
        try:
            connection = psycopg.connect(autocommit=True, **connection_arguments(self._url))
        except psycopg.Error as error:
            log.debug("no connection for the reactor: {error}", error=error)
        self._reactor.callFromThread(self._connected, connection)

    def _connected(self, connection: Any) -> None:
        self._connecting = False
        if connection is None:
            self._not_before = self._reactor.seconds() + _PAUSE_S
        elif self._closed:
            connection.close()
        else:
            connection.pgconn.nonblocking = 0  # messages are short, so sending does not block
            self._connection, self._socket = connection, os.dup(connection.pgconn.socket)
            self._begin(connection.pgconn)
            self._reactor.addReader(self)

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reactor.removeReader(self)
            os.close(self._socket)
            connection.close()
        for each in self._waiting():
            each.errback(NotAnsweredError("the connection was lost"))

    # -- what the reactor wants of a reader ---------------------------------------------------------

    def fileno(self) -> int:
        """The connection's socket."""
        return self._socket

    def logPrefix(self) -> str:
        """For the reactor's messages."""
        return type(self).__name__

    def doRead(self) -> None:
        """The socket has bytes."""
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            answered = self._read(pgconn)
        except psycopg.Error:
            self._lose()
            return
        for waiting, answer in answered:
            waiting.callback(answer)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or cannot watch the socket."""
        self._lose()

    # -- what the kinds of questions differ in ------------------------------------------------------

    def _begin(self, pgconn: Any) -> None:
        """A connection was made."""

    def _waiting(self) -> list[Deferred[Any]]:
        """The Deferreds that will get no answer; they are forgotten."""
        raise NotImplementedError

    def _read(self, pgconn: Any) -> list[tuple[Deferred[Any], Any]]:
        """Read results; gives the answered Deferreds with their answers. Raises psycopg.Error if it is broken."""
        raise NotImplementedError


class PostgreSQLClock(_ReactorConnection):
    """As ``ClockReader``: one statement at a time, for all callers that wait."""

    def __init__(self, url: URL, reactor: Any) -> None:
        super().__init__(url, reactor)
        #: the callers of the statement that was sent, and the callers that came later, who need a newer answer
        self._asking: list[Deferred[Clock]] = []
        self._next: list[Deferred[Clock]] = []
        self._answer: Clock | None = None

    def read(self) -> Deferred[Clock] | None:
        """As ``ClockReader.read``."""
        if self._connection is None:
            self._connect()
            return None
        waiting: Deferred[Clock] = Deferred()
        self._next.append(waiting)
        if not self._asking:
            self._ask()
        return waiting

    def _ask(self) -> None:
        self._asking, self._next = self._next, []
        try:
            self._connection.pgconn.send_query(_CLOCK)
        except psycopg.Error:
            self._lose()

    def _waiting(self) -> list[Deferred[Clock]]:
        waiting, self._asking, self._next, self._answer = [*self._asking, *self._next], [], [], None
        return waiting

    def _read(self, pgconn: Any) -> list[tuple[Deferred[Clock], Clock]]:
        while True:
            if pgconn.is_busy():
                return []
            result = pgconn.get_result()
            if result is None:
                break
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise psycopg.OperationalError("the clock cannot be read")
            self._answer = int(result.get_value(0, 0)), int(result.get_value(0, 1))
        answer, self._answer = self._answer, None
        if answer is None:
            return []
        answered, self._asking = self._asking, []
        if self._next:
            self._ask()
        return [(waiting, answer) for waiting in answered]


class _Question:
    """A statement, ready to be sent, and the Deferred of its rows."""

    __slots__ = ("bound", "deferred", "prepared", "rows")

    def __init__(self, bound: Bound) -> None:
        self.bound = bound
        self.prepared: Prepared | None = None
        self.deferred: Deferred[list[Row]] = Deferred()
        #: the rows; None until they come, after an error, and if there are too many
        self.rows: list[Row] | None = None


class PostgreSQLReader(_ReactorConnection):
    """As ``AsyncQuery``, with prepared statements. Statements that come while others run are sent together later."""

    def __init__(self, url: URL, reactor: Any) -> None:
        super().__init__(url, reactor)
        self._asking: list[_Question] = []
        self._next: list[_Question] = []
        #: the number of sent statements that have been answered
        self._answered = 0
        #: the parts of the message whose results have not come
        self._undo: Undo = []
        self._statements: PreparedStatements | None = None

    def ask(self, text: str, arguments: dict[str, Any]) -> Deferred[list[Row]] | None:
        """As ``AsyncQuery.ask``."""
        if self._statements is None:
            self._connect()
            return None
        try:
            question = _Question(self._statements.bind(text, arguments))
        except Exception:  # a value that cannot be sent: psycopg.Error, UnicodeError and others; the thread says why
            return None
        self._next.append(question)
        if not self._asking:
            self._send()
        return question.deferred

    def _send(self) -> None:
        assert self._statements is not None
        self._asking, self._next, self._answered, self._undo = self._next, [], 0, []
        pgconn = self._connection.pgconn
        try:
            for question in self._asking:
                question.prepared = self._statements.send(pgconn, question.bound, self._undo)
            pgconn.pipeline_sync()
        except psycopg.Error:
            self._lose()

    def _begin(self, pgconn: Any) -> None:
        self._statements = PreparedStatements(self._connection)
        pgconn.enter_pipeline_mode()

    def _lose(self) -> None:
        self._statements = None
        super()._lose()

    def _waiting(self) -> list[Deferred[Any]]:
        waiting = [question.deferred for question in (*self._asking, *self._next)]
        self._asking, self._next = [], []
        return waiting

    def _read(self, pgconn: Any) -> list[tuple[Deferred[Any], Any]]:
        ended = False  # None is at the end of each statement's results, and after the last one
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if ended:
                    break
                ended = True
                continue
            ended = False
            if result.status == pq.ExecStatus.TUPLES_OK:
                question = self._asking[self._answered]
                self._answered += 1
                if result.ntuples <= SHORT_ROWS:
                    assert question.prepared is not None
                    question.rows = question.prepared.load(self._connection, result)
            elif result.status == pq.ExecStatus.FATAL_ERROR and self._statements is not None:
                error = errors.error_from_result(result, self._connection.info.encoding)
                self._statements.failed(error, self._undo)
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return self._synchronized()
            self._undo = self._undo[1:]
        return []

    def _synchronized(self) -> list[tuple[Deferred[Any], Any]]:
        """All statements are answered; after an error, those before it."""
        asked, self._asking = self._asking, []
        if self._next:
            self._send()
        return [(one.deferred, NOT_ANSWERED if one.rows is None else one.rows) for one in asked]


def connection_arguments(url: URL) -> dict[str, Any]:
    """The arguments of the driver's connect, which all connections have in common."""
    core: Any = PGDialect_psycopg  # has no types
    _, given = core().create_connect_args(url)
    return {
        "connect_timeout": 10,
        **given,
        # statements and values are in it, whatever the environment or the server says
        "client_encoding": "utf8",
        "prepare_threshold": 3,
    }
