"""The base of generators about builds and buildsets: modes, filters, and merging of reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import Declared, argument
from buildbot.config.errors import error
from buildbot.process.configured import Configured
from buildbot.reporters import utils
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import CANCELLED, EXCEPTION, FAILURE, SUCCESS, WARNINGS

_BY_RESULT = {
    "failing": FAILURE,
    "passing": SUCCESS,
    "warnings": WARNINGS,
    "exception": EXCEPTION,
    "cancelled": CANCELLED,
}
MODES = ("change", "failing", "passing", "problem", "warnings", "exception", "cancelled")
_SHORT = {"all": ("failing", "passing", "warnings", "exception", "cancelled"), "warnings": ("warnings", "failing")}


def _mode(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        if value not in (*MODES, *_SHORT):
            raise ValueError(
                f"must be one of {', '.join(map(repr, (*MODES, 'all')))} or a list of them, not {value!r}"
                f"{checks.suggestion(value, (*MODES, 'all'))}"
            )
        return _SHORT.get(value, (value,))
    words = list(value) if isinstance(value, set | frozenset) else checks.sequence(value)
    for word in words:
        if word not in MODES:
            hint = "; write it alone, not in a list" if word == "all" else checks.suggestion(str(word), MODES)
            raise ValueError(f"has {word!r}, which is none of {', '.join(map(repr, MODES))}{hint}")
    return tuple(words)


_names = checks.optional(checks.list_of(checks.text))
_branches = checks.optional(checks.list_of(checks.optional(checks.text)))


class BuildStatusGeneratorMixin(Declared, Configured):
    """The base of generators about builds: it selects builds and makes their reports.

    A subclass has ``wanted_event_keys`` and `generate`.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "mode",
        "tags",
        "builders",
        "schedulers",
        "branches",
        "subject",
        "add_logs",
        "add_patch",
    )

    mode: Any = argument(
        ("failing", "passing", "warnings"),
        _mode,
        doc="""the results to report: one of `change`, `failing`, `passing`, `problem`, `warnings` (also failures),
        `exception`, `cancelled`, `all`, or a list; `change` and `problem` compare with the builder's previous build""",
    )
    tags = argument(None, _names, doc="only builders with one of these tags; not with `builders`")
    builders = argument(None, _names, doc="only builders of these names")
    schedulers = argument(None, _names, doc="only builds whose property `scheduler` is one of these")
    branches = argument(None, _branches, doc="only builds whose property `branch` is one of these; None is no branch")
    subject = argument(None, checks.optional(checks.text), doc="replaces the formatter's subject")
    add_logs = argument(
        None,
        checks.optional(checks.either(checks.boolean, checks.list_of(checks.text), otherwise="True, False or names")),
        doc="older name of the formatter's `want_logs_content`",
    )
    add_patch = argument(False, checks.boolean, doc="whether the report has the patches of the source stamps")

    #: patterns of the events that it may report: ``(noun, None, event)``
    wanted_event_keys: Sequence[tuple[str | None, ...]] = ()

    def check(self) -> None:
        """Report arguments that exclude each other."""
        if self.tags is not None and self.builders is not None:
            error(f"{type(self).__name__}: give tags or builders, not both")

    def generate_name(self) -> str:
        """A name that differs between generators with different arguments."""
        name = type(self).__name__
        for each in (self.tags, self.builders):
            if each is not None:
                name += "_" + "+".join(each)
        return f"{name}_{'+'.join(self.mode)}"

    def is_message_needed_by_props(self, build: Mapping[str, Any]) -> bool:
        """Whether a build passes the filters."""
        builder, properties = build["builder"], build.get("properties", {})
        if self.builders is not None and builder["name"] not in self.builders:
            return False
        if self.tags is not None and not set(self.tags) & set(builder["tags"]):
            return False
        for allowed, name in ((self.schedulers, "scheduler"), (self.branches, "branch")):
            if allowed is not None and properties.get(name, (None,))[0] not in allowed:
                return False
        return True

    def is_message_needed_by_results(self, build: Mapping[str, Any]) -> bool:
        """Whether the mode includes the result of a build."""
        results = build["results"]
        if any(results == _BY_RESULT.get(word) for word in self.mode):
            return True
        previous = build.get("prev_build")
        if previous is None or previous["results"] == results:
            return False
        return "change" in self.mode or ("problem" in self.mode and results == FAILURE)

    @property
    def wants_previous_build(self) -> bool:
        """Whether the mode compares with the previous build."""
        return "change" in self.mode or "problem" in self.mode

    def details_wanted(self, formatter: Any) -> dict[str, Any]:
        """The arguments of `buildbot.reporters.utils.getDetailsForBuild` that a formatter needs."""
        return {
            "want_properties": True,
            "want_steps": formatter.want_steps,
            "want_previous_build": self.wants_previous_build,
            "want_logs": formatter.want_logs,
            "want_logs_content": formatter.want_logs_content or self.add_logs or False,
        }

    @deferred
    async def build_message(self, formatter: Any, master: Any, reporter: Any, build: dict[str, Any]) -> dict[str, Any]:
        """The report of a build with its details; Deferred."""
        users: list[str] = []
        if "buildid" in build:
            users = await resolved(reporter.getResponsibleUsersForBuild(master, build["buildid"]))
        made = await resolved(
            formatter.format_message_for_build(master, build, is_buildset=False, mode=self.mode, users=users)
        )
        return {
            "body": made["body"],
            "subject": made["subject"] if self.subject is None else self.subject,
            "type": made["type"],
            "extra_info": made.get("extra_info"),
            "results": build["results"],
            "builds": [build],
            "buildset": build["buildset"],
            "users": list(users),
            "patches": patches_of([build]) if self.add_patch else [],
            "logs": logs_of([build]),
        }


def patches_of(builds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The patches of the source stamps of builds, each once."""
    found: dict[int, dict[str, Any]] = {}
    for build in builds:
        for stamp in build["buildset"]["sourcestamps"]:
            if stamp["patch"] is not None:
                found[stamp["patch"]["patchid"]] = dict(stamp["patch"])
    return list(found.values())


def logs_of(builds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The logs of builds that have their content."""
    return [
        {**log, "buildername": build["builder"]["name"]}
        for build in builds
        for step in build.get("steps", ())
        for log in step.get("logs", ())
        if "content" in log
    ]


def as_begun(build: Mapping[str, Any]) -> dict[str, Any]:
    """A build in the state of its beginning."""
    return {**build, "complete": False, "complete_at": None, "results": None}


def merged(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One report of several: bodies of the first one's type are joined, the subject is the first one."""
    first = reports[0]
    alike = [each for each in reports if type(each["body"]) is type(first["body"])]
    return {
        "body": utils.merge_reports_prop(alike, "body"),
        "subject": utils.merge_reports_prop_take_first(reports, "subject"),
        "type": first["type"],
        "extra_info": merged_info([each["extra_info"] for each in reports]),
        "results": first["results"],
        "builds": utils.merge_reports_prop(reports, "builds"),
        "buildset": first["buildset"],
        "users": sorted({user for each in reports for user in each["users"]}),
        "patches": utils.merge_reports_prop(reports, "patches"),
        "logs": utils.merge_reports_prop(reports, "logs"),
    }


def merged_info(infos: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The merged dictionaries of dictionaries; the first value of a key wins."""
    result: dict[str, Any] | None = None
    for info in infos:
        for key, values in (info or {}).items():
            result = {} if result is None else result
            result[key] = {**values, **result.get(key, {})}
    return result
