"""Access requests, as rules see them, and the builders that they concern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred

from buildbot.data.exceptions import DataException
from buildbot.data.virtualbuilders import VIRTUAL
from buildbot.resources import BY_PLURAL, RESOURCES, WORDS_OF_BUILDS
from buildbot.resources.builders import BuilderDict
from buildbot.resources.buildrequests import BuildRequestDict
from buildbot.resources.builds import BuildDict
from buildbot.resources.buildsets import BuildsetDict
from buildbot.resources.schedulers import ForceSchedulerDict
from buildbot.resources.sourcestamps import SourceStampDict

#: words of paths below builds, logs and build data that name no noun
_PARTS_OF_BUILDS = frozenset(
    {"contents", "raw", "raw_inline", "logchunks", "value", "properties", "property_list", "properties_list"}
)
_BY_KEY = {each.key: each for each in RESOURCES if each.build_by is not None}
_OF_BUILDS = WORDS_OF_BUILDS | _PARTS_OF_BUILDS


class Data(Protocol):
    """The part of the Data API that finding builders needs."""

    def get(self, options: dict[str, Any], path: tuple[object, ...]) -> Deferred[Any]:
        """Read resources."""


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """A wish to read, follow or control resources.

    Attributes:
        path: segments of the Data API's path, or of the URL of something else (``("metrics",)``).
        action: ``get``, ``follow`` (events of the path, in which ``*`` is any segment), or the name of a control
            action.
        params: arguments of the action.
        linked: whether the reply may hold resources that the path does not name (``expand``).
    """

    path: tuple[str, ...]
    action: str = "get"
    params: Mapping[str, Any] = field(default_factory=dict)
    linked: bool = False

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.action in ("get", "follow")

    @property
    def shows_builds(self) -> bool:
        """Whether the reply may hold builds, or resources that belong to builds."""
        if not self.reads:
            return False
        # A wildcard in the place of a noun means any noun; the last segment of an event's key is its name.
        nouns = self.path[::2] if self.action == "get" else self.path[:-1:2]
        return self.linked or "*" in nouns or not _OF_BUILDS.isdisjoint(self.path)


@dataclass(frozen=True, slots=True)
class Target:
    """A target of a request.

    Attributes:
        builder: the name of its builder; None if it may be any builder's, or has none.
        owner: the ``owner`` property of the build or request; None if there is none.
        branch, project: of a source stamp of the build or request, ``""`` where that has none; None if it may be any.
    """

    builder: str | None = None
    owner: str | None = None
    branch: str | None = None
    project: str | None = None


async def targets(asked: AccessRequest, data: Data, with_stamps: bool = False) -> list[Target]:
    """The targets of a request, never empty; each must be allowed.

    ``with_stamps``: a target for each source stamp.
    """
    try:
        if asked.path[:1] == ("forceschedulers",) and asked.action == "force":
            return [Target(name) for name in await _forced(asked, data)] or [Target()]
        build, request, builderid = await _followed(asked.path, data)
        owner = await _owner(build, request, data)
        if "triggered_builds" in asked.path or asked.linked:
            return [Target(None, owner)]
        names = await _names(builderid, build, data)
        stamps = await _stamps(build, request, data) if with_stamps else []
        if not stamps:
            return [Target(name, owner) for name in names]
        return [Target(name, owner, stamp["branch"] or "", stamp["project"]) for name in names for stamp in stamps]
    except DataException:
        # No such path: the handler answers so. No rule about builders fits it.
        return [Target()]


async def _names(builderid: int | None, build: BuildDict | None, data: Data) -> list[str | None]:
    """The name of a builder, None if there is none; of a virtual one's build also that of the builder that builds."""
    builder: BuilderDict | None = None if builderid is None else await data.get({}, ("builders", builderid))
    if builder is None:
        return [None]
    if build is None or VIRTUAL not in builder["tags"]:
        return [builder["name"]]
    request: BuildRequestDict = await data.get({}, ("buildrequests", build["buildrequestid"]))
    own: BuilderDict = await data.get({}, ("builders", request["builderid"]))
    return [builder["name"], own["name"]]


async def _forced(asked: AccessRequest, data: Data) -> list[str]:
    """Names of the builders that a force concerns, as ``ForceScheduler`` reads its arguments."""
    scheduler: ForceSchedulerDict | None = await data.get({}, asked.path)
    if scheduler is None:
        return []
    names: object = asked.params.get("builderNames")
    builderid: Any = asked.params.get("builderid")
    if names is not None:
        wanted = names if isinstance(names, list) else [names]
        return [name for name in scheduler["builder_names"] if name in wanted]
    if builderid is not None:
        try:
            builder: BuilderDict | None = await data.get({}, ("builders", int(builderid)))
        except (TypeError, ValueError):
            return []
        return [] if builder is None else [builder["name"]]
    return list(scheduler["builder_names"])


async def _followed(path: tuple[str, ...], data: Data) -> tuple[BuildDict | None, BuildRequestDict | None, int | None]:
    """The build, the request and the builder's id at the beginning of a path; each None if the path names none."""
    head, identifier = path[:1], path[1:2]
    if not identifier or "*" in identifier:
        return None, None, None
    if head == ("builders",):
        if path[2:3] == ("builds",) and len(path) > 3 and path[3] != "*":
            build: BuildDict | None = await data.get({}, path[:4])
            return build, None, None if build is None else build["builderid"]
        builder: BuilderDict | None = await data.get({}, path[:2])
        return None, None, None if builder is None else builder["builderid"]
    if head == ("buildrequests",):
        request: BuildRequestDict | None = await data.get({}, path[:2])
        return None, request, None if request is None else request["builderid"]
    build = await _build_of(head[0], identifier[0], data)
    return build, None, None if build is None else build["builderid"]


async def _build_of(noun: str, identifier: object, data: Data) -> BuildDict | None:
    """The build that a resource is or belongs to; None if there is none."""
    resource = BY_PLURAL.get(noun)
    while resource is not None and resource.build_by is not None:
        found: Mapping[str, object] | None = await data.get({}, (resource.plural, identifier))
        if found is None:
            return None
        if resource.build_by == resource.key:
            return cast(BuildDict, found)
        identifier = found[resource.build_by]
        resource = _BY_KEY[resource.build_by]
    return None


async def _stamps(build: BuildDict | None, request: BuildRequestDict | None, data: Data) -> Sequence[SourceStampDict]:
    if build is not None:
        request = await data.get({}, ("buildrequests", build["buildrequestid"]))
    if request is None:
        return []
    buildset: BuildsetDict | None = await data.get({}, ("buildsets", request["buildsetid"]))
    return [] if buildset is None else buildset["sourcestamps"]


async def _owner(build: BuildDict | None, request: BuildRequestDict | None, data: Data) -> str | None:
    properties: Mapping[str, Sequence[object]]
    if build is not None:
        properties = await data.get({}, ("builds", build["buildid"], "properties"))
    elif request is not None:
        properties = await data.get({}, ("buildsets", request["buildsetid"], "properties"))
    else:
        return None
    value = properties.get("owner", (None, ""))[0]
    return value if isinstance(value, str) else None
