"""The master for services."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from buildbot.config.master import MasterConfig
from buildbot.data.interfaces import Master


class ServiceMaster(Master, Protocol):
    """The master for the services of its configuration."""

    @property
    def basedir(self) -> Path:
        """The master's directory."""

    @property
    def config(self) -> MasterConfig:
        """The configuration that runs."""

    @property
    def namedServices(self) -> Mapping[str, Any]:
        """The running services by name."""
