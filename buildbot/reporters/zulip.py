"""The reporter for Zulip: messages about builds, by Zulip's incoming webhook for Buildbot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.reporters.generators.build import BuildStartEndStatusGenerator
from buildbot.reporters.http import HttpPush, without_slash
from buildbot.reporters.message import MessageFormatterEmpty
from buildbot.util.deferreds import deferred


class ZulipStatusPush(HttpPush):
    """Notifies Zulip of the beginning and end of all builds; Zulip makes the texts."""

    name = "ZulipStatusPush"
    secrets = ("token",)
    positional = ("endpoint", "token", "stream", "debug", "verify")

    endpoint = argument(REQUIRED, without_slash, doc="the URL of the Zulip server")
    token = argument(REQUIRED, checks.name, renderable=True, doc="the API key of the webhook's bot")
    stream = argument(None, checks.optional(checks.name), doc="the channel; None: Zulip decides")

    def default_generators(self) -> list[Any]:
        """Reports of the beginnings and ends of all builds, without texts."""
        empty = MessageFormatterEmpty()
        return [BuildStartEndStatusGenerator(start_formatter=empty, end_formatter=empty)]

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Notify Zulip of the first report's build."""
        build = reports[0]["builds"][0]
        begins = build["results"] is None
        payload = {
            "event": "new" if begins else "finished",
            "buildid": build["buildid"],
            "buildername": build["builder"]["name"],
            "url": build["url"],
            "project": _project(build),
            "timestamp": int(build["started_at" if begins else "complete_at"].timestamp()),
        }
        if not begins:
            payload["results"] = build["results"]
        # errors and logs have no query of a URL
        url = f"{self.endpoint}/api/v1/external/buildbot?api_key={quote(self.token, safe='')}"
        if self.stream is not None:
            url += f"&stream={quote(self.stream, safe='')}"
        self.require(await self.ask("POST", url, json=payload), 200)


def _project(build: Mapping[str, Any]) -> str:
    given = build["properties"].get("project", ("",))[0]
    stamps = build["buildset"]["sourcestamps"]
    return str(given or next((stamp["project"] for stamp in stamps if stamp["project"]), ""))
