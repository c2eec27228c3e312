"""What a broken constraint means: that somebody else was faster, or that something does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from buildbot.db.dialects.context import dialect_of
from buildbot.db.exceptions import TakenMeanwhileError


@contextmanager
def again_if_taken(conn: Connection) -> Iterator[None]:
    """For a write after a look: if a unique key was not there then and is now, the transaction is run again.

    It then finds what the other one has written.
    """
    try:
        yield
    except IntegrityError as error:
        if dialect_of(conn).is_unique_violation(error):
            raise TakenMeanwhileError("somebody else has just written a row with the same unique key") from error
        raise


@contextmanager
def refusing_unknown(conn: Connection, message: str) -> Iterator[None]:
    """A write that refers to what does not exist is a ValueError with this message; other errors stay what they are."""
    try:
        yield
    except IntegrityError as error:
        if dialect_of(conn).is_foreign_key_violation(error):
            raise ValueError(message) from error
        raise
