"""The transaction that a thread function runs in, and the outbox for the events that it announces."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.engine import Connection

#: routing keys (segments joined by slashes) and the message
Announcement = tuple[tuple[str, ...], Any]


@dataclass
class Transaction:
    """The state of a group's transaction: the events that it announces, and the time of its rows."""

    now: int
    events: list[Announcement] = field(default_factory=list)
    #: rows that were added on first use of a name, as table and id; the Data layer announces them
    made: list[tuple[str, int]] = field(default_factory=list)
    #: whether anything was written; if not, a lost commit does not matter
    wrote: bool = False
    #: rows as the last writing statements returned them, by table and id; forgotten at other writes of the table
    written: dict[str, dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    #: rows looked up by unique key in this group, so that later calls need not query: (table, hash) → row
    found: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    #: ids of rows that are never removed, by table and name: found in this transaction, and in earlier ones
    names: ChainMap[tuple[str, str], int] = field(default_factory=ChainMap)

    def note_writing(self, table: str | None) -> None:
        """A statement will change rows of this table; None: of any table."""
        self.wrote = True
        if table is None:
            self.written.clear()
        else:
            self.written.pop(table, None)


@dataclass(frozen=True)
class OutboxEntry:
    """The rows that a group writes into the log.

    Attributes:
        events: its events, ready for subscribers; a marker is an event without keys.
        keys, bodies: the columns ``routing_keys`` and ``body`` of their rows.
        masterid, token, created_at: the other columns, the same in all rows. The token (``group_token``) finds the rows
            again; it is empty on databases where no answer can get lost.
        after: a number that was given out before.
    """

    events: list[Any]
    keys: list[str]
    bodies: list[str]
    masterid: int
    token: str
    created_at: int
    after: int


@dataclass(frozen=True)
class Committed:
    """The numbers that a committed group took from the clock, ``first`` to ``last``, and its events."""

    first: int
    last: int
    events: list[Any]


class Outbox(Protocol):
    """The log of events, as the pool needs it."""

    def entry(self, events: list[Announcement], now: int, mark: bool) -> OutboxEntry | None:
        """The entry of these events; without events an empty marker if ``mark``."""

    def append(self, conn: Connection, entry: OutboxEntry) -> Committed:
        """Write the entry, with numbers from the clock, as the last act of a transaction; this may commit it."""

    def find(self, conn: Connection, entry: OutboxEntry) -> Committed | None:
        """The result of ``append`` whose answer is lost; None if nothing was committed.

        None is final only if the session that wrote the entry has ended. OutcomeUnknownError if the log does not reach
        back so far.
        """
