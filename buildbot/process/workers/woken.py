"""A worker whose machine is woken when a build needs it, and put to sleep when none does.

Its agent is started by the machine itself and logs in as any other; while the machine sleeps it is not missing. The
worker holds its machine as long as builds run on it. When the machine is about to be stopped the connection is dropped,
so that the agent tries to log in again as soon as the machine runs again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from buildbot.data.interfaces import Master
from buildbot.interfaces import ConfiguredWorker
from buildbot.process.machines import MachineNotStartedError, MachineState, ManagedMachine
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.latent import AwaitedConnection
from buildbot.process.workers.managed import BuildLike, ManagedWorker, NotPreparedError
from buildbot.resources.workers import WorkerDict
from buildbot.util.results import EXCEPTION, RETRY

_log = Logger()


class WokenManagedWorker(ManagedWorker):
    """A configured worker on a machine on demand."""

    def __init__(
        self, master: Master, config: ConfiguredWorker, workerid: int, on_change: Callable[[str], None]
    ) -> None:
        super().__init__(master, config, workerid, on_change)
        self._awaited = True  # a machine that sleeps is not missing
        self._machine: ManagedMachine | None = None
        #: the machine of the new configuration, used as soon as no build runs
        self._next: ManagedMachine | None = None
        #: builds that wait for the agent
        self._waiting: list[Deferred[Connection]] = []

    @property
    def machine(self) -> ManagedMachine | None:
        """The machine that it runs on; None before it is known."""
        return self._machine

    @machine.setter
    def machine(self, machine: ManagedMachine | None) -> None:
        self._next = machine
        if machine is self._machine or (self.builds and not self._closed):
            return  # running builds stay on their machine
        self.disconnect("it runs on another machine now")
        if self._machine is not None:
            self._machine.on_state.remove(self._machine_changed)
            self._machine.let_go(self.name)
        self._machine = machine
        if machine is not None:
            machine.on_state.append(self._machine_changed)

    def has_room(self) -> bool:
        """Whether it may start a build of some builder now; its machine may sleep."""
        return (
            not self._closed
            and self._machine is not None
            and self._next is self._machine
            and not self.paused
            and not self.graceful
            and not self.quarantine.is_on
            and (self.config.max_builds is None or len(self.builds) < self.config.max_builds)
        )

    def connection_for_builds(self) -> Connection:
        """What a build that is about to begin is made with; its agent need not be there yet."""
        return self.connection or AwaitedConnection()

    def _missing_timeout_s(self) -> float:
        return 0

    async def prepare(self, build: BuildLike, connection: Connection) -> Connection:
        """The connection of its agent, once the machine runs."""
        machine = self._machine
        assert machine is not None  # or it had no room
        try:
            await machine.hold(self.name)
        except MachineNotStartedError as problem:
            if self._closed:
                raise WorkerLostError("the master does not use it any more") from None
            self.quarantine.enter(str(problem))
            raise NotPreparedError(f"worker not available: {problem}", RETRY) from None
        return self.connection or await self._agent(machine)

    async def _agent(self, machine: ManagedMachine) -> Connection:
        """The agent's connection, once it has logged in."""
        limit_s = machine.machine.missing_timeout
        waiting: Deferred[Connection] = Deferred()
        self._waiting.append(waiting)
        waiting.addTimeout(limit_s, self._master.reactor)
        try:
            return await waiting
        except TimeoutError:
            text = f"its agent did not log in within {limit_s} s after machine {machine.name!r} was started"
            self._report_missing(time.ctime(self._master.wall_seconds() - limit_s))
            self.quarantine.enter(text)
            raise NotPreparedError(f"worker not available: {text}", RETRY) from None
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    async def attach(self, connection: Connection) -> None:
        """Take a new connection into service, if the machine runs.

        Raises:
            RemoteError: the machine is stopped; and what `ManagedWorker.attach` raises.
        """
        machine = self._machine
        if machine is None or not machine.takes_agents():
            raise RemoteError("its machine is on demand, and nobody needs it now")
        await super().attach(connection)
        if not machine.takes_agents():
            self.drop(connection, "its machine is stopped")
            raise RemoteError("its machine is being stopped")
        machine.has_come(self.name if self.builds else None)
        self.show_condition()
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(connection)

    def release(self, builder: str, results: int | None = None) -> None:
        """The build has ended."""
        if results == EXCEPTION and self.quarantine.is_on:
            results = None  # its agent did not come: it is in quarantine already
        super().release(builder, results)
        if not self.builds and self._machine is not None:
            self._machine.let_go(self.name)
            self.machine = self._next

    def _machine_changed(self) -> None:
        if self._machine is not None and self._machine.state is MachineState.STOPPING:
            self.disconnect("its machine is stopped")
        self.show_condition()

    def state_string(self) -> str | None:
        """The state of its machine while its agent is not connected."""
        if self.connection is not None or self._machine is None:
            return None
        return f"machine {self._machine.name}: {self._machine.state.value}"

    async def control(self, action: str) -> None:
        """Obey a control event; there is nothing to shut down where nothing runs."""
        if action == "stop" and not self.builds and self.connection is None:
            await self._master.data.update.setWorkerState(self.workerid, graceful=False)
        else:
            await super().control(action)

    async def configure(self, config: ConfiguredWorker, directories: Mapping[str, str]) -> None:
        """Take over a new configuration."""
        first = not self.directories and self.connection is None
        await super().configure(config, directories)
        if first:
            row: WorkerDict | None = await self._master.data.get({}, ("workers", self.workerid))
            self.paused = bool(row and row["paused"])
            self.show_condition()
        self._on_change(self.name)

    async def close(self) -> None:
        """The master stops, or does not have the worker any more."""
        waiting, self._waiting = self._waiting, []
        self._closed = True
        for each in waiting:
            each.errback(WorkerLostError("the master does not use it any more"))
        await super().close()
        self.machine = None
        await self._master.data.update.set_worker_condition(self.workerid)
