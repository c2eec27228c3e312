"""A worker on demand: an instance of a machine is started when a build needs it, and stopped when no build does.

Its *instance* is asleep, starting, awake or stopping. The first build that needs it starts it; further builds wait with
that one. It is awake once its agent has logged in. A start ends early if `start_instance` fails, if the instance is not
well (`check_instance`), if the agent does not log in within ``missing_timeout``, or if no build waits any more. Each
start is followed by one `stop_instance`, also after a failure, and the next start comes only after that; so no instance
is left behind, and none is started twice.

An instance whose last build has ended goes on for ``build_wait_timeout``. One that loses its agent is stopped at once:
its builds are released, and the next build gets a new instance.

A master that starts calls `find_instance`: an earlier master may have left an instance. If its agent logs in it is
used; if not, the instance is stopped.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import Enum
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.data.interfaces import Master
from buildbot.interfaces import (
    ConfiguredLatentWorker,
    ConfiguredWorker,
    LatentWorkerCannotSubstantiate,
    LatentWorkerFailedToSubstantiate,
    LatentWorkerSubstantiatiationCancelled,
    is_on_demand,
)
from buildbot.process.machines import MachineState, ManagedMachine
from buildbot.process.workers.connection import Connection, RemoteError, WorkerLostError
from buildbot.process.workers.managed import BuildLike, ManagedWorker, NotPreparedError
from buildbot.resources.workers import WorkerDict
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved
from buildbot.util.results import EXCEPTION, RETRY

_log = Logger()

#: seconds that `stop_instance` may take
STOP_TIMEOUT_S = 600.0
#: seconds that a start may go on when the master stops
CLOSE_TIMEOUT_S = 60.0
_NOT_YET = "the worker is not connected yet"


class State(Enum):
    """The state of an instance; the value is a text for people."""

    ASLEEP = "started when it is needed"
    STARTING = "its instance is being started"
    AWAKE = "its instance runs"
    STOPPING = "its instance is being stopped"


class AwaitedConnection(Connection):
    """A stand-in for the connection of an agent that has not logged in yet; all requests fail."""

    def __init__(self) -> None:
        super().__init__("nowhere")

    async def get_info(self) -> dict[str, Any]:
        raise WorkerLostError(_NOT_YET)

    async def set_builders(self, directories: Sequence[tuple[str, str]]) -> None:
        raise WorkerLostError(_NOT_YET)

    async def say(self, text: str) -> None:
        raise WorkerLostError(_NOT_YET)

    async def ping(self) -> None:
        raise WorkerLostError(_NOT_YET)

    async def start_command(self, builder: str, command_id: str, name: str, args: dict[str, Any]) -> None:
        raise WorkerLostError(_NOT_YET)

    async def interrupt_command(self, builder: str, command_id: str, why: str) -> None:
        raise WorkerLostError(_NOT_YET)

    async def shutdown(self) -> None:
        raise WorkerLostError(_NOT_YET)

    def read(self, on: bool) -> None:
        """There is nothing to read."""

    def close(self) -> None:
        """It is not open."""


class LatentManagedWorker(ManagedWorker):
    """A configured worker on demand."""

    def __init__(
        self, master: Master, config: ConfiguredWorker, workerid: int, on_change: Callable[[str], None]
    ) -> None:
        super().__init__(master, config, workerid, on_change)
        self.state = State.ASLEEP
        self._awaited = True  # a sleeping worker is not missing
        #: the configured worker that started the instance, and must stop it; the configuration may have changed since
        self._owner = _on_demand(config)
        self._outdated = False
        #: builds that wait for the instance, and the build that it is started for
        self._waiting: dict[BuildLike, Deferred[None]] = {}
        self._first: BuildLike | None = None
        #: fires when the agent has logged in; fails with the error that makes that impossible
        self._agent: Deferred[None] = Deferred()
        #: the present start or stop, and the Deferred that fires at its end
        self._work: Deferred[Any] | None = None
        self._activity: Deferred[None] | None = None
        self._idle: IDelayedCall | None = None
        #: builders whose builds cannot use the instance that runs
        self._incompatible: set[str] = set()
        self._looked_for_instance = False
        #: the machine that its instances run on, where the configuration starts that, and the one that it holds now
        self.machine: ManagedMachine | None = None
        self._held: ManagedMachine | None = None

    # for the distributor and builds

    def has_room(self) -> bool:
        """Whether it may start a build of some builder now; its instance need not run."""
        return (
            not self._closed
            and not self._outdated
            and not self.paused
            and not self.graceful
            and not self.quarantine.is_on
            and (self.config.max_builds is None or len(self.builds) < self.config.max_builds)
        )

    def can_take(self, builder: str) -> bool:
        """Whether it may start a build of this builder now."""
        return super().can_take(builder) and not (self.builds and builder in self._incompatible)

    def connection_for_builds(self) -> Connection:
        """The connection that a new build is made with; its agent need not have logged in yet."""
        return self.connection or AwaitedConnection()

    def _missing_timeout_s(self) -> float:
        return 0

    async def prepare(self, build: BuildLike, connection: Connection) -> Connection:
        """The connection of its agent, once the instance runs."""
        while True:
            if self._closed:
                raise WorkerLostError("the master does not use it any more")
            if self.state is State.AWAKE and self.connection is not None:
                self._stop_idling()
                if build is self._first or await self._suits(build):
                    return self.connection
                if len(self.builds) > 1:
                    self._incompatible.add(build.builder_name)
                    text = "worker not available: its instance does not suit this build, and other builds use it"
                    raise NotPreparedError(text, RETRY)
                self._begin(self._stop)
            waiting: Deferred[None] = Deferred(lambda _: self._gave_up(build))
            self._waiting[build] = waiting
            if self.state is State.ASLEEP and self._activity is None:
                self._begin(self._start, build)
            await waiting

    async def _suits(self, build: BuildLike) -> bool:
        if self._outdated:
            return False
        try:
            return bool(await resolved(self._owner.isCompatibleWithBuild(build)))
        except Exception as problem:
            text = f"worker cannot substantiate: isCompatibleWithBuild failed: {_message_of(problem)}"
            raise NotPreparedError(text, EXCEPTION, _trace(problem)) from None

    def _gave_up(self, build: BuildLike) -> None:
        """A waiting build was stopped."""
        self._waiting.pop(build, None)
        if not self._waiting and self.state is State.STARTING and not self._agent.called:
            self._agent.errback(LatentWorkerSubstantiatiationCancelled("no build waits for it any more"))

    def release(self, builder: str, results: int | None = None) -> None:
        """The build has ended."""
        if results == EXCEPTION and self.quarantine.is_on:
            results = None  # a failed start has begun the quarantine already
        super().release(builder, results)
        if not self.builds:
            self._incompatible.clear()
            self._idle_from_now()

    async def _after_build(self) -> None:
        if not (self.graceful and not self.builds):
            await self._refresh_builders()
        self._on_change(self.name)

    # its instance

    def _begin(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Begin a start or a stop of the instance; one at a time."""
        assert self._activity is None, "an instance is started or stopped, not both"
        activity = self._activity = Deferred()
        self._work = in_background(work(*args), f"instance of worker {self.name!r}")
        self._work.addBoth(lambda _: self._ended(activity))

    def _ended(self, activity: Deferred[None]) -> None:
        """The start or stop has ended; begin the next one, if needed."""
        self._activity = self._work = None
        if self.state is State.AWAKE and self.connection is None:
            self._begin(self._stop)
        elif self.state is State.AWAKE:
            waiting, self._waiting = self._waiting, {}
            for each in waiting.values():
                each.callback(None)
            self._idle_from_now()
        elif self._waiting and self._closed:
            self._fail(WorkerLostError("the master does not use it any more"))
        elif self._waiting:
            self._begin(self._start, next(iter(self._waiting)))
        activity.callback(None)

    def _to(self, state: State) -> None:
        self.state = state
        self.show_condition()

    def state_string(self) -> str | None:
        """The state of its instance, while it starts or stops."""
        return None if self.state is State.AWAKE else self.state.value

    async def _start(self, build: BuildLike) -> None:
        """Start the instance for a build, and for the builds that wait with it."""
        self._owner, self._first, self._outdated = _on_demand(self.config), build, False
        self._agent = Deferred()
        self._to(State.STARTING)
        _log.info("worker {name}: its instance is started for {build}", name=self.name, build=build)
        try:
            await self._bring_up(build)
        except Exception as problem:
            await self._start_failed(problem)
        else:
            self._to(State.AWAKE)
        finally:
            self._agent.addErrback(lambda failure: None)  # it is reported already

    async def _bring_up(self, build: BuildLike) -> None:
        """Return when the agent has connected; raise the failure of the start. A machine that boots is waited for."""
        machine = self._held = self.machine
        if machine is not None:
            await machine.hold(self.name)
        while True:
            if not self._waiting:
                raise LatentWorkerSubstantiatiationCancelled("no build waits for it any more")
            try:
                await self._bring_up_instance(build)
                break
            except (
                LatentWorkerCannotSubstantiate,
                LatentWorkerSubstantiatiationCancelled,
                TimeoutError,
                WorkerLostError,
            ):
                raise
            except Exception as problem:
                if machine is None or not machine.boots or self._closed:
                    raise
                _log.info("worker {name}: its machine boots: {why}", name=self.name, why=_message_of(problem))
            self._agent.addErrback(lambda failure: None)  # the loop above has checked whether a build still waits
            self._agent = Deferred()
            await self._stop_instance(fast=False)
            await deferLater(self._master.reactor, self._owner.check_instance_interval)
        if machine is not None:
            machine.has_come(self.name)

    async def _bring_up_instance(self, build: BuildLike) -> None:
        late = None
        timeout_s = self._owner.missing_timeout
        started = ensureDeferred(resolved(self._owner.start_instance(build)))
        if timeout_s:
            late = self._master.reactor.callLater(timeout_s, self._too_late, started, timeout_s)
        checks = LoopingCall(self._check_instance)
        checks.clock = self._master.reactor
        try:
            answer = await started
            if answer is False:
                raise LatentWorkerFailedToSubstantiate("start_instance says that it could not start the instance")
            if not self._waiting and not self._agent.called:
                raise LatentWorkerSubstantiatiationCancelled("no build waits for it any more")
            if not self._agent.called:
                looking = checks.start(self._owner.check_instance_interval, now=False)
                looking.addErrback(self._is_not_well)
            await self._agent
        except CancelledError:
            raise TimeoutError(f"start_instance did not end within {timeout_s} s") from None
        finally:
            if checks.running:
                checks.stop()
            if late is not None and late.active():
                late.cancel()

    async def _look_at_instance(self) -> None:
        answer = await resolved(self._owner.check_instance())
        well, message = answer if isinstance(answer, tuple) else (answer, "")
        if not well:
            raise LatentWorkerFailedToSubstantiate(f"its instance is not well: {message}")

    def _check_instance(self) -> Deferred[None]:
        return ensureDeferred(self._look_at_instance())

    def _is_not_well(self, failure: Failure) -> None:
        self._cannot_come(failure.value or WorkerLostError("its instance cannot be looked at"))

    def _cannot_come(self, problem: BaseException) -> None:
        if not self._agent.called:
            self._agent.errback(problem)

    def _too_late(self, started: Deferred[Any], timeout_s: float) -> None:
        """Limit the time of `start_instance` and of the agent's login."""
        self._report_missing(time.ctime(self._master.wall_seconds() - timeout_s))
        self._cannot_come(TimeoutError(f"its agent did not log in within {timeout_s} s"))
        if not started.called:
            started.cancel()

    async def _start_failed(self, problem: Exception) -> None:
        """Fail the builds, put the worker in quarantine, and stop the instance."""
        cancelled = isinstance(problem, LatentWorkerSubstantiatiationCancelled)
        if cancelled or self._closed:
            _log.info("worker {name}: its instance is not needed: {why}", name=self.name, why=problem)
        else:
            _log.warn("worker {name} could not be started: {why}", name=self.name, why=_message_of(problem))
            self.quarantine.enter(f"it could not be started: {_message_of(problem)}")
        if not cancelled:
            self._fail(problem)
        await self._stop()

    def _fail(self, problem: Exception) -> None:
        """End every waiting build; a build that cannot run on the worker is not tried again."""
        waiting, self._waiting = self._waiting, {}
        for build, each in waiting.items():
            why, details = _message_of(problem), _trace(problem)
            if isinstance(problem, WorkerLostError):
                each.errback(problem)
            elif isinstance(problem, LatentWorkerCannotSubstantiate) and build is self._first:
                each.errback(NotPreparedError(f"worker cannot substantiate: {why}", EXCEPTION, details))
            else:
                each.errback(NotPreparedError(f"worker not available: {why}", RETRY, details))

    async def _stop(self, fast: bool = False) -> None:
        """Stop the instance, its agent first."""
        self._stop_idling()
        self._to(State.STOPPING)
        self._first = None
        if self.connection is not None:
            await self.shut_down("its instance is not needed any more")
        await self._stop_instance(fast or self._closed)
        held, self._held = self._held, None
        if held is not None:
            held.let_go(self.name)
        self._outdated = False
        self._incompatible.clear()
        self._to(State.ASLEEP)
        if self.graceful:
            self.graceful = False
            await self._master.data.update.setWorkerState(self.workerid, graceful=False)
        if not self._closed:
            self._on_change(self.name)

    async def _stop_instance(self, fast: bool) -> None:
        stopping = ensureDeferred(resolved(self._owner.stop_instance(fast)))
        stopping.addTimeout(STOP_TIMEOUT_S, self._master.reactor)
        try:
            await stopping
        except Exception:
            _log.failure("worker {name}: its instance may be left behind: stop_instance failed", name=self.name)

    def _idle_from_now(self) -> None:
        """No build uses the instance: stop it after ``build_wait_timeout``."""
        self._stop_idling()
        if self.state is not State.AWAKE or self.builds or self._activity is not None:
            return
        wait_s = 0.0 if self.graceful or self._outdated else self._owner.build_wait_timeout
        if wait_s >= 0:
            self._idle = self._master.reactor.callLater(wait_s, self._not_needed)

    def _stop_idling(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None and idle.active():
            idle.cancel()

    def _not_needed(self) -> None:
        self._idle = None
        if self.state is State.AWAKE and not self.builds and self._activity is None:
            self._begin(self._stop)

    # its agent

    async def attach(self, connection: Connection) -> None:
        """Take a new connection into service, if the instance is awaited.

        Raises:
            RemoteError: no build waits for it; and the errors of `ManagedWorker.attach`.
        """
        if self.state is not State.STARTING:
            raise RemoteError(f"it is a worker on demand, and no build waits for it now ({self.state.value})")
        await super().attach(connection)
        connection.on_lost(lambda reason: self._agent_lost())
        if self.state is not State.STARTING or self._agent.called:
            self.drop(connection, "its instance is not needed any more")
            raise RemoteError("no build waits for it any more")
        self._agent.callback(None)

    def _agent_lost(self) -> None:
        if self.state is State.AWAKE and self._activity is None and not self._closed:
            self._begin(self._stop)

    async def control(self, action: str) -> None:
        """Obey a control event; a shutdown after its builds stops its instance."""
        if action == "stop" and not self.builds and self.state is State.ASLEEP:
            await self._master.data.update.setWorkerState(self.workerid, graceful=False)
        elif action == "stop":
            self.graceful = True
            self._idle_from_now()
        else:
            await super().control(action)

    # its configuration

    async def configure(self, config: ConfiguredWorker, directories: Mapping[str, str]) -> None:
        """Take over a new configuration. An instance that was started by another one is stopped when it is idle."""
        asleep = self.state is State.ASLEEP and self._activity is None
        if not asleep and config is not self._owner:
            if self._owner == config:
                config = self._owner
            else:
                self._outdated = True
                self._idle_from_now()
        await super().configure(config, directories)
        if not self._looked_for_instance:
            self._looked_for_instance = True
            self._owner = _on_demand(config)
            row: WorkerDict | None = await self._master.data.get({}, ("workers", self.workerid))
            self.paused = bool(row and row["paused"])
            self.show_condition()
            self._begin(self._find)
        self._on_change(self.name)

    async def _find(self) -> None:
        """Use an instance that an earlier master left, or stop it."""
        try:
            found = await resolved(self._owner.find_instance())
        except Exception:
            _log.failure("worker {name}: find_instance failed", name=self.name)
            return
        if not found:
            return
        _log.info("worker {name}: an instance of an earlier master is there; its agent is awaited", name=self.name)
        self._agent = Deferred()
        self._to(State.STARTING)
        late = self._master.reactor.callLater(
            self._owner.missing_timeout, self._cannot_come, TimeoutError("the agent of the old instance did not come")
        )
        try:
            await self._agent
        except Exception as problem:
            _log.info("worker {name}: its old instance is stopped: {why}", name=self.name, why=_message_of(problem))
            await self._stop()
            return
        finally:
            if late.active():
                late.cancel()
            self._agent.addErrback(lambda failure: None)  # it is reported already
        if self.machine is not None:
            self._held = self.machine
            self._held.has_come(self.name)
        self._to(State.AWAKE)

    async def close(self) -> None:
        """The master stops, or does not have the worker any more: stop its instance."""
        self._closed = True
        self._stop_idling()
        self._fail(WorkerLostError("the master does not use it any more"))
        if self.state is State.STARTING:
            self._cannot_come(LatentWorkerSubstantiatiationCancelled("the master stops"))
            if self._held is not None and self._held.state is MachineState.STARTING:
                self._give_up_work()
        late = self._master.reactor.callLater(CLOSE_TIMEOUT_S, self._give_up_work)
        while self._activity is not None:
            await self._activity
        if late.active():
            late.cancel()
        if self.state is State.AWAKE:
            await self._stop(fast=True)
        await super().close()
        await self._master.data.update.set_worker_condition(self.workerid)

    def _give_up_work(self) -> None:
        if self._work is not None:
            self._work.cancel()


def _on_demand(config: ConfiguredWorker) -> ConfiguredLatentWorker:
    """A configured worker as one on demand; TypeError if it is none."""
    if not is_on_demand(config):
        raise TypeError(f"worker {config.name!r} is no worker on demand")
    return config


def _message_of(problem: BaseException) -> str:
    """An error in words; the exception's class if its text is empty."""
    text = str(problem)
    known = isinstance(
        problem, (LatentWorkerFailedToSubstantiate, LatentWorkerCannotSubstantiate, TimeoutError, RemoteError)
    )
    return text if text and known else f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _trace(problem: BaseException) -> str:
    return "".join(traceback.format_exception(problem))
