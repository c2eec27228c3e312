"""The distributor: gives build requests to builders whose workers can take them.

Builders with the same workers form a *pool*. A pool is *due* when it may have work: a request is new or was released,
or a worker may have become able to take a build (it connected, was unpaused, ended a build). One loop serves the due
pools: as long as a pool has an idle worker it takes the most urgent request of the builders in it (priority, then age),
reserves the worker, and goes on; all requests of one round are claimed at the same time, in one transaction. Several
masters may do this at the same time: the claim decides, and a master that loses it goes on with the next request.

No step looks at all builders, at all workers or at the whole queue: `waiting` knows the most urgent requests,
`workers.idle` the idle workers, and events of requests come by the routing keys of this master's builders.

A builder is *aside* while its requests are not looked at: no idle worker may build it, or a user's function refused. It
comes back when a request, a worker or its configuration changes. A request whose build cannot be started is released;
its builder rests for a moment, so that a broken one does not spin.

**Locks** of builders and workers are taken before a request is claimed (see `turns`), so no worker and no request is
held while others have them.

**Users' functions** (``canStartBuild``, ``nextBuild``, ``nextWorker``, ``prioritizeBuilders``…) may refuse for reasons
that no event announces: the hour, a file, another machine. A refused builder is looked at again after
`Distributor.again_s`. A failure is logged and counts as a refusal, for its builder only. With such functions, builds
are started one after the other.

**Before a clean stop** only requests that running builds wait for are handed out (see `draining`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.data.interfaces import Master
from buildbot.mq.log import Event
from buildbot.mq.subscription import Subscription
from buildbot.process.builder import Builder
from buildbot.process.buildrequest import Collapser
from buildbot.process.choosing import Chooser, Chosen, pending
from buildbot.process.draining import Draining
from buildbot.process.locks import Claim
from buildbot.process.turns import LockTurns
from buildbot.process.waiting import WaitingRequests, urgency_of
from buildbot.process.workers.idle import WorkerPool
from buildbot.process.workers.managed import ManagedWorker
from buildbot.process.workers.manager import WorkerManager
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved

_log = Logger()


class _Pool:
    """Builders with the same workers.

    Attributes:
        workers: the names of these workers.
        waiting: the requests of its builders, except builders that are aside.
        aside: builders whose requests are not looked at now.
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
        worker_manager: has the workers; the distributor sets its ``on_change``.
    """

    #: seconds that a builder rests after it could not start a build
    rest_s = 10.0
    #: seconds until a builder is looked at again after a user's function refused
    again_s = 30.0

    def __init__(self, master: Master, builders: Mapping[str, Builder], worker_manager: WorkerManager) -> None:
        self._master = master
        self._builders = builders
        self._workers = worker_manager
        self._subscription: Subscription | None = None
        self._by_id: dict[int, Builder] = {}
        self._pools: dict[WorkerPool, _Pool] = {}
        self._pool_of: dict[str, _Pool] = {}
        self._pools_of_worker: dict[str, list[_Pool]] = {}
        self._due: set[_Pool] = set()
        self._resting: dict[str, IDelayedCall] = {}
        self._again: dict[str, IDelayedCall] = {}
        self.collapser = Collapser(master)
        self._turns = LockTurns(self._turn_of)
        self.locks = self._turns.locks
        self.chooser = Chooser(master, worker_manager, self._turns)
        #: ``c['prioritizeBuilders']``
        self.prioritize: Callable[..., Any] | None = None
        #: the number of requests that are being claimed for each builder, or whose builds are being started
        self._taking: Counter[Builder] = Counter()
        self._running = False
        self._draining: Draining | None = None
        self._loop: Deferred[Any] | None = None

    async def start(self) -> None:
        """Begin to hand out requests, the waiting ones first."""
        self._running = True
        self._workers.on_change = self.worker_changed
        await self.configure()

    async def drain(self, draining: Draining) -> None:
        """Hand out from now on only requests that running builds wait for."""
        self._draining = self.chooser.candidates.draining = draining
        await self.configure()

    async def resume(self) -> None:
        """Hand out all requests again, after `drain` or `stop`."""
        self._draining = self.chooser.candidates.draining = None
        await self.start()

    def is_taking(self, builder: Builder) -> bool:
        """Whether a request is being claimed for a builder, or its build is being started."""
        return builder in self._taking

    @contextmanager
    def _taking_for(self, builder: Builder) -> Iterator[None]:
        self._taking[builder] += 1
        try:
            yield
        finally:
            self._taking[builder] -= 1
            if not self._taking[builder]:
                del self._taking[builder]

    async def settled(self) -> None:
        """Return when no request is being handed out."""
        while self._loop is not None:
            await resolved(self._loop)

    async def stop(self) -> None:
        """Hand out nothing more; returns when the requests of this round are started or released."""
        self._running = False
        await self._unsubscribe()
        for timers in (self._resting, self._again):
            for timer in timers.values():
                timer.cancel()
            timers.clear()
        self._turns.drop_all()
        if self._loop is not None:
            await self._loop

    async def configure(self) -> None:
        """Take the present builders and workers, and look for work for all."""
        self._by_id = {builder.builderid: builder for builder in self._builders.values()}
        self._pools, self._pool_of, self._pools_of_worker, self._due = {}, {}, {}, set()
        self._turns.drop_all()
        for name, builder in self._builders.items():
            workers = self._workers.pool(builder.config.workernames)
            pool = self._pools.get(workers)
            if pool is None:
                pool = self._pools[workers] = _Pool(workers, WaitingRequests(self._read))
                for worker in workers.names:
                    self._pools_of_worker.setdefault(worker, []).append(pool)
            self._pool_of[name] = pool
        self._workers.keep_pools(self._pools)
        await self._unsubscribe()
        if self._running and self._by_id:
            keys = [("builders", str(each), "buildrequests", None, None) for each in self._by_id]
            self._subscription = await self._master.mq.subscribe(keys, self._request_event)
        # after the subscription, so that no request is missed
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
        """A worker may have become able to take a build: its builders are due."""
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

    def _served(self, _: object) -> None:
        self._loop = None

    async def _serve(self) -> None:
        while self._due and self._running:
            due, self._due = self._due, set()
            held = self._turns.held()
            try:
                if self.prioritize is None:
                    await self._hand_out(due)
                else:
                    for builder in await self._in_order(due, self.prioritize):
                        await self._hand_out_to(builder)
            except Exception:
                _log.failure("build requests could not be handed out; trying again")
                for name, pool in self._pool_of.items():
                    if pool in due:
                        self._rest(name)
            self._turns.end_of_round(held)

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

    async def _most_urgent(self, due: set[_Pool]) -> tuple[_Pool, Builder, BuildRequestDict] | None:
        """The request to start next, of the pools that have an idle worker."""
        best: tuple[_Pool, BuildRequestDict] | None = None
        for pool in due:
            if self._pools.get(pool.workers) is not pool:  # the configuration has changed
                continue
            request = await self._first(pool) if pool.workers.is_idle() else None
            if request is not None and (best is None or urgency_of(request) < urgency_of(best[1])):
                best = pool, request
        if best is None or self._pools.get(best[0].workers) is not best[0]:  # the same, while requests were read
            return None
        pool, request = best
        return pool, self._by_id[request["builderid"]], request

    async def _read(self, builderids: Sequence[int], limit: int) -> list[BuildRequestDict]:
        """The most urgent requests of builders."""
        filters = None if self._draining is None else self._draining.filters
        return await pending(self._master, builderids, limit, filters=filters)

    async def _first(self, pool: _Pool) -> BuildRequestDict | None:
        """The most urgent request of a pool that may be handed out; None if none waits."""
        while True:
            request = await pool.waiting.first()
            if request is None or self._draining is None or await self._draining.needs(request):
                return request
            pool.waiting.forget(request)
            builder = self._by_id.get(request["builderid"])
            if builder is not None:  # a running build may wait for it later
                self._look_again(builder)

    async def _offer(
        self, pool: _Pool, builder: Builder, request: BuildRequestDict, starting: list[Deferred[bool]]
    ) -> None:
        """Begin to start a build for the request, or put its builder aside."""
        if self.chooser.is_asked_about(builder):
            if not await self._offer_by_functions(builder, request):
                self._put_aside(builder)
            elif builder.builderid in pool.waiting:  # another request may have been chosen
                pool.waiting.again(builder.builderid)
            return
        place = self._turns.place(builder, pool.workers) if self._is_wanted(builder) else None
        if place is None:
            self._put_aside(builder)
            return
        pool.waiting.take(request)
        starting.append(ensureDeferred(self._start(pool, builder, request, *place)))

    async def _start(
        self, pool: _Pool, builder: Builder, request: BuildRequestDict, worker: ManagedWorker, locks: Claim | None
    ) -> bool:
        """Claim a request and start its build; False if another master was faster."""
        with self._taking_for(builder):
            return await self._start_reserved(pool, builder, request, worker, locks)

    async def _start_reserved(
        self, pool: _Pool, builder: Builder, request: BuildRequestDict, worker: ManagedWorker, locks: Claim | None
    ) -> bool:
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
            await self._release(builder, brids)
        return True

    async def _release(self, builder: Builder, brids: list[int]) -> None:
        """No build could be started: release its request, and let the builder rest."""
        _log.failure("{builder!r}: no build could be started for request {id}", builder=builder, id=brids[0])
        self._rest(builder.name)
        try:
            await self._master.data.update.unclaimBuildRequests(brids)
        except Exception:
            _log.failure("request {id} could not be given back", id=brids[0])

    def _is_wanted(self, builder: Builder) -> bool:
        return self._running and self._builders.get(builder.name) is builder and builder.name not in self._resting

    def _turn_of(self, builder: Builder, worker: ManagedWorker) -> bool:
        """It is a builder's turn to take its locks for a build on a worker: it is due."""
        pool = self._pool_of.get(builder.name)
        if pool is None or not self._is_wanted(builder):
            return False
        pool.workers.offer(worker)  # its build may have ended just now
        self.wake([builder.name])
        return True

    def _put_aside(self, builder: Builder) -> None:
        """Put a builder aside until it has changes."""
        pool = self._pool_of.get(builder.name)
        if pool is not None:
            pool.waiting.remove(builder.builderid)
            pool.aside[builder.name] = None

    async def _in_order(self, due: set[_Pool], prioritize: Callable[..., Any]) -> list[Builder]:
        """The due builders in the order of the user's function; builders that it leaves out get nothing now."""
        builders = [builder for name, builder in self._builders.items() if self._pool_of.get(name) in due]
        try:
            ordered = list(await resolved(prioritize(self._master, list(self._builders.values()))))
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
            request = await self.chooser.candidates.first(builder)
            if request is None or not await self._offer_by_functions(builder, request):
                return

    def _can_start(self, builder: Builder) -> bool:
        return self._is_wanted(builder) and builder.can_start()

    async def _offer_by_functions(self, builder: Builder, request: BuildRequestDict) -> bool:
        """Start a build for the request if possible; False if the builder can take no further request now."""
        if not self._can_start(builder):
            return False
        chosen = await self._choose(builder, request)
        if chosen is None:
            return False
        with self._taking_for(builder):
            return await self._start_chosen(builder, *chosen)

    async def _start_chosen(
        self, builder: Builder, request: BuildRequestDict, worker: ManagedWorker, locks: Claim | None
    ) -> bool:
        brids = [request["buildrequestid"]]
        try:
            won = await self._master.data.update.claimBuildRequests(brids)
        except BaseException:
            _release(locks)
            raise
        if not won:
            _release(locks)
            return True  # another master claimed the request first
        try:
            await builder.start_build(request, worker, locks=locks)
        except Exception:
            await self._release(builder, brids)
            return False
        return True

    async def _choose(self, builder: Builder, request: BuildRequestDict) -> Chosen | None:
        """The request, worker and locks of the next build, by users' functions; None: no build can start now."""
        try:
            chosen = await self.chooser.choose(builder, request)
        except Exception:
            _log.failure("{builder!r}: a function of the configuration failed: it counts as a refusal", builder=builder)
            chosen = None
        if chosen is None and self._workers.available(builder.name):
            self._look_again(builder)
        return chosen

    def _look_again(self, builder: Builder) -> None:
        """Wake a builder after a while, even without an event."""
        name = builder.name
        if self._running and name not in self._again:
            self._again[name] = self._master.reactor.callLater(self.again_s, self._wake_again, name)

    def _wake_again(self, name: str) -> None:
        del self._again[name]
        if name in self._builders:
            if self._draining is not None and name in self._pool_of:
                self._pool_of[name].waiting.remove(self._builders[name].builderid)
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
