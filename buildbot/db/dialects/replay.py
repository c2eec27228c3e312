"""Thread functions on the reactor's thread: each is called to find its SELECT, and again when the answer has come.

Getters of a row or a few run one or two SELECTs and make a result of the rows. A function that does anything else goes
to a worker thread, and so does a SELECT that has no answer here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sqlalchemy.engine import Dialect as CoreDialect
from twisted.internet.defer import Deferred

from buildbot.db.dialects.base import NOT_ANSWERED, ConnectionContext, Dialect
from buildbot.db.dialects.driver import CONTEXT


class AsyncQuery(Protocol):
    """Runs SELECTs on the reactor's thread, without blocking."""

    def ask(self, text: str, arguments: dict[str, Any]) -> Deferred[list[tuple[Any, ...]]] | None:
        """The rows of a SELECT in the database's SQL, which sees all that was committed before this call.

        Fails with NotAnsweredError, also if the answer is too long for the reactor's thread; None if it cannot run now.
        """

    def close(self) -> None:
        """Close the connection."""


class ReplayReader:
    """As ``ReactorReader``, with an `AsyncQuery` whose rows come later."""

    def __init__(self, asker: AsyncQuery, dialect: Dialect, core: CoreDialect) -> None:
        self.asker = asker
        self._state = ConnectionContext(dialect)
        self._core = core

    @property
    def statements(self) -> int:
        """As ``ReactorReader.statements``."""
        return self._state.statements

    def read(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Deferred[Any] | None:
        """As ``ReactorReader.read``."""
        reading = _Reading(self.asker, Replay(self._core, self._state), function, args, kwargs)
        return reading.done if reading.run() else None

    def close(self) -> None:
        """As ``ReactorReader.close``."""
        self.asker.close()


class _Reading:
    """One call, until it has all answers; it has no reference cycle, so it is freed after the last one."""

    __slots__ = ("_args", "_asker", "_function", "_kwargs", "_replay", "done")

    def __init__(
        self, asker: AsyncQuery, replay: Replay, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]
    ) -> None:
        self._asker = asker
        self._replay = replay
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self.done: Deferred[Any] = Deferred()

    def run(self) -> bool:
        """Run the function with the answers so far; false if it must go to a worker thread."""
        try:
            outcome = self._replay.run(self._function, self._args, self._kwargs)
        except NeedRows as asked:
            answering = self._asker.ask(asked.text, asked.arguments)
            if answering is None:
                return False
            answering.addCallbacks(self._answered, self.done.errback)
        except NeedThread:
            return False
        except Exception:
            self.done.errback()
        else:
            self.done.callback(outcome)
        return True

    def _answered(self, rows: list[tuple[Any, ...]]) -> None:
        self._replay.answer(rows)
        if not self.run():
            self.done.errback(NOT_ANSWERED)


class NeedRows(BaseException):
    """The function runs a SELECT that has no answer yet. It is no Exception, so that no handler catches it."""

    def __init__(self, text: str, arguments: Any) -> None:
        self.text = text
        self.arguments = arguments


class NeedThread(BaseException):
    """The function must run in a worker thread. It is no Exception, so that no handler catches it."""


class Replay:
    """A stand-in for a connection and the objects behind it; it has the answers so far."""

    def __init__(self, dialect: CoreDialect, state: ConnectionContext) -> None:
        self.dialect = dialect
        self._state = state
        self._options = {CONTEXT: state}
        self._answers: list[list[tuple[Any, ...]]] = []
        self._place = 0

    @property
    def connection(self) -> Replay:
        """As ``Connection.connection``."""
        return self

    dbapi_connection = connection

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The result of the function. Raises NeedRows, NeedThread, and the function's errors."""
        self._place = 0
        # statements that were answered before are not executed again
        self._state.statements -= max(len(self._answers) - 1, 0)
        return function(self, *args, **kwargs)

    def answer(self, rows: list[tuple[Any, ...]]) -> None:
        """Take the rows of the function's last SELECT."""
        self._answers.append(rows)

    def get_execution_options(self) -> dict[str, Any]:
        """As ``Connection.get_execution_options``."""
        return self._options

    def cursor(self) -> _Cursor:
        """The stand-in for a cursor."""
        return _Cursor(self)

    prepared_cursor = cursor

    def rows(self, text: str, arguments: Any) -> list[tuple[Any, ...]]:
        """The answer to the next statement. Raises NeedRows if it has not come, NeedThread if it is no SELECT."""
        if not text.startswith("SELECT"):
            raise NeedThread(text)
        if self._place == len(self._answers):
            self._state.statements -= 1
            raise NeedRows(text, arguments)
        self._place += 1
        return self._answers[self._place - 1]

    def __getattr__(self, name: str) -> Any:
        raise NeedThread(name)


class _Cursor:
    """A stand-in for the driver's cursor."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, text: str, arguments: Any) -> None:
        """Take the rows, if they have come."""
        self._rows = self._replay.rows(text, arguments)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows."""
        return self._rows

    def __getattr__(self, name: str) -> Any:
        raise NeedThread(name)
