"""The step that triggers builds of other builders, and may wait for them.

The database says which buildsets a build has triggered (``parent_buildid``); this process need not remember them. A
build whose worker or master is lost ends with RETRY and leaves its buildsets alone; when it is built again and triggers
the same, it gets these buildsets (see ``data.update.triggerBuildset``). A build that is stopped cancels the buildsets
that it waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, FirstError, gatherResults

from buildbot.config import checks
from buildbot.config.arguments import argument
from buildbot.config.errors import error
from buildbot.data.buildrequests import PARENT_INTERRUPTED
from buildbot.interfaces import TriggerableLike, holds_renderable
from buildbot.process.properties import Properties
from buildbot.process.step import BuildStep, BuildStepCancelled
from buildbot.process.triggering import cancel_buildset
from buildbot.util.background import in_background
from buildbot.util.deferreds import resolved
from buildbot.util.results import SUCCESS, WARNINGS, statusToString, worst_status

#: the keys of a source stamp
_STAMP_KEYS = frozenset(
    ("codebase", "branch", "revision", "repository", "project", "patch_body", "patch_level", "patch_subdir",
     "patch_author", "patch_comment")
)  # fmt: skip
_CODE = ("codebase", "branch", "revision", "repository", "project")


def _stamp(value: Any) -> dict[str, Any]:
    stamp = checks.mapping(value)
    for key in stamp:
        if key not in _STAMP_KEYS:
            raise ValueError(f"has the unknown key {key!r}{checks.suggestion(key, _STAMP_KEYS)}")
    return stamp


@dataclass(frozen=True)
class _Child:
    """A buildset that was triggered."""

    bsid: int
    brids: Sequence[int]
    important: bool


class Trigger(BuildStep):
    """Trigger schedulers of the kind ``Triggerable``, and show links to their build requests and builds.

    A build that is stopped while it waits cancels the buildsets that it waits for.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "schedulerNames",
        "sourceStamp",
        "sourceStamps",
        "updateSourceStamp",
        "alwaysUseLatest",
        "waitForFinish",
        "set_properties",
        "copy_properties",
        "parent_relationship",
        "unimportantSchedulerNames",
    )
    name = "trigger"
    schedulerNames = argument((), checks.list_of(checks.text), rendered=True, doc="names of the schedulers; required")
    unimportantSchedulerNames = argument(
        (),
        checks.list_of(checks.text),
        rendered=True,
        doc="some of `schedulerNames`, whose builds do not count for the step's result",
    )
    waitForFinish = argument(
        False, checks.flag, rendered=True, doc="wait for the builds; the worst result is the step's"
    )
    updateSourceStamp = argument(
        None,
        checks.optional(checks.flag),
        rendered=True,
        doc="""build the revision that this build has got (`got_revision`), not the one it was asked for. None: True, if
        neither `alwaysUseLatest` nor `sourceStamps` is given""",
    )
    alwaysUseLatest = argument(
        False, checks.flag, rendered=True, doc="build the newest code of the default branch, not that of this build"
    )
    sourceStamps = argument(
        (),
        checks.optional(checks.list_of(_stamp)),
        rendered=True,
        doc="""the source stamps to build: a list of dictionaries with `codebase`, `branch`, `revision`, `repository`,
        `project`, `patch_body`, `patch_level`, `patch_subdir`, `patch_author`, `patch_comment`""",
    )
    sourceStamp = argument(None, checks.optional(_stamp), rendered=True, doc="one more such dictionary")
    set_properties = argument(
        None, checks.optional(checks.mapping), rendered=True, doc="properties of the triggered buildsets, by name"
    )
    copy_properties = argument(
        None,
        checks.optional(checks.list_of(checks.text)),
        rendered=True,
        doc="""names of properties that the triggered buildsets get from this build, if it has them; the values of
        `set_properties` win""",
    )
    parent_relationship = argument(
        "Triggered from", checks.text, rendered=True, doc="how the triggered buildsets are related to this build"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.triggeredNames: list[str] = []
        self.__children: list[_Child] = []
        self.__counts: Counter[int] = Counter()
        self.__interrupted = False

    # the choice of schedulers, properties and source stamps

    def check_arguments(self) -> None:
        """Report arguments that do not fit together."""
        own_choice = type(self).getSchedulersAndProperties is not Trigger.getSchedulersAndProperties
        if not self.__is_open(self.schedulerNames) and not self.schedulerNames and not own_choice:
            error(f"{type(self).__name__}: schedulerNames must name at least one scheduler")
        if not self.__is_open(self.schedulerNames, self.unimportantSchedulerNames) and not own_choice:
            others = [name for name in self.unimportantSchedulerNames if name not in self.schedulerNames]
            if others:
                error(
                    f"{type(self).__name__}: unimportantSchedulerNames must be in schedulerNames; "
                    f"{', '.join(map(repr, others))} is not"
                )
        if not self.__is_open(self.sourceStamps, self.sourceStamp, self.updateSourceStamp, self.alwaysUseLatest):
            problem = self.__contradiction()
            if problem:
                error(f"{type(self).__name__}: {problem}")

    @staticmethod
    def __is_open(*values: Any) -> bool:
        return any(holds_renderable(value) for value in values)

    def __contradiction(self) -> str:
        given = {
            "sourceStamps": self.sourceStamps or self.sourceStamp,
            "updateSourceStamp": self.updateSourceStamp,
            "alwaysUseLatest": self.alwaysUseLatest,
        }
        names = [name for name, value in given.items() if value]
        return f"{' and '.join(names)} contradict each other; give one of them" if len(names) > 1 else ""

    def getSchedulersAndProperties(self) -> Any:
        """The schedulers to trigger, with properties; subclasses override it, also with a Deferred or a coroutine.

        Returns:
            A list of dictionaries: ``sched_name``, the scheduler's name; ``props_to_set``, properties by name;
            ``unimportant``, whether its result does not count. A scheduler may be there several times.
        """
        return [
            {
                "sched_name": name,
                "props_to_set": dict(self.set_properties or {}),
                "unimportant": name in self.unimportantSchedulerNames,
            }
            for name in self.schedulerNames
        ]

    def createTriggerProperties(self, properties: Mapping[str, Any]) -> Properties:
        """The `Properties` of a scheduler's buildset, from its ``props_to_set``."""
        made = Properties()
        made.update(properties, "Trigger")
        return made

    def __hide_secrets(self, properties: Properties) -> None:
        """Replace values of secrets by their names: the properties of a buildset are stored in the database."""
        for name, value, source in properties.asList():
            properties.setProperty(name, self.build.properties.redactor.clean_value(value), source)

    def getSchedulerByName(self, name: str) -> Any:
        """The scheduler of the configuration with this name; ValueError if it cannot be triggered."""
        scheduler = self.build.builder.schedulers.get(name)
        if scheduler is None:
            hint = checks.suggestion(name, self.build.builder.schedulers)
            raise ValueError(f"there is no scheduler {name!r} in the configuration{hint}")
        if not isinstance(scheduler, TriggerableLike):
            raise ValueError(
                f"the scheduler {name!r} is a {type(scheduler).__name__}, which cannot be triggered; "
                "make it a Triggerable"
            )
        return scheduler

    def __source_stamps(self) -> list[dict[str, Any]]:
        """The source stamps for the schedulers."""
        problem = self.__contradiction()
        if problem:
            raise ValueError(problem)
        given = [*(self.sourceStamps or ()), *([self.sourceStamp] if self.sourceStamp else ())]
        if given:
            return [_as_text(stamp) for stamp in given]
        if self.alwaysUseLatest:
            return [{"codebase": stamp["codebase"]} for stamp in self.build.getAllSourceStamps()]
        return [self.__of_build(stamp) for stamp in self.build.getAllSourceStamps()]

    def __of_build(self, stamp: Mapping[str, Any]) -> dict[str, Any]:
        """A source stamp of the build, with its patch and changes, and the revision that the build has got."""
        codebase = stamp["codebase"]
        made = {key: stamp[key] for key in _CODE}
        patch = stamp["patch"]
        if patch is not None:
            made |= {f"patch_{key}": patch[key] for key in ("body", "level", "subdir", "author", "comment")}
        changes = [change["changeid"] for change in self.build.allChanges() if change["codebase"] == codebase]
        if changes:
            made["changeids"] = changes
        if self.updateSourceStamp is not False:
            got = self.getProperty("got_revision")
            if isinstance(got, Mapping):
                got = got.get(codebase)
            elif codebase:
                got = None
            made["revision"] = got or made["revision"]
        return made

    # running

    async def run(self) -> int:
        """Trigger the schedulers; with ``waitForFinish`` wait for the builds."""
        chosen = await resolved(self.getSchedulersAndProperties())
        schedulers = [self.getSchedulerByName(each["sched_name"]) for each in chosen]
        self.triggeredNames = [scheduler.name for scheduler in schedulers]
        await self.updateSummary()
        stamps = self.__source_stamps()
        copied = {name: self.getProperty(name) for name in self.copy_properties or () if self.hasProperty(name)}
        ends: list[Deferred[Any]] = []
        try:
            for scheduler, each in zip(schedulers, chosen, strict=True):
                properties = self.createTriggerProperties({**copied, **each.get("props_to_set", {})})
                self.__hide_secrets(properties)
                ends.append(await self.__trigger(scheduler, stamps, properties, not each.get("unimportant")))
                if self.stopped:
                    raise BuildStepCancelled
            return await self.__wait(ends) if self.waitForFinish else SUCCESS
        except BuildStepCancelled:
            self.__interrupted = True
            await self.__cancel_children()
            raise
        finally:
            for end in ends:
                end.addErrback(lambda _: None)
                end.cancel()

    async def __trigger(
        self, scheduler: Any, stamps: list[dict[str, Any]], properties: Properties, important: bool
    ) -> Deferred[Any]:
        """Trigger one scheduler and show its links; a Deferred that fires when its builds have ended."""
        ids, end = scheduler.trigger(
            bool(self.waitForFinish),
            sourcestamps=stamps,
            set_props=properties,
            parent_buildid=self.build.buildid,
            parent_relationship=self.parent_relationship,
        )
        bsid, requests = await ids
        if bsid is not None:
            self.__children.append(_Child(bsid, list(requests.values()), important))
            for brid in requests.values():
                await self.addURL(f"{scheduler.name} #{brid}", f"{self.__url}#/buildrequests/{brid}")
        waiting: Deferred[Any] = end
        return waiting

    @property
    def __url(self) -> str:
        return str(self.build.builder.defaults.url)

    async def __wait(self, ends: list[Deferred[Any]]) -> int:
        """Wait for all buildsets; the worst result of those that count."""
        try:
            await self.wait(gatherResults(ends, consumeErrors=True))
        except FirstError as problem:
            problem.subFailure.raiseException()
        results = SUCCESS
        for child in self.__children:
            buildset = await self.master.data.get({}, ("buildsets", child.bsid))
            if child.important or buildset["results"] == WARNINGS:
                results = worst_status(results, buildset["results"])
            for brid in child.brids:
                await self.__show_build(brid)
        return results

    async def __show_build(self, brid: int) -> None:
        """Link to the build of a request; one that was cancelled or collapsed has none."""
        query = {"order": ["-buildid"], "limit": 1}
        for build in await self.master.data.get(query, ("buildrequests", brid, "builds")):
            builder = await self.master.data.get({}, ("builders", build["builderid"]))
            self.__counts[build["results"]] += 1
            await self.addURL(
                f"{statusToString(build['results'])}: {builder['name']} #{build['number']}",
                f"{self.__url}#/builders/{build['builderid']}/builds/{build['number']}",
            )

    async def __cancel_children(self) -> None:
        """Cancel the buildsets that the step waits for, unless the build goes on elsewhere and waits for them there."""
        if not self.waitForFinish or self.build.goes_on_elsewhere:
            return
        for child in self.__children:
            # each by itself: one that cannot be cancelled does not keep the others
            work = cancel_buildset(self.master, child.bsid, PARENT_INTERRUPTED)
            await in_background(work, f"cancelling of buildset {child.bsid}")

    # summaries

    def getCurrentSummary(self) -> Any:
        """The names of the schedulers."""
        return {"step": f"triggering {', '.join(self.triggeredNames)}" if self.triggeredNames else "running"}

    def getResultSummary(self) -> Any:
        """The names of the triggered schedulers, and the numbers of builds by result."""
        if self.__interrupted:
            return {"step": "interrupted"}
        if not self.triggeredNames:
            return super().getResultSummary()
        counts = [f"{count} {statusToString(results)}" for results, count in sorted(self.__counts.items())]
        return {"step": ", ".join([f"triggered {', '.join(self.triggeredNames)}", *counts])}


def _as_text(stamp: Mapping[str, Any]) -> dict[str, Any]:
    """A source stamp for the database: a patch that was given as bytes becomes text."""
    body = stamp.get("patch_body")
    return {**stamp, "patch_body": body.decode()} if isinstance(body, bytes) else dict(stamp)
