"""The work of a step, a command on the worker or a wait, and its interruption.

A step is interrupted once: when its build is stopped or taken over by another master, or when the worker is lost. If
the build is built again then, nobody waits for a step without an ``interrupt`` of its own: the Deferred that it waits
for is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from types import MethodType
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.process.logs import Log
from buildbot.process.remotecommand import TIMEOUTS, RemoteCommand
from buildbot.process.stepcontract import BuildStepCancelled, RunningStep
from buildbot.process.steplogs import StepLogs
from buildbot.process.watched import NeverEndsError, Watched, class_name
from buildbot.process.workers.connection import RemoteError, WorkerLostError
from buildbot.util.background import in_background
from buildbot.util.deferreds import Waiters, resolved, side_by_side
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY

_log = Logger()

#: seconds that a step without a command has to end after it was asked to stop
STOP_TIMEOUT_S = 60.0

T = TypeVar("T")
RemoteCommandT = TypeVar("RemoteCommandT", bound=RemoteCommand)

#: the result code of a run, and its unexpected failure
Outcome = tuple[int, Failure | None]


class StepWork:
    """The work of a step: its run, and in it commands and waits, mostly one at a time.

    Args:
        step: the step.
        logs: its logs.
        add_log: the method ``addLog`` of all steps that have none of their own.
        has_interrupt: whether its class has an ``interrupt`` of its own.
    """

    def __init__(self, step: RunningStep, logs: StepLogs, add_log: Callable[..., Any], has_interrupt: bool) -> None:
        self._step, self._logs, self._add_log, self._has_interrupt = step, logs, add_log, has_interrupt
        self._commands: list[RemoteCommand] = []
        self._waits: list[Deferred[Any]] = []
        self._end_waiters = Waiters()
        self._watched: Watched[Outcome] | None = None
        self._is_interrupted = False

    @property
    def results_if_stopped(self) -> int:
        """The result code of the step if it was stopped: RETRY after the loss of the worker."""
        build = self._step.build
        return RETRY if build.connection.lost and build.stop_reason is None else CANCELLED

    async def command(self, command: RemoteCommandT) -> RemoteCommandT:
        """Run a command on the worker to its end; see `BuildStep.runCommand`."""
        step = self._step
        if step.stopped:
            raise BuildStepCancelled
        if command.stdioLogName is not None:
            command.useLog(await self.command_log(command.stdioLogName))
        step.cmd = command
        self._commands.append(command)
        try:
            if not step.stopped:  # it may have been stopped while the log was made
                await command.run(step.build.connection, step.build.builder.name)
        finally:
            self._commands.remove(command)
            self._end_waiters.release()
            step.timed_out = step.timed_out or command.failure_reason() in TIMEOUTS
        if step.stopped:
            raise BuildStepCancelled
        return command

    async def done(self, run: Awaitable[T]) -> T:
        """The result of ``run``, once no command runs any more: it need not have waited for all of them."""
        try:
            result = await run
        except Exception:
            await self._commands_ended()
            raise
        await self._commands_ended()
        return result

    async def _commands_ended(self) -> None:
        while self._commands:
            await self._end_waiters.wait()

    async def command_log(self, name: str) -> Log:
        """The log of a command's output; see `BuildStep.command_log`."""
        if self._logs.is_open(name) or self._step.addLog == MethodType(self._add_log, self._step):
            return self._logs.of_command(name)
        # it may be the log of another step, for which this one does a part of the work
        log: Log = await self._step.addLog(name)
        return log

    async def wait(self, delay: Deferred[T]) -> T:
        """Wait for a Deferred in a way that `interrupt` can end; gives its result."""
        if self._step.stopped:
            raise BuildStepCancelled
        self._waits.append(delay)
        try:
            return await delay
        except Exception:
            if self._step.stopped:
                raise BuildStepCancelled from None
            raise
        finally:
            self._waits.remove(delay)

    async def watch(self, run: Callable[[], Coroutine[Deferred[Any], Any, Outcome]]) -> Outcome:
        """Run the whole step. Users' code in it may block the master, or wait for ever.

        Args:
            run: gives the coroutine of the run. Nothing here may hold the coroutine itself: see `Watched`.
        """
        step = self._step
        connection = step.build.connection
        if step.stopped or connection.lost:  # since its beginning was stored
            return self.results_if_stopped, None
        name = f"step {step.name!r} of class {class_name(type(step))}"
        waits = lambda: bool(self._commands or self._waits)  # noqa: E731
        self._watched = Watched(run(), name, step.master.reactor, waits)
        forget = connection.on_lost(
            lambda reason: in_background(self._worker_lost(reason), f"interruption of {step!r}")
        )
        try:
            return await self._watched.ended
        except NeverEndsError:
            return (self.results_if_stopped if step.stopped else EXCEPTION), Failure()
        finally:
            forget()
            self._watched = None

    async def _worker_lost(self, reason: str) -> None:
        let_go, was_interrupted = self._let_go(), self._is_interrupted
        await self.interrupt_run(Failure(ConnectionLost(reason)))
        if was_interrupted:
            let_go()

    def _let_go(self) -> Callable[[], object]:
        """A function that cancels the Deferred that the step waits for; it does nothing if the step stops by itself."""
        watched = self._watched
        if watched is None or self._has_interrupt or self._commands or self._waits:
            return lambda: None
        # after the code that runs now, which may be the step's own
        return lambda: self._step.master.reactor.callLater(0, watched.cancel)

    async def interrupt(self, reason: str | Failure) -> None:
        """Stop commands and waits. A worker that does not end a command in time loses its connection."""
        self._step.stopped = True
        text = str(reason.value) if isinstance(reason, Failure) else reason
        for wait in list(self._waits):
            wait.cancel()
        if not self._step.build.connection.lost:
            await side_by_side([self._interrupt_command(each, text) for each in self._commands])

    async def _interrupt_command(self, command: RemoteCommand, why: str) -> None:
        if command not in self._commands:  # the end of another one has ended it
            return
        self._expect_end_of_command(command)
        try:
            await command.interrupt(why)
        except (WorkerLostError, RemoteError) as problem:
            _log.warn("{step} could not be interrupted: {problem}", step=self._step, problem=problem)

    async def interrupt_run(self, reason: str | Failure) -> None:
        """Interrupt the step for its build, and end its run even if its `interrupt` fails.

        Before its run, when it may not be in the database yet, and afterwards its `interrupt` is not called.

        If the build is built again, or by another master, the step is not waited for.
        """
        self._step.stopped = True
        if self._is_interrupted:
            return
        self._is_interrupted = True
        if self._watched is None:
            await self.interrupt(reason)
            return
        let_go = self._let_go()
        self._expect_end_of_run(self._watched)
        try:
            await resolved(self._step.interrupt(reason))
        except Exception:
            _log.failure("interrupt() of {step} failed", step=self._step)
        if self._step.build.goes_on_elsewhere:
            let_go()

    def _expect_end_of_run(self, watched: Watched[Outcome]) -> None:
        """End the run some time after it was asked to stop, but not while a command runs on the worker."""
        step = self._step

        def give_up() -> None:
            if watched.ended.called:
                return
            if self._commands:  # its own time limit ends it
                step.master.reactor.callLater(STOP_TIMEOUT_S, give_up)
                return
            _log.warn("{step} does not stop; the build goes on without it", step=step)
            watched.end((self.results_if_stopped, None))
            watched.cancel()

        timer = step.master.reactor.callLater(STOP_TIMEOUT_S, give_up)
        watched.ended.addBoth(_cancelled, timer)

    def _expect_end_of_command(self, command: RemoteCommand) -> None:
        """Disconnect a worker that does not stop a command in time: only that ends the step."""
        step = self._step
        timeout_s = command.stop_timeout_s()
        connection = step.build.connection
        timers: list[IDelayedCall] = []

        def wait() -> None:
            timers.append(step.master.reactor.callLater(timeout_s, give_up))

        def give_up() -> None:
            if connection.held_back:  # its messages are not read, nor is the end of the command
                wait()
            elif command in self._commands:
                _log.warn("worker {worker} does not stop {command}", worker=step.workername, command=command)
                step.worker.drop(connection, f"it did not stop a command within {timeout_s:.0f} s")

        wait()
        command.on_end(lambda: _cancelled(None, timers[-1]))


def _cancelled(result: T, timer: IDelayedCall) -> T:
    if timer.active():
        timer.cancel()
    return result
