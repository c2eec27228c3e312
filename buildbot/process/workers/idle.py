"""The workers that can take a build, found without looking at busy and absent ones.

Builders with the same workers share a `WorkerPool`. It holds workers that may be able to take a build, by the number of
builds that they run. A worker is offered to its pools when it may have become able (it connected, was unpaused, ended a
build). A worker that turns out not to be able is dropped until it is offered again. So a change of a worker costs one
step for each of its pools, and choosing costs nothing for workers that are busy or away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random

from buildbot.process.workers.managed import ManagedWorker

#: chooses among equally good workers; tests may seed it
RANDOM = Random()


class _Bag:
    """A set of workers; the cost of adding, removing and drawing one does not depend on their number."""

    def __init__(self) -> None:
        self._workers: list[ManagedWorker] = []
        self._places: dict[ManagedWorker, int] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, worker: ManagedWorker) -> None:
        self._places[worker] = len(self._workers)
        self._workers.append(worker)

    def remove(self, worker: ManagedWorker) -> None:
        place, last = self._places.pop(worker), self._workers.pop()
        if last is not worker:
            self._put(last, place)

    def draw(self, beyond: int) -> ManagedWorker:
        """A random worker after the first ``beyond`` places; it moves to the place after these."""
        place = RANDOM.randrange(beyond, len(self._workers))
        drawn, other = self._workers[place], self._workers[beyond]
        self._put(other, place)
        self._put(drawn, beyond)
        return drawn

    def _put(self, worker: ManagedWorker, place: int) -> None:
        self._workers[place] = worker
        self._places[worker] = place


class WorkerPool:
    """Some workers, and the idle ones among them.

    Args:
        names: of the workers.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)
        #: the offered workers, by their number of builds when they were offered
        self._by_builds: dict[int, _Bag] = {}
        self._place: dict[ManagedWorker, int] = {}

    def offer(self, worker: ManagedWorker) -> None:
        """A worker of the pool may be able to take a build."""
        builds = len(worker.builds)
        if self._place.get(worker) != builds:
            self._drop(worker)
            self._place[worker] = builds
            self._by_builds.setdefault(builds, _Bag()).add(worker)

    def is_idle(self) -> bool:
        """Whether one of them can take another build of some builder."""
        return next(self._able(), None) is not None

    def first(self, builder: str) -> ManagedWorker | None:
        """The worker for a build of this builder: one of those with the fewest builds."""
        return next(self.able(builder), None)

    def able(self, builder: str) -> Iterator[ManagedWorker]:
        """The workers that can start a build of this builder, those with the fewest builds first."""
        return (worker for worker in self._able() if worker.can_take(builder))

    def _able(self) -> Iterator[ManagedWorker]:
        builds = -1
        while more := [each for each in self._by_builds if each > builds]:
            builds = min(more)
            bag, met = self._by_builds[builds], 0
            while met < len(bag):
                worker = bag.draw(met)
                now = len(worker.builds)
                if not worker.has_room():
                    self._drop(worker)
                    continue
                self.offer(worker)
                met += now == builds
                if now <= builds:  # otherwise it comes again later
                    yield worker

    def _drop(self, worker: ManagedWorker) -> None:
        builds = self._place.pop(worker, None)
        if builds is not None:
            bag = self._by_builds[builds]
            bag.remove(worker)
            if not bag:
                del self._by_builds[builds]
