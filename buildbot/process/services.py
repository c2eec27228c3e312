"""The process layer as a whole: its parts are started, changed and stopped in the right order.

Start: builders are registered, workers can connect, requests are handed out; then schedulers start, then change
sources, so that each producer finds its consumer running. Stop is the reverse: no new changes, no new buildsets, no new
builds; then the running builds end with RETRY, which releases their requests, and the workers are disconnected.

If another master declares this one dead (it was suspended, or cut off from the database), its claims and links are
released, and its builds may run elsewhere. So its builds are stopped and its workers disconnected. After the next
check-in all builders and workers are registered again. Schedulers and change sources do this by themselves (see
`claimed`).

A new configuration replaces only the parts that differ: a scheduler, change source or worker that was made with the
same arguments as the running one stays, and running builds always go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import DeferredLock, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from buildbot.config.master import MasterConfig
from buildbot.data.exceptions import InvalidControlError
from buildbot.interfaces import ChangeSourceLike, Forcible, SchedulerLike
from buildbot.mq.subscription import Subscription
from buildbot.process.builder import Builder
from buildbot.process.claimed import ClaimedPart, RunningMaster
from buildbot.process.defaults import BuildDefaults
from buildbot.process.distributor import Distributor
from buildbot.process.draining import Draining
from buildbot.process.stoprequests import StopRequests
from buildbot.process.workers.clientports import ClientPorts
from buildbot.process.workers.manager import WorkerManager
from buildbot.resources.schedulers import SchedulerDict
from buildbot.util.background import in_background
from buildbot.util.deferreds import side_by_side
from buildbot.util.results import RETRY

_log = Logger()

#: seconds until the next try of a master that is back but could not begin to build
AGAIN_S = 5.0


class ProcessLayer:
    """Runs the parts of the configuration: change sources, schedulers, workers, builders, the distributor.

    Args:
        master: the master, with its ``data``, ``mq``, ``db``, ``reactor`` and ``basedir``.

    Attributes:
        builders: the running builders by name.
        workers: the worker manager.
        client_ports: the ports where programs that are no workers log in.
        schedulers: the schedulers of the configuration by name.
        change_sources: the change sources of the configuration by name.
    """

    def __init__(self, master: RunningMaster) -> None:
        self.master = master
        self.builders: dict[str, Builder] = {}
        # a program that embeds this layer may have no directory
        self.workers = WorkerManager(master, getattr(master, "basedir", None))
        self.client_ports = ClientPorts(master.reactor, self.workers.clients)
        self.schedulers: dict[str, ClaimedPart] = {}
        self.change_sources: dict[str, ClaimedPart] = {}
        self._stop_requests = StopRequests(master)
        self._distributor = Distributor(master, self.builders, self.workers)
        self._removed: list[Builder] = []
        #: the schedulers that builds may trigger, also while they are being started or replaced
        self._triggered: dict[str, SchedulerLike] = {}
        self._config: MasterConfig
        self._own_events: Subscription | None = None
        self._switching = DeferredLock()
        #: held while the distributor stops or starts for `drain` and `resume`, of which the last one counts
        self._handing_out = DeferredLock()
        self._drains = 0
        #: whether another master declared this one dead; true until it builds again
        self._lost = False
        #: the timer of the next try to build again
        self._again: IDelayedCall | None = None

    @property
    def _is_running(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._own_events is not None

    def getBuilderById(self, builderid: int) -> Builder | None:
        """The running builder with an id, as steps and functions of people's own ask; None if none here has it."""
        return next((each for each in self.builders.values() if each.builderid == builderid), None)

    async def start(self, config: MasterConfig) -> None:
        """Start everything.

        Args:
            config: the `MasterConfig`.
        """
        self.master.data.control_handlers["forceschedulers", "force"] = self._force
        self.master.data.locks = self._distributor.locks.described
        key = ("masters", str(self.master.masterid), None)
        self._own_events = await self.master.mq.startConsuming(self._own_event, key)
        async with self._switching:
            self._config = config
            self._know(config)
            await self._start_building()
            await self._forget_old_forms()
            await self._activate(self.schedulers, _parts(config.schedulers))
            await self._activate(self.change_sources, _by_name(config.change_source))

    async def reconfigure(self, new_config: MasterConfig) -> None:
        """Change to another configuration; not any more once it was stopped.

        Args:
            new_config: the `MasterConfig`.
        """
        async with self._switching:
            if not self._is_running:
                return
            self._config = new_config
            sources, schedulers = _by_name(new_config.change_source), _parts(new_config.schedulers)
            await self._drop(self.change_sources, sources)
            await self._drop(self.schedulers, schedulers)
            self._know(new_config)
            if not self._lost:
                await self._register()
                await self.workers.reconfigure(new_config)
                await self._distributor.configure()
            await self._activate(self.schedulers, schedulers)
            await self._activate(self.change_sources, sources)

    async def listen(self, config: MasterConfig) -> None:
        """Listen at the ports for workers of a configuration; nothing else changes.

        Raises:
            CannotListenError: a port is in use; the ports are the old ones then.
        """
        async with self._switching:
            if self._is_running and not self._lost:  # a lost one opens them when it is back
                await self.workers.listen(config)

    async def stop(self) -> None:
        """Stop everything; running builds end with RETRY, so that they are built again at the next start."""
        if self._own_events is not None:
            await maybeDeferred(self._own_events.stopConsuming)
            self._own_events = None
        self._cancel_again()
        async with self._switching:
            await self._drop(self.change_sources, {})
            await self._drop(self.schedulers, {})
            await self._stop_building("the master is stopping")
        self.master.data.control_handlers.pop(("forceschedulers", "force"), None)

    async def drain(self) -> bool:
        """Start no more builds but those that running builds wait for; returns when none runs. The rest goes on.

        Returns:
            whether none runs; False if `resume` took it back.
        """
        self._drains += 1
        own = self._drains
        async with self._handing_out:
            await self._distributor.drain(Draining(self.master, self._running))
        await self._distributor.settled()
        while self._running():
            for builder in (*self.builders.values(), *self._removed):
                if self._drains != own:
                    return False
                await builder.ended()
            await self._distributor.settled()
        if self._drains != own:
            return False
        async with self._handing_out:
            await self._distributor.stop()
        return True

    async def resume(self) -> None:
        """Start builds again, after `drain`."""
        self._drains += 1
        async with self._handing_out:
            await self._distributor.resume()

    def _running(self) -> set[int]:
        """The ids of the builds that run here."""
        return {buildid for builder in (*self.builders.values(), *self._removed) for buildid in builder.running}

    def _own_event(self, routing_key: tuple[str, ...], message: Mapping[str, object]) -> None:
        if routing_key[-1] == "stopped":
            in_background(self.declared_dead(), "stopping the builds of a master that was declared dead")
        elif routing_key[-1] == "started":
            in_background(self._come_back(), "starting to build again")

    async def declared_dead(self) -> None:
        """Stop building, since another master declared this one dead; it begins again after the next check-in."""
        self._cancel_again()
        async with self._switching:
            if self._is_running and not self._lost:
                self._lost = True
                await self._stop_building("another master declared this one dead")

    async def _come_back(self) -> None:
        async with self._switching:
            self._cancel_again()
            if not self._is_running or not self._lost:
                return
            try:
                await self._start_building()
                self._lost = False
            except Exception:
                _log.failure("this master cannot build again yet; next try in {delay} s", delay=AGAIN_S)
                await self._stop_building("this master could not begin to build again")
                self._again = self.master.reactor.callLater(AGAIN_S, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        in_background(self._come_back(), "starting to build again")

    def _cancel_again(self) -> None:
        again, self._again = self._again, None
        if again is not None:
            again.cancel()

    def _know(self, config: MasterConfig) -> None:
        """Let builds find the schedulers of a configuration, also those that do not run yet."""
        self._triggered.clear()
        for name, part in _parts(config.schedulers).items():
            if name not in self.schedulers:
                part.master = self.master
            self._triggered[name] = cast("SchedulerLike", self.schedulers.get(name, part))

    async def _start_building(self) -> None:
        await self._register()
        await self._distributor.start()
        await self.workers.start(self._config)

    async def _stop_building(self, reason: str) -> None:
        await self._distributor.stop()
        await side_by_side(builder.stop_all(reason, RETRY) for builder in (*self.builders.values(), *self._removed))
        self.builders.clear()
        await self._stop_requests.close()
        await self.workers.stop()

    async def _register(self) -> None:
        """Register the builders and workers of the configuration, here and in the database."""
        config, update = self._config, self.master.data.update
        update.codebase_generator = getattr(config, "codebaseGenerator", None)
        update.revlink = getattr(config, "revlink", None)
        defaults = BuildDefaults.of(config)
        # a program that embeds this layer may leave out settings that have a default
        self._distributor.prioritize = getattr(config, "prioritizeBuilders", None)
        self._distributor.chooser.next_worker = getattr(config, "select_next_worker", None)
        self._distributor.collapser.default = getattr(config, "collapseRequests", False)
        projects = await self._register_projects()
        described = [
            {
                "name": each.name,
                "description": each.description,
                "description_format": each.description_format,
                "tags": list(each.tags),
                "projectid": None if each.project is None else projects[each.project],
            }
            for each in config.builders
        ]
        ids = await update.setBuilders(described)
        for name in self.builders.keys() - ids.keys():
            self._removed.append(self.builders.pop(name))
        self._removed = [each for each in self._removed if each.running or self._distributor.is_taking(each)]
        for each in config.builders:
            if each.name in self.builders:
                self.builders[each.name].config = each
            else:
                builder = Builder(self.master, each, ids[each.name], self.workers)
                builder.on_finished = self._distributor.builder_finished
                builder.schedulers = self._triggered
                builder.locks = self._distributor.locks
                builder.stop_requests = self._stop_requests
                self.builders[each.name] = builder
            self.builders[each.name].defaults = defaults
        await update.setWorkers(
            {
                worker.name: [ids[each.name] for each in config.builders if worker.name in each.workernames]
                for worker in config.workers
            }
        )

    async def _register_projects(self) -> dict[str, int]:
        """Store the configured projects and codebases; gives the ids of the projects by name."""
        update = self.master.data.update
        ids: dict[str, int] = {}
        for each in self._config.projects:
            ids[each.name] = await update.find_project_id(each.name)
            await update.update_project_info(ids[each.name], each.slug, each.description, each.description_format)
        for codebase in self._config.codebases:
            projectid = ids[codebase.project]
            codebaseid = await update.find_codebase_id(projectid=projectid, name=codebase.name)
            await update.update_codebase_info(codebaseid=codebaseid, projectid=projectid, slug=codebase.slug)
        return ids

    async def _drop(self, running: dict[str, ClaimedPart], wanted: Mapping[str, ClaimedPart]) -> None:
        """Stop the parts that were removed or changed."""
        for name, part in list(running.items()):
            if name not in wanted or part != wanted[name]:
                del running[name]
                try:
                    await part.stop_running()
                except Exception:
                    _log.failure("{part!r} could not be stopped cleanly", part=part)

    async def _activate(self, running: dict[str, ClaimedPart], wanted: Mapping[str, ClaimedPart]) -> None:
        """Start the parts that do not run yet."""
        for name, part in wanted.items():
            if name not in running:
                running[name] = part
                await part.run_in(self.master)

    async def _forget_old_forms(self) -> None:
        """Remove the forms that no master serves; a master that was killed leaves them."""
        known: list[SchedulerDict] = await self.master.data.get({}, ("schedulers",))
        for scheduler in known:
            if scheduler["master"] is None and scheduler["name"] not in self._config.schedulers:
                await self.master.data.update.setForceScheduler(scheduler["schedulerid"], None)

    async def _force(self, args: Mapping[str, Any], entity: dict[str, Any]) -> list[Any]:
        # any master with the scheduler in its configuration can serve its form, also without the claim
        async with self._switching:  # while the configuration changes the scheduler may be missing for a moment
            scheduler: object = self.schedulers.get(entity["name"])
        if not isinstance(scheduler, Forcible):
            raise InvalidControlError(f"this master has no force scheduler {entity['name']!r} in its configuration")
        if not entity["enabled"]:
            raise InvalidControlError(f"the force scheduler {entity['name']!r} is switched off")
        return await scheduler.force(args, getattr(self._config, "validation", None))


def _parts(schedulers: Mapping[str, SchedulerLike]) -> Mapping[str, ClaimedPart]:
    """The schedulers of a configuration, typed; the configuration knows only their names."""
    return cast("Mapping[str, ClaimedPart]", schedulers)


def _by_name(sources: Sequence[ChangeSourceLike]) -> Mapping[str, ClaimedPart]:
    """The change sources of a configuration by their names."""
    return {each.name: each for each in cast("Sequence[ClaimedPart]", sources)}
