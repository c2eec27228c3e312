"""How far a step is, and how long it takes by what is known of earlier builds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from statistics import median
from typing import Any, Protocol

from buildbot.util.results import SUCCESS, WARNINGS

#: builds that are looked at
_BUILDS = 5


class Measured(Protocol):
    """What has progress."""

    progressMetrics: Collection[str]


class Progress:
    """How far a step is, in measures of its own.

    Args:
        step: whose progress it is; its ``progressMetrics`` are the measures.
    """

    def __init__(self, step: Measured) -> None:
        self._step = step
        self._values: dict[str, float] = {}

    @property
    def values(self) -> Mapping[str, float]:
        """What was said last, by measure."""
        return dict(self._values)

    def set(self, metric: str, value: float) -> None:
        """So much is done. ValueError if the step does not have this measure."""
        if metric not in self._step.progressMetrics:
            known = ", ".join(self._step.progressMetrics) or "none"
            raise ValueError(f"progressMetrics of {self._step!r} do not have {metric!r}; they have {known}")
        self._values[metric] = value


async def expected_seconds(data: Any, builderid: int, buildid: int, name: str) -> float | None:
    """The middle one of the times that a step took in the last builds in which it ended well.

    Args:
        data: the Data API.
        builderid: whose builds are looked at.
        buildid: one that does not count.
        name: the step's.
    """
    ended_well = {"complete": True, "results__eq": [SUCCESS, WARNINGS]}
    query = {"filters": ended_well, "order": ["-number"], "limit": _BUILDS}
    builds = await data.get(query, ("builders", builderid, "builds"))
    times = []
    for build in builds:
        if build["buildid"] == buildid:
            continue
        for step in await data.get({"filters": {"name": name}}, ("builds", build["buildid"], "steps")):
            if step["results"] in (SUCCESS, WARNINGS) and None not in (step["started_at"], step["complete_at"]):
                times.append(step["complete_at"] - step["started_at"])
    return median(times) if times else None
