"""The builder for builds, steps and the queue; `buildbot.process.builder.Builder` is the class."""

from __future__ import annotations

from typing import Protocol

from buildbot.config.builder import BuilderConfig
from buildbot.process.defaults import BuildDefaults
from buildbot.process.locks import Locks


class RunningBuilder(Protocol):
    """A builder in the running master."""

    config: BuilderConfig
    builderid: int
    locks: Locks
    defaults: BuildDefaults

    @property
    def name(self) -> str: ...
