"""How long logs, builds and changes are kept: ``c['retention']``, and the configurator of existing configurations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from buildbot.config import checks

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Retention:
    """Ages from which on rows are removed, in seconds; None keeps them for good.

    Attributes:
        logs: content of logs, from the end of their build.
        build_data: data of builds, likewise.
        builds: builds with their steps, logs and test results, and the requests and buildsets that they were for.
        changes: changes and source stamps that no buildset refers to.
        keep_builds: the number of newest builds of each builder that stay with their logs, whatever their age.
    """

    logs: int | None = 90 * 24 * 3600
    build_data: int | None = 90 * 24 * 3600
    builds: int | None = 365 * 24 * 3600
    changes: int | None = 365 * 24 * 3600
    keep_builds: int = 100


def check_retention(given: dict[str, Any], report: Callable[[str], None]) -> Retention:
    """The retention of a dictionary; ``report`` is called with each mistake."""
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
    """``util.JanitorConfigurator``: sets how long logs and build data are kept, in existing configurations.

    Args:
        logHorizon, build_data_horizon: timedelta, or None for good; one that is not given does not change.
        schedule: ``hour``, ``dayOfWeek`` and the like have no effect: this janitor works all the time.
    """

    def __init__(self, logHorizon: Any = ..., build_data_horizon: Any = ..., **schedule: Any) -> None:
        given = {"logs": logHorizon, "build_data": build_data_horizon}
        self._values = {name: value for name, value in given.items() if value is not ...}

    def configure(self, config_dict: dict[str, Any]) -> None:
        """Add it to a configuration; values in ``c['retention']`` have precedence."""
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
