"""Reports of single builds, at their end and at their beginning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.reporters import utils
from buildbot.reporters.generators.utils import BuildStatusGeneratorMixin, as_begun
from buildbot.reporters.message import MessageFormatter, MessageFormatterRenderable
from buildbot.util.deferreds import deferred


def formatter(value: Any) -> Any:
    """A check: None, or an object that formats messages about builds."""
    if value is not None and not hasattr(value, "format_message_for_build"):
        raise ValueError(f"must be a formatter such as reporters.MessageFormatter(), not {checks.kind(value)}")
    return value


class BuildStatusGenerator(BuildStatusGeneratorMixin):
    """Reports the ends of builds with the results in ``mode``."""

    positional = (
        "mode", "tags", "builders", "schedulers", "branches", "add_logs", "add_patch", "report_new",
        "message_formatter",
    )  # fmt: skip

    report_new = argument(False, checks.boolean, doc="report also the beginnings of builds, with any `mode`")
    message_formatter = argument(None, formatter, doc="makes subject and body; None: `MessageFormatter()`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.formatter = MessageFormatter() if self.message_formatter is None else self.message_formatter

    @property
    def wanted_event_keys(self) -> Sequence[tuple[str | None, ...]]:  # type: ignore[override]
        """The events of the ends of builds; with ``report_new`` also those of their beginnings."""
        ends: list[tuple[str | None, ...]] = [("builds", None, "finished")]
        return [*ends, ("builds", None, "new")] if self.report_new else ends

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], build: dict[str, Any]) -> Any:
        """The report of an event, or None; Deferred."""
        begins = key[-1] == "new"
        if begins:
            build = as_begun(build)
        await utils.getDetailsForBuild(master, build, **self.details_wanted(self.formatter))
        if not self.is_message_needed_by_props(build):
            return None
        if not begins and not self.is_message_needed_by_results(build):
            return None
        return await self.build_message(self.formatter, master, reporter, build)


class BuildStartEndStatusGenerator(BuildStatusGeneratorMixin):
    """Reports the beginning and the end of each build."""

    positional = (
        "tags", "builders", "schedulers", "branches", "add_logs", "add_patch", "start_formatter", "end_formatter",
    )  # fmt: skip

    mode = ("failing", "passing", "warnings", "exception", "cancelled")
    wanted_event_keys = [("builds", None, "new"), ("builds", None, "finished")]

    start_formatter = argument(None, formatter, doc="makes subject and body at the beginning; None: `Build started.`")
    end_formatter = argument(None, formatter, doc="makes subject and body at the end; None: `Build done.`")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.start_formatter is None:
            self.start_formatter = MessageFormatterRenderable("Build started.")
        if self.end_formatter is None:
            self.end_formatter = MessageFormatterRenderable("Build done.")

    @deferred
    async def generate(self, master: Any, reporter: Any, key: tuple[str, ...], build: dict[str, Any]) -> Any:
        """The report of an event, or None; Deferred."""
        begins = key[-1] == "new"
        formatter = self.start_formatter if begins else self.end_formatter
        if begins:
            build = as_begun(build)
        await utils.getDetailsForBuild(master, build, **self.details_wanted(formatter))
        if not self.is_message_needed_by_props(build):
            return None
        return await self.build_message(formatter, master, reporter, build)
