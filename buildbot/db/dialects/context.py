"""Accessors of the context in a connection's execution options."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from buildbot.db.dialects.base import ConnectionContext, Dialect
from buildbot.db.dialects.driver import CONTEXT
from buildbot.db.transaction import Transaction


def context_of(conn: Connection) -> ConnectionContext:
    """The context of a connection."""
    return conn.get_execution_options()[CONTEXT]  # type: ignore[no-any-return]


def dialect_of(conn: Connection) -> Dialect:
    """The dialect of the database behind a connection."""
    return conn.get_execution_options()[CONTEXT].dialect  # type: ignore[no-any-return]


def transaction_of(conn: Connection) -> Transaction:
    """The transaction that a thread function runs in."""
    return conn.get_execution_options()[CONTEXT].transaction  # type: ignore[no-any-return]
