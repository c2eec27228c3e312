"""Workers on demand: what a class of them does to start, look after and stop its instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import argument, arguments_of
from buildbot.interfaces import LatentWorkerCannotSubstantiate, holds_renderable
from buildbot.process.configured import Configured
from buildbot.util.deferreds import deferred, resolved
from buildbot.worker.base import AbstractWorker


def _seconds(value: Any) -> int | float:
    checked: int | float = checks.number(float("-inf"))(value)
    if checked != checked:
        raise ValueError("must be a number of seconds; 0: at once; below 0: never")
    return checked


class AbstractLatentWorker(Configured, AbstractWorker):
    """A worker whose instance is started when a build needs it.

    Subclasses override `start_instance` and `stop_instance`, and `check_instance`, `find_instance` and
    `renderWorkerProps` where they have something to say. The engine calls one of them at a time: a `stop_instance`
    follows every `start_instance`, also one that failed, and the next start comes after that.

    Attributes:
        builds_may_be_incompatible: whether a build may not be able to use an instance that was started for another one.
    """

    builds_may_be_incompatible: ClassVar[bool] = False
    build_wait_timeout = argument(
        600,
        _seconds,
        doc="""seconds that an instance goes on after its last build; 0: it is stopped at once; below 0: it goes on
        until the master stops""",
    )
    check_instance_interval = argument(
        10, checks.positive, doc="seconds between looks at an instance whose agent is awaited"
    )
    missing_timeout = argument(
        3600,
        checks.optional(checks.number()),
        doc="seconds within which an instance must have been started and its agent logged in; 0 or None: no limit",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__props_of_instance: Any = None

    def start_instance(self, build: Any) -> Any:
        """Start an instance, whose agent will log in.

        Args:
            build: the build that it is for, with ``getProperty`` and ``render``.

        Returns:
            a Deferred or coroutine that fires when it is started (the agent logs in later); with False if it could not
            be.

        Raises:
            LatentWorkerFailedToSubstantiate: it could not be started; the build is tried again later.
            LatentWorkerCannotSubstantiate: it cannot be started for this build; that ends with EXCEPTION.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its instance is started")

    def stop_instance(self, fast: bool = False) -> Any:
        """Stop the instance, as far as it was started; a Deferred or coroutine that fires when nothing of it is left.

        Args:
            fast: the master is stopping and waits for this.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its instance is stopped")

    def check_instance(self) -> Any:
        """While its agent is awaited: ``(True, "")`` or ``(False, what is wrong)``; a Deferred or coroutine will do."""
        return (True, "")

    def find_instance(self) -> Any:
        """Whether an instance that an earlier master started is there still; asked once, when a master begins.

        If it is (True, or a Deferred or coroutine of that), its agent may log in for ``missing_timeout``, and
        `stop_instance` has to be able to stop it.
        """
        return False

    def renderWorkerProps(self, build_props: Any) -> Any:
        """What makes an instance the right one for a build, rendered; None if each suits all builds.

        Args:
            build_props: a build, with ``getProperty`` and ``render``.
        """
        return None

    @deferred
    async def renderWorkerPropsOnBuild(self, build: Any) -> Any:
        """`renderWorkerProps` of the build that an instance is started for; `isCompatibleWithBuild` compares them."""
        self.__props_of_instance = await resolved(self.renderWorkerProps(build))
        return self.__props_of_instance

    def resetWorkerPropsOnBuild(self) -> None:
        """Forget what `renderWorkerPropsOnBuild` gave: there is no instance any more."""
        self.__props_of_instance = None

    @deferred
    async def isCompatibleWithBuild(self, build_props: Any) -> bool:
        """Whether a build can use the instance that runs: that its `renderWorkerProps` are those of the instance."""
        if not self.builds_may_be_incompatible or self.__props_of_instance is None:
            return True
        return bool(await resolved(self.renderWorkerProps(build_props)) == self.__props_of_instance)


async def rendered_arguments(worker: AbstractLatentWorker, names: Sequence[str], build_props: Any) -> dict[str, Any]:
    """Arguments of a worker by name, rendered for a build; those that were renderables are checked now.

    Raises:
        LatentWorkerCannotSubstantiate: a value is none that the argument takes.
    """
    values: dict[str, Any] = await build_props.render({name: getattr(worker, name) for name in names})
    declared = arguments_of(type(worker))
    for name, value in values.items():
        if holds_renderable(getattr(worker, name)):
            try:
                values[name] = declared[name].check(value)
            except ValueError as reason:
                raise LatentWorkerCannotSubstantiate(f"{name} {reason}") from None
    return values


__all__ = ["AbstractLatentWorker", "rendered_arguments"]
