"""Rows: a fault under load, what was measured, and what was found."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.databases import own_database
from tests.faults.farm import Farm, running_farm
from tests.faults.load import Load
from tests.faults.rows import NotHereError, Row
from tests.faults.settings import Settings
from tests.faults.verdict import Verdict

#: how much of the rate before has to be there later
ENOUGH = 0.95
#: how long nothing may end, besides the expiry, when no more is asked for
_STUCK_S = 60.0


@dataclass
class Result:
    """What a row came to.

    Attributes:
        before: builds that succeeded in two undisturbed stretches.
        during: while the fault lasted, ``lasted`` seconds, as a number per stretch.
        first, later: in the first stretch after it, and in the last one.
        pause: the longest time without a build that succeeded, from the fault on.
        skipped: why the row could not be made.
    """

    row: Row
    before: tuple[int, int] = (0, 0)
    during: float = 0.0
    lasted: float = 0.0
    first: int = 0
    later: int = 0
    pause: float = 0.0
    faults: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: str = ""

    @property
    def mean(self) -> float:
        """Of the undisturbed stretches."""
        return sum(self.before) / 2

    def line(self) -> str:
        """For a table in Markdown."""
        if self.skipped:
            return f"| {self.row.title} | skipped: {self.skipped} |"
        share = f"{self.later / self.mean:.0%}" if self.mean else "-"
        rates = f"{self.before[0]}, {self.before[1]} / {self.during:.0f} / {self.first} / {self.later}"
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items() if number)
        return f"| {self.row.title} | {rates} ({share}) | {self.pause:.1f} s | {counts} |"


def run(backend: str, rows: Iterable[Row], settings: Settings, directory: Path) -> Iterator[Result]:
    """Make one row after the other; after a fault was found, in a farm that is new."""
    waiting = [row for row in rows if backend in row.databases]
    number = 0
    while waiting:
        place = directory / f"farm{number}"
        place.mkdir()
        number += 1
        with ExitStack() as stack:
            small = any(row.name == "disk-full" for row in waiting)
            database = stack.enter_context(own_database(backend, place, small))
            farm = stack.enter_context(running_farm(place, database, settings))
            load = Load(farm)
            stack.enter_context(load.running())
            while waiting:
                result = measure(farm, load, waiting.pop(0))
                yield result
                if result.faults:
                    break


def measure(farm: Farm, load: Load, row: Row) -> Result:
    """Make one row."""
    result, settings = Result(row), farm.settings
    tracebacks = sum(master.tracebacks() for master in farm.masters)
    try:
        around: Any = row.around(farm) if row.around is not None else nullcontext()
        with around:
            _measure(farm, load, row, result)
    except NotHereError as error:
        result.skipped = str(error)
        return result
    except RuntimeError as error:  # something did not come back
        result.faults.append(str(error))
    load.drain(settings.expiry_s + _STUCK_S)
    for child in (child for master in farm.masters for child in (master, master.agents)):
        if not child.is_running:
            result.faults.append(f"a process ended by itself: {child.last_words()}")
    verdict = Verdict(farm, load)
    result.faults += verdict.faults
    result.counts = dict(verdict.counts)
    forces = load.forces
    result.counts |= {"forces refused": forces.refused, "forces unanswered": forces.unanswered}
    result.counts["tracebacks"] = sum(master.tracebacks() for master in farm.masters) - tracebacks
    return result


def _measure(farm: Farm, load: Load, row: Row, result: Result) -> None:
    stretch = farm.settings.stretch_s
    masterid = farm.masters[1].masterid if row.one_stays_away else None

    load.begin()
    time.sleep(stretch / 2)  # until all workers have something to do
    begun = time.monotonic()
    time.sleep(2 * stretch)
    fault = time.monotonic()
    row.act(farm)
    over = time.monotonic()
    time.sleep(farm.settings.later_s + stretch)

    middle = begun + stretch
    result.before = load.ended(begun, middle, masterid), load.ended(middle, fault, masterid)
    result.lasted = over - fault
    result.during = load.ended(fault, over, masterid) * stretch / max(result.lasted, 0.1)
    result.first = load.ended(over, over + stretch, masterid)
    later = over + farm.settings.later_s
    result.later = load.ended(later, later + stretch, masterid)
    result.pause = load.longest_pause(fault, later + stretch)


def judge_rates(results: list[Result]) -> None:
    """Find rates that are too low: below ``ENOUGH``, and below what two undisturbed stretches of the run differ by."""
    undisturbed: list[tuple[float, ...]] = [result.before for result in results]
    undisturbed += [(result.mean, result.first, result.later) for result in results if result.row.name == "nothing"]
    needed = min([ENOUGH, *(min(rates) / max(rates) for rates in undisturbed if min(rates))])
    for result in results:
        if not result.skipped and result.mean and result.later < needed * result.mean:
            share = result.later / result.mean
            result.faults.append(f"{share:.0%} of the rate before; {needed:.0%} are needed in this run")
