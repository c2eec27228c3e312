"""What the configuration says about all builds of a master."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildbot.config.master import MasterConfig


@dataclass(frozen=True)
class LogLimits:
    """How much of a log is kept.

    Attributes:
        max_bytes: what comes after so many bytes is dropped; None: nothing is.
        tail_bytes: so many bytes of the end are kept all the same.
    """

    max_bytes: int | None = None
    tail_bytes: int = 0


NO_LIMITS = LogLimits()


@dataclass(frozen=True)
class BuildDefaults:
    """What holds for every build, whatever its builder says.

    Attributes:
        properties: of every build that has none of these names; renderables are rendered with it.
        source: where they come from, as each build shows it.
        logs: how much of its logs is kept.
        url: ``c['buildbotURL']``, where pages are found.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    source: str = "global"
    logs: LogLimits = NO_LIMITS
    url: str = MasterConfig.buildbotURL

    @classmethod
    def of(cls, config: MasterConfig) -> BuildDefaults:
        """The defaults of a `MasterConfig`. An embedding program may leave out attributes that have a default."""
        limits = LogLimits(getattr(config, "logMaxSize", None), getattr(config, "logMaxTailSize", None) or 0)
        source = str(getattr(config, "configfile", "global"))
        url = getattr(config, "buildbotURL", MasterConfig.buildbotURL)
        return cls(getattr(config, "properties", {}), source, limits, url)
