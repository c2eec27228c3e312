"""What a step shows first: its first summary, and the logs that it begins at once; stored together."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.process.buildstoring import stored_together
from buildbot.process.logs import Log
from buildbot.process.logwriter import FIRST_S
from buildbot.process.stepcalls import failure_of
from buildbot.process.stepcontract import RunningStep
from buildbot.util.deferreds import Waiters


class StepOpening:
    """The first summary of a step and the creation of its logs.

    They wait for `FIRST_S`: a step that has ended by then stores them with its end, in one transaction.

    Args:
        step: the step.

    Attributes:
        failure: why they could not be stored; None if they could, or were not tried yet.
    """

    def __init__(self, step: RunningStep) -> None:
        self.failure: Failure | None = None
        self._step = step
        self._text: str | None = None
        self._logs: list[Log] = []
        self._is_storing = False
        self._end_waiters = Waiters()
        self._waits_for_end = False
        self._timer: IDelayedCall | None = None

    def show(self, text: str) -> None:
        """Store the first summary, soon."""
        self._text = text
        self._store_later()

    def create(self, log: Log) -> None:
        """Create a log, soon."""
        log.want()
        self._logs.append(log)
        self._store_later()

    def _store_later(self) -> None:
        if self._timer is None and not self._waits_for_end:
            self._timer = self._step.master.reactor.callLater(FIRST_S, self._store_now)

    def _store_now(self) -> None:
        self._timer = None
        ensureDeferred(self.store()).addErrback(self._step.build.write_failed)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def store(self, log: Log | None = None) -> None:
        """Store what waits, and with it the creation of ``log``; returns once all of it is stored.

        Calls return in their order, so that what their callers write next is in this order, too.
        """
        if log is not None and log not in self._logs:
            self._logs.append(log)
        while self._is_storing or self._text is not None or self._logs:
            stored = self._end_waiters.wait()
            if not self._is_storing:
                self._begin_to_store()
            await stored

    def _begin_to_store(self) -> None:
        """Store what waits now; `_end_waiters` hear of the end."""
        self._stop_timer()
        text, logs = self._text, [each for each in self._logs if each.logid is None]
        self._text, self._logs = None, []
        self._is_storing = True
        ensureDeferred(self._store(text, logs)).addBoth(self._has_stored)

    def _has_stored(self, result: Failure | None) -> None:
        self._is_storing = False
        if result is None:
            self._end_waiters.release()
        else:
            self.failure = result
            self._end_waiters.fail(result)

    async def _store(self, text: str | None, logs: list[Log]) -> None:
        update, stepid = self._step.master.data.update, self._step.stepid
        batch = update.batch()
        if text is not None:
            batch.setStepStateString(stepid, text)
        for log in logs:
            log.gather_open(batch)
        if not await stored_together(self._step, batch) and text is not None:
            # the error is that of the wrong call; each log is created with its first text
            await update.setStepStateString(stepid, text)

    async def wait_for_end(self) -> None:
        """Wait for the present write, and leave what waits to the end of the step."""
        self._waits_for_end = True
        self._stop_timer()
        while self._is_storing:
            await failure_of(self._end_waiters.wait())  # it is kept in `failure`

    def gather(self, batch: UpdateBatch) -> None:
        """Add the first summary to a batch; the logs are created by their end. `wait_for_end` comes first."""
        if self._text is not None:
            batch.setStepStateString(self._step.stepid, self._text)

    def stored(self) -> None:
        """The batch of `gather` is stored, and all logs have ended."""
        self._text, self._logs = None, []
