"""What can go wrong in the database layer."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError


class DatabaseNotReadyError(Exception):
    """The database's schema is not the one that this version needs; the message names the command that helps."""


class UnknownSchemaError(Exception):
    """The database's schema is none of this program's; the message says whose it may be and what to do."""


class AlreadyClaimedError(Exception):
    """Raised when a build request is already claimed, usually by another master."""


class NotClaimedError(Exception):
    """Raised when a build request is not claimed by this master."""


class ChangeSourceAlreadyClaimedError(Exception):
    """Raised when a change source is already claimed by another master."""


class SchedulerAlreadyClaimedError(Exception):
    """Raised when a scheduler is already claimed by another master."""


def is_unavailable(error: BaseException) -> bool:
    """Whether an error means that the database could not be asked or written, not that something was wrong with what
    was asked: what failed with it may be done again.
    """
    if isinstance(error, OutcomeUnknownError | PoolClosedError):
        return True
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or isinstance(error, OperationalError | InterfaceError | InternalError)
    )


class TakenMeanwhileError(Exception):
    """Somebody else has written a row with a unique key that was not there a moment before.

    The pool runs the transaction again; a caller sees it only where that does not help, with the database's error as
    its ``__cause__``.
    """


class PoolClosedError(Exception):
    """The pool was closed before the call could run."""


class OutcomeUnknownError(Exception):
    """The connection was lost during COMMIT, and whether that happened cannot be found out any more.

    Nothing was applied twice: look whether it is there before it is done again. Its ``__context__`` is the error of the
    lost connection.
    """
