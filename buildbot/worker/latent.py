"""The base of workers on demand, whose subclasses start, check and stop an instance."""

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

    Subclasses override `start_instance` and `stop_instance`, and may override `check_instance`, `find_instance` and
    `renderWorkerProps`. The engine calls one of them at a time: a `stop_instance` follows each `start_instance`, also
    one that failed, and the next start comes after that.

    Attributes:
        builds_may_be_incompatible: whether an instance that was started for one build may be unusable for another.
    """

    builds_may_be_incompatible: ClassVar[bool] = False
    build_wait_timeout = argument(
        600,
        _seconds,
        doc="""seconds that an instance goes on after its last build; 0: it is stopped at once; below 0: it goes on
        until the master stops""",
    )
    check_instance_interval = argument(
        10, checks.positive, doc="seconds between calls of `check_instance` while the agent is awaited"
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
            a Deferred or coroutine that fires when the instance is started, before its agent logs in; with False if it
            could not be started.

        Raises:
            LatentWorkerFailedToSubstantiate: it could not be started; the build is tried again later.
            LatentWorkerCannotSubstantiate: it cannot be started for this build; that ends with EXCEPTION.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its instance is started")

    def stop_instance(self, fast: bool = False) -> Any:
        """Stop the instance, also one whose start failed; a Deferred or coroutine that ends when nothing of it is left.

        Args:
            fast: whether the master is stopping, and waits for this.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its instance is stopped")

    def check_instance(self) -> Any:
        """Whether the instance whose agent is awaited is well: ``(True, "")`` or ``(False, reason)``, also deferred."""
        return (True, "")

    def find_instance(self) -> Any:
        """Whether an instance of an earlier master still exists; called once, when a master begins.

        If it gives True (also by a Deferred or coroutine), the agent has ``missing_timeout`` seconds to log in, and
        `stop_instance` must be able to stop the instance.
        """
        return False

    def renderWorkerProps(self, build_props: Any) -> Any:
        """Rendered values that an instance for a build must have; None if each instance suits all builds.

        Args:
            build_props: a build, with ``getProperty`` and ``render``.
        """
        return None

    @deferred
    async def renderWorkerPropsOnBuild(self, build: Any) -> Any:
        """`renderWorkerProps` of the build that an instance is started for; kept for `isCompatibleWithBuild`."""
        self.__props_of_instance = await resolved(self.renderWorkerProps(build))
        return self.__props_of_instance

    def resetWorkerPropsOnBuild(self) -> None:
        """Forget the values of `renderWorkerPropsOnBuild`, when the instance is stopped."""
        self.__props_of_instance = None

    @deferred
    async def isCompatibleWithBuild(self, build_props: Any) -> bool:
        """Whether a build can use the running instance: its `renderWorkerProps` equal those of the instance."""
        if not self.builds_may_be_incompatible or self.__props_of_instance is None:
            return True
        return bool(await resolved(self.renderWorkerProps(build_props)) == self.__props_of_instance)


async def rendered_arguments(worker: AbstractLatentWorker, names: Sequence[str], build_props: Any) -> dict[str, Any]:
    """Arguments of a worker by name, rendered for a build and checked.

    Raises:
        LatentWorkerCannotSubstantiate: a rendered value is not allowed; the message names the argument.
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
