"""The metrics of a master.

Each part counts with plain numbers of its own, and has a method that gives them as ``Family`` objects. ``Metrics``
knows these methods of all parts of a master.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: bounds in seconds, from a fraction of a millisecond to the length of a timeout
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Histogram:
    """The numbers of observations up to each bound, and their sum; for one thread."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = tuple(bounds)
        #: observations above the bound before and up to this one; the last has no bound
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count an observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        """Add the observations of another histogram with the same bounds."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


Value = float | Histogram
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Family:
    """One metric with its values.

    Attributes:
        name: without ``tenfold_``, and for counters without ``_total``.
        kind: its type in Prometheus.
        doc: its meaning, one line, which is in docs/operating.md, too.
        labels: the names of its labels.
        values: by the labels' values, as tuples of text.
    """

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    values: Mapping[Any, Value] = field(default_factory=dict)


def counter(name: str, doc: str, value: float) -> Family:
    """A number that only grows, from the start of the process on."""
    return Family(name, "counter", doc, values={(): value})


def gauge(name: str, doc: str, value: float) -> Family:
    """A number as it is now."""
    return Family(name, "gauge", doc, values={(): value})


Source = Callable[[], Iterable[Family] | Awaitable[Iterable[Family]]]


class Metrics:
    """The metrics of one master, from the parts that it has from the start and those that come and go."""

    def __init__(self, *sources: Source) -> None:
        self._sources = list(sources)

    def add(self, source: Source) -> None:
        """Add the metrics of a part; its method may be a coroutine."""
        self._sources.append(source)

    def remove(self, source: Source) -> None:
        """Remove the metrics of a part."""
        self._sources.remove(source)

    async def families(self) -> list[Family]:
        """All metrics, as they are now."""
        found: list[Family] = []
        for source in self._sources:
            given = source()
            found += await given if isinstance(given, Awaitable) else given
        return found
