"""A step in its build: it begins, runs, and ends.

Its beginning is stored together with the end of the step before, its end with the beginning of the next: see
`buildbot.process.build.Build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.process import steplocks
from buildbot.process.locks import Claim
from buildbot.process.stepcalls import Calls, failure_of
from buildbot.process.stepcontract import BuildStepCancelled, BuildStepFailed, RunningStep, StepBuild, is_of_stop
from buildbot.process.stepend import StepEnd
from buildbot.process.steprendering import (
    asked,
    has_locks,
    render_attributes,
    render_flags,
    render_name,
    render_what_can_be,
)
from buildbot.process.stepsummary import StepSummary
from buildbot.process.stepwork import Outcome, StepWork
from buildbot.process.watched import called
from buildbot.process.workers.connection import WorkerLostError
from buildbot.util.deferreds import resolved
from buildbot.util.results import EXCEPTION, FAILURE, RETRY, SKIPPED


class StepRun:
    """The run of a step, for its build.

    Args:
        step: the step.
        work, calls, summary: its parts.
        end: its end, which the build stores.
    """

    def __init__(self, step: RunningStep, work: StepWork, calls: Calls, summary: StepSummary, end: StepEnd) -> None:
        self.end = end
        self._step, self._work, self._calls, self._summary = step, work, calls, summary
        self._locks: Claim | None = None
        self._unprepared: Failure | None = None

    async def always(self, build: StepBuild) -> bool:
        """Whether the step runs even if the build was halted or stopped; called before `prepare`.

        True also if `alwaysRun` cannot be rendered: then its run reports the error.
        """
        try:
            return bool(await build.properties.render(self._step.alwaysRun))
        except Exception:
            return True

    async def prepare(self, build: StepBuild) -> None:
        """Give the step its build, and render its name and flags; nothing is written."""
        self._step.build = build
        self._unprepared = await failure_of(render_name(self._step))
        self._unprepared = await failure_of(render_flags(self._step)) or self._unprepared

    def gather_beginning(self, batch: UpdateBatch) -> Deferred[Any]:
        """Add the step's row and its start to a batch; the result is for `has_begun`, once the batch is stored."""
        step = self._step
        return batch.newStartedStep(step.build.buildid, step.name, not has_locks(step))

    async def store_beginning(self) -> None:
        """Store the beginning, alone."""
        step = self._step
        self.has_begun(await step.master.data.update.newStartedStep(step.build.buildid, step.name, not has_locks(step)))

    def has_begun(self, row: Mapping[str, Any]) -> None:
        """The beginning is stored."""
        self._step.stepid, self._step.number, self._step.name = row["stepid"], row["number"], row["name"]

    async def to_end(self) -> None:
        """Run the step, which has begun; afterwards only its end must be stored.

        Its result code is in its ``results`` afterwards; RETRY if the worker was lost.

        Raises:
            NotClaimedError: this master does not own the build any more; nothing more may be written.
        """
        results, problem = EXCEPTION, self._unprepared
        if problem is None:
            try:
                results, problem = await self._work.watch(self._run)
            finally:
                if self._locks is not None:
                    self._locks.release()
        self._step.results = results
        await self.end.find_out(problem)

    async def interrupt(self, reason: str | Failure) -> None:
        """Interrupt the step, and end it even if its `interrupt` fails."""
        await self._work.interrupt_run(reason)

    async def summary_for_build(self) -> str:
        """The step's part of the build's final text; may be empty."""
        return await self._summary.for_build()

    async def _run(self) -> Outcome:
        """Decide whether to run, render, and run; gives the result code, and the unexpected failure."""
        step = self._step
        try:
            if not await asked(step, step.doStepIf, step):
                await render_what_can_be(step)
                return SKIPPED, None
            if has_locks(step):
                self._locks = await steplocks.acquire(step)
                await step.master.data.update.setStepLocksAcquired(step.stepid)
            await render_attributes(step)
            await self._summary.show_soon()
            await resolved(step.addTestResultSets())
            results = await self._work.done(called(step.run))
            await self._calls.finish()
            await self.end.finish_results()
            if step.stopped:
                return self._work.results_if_stopped, None
            if type(results) is not int or results not in range(7):
                raise TypeError(f"run() of {step!r} must return a result code, not {results!r}")
            return results, None
        except NotClaimedError:
            raise
        except BuildStepFailed as failed:
            if str(failed):
                step.descriptionDone = str(failed)
            return (self._work.results_if_stopped if step.stopped else FAILURE), None
        except BuildStepCancelled:
            return self._work.results_if_stopped, None
        except WorkerLostError:
            return (self._work.results_if_stopped if step.stopped else RETRY), None
        except Exception as problem:
            if step.stopped:
                return self._work.results_if_stopped, None if is_of_stop(problem) else Failure()
            return (RETRY if is_unavailable(problem) else EXCEPTION), Failure()
