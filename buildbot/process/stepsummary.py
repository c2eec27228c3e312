"""The summary of a step, which is read from its methods and stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import DeferredLock, TimeoutError, ensureDeferred
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.process.loglines import storable
from buildbot.process.logs import Log
from buildbot.process.stepcontract import RunningStep
from buildbot.util.deferreds import resolved
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, WARNINGS

#: seconds in which a step must give its summary
SUMMARY_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class _Opening:
    """The first summary of a step, gathered to be stored with the creation of its first log."""

    batch: UpdateBatch
    text: str


class StepSummary:
    """The summary of a step in the database.

    The first summary waits for the end of the reactor's turn, so that a log that the step begins at once is created in
    the same transaction.

    Attributes:
        failure: why the first summary could not be stored; None if it could, or was not tried yet.
    """

    def __init__(self, step: RunningStep) -> None:
        self.failure: Failure | None = None
        self._step = step
        self._opening: _Opening | None = None
        self._opening_turn = DeferredLock()
        self._timer: Any = None

    def kept(self, text: str) -> str:
        """``text`` without secrets, and without characters that databases refuse."""
        return storable(self._step.build.properties.redactor.clean(text))

    async def result(self) -> str:
        """`getResultSummary` of the step, without secrets."""
        summary = await in_time(self._step, self._step.getResultSummary(), "getResultSummary()")
        return self.kept(summary.get("step", "finished"))

    async def show(self) -> None:
        """Store `getCurrentSummary`, or `getResultSummary` once the step has ended."""
        step = self._step
        getter = step.getCurrentSummary if step.results is None else step.getResultSummary
        summary = await in_time(step, getter(), f"{getter.__name__}()")
        update = await self.update()
        await update.setStepStateString(step.stepid, self.kept(summary.get("step", "finished")))

    async def show_soon(self) -> None:
        """Store `getCurrentSummary` together with the first log; alone if no log is begun at once."""
        step = self._step
        summary = await in_time(step, step.getCurrentSummary(), "getCurrentSummary()")
        text = self.kept(summary.get("step", "finished"))
        batch = step.master.data.update.batch()
        batch.setStepStateString(step.stepid, text)
        self._opening = _Opening(batch, text)
        self._timer = step.master.reactor.callLater(0, self._store_soon)

    def _store_soon(self) -> None:
        ensureDeferred(self.store_first()).addErrback(self._step.build.write_failed)

    async def store_first(self, log: Log | None = None) -> None:
        """Store the first summary, and with it the creation of ``log``; returns once the first summary is stored."""
        async with self._opening_turn:
            opening, self._opening = self._opening, None
            if opening is None:
                return
            if self._timer.active():
                self._timer.cancel()
            if log is not None:
                log.gather_open(opening.batch)
            try:
                try:
                    await opening.batch.send()
                except NotClaimedError:
                    raise
                except Exception as problem:
                    if is_unavailable(problem):
                        raise
                    # by single calls, so that the error is that of the wrong one: the summary or the log
                    await self._step.master.data.update.setStepStateString(self._step.stepid, opening.text)
            except Exception:
                self.failure = Failure()
                raise

    async def update(self) -> Any:
        """The update methods, once the first summary is stored."""
        await self.store_first()
        return self._step.master.data.update

    async def for_build(self) -> str:
        """The step's part of the build's final text; may be empty."""
        step = self._step
        policy = step.updateBuildSummaryPolicy
        if policy is None:
            policy = [EXCEPTION, RETRY, CANCELLED]
            policy += [FAILURE] if step.flunkOnFailure or step.haltOnFailure or step.warnOnFailure else []
            policy += [WARNINGS] if step.warnOnWarnings or step.flunkOnWarnings else []
        if policy is False or (policy is not True and step.results not in policy):
            return ""
        summary = await in_time(step, step.getBuildResultSummary(), "getBuildResultSummary()")
        return str(summary.get("build", ""))


async def in_time(step: RunningStep, value: Any, what: str) -> Any:
    """The result of ``value``, which may be a Deferred or a coroutine of a user's.

    Raises:
        RuntimeError: there is none within `SUMMARY_TIMEOUT_S`, for which the end of the step waits; the text has
            ``what``.
    """
    given = ensureDeferred(resolved(value))
    given.addTimeout(SUMMARY_TIMEOUT_S, step.master.reactor)
    try:
        return await given
    except TimeoutError:
        raise RuntimeError(f"{what} of {step!r} gave nothing within {SUMMARY_TIMEOUT_S:g} s") from None
