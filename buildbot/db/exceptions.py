"""Errors of the database layer."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError


class DatabaseNotReadyError(Exception):
    """The database's schema is not the one that this version needs; the message names the command that helps."""


class UnknownSchemaError(Exception):
    """The database's schema is not of this program; the message says of which program it may be, and what to do."""


class AlreadyClaimedError(Exception):
    """Raised when a build request is already claimed, usually by another master."""


class NotClaimedError(Exception):
    """Raised when a build request is not claimed by this master."""


class ChangeSourceAlreadyClaimedError(Exception):
    """Raised when a change source is already claimed by another master."""


class SchedulerAlreadyClaimedError(Exception):
    """Raised when a scheduler is already claimed by another master."""


def is_unavailable(error: BaseException) -> bool:
    """Whether an error means that the database is not available. Then the call was not wrong, and may be repeated."""
    if isinstance(error, OutcomeUnknownError | PoolClosedError):
        return True
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or isinstance(error, OperationalError | InterfaceError | InternalError)
    )


class TakenMeanwhileError(Exception):
    """Another transaction has just written a row with the same unique key.

    The pool runs the transaction again. A caller gets this error only if that does not help, with the database's error
    as its ``__cause__``.
    """


class PoolClosedError(Exception):
    """The pool was closed before the call could run."""


class OutcomeUnknownError(Exception):
    """The connection was lost during COMMIT, and it cannot be found out whether the transaction was committed.

    Nothing was applied twice: check whether the rows are there before you repeat the call. Its ``__context__`` is the
    error of the lost connection.
    """
