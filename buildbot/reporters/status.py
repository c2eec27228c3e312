"""The base of reporters that set statuses of commits: one status for each source stamp of each build."""

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
    """The base of reporters that set statuses of commits; a subclass has `send_status` and ``states``."""

    verbose = argument(False, checks.boolean, doc="log statuses that arrived, too")

    #: the receiver's states: of requests by ``pending`` and ``cancelled``, of builds by ``running`` and by result
    states: Mapping[Any, str] = {}

    def default_generators(self) -> list[Any]:
        """Reports of build requests, and of the beginnings and ends of builds."""
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

    async def send_status(self, report: Report, build: Report, stamp: Report, state: str, props: Properties) -> None:
        """Send the status of a build for one source stamp.

        Args:
            report: the report; ``build`` is one of its builds, ``stamp`` one of that build's source stamps.
            state: the receiver's name for the state of the build, from ``states``.
            props: the properties of the build, for renderables.
        """
        raise NotImplementedError(f"{type(self).__name__} has no send_status()")

    def state_of(self, build: Mapping[str, Any]) -> str:
        """The receiver's name for the state of a build or request."""
        if "buildid" not in build:
            return self.states["cancelled" if build["complete"] else "pending"]
        return self.states["running"] if build["results"] is None else self.states[build["results"]]

    def skipped(self, stamp: Mapping[str, Any], why: str) -> None:
        """Log that a source stamp gets no status."""
        _log.info(
            "{reporter}: no status for {repository} {revision}: {why}",
            reporter=self.name, repository=stamp["repository"], revision=stamp["revision"], why=why,
        )  # fmt: skip

    def arrived(self, state: str, what: str) -> None:
        """Log that a status arrived, if ``verbose`` is set."""
        if self.verbose:
            _log.info("{reporter}: {state} for {what}", reporter=self.name, state=state, what=what)


def context_argument() -> Any:
    """Declare the argument for the name of statuses; `rendered_context` renders it."""
    return argument(
        None, checks.optional(checks.name), renderable=True, doc="the status's name; None: `buildbot/BUILDERNAME`"
    )


async def rendered_context(context: Any, props: Properties) -> Any:
    """The name of a status, rendered; None is ``buildbot/BUILDERNAME``."""
    return await props.render(_USUAL_CONTEXT if context is None else context)


def text_of(body: Any) -> str:
    """The body of a report as a text."""
    return "" if body is None else body if isinstance(body, str) else str(body)
