"""Which workers can take a build, found without looking at those that cannot.

Builders with the same workers share a `WorkerPool`. It holds workers that may be able to take a build, by how many
builds they run. Whoever learns that a worker may be able to (it connected, was unpaused, ended a build) offers it; one
that turns out not to be able is dropped when it is met, until it is offered again. So a change of a worker costs one
step for each pool that it is in, and choosing costs nothing for those that are busy or away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from buildbot.process.workers.managed import ManagedWorker


class WorkerPool:
    """Some workers, of which the idle ones are known.

    Args:
        names: of the workers.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)
        #: by number of builds when it was put there, those that have waited longest first
        self._by_builds: dict[int, dict[ManagedWorker, None]] = {}
        self._place: dict[ManagedWorker, int] = {}

    def offer(self, worker: ManagedWorker) -> None:
        """A worker of the pool may be able to take a build."""
        builds = len(worker.builds)
        if self._place.get(worker) != builds:
            self._drop(worker)
            self._place[worker] = builds
            self._by_builds.setdefault(builds, {})[worker] = None

    def is_idle(self) -> bool:
        """Whether one of them can take another build of some builder."""
        return next(self._able(), None) is not None

    def first(self, builder: str) -> ManagedWorker | None:
        """The one that should start a build of this builder: of those with the fewest builds, idle for the longest."""
        return next(self.able(builder), None)

    def able(self, builder: str) -> Iterator[ManagedWorker]:
        """Those that can start a build of this builder, those with the fewest builds first."""
        return (worker for worker in self._able() if worker.can_take(builder))

    def _able(self) -> Iterator[ManagedWorker]:
        builds = -1
        while more := [each for each in self._by_builds if each > builds]:
            builds = min(more)
            for worker in list(self._by_builds[builds]):
                now = len(worker.builds)
                if not worker.has_room():
                    self._drop(worker)
                    continue
                self.offer(worker)
                if now <= builds:  # otherwise it is met again
                    yield worker

    def _drop(self, worker: ManagedWorker) -> None:
        builds = self._place.pop(worker, None)
        if builds is not None:
            workers = self._by_builds[builds]
            del workers[worker]
            if not workers:
                del self._by_builds[builds]
