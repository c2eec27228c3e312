"""Steps of tests, and builds that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from buildbot.process.buildstep import BuildStep
from buildbot.test.steps import StepHarness
from buildbot.util.deferreds import resolved


class Own(BuildStep):
    """A step whose work is a function of the step; it returns the results, a coroutine or a Deferred."""

    name = "own"

    def __init__(self, work: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.work = work

    async def run(self) -> int:
        outcome: int = await resolved(self.work(self))
        return outcome


async def run(
    *steps: Any, directory: Path = Path(), script: Any = None, **builder: Any
) -> tuple[StepHarness, list[dict[str, Any]]]:
    """Run the steps in a build.

    Args:
        directory: the master's.
        script: the worker's answers to commands, as for `StepHarness`.
        builder: further arguments of the `BuilderConfig`.

    Returns:
        The harness, and the rows of the steps in their order.
    """
    farm = StepHarness(*steps, script=script, **builder)
    farm.master.basedir = directory
    await farm.run()
    return farm, farm.master.steps(1)[1:]
