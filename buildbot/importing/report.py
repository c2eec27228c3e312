"""The report of an import or a copy: numbers of rows, and rows left out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy.exc import DBAPIError


class ImportRefusedError(Exception):
    """The run did not begin, or was ended; the message says why and what to do."""


#: the prefix of the keys by which runs remember rows that they left out
LEFT_OUT = "left out "


class LeftOut(NamedTuple):
    """A row of the source that was not imported, or not unchanged."""

    table: str
    #: its id, or other columns by which it is found
    row: str
    reason: str

    @property
    def key(self) -> str:
        """The key by which runs remember it."""
        return f"{LEFT_OUT}{self.table} {self.row}"

    @classmethod
    def of(cls, key: str, reason: str) -> LeftOut:
        """The row that was remembered by a key."""
        table, _, row = key.removeprefix(LEFT_OUT).partition(" ")
        return cls(table, row, reason)

    def __str__(self) -> str:
        return f"{self.table} {self.row}: {self.reason}"


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        rows: the number of rows that this run wrote, by table of the target.
        left_out: rows that this run and earlier ones left out, in the order in which they were found.
        notes: further sentences for users, such as tables that are never imported.
        seconds: the duration.
    """

    rows: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """The number of rows that this run wrote."""
        return sum(self.rows.values())

    def lines(self, most: int = 20) -> Iterable[str]:
        """The lines of the report; they name at most ``most`` of the rows that each table left out."""
        rate = self.total / self.seconds if self.seconds else 0.0
        yield f"{self.total:,} rows in {duration(self.seconds)} ({rate:,.0f} rows/s)"
        for table, count in sorted(self.rows.items()):
            if count:
                yield f"  {table}: {count:,}"
        yield from self.notes
        if not self.left_out:
            yield "Nothing was left out."
            return
        yield f"{len(self.left_out):,} rows were left out or changed:"
        shown: Counter[str] = Counter()
        for each in self.left_out:
            shown[each.table] += 1
            if shown[each.table] <= most:
                yield f"  {each}"
        for table, count in shown.items():
            if count > most:
                yield f"  {table}: and {count - most:,} more"


class Progress:
    """Reports the progress of a run and the time left, at intervals.

    Args:
        say: called with each line.
        every_s: seconds between two lines.
        now: a monotonic clock in seconds.
    """

    def __init__(
        self, say: Callable[[str], Any], every_s: float = 5.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._every_s = every_s
        self._now = now
        self.begun = self._said = now()
        self._expected = 0.0
        self._done = 0.0

    def expect(self, work: float) -> None:
        """Set the amount of work, in any unit."""
        self._expected = work
        self._done = 0.0

    def step(self, work: float, what: str, rows: int) -> None:
        """Add finished work.

        Args:
            work: its amount, in the unit of `expect`.
            what: the name of the table.
            rows: the number of rows that the run has written so far.
        """
        self._done += work
        now = self._now()
        if now - self._said < self._every_s:
            return
        self._said = now
        spent = now - self.begun
        part = min(self._done / self._expected, 1.0) if self._expected else 1.0
        left = f"about {duration(spent / part - spent)} left" if part > 0.01 else "the time left is not known yet"
        self._say(f"{part:4.0%}  {what}, {rows:,} rows, {rows / spent:,.0f} rows/s, {left}")

    @property
    def seconds(self) -> float:
        """The duration so far."""
        return self._now() - self.begun


def duration(seconds: float) -> str:
    """A duration in words, such as ``3 min``."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    return f"{round(whole / 60)} min" if whole < 6000 else f"{whole / 3600:.1f} h"


def missing(column: str, number: Any) -> str:
    """The reason to leave out a row that refers to a row that the target does not have."""
    return f"{column} {number} does not exist, or was left out"


def message_of(error: DBAPIError) -> str:
    """The first line of the database's own message."""
    return str(error.orig).strip().splitlines()[0]
