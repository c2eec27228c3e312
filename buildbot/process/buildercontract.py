"""The builder for builds, steps and the queue; `buildbot.process.builder.Builder` is the class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from buildbot.config.builder import BuilderConfig
from buildbot.interfaces import SchedulerLike
from buildbot.process.defaults import BuildDefaults
from buildbot.process.locks import Locks
from buildbot.process.stoprequests import StopRequests


class RunningBuilder(Protocol):
    """A builder in the running master."""

    config: BuilderConfig
    builderid: int
    locks: Locks
    stop_requests: StopRequests
    defaults: BuildDefaults
    schedulers: Mapping[str, SchedulerLike]

    @property
    def name(self) -> str: ...
