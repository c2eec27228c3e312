"""Choosing among idle workers without looking at the others."""

from __future__ import annotations

from typing import Any

from buildbot.process.workers import idle
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


def test_the_fewest_builds() -> None:
    """A worker that builds less is chosen before one that builds more; none builds a builder twice at once."""
    one, two, three = (Worker(room=2) for _ in range(3))
    pool = pool_of(one, two, three)
    one.builds["b"] = "b"
    found = pool.first("b")
    assert found in (two, three)
    found.builds["b"] = "b"
    last = pool.first("b")
    assert last in (two, three) and last is not found
    last.builds["b"] = "b"
    assert pool.first("b") is None
    one.builds["c"] = "c"
    del one.builds["b"], one.builds["c"]
    pool.offer(one)
    assert pool.first("c") is one


def test_chance_decides() -> None:
    """Among workers that are as good as each other none is always the first; a test may seed the choice."""
    workers = [Worker() for _ in range(10)]
    pool = pool_of(*workers)
    idle.RANDOM.seed(1)
    chosen = [pool.first("b") for _ in range(200)]
    assert {workers.index(worker) for worker in chosen} == set(range(10))
    idle.RANDOM.seed(1)
    assert [pool.first("b") for _ in range(3)] != chosen[3:6]
    for worker in workers:
        worker.asked = 0
    pool.first("b")
    assert sum(worker.asked for worker in workers) <= 2


def test_each_is_met_once() -> None:
    """A search for a fitting worker gives each one, those with fewer builds first."""
    workers = [Worker(room=3) for _ in range(6)]
    for worker in workers[3:]:
        worker.builds["x"] = "x"
    pool = pool_of(*workers)
    met = list(pool.able("b"))
    assert set(map(id, met)) == set(map(id, workers)) and len(met) == 6
    assert all(not worker.builds for worker in met[:3])
