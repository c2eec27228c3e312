"""The summary of a step, which is read from its methods and stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import TimeoutError, ensureDeferred

from buildbot.data.updates import Updates
from buildbot.process.loglines import storable
from buildbot.process.stepcontract import RunningStep
from buildbot.process.stepopening import StepOpening
from buildbot.util.deferreds import Waiters, is_awaitable, resolved
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, RETRY, WARNINGS

#: seconds in which a step must give its summary
SUMMARY_TIMEOUT_S = 60.0


class StepSummary:
    """The summary of a step in the database.

    Args:
        step: the step.
        opening: stores the first summary.
    """

    def __init__(self, step: RunningStep, opening: StepOpening) -> None:
        self._step, self._opening = step, opening
        #: calls of `show`: how many there were, and how many of the first ones are done
        self._asked = self._shown = 0
        self._is_showing = False
        self._end_waiters = Waiters()

    def kept(self, text: str) -> str:
        """``text`` without secrets, and without characters that databases refuse."""
        return storable(self._step.build.properties.redactor.clean(text))

    async def result(self) -> str:
        """`getResultSummary` of the step, without secrets."""
        summary: Mapping[str, str] = await in_time(self._step, self._step.getResultSummary(), "getResultSummary()")
        return self.kept(summary.get("step", "finished"))

    async def show(self) -> None:
        """Store `getCurrentSummary`, or `getResultSummary` once the step has ended.

        One after the other, so that the last one stays; calls that wait for the present one are one call. If that
        fails, the first of them raises the error.
        """
        self._asked += 1
        number = self._asked
        while self._is_showing:
            await self._end_waiters.wait()
        if self._shown >= number:
            return
        self._is_showing, self._shown = True, self._asked
        try:
            await self._show()
        finally:
            self._is_showing = False
            self._end_waiters.release()

    async def _show(self) -> None:
        step = self._step
        getter = step.getCurrentSummary if step.results is None else step.getResultSummary
        summary: Mapping[str, str] = await in_time(step, getter(), f"{getter.__name__}()")
        update = await self.update()
        await update.setStepStateString(step.stepid, self.kept(summary.get("step", "finished")))

    async def show_soon(self) -> None:
        """Store `getCurrentSummary` as the first summary."""
        step = self._step
        summary: Mapping[str, str] = await in_time(step, step.getCurrentSummary(), "getCurrentSummary()")
        self._opening.show(self.kept(summary.get("step", "finished")))

    async def update(self) -> Updates:
        """The update methods, once the first summary is stored."""
        await self._opening.store()
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
        summary: Mapping[str, str] = await in_time(step, step.getBuildResultSummary(), "getBuildResultSummary()")
        return str(summary.get("build", ""))


async def in_time(step: RunningStep, value: object, what: str) -> Any:
    """The result of ``value``, which may be a Deferred or a coroutine of a user's.

    Raises:
        RuntimeError: there is none within `SUMMARY_TIMEOUT_S`, for which the end of the step waits; the text has
            ``what``.
    """
    if not is_awaitable(value):
        return value
    given = ensureDeferred(resolved(value))
    given.addTimeout(SUMMARY_TIMEOUT_S, step.master.reactor)
    try:
        return await given
    except TimeoutError:
        raise RuntimeError(f"{what} of {step!r} gave nothing within {SUMMARY_TIMEOUT_S:g} s") from None
