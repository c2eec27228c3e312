"""The base of reporters of commit statuses: one status for each source stamp of each build, under a stable name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from twisted.logger import Logger

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.process.properties import Interpolate, Properties
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.generators.buildrequest import BuildRequestGenerator
from buildbot.reporters.http import HttpPush
from buildbot.reporters.message import properties_of
from buildbot.util.deferreds import deferred

_log = Logger()

_USUAL_CONTEXT = Interpolate("buildbot/%(prop:buildername)s")

#: a report, or a build or source stamp in one
Report = Mapping[str, Any]


class StatusPush(HttpPush):
    """Base of reporters of commit statuses; a subclass has `send_status` and ``states``."""

    verbose = argument(False, checks.boolean, doc="log what arrived, too")

    #: what the receiver calls a request that waits, one that was cancelled, a build that runs, and results by code
    states: Mapping[Any, str] = {}

    def default_generators(self) -> list[Any]:
        """Requests, beginnings and ends."""
        return [BuildRequestGenerator(), BuildStartEndStatusGenerator()]

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Send the first report: a status for each source stamp of its builds."""
        report = reports[0]
        for build in report["builds"]:
            properties = properties_of(build, self.master)
            state = self.state_of(build)
            for number, stamp in enumerate(build["buildset"]["sourcestamps"]):
                part = build.get("buildid"), number
                await self.once(part, partial(self.send_status, report, build, stamp, state, properties))

    async def send_status(
        self,
        report: Mapping[str, Any],
        build: Mapping[str, Any],
        stamp: Mapping[str, Any],
        state: str,
        props: Properties,
    ) -> None:
        """Send the status of a build for one source stamp."""
        raise NotImplementedError(f"{type(self).__name__} has no send_status()")

    def state_of(self, build: Mapping[str, Any]) -> str:
        """The receiver's name for the state of a build or request."""
        if "buildid" not in build:
            return self.states["cancelled" if build["complete"] else "pending"]
        return self.states["running"] if build["results"] is None else self.states[build["results"]]

    def skipped(self, stamp: Mapping[str, Any], why: str) -> None:
        """Say that there is no status for a source stamp."""
        _log.info(
            "{reporter}: no status for {repository} {revision}: {why}",
            reporter=self.name, repository=stamp["repository"], revision=stamp["revision"], why=why,
        )  # fmt: skip

    def arrived(self, state: str, what: str) -> None:
        """Say, where that is wanted, that a status arrived."""
        if self.verbose:
            _log.info("{reporter}: {state} for {what}", reporter=self.name, state=state, what=what)


async def rendered_context(context: Any, props: Properties) -> Any:
    """The name of a status; ``buildbot/BUILDERNAME`` where the configuration has none."""
    return await props.render(_USUAL_CONTEXT if context is None else context)


def text_of(body: Any) -> str:
    """The body of a report as a text."""
    return "" if body is None else body if isinstance(body, str) else str(body)
