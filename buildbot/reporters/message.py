"""Message formatters: they make the subject and body of reports about builds, buildsets and missing workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from buildbot.config import checks
from buildbot.config.arguments import REQUIRED, Declared, argument
from buildbot.config.errors import error
from buildbot.process.configured import Configured
from buildbot.process.properties import Properties
from buildbot.reporters import utils
from buildbot.reporters.defaulttexts import BODIES, SUBJECTS, WORKER_BODIES, WORKER_SUBJECTS
from buildbot.reporters.templates import compiled, filled
from buildbot.util.deferreds import deferred, resolved
from buildbot.util.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
    Results,
    statusToString,
)

_STATUS = {
    None: "not finished build",
    SUCCESS: "passing build",
    WARNINGS: "problem in the build",
    FAILURE: "failed build",
    SKIPPED: "skipped build",
    EXCEPTION: "build exception",
    RETRY: "retry build",
    CANCELLED: "cancelled build",
}


def get_detected_status_text(mode: Sequence[str], results: int | None, previous_results: int | None) -> str:
    """The result in a few words, such as ``new failure``; ``mode`` is that of the generator."""
    if results == FAILURE and previous_results not in (None, FAILURE) and {"change", "problem"} & set(mode):
        return "new failure"
    if results == SUCCESS and previous_results not in (None, SUCCESS) and "change" in mode:
        return "restored build"
    return _STATUS.get(results, f"{statusToString(results)} build")


def get_message_summary_text(build: Mapping[str, Any], results: int | None) -> str:
    """The result of a build, in a sentence."""
    state = build.get("state_string") or ""
    if results == SUCCESS:
        return "Build succeeded!"
    if results == CANCELLED:
        return "Build was cancelled"
    if results == SKIPPED:
        return "Build was skipped"
    if results is None:
        return f"Build is running: {state}"
    return f"Build Had Warnings: {state}" if results == WARNINGS else f"BUILD FAILED: {state}"


def get_message_source_stamp_text(source_stamps: Iterable[Mapping[str, Any]]) -> str:
    """The source stamps, a line for each."""
    lines = []
    for stamp in source_stamps:
        codebase = f" '{stamp['codebase']}'" if stamp["codebase"] else ""
        branch = f"[branch {stamp['branch']}] " if stamp["branch"] else ""
        patch = " (plus patch)" if stamp["patch"] is not None else ""
        lines.append(f"Build Source Stamp{codebase}: {branch}{stamp['revision'] or 'HEAD'}{patch}\n")
    return "".join(lines)


def get_projects_text(source_stamps: Iterable[Mapping[str, Any]], master: Any) -> str:
    """The names of the source stamps' projects; without any, the title of the installation."""
    projects = sorted({stamp["project"] for stamp in source_stamps if stamp["project"]})
    return ", ".join(projects) or str(master.config.title)


def create_context_for_build(
    mode: Sequence[str], build: Mapping[str, Any], is_buildset: bool, master: Any, blamelist: Sequence[str]
) -> dict[str, Any]:
    """The variables of templates about a build."""
    buildset = build["buildset"]
    stamps = buildset["sourcestamps"]
    results = build["results"]
    previous = build.get("prev_build")
    previous_results = None if previous is None else previous["results"]
    return {
        "results": results,
        "result_names": Results,
        "mode": mode,
        "buildername": build["builder"]["name"],
        "workername": build.get("properties", {}).get("workername", ["<unknown>"])[0],
        "buildset": buildset,
        "build": build,
        "is_buildset": is_buildset,
        "projects": get_projects_text(stamps, master),
        "previous_results": previous_results,
        "status_detected": get_detected_status_text(mode, results, previous_results),
        "build_url": build["url"],
        "buildbot_title": master.config.title,
        "buildbot_url": utils.base_url(master),
        "blamelist": blamelist,
        "summary": get_message_summary_text(build, results),
        "sourcestamps": get_message_source_stamp_text(stamps),
    }


def create_context_for_buildset(
    mode: Sequence[str],
    buildset: Mapping[str, Any],
    builds: Sequence[Mapping[str, Any]],
    master: Any,
    blamelist: Sequence[str],
) -> dict[str, Any]:
    """The variables of templates about a buildset as a whole."""
    stamps = buildset["sourcestamps"]
    return {
        "results": buildset["results"],
        "result_names": Results,
        "mode": mode,
        "buildset": buildset,
        "builds": builds,
        "is_buildset": True,
        "projects": get_projects_text(stamps, master),
        "status_detected": get_detected_status_text(mode, buildset["results"], None),
        "buildbot_title": master.config.title,
        "buildbot_url": utils.base_url(master),
        "blamelist": blamelist,
        "sourcestamps": get_message_source_stamp_text(stamps),
    }


def create_context_for_worker(master: Any, worker: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of templates about a missing worker."""
    return {
        "buildbot_title": master.config.title,
        "buildbot_url": utils.base_url(master),
        "worker": worker,
    }


def _context(value: Any) -> dict[str, Any]:
    return {} if value is None else checks.mapping(value)


def _logs_wanted(value: Any) -> Any:
    return value if isinstance(value, bool) else checks.list_of(checks.text)(value)


class MessageFormatterBase(Declared, Configured):
    """The base of formatters; a subclass overrides ``render_message_…`` methods, or `format_message_for_build`."""

    positional: ClassVar[tuple[str, ...]] = ("ctx", "want_properties", "want_steps", "want_logs", "want_logs_content")

    ctx = argument(None, _context, doc="further variables, by name")
    want_properties = argument(True, checks.boolean, doc="has no effect: builds always have their `properties`")
    want_steps = argument(False, checks.boolean, doc="whether builds have their `steps`")
    want_logs = argument(False, checks.boolean, doc="whether steps have their `logs`")
    want_logs_content = argument(
        False, _logs_wanted, doc="whether logs have their content: True, False, or names as `log` or `step.log`"
    )

    #: the type of the body: ``plain``, ``html`` or ``json``
    template_type: Any = "plain"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.want_logs = bool(self.want_logs or self.want_logs_content)
        self.want_steps = bool(self.want_steps or self.want_logs)
        self.context: Mapping[str, Any] = self.ctx or {}

    def buildAdditionalContext(self, master: Any, ctx: dict[str, Any]) -> Any:
        """Add variables to ``ctx``; may return a Deferred."""
        ctx.update(self.context)

    @deferred
    async def render_message_dict(self, master: Any, context: dict[str, Any]) -> dict[str, Any]:
        """The message: ``body``, ``type``, ``subject`` and ``extra_info``; Deferred."""
        await resolved(self.buildAdditionalContext(master, context))
        context.update(self.context)
        return {
            "body": await resolved(self.render_message_body(context)),
            "type": self.template_type,
            "subject": await resolved(self.render_message_subject(context)),
            "extra_info": await resolved(self.render_message_extra_info(context)),
        }

    def render_message_body(self, context: dict[str, Any]) -> Any:
        """The body, or None; may return a Deferred."""

    def render_message_subject(self, context: dict[str, Any]) -> Any:
        """The subject, or None; may return a Deferred."""

    def render_message_extra_info(self, context: dict[str, Any]) -> Any:
        """Further data for the receiver, a dictionary of dictionaries, or None; may return a Deferred."""

    def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> Any:
        """The message about a build; may return a Deferred.

        Args:
            kwargs: ``is_buildset``, ``users`` and ``mode``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not format messages of builds")

    def format_message_for_buildset(
        self, master: Any, buildset: dict[str, Any], builds: list[dict[str, Any]], **kwargs: Any
    ) -> Any:
        """The message about a buildset as a whole; may return a Deferred."""
        raise NotImplementedError(f"{type(self).__name__} does not format messages of buildsets")


class MessageFormatterEmpty(MessageFormatterBase):
    """Formats empty messages, for receivers that use only the builds of reports."""

    def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> Any:
        """A message without body and subject."""
        return {"body": None, "type": "plain", "subject": None, "extra_info": None}

    def format_message_for_buildset(
        self, master: Any, buildset: dict[str, Any], builds: list[dict[str, Any]], **kwargs: Any
    ) -> Any:
        """A message without body and subject."""
        return self.format_message_for_build(master, {})


class MessageFormatterFunction(MessageFormatterBase):
    """Formats messages whose body is the result of a function.

    The function is called with ``{"build": …}``, or with ``{"buildset": …, "builds": […]}``.
    """

    positional = ("function", "template_type", *MessageFormatterBase.positional)

    function = argument(REQUIRED, checks.function, doc="f(context) gives the body, or a Deferred")
    template_type: Any = argument(
        REQUIRED, checks.one_of("plain", "html", "json"), doc="the type of the body; `json` is any JSON value"
    )

    @deferred
    async def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> Any:
        """The message; Deferred."""
        return await self.render_message_dict(master, {"build": build})

    @deferred
    async def format_message_for_buildset(
        self, master: Any, buildset: dict[str, Any], builds: list[dict[str, Any]], **kwargs: Any
    ) -> Any:
        """The message; Deferred."""
        return await self.render_message_dict(master, {"buildset": buildset, "builds": builds})

    def render_message_body(self, context: dict[str, Any]) -> Any:
        """The result of the function."""
        return self.function(context)


class _OfContext(MessageFormatterBase):
    """The base of formatters that call `render_message_dict` with the variables of templates."""

    @deferred
    async def format_message_for_build(  # type: ignore[override]  # callers give no other arguments
        self, master: Any, build: dict[str, Any], is_buildset: bool = False, users: Any = None, mode: Any = None
    ) -> Any:
        """The message; Deferred."""
        context = create_context_for_build(mode or (), build, is_buildset, master, users or [])
        return await self.render_message_dict(master, context)

    @deferred
    async def format_message_for_buildset(
        self,
        master: Any,
        buildset: dict[str, Any],
        builds: list[dict[str, Any]],
        users: Any = None,
        mode: Any = None,
        **kwargs: Any,
    ) -> Any:
        """The message; Deferred."""
        context = create_context_for_buildset(mode or (), buildset, builds, master, users or [])
        return await self.render_message_dict(master, context)


class MessageFormatterFunctionRaw(_OfContext):
    """Formats messages by a function, which gives a dictionary with ``body``, ``type``, ``subject``, ``extra_info``."""

    positional = ("function", *MessageFormatterBase.positional)

    function = argument(REQUIRED, checks.function, doc="f(master, context) gives the message, or a Deferred")

    @deferred
    async def render_message_dict(self, master: Any, context: dict[str, Any]) -> dict[str, Any]:
        """The result of the function; Deferred."""
        await resolved(self.buildAdditionalContext(master, context))
        made = await resolved(self.function(master, context))
        if not isinstance(made, Mapping):
            raise TypeError(f"the function of {type(self).__name__} must give a dictionary, not {checks.kind(made)}")
        unknown = made.keys() - {"body", "type", "subject", "extra_info"}
        if unknown:
            raise ValueError(f"the function of {type(self).__name__} returned unknown keys: {sorted(unknown)}")
        return {
            "body": made.get("body"),
            "type": made.get("type", "plain"),
            "subject": made.get("subject"),
            "extra_info": made.get("extra_info"),
        }


class MessageFormatterRenderable(MessageFormatterBase):
    """Formats messages whose body and subject are renderables, or texts, with the properties of the build."""

    positional = ("template", "subject")

    template: Any = argument(REQUIRED, renderable=True, doc="the body")
    subject: Any = argument(None, renderable=True, doc="the subject")

    @deferred
    async def format_message_for_build(self, master: Any, build: dict[str, Any], **kwargs: Any) -> Any:
        """The message; Deferred."""
        properties = properties_of(build, master)
        return {
            "body": await properties.render(self.template),
            "type": self.template_type,
            "subject": await properties.render(self.subject),
            "extra_info": None,
        }


class _StampsOnly:
    """The part of a build that renderables in reporters may use."""

    def __init__(self, build: Mapping[str, Any]) -> None:
        self._stamps = build["buildset"]["sourcestamps"]
        self._worker = build.get("properties", {}).get("workername", [None])[0]
        self.builder_id, self.number = build.get("builderid"), build.get("number")

    def getSourceStamp(self, codebase: str = "") -> Mapping[str, Any] | None:
        """The source stamp of a codebase."""
        return next((stamp for stamp in self._stamps if stamp["codebase"] == codebase), None)

    def getAllSourceStamps(self) -> list[Mapping[str, Any]]:
        """All source stamps."""
        return list(self._stamps)

    def getWorkerInfo(self) -> Mapping[str, Any]:
        """The worker's name."""
        return {"name": self._worker} if self._worker is not None else {}


def properties_of(build: Mapping[str, Any], master: Any) -> Properties:
    """The properties of a reported build, for renderables."""
    properties = Properties()
    properties.master = master
    for name, (value, source) in build.get("properties", {}).items():
        properties.setProperty(name, value, source)
    properties.build = _StampsOnly(build)
    return properties


def _template(value: Any) -> str:
    compiled(checks.text(value))
    return str(value)


class MessageFormatterBaseJinja(MessageFormatterBase):
    """The base of formatters whose body and subject are Jinja2 templates; see `buildbot.reporters.templates`."""

    positional = ("template", "subject", "template_type", "extra_info_cb")

    template = argument(None, checks.optional(_template), doc="the body; None: a summary in plain text or HTML")
    subject = argument(None, checks.optional(_template), doc="the subject; None: a line with builder and result")
    template_type: Any = argument(None, checks.optional(checks.name), doc="`plain` (default) or `html`")
    extra_info_cb = argument(
        None, checks.optional(checks.function), doc="f(context) gives `extra_info`, a dictionary of dictionaries"
    )

    #: the default templates, by the described object and the type
    default_bodies: Mapping[tuple[str, str], str] = BODIES
    default_subjects: Mapping[str, str] = SUBJECTS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.template_type = self.template_type or "plain"
        known = {each for _, each in self.default_bodies}
        if self.template is None and self.template_type not in known:
            allowed = " or ".join(map(repr, sorted(known)))
            error(
                f"{type(self).__name__}: template_type must be {allowed} without a template, not {self.template_type!r}"
            )
            self.template_type = "plain"

    def render_message_body(self, context: dict[str, Any]) -> Any:
        """The text of the template."""
        what = _described(context)
        given = self.template
        return filled(compiled(self.default_bodies[what, self.template_type] if given is None else given), context)

    def render_message_subject(self, context: dict[str, Any]) -> Any:
        """The text of the template in one line."""
        given = self.subject
        text = filled(compiled(self.default_subjects[_described(context)] if given is None else given), context)
        return " ".join(text.split("\n")).strip()

    def render_message_extra_info(self, context: dict[str, Any]) -> Any:
        """The result of the function."""
        return None if self.extra_info_cb is None else self.extra_info_cb(context)


def _described(context: Mapping[str, Any]) -> str:
    return "worker" if "worker" in context else "build" if "build" in context else "buildset"


class MessageFormatter(_OfContext, MessageFormatterBaseJinja):
    """Formats messages about builds and buildsets by templates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.template is None:  # the default templates list the steps
            self.want_steps = self.want_logs = True

    def format_message_for_build(  # type: ignore[override]  # as in _OfContext
        self, master: Any, build: dict[str, Any], is_buildset: bool = False, users: Any = None, mode: Any = None
    ) -> Any:
        """The message; Deferred. ``build`` may be a waiting request, without the attributes of a build."""
        if "number" not in build:
            build = {"state_string": "build pending", "steps": [], **build}
        return super().format_message_for_build(master, build, is_buildset, users, mode)


class MessageFormatterMissingWorker(MessageFormatterBaseJinja):
    """Formats messages about a missing worker."""

    default_bodies = WORKER_BODIES
    default_subjects = WORKER_SUBJECTS

    @deferred
    async def formatMessageForMissingWorker(self, master: Any, worker: dict[str, Any]) -> dict[str, Any]:
        """The message; Deferred."""
        made: dict[str, Any] = await self.render_message_dict(master, create_context_for_worker(master, worker))
        return made
