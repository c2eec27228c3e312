"""Defaults of all builds of a master, from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildbot.config.master import MasterConfig


@dataclass(frozen=True)
class LogLimits:
    """How much of a log is stored.

    Attributes:
        max_bytes: the limit; lines after it are dropped. None: no limit.
        tail_bytes: the bytes at the end that are stored nevertheless.
    """

    max_bytes: int | None = None
    tail_bytes: int = 0


NO_LIMITS = LogLimits()


@dataclass(frozen=True)
class BuildDefaults:
    """Settings of every build.

    Attributes:
        properties: for builds that have no properties of these names; renderables are rendered for each build.
        source: the source of these properties.
        logs: how much of the logs is stored.
        url: ``c['buildbotURL']``, the address of the pages.
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
