"""A thread function is called on the reactor's thread to see what it asks, and again when the answer is there.

Getters of a row or a few do nothing but ask one or two SELECTs and make something of the rows. What they do besides
that is a thread's business, and so is what the asker does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Dialect as CoreDialect

from buildbot.db.connection import STATE, ConnectionState


class AskedError(BaseException):
    """The function asks something that has no answer yet; nothing that catches errors on the way is to catch it."""

    def __init__(self, text: str, arguments: Any) -> None:
        self.text = text
        self.arguments = arguments


class ElsewhereError(BaseException):
    """The function wants more than to ask; as above."""


class Rehearsal:
    """Stands in for a connection, and for all that statements go through; knows the answers so far."""

    def __init__(self, dialect: CoreDialect, state: ConnectionState) -> None:
        self.dialect = dialect
        self.connection = self.dbapi_connection = self
        self._state = state
        self._options = {STATE: state}
        self._answers: list[list[tuple[Any, ...]]] = []
        self._place = 0

    def run(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the function gives. Raises AskedError, ElsewhereError, and what it raises."""
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
        """The answer to the next statement. Raises AskedError if it is not there, ElsewhereError if it is no SELECT."""
        if not text.startswith("SELECT"):
            raise ElsewhereError(text)
        if self._place == len(self._answers):
            self._state.statements -= 1
            raise AskedError(text, arguments)
        self._place += 1
        return self._answers[self._place - 1]

    def __getattr__(self, name: str) -> Any:
        raise ElsewhereError(name)


class _Cursor:
    """Stands in for the driver's."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self._rows: list[tuple[Any, ...]] = []

    def execute(self, text: str, arguments: Any) -> None:
        """Have the rows, if they are there."""
        self._rows = self._rehearsal.rows(text, arguments)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows."""
        return self._rows

    def __getattr__(self, name: str) -> Any:
        raise ElsewhereError(name)
