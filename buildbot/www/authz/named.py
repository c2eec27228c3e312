"""Access requests for user-written rules: with the names that Buildbot gives to the endpoints of the Data API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from buildbot.data.exceptions import InvalidPathError
from buildbot.data.interfaces import Master
from buildbot.www.authz.access import AccessRequest

#: names of nouns in names of endpoints, where these are not the capitalized names
_SPELLINGS = {
    "branch": "CodebaseBranch",
    "buildrequest": "BuildRequest",
    "changesource": "ChangeSource",
    "commit": "CodebaseCommit",
    "commit_graph": "CodebaseCommitsGraph",
    "forcescheduler": "ForceScheduler",
    "sourcestamp": "SourceStamp",
    "test_result": "TestResult",
    "test_result_set": "TestResultSet",
}
_PLURALS = {"CodebaseBranch": "CodebaseBranches"}
#: endpoints whose names follow from the last word of their paths
_BY_LAST_WORD = {
    "contents": "LogChunk",
    "logchunks": "LogChunk",
    "raw": "RawLogChunk",
    "raw_inline": "RawInlineLogChunk",
    "property_list": "PropertiesList",
    "properties_list": "PropertiesList",
    "triggered_builds": "BuildTriggeredBuilds",
    "application.spec": "Spec",
    "data": "BuildDatasNoValue",
    "value": "BuildData",
}
_METHOD = "match_"


class ApiEndpoint:
    """A path of the Data API, as the methods of matchers get it.

    Attributes:
        name: ``BuildEndpoint``, ``BuildsEndpoint`` and so on.
        variables: the values of the path's variables: ``{"buildid": 1}``.
    """

    def __init__(self, master: Master, name: str, pattern: Sequence[str], variables: dict[str, Any]) -> None:
        self.master = master
        self.name = name
        self.variables = variables
        self.__pattern = pattern

    def get(self, resultSpec: Any, kwargs: Mapping[str, Any]) -> Deferred[Any]:
        """Read the resources there: a dictionary, a list of them, or None."""
        path = tuple(kwargs[part.partition(":")[2]] if ":" in part else part for part in self.__pattern)
        return self.master.data.get(resultSpec or {}, path)

    def method_of(self, rule: object, action: str) -> Callable[..., Any] | None:
        """The method of a rule for this endpoint and action."""
        for name in (f"{_METHOD}{self.name}_{action}", f"{_METHOD}{self.name}"):
            method: Callable[..., Any] | None = getattr(rule, name, None)
            if method is not None:
                return method
        return None


def has_methods(kind: type) -> bool:
    """Whether a class has methods for single endpoints."""
    return any(name.startswith(_METHOD) for name in dir(kind))


def asked(path: Sequence[Any], action: str, options: Mapping[str, Any] | None) -> AccessRequest:
    """An access request, from the arguments of Buildbot's methods."""
    known = getattr(options, "asked", None)
    if isinstance(known, AccessRequest):
        return known
    read = action.upper() in ("GET", "HEAD")
    # It is not known what else a reply holds, so every rule that may protect it must be asked.
    return AccessRequest(tuple(map(str, path)), "get" if read else action, dict(options or {}), linked=read)


class Options(dict[str, Any]):
    """Arguments of an action, which remember the request that they belong to."""

    def __init__(self, asked: AccessRequest) -> None:
        super().__init__(asked.params)
        self.asked = asked


def action_of(asked: AccessRequest) -> str:
    """The action's name in Buildbot's rules; following events is reading."""
    return "GET" if asked.reads else asked.action


def endpoint_at(master: Master, path: Sequence[str]) -> ApiEndpoint | None:
    """The endpoint at a path; None if the Data API has no such path."""
    try:
        found = master.data.endpoint(tuple(path))
    except InvalidPathError:
        return None
    parts = found.path.parts if found.path.pattern else ()
    variables = {
        part.partition(":")[2]: int(segment) if part.startswith("n:") else segment
        for part, segment in zip(parts, path, strict=True)
        if ":" in part
    }
    return ApiEndpoint(master, name_of(parts, found.name, found.is_collection), parts, variables)


def name_of(parts: Sequence[str], noun: str, is_collection: bool) -> str:
    """The name of an endpoint.

    Args:
        parts: of its path.
        noun: the noun there, in the singular.
        is_collection: whether it is a list.
    """
    last = parts[-1] if parts else ""
    if not parts:
        name = "Root"
    elif last in _BY_LAST_WORD:
        name = _BY_LAST_WORD[last]
    elif noun == "build_data":
        name = "BuildDataNoValue"
    elif last == "properties":
        name = "BuildsetProperties" if parts[0] == "buildsets" else "BuildProperties"
    elif "commits_by_revision" in parts:
        name = "CodebaseCommitByRevision"
    elif "commit_range" in parts and is_collection:
        name = "TestResultSetsFromCommitRange"
    else:
        single = _SPELLINGS.get(noun, noun.capitalize())
        name = _PLURALS.get(single, f"{single}s") if is_collection else single
    return f"{name}Endpoint"
