"""What can go wrong in the database layer."""

from __future__ import annotations


class DatabaseNotReadyError(Exception):
    """The database's schema is not the one that this version needs; the message names the command that helps."""


class AlreadyClaimedError(Exception):
    """Raised when a build request is already claimed, usually by another master."""


class NotClaimedError(Exception):
    """Raised when a build request is not claimed by this master."""


class ChangeSourceAlreadyClaimedError(Exception):
    """Raised when a change source is already claimed by another master."""


class SchedulerAlreadyClaimedError(Exception):
    """Raised when a scheduler is already claimed by another master."""


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
