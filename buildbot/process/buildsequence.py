"""The steps of a build, run one after the other.

The end of a step is stored in one transaction with the beginning of the next. If that is refused, the end is stored by
single calls, which may change the step's result, and so the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from buildbot.data.updates import UpdateBatch
from buildbot.process.buildcontract import RunningBuild
from buildbot.process.buildpreparation import Prepared
from buildbot.process.buildstoring import stored_together
from buildbot.process.step import BuildStep, StepFactory
from buildbot.util.results import SUCCESS, computeResultAndTermination

#: the name of the second step, if the builder has locks
LOCKS = "locks_acquire"


class StepSequence:
    """The steps of a build, and the build's result from theirs.

    Attributes:
        done: the steps that have ended.
        current: the step that runs now; it is interrupted if the build is stopped.
        prepared: the end of the preparation, until it is stored.
    """

    def __init__(self, build: RunningBuild) -> None:
        self.done: list[BuildStep] = []
        self.current: BuildStep | None = None
        self.prepared: Prepared | None = None
        self._build = build
        self._waiting: list[BuildStep] = []
        self._terminate = False
        #: the step whose end is not stored yet
        self._last: BuildStep | None = None
        #: the build's result without the last step, and whether it was to end
        self._before = SUCCESS, False

    def set(self, steps: list[BuildStep]) -> None:
        """Replace the waiting steps by these."""
        self._waiting = steps

    def add_next(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps right after the one that runs now."""
        self._waiting[:0] = _made(steps)

    def add_last(self, steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> None:
        """Run more steps at the end."""
        self._waiting += _made(steps)

    async def run(self, check: Callable[[], None]) -> None:
        """Run the steps; afterwards the end of the last one may still have to be stored.

        Args:
            check: called before each step; it raises if the build may not go on.
        """
        while True:
            check()
            step = await self._next()
            if step is None:
                return
            self.current = step  # from now on it is interrupted if the build is stopped
            try:
                await step.run_in_build.prepare(self._build)
                if not await self._store_turn(step):
                    self._waiting.insert(0, step)
                    continue
                await step.run_in_build.to_end()
            finally:
                self.current = None
            self.done.append(step)
            self._before = self._build.results, self._terminate
            self._weigh(step)
            if step.run_in_build.end.is_unstored:
                self._last = step

    async def note_locks(self) -> None:
        """Add a step that shows that the build has its builder's locks, which it got before it was started."""
        build = self._build
        update = build.master.data.update
        batch = update.batch()
        self.gather_end(batch)
        step = batch.newStartedStep(build.buildid, LOCKS)
        batch.finishStep(batch.result(step, "stepid"), SUCCESS, False, "locks acquired")
        if await stored_together(build, batch):
            self.end_stored()
            return
        await self.end_piecewise()
        row = await update.newStartedStep(build.buildid, LOCKS)
        await update.finishStep(row["stepid"], SUCCESS, False, "locks acquired")

    @property
    def has_unstored_end(self) -> bool:
        """Whether the end of the last step, with the build's properties, is not stored yet."""
        return self._last is not None

    def gather_end(self, batch: UpdateBatch) -> None:
        """Add the end of the preparation or of the last step to a batch, if it is not stored yet."""
        if self.prepared is not None:
            self.prepared.gather_end(batch)
        if self._last is not None:
            self._last.run_in_build.end.gather(batch)

    def end_stored(self) -> None:
        """The batch of `gather_end` is stored."""
        self.prepared = None
        last, self._last = self._last, None
        if last is not None:
            last.run_in_build.end.stored()

    async def end_piecewise(self) -> bool:
        """Store the end of the last step by single calls, and weigh the step again; False if there was none."""
        if self.prepared is not None:
            prepared, self.prepared = self.prepared, None
            await prepared.end(self._build.master.data.update)
        last, self._last = self._last, None
        if last is None:
            return False
        await last.run_in_build.end.store_piecewise()
        self._build.results, self._terminate = self._before
        self._weigh(last)
        return True

    async def _next(self) -> BuildStep | None:
        build = self._build
        while self._waiting and not build.connection.lost:
            step = self._waiting.pop(0)
            if not (self._terminate or build.stop_reason is not None) or await step.run_in_build.always(build):
                return step
        return None

    async def _store_turn(self, step: BuildStep) -> bool:
        """Store the end of a step with the beginning of the next; False if only the end was stored, by single calls."""
        batch = self._build.master.data.update.batch()
        self.gather_end(batch)
        row = step.run_in_build.gather_beginning(batch)
        if await stored_together(self._build, batch):
            self.end_stored()
            step.run_in_build.has_begun(await row)
            return True
        if await self.end_piecewise():
            return False
        await step.run_in_build.store_beginning()
        return True

    def _weigh(self, step: BuildStep) -> None:
        """Let a step's result count for the build's."""
        if step.results is not None:
            self._build.results, ends = computeResultAndTermination(step, step.results, self._build.results)
            self._terminate = self._terminate or ends


def _made(steps: Iterable[BuildStep | StepFactory[BuildStep]]) -> list[BuildStep]:
    return [step.build() if isinstance(step, StepFactory) else step for step in steps]
