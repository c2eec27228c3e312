"""Machines of a running master: started for the workers that run on them, and stopped when none needs them.

A worker *holds* its machine while its instance or its agent is needed. The first worker that holds a machine starts it;
other workers wait for the same start. When the last worker has let go, the machine runs for its ``build_wait_timeout``
and is stopped. A start that failed is followed by a stop, too, so that nothing is left running; the workers that waited
for it get the reason.

After its start a machine *boots* until one of its workers has connected, for its ``missing_timeout`` at most. Work that
fails on it meanwhile may be tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, cast

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from buildbot.data.interfaces import Master
from buildbot.interfaces import LatentMachine, LatentWorkerFailedToSubstantiate, MachineLike
from buildbot.process.multiservice import AsyncMultiService
from buildbot.process.service import BuildbotService
from buildbot.util.background import in_background
from buildbot.util.deferreds import Waiters, resolved

_log = Logger()

#: seconds that stopping a machine may take before it is given up
STOP_TIMEOUT_S = 600.0


class MachineState(Enum):
    """The state of a machine; the value is shown to users."""

    STOPPED = "stopped"
    STARTING = "being started"
    STARTED = "running"
    STOPPING = "being stopped"


class MachineNotStartedError(LatentWorkerFailedToSubstantiate):
    """A machine could not be started; the message says which and why."""


class ManagedMachine:
    """A machine on demand of the configuration.

    Args:
        reactor: measures the time.
        machine: its configuration.

    Attributes:
        state: its current state.
    """

    def __init__(self, reactor: IReactorTime, machine: LatentMachine) -> None:
        self.machine = machine
        self.state = MachineState.STOPPED
        self._reactor = reactor
        self._holders: set[str] = set()
        #: the workers that wait for the end of the current start or stop
        self._waiters = Waiters()
        self._idle: IDelayedCall | None = None
        self._starting: Deferred[Any] | None = None
        self._boots_until = 0.0
        self._touched = False
        self._closed = False
        #: called when its state has changed
        self.on_state: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.machine.name

    def takes_agents(self) -> bool:
        """Whether the agent of a worker on it may connect now: it runs, or an earlier master may have left it running.

        An agent on a machine that was just stopped is refused: its connection would soon be lost again.
        """
        if self.state is MachineState.STOPPED:
            return not self._touched and not self._closed
        return self.state is not MachineState.STOPPING

    @property
    def boots(self) -> bool:
        """Whether it was started so lately that its workers may not be able to connect yet."""
        return self.state is MachineState.STARTED and self._reactor.seconds() < self._boots_until

    async def hold(self, worker: str) -> None:
        """Keep the machine running for a worker until `let_go`, which has to follow, also after a failure.

        Raises:
            MachineNotStartedError: it could not be started.
        """
        self._holders.add(worker)
        self._stop_idling()
        while self.state is MachineState.STOPPING:
            await self._waiters.wait()
        if self._closed:
            raise MachineNotStartedError(f"machine {self.name!r}: the master does not use it any more")
        if self.state is not MachineState.STARTED:
            end = self._waiters.wait()
            if self.state is MachineState.STOPPED:
                in_background(self._start(), f"start of machine {self.name!r}")
            await end

    def has_come(self, holder: str | None = None) -> None:
        """A worker on it has connected: it has booted, or an earlier master left it running.

        Args:
            holder: a worker that needs it from now on.
        """
        self._boots_until = 0.0
        if holder is not None:
            self._holders.add(holder)
        if self.state is MachineState.STOPPED:
            self._to(MachineState.STARTED)
        self._idle_from_now()

    def let_go(self, worker: str) -> None:
        """A worker does not need it any more."""
        if worker in self._holders:
            self._holders.discard(worker)
            self._idle_from_now()

    def retire(self) -> None:
        """Start it no more, and stop it as soon as no worker holds it."""
        self._closed = True
        self._idle_from_now()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done with it."""
        return self._closed and self.state is MachineState.STOPPED

    async def close(self) -> None:
        """Stop it, even if workers hold it; it is not started again. A start that is under way is cancelled."""
        self._closed = True
        self._stop_idling()
        if self._starting is not None:
            self._starting.cancel()
        while self.state in (MachineState.STARTING, MachineState.STOPPING):
            try:
                await self._waiters.wait()
            except MachineNotStartedError as problem:
                _log.info("{problem}", problem=problem)
        if self.state is MachineState.STARTED:
            await self._stop()

    def _to(self, state: MachineState) -> None:
        self.state, self._touched = state, True
        for tell in list(self.on_state):
            tell()

    async def _start(self) -> None:
        machine = self.machine
        self._to(MachineState.STARTING)
        _log.info("machine {name} is started", name=self.name)
        try:
            self._starting = ensureDeferred(resolved(machine.start_machine()))
            self._starting.addTimeout(machine.missing_timeout, self._reactor)
            if await self._starting is False:
                raise MachineNotStartedError("start_machine says that it could not start it")
        except Exception as problem:
            why = "it took too long" if isinstance(problem, TimeoutError) else str(problem) or type(problem).__name__
            _log.warn("machine {name} could not be started: {why}", name=self.name, why=why)
            self._starting = None
            await self._stop(MachineNotStartedError(f"machine {self.name!r} could not be started: {why}"))
            return
        self._starting = None
        self._to(MachineState.STARTED)
        self._boots_until = self._reactor.seconds() + machine.missing_timeout
        self._waiters.release()
        self._idle_from_now()

    async def _stop(self, after: Exception | None = None) -> None:
        """Stop it; after a failed start the workers that waited for it get the failure ``after``."""
        self._stop_idling()
        told = self._waiters
        if after is not None:
            self._waiters = Waiters()
        self._to(MachineState.STOPPING)
        _log.info("machine {name} is stopped", name=self.name)
        try:
            stopping = ensureDeferred(resolved(self.machine.stop_machine()))
            stopping.addTimeout(STOP_TIMEOUT_S, self._reactor)
            if await stopping is False:
                _log.warn("machine {name} may still run: stop_machine says so", name=self.name)
        except Exception as problem:
            why = str(problem) or type(problem).__name__
            _log.warn("machine {name} may still run: stop_machine failed: {why}", name=self.name, why=why)
        self._to(MachineState.STOPPED)
        if after is not None:
            told.fail(after)
        self._waiters.release()

    def _idle_from_now(self) -> None:
        self._stop_idling()
        if self.state is not MachineState.STARTED or self._holders:
            return
        wait_s = 0.0 if self._closed else self.machine.build_wait_timeout
        if wait_s >= 0:
            self._idle = self._reactor.callLater(wait_s, self._not_needed)

    def _stop_idling(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and idle.active():
            idle.cancel()

    def _not_needed(self) -> None:
        self._idle = None
        in_background(self._stop(), f"stop of machine {self.name!r}")


class MachineManager(AsyncMultiService):
    """The machines of the running configuration.

    Args:
        master: the master that they run in.

    Attributes:
        machines: the machines on demand, by name.
    """

    name = "machines"

    def __init__(self, master: Master) -> None:
        super().__init__()
        self.master = master
        self.machines: dict[str, ManagedMachine] = {}
        self._described: dict[str, MachineLike] = {}
        #: machines that the configuration no longer has, while workers of the older one hold them
        self._retired: list[ManagedMachine] = []

    async def configure(self, wanted: Sequence[MachineLike]) -> None:
        """Set the machines of a configuration. A machine that it no longer has is stopped when no worker holds it. A
        machine whose arguments changed takes them at once, so that it is stopped with the new ones.
        """
        if not self.running:
            await self.startService()
        by_name = {each.name: each for each in wanted}
        for name, running in list(self._described.items()):
            new = by_name.get(name)
            if new is None or not running.canReconfigWithSibling(new):
                await self._remove(name)
            else:
                await self._taking(running, _service(running).reconfigServiceWithSibling(_service(new)))
        for name, new in by_name.items():
            if name not in self._described:
                self._described[name] = new
                await self._taking(new, _service(new).setServiceParent(self))
                if isinstance(new, LatentMachine):
                    self.machines[name] = ManagedMachine(self.master.reactor, new)

    async def _remove(self, name: str) -> None:
        self._described.pop(name)
        self._retired = [each for each in self._retired if not each.is_over]
        if name in self.machines:
            machine = self.machines.pop(name)
            machine.retire()
            self._retired.append(machine)

    async def _taking(self, machine: MachineLike, arguments: Deferred[Any]) -> None:
        try:
            await arguments
        except Exception:
            _log.failure("machine {name} could not take its arguments", name=machine.name)

    async def close(self) -> None:
        """Stop all machines that run."""
        machines = [*self.machines.values(), *self._retired]
        self.machines, self._described, self._retired = {}, {}, []
        for each in machines:
            await each.close()
        for service in self.services:
            await resolved(service.disownServiceParent())
        if self.running:
            await self.stopService()


def _service(machine: MachineLike) -> BuildbotService:
    """A machine of a configuration as what it is; the configuration knows no more than its shape."""
    return cast("BuildbotService", machine)


__all__ = ["MachineManager", "MachineNotStartedError", "MachineState", "ManagedMachine"]
