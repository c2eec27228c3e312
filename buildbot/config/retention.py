"""How long things are kept: ``c['retention']``, and the configurator by which existing configurations say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from buildbot.config import checks

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Retention:
    """Ages from which on things are removed, in seconds; None keeps them for good.

    Attributes:
        logs: content of logs, from the end of their build.
        build_data: data of builds, likewise.
        builds: builds with their steps, logs and test results, and the requests and buildsets that they were for.
        changes: changes and source stamps that no buildset refers to.
        keep_builds: how many builds of each builder stay as they are, logs included, whatever their age.
    """

    logs: int | None = 90 * 24 * 3600
    build_data: int | None = 90 * 24 * 3600
    builds: int | None = 365 * 24 * 3600
    changes: int | None = 365 * 24 * 3600
    keep_builds: int = 100


def check_retention(given: dict[str, Any], report: Callable[[str], None]) -> Retention:
    """What a dictionary says; ``report`` is called with everything that is wrong with it."""
    known = list(Retention.__dataclass_fields__)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            report(f"[{name!r}] is unknown{checks.suggestion(str(name), known)}")
            continue
        try:
            values[name] = checks.whole_number()(value) if name == "keep_builds" else _age(value)
        except ValueError as reason:
            report(f"[{name!r}] {reason}")
    return Retention(**values)


class JanitorConfigurator:
    """``util.JanitorConfigurator``: the way of existing configurations to say how long logs and build data are kept.

    Args:
        logHorizon, build_data_horizon: timedelta, or None for good; what is not given stays as it is.
        schedule: ``hour``, ``dayOfWeek`` and the like are accepted: here a little is removed all the time.
    """

    def __init__(self, logHorizon: Any = ..., build_data_horizon: Any = ..., **schedule: Any) -> None:
        given = {"logs": logHorizon, "build_data": build_data_horizon}
        self._values = {name: value for name, value in given.items() if value is not ...}

    def configure(self, config_dict: dict[str, Any]) -> None:
        """Add it to a configuration; what ``c['retention']`` says itself comes first."""
        existing = config_dict.get("retention", {})
        if isinstance(existing, dict):
            config_dict["retention"] = {**self._values, **existing}


def _age(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, timedelta):
        raise ValueError(f"must be a timedelta or None, not {checks.kind(value)}")
    if value < _HOUR:
        raise ValueError("must be an hour or more")
    return int(value.total_seconds())
