"""The table from exceptions to the errors that clients get; all protocols use it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError
from twisted.logger import Logger

from buildbot.data.exceptions import (
    ControlParamsError,
    DataException,
    InvalidControlError,
    InvalidOptionError,
    InvalidPathError,
    NotFoundError,
    SinceTooOldError,
    UnknownActionError,
)

_log = Logger()

#: JSON-RPC 2.0 error codes
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603


class RefusedError(Exception):
    """A request is refused, with the status and the text that the client gets."""

    def __init__(self, status: int, message: str, code: int = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as clients see it.

    Attributes:
        status: HTTP status, also the ``code`` of WebSocket replies.
        code: the code of JSON-RPC replies.
        message: a text, or for bad parameters of a form an object of field name to text.
    """

    status: int
    code: int
    message: str | dict[str, str] = ""

    @property
    def text(self) -> str:
        """The message as one line."""
        if isinstance(self.message, dict):
            return "; ".join(f"{name}: {text}" for name, text in self.message.items())
        return self.message


#: from exception to (status, JSON-RPC code); the first class that fits decides
TABLE: tuple[tuple[type[Exception], int, int], ...] = (
    (InvalidPathError, 404, INVALID_REQUEST),
    (NotFoundError, 404, INVALID_REQUEST),
    (InvalidOptionError, 400, INVALID_REQUEST),
    (SinceTooOldError, 410, INVALID_REQUEST),
    (ControlParamsError, 400, INVALID_PARAMS),
    (UnknownActionError, 501, METHOD_NOT_FOUND),
    (InvalidControlError, 400, INVALID_PARAMS),
    (DataException, 400, INVALID_REQUEST),
)


def problem_of(error: Exception) -> Problem:
    """The error for the client; an unforeseen exception is logged here, and the client is not told its text."""
    if isinstance(error, RefusedError):
        return Problem(error.status, error.code, error.message)
    for kind, status, code in TABLE:
        if isinstance(error, kind):
            messages = getattr(error, "messages", None)
            return Problem(status, code, messages if isinstance(messages, dict) else str(error))
    if isinstance(error, DBAPIError) and getattr(error, "__notes__", None):
        # the disk is full, or the server read-only: administrators can mend that
        _log.error("a request failed: {reason}", reason="; ".join(error.__notes__))
        return Problem(503, INTERNAL_ERROR, "the database cannot be written now - see logs")
    _log.failure("a request failed")
    return Problem(500, INTERNAL_ERROR, "internal error - see logs")
