"""The distributor: hands build requests to builders whose workers can take them.

Builders with the same workers form a *pool*. A pool is *due* when something may have changed for it: a request is new
or was given back, a worker may take a build (it connected, was unpaused, ended a build). One loop serves what is due:
as long as a pool has an idle worker it takes the most urgent request of the builders in it (priority, then age),
reserves the worker, and goes on; all requests that are handed out in one go are claimed side by side, which is one
transaction. Several masters may do this at the same time: the claim decides, and who loses it goes on with the next
request.

No step looks at all builders, at all workers or at the whole queue: `waiting` knows the most urgent requests,
`workers.idle` the idle workers, and events of requests come by the routing keys of this master's builders.

A builder is *aside* while its requests are not looked at: no worker that is idle may build it, or a user's function
said no. It comes back when something changes for it. A request whose build cannot be started is given back; its builder
rests for a moment, so that a broken one does not spin.

**Locks** of builders and workers are taken before a request is claimed, so no worker and no request is held while
others have them. A builder that cannot have its locks wishes for them and stands aside. When its turn comes it holds
them for one round, in which it must start a build; if it cannot (its workers are busy by then), others get their turn.

**Users' functions** (``canStartBuild``, ``nextBuild``, ``nextWorker``, ``prioritizeBuilders``…) may say no for reasons
that nobody announces: the hour, a file, another machine. Whoever they said no to is looked at again after
`Distributor.again_s`. One that fails is logged and counts as a no, for its builder only. Where there are such
functions, builds are started one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.logger import Logger

from buildbot.config.locks import LockAccess, lock_list
from buildbot.data.interfaces import Master
from buildbot.interfaces import holds_renderable
from buildbot.mq.log import Event
from buildbot.process.builder import Builder
from buildbot.process.buildrequest import WHOLE, BuildRequest, Collapser
from buildbot.process.locks import Claim, ImpossibleError, Lock, Locks, Wish
from buildbot.process.waiting import WaitingRequests, urgency_of
from buildbot.process.workerforbuilder import WorkerForBuilder
from buildbot.process.workers.idle import RANDOM, WorkerPool
from buildbot.process.workers.managed import ManagedWorker
from buildbot.process.workers.manager import WorkerManager
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved

_log = Logger()
_CHOICE = 100


class _Pool:
    """Builders with the same workers.

    Attributes:
        workers: those.
        waiting: the requests of its builders, but for those aside.
        aside: builders whose requests are not looked at for now.
    """

    def __init__(self, workers: WorkerPool, waiting: WaitingRequests) -> None:
        self.workers = workers
        self.waiting = waiting
        self.aside: dict[str, None] = {}


class Distributor:
    """Hands out the pending build requests of this master's builders.

    Args:
        master: the master, for its ``data``, ``mq`` and ``reactor``.
        builders: the running builders by name; may change while it runs (then call `configure`).
        worker_manager: where the workers are; its ``on_change`` is taken.
    """

    #: how long a builder rests that could not start a build, in seconds
    rest_s = 10.0
    #: when a builder is looked at again to which a user's function said no, in seconds
    again_s = 30.0

    def __init__(self, master: Master, builders: Mapping[str, Builder], worker_manager: WorkerManager) -> None:
        self._master = master
        self._builders = builders
        self._workers = worker_manager
        self._subscription: Any = None
        self._by_id: dict[int, Builder] = {}
        self._pools: dict[WorkerPool, _Pool] = {}
        self._pool_of: dict[str, _Pool] = {}
        self._pools_of_worker: dict[str, list[_Pool]] = {}
        self._due: set[_Pool] = set()
        self._resting: dict[str, Any] = {}
        self._again: dict[str, Any] = {}
        self.collapser = Collapser(master)
        self.locks = Locks()
        #: what builders wish for by their names, and what they were granted in or before this round, for a worker
        self._wishes: dict[str, Wish] = {}
        self._granted: dict[str, tuple[ManagedWorker, Claim]] = {}
        #: ``c['prioritizeBuilders']`` and ``c['select_next_worker']``
        self.prioritize: Callable[..., Any] | None = None
        self.next_worker: Callable[..., Any] | None = None
        self._running = False
        self._loop: Deferred[Any] | None = None

    async def start(self) -> None:
        """Begin to hand out requests, those that wait already first."""
        self._running = True
        self._workers.on_change = self.worker_changed
        await self.configure()

    async def stop(self) -> None:
        """Hand out nothing more; returns when the requests under way are started or given back."""
        self._running = False
        await self._unsubscribe()
        for timers in (self._resting, self._again):
            for timer in timers.values():
                timer.cancel()
            timers.clear()
        self._drop_wishes()
        if self._loop is not None:
            await self._loop

    async def configure(self) -> None:
        """Take over the builders and workers as they are now, and look for work for all."""
        self._by_id = {builder.builderid: builder for builder in self._builders.values()}
        self._pools, self._pool_of, self._pools_of_worker, self._due = {}, {}, {}, set()
        self._drop_wishes()
        for name, builder in self._builders.items():
            workers = self._workers.pool(builder.config.workernames)
            pool = self._pools.get(workers)
            if pool is None:
                pool = self._pools[workers] = _Pool(workers, WaitingRequests(self._pending))
                for worker in workers.names:
                    self._pools_of_worker.setdefault(worker, []).append(pool)
            self._pool_of[name] = pool
        self._workers.keep_pools(self._pools)
        await self._unsubscribe()
        if self._running and self._by_id:
            keys = [("builders", str(each), "buildrequests", None, None) for each in self._by_id]
            self._subscription = await self._master.mq.subscribe(keys, self._request_event)
        # after that, so that no request is missed between
        self.wake(self._builders)

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await maybeDeferred(subscription.stopConsuming)

    def wake(self, names: Iterable[str]) -> None:
        """Look for work for these builders."""
        for name in names:
            if name in self._pool_of and name in self._builders and name not in self._resting:
                pool = self._pool_of[name]
                pool.aside.pop(name, None)
                pool.waiting.add(self._builders[name].builderid)
                self._due.add(pool)
        self._serve_soon()

    def _serve_soon(self) -> None:
        if self._running and self._loop is None and self._due:
            self._loop = in_background(self._serve(), "distributor")
            self._loop.addBoth(self._served)

    def worker_changed(self, worker: str) -> None:
        """A worker may take a build: its builders are due."""
        for pool in self._pools_of_worker.get(worker, ()):
            self.wake(list(pool.aside))
            self._due.add(pool)
        self._serve_soon()

    def builder_finished(self, builder: Builder) -> None:
        """A build has ended: its builder is due."""
        self.wake([builder.name])

    def _request_event(self, event: Event, key: tuple[str, ...]) -> None:
        builder = self._by_id.get(int(key[1]))
        if builder is None:
            return
        if key[-1] == "new" and self.collapser.rule_of(builder):
            in_background(self._collapse(builder, event, key), "distributor")
        else:
            self._request_waits(builder, event, key)

    async def _collapse(self, builder: Builder, event: Event, key: tuple[str, ...]) -> None:
        await self.collapser.collapse(builder, int(key[3]))
        self._request_waits(builder, event, key)

    def _request_waits(self, builder: Builder, event: Event, key: tuple[str, ...]) -> None:
        pool = self._pool_of.get(builder.name)
        if pool is not None:
            pool.waiting.hear(event, key)
            if key[-1] in ("new", "unclaimed"):
                self.wake([builder.name])

    def _served(self, _: Any) -> None:
        self._loop = None

    async def _serve(self) -> None:
        while self._due and self._running:
            due, self._due = self._due, set()
            granted = dict(self._granted)
            try:
                if self.prioritize is None:
                    await self._hand_out(due)
                else:
                    for builder in await self._in_order(due):
                        await self._hand_out_to(builder)
            except Exception:
                _log.failure("build requests could not be handed out; trying again")
                for name, pool in self._pool_of.items():
                    if pool in due:
                        self._rest(name)
            for name, unused in granted.items():
                if self._granted.get(name) is unused:
                    del self._granted[name]
                    unused[1].release()

    async def _hand_out(self, due: set[_Pool]) -> None:
        """Start builds of these pools while they have idle workers, the most urgent requests first."""
        starting: list[Deferred[bool]] = []
        try:
            while self._running:
                found = await self._most_urgent(due)
                if found is not None:
                    await self._offer(*found, starting)
                elif starting:
                    ended, starting = starting, []
                    if not any([not await each for each in ended]):
                        return
                else:
                    return
        finally:
            for each in starting:
                await each

    async def _most_urgent(self, due: set[_Pool]) -> tuple[_Pool, Builder, dict[str, Any]] | None:
        """The request to start next, of the pools that have an idle worker."""
        best: tuple[_Pool, Any] | None = None
        for pool in due:
            if self._pools.get(pool.workers) is not pool:  # the configuration has changed
                continue
            request = await pool.waiting.first() if pool.workers.is_idle() else None
            if request is not None and (best is None or urgency_of(request) < urgency_of(best[1])):
                best = pool, request
        if best is None:
            return None
        pool, request = best
        return pool, self._by_id[request["builderid"]], request

    async def _offer(
        self, pool: _Pool, builder: Builder, request: dict[str, Any], starting: list[Deferred[bool]]
    ) -> None:
        """Begin to start a build for the request, or put its builder aside."""
        if self._has_functions(builder):
            if not await self._offer_by_functions(builder, request):
                self._put_aside(builder)
            elif builder.builderid in pool.waiting:  # another request may have been chosen
                pool.waiting.again(builder.builderid)
            return
        place = self._place(pool, builder) if self._is_wanted(builder) else None
        if place is None:
            self._put_aside(builder)
            return
        pool.waiting.take(request)
        starting.append(ensureDeferred(self._start(pool, builder, request, *place)))

    def _place(self, pool: _Pool, builder: Builder) -> tuple[ManagedWorker, Claim | None] | None:
        """A worker that can start a build now, and the locks that it takes; None if there is none."""
        granted = self._granted.pop(builder.name, None)
        if granted is not None:
            worker, claim = granted
            if worker.can_take(builder.name):
                return granted
            anywhere = not worker.locks and not any(lock.worker for lock, _ in claim.accesses)
            other = next((each for each in pool.workers.able(builder.name) if not each.locks), None)
            if anywhere and other is not None:
                return other, claim
            claim.release()
        refused: dict[ManagedWorker, list[tuple[Lock, LockAccess]]] = {}
        for worker in pool.workers.able(builder.name):
            if not builder.config.locks and not worker.locks:
                return worker, None
            accesses = self._accesses(builder, worker, builder.config.locks)
            if accesses is None:
                continue
            taken = self.locks.try_claim(builder.name, accesses)
            if taken is not None:
                self._give_up_wish(builder.name)
                return worker, taken
            refused[worker] = accesses
            if not worker.locks and not any(lock.worker for lock, _ in accesses):
                break  # they are the same on every worker
        self._wish(builder, refused)
        return None

    def _accesses(
        self, builder: Builder, worker: ManagedWorker, locks: Sequence[LockAccess]
    ) -> list[tuple[Lock, LockAccess]] | None:
        """The locks that a build takes on a worker; None if it can never have them there."""
        try:
            return self.locks.of([*locks, *worker.locks], worker.name)
        except ImpossibleError as problem:
            _log.warn(
                "{builder!r} cannot build on {worker}: {problem}", builder=builder, worker=worker.name, problem=problem
            )
            return None

    def _wish(self, builder: Builder, places: dict[ManagedWorker, list[tuple[Lock, LockAccess]]]) -> None:
        """Wait for the locks on one of some workers; what is wished for already keeps its place."""
        name = builder.name
        if not places:
            self._give_up_wish(name)
            return
        wish = self._wishes.get(name)
        if wish is None:
            wish = self._wishes[name] = Wish(self.locks, name, lambda *it: self._wish_granted(builder, *it))
        for worker, accesses in places.items():
            if self._wishes.get(name) is wish:  # not granted on the way
                wish.add(worker, accesses)

    def _wish_granted(self, builder: Builder, worker: ManagedWorker, claim: Claim) -> None:
        name = builder.name
        self._wishes.pop(name, None)
        if self._is_wanted(builder) and name in self._pool_of and name not in self._granted:
            self._granted[name] = worker, claim
            self._pool_of[name].workers.offer(worker)  # its build may have ended just now
            self.wake([name])
        else:
            claim.release()

    def _give_up_wish(self, name: str) -> None:
        wish = self._wishes.pop(name, None)
        if wish is not None:
            wish.give_up()

    def _drop_wishes(self) -> None:
        for name in list(self._wishes):
            self._give_up_wish(name)
        granted, self._granted = self._granted, {}
        for _, claim in granted.values():
            claim.release()

    async def _start(
        self, pool: _Pool, builder: Builder, request: dict[str, Any], worker: ManagedWorker, locks: Claim | None
    ) -> bool:
        """Claim a request and start its build; False if another master was faster."""
        brids = [request["buildrequestid"]]
        connection = worker.reserve(builder.name)
        won = False
        try:
            won = await self._master.data.update.claimBuildRequests(brids)
        except Exception:
            _log.failure("{builder!r}: request {id} could not be claimed", builder=builder, id=brids[0])
            self._rest(builder.name)
            pool.waiting.settle(request)
            worker.release(builder.name)
            _release(locks)
            return True
        pool.waiting.settle(request)
        if not won:
            worker.release(builder.name)
            _release(locks)
            return False
        try:
            await builder.start_build(request, worker, connection, locks)
        except Exception:
            await self._give_back(builder, brids)
        return True

    async def _give_back(self, builder: Builder, brids: list[int]) -> None:
        """No build could be started: its request waits again, while the builder rests."""
        _log.failure("{builder!r}: no build could be started for request {id}", builder=builder, id=brids[0])
        self._rest(builder.name)
        try:
            await self._master.data.update.unclaimBuildRequests(brids)
        except Exception:
            _log.failure("request {id} could not be given back", id=brids[0])

    def _is_wanted(self, builder: Builder) -> bool:
        return self._running and self._builders.get(builder.name) is builder and builder.name not in self._resting

    def _has_functions(self, builder: Builder) -> bool:
        config = builder.config
        functions = (config.nextBuild, config.canStartBuild, config.nextWorker, self.next_worker)
        return any(function is not None for function in functions) or holds_renderable(config.locks)

    def _put_aside(self, builder: Builder) -> None:
        """Look at its requests no more, until something changes for it."""
        pool = self._pool_of.get(builder.name)
        if pool is not None:
            pool.waiting.remove(builder.builderid)
            pool.aside[builder.name] = None

    async def _in_order(self, due: set[_Pool]) -> list[Builder]:
        """Those that are due, in the order of the user's function; who is left out gets nothing for now."""
        builders = [builder for name, builder in self._builders.items() if self._pool_of.get(name) in due]
        try:
            ordered = list(await self._ask(self.prioritize, self._master, list(self._builders.values())))
        except Exception:
            _log.failure("prioritizeBuilders failed; the most urgent requests go first")
            await self._hand_out(due)
            return []
        for builder in builders:
            if builder not in ordered:
                self._look_again(builder)
        return [builder for builder in ordered if builder in builders]

    async def _hand_out_to(self, builder: Builder) -> None:
        while self._can_start(builder):
            page = await self._pending([builder.builderid], 1)
            if not page or not await self._offer_by_functions(builder, page[0]):
                return

    def _can_start(self, builder: Builder) -> bool:
        return self._is_wanted(builder) and builder.can_start()

    async def _pending(
        self, builderids: Sequence[int], limit: int, options: Mapping[str, Any] = MappingProxyType({})
    ) -> list[dict[str, Any]]:
        query = {
            **options,
            "filters": {"builderid__eq": list(builderids), "claimed": False, "complete": False},
            "order": ["-priority", "buildrequestid"],
            "limit": limit,
        }
        found: list[dict[str, Any]] = await self._master.data.get(query, ("buildrequests",))
        return found

    async def _offer_by_functions(self, builder: Builder, request: dict[str, Any]) -> bool:
        """Start a build for the request if possible; False if the builder can take no further request now."""
        if not self._can_start(builder):
            return False
        chosen = await self._choose(builder, request)
        if chosen is None:
            return False
        request, worker, locks = chosen
        brids = [request["buildrequestid"]]
        try:
            won = await self._master.data.update.claimBuildRequests(brids)
        except BaseException:
            _release(locks)
            raise
        if not won:
            _release(locks)
            return True  # another master was faster
        try:
            await builder.start_build(request, worker, locks=locks)
        except Exception:
            await self._give_back(builder, brids)
            return False
        return True

    async def _choose(
        self, builder: Builder, request: dict[str, Any]
    ) -> tuple[dict[str, Any], ManagedWorker, Claim | None] | None:
        """Which request to start on which worker, as users' functions have it, with the locks; None: nothing now."""
        try:
            chosen = await self._choose_by_functions(builder, request)
        except Exception:
            _log.failure("{builder!r}: a function of the configuration failed, which counts as a no", builder=builder)
            chosen = None
        if chosen is None and self._workers.available(builder.name):
            self._look_again(builder)
        return chosen

    async def _choose_by_functions(
        self, builder: Builder, request: dict[str, Any]
    ) -> tuple[dict[str, Any], ManagedWorker, Claim | None] | None:
        config = builder.config
        candidates = [request]
        if config.nextBuild is not None or config.canStartBuild is not None:
            candidates = await self._pending([builder.builderid], _CHOICE, WHOLE)
        elif config.nextWorker is not None or self.next_worker is not None:
            whole = await self._master.data.get(WHOLE, ("buildrequests", request["buildrequestid"]))
            candidates = [] if whole is None else [whole]
        if config.nextBuild is not None:
            offered = [BuildRequest.from_data(each, builder.name) for each in candidates]
            wanted = await self._ask(config.nextBuild, builder, offered)
            candidates = [each for each in candidates if wanted is not None and each["buildrequestid"] == wanted.id]
        choose = config.nextWorker or self.next_worker
        refused: dict[ManagedWorker, list[tuple[Lock, LockAccess]]] = {}
        for each in candidates:
            shown = BuildRequest.from_data(each, builder.name)
            able = self._workers.available(builder.name)
            views = {worker: WorkerForBuilder(worker, builder) for worker in able}
            if config.canStartBuild is not None:
                asked = [
                    (worker, await self._ask(config.canStartBuild, builder, views[worker], shown)) for worker in able
                ]
                able = [worker for worker, answer in asked if answer]
            places = {worker: await self._locks_there(builder, each, worker) for worker in able}
            granted = self._granted.get(builder.name)
            free: list[ManagedWorker] = []
            for worker, accesses in places.items():
                if accesses is not None and (
                    self.locks.are_free(accesses) or (granted is not None and list(granted[1].accesses) == accesses)
                ):
                    free.append(worker)
                elif accesses is not None:
                    refused.setdefault(worker, accesses)
            chosen = await self._chosen(choose, builder, [views[worker] for worker in free], shown)
            if chosen not in free:
                continue
            claim = self._claimed(builder, places[chosen] or [])
            if claim is not None:
                return each, chosen, claim if claim.accesses else None
        self._wish(builder, refused)
        return None

    async def _chosen(
        self, choose: Callable[..., Any] | None, builder: Builder, views: list[WorkerForBuilder], request: BuildRequest
    ) -> ManagedWorker | None:
        """The worker that the user's function chooses; without one, one of those with the fewest builds."""
        if not views:
            return None
        if choose is None:
            fewest = min(len(view.managed.builds) for view in views)
            return RANDOM.choice([view for view in views if len(view.managed.builds) == fewest]).managed
        answer = await self._ask(choose, builder, views, request)
        return answer.managed if answer in views else None

    async def _locks_there(
        self, builder: Builder, request: dict[str, Any], worker: ManagedWorker
    ) -> list[tuple[Lock, LockAccess]] | None:
        """The locks that a build of a request takes on a worker; None if it can never have them there."""
        locks = builder.config.locks
        if holds_renderable(locks):
            properties = await builder.properties_before(request, worker)
            locks = lock_list(await properties.render(locks))
        return self._accesses(builder, worker, locks) if locks or worker.locks else []

    def _claimed(self, builder: Builder, accesses: list[tuple[Lock, LockAccess]]) -> Claim | None:
        """The claim to locks, what the builder was granted included; None if others were faster."""
        granted = self._granted.pop(builder.name, None)
        if granted is not None:
            if list(granted[1].accesses) == accesses:
                return granted[1]
            granted[1].release()
        claim = self.locks.try_claim(builder.name, accesses)
        if claim is not None:
            self._give_up_wish(builder.name)
        return claim

    async def _ask(self, function: Any, *arguments: Any) -> Any:
        return await resolved(function(*arguments))

    def _look_again(self, builder: Builder) -> None:
        """Wake a builder after a while, although nothing may have happened by then."""
        name = builder.name
        if self._running and name not in self._again:
            self._again[name] = self._master.reactor.callLater(self.again_s, self._wake_again, name)

    def _wake_again(self, name: str) -> None:
        del self._again[name]
        if name in self._builders:
            self.wake([name])

    def _rest(self, name: str) -> None:
        if name in self._builders:
            self._put_aside(self._builders[name])
        if self._running and name not in self._resting:
            self._resting[name] = self._master.reactor.callLater(self.rest_s, self._rested, name)

    def _rested(self, name: str) -> None:
        del self._resting[name]
        self.wake([name])


def _release(locks: Claim | None) -> None:
    if locks is not None:
        locks.release()
