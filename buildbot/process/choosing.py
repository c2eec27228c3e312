"""Users' functions choose which request is built on which worker.

They may refuse for reasons that no event announces: the hour, a file, another machine. A function that fails refuses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from buildbot.config.locks import lock_list
from buildbot.data.interfaces import Master
from buildbot.interfaces import holds_renderable
from buildbot.process.builder import Builder
from buildbot.process.buildrequest import WHOLE, BuildRequest
from buildbot.process.candidates import Candidate, Candidates, WholeRequest
from buildbot.process.locks import Claim
from buildbot.process.turns import Accesses, LockTurns
from buildbot.process.workerforbuilder import WorkerForBuilder
from buildbot.process.workers.idle import RANDOM
from buildbot.process.workers.managed import ManagedWorker
from buildbot.process.workers.manager import WorkerManager
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.util.deferreds import resolved

#: a request, the worker to build it on, and the locks of the build
Chosen = tuple[BuildRequestDict, ManagedWorker, Claim | None]


async def pending(
    master: Master,
    builderids: Sequence[int],
    limit: int,
    filters: Mapping[str, Any] | None = None,
) -> list[BuildRequestDict]:
    """The requests of builders that wait, the most urgent first; ``filters`` are further ones."""
    query = {
        "filters": {"builderid__eq": list(builderids), "claimed": False, "complete": False, **(filters or {})},
        "order": ["-priority", "buildrequestid"],
        "limit": limit,
    }
    found: list[BuildRequestDict] = await master.data.get(query, ("buildrequests",))
    return found


class Chooser:
    """Calls the functions of builders.

    Args:
        master: the master, for its ``data``.
        workers: the workers.
        turns: the turns of builders to take locks.

    Attributes:
        next_worker: ``c['select_next_worker']``.
        candidates: the requests that functions choose among.
    """

    def __init__(self, master: Master, workers: WorkerManager, turns: LockTurns) -> None:
        self._master = master
        self._workers = workers
        self._turns = turns
        self.next_worker: Callable[..., Any] | None = None
        self.candidates = Candidates(master)

    def is_asked_about(self, builder: Builder) -> bool:
        """Whether a function decides about a builder's builds, or their locks depend on the request."""
        config = builder.config
        functions = (config.nextBuild, config.canStartBuild, config.nextWorker, self.next_worker)
        return any(function is not None for function in functions) or holds_renderable(config.locks)

    async def choose(self, builder: Builder, request: BuildRequestDict) -> Chosen | None:
        """The request to start, its worker, and its locks, which are taken; None: no build can start now.

        Args:
            builder: which can start a build.
            request: its most urgent request.
        """
        refused: dict[ManagedWorker, Accesses] = {}
        async for each, shown in self._offered(builder, request):
            views = await self._able(builder, shown)
            places = {view.managed: await self._locks_there(builder, each, view.managed) for view in views}
            free: list[WorkerForBuilder] = []
            for view in views:
                accesses = places[view.managed]
                if accesses is not None and self._turns.are_free(builder, accesses):
                    free.append(view)
                elif accesses is not None:
                    refused.setdefault(view.managed, accesses)
            worker = await self._worker(builder, free, shown)
            if worker is None:
                continue
            claim = self._turns.take(builder, places[worker] or [])
            if claim is not None:
                self.candidates.forget(builder, each)
                return each, worker, claim if claim.accesses else None
        self._turns.wish(builder, refused)
        return None

    async def _offered(self, builder: Builder, request: BuildRequestDict) -> AsyncIterator[Candidate]:
        """The requests that may be built, in the order in which they are tried."""
        config = builder.config
        if config.nextBuild is not None:
            found = await self.candidates.all_of(builder)
            wanted: BuildRequest | None = await resolved(config.nextBuild(builder, [each.shown for each in found]))
            for each in found:
                if wanted is not None and each.shown.id == wanted.id:
                    yield each
        elif config.canStartBuild is not None:
            async for each in self.candidates.of(builder):
                yield each
        elif config.nextWorker is None and self.next_worker is None:
            yield Candidate(request, BuildRequest.from_data(request, builder.name))
        else:
            whole: WholeRequest | None = await self._master.data.get(
                WHOLE, ("buildrequests", request["buildrequestid"])
            )
            if whole is not None:
                yield Candidate(whole, BuildRequest.from_data(whole, builder.name))

    async def _able(self, builder: Builder, request: BuildRequest) -> list[WorkerForBuilder]:
        """The workers that may build a request now."""
        can_start = builder.config.canStartBuild
        views = [WorkerForBuilder(worker, builder) for worker in self._workers.available(builder.name)]
        if can_start is None:
            return views
        return [view for view in views if await resolved(can_start(builder, view, request))]

    async def _worker(
        self, builder: Builder, views: list[WorkerForBuilder], request: BuildRequest
    ) -> ManagedWorker | None:
        """The worker that the user's function chooses; without one, one of those with the fewest builds."""
        choose = builder.config.nextWorker or self.next_worker
        if not views:
            return None
        if choose is None:
            fewest = min(len(view.managed.builds) for view in views)
            return RANDOM.choice([view for view in views if len(view.managed.builds) == fewest]).managed
        answer: WorkerForBuilder = await resolved(choose(builder, views, request))
        return answer.managed if answer in views else None

    async def _locks_there(self, builder: Builder, request: BuildRequestDict, worker: ManagedWorker) -> Accesses | None:
        """The locks that a build of a request takes on a worker; None if it can never have them there."""
        locks = builder.config.locks
        if holds_renderable(locks):
            properties = await builder.properties_before(request, worker)
            locks = lock_list(await properties.render(locks))
        return self._turns.accesses(builder, worker, locks) if locks or worker.locks else []
