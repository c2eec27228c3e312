"""The progress of a step, and the time that it is expected to take, from earlier builds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from buildbot.data.connector import DataConnector
from buildbot.resources.builds import BuildDict
from buildbot.resources.steps import StepDict
from buildbot.util.results import SUCCESS, WARNINGS

#: the number of earlier builds that count
_BUILDS = 5


class Measured(Protocol):
    """A step with progress."""

    progressMetrics: Collection[str]


class Progress:
    """The progress of a step, in metrics of its own.

    Args:
        step: the step; its ``progressMetrics`` are the names of the metrics.
    """

    def __init__(self, step: Measured) -> None:
        self._step = step
        self._values: dict[str, float] = {}

    @property
    def values(self) -> Mapping[str, float]:
        """The last values, by metric."""
        return dict(self._values)

    def set(self, metric: str, value: float) -> None:
        """Set the value of a metric. ValueError if the step does not have it."""
        if metric not in self._step.progressMetrics:
            known = ", ".join(self._step.progressMetrics) or "none"
            raise ValueError(f"progressMetrics of {self._step!r} do not have {metric!r}; they have {known}")
        self._values[metric] = value


async def expected_seconds(data: DataConnector, builderid: int, buildid: int, name: str) -> float | None:
    """The median time of a step in the last builds in which it succeeded.

    Args:
        data: the Data API.
        builderid: the builder of these builds.
        buildid: a build that does not count.
        name: of the step.
    """
    ended_well = {"complete": True, "results__eq": [SUCCESS, WARNINGS]}
    query = {"filters": ended_well, "order": ["-number"], "limit": _BUILDS}
    builds: list[BuildDict] = await data.get(query, ("builders", builderid, "builds"))
    times = []
    for build in builds:
        if build["buildid"] == buildid:
            continue
        steps: list[StepDict] = await data.get({"filters": {"name": name}}, ("builds", build["buildid"], "steps"))
        for step in steps:
            began, ended = step["started_at"], step["complete_at"]
            if step["results"] in (SUCCESS, WARNINGS) and began is not None and ended is not None:
                times.append(ended - began)
    if not times:
        return None
    from statistics import median  # not at the top: it imports decimals, fractions and random numbers

    return median(times)
