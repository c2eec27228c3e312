"""The transaction that a thread function runs in, and what becomes of the events that it announces."""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.engine import Connection

#: routing keys (segments joined by slashes) and the message
Announcement = tuple[tuple[str, ...], Any]


@dataclass
class Transaction:
    """What a group has gathered: the events to be announced and the one time that its rows carry."""

    now: int
    events: list[Announcement] = field(default_factory=list)
    #: rows that were made on first use of a name, as table and id, for whoever announces them
    made: list[tuple[str, int]] = field(default_factory=list)
    #: whether anything was written, so that a lost commit would matter
    wrote: bool = False
    #: rows that statements gave back as they wrote them, by table and id, until the table is written otherwise
    written: dict[str, dict[int, tuple[Any, ...]]] = field(default_factory=dict)
    #: rows that were found by what is unique in them, for the other calls of the group: by table and hash
    found: dict[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    #: ids of rows that are never removed, by table and name; those found here, then those found by earlier transactions
    names: ChainMap[tuple[str, str], int] = field(default_factory=ChainMap)

    def note_writing(self, table: str | None) -> None:
        """A statement is about to change rows of this table; None: of any."""
        self.wrote = True
        if table is None:
            self.written.clear()
        else:
            self.written.pop(table, None)


@dataclass(frozen=True)
class OutboxEntry:
    """What a group writes into the log.

    Attributes:
        events: what it announces, ready for whoever listens; one without keys for a mark.
        rows: of the log, without their numbers.
        token: by which they are found again; empty where no answer can get lost.
        after: a number that was given out before.
    """

    events: list[Any]
    rows: list[dict[str, Any]]
    token: str
    after: int


@dataclass(frozen=True)
class Committed:
    """The numbers that a committed group took from the clock: ``first`` to ``last``, and what the outbox made of
    its events.
    """

    first: int
    last: int
    events: list[Any]


class Outbox(Protocol):
    """The log of events, as the pool needs it."""

    def entry(self, events: list[Announcement], now: int, mark: bool) -> OutboxEntry | None:
        """What is to be written: the events, or an empty mark if ``mark`` and there are none."""

    def append(self, conn: Connection, entry: OutboxEntry) -> Committed:
        """Write it, with numbers from the clock, as the last thing of a transaction, which may be committed with it."""

    def find(self, conn: Connection, entry: OutboxEntry) -> Committed | None:
        """What ``append`` would have given if its answer is lost; None if nothing was committed.

        For good only if the session that wrote it has ended. OutcomeUnknownError if the log does not reach back so far.
        """
