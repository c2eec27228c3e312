"""Prepared statements on psycopg's connections, without its cursors.

A cursor of psycopg takes four times as much CPU for a short statement, and sends BEGIN and COMMIT as messages of their
own.
"""

from __future__ import annotations

import itertools
import re
import select
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

try:
    import psycopg
    from psycopg import errors, pq
    from psycopg.adapt import PyFormat, Transformer

    _AUTO = PyFormat.AUTO
    #: of lists: as text, each quote in them is escaped in Python; an empty list has no type in this format
    _BINARY = PyFormat.BINARY
except ModuleNotFoundError:  # create_engine says what to install
    psycopg = None  # type: ignore[assignment]

Row = tuple[Any, ...]

#: prepared statements of a connection; with more it forgets the oldest one
MAX_PREPARED = 300
#: the state of an error: there is no such prepared statement
NOT_PREPARED = "26000"
#: the state of an error, and the server's function that finds it: a table was changed since the statement was prepared
_UNSUPPORTED, _CHANGED = "0A000", "RevalidateCachedQuery"
#: executions of one statement in one message
_AT_ONCE = 500
_QUERY = re.compile(rb"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.I)
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?s|%%")


@lru_cache(1000)
def numbered(text: str) -> tuple[bytes, tuple[str, ...] | None]:
    """The text with PostgreSQL's ``$1`` in place of the driver's placeholders, and the names in their order.

    The names are None if the placeholders have no names.
    """
    names: list[str] = []
    unnamed = itertools.count(1)

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        name = match[1]
        if name is None:
            return f"${next(unnamed)}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    sql = _PLACEHOLDER.sub(number, text).encode()
    return sql, tuple(names) if names else None


class Prepared:
    """A prepared statement, and the reader of its rows, whose columns stay the same."""

    __slots__ = ("loader", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.loader: Any = None

    def load(self, connection: Any, result: Any) -> list[Row]:
        """The rows of a result."""
        first = self.loader is None
        if first:
            self.loader = Transformer(connection)
        self.loader.set_pgresult(result, set_loaders=first)
        rows: list[Row] = self.loader.load_rows(0, result.ntuples, tuple)
        return rows


class Bound:
    """A statement with its values, ready to be sent."""

    __slots__ = ("formats", "key", "sql", "values")

    def __init__(self, text: str, sql: bytes, values: Any, types: Any, formats: Any) -> None:
        #: the key of the prepared statement: text, and types of parameters
        self.key = (text, types)
        self.sql = sql
        self.values = values
        self.formats = formats


def is_outdated(error: Any) -> bool:
    """Whether a statement failed only because it must be prepared anew: it is gone, or a table was changed."""
    state = getattr(error, "sqlstate", None)
    return state == NOT_PREPARED or (state == _UNSUPPORTED and error.diag.source_function == _CHANGED)


#: for each part of a message that gets a result: what takes back our note of it if the server did not execute it
Undo = list[Callable[[], object] | None]


class PreparedStatements:
    """Those of one connection."""

    def __init__(self, connection: Any) -> None:
        self._prepared: dict[tuple[str, Any], Prepared] = {}
        #: encodes parameters for this connection
        self._dumper = Transformer(connection)
        self._numbers = itertools.count()

    def bind(self, text: str, arguments: Mapping[str, Any] | Sequence[Any]) -> Bound:
        """A statement in the driver's notation with its arguments. Raises psycopg.Error for one that cannot be sent."""
        sql, names = numbered(text)
        given: Any = arguments if names is None else [arguments[name] for name in names]  # type: ignore[call-overload]
        dumper = self._dumper
        values = dumper.dump_sequence(given, [_BINARY if type(value) is list and value else _AUTO for value in given])
        return Bound(text, sql, values, dumper.types, dumper.formats)

    def known(self, bound: Bound) -> Prepared | None:
        """The prepared statement of a statement; None if it is not prepared."""
        return self._prepared.get(bound.key)

    def send(self, pgconn: Any, bound: Bound, undo: Undo) -> Prepared:
        """Send it, in pipeline mode; prepare it before if it is a query and is not prepared.

        ``undo`` gets an element for each result that will come.
        """
        # BEGIN must be the first in a message, too, and would come after DEALLOCATE
        if not bound.values and not _QUERY.match(bound.sql):
            pgconn.send_query_params(bound.sql, None, result_format=pq.Format.BINARY)
            undo.append(None)
            return Prepared(b"")
        key = bound.key
        prepared = self._prepared.get(key)
        if prepared is None:
            if len(self._prepared) >= MAX_PREPARED:
                oldest = next(iter(self._prepared))
                removed = self._prepared.pop(oldest)
                pgconn.send_query_params(b"DEALLOCATE " + removed.name, None)
                undo.append(partial(self._prepared.setdefault, oldest, removed))
            prepared = self._prepared[key] = Prepared(b"tenfold_%d" % next(self._numbers))
            pgconn.send_prepare(prepared.name, bound.sql, key[1])
            undo.append(partial(self._prepared.pop, key, None))
        pgconn.send_query_prepared(prepared.name, bound.values, bound.formats, pq.Format.BINARY)
        undo.append(None)
        return prepared

    def failed(self, error: Any, undo: Undo) -> None:
        """A message failed: ``undo`` has its parts from the failing one on. What was prepared before it still is."""
        for take_back in undo:
            if take_back is not None:
                take_back()
        if is_outdated(error):  # after an ALTER or DROP of its own psycopg deallocates all statements of the session
            self.forget()

    def forget(self) -> None:
        """Take all statements for not prepared: the session has others."""
        self._prepared.clear()


class PreparedCursor:
    """Executes statements on one connection, each in one message with the BEGIN that it needs.

    It has what this package uses of a DB-API cursor. A connection has one, since its results are read before the next
    statement.

    Attributes:
        rowcount: the rows that the last statement changed, or gave.
    """

    def __init__(self, connection: Any) -> None:
        self.statements = PreparedStatements(connection)
        self.rowcount = -1
        self._connection = connection
        self._pgconn = connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._pgconn.socket, select.POLLIN)
        self._prepared: Prepared | None = None
        self._result: Any = None

    def execute(
        self, text: str, arguments: Any = (), commit: bool = False, before: tuple[str, Any] | None = None
    ) -> None:
        """Execute a statement; in the same message the one ``before`` it, whose rows are lost, and COMMIT if
        ``commit``.
        """
        bound = [self.statements.bind(text, arguments)]
        if before is not None:
            bound.insert(0, self.statements.bind(*before))
        alone = None if commit or before or self._must_begin else self.statements.known(bound[0])
        self._result = self._run(bound, commit) if alone is None else self._run_alone(bound[0], alone)
        self.rowcount = self._result.command_tuples or 0

    def executemany(self, text: str, rows: Sequence[Any]) -> None:
        """Execute a statement once for each of these arguments."""
        bound = [self.statements.bind(text, arguments) for arguments in rows]
        for start in range(0, len(bound), _AT_ONCE):
            self._run(bound[start : start + _AT_ONCE], commit=False)

    def fetchall(self) -> list[Row]:
        """The rows of the last statement."""
        return [] if self._prepared is None else self._prepared.load(self._connection, self._result)

    def fetchone(self) -> Row | None:
        """The first row of the last statement."""
        rows = self.fetchall()
        return rows[0] if rows else None

    @property
    def _must_begin(self) -> bool:
        """Whether the next statement needs a BEGIN."""
        return self._pgconn.transaction_status == pq.TransactionStatus.IDLE and not self._connection.autocommit

    def _run_alone(self, bound: Bound, prepared: Prepared) -> Any:
        """The result of a prepared statement in a message of its own, by one call of libpq.

        Each call of libpq lets other threads run: the fewer there are, the less threads wait for each other.
        """
        pgconn = self._pgconn
        self._prepared = prepared
        result = pgconn.exec_prepared(prepared.name, bound.values, bound.formats, pq.Format.BINARY)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            if pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(pgconn.get_error_message())
            raise self._failed(result, [])
        return result

    def _failed(self, result: Any, undo: Undo) -> Exception:
        """The error of a result, once it is noted; ``undo`` has the parts of its message from it on."""
        error: Exception = errors.error_from_result(result, self._connection.info.encoding)
        self.statements.failed(error, undo)
        return error

    def _run(self, bound: list[Bound], commit: bool) -> Any:
        """The result of the last of these statements. Raises the error of the first one that failed."""
        pgconn = self._pgconn
        undo: Undo = []
        begins = self._must_begin
        pgconn.enter_pipeline_mode()
        if begins:
            pgconn.send_query_params(b"BEGIN", None)
            undo.append(None)
        for one in bound:
            self._prepared = self.statements.send(pgconn, one, undo)
        if commit:
            pgconn.send_query_params(b"COMMIT", None)
        pgconn.pipeline_sync()
        results = self._results()
        pgconn.exit_pipeline_mode()
        for place, result in enumerate(results):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise self._failed(result, undo[place:])
        return results[-2 if commit else -1]

    def _results(self) -> list[Any]:
        """The results of the last message, preparations included. Raises psycopg.Error if the server is gone."""
        pgconn = self._pgconn
        while pgconn.flush():  # it has room for more only if it is read meanwhile
            self._poll.modify(pgconn.socket, select.POLLIN | select.POLLOUT)
            self._poll.poll()
            self._poll.modify(pgconn.socket, select.POLLIN)
            pgconn.consume_input()
        results: list[Any] = []
        while True:
            self._poll.poll()
            pgconn.consume_input()
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    return results
                results.append(result)
                pgconn.get_result()  # the None after each result, for which there is nothing to read
