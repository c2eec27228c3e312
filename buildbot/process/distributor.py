"""The distributor: hands build requests to builders whose workers can take them.

It looks for work when something may have changed: a request is new or was given back, a worker may take a
build (it connected, was unpaused, ended a build). Each of these makes some builders *due*. One loop serves
what is due: it asks which of them can start a build, reads their pending requests, the most urgent first
(priority, then age) and few at a time, so that its cost does not grow with the queue; claims a request, and
hands it to its builder. Several masters may do
this at the same time: the claim decides, and who loses it goes on with the next request.

A request whose build cannot be started is given back; its builder rests for a moment, so that a broken one
does not spin.

**Users' functions** (``canStartBuild``, ``nextBuild``, ``nextWorker``, ``prioritizeBuilders``…) may say no for reasons
that nobody announces: the hour, a file, another machine. Whoever they said no to is looked at again after
`Distributor.again_s`. One that fails is logged and counts as a no, for its builder only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from buildbot.data.interfaces import Master
from buildbot.process.builder import Builder
from buildbot.process.buildrequest import BuildRequest, Collapser
from buildbot.process.properties import resolved
from buildbot.process.workers.managed import ManagedWorker
from buildbot.process.workers.manager import WorkerManager
from buildbot.util.background import in_background

_log = Logger()
_PAGE = 20
_CHOICE = 100


class Distributor:
    """Hands out the pending build requests of this master's builders.

    Args:
        master: the master, for its ``data``, ``mq`` and ``reactor``.
        builders: the running builders by name; may change while it runs (then call `wake`).
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
        self._subscriptions: list[Any] = []
        self._due: set[str] = set()
        self._resting: dict[str, Any] = {}
        self._again: dict[str, Any] = {}
        self.collapser = Collapser(master, builders)
        #: ``c['prioritizeBuilders']`` and ``c['select_next_worker']``
        self.prioritize: Callable[..., Any] | None = None
        self.next_worker: Callable[..., Any] | None = None
        self._running = False
        self._loop: Deferred[Any] | None = None

    async def start(self) -> None:
        """Begin to hand out requests, those that wait already first."""
        self._running = True
        self._workers.on_change = self.worker_changed
        for event in ("new", "unclaimed"):
            subscription = await self._master.mq.startConsuming(self._request_event, ("buildrequests", None, event))
            self._subscriptions.append(subscription)
        self.wake()

    async def stop(self) -> None:
        """Hand out nothing more; returns when the request under way is started or given back."""
        self._running = False
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await maybeDeferred(subscription.stopConsuming)
        for timers in (self._resting, self._again):
            for timer in timers.values():
                timer.cancel()
            timers.clear()
        if self._loop is not None:
            await self._loop

    def wake(self, names: Iterable[str] | None = None) -> None:
        """Look for work for these builders, default: for all."""
        self._due.update(self._builders if names is None else names)
        if self._running and self._loop is None and self._due:
            self._loop = in_background(self._serve(), "distributor")
            self._loop.addBoth(self._served)

    def worker_changed(self, worker: str) -> None:
        """A worker may take a build: its builders are due."""
        self.wake(name for name, builder in self._builders.items() if worker in builder.config.workernames)

    def builder_finished(self, builder: Builder) -> None:
        """A build has ended: its builder is due."""
        self.wake([builder.name])

    def _request_event(self, routing_key: tuple[str, ...], message: dict[str, Any]) -> None:
        in_background(self._request_waits(routing_key[-1], message), "distributor")

    async def _request_waits(self, event: str, request: Mapping[str, Any]) -> None:
        builderid = request["builderid"]
        if event == "new":
            await self.collapser.collapse(builderid, request["buildrequestid"])
        self.wake(name for name, builder in self._builders.items() if builder.builderid == builderid)

    def _served(self, _: Any) -> None:
        self._loop = None

    async def _serve(self) -> None:
        while self._due and self._running:
            names, self._due = self._due, set()
            try:
                await self._hand_out(names)
            except Exception:
                _log.failure("build requests could not be handed out; trying again")
                for name in names:
                    self._rest(name)

    async def _hand_out(self, names: set[str]) -> None:
        due = [self._builders[name] for name in sorted(names & self._builders.keys())]
        if self.prioritize is None:
            await self._hand_out_to(due)
            return
        for builder in await self._in_order(due):
            await self._hand_out_to([builder])

    async def _in_order(self, due: list[Builder]) -> list[Builder]:
        """Those that are due, in the order of the user's function; who is left out gets nothing for now."""
        try:
            ordered = list(await self._ask(self.prioritize, self._master, list(self._builders.values())))
        except Exception:
            _log.failure("prioritizeBuilders failed; the most urgent requests go first")
            return due
        for builder in due:
            if builder not in ordered:
                self._look_again(builder)
        return [builder for builder in ordered if builder in due]

    async def _hand_out_to(self, builders: list[Builder]) -> None:
        able = {builder.builderid: builder for builder in builders}
        while True:
            able = {each: builder for each, builder in able.items() if self._can_start(builder)}
            if not able:
                return
            page = await self._pending(list(able), _PAGE)
            for request in page:
                builder = able.get(request["builderid"])
                if builder is not None and not await self._offer(builder, request):
                    del able[builder.builderid]
            if len(page) < _PAGE:
                return

    def _can_start(self, builder: Builder) -> bool:
        wanted = self._running and self._builders.get(builder.name) is builder
        return wanted and builder.name not in self._resting and builder.can_start()

    async def _pending(self, builderids: list[int], limit: int) -> list[dict[str, Any]]:
        query = {
            "filters": {"builderid__eq": builderids, "claimed": False, "complete": False},
            "order": ["-priority", "buildrequestid"],
            "limit": limit,
        }
        found: list[dict[str, Any]] = await self._master.data.get(query, ("buildrequests",))
        return found

    async def _offer(self, builder: Builder, request: dict[str, Any]) -> bool:
        """Start a build for the request if possible; False if the builder can take no further request now."""
        if not self._can_start(builder):
            return False
        chosen = await self._choose(builder, request)
        if chosen is None:
            return False
        request, worker = chosen
        brids = [request["buildrequestid"]]
        if not await self._master.data.update.claimBuildRequests(brids):
            return True  # another master was faster
        try:
            await builder.start_build(request, worker)
        except Exception:
            _log.failure("{builder!r}: no build could be started for request {id}", builder=builder, id=brids[0])
            self._rest(builder.name)
            await self._master.data.update.unclaimBuildRequests(brids)
            return False
        return True

    async def _choose(self, builder: Builder, request: dict[str, Any]) -> tuple[dict[str, Any], ManagedWorker] | None:
        """Which request to start on which worker, as users' functions have it; None: nothing now."""
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
    ) -> tuple[dict[str, Any], ManagedWorker] | None:
        config = builder.config
        candidates = [request]
        if config.nextBuild is not None or config.canStartBuild is not None:
            candidates = await self._pending([builder.builderid], _CHOICE)
        if config.nextBuild is not None:
            offered = [BuildRequest.from_data(each) for each in candidates]
            wanted = await self._ask(config.nextBuild, builder, offered)
            candidates = [each for each in candidates if wanted is not None and each["buildrequestid"] == wanted.id]
        choose = config.nextWorker or self.next_worker
        for each in candidates:
            shown = BuildRequest.from_data(each)
            able = self._workers.available(builder.name)
            if config.canStartBuild is not None:
                able = [worker for worker in able if await self._ask(config.canStartBuild, builder, worker, shown)]
            worker = await self._ask(choose, builder, able, shown) if choose and able else next(iter(able), None)
            if worker in able:
                return each, worker
        return None

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
        if self._running and name not in self._resting:
            self._resting[name] = self._master.reactor.callLater(self.rest_s, self._rested, name)

    def _rested(self, name: str) -> None:
        del self._resting[name]
        self.wake([name])
