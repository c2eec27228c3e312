"""Metrics in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from buildbot.util.metrics import Family, Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST

_PREFIX = "tenfold_"
_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def text_of(families: Iterable[Family]) -> bytes:
    """The families, and the numbers of this process, as text."""
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return generate_latest(registry) + generate_latest(_process())


@cache
def _process() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class _Given:
    """A collector of families, for the library."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            made: Any
            name = _PREFIX + family.name
            if family.kind == "histogram":
                made = HistogramMetricFamily(name, family.doc, labels=family.labels)
                for labels, value in family.values.items():
                    assert isinstance(value, Histogram)
                    made.add_metric(labels, _buckets(value), value.sum)
            else:
                made = _FAMILIES[family.kind](name, family.doc, labels=family.labels)
                for labels, value in family.values.items():
                    made.add_metric(labels, value)
            yield made


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds with the number of values at or below each."""
    found, total = [], 0
    for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found
