"""Reports of buildsets whose builds have all ended."""

from __future__ import annotations

from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.process.configured import Configured
from buildbot.reporters import utils
from buildbot.reporters.generators.build import formatter
from buildbot.reporters.generators.utils import BuildStatusGeneratorMixin, logs_of, merged
from buildbot.reporters.message import MessageFormatter
from buildbot.util.deferreds import deferred, resolved


class BuildSetStatusGenerator(BuildStatusGeneratorMixin):
    """Reports a buildset: the builds that pass ``mode`` and the filters, in one report."""

    positional = (
        "mode", "tags", "builders", "schedulers", "branches", "subject", "add_logs", "add_patch", "message_formatter",
    )  # fmt: skip

    wanted_event_keys = [("buildsets", None, "complete")]

    message_formatter = argument(None, formatter, doc="makes the body about each build; None: `MessageFormatter()`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.formatter = MessageFormatter() if self.message_formatter is None else self.message_formatter

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], message: dict[str, Any]) -> Any:
        """The report of an event, or None; Deferred."""
        found = await utils.getDetailsForBuildset(master, message["bsid"], **self.details_wanted(self.formatter))
        wanted = [
            build
            for build in found["builds"]
            if self.is_message_needed_by_props(build) and self.is_message_needed_by_results(build)
        ]
        if not wanted:
            return None
        return await self.buildset_message(self.formatter, master, reporter, wanted, found["buildset"])

    @deferred
    async def buildset_message(
        self, formatter: Any, master: Any, reporter: Any, builds: list[dict[str, Any]], buildset: dict[str, Any]
    ) -> dict[str, Any]:
        """The merged reports of builds; Deferred."""
        reports = []
        for build in builds:
            users = await resolved(reporter.getResponsibleUsersForBuild(master, build["buildid"]))
            made = await resolved(
                formatter.format_message_for_build(master, build, is_buildset=True, mode=self.mode, users=users)
            )
            report = await self.build_message(_Made(made), master, reporter, build)
            reports.append(report)
        whole = merged(reports)
        whole["results"], whole["buildset"] = buildset["results"], buildset
        return whole


class _Made:
    """A formatter that gives a finished message."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message

    def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._message


def _set_formatter(value: Any) -> Any:
    if not hasattr(value, "format_message_for_buildset"):
        raise ValueError(f"must be a formatter such as reporters.MessageFormatter(), not {checks.kind(value)}")
    return value


class BuildSetCombinedStatusGenerator(Declared, Configured):
    """Reports each buildset as a whole."""

    positional = ("message_formatter",)
    wanted_event_keys = [("buildsets", None, "complete")]

    message_formatter = argument(REQUIRED, _set_formatter, doc="makes subject and body about the buildset")

    @property
    def formatter(self) -> Any:
        """The formatter of the messages."""
        return self.message_formatter

    def check(self) -> None:
        """Nothing is left to check."""

    def generate_name(self) -> str:
        """The name of the class: all are alike."""
        return type(self).__name__

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], message: dict[str, Any]) -> Any:
        """The report of an event; Deferred."""
        found = await utils.getDetailsForBuildset(
            master,
            message["bsid"],
            want_properties=True,
            want_steps=self.formatter.want_steps,
            want_logs=self.formatter.want_logs,
            want_logs_content=self.formatter.want_logs_content,
        )
        return await self.buildset_message(self.formatter, master, reporter, found["buildset"], found["builds"])

    @deferred
    async def buildset_message(
        self, formatter: Any, master: Any, reporter: Any, buildset: dict[str, Any], builds: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """The report of a buildset with its builds; Deferred."""
        users = await utils.get_responsible_users_for_buildset(master, buildset["bsid"])
        made = await resolved(
            formatter.format_message_for_buildset(master, buildset, builds, users=users, mode=("passing",))
        )
        return {
            "body": made["body"],
            "subject": made["subject"],
            "type": made["type"],
            "extra_info": made.get("extra_info"),
            "results": buildset["results"],
            "builds": builds,
            "buildset": buildset,
            "users": users,
            "patches": [],
            "logs": logs_of(builds),
        }
