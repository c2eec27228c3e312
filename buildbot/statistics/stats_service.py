"""The service that captures figures of builds and stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.db.exceptions import is_unavailable
from buildbot.process.service import DeclaredService
from buildbot.reporters.delivery import Delivery, ServiceQueue
from buildbot.statistics.capture import YIELDED
from buildbot.statistics.storage_backends.base import Point, StatsStorageBase
from buildbot.util.deferreds import deferred

_log = Logger()


def _backends(value: Any) -> list[StatsStorageBase]:
    found = checks.sequence(value)
    for number, each in enumerate(found, 1):
        if not isinstance(each, StatsStorageBase):
            example = "a store such as InfluxStorageService(…)"
            raise ValueError(f"element {number} must be {example}, not {checks.kind(each)}")
    return found


class StatsService(DeclaredService):
    """Captures figures of builds and stores them: at least once for each build, of all masters.

    A store that cannot be reached gets them later, for twelve hours, also after a restart. The failure of one store
    does not stop the others.
    """

    name: Any = "StatsService"
    positional: ClassVar[tuple[str, ...]] = ("storage_backends",)
    storage_backends = argument(
        REQUIRED, _backends, doc="the stores with their captures: a list of `InfluxStorageService` and your own classes"
    )

    __queue: ServiceQueue | None = None
    __started = False

    @deferred
    async def reconfigService(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments; they hold from the next event on. Deferred."""
        await super().reconfigService(*args, **kwargs)
        await self.__listen()

    @deferred
    async def startService(self) -> None:
        """Take the arguments and continue after the last stored event; Deferred."""
        await super().startService()
        self.__started = True
        await self.__listen()

    @deferred
    async def stopService(self) -> None:
        """Stop; figures that wait are stored after the next start. Deferred."""
        self.__started = False
        if self.__queue is not None:
            await self.__queue.end()
        await super().stopService()

    @deferred
    async def yieldMetricsValue(self, data_name: str, post_data: Mapping[str, Any], buildid: int) -> None:
        """Store figures of a build by the captures of this name; Deferred.

        Args:
            data_name: the name of the `CaptureData` captures.
            post_data: the figures by name: numbers, texts, booleans.
            buildid: the id of the build.

        Raises:
            ValueError: there is no such build, or a figure has another type.
        """
        build = await self.master.data.get({}, ("builds", buildid))
        if build is None:
            raise ValueError(f"{self.name}: there is no build with the id {buildid!r}")
        for name, value in post_data.items():
            if not isinstance(name, str) or not isinstance(value, str | int | float | None):
                raise ValueError(f"{self.name}: {name!r} is no figure: {checks.kind(value)}")
        message = {
            "data_name": data_name,
            "post_data": dict(post_data),
            "build_data": {key: build[key] for key in ("buildid", "builderid", "number", "started_at", "complete_at")},
            "time": self.master.wall_seconds(),
        }
        await self.master.mq.produce(YIELDED, message)

    async def __listen(self) -> None:
        if not self.__started:
            return
        patterns = [each.routingKey for store in self.storage_backends for each in store.captures]
        if self.__queue is None:
            self.__queue = ServiceQueue(self.__deliver)
        await self.__queue.follow(self.name, patterns, self.master)

    async def __deliver(self, delivery: Delivery) -> bool:
        """Store the figures of one event; whether there were any. The failure of a store is raised after the others."""
        stored, problem = False, None
        for place, store in enumerate(self.storage_backends):
            if place in delivery.done:
                continue
            try:
                points = await self.__captured(store.captures, delivery)
                if points:
                    await store.post(self, points)
                    stored = True
            except Exception as failed:
                problem = failed
                continue
            delivery.done.add(place)
        if problem is not None:
            raise problem
        return stored

    async def __captured(self, captures: Sequence[Any], delivery: Delivery) -> list[Point]:
        points: list[Point] = []
        for capture in captures:
            wanted = capture.routingKey
            if len(wanted) != len(delivery.key) or any(
                want not in (None, have) for want, have in zip(wanted, delivery.key, strict=True)
            ):
                continue
            try:
                points += await capture.points(self.master, delivery.message)
            except Exception as problem:
                if is_unavailable(problem):
                    raise
                what = "/".join(delivery.key)
                _log.error("{name}: {problem} ({what})", name=self.name, problem=str(problem), what=what)
        return points


__all__ = ["StatsService"]
