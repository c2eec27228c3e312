"""Reports of build requests: that a request waits, and that it was cancelled."""

from __future__ import annotations

from typing import Any

from buildbot.config.arguments import argument
from buildbot.reporters import utils
from buildbot.reporters.generators.build import formatter
from buildbot.reporters.generators.utils import BuildStatusGeneratorMixin
from buildbot.reporters.message import MessageFormatterRenderable
from buildbot.util.deferreds import deferred
from buildbot.util.results import CANCELLED


class BuildRequestGenerator(BuildStatusGeneratorMixin):
    """Reports new build requests, and requests that are cancelled before they are built."""

    positional = ("tags", "builders", "schedulers", "branches", "add_patch", "formatter")

    mode = ()
    wanted_event_keys = [("buildrequests", None, "new"), ("buildrequests", None, "cancel")]

    formatter = argument(None, formatter, doc="makes subject and body; None: `Build pending.`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.formatter is None:
            self.formatter = MessageFormatterRenderable("Build pending.")

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], buildrequest: dict[str, Any]) -> Any:
        """The report of an event, or None; Deferred. Its build has the attributes that are known of the request."""
        build: dict[str, Any] = {}
        await utils.get_details_for_buildrequest(master, buildrequest, build)
        if key[-1] == "cancel":
            path = ("buildrequests", buildrequest["buildrequestid"], "builds")
            if await master.data.get({"limit": 1}, path):
                return None  # a build has begun, whose end is reported
            build["complete"], build["results"] = True, CANCELLED
        if not self.is_message_needed_by_props(build):
            return None
        return await self.build_message(self.formatter, master, reporter, build)
