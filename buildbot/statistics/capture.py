"""Captures: they take figures from builds. Each has a class for one builder and one for all, ``…AllBuilders``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.errors import error
from buildbot.process.configured import Configured
from buildbot.statistics.storage_backends.base import Point
from buildbot.util.deferreds import resolved

#: the event of a build that ended
FINISHED = ("builders", None, "builds", None, "finished")
#: the event of figures that a build gives itself, by `StatsService.yieldMetricsValue`
YIELDED = ("stats-yieldMetricsValue", "stats-yield-data")

_PER = {"seconds": 1, "minutes": 60, "hours": 3600}
#: the series of the times of builds
TIMES = "build-times"


class CaptureCallbackError(Exception):
    """A callback of the configuration failed; the message names the capture and the reason."""


class Capture(Configured, Declared):
    """Base of all captures: a subclass sets ``routingKey`` and defines `figures`.

    Attributes:
        routingKey: the pattern of the events; their messages are builds, or have one as ``build_data``.
        builder_name: the builder whose builds it captures; None: all builders.
    """

    routingKey: ClassVar[tuple[str | None, ...]] = FINISHED
    builder_name: Any = None

    async def figures(self, master: Any, message: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """The figures of an event.

        Returns:
            ``(name, figures)`` of each series: the name is appended to the builder's, ``figures`` are values by their
            names. A value of None is not stored.

        Raises:
            CaptureCallbackError: a function of the configuration failed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define figures()")

    async def points(self, master: Any, message: Mapping[str, Any]) -> list[Point]:
        """The points of an event; none if it is about another builder.

        Args:
            master: the running master.
            message: the message of the event.

        Raises:
            CaptureCallbackError: a function of the configuration failed.
        """
        build = message.get("build_data", message)
        builder = await master.data.get({}, ("builders", build["builderid"]))
        if builder is None or self.builder_name not in (None, builder["name"]):
            return []
        context = {"builder_name": builder["name"], "build_number": str(build["number"])}
        time = message.get("time") or build["complete_at"] or build["started_at"]
        found = []
        for series, fields in await self.figures(master, message):
            if kept := {name: value for name, value in fields.items() if value is not None}:
                found.append(Point(f"{builder['name']}-{series}", kept, context, float(time)))
        return found

    async def called(self, function: Any, *args: Any) -> Any:
        """The result of a callback of the configuration.

        Raises:
            CaptureCallbackError: it failed.
        """
        try:
            return await resolved(function(*args))
        except Exception as problem:
            raise CaptureCallbackError(
                f"{type(self).__name__}: its callback failed: {type(problem).__name__}: {problem}"
            ) from problem


class CapturePropertyAllBuilders(Capture):
    """A property that builds have when they end; the fields ``name`` and ``value`` of ``BUILDER-PROPERTY``."""

    positional: ClassVar[tuple[str, ...]] = ("property_name", "callback", "regex")
    property_name = argument(REQUIRED, checks.name, doc="the property; a build without it has no figures")
    callback = argument(
        None,
        checks.optional(checks.function),
        doc="f(properties, property_name) gives the value; the properties are `{name: (value, source)}`",
    )
    regex = argument(
        False,
        checks.boolean,
        doc="whether `property_name` is a regular expression; it is matched at the start of the names",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.regex and self.property_name is not None:
            try:
                re.compile(self.property_name)
            except re.error as problem:
                error(f"{type(self).__name__}: property_name is no regular expression: {problem}")

    async def figures(self, master: Any, message: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """As `Capture.figures`."""
        properties = await master.data.get({}, ("builds", message["buildid"], "properties"))
        wanted = re.compile(self.property_name if self.regex else f"{re.escape(self.property_name)}\\Z")
        found = []
        for name in sorted(properties):
            if wanted.match(name):
                value = properties[name][0]
                if self.callback is not None:
                    value = await self.called(self.callback, properties, name)
                found.append((name, {"name": name, "value": value}))
        return found


class CaptureProperty(CapturePropertyAllBuilders):
    """As `CapturePropertyAllBuilders`, of one builder."""

    positional: ClassVar[tuple[str, ...]] = ("builder_name", "property_name", "callback", "regex")
    builder_name = argument(REQUIRED, checks.name, doc="the name of the builder")


class CaptureBuildStartTimeAllBuilders(Capture):
    """The start time of builds, as the field ``start-time`` of the series ``BUILDER-build-times``."""

    positional: ClassVar[tuple[str, ...]] = ("callback",)
    callback = argument(
        None, checks.optional(checks.function), doc="f(time) of a `datetime`; None: as ISO 8601 has it, in UTC"
    )
    #: the name of the field, and the attribute of the build with its value
    field: ClassVar[tuple[str, str]] = ("start-time", "started_at")

    async def figures(self, master: Any, message: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """As `Capture.figures`."""
        name, of_build = self.field
        value = await self.called(self.callback or datetime.isoformat, _time(message[of_build]))
        return [(TIMES, {name: value})]


class CaptureBuildStartTime(CaptureBuildStartTimeAllBuilders):
    """As `CaptureBuildStartTimeAllBuilders`, of one builder."""

    positional: ClassVar[tuple[str, ...]] = ("builder_name", "callback")
    builder_name = argument(REQUIRED, checks.name, doc="the name of the builder")


class CaptureBuildEndTimeAllBuilders(CaptureBuildStartTimeAllBuilders):
    """The end time of builds, as the field ``end-time`` of the series ``BUILDER-build-times``."""

    field = ("end-time", "complete_at")


class CaptureBuildEndTime(CaptureBuildEndTimeAllBuilders):
    """As `CaptureBuildEndTimeAllBuilders`, of one builder."""

    positional: ClassVar[tuple[str, ...]] = ("builder_name", "callback")
    builder_name = argument(REQUIRED, checks.name, doc="the name of the builder")


class CaptureBuildDurationAllBuilders(Capture):
    """The duration of builds, as the field ``duration`` of the series ``BUILDER-build-times``."""

    positional: ClassVar[tuple[str, ...]] = ("report_in", "callback")
    report_in = argument("seconds", checks.one_of(*_PER), doc="the unit: `seconds`, `minutes` or `hours`")
    callback = argument(
        None, checks.optional(checks.function), doc="f(start, end) of two `datetime`, instead of the unit"
    )

    async def figures(self, master: Any, message: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """As `Capture.figures`."""
        start, end = _time(message["started_at"]), _time(message["complete_at"])
        value = (end - start).total_seconds() / _PER[self.report_in]
        if self.callback is not None:
            value = await self.called(self.callback, start, end)
        return [(TIMES, {"duration": value})]


class CaptureBuildDuration(CaptureBuildDurationAllBuilders):
    """As `CaptureBuildDurationAllBuilders`, of one builder."""

    positional: ClassVar[tuple[str, ...]] = ("builder_name", "report_in", "callback")
    builder_name = argument(REQUIRED, checks.name, doc="the name of the builder")


class CaptureDataAllBuilders(Capture):
    """The figures that `StatsService.yieldMetricsValue` is given, as fields of the series ``BUILDER-DATA``."""

    routingKey = YIELDED
    positional: ClassVar[tuple[str, ...]] = ("data_name", "callback")
    data_name = argument(REQUIRED, checks.name, doc="the name that `yieldMetricsValue` was given")
    callback = argument(
        None,
        checks.optional(checks.function),
        doc="f(post_data) gives a dictionary of fields; None: `post_data` itself",
    )

    async def figures(self, master: Any, message: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
        """As `Capture.figures`."""
        if message["data_name"] != self.data_name:
            return []
        fields = message["post_data"]
        if self.callback is not None:
            fields = await self.called(self.callback, fields)
            if not isinstance(fields, Mapping):
                raise CaptureCallbackError(f"{type(self).__name__}: its callback gave {fields!r}, not a dictionary")
        return [(self.data_name, fields)]


class CaptureData(CaptureDataAllBuilders):
    """As `CaptureDataAllBuilders`, of one builder."""

    positional: ClassVar[tuple[str, ...]] = ("data_name", "builder_name", "callback")
    builder_name = argument(REQUIRED, checks.name, doc="the name of the builder")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


__all__ = [
    "Capture",
    "CaptureBuildDuration",
    "CaptureBuildDurationAllBuilders",
    "CaptureBuildEndTime",
    "CaptureBuildEndTimeAllBuilders",
    "CaptureBuildStartTime",
    "CaptureBuildStartTimeAllBuilders",
    "CaptureCallbackError",
    "CaptureData",
    "CaptureDataAllBuilders",
    "CaptureProperty",
    "CapturePropertyAllBuilders",
]
