"""The base class of stores of figures, also of users' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from buildbot.config import checks
from buildbot.util.threads import in_own_thread


@dataclass(frozen=True)
class Point:
    """Figures of one build.

    Attributes:
        series: the name of their series: the builder's name and the name of the capture.
        fields: the figures by name: numbers, texts, booleans.
        context: ``{"builder_name": …, "build_number": …}``, both texts.
        time: their time, in Unix seconds.
    """

    series: str
    fields: Mapping[str, Any]
    context: Mapping[str, str] = field(default_factory=dict)
    time: float = 0.0


def captures_checked(value: Any) -> list[Any]:
    """Check an argument that is a list of captures.

    Raises:
        ValueError: it is no list, or an element is no capture.
    """
    found = checks.sequence(value)
    for number, each in enumerate(found, 1):
        if isinstance(each, type) or not hasattr(each, "routingKey") or not callable(getattr(each, "points", None)):
            example = "a capture such as CaptureBuildDuration('builder')"
            raise ValueError(f"element {number} must be {example}, not {checks.kind(each)}")
    return found


class StatsStorageBase:
    """A storage backend; subclasses define `thd_postStatsValue`, or `post`.

    Attributes:
        captures: the captures whose figures are stored here; see `buildbot.statistics.capture`.
    """

    captures: Sequence[Any] = ()

    def thd_postStatsValue(
        self, post_data: Mapping[str, Any], series_name: str, context: Mapping[str, str] | None = None
    ) -> None:
        """Store figures; called in a thread, so it may wait for the network.

        Args:
            post_data: the figures by name.
            series_name: the name of their series.
            context: ``builder_name`` and ``build_number``.

        Raises:
            OSError: the store could not be reached; it is tried again later. Any other exception is logged, and the
                figures are lost.
        """
        raise NotImplementedError(f"{type(self).__name__} must define thd_postStatsValue()")

    async def post(self, service: Any, points: Sequence[Point]) -> None:
        """Store the figures of one event.

        Args:
            service: the `StatsService`, for its ``master`` and ``renderSecrets``.
            points: at least one.
        """
        for point in points:
            await in_own_thread(self.thd_postStatsValue, point.fields, point.series, point.context)
