"""The build for its parts; `buildbot.process.build.Build` is the class, and owns them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from buildbot.config.builder import BuilderConfig
from buildbot.process.sourcestamp import SourceStamp
from buildbot.process.stepcontract import StepBuild
from buildbot.resources.buildrequests import BuildRequestDict


class RunningBuild(StepBuild, Protocol):
    """The build for its parts; for the attributes see `buildbot.process.build.Build`."""

    config: BuilderConfig
    request: BuildRequestDict
    number: int
    reason: str
    sourcestamps: list[SourceStamp]
    changes: list[Mapping[str, Any]]
    results: int

    @property
    def is_asked_about(self) -> bool: ...

    @property
    def builder_name(self) -> str: ...

    def getProperty(self, name: str, default: Any = None) -> Any: ...

    def render(self, value: object) -> Deferred[Any]: ...

    async def gather(self) -> None: ...

    async def stop(self, reason: str) -> None: ...
