"""Choosing among idle workers without looking at the others."""

from __future__ import annotations

from typing import Any

from buildbot.process.workers.idle import WorkerPool


class Worker:
    """A worker that counts how often it is asked."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.builds: dict[str, str] = {}
        self.asked = 0

    def has_room(self) -> bool:
        self.asked += 1
        return len(self.builds) < self.room

    def can_take(self, builder: str) -> bool:
        return self.has_room() and builder not in self.builds


def pool_of(*workers: Any) -> Any:
    pool = WorkerPool([str(number) for number in range(len(workers))])
    for worker in workers:
        pool.offer(worker)
    return pool


def test_choosing_costs_the_same_among_many() -> None:
    """Of a thousand workers of which one is idle, only that one is asked; none is while all are busy."""
    workers = [Worker() for _ in range(1_000)]
    pool = pool_of(*workers)
    for worker in workers:
        worker.builds["b"] = "b"
    assert pool.first("b") is None  # each is met once
    for worker in workers:
        worker.asked = 0
    assert not pool.is_idle() and pool.first("c") is None
    free = workers[700]
    free.builds.clear()
    pool.offer(free)
    assert pool.is_idle() and pool.first("b") is free
    assert sum(worker.asked for worker in workers) <= 4


def test_the_fewest_builds_then_the_longest_idle() -> None:
    """A worker that ended a build stands behind those that have waited longer."""
    one, two, three = (Worker(room=2) for _ in range(3))
    pool = pool_of(one, two, three)
    one.builds["b"] = "b"
    assert pool.first("b") is two
    two.builds["b"] = "b"
    assert pool.first("b") is three
    three.builds["b"] = "b"
    assert pool.first("b") is None  # one build of a builder at a time
    assert pool.first("c") is one
    one.builds["c"] = "c"
    del one.builds["b"], one.builds["c"]
    pool.offer(one)
    assert pool.first("b") is one
