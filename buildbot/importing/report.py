"""The report of an import: copied rows and rows left out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class ImportRefusedError(Exception):
    """Nothing was written, or nothing more; the message says why and what to do."""


#: how the keys begin by which runs remember what they left out
LEFT_OUT = "left out "


class LeftOut(NamedTuple):
    """A row of the source that was not brought over, or not as it is."""

    table: str
    #: its number, or what else finds it there
    row: str
    reason: str

    @property
    def key(self) -> str:
        """By which runs remember it."""
        return f"{LEFT_OUT}{self.table} {self.row}"

    @classmethod
    def of(cls, key: str, reason: str) -> LeftOut:
        """What was remembered by a key."""
        table, _, row = key.removeprefix(LEFT_OUT).partition(" ")
        return cls(table, row, reason)

    def __str__(self) -> str:
        return f"{self.table} {self.row}: {self.reason}"


@dataclass
class Report:
    """The end of a run.

    Attributes:
        rows: how many rows this run wrote, by table of the target.
        left_out: rows that this run and those before it left out, in the order in which they were found.
        notes: what is never brought over, and why.
        seconds: how long it took.
    """

    rows: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many rows this run wrote."""
        return sum(self.rows.values())

    def lines(self, most: int = 20) -> Iterable[str]:
        """The report for people; at most so many of the rows that each table left out."""
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
    """Says now and then how far a run is and when it may be over.

    Args:
        say: gets each line.
        every_s: seconds between two lines.
        now: seconds that only go on.
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
        """How much there is to do, in units of the caller's."""
        self._expected = work
        self._done = 0.0

    def step(self, work: float, what: str, rows: int) -> None:
        """Some of it is done: now ``what`` is being brought over, and ``rows`` have been written in all."""
        self._done += work
        now = self._now()
        if now - self._said < self._every_s:
            return
        self._said = now
        spent = now - self.begun
        part = min(self._done / self._expected, 1.0) if self._expected else 1.0
        left = f"about {duration(spent / part - spent)} left" if part > 0.01 else "the end cannot be told yet"
        self._say(f"{part:4.0%}  {what}, {rows:,} rows, {rows / spent:,.0f} rows/s, {left}")

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._now() - self.begun


def duration(seconds: float) -> str:
    """A length of time for people."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    return f"{round(whole / 60)} min" if whole < 6000 else f"{whole / 3600:.1f} h"


def missing(column: str, number: Any) -> str:
    """Why a row is left out that refers to one that is not here."""
    return f"{column} {number} is not there; it does not exist, or was left out"
