"""All workers of this master: their logins, their connections, and the workers that can take a build."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.logger import Logger

from buildbot.config.master import MasterConfig
from buildbot.data.interfaces import Master
from buildbot.interfaces import AgentHost, ConfiguredWorker, HostedWorker, is_on_demand, is_renderable
from buildbot.mq.subscription import Subscription
from buildbot.process.machines import MachineManager, ManagedMachine
from buildbot.process.properties import Properties
from buildbot.process.rendering import rendered
from buildbot.process.workers.clients import Clients
from buildbot.process.workers.connection import Connection, RemoteError
from buildbot.process.workers.door import Strangers
from buildbot.process.workers.idle import WorkerPool
from buildbot.process.workers.latent import LatentManagedWorker
from buildbot.process.workers.login import Login
from buildbot.process.workers.managed import ManagedWorker, directories_of_workers
from buildbot.process.workers.woken import WokenManagedWorker
from buildbot.util import tcp
from buildbot.util.background import in_background
from buildbot.util.deferreds import side_by_side
from buildbot.util.metrics import Family, gauge

_log = Logger()

#: the modules of the protocols, by their names in ``c['protocols']``; only those of open ports are imported
PROTOCOLS: Mapping[str, str] = {
    "pb": "buildbot.process.workers.pb",
    "msgpack_experimental_v7": "buildbot.process.workers.messagepack",
}
#: where agents that this master runs itself connect
OWN = "its own agents"
OWN_PORT = "tcp:0:interface=127.0.0.1"


class WorkerManager:
    """The workers of the running configuration.

    Args:
        master: the master, for its ``data``, ``mq`` and ``reactor``.
        basedir: its directory, where it may run agents of its own; None: the current one.

    Attributes:
        workers: the configured workers by name, connected or not.
        on_change: called with the name of a worker that may have become able to take a build; the distributor sets it.
        clients: the programs that log in at the same port.
        machines: what the workers run on, where the master starts and stops that.
    """

    def __init__(self, master: Master, basedir: Path | None = None) -> None:
        self.workers: dict[str, ManagedWorker] = {}
        self.clients = Clients()
        self.on_change: Callable[[str], None] = lambda name: None
        self._pools: dict[frozenset[str], WorkerPool] = {}
        self._pools_of: dict[str, list[WorkerPool]] = {}
        self._master = master
        self.machines = MachineManager(master)
        self._basedir = (basedir or Path()).absolute()
        self._ports: dict[str, tuple[str, IListeningPort]] = {}
        self._strangers = Strangers(master.reactor)
        self._login = Login(master.reactor, self._password, self._attach, self._ask_graceful, self.clients)
        self._subscriptions: list[Subscription] = []

    @property
    def address(self) -> IAddress | None:
        """The address where workers connect over PB; None while the port is closed."""
        return self.address_of("pb")

    def address_of(self, protocol: str) -> IAddress | None:
        """The address where workers connect over a protocol; None while the port is closed."""
        return self._ports[protocol][1].getHost() if protocol in self._ports else None

    def _port_of(self, protocol: str) -> int | None:
        return getattr(self.address_of(protocol), "port", None)

    async def start(self, config: MasterConfig) -> None:
        """Let workers in as ``config`` says."""
        for callback, filter in (
            (self._on_control, ("control", "worker", None, None)),
            (self._on_master_started, ("masters", str(self._master.masterid), "started")),
        ):
            self._subscriptions.append(await self._master.mq.startConsuming(callback, filter))
        await self.reconfigure(config)

    async def reconfigure(self, config: MasterConfig) -> None:
        """Change to another configuration; workers in both stay connected."""
        wanted = {worker.name: worker for worker in cast("Sequence[ConfiguredWorker]", config.workers)}
        await self._close(self.workers.keys() - wanted.keys())
        await self.machines.configure(getattr(config, "machines", ()))
        kinds = {name: self._kind_of(worker) for name, worker in wanted.items()}
        await self._close(name for name, managed in self.workers.items() if type(managed) is not kinds[name])
        for name, worker in wanted.items():
            if name not in self.workers:
                workerid = await self._master.data.update.findWorkerId(name)
                managed = self.workers[name] = kinds[name](self._master, worker, workerid, self._changed)
                managed.port_of = self._port_of
        directories = directories_of_workers(config.builders)
        # each connected agent is asked, and one that hangs takes its whole time
        await side_by_side(self._configure(worker, directories.get(name, {})) for name, worker in wanted.items())
        await self.listen(config)
        for hosted in [worker for worker in wanted.values() if isinstance(worker, HostedWorker)]:
            await hosted.start_agent(AgentHost(self._master.reactor, self._basedir, self._port_of(OWN) or 0))

    def _kind_of(self, worker: ConfiguredWorker) -> type[ManagedWorker]:
        """The class that manages a worker of the configuration."""
        if is_on_demand(worker):
            return LatentManagedWorker
        return ManagedWorker if self._machine_of(worker) is None else WokenManagedWorker

    def _machine_of(self, worker: ConfiguredWorker) -> ManagedMachine | None:
        """The machine that the master starts and stops for a worker; None if it does not."""
        return self.machines.machines.get(getattr(worker, "machine_name", None) or "")

    async def _configure(self, worker: ConfiguredWorker, directories: Mapping[str, str]) -> None:
        """Give a managed worker its new configuration."""
        managed = self.workers[worker.name]
        if isinstance(managed, LatentManagedWorker | WokenManagedWorker):
            managed.machine = self._machine_of(worker)
        await managed.configure(worker, directories)

    async def _close(self, names: Iterable[str]) -> None:
        """Remove managed workers, and return when all are closed."""
        removed = [self.workers.pop(name) for name in list(names)]
        await side_by_side(worker.close() for worker in removed)

    async def stop(self) -> None:
        """Close the ports, and drop all connections; `start` opens the ports again."""
        await self._listen({})
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await maybeDeferred(subscription.stopConsuming)
        # a closed worker takes no connection any more: a later `start` makes new objects
        workers, self.workers = self.workers, {}
        await side_by_side(_closed(worker) for worker in workers.values())
        await self.machines.close()

    def metrics(self) -> Iterable[Family]:
        """Numbers of the workers of this master."""
        workers = self.workers.values()
        connected = sum(worker.connection is not None for worker in workers)
        yield gauge("workers_configured", "workers that this master's configuration names", len(workers))
        yield gauge("workers_connected", "workers that are connected to it", connected)
        yield gauge("builds_running", "builds that run on this master", sum(len(worker.builds) for worker in workers))

    def available(self, builder: str) -> list[ManagedWorker]:
        """The workers that could start a build of this builder now, those with the fewest running builds first."""
        able = [worker for worker in self.workers.values() if worker.can_take(builder)]
        return sorted(able, key=lambda worker: len(worker.builds))

    def pool(self, names: Collection[str]) -> WorkerPool:
        """The pool of these workers; builders with the same workers share it."""
        key = frozenset(names)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = WorkerPool(key)
            for name in key:
                self._pools_of.setdefault(name, []).append(pool)
                if name in self.workers:
                    pool.offer(self.workers[name])
        return pool

    def keep_pools(self, wanted: Collection[WorkerPool]) -> None:
        """Forget all pools but these."""
        self._pools = {pool.names: pool for pool in wanted}
        self._pools_of = {}
        for pool in self._pools.values():
            for name in pool.names:
                self._pools_of.setdefault(name, []).append(pool)

    async def listen(self, config: MasterConfig) -> None:
        """Listen at the ports of a configuration, and nowhere else.

        Raises:
            CannotListenError: a port is in use; the ports are the old ones then.
        """
        before = {protocol: description for protocol, (description, _) in self._ports.items()}
        ports = {name: config.protocols.get(name, {}).get("port") for name in PROTOCOLS}
        if any(isinstance(worker, HostedWorker) for worker in config.workers):
            ports[OWN] = OWN_PORT
        wanted = {
            protocol: f"tcp:{port}" if str(port).isdigit() else str(port)
            for protocol, port in ports.items()
            if port is not None
        }
        try:
            await self._listen(wanted)
        except BaseException:
            await self._listen(before)
            raise

    async def _listen(self, wanted: Mapping[str, str]) -> None:
        """Listen at these endpoint descriptions by protocol, and nowhere else."""
        for protocol, (description, port) in list(self._ports.items()):
            if wanted.get(protocol) != description:
                del self._ports[protocol]
                await maybeDeferred(port.stopListening)
        for protocol, description in wanted.items():
            if protocol not in self._ports:
                module = import_module(PROTOCOLS.get(protocol, PROTOCOLS["pb"]))
                factory = module.make_factory(self._login, self._strangers)
                port = await tcp.listen(self._master.reactor, description, factory)
                self._ports[protocol] = description, port
                _log.info("workers connect to {address} by {protocol}", address=port.getHost(), protocol=protocol)

    async def _password(self, name: str) -> str | None:
        """The password of a worker; a secret is read at each login, so that it may change."""
        worker = self.workers.get(name)
        if worker is None:
            return None
        password: object = worker.config.password
        if is_renderable(password):
            props = Properties()
            props.master = self._master  # it gives the values of secrets
            try:
                password = await rendered(password, props)
            except Exception:
                _log.failure("the password of worker {name} cannot be rendered; it cannot log in", name=name)
                return None
        return password if isinstance(password, str) and password else None

    async def _attach(self, name: str, connection: Connection) -> None:
        worker = self.workers.get(name)
        if worker is None:
            raise RemoteError("it is not configured any more")
        await worker.attach(connection)

    def _ask_graceful(self, name: str) -> None:
        if name in self.workers:
            in_background(self.workers[name].ask_graceful(), f"shutdown of worker {name!r}")

    def _on_control(self, key: tuple[str, ...], message: dict[str, Any]) -> None:
        for worker in self.workers.values():
            if str(worker.workerid) == key[2]:
                in_background(worker.control(key[3]), f"{key[3]} of worker {worker.name!r}")

    def _on_master_started(self, key: tuple[str, ...], message: dict[str, Any]) -> None:
        # after this master was declared dead, when the database lost its connected workers
        for worker in self.workers.values():
            in_background(worker.announce(), f"worker {worker.name!r}")

    def _changed(self, name: str) -> None:
        worker = self.workers.get(name)
        if worker is not None:
            for pool in self._pools_of.get(name, ()):
                pool.offer(worker)
        self.on_change(name)


async def _closed(worker: ManagedWorker) -> None:
    """Close a worker; a failure is logged."""
    try:
        await worker.close()
    except Exception:
        _log.failure("worker {name!r} could not be closed cleanly", name=worker.name)
