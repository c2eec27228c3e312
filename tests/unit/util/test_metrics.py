"""Numbers that a master keeps of itself."""

from __future__ import annotations

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from buildbot.util.metrics import Histogram, Metrics, counter, gauge
from buildbot.util.singleflight import SingleFlight, TimeoutError


def test_histogram() -> None:
    """An observation counts at the first bound that is not below it, or beyond all; two histograms add up."""
    one, other = Histogram((1, 5)), Histogram((1, 5))
    for value in (0.5, 1, 1.1, 5, 6):
        one.observe(value)
    other.observe(100)
    assert one.counts == [2, 2, 1]
    one.add(other)
    assert (one.counts, one.sum) == ([2, 2, 2], 113.6)


async def test_sources_come_and_go() -> None:
    """A part's metrics are there as long as it is, whether it answers at once or later."""

    async def later() -> list[object]:
        return [gauge("later", "", 2)]

    metrics = Metrics(lambda: [counter("first", "", 1)])
    metrics.add(later)  # type: ignore[arg-type]
    assert [family.name for family in await metrics.families()] == ["first", "later"]
    metrics.remove(later)  # type: ignore[arg-type]
    assert [family.name for family in await metrics.families()] == ["first"]


def test_remembered() -> None:
    """One question at a time; answers are kept for a while, failures not; a caller that waits long gets an error."""
    clock = Clock()
    asked: list[Deferred[int]] = []

    async def ask() -> int:
        asked.append(Deferred())
        return await asked[-1]

    remembered = SingleFlight(ask, clock, keep_s=5, wait_s=2)
    got: list[object] = []

    def get() -> None:
        ensureDeferred(remembered.get()).addBoth(got.append)

    get()
    get()
    assert len(asked) == 1
    clock.advance(3)
    assert [failure.check(TimeoutError) for failure in got] == [TimeoutError, TimeoutError]  # type: ignore[attr-defined]
    get()
    asked[0].callback(1)
    clock.advance(1)
    get()
    assert got[2:] == [1, 1] and len(asked) == 1
    clock.advance(5)
    get()
    asked[1].errback(ValueError("no"))
    assert got[4].check(ValueError) is ValueError  # type: ignore[attr-defined]
    get()
    assert len(asked) == 3
    asked[2].callback(3)
    assert got[5] == 3
