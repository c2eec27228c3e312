"""What a connection carries with it: the answers of its database, the transaction it is in, a count of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from buildbot.db.engine.transaction import Transaction

if TYPE_CHECKING:
    from buildbot.db.dialects.base import Dialect

#: the execution option that holds it
STATE = "tenfold_state"


class ConnectionState:
    """One per thread of the pool, and one for all other connections of an engine."""

    __slots__ = ("dialect", "statements", "transaction")

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        #: executed so far
        self.statements = 0
        #: the one that a thread function runs in; the last one, while there is none
        self.transaction: Transaction | None = None


def state_of(conn: Connection) -> ConnectionState:
    """What a connection carries with it."""
    return conn.get_execution_options()[STATE]  # type: ignore[no-any-return]


def dialect_of(conn: Connection) -> Dialect:
    """The answers of the database behind a connection."""
    return conn.get_execution_options()[STATE].dialect  # type: ignore[no-any-return]


def transaction_of(conn: Connection) -> Transaction:
    """The transaction that a thread function runs in."""
    return conn.get_execution_options()[STATE].transaction  # type: ignore[no-any-return]
