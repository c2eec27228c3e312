"""Reporters for Pushover and Pushjet: notifications on phones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, argument
from buildbot.reporters.generators.build import BuildStatusGenerator
from buildbot.reporters.http import HttpPush, without_slash
from buildbot.reporters.message import MessageFormatter
from buildbot.reporters.status import text_of
from buildbot.util.deferreds import deferred
from buildbot.util.results import EXCEPTION, FAILURE, SUCCESS, WARNINGS

_WORDS = {SUCCESS: "passing", WARNINGS: "warnings", FAILURE: "failing", EXCEPTION: "exception"}
_TEMPLATE = (
    '<a href="{{ build_url | e }}">{{ status_detected | e }}</a> on builder <i>{{ buildername | e }}</i> '
    "while building {{ projects | e }} on {{ workername | e }}."
)
_OTHER_PARAMS = ("sound", "callback", "timestamp", "url", "url_title", "device", "retry", "expire", "html")


def _levels(value: Any) -> Any:
    for word, level in checks.mapping(value).items():
        if isinstance(level, bool) or not isinstance(level, int):
            raise ValueError(f"[{word!r}] must be a whole number, not {checks.kind(level)}")
    return dict(value)


def _other_params(value: Any) -> Any:
    for name in checks.mapping(value):
        if name not in _OTHER_PARAMS:
            raise ValueError(
                f"has {name!r}{checks.suggestion(name, _OTHER_PARAMS)}; there are {', '.join(_OTHER_PARAMS)}"
            )
    return dict(value)


def _level(levels: Mapping[str, int] | None, report: Mapping[str, Any]) -> int | None:
    """The number for a report's result; else that of ``change``, if the previous build had another result."""
    if not levels:
        return None
    build = report["builds"][0] if report["builds"] else {}
    found = levels.get(_WORDS.get(report["results"], ""))
    previous = build.get("prev_build")
    if found is None and previous is not None and previous["results"] != report["results"]:
        return levels.get("change")
    return found


class _Notifier(HttpPush):
    """The base of both: their default reports."""

    def default_generators(self) -> list[Any]:
        """Reports of the ends of builds with the default mode, in a sentence of HTML."""
        return [BuildStatusGenerator(message_formatter=MessageFormatter(template=_TEMPLATE, template_type="html"))]


class PushoverNotifier(_Notifier):
    """Sends notifications by Pushover."""

    name = "PushoverNotifier"
    secrets = ("user_key", "api_token")
    positional = ("user_key", "api_token", "priorities", "otherParams", "generators")

    user_key = argument(REQUIRED, checks.name, renderable=True, doc="the key of the user or group to notify")
    api_token = argument(REQUIRED, checks.name, renderable=True, doc="the token of the application")
    priorities = argument(
        None, checks.optional(_levels), doc="numbers, by `passing`, `warnings`, `failing`, `exception` and `change`"
    )
    otherParams = argument(None, checks.optional(_other_params), doc="further parameters of Pushover's API")

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Send the first report."""
        report = reports[0]
        fields: dict[str, Any] = {"message": text_of(report["body"]), "title": report["subject"]}
        if report["type"] == "html":
            fields["html"] = 1
        fields |= {"priority": _level(self.priorities, report), "user": self.user_key, "token": self.api_token}
        fields |= self.otherParams or {}
        self.require(await self.ask("POST", "https://api.pushover.net/1/messages.json", data=fields))


class PushjetNotifier(_Notifier):
    """Sends notifications by Pushjet."""

    name = "PushjetNotifier"
    secrets = ("secret",)
    positional = ("secret", "levels", "base_url", "generators")

    secret = argument(REQUIRED, checks.name, renderable=True, doc="the secret of the service")
    levels = argument(
        None, checks.optional(_levels), doc="numbers, by `passing`, `warnings`, `failing`, `exception` and `change`"
    )
    base_url = argument("https://api.pushjet.io", without_slash, doc="the URL of the server")

    @deferred
    async def sendMessage(self, reports: list[dict[str, Any]]) -> None:
        """Send the first report."""
        report = reports[0]
        fields = {
            "message": text_of(report["body"]),
            "title": report["subject"],
            "level": _level(self.levels, report),
            "secret": self.secret,
        }
        self.require(await self.ask("POST", f"{self.base_url}/message", data=fields))
