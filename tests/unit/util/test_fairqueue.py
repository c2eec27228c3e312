"""Slow work for many addresses."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, ensureDeferred

from buildbot.util.fairqueue import FairQueue, QueueFullError


class Work:
    """Work that ends when the test says so."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue
        self.running: dict[str, Deferred[str]] = {}
        self.results: dict[str, Any] = {}

    def ask(self, address: str, name: str) -> Deferred[Any]:
        async def work() -> str:
            ended: Deferred[str] = Deferred()
            self.running[name] = ended
            return await ended

        async def whole() -> str:
            with self.queue.place(address):
                return await self.queue.run(address, work)

        asked = ensureDeferred(whole())
        asked.addBoth(lambda result: self.results.update({name: result}))
        return asked

    def end(self, name: str) -> None:
        self.running.pop(name).callback(name)


def test_turns() -> None:
    """Two at a time; an address that asks once does not wait behind one that asks ten times."""
    work = Work(FairQueue(at_once=2, places=10))
    for number in range(10):
        work.ask("many", f"m{number}")
    work.ask("one", "o")
    assert list(work.running) == ["m0", "m1"]
    work.end("m0")
    work.end("m1")
    assert list(work.running) == ["m2", "o"]
    work.end("o")
    assert work.results["o"] == "o"
    assert list(work.running) == ["m2", "m3"]


def test_places() -> None:
    """Each address has a number of places of its own; a place is free again when its work ends or fails."""
    work = Work(FairQueue(at_once=1, places=2))
    for name in ("a", "b", "c"):
        work.ask("x", name)
    work.ask("y", "d")
    assert work.results["c"].check(QueueFullError)
    work.running.pop("a").errback(OSError("broken"))
    assert work.results["a"].check(OSError)
    assert list(work.running) == ["b"]
    work.ask("x", "e")
    assert "e" not in work.results


def test_a_caller_that_does_not_wait_any_more() -> None:
    """A client that goes leaves the queue, and its place."""
    work = Work(FairQueue(at_once=1, places=2))
    work.ask("x", "a")
    work.ask("x", "b").cancel()
    work.ask("x", "c")
    work.end("a")
    assert list(work.running) == ["c"]


def test_places_are_counted_by_address() -> None:
    """Ended work leaves no counter."""
    queue = FairQueue()
    with pytest.raises(OSError, match="broken"), queue.place("x"):
        raise OSError("broken")
    assert not queue._taken
