"""One timed run, and what many of them say."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """What an actor did in one run.

    Attributes:
        calls: how many calls were finished.
        seconds: how long they took.
        cpu_seconds: what this took of the actor's process, all threads; a database server's is not in it.
    """

    calls: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU time per call."""
        return self.cpu_seconds / self.calls * 1e6


def median_rate(runs: Sequence[Measurement]) -> float:
    """The median rate."""
    return statistics.median(run.rate for run in runs)


def median_cpu_us(runs: Sequence[Measurement]) -> float:
    """The median CPU time per call."""
    return statistics.median(run.cpu_us for run in runs)


def median_ratio(ours: Sequence[Measurement], theirs: Sequence[Measurement]) -> float:
    """The median of the ratios of the rounds: a busy neighbour meets both sides of a round."""
    return statistics.median(a.rate / b.rate for a, b in zip(ours, theirs, strict=True))
