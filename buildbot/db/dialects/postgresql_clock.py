"""The clock, read on the reactor's thread.

It is read for nearly every request. A thread and the driver's cursor take several times what the question takes.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from sqlalchemy.engine import URL
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.db.dialects.base import ClockLostError

try:
    import psycopg
    from psycopg import pq
except ModuleNotFoundError:  # create_engine says what to install
    psycopg = None  # type: ignore[assignment]

log = Logger()

_CLOCK = b"SELECT seq, trimmed FROM clock WHERE id = 1"
#: how long a server that cannot be connected to is left alone
_PAUSE_S = 1.0

Clock = tuple[int, int]


class PostgreSQLClock:
    """As ``ClockReader``: one connection without a transaction, one question at a time, asked for all who wait."""

    def __init__(self, url: URL, reactor: Any) -> None:
        self._url = url
        self._reactor = reactor
        self._connection: Any = None
        #: its socket once more: the library closes its own before the reactor can forget it
        self._socket = -1
        self._connecting = False
        self._not_before = 0.0
        self._closed = False
        #: who is answered by the question that is on its way, and who came later and might know better
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

    def close(self) -> None:
        """As ``ClockReader.close``."""
        self._closed = True
        self._lose()

    def _connect(self) -> None:
        if self._connecting or self._closed or self._reactor.seconds() < self._not_before:
            return
        self._connecting = True
        threading.Thread(target=self._run, name="db-clock", daemon=True).start()

    def _run(self) -> None:
        connection = None
        try:
            connection = psycopg.connect(autocommit=True, connect_timeout=10, **connection_arguments(self._url))
        except psycopg.Error as error:
            log.debug("no connection for the clock: {error}", error=error)
        self._reactor.callFromThread(self._connected, connection)

    def _connected(self, connection: Any) -> None:
        self._connecting = False
        if connection is None:
            self._not_before = self._reactor.seconds() + _PAUSE_S
        elif self._closed:
            connection.close()
        else:
            connection.pgconn.nonblocking = 0  # what is sent is sent; it fits any buffer
            self._connection, self._socket = connection, os.dup(connection.pgconn.socket)
            self._reactor.addReader(self)

    def _ask(self) -> None:
        self._asking, self._next = self._next, []
        try:
            self._connection.pgconn.send_query(_CLOCK)
        except psycopg.Error:
            self._lose()

    # -- what the reactor wants of a reader ---------------------------------------------------------

    def fileno(self) -> int:
        """The connection's socket."""
        return self._socket

    def logPrefix(self) -> str:
        """For the reactor's messages."""
        return "clock"

    def doRead(self) -> None:
        """Something has come."""
        pgconn = self._connection.pgconn
        try:
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    break
                if result.status != pq.ExecStatus.TUPLES_OK:
                    self._lose()
                    return
                self._answer = int(result.get_value(0, 0)), int(result.get_value(0, 1))
            else:
                return
        except psycopg.Error:
            self._lose()
            return
        answer, self._answer = self._answer, None
        answered, self._asking = self._asking, []
        if answer is None:
            return
        if self._next:
            self._ask()
        for waiting in answered:
            waiting.callback(answer)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops, or cannot watch the socket."""
        self._lose()

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reactor.removeReader(self)
            os.close(self._socket)
            connection.close()
        waiting, self._asking, self._next, self._answer = [*self._asking, *self._next], [], [], None
        for each in waiting:
            each.errback(ClockLostError("the connection that reads the clock was lost"))


def connection_arguments(url: URL) -> dict[str, Any]:
    """What the driver wants to know, without SQLAlchemy."""
    given = {
        "host": url.host,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "dbname": url.database,
        **url.query,
    }
    return {key: value for key, value in given.items() if value is not None}
