"""The end of a step: it is determined first, then stored with the next step's beginning, or by single calls."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from twisted.logger import Logger
from twisted.python.failure import Failure

from buildbot.data.updates import UpdateBatch
from buildbot.db.exceptions import NotClaimedError, is_unavailable
from buildbot.process.stepcalls import Calls, failure_of
from buildbot.process.stepcontract import RunningStep, is_of_stop
from buildbot.process.stepdescription import with_result
from buildbot.process.steplogs import StepLogs
from buildbot.process.stepopening import StepOpening
from buildbot.process.steprendering import asked
from buildbot.process.stepsummary import StepSummary, in_time
from buildbot.process.testresults import TestResults
from buildbot.util.results import CANCELLED, EXCEPTION, RETRY

_log = Logger()


@dataclass(frozen=True)
class _Ending:
    """The values to store at the end of a step, besides the rest of its logs."""

    summary: str
    hidden: bool


class StepEnd:
    """The end of a step.

    Args:
        step: the step; its ``results`` are set before.
        calls, opening, logs, summary, results: its parts, which are finished first.
    """

    def __init__(
        self,
        step: RunningStep,
        calls: Calls,
        opening: StepOpening,
        logs: StepLogs,
        summary: StepSummary,
        results: TestResults,
    ) -> None:
        self._step, self._calls, self._opening, self._logs = step, calls, opening, logs
        self._summary, self._results = summary, results
        self._ending: _Ending | None = None
        self._problem: Failure | None = None

    @property
    def is_unstored(self) -> bool:
        """Whether the step has done its work, and its end must be stored."""
        return self._ending is not None

    async def find_out(self, problem: Failure | None) -> None:
        """Determine the end. After an error it is stored at once, by single calls.

        Args:
            problem: the unexpected failure of the step, if any; a failure to store its first summary counts as one.

        Raises:
            NotClaimedError: this master does not own the build any more; nothing more may be written.
        """
        await self._opening.wait_for_end()
        self._problem = problem = problem or self._opening.failure
        if problem is None and self._interruption() is None:
            self._ending = await self._prepare()
        if self._ending is None:
            await self.store_piecewise()

    def gather(self, batch: UpdateBatch) -> None:
        """Add the rest of the logs, and the end of the step, to a batch."""
        step = self._step
        assert self._ending is not None and step.results is not None
        self._opening.gather(batch)
        self._logs.gather_end(batch)
        step.build.gather_properties(batch)
        batch.finishStep(step.stepid, step.results, self._ending.hidden, self._ending.summary)

    def stored(self) -> None:
        """The batch of `gather` is stored."""
        self._ending = None
        self._opening.stored()
        self._logs.end_stored()

    async def store_piecewise(self) -> None:
        """Store the end by single calls, with all errors; this may change the step's results.

        Raises:
            NotClaimedError: as `find_out`.
        """
        step = self._step
        assert step.results is not None
        self._ending = None
        problem, self._problem = self._problem, None
        hidden = await self._close(problem)
        await step.master.data.update.finishStep(step.stepid, step.results, hidden)

    async def finish_results(self) -> None:
        """Store the test results, and complete their sets."""
        await self._results.finish(self._summary.update)

    async def _prepare(self) -> _Ending | None:
        """The values to store; None after an error, which `store_piecewise` then reports."""
        try:
            if not await self._settle():
                return None
            hidden = await self._is_hidden()
            ending = _Ending(await self._summary.result(), hidden)
            return ending if await self._settle() else None  # these functions may have made calls, too
        except NotClaimedError:
            raise
        except Exception:
            self._problem = Failure()
            return None

    async def _settle(self) -> bool:
        """Wait for all calls, prepare the end of all logs, and store the test results; False if a write has failed."""
        while True:
            await self._calls.finish()
            if not await self._logs.prepare_end():
                return False
            await self.finish_results()
            if not self._calls:  # an observer that hears of the end of a log may make calls
                return True

    async def _close(self, problem: Failure | None) -> bool:
        """Close the step's open logs and sets, and store its result; gives whether pages hide it.

        An error here makes the result EXCEPTION, or RETRY if it is of the database, unless the step was cancelled or
        lost its worker. The error is in the log ``err.text``.
        """
        step = self._step
        problems = [problem, *await self._end_parts(), await failure_of(step.build.save_properties())]
        hidden = False
        try:
            hidden = await self._is_hidden()
        except NotClaimedError:
            raise
        except Exception:
            problems.append(Failure())
        failures = self._weighed(problems)
        unclear = await failure_of(self._summary.show())
        if unclear is not None:
            failures += self._weighed([unclear])
            text = with_result("finished", step.results)
            unshown = await failure_of(step.master.data.update.setStepStateString(step.stepid, text))
            failures += [] if unshown is None else [unshown]
        failures += self._weighed(await self._end_parts())  # what these functions have begun
        for said in (self._say_cancelled(), self._say_problems(failures)):
            failed = await failure_of(said)
            if failed is not None:
                _log.failure("the end of {step} could not be written to its logs", failed, step=step)
        return hidden

    def _weighed(self, problems: list[Failure | None]) -> list[Failure]:
        """The failures among these that are not of a stop; the step's result is EXCEPTION or RETRY then."""
        step = self._step
        failures = [each for each in problems if each is not None and not (step.stopped and is_of_stop(each.value))]
        if failures and step.results not in (RETRY, CANCELLED):
            step.results = RETRY if any(_was_database(each) for each in failures) else EXCEPTION
        return failures

    async def _end_parts(self) -> list[Failure | None]:
        """End the calls, logs and sets that there are now, and those that they begin; gives the failures."""
        problems: list[Failure | None] = []
        while True:
            for work in (self._calls.finish, self._opening.store, self._logs.close, self.finish_results):
                problems.append(await failure_of(work()))
            if not self._calls:
                return problems

    async def _is_hidden(self) -> bool:
        step = self._step
        if isinstance(step.hideStepIf, bool):
            return step.hideStepIf
        return bool(await in_time(step, asked(step, step.hideStepIf, step.results, step), "hideStepIf"))

    def _interruption(self) -> str | None:
        """Why the step was interrupted; None if it was not."""
        step = self._step
        if step.results == CANCELLED:
            return str(step.build.stop_reason or "")
        if step.results == RETRY and step.build.connection.lost:
            return f"worker {step.workername} was lost: {step.build.connection.lost_because}"
        return None

    async def _say_cancelled(self) -> None:
        reason = self._interruption()
        if reason:
            name = "cancelled while waiting for locks" if self._step.waits_for_locks else "cancelled"
            await self._logs.add_complete(name, "t", reason)

    async def _say_problems(self, problems: list[Failure]) -> None:
        # a function that fails is asked again when the end is stored by single calls
        problems = list({(type(each.value), str(each.value)): each for each in reversed(problems)}.values())[::-1]
        for problem in problems:
            _log.failure("{step} failed", problem, step=self._step)
        if problems:
            text = "\n".join("".join(traceback.format_exception(problem.value)) for problem in problems)
            await self._logs.add_complete("err.text", "t", text)


def _was_database(failure: Failure) -> bool:
    return failure.value is not None and is_unavailable(failure.value)
