"""A worker for a builder, for users' functions that choose workers."""

from __future__ import annotations

from typing import Any

from buildbot.process.buildercontract import RunningBuilder
from buildbot.process.workers.managed import ManagedWorker


class AbstractWorkerForBuilder:
    """A worker that may build for a builder (``nextWorker``, ``canStartBuild``, ``select_next_worker``).

    Attributes:
        worker: the worker.
        builder: the builder.
        workername: the worker's name.
        builder_name: the builder's.
    """

    def __init__(self, managed: ManagedWorker, builder: RunningBuilder) -> None:
        self.managed = managed
        self.builder = builder

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.workername!r} of {self.builder_name!r}>"

    @property
    def worker(self) -> Any:
        """The worker."""
        return self.managed.worker

    @property
    def name(self) -> str:
        """The worker's name."""
        return self.managed.name

    workername = name

    @property
    def builder_name(self) -> str:
        """The builder's name."""
        return str(self.builder.name)

    @property
    def properties(self) -> Any:
        """The properties that the worker gives to its builds, with ``getProperty``."""
        return self.managed.properties

    def isAvailable(self) -> bool:
        """Whether it may start a build of the builder now."""
        return self.managed.can_take(self.builder_name)

    def isBusy(self) -> bool:
        """Whether it runs a build of the builder."""
        return self.builder_name in self.managed.builds


class WorkerForBuilder(AbstractWorkerForBuilder):
    """The class of a worker for a builder."""


def enforceChosenWorker(builder: RunningBuilder, workerforbuilder: AbstractWorkerForBuilder, request: Any) -> bool:
    """A function for ``canStartBuild``: a request with the property ``workername`` is built on that worker only."""
    wanted: object = request.properties.getProperty("workername")
    return not isinstance(wanted, str) or not wanted or wanted == workerforbuilder.workername
