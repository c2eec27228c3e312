"""Broken constraints: another transaction was faster, or a referenced row does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from buildbot.db.dialects.context import dialect_of
from buildbot.db.exceptions import TakenMeanwhileError


@contextmanager
def again_if_taken(conn: Connection) -> Iterator[None]:
    """For a write after a look-up: if a unique key has appeared since, the transaction is run again.

    It then finds the row of the other transaction.
    """
    try:
        yield
    except IntegrityError as error:
        if dialect_of(conn).is_unique_violation(error):
            raise TakenMeanwhileError("another transaction has just written a row with the same unique key") from error
        raise


@contextmanager
def refusing_unknown(conn: Connection, message: str) -> Iterator[None]:
    """Raise ValueError with this message for a reference to a row that does not exist; other errors stay."""
    try:
        yield
    except IntegrityError as error:
        if dialect_of(conn).is_foreign_key_violation(error):
            raise ValueError(message) from error
        raise
