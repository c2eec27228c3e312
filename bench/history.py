"""Whether the length of the history is felt: every item with few and with many finished requests."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.cast import ours
from bench.goals import HISTORY
from bench.items import Item
from bench.measurement import Measurement, median_cpu_us, median_rate, median_ratio
from bench.report import number

#: finished requests of the short history
SHORT = 1_000


@dataclass
class Ageing:
    """One item with one number of callers, on both databases."""

    item: Item
    callers: int
    short: list[Measurement]
    long: list[Measurement]

    @property
    def slower(self) -> float:
        """How many times as long a call takes with the long history.

        The median of the rounds, or the best round of each if that says less: other work makes nothing faster.
        """
        best = max(run.rate for run in self.short) / max(run.rate for run in self.long)
        return min(median_ratio(self.short, self.long), best)

    @property
    def all_well(self) -> bool:
        """Whether that is little enough."""
        return self.slower <= HISTORY


def measure(
    backend: str, directory: Path, items: Sequence[Item], history: int, rounds: int, seconds: float
) -> list[Ageing]:
    """Interleaved rounds on a database with ``SHORT`` finished requests and one with ``history``."""
    found = []
    with ExitStack() as stack:
        pair = [stack.enter_context(ours("tenfold", backend, directory, n)) for n in (SHORT, history)]
        for item in items:
            for actor in pair:
                actor.prepare(item)
            for callers in item.callers:
                ageing = Ageing(item, callers, [], [])
                for actor in pair:
                    actor.run(item, callers, seconds)  # what is read in turn is in memory
                turns = [(pair[0], ageing.short), (pair[1], ageing.long)]
                for _ in range(rounds):
                    for actor, runs in turns:
                        runs.append(actor.run(item, callers, seconds))
                    turns.reverse()
                found.append(ageing)
    return found


def table(found: Sequence[Ageing], history: int) -> str:
    """One line per item and number of callers."""
    lines = [f"{'job':34}{'callers':>8}{f'/s at {SHORT:,}':>16}{f'/s at {history:,}':>18}{'CPU':>8}{'slower':>16}"]
    for ageing in found:
        units = ageing.item.units
        cpu = median_cpu_us(ageing.long) / median_cpu_us(ageing.short)
        mark = "≤" if ageing.all_well else "!"
        lines.append(
            f"{ageing.item.title:34}{ageing.callers:>8}{number(median_rate(ageing.short) * units):>16}"
            f"{number(median_rate(ageing.long) * units):>18}{number(cpu) + 'x':>8}"
            f"{f'{number(ageing.slower)}x {mark} {HISTORY:g}x':>16}"
        )
    return "\n".join(lines)
