"""A thread function is called on the reactor's thread to see what it asks, and again when the answer is there.

Getters of a row or a few do nothing but ask one or two SELECTs and make something of the rows. What they do besides
that is a thread's business, and so is what the asker does not answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from sqlalchemy.engine import Dialect as CoreDialect
from twisted.internet.defer import Deferred

from buildbot.db.dialects.base import NOT_ANSWERED, ConnectionContext, Dialect
from buildbot.db.dialects.driver import CONTEXT


class AsyncQuery(Protocol):
    """Asks the database without a thread; for the reactor's."""

    def ask(self, text: str, arguments: dict[str, Any]) -> Deferred[list[tuple[Any, ...]]] | None:
        """The rows of a SELECT in the database's words, which sees all that was committed before this call.

        Fails with NotAnsweredError, also where a thread had better make something of the answer; None if it cannot be
        asked now.
        """

    def close(self) -> None:
        """Ask nothing more."""


class ReplayReader:
    """As ``ReactorReader``, where an asker sends statements and hears the rows later."""

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
    """One call, until it has all answers; nothing of it refers to itself, so that it is gone with the last one."""

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
        """Go as far as the answers do; false if this is a thread's business."""
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
    """The function asks something that has no answer yet; nothing that catches errors on the way is to catch it."""

    def __init__(self, text: str, arguments: Any) -> None:
        self.text = text
        self.arguments = arguments


class NeedThread(BaseException):
    """The function wants more than to ask; as above."""


class Replay:
    """Stands in for a connection, and for all that statements go through; knows the answers so far."""

    def __init__(self, dialect: CoreDialect, state: ConnectionContext) -> None:
        self.dialect = dialect
        self._state = state
        self._options = {CONTEXT: state}
        self._answers: list[list[tuple[Any, ...]]] = []
        self._place = 0

    @property
    def connection(self) -> Replay:
        """As a connection has it."""
        return self

    dbapi_connection = connection

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the function gives. Raises NeedRows, NeedThread, and what it raises."""
        self._place = 0
        # those that it had the answers of before are not executed again
        self._state.statements -= max(len(self._answers) - 1, 0)
        return function(self, *args, **kwargs)

    def answer(self, rows: list[tuple[Any, ...]]) -> None:
        """The rows that the function asked for last."""
        self._answers.append(rows)

    def get_execution_options(self) -> dict[str, Any]:
        """As a connection has them."""
        return self._options

    def cursor(self) -> _Cursor:
        """What a statement runs on."""
        return _Cursor(self)

    def rows(self, text: str, arguments: Any) -> list[tuple[Any, ...]]:
        """The answer to the next statement. Raises NeedRows if it is not there, NeedThread if it is no SELECT."""
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
    """Stands in for the driver's."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, text: str, arguments: Any) -> None:
        """Have the rows, if they are there."""
        self._rows = self._replay.rows(text, arguments)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows."""
        return self._rows

    def __getattr__(self, name: str) -> Any:
        raise NeedThread(name)
