"""Every kind of path to builds, steps, logs and requests: by id, number and name, of builders, masters, requests."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from buildbot.resources import BY_PLURAL
from buildbot.resources.base import Path, Resource
from tests.exactness.sources import Source

#: by noun: the variables that name one of it, and those by which its owners are named, with the field of that owner
_NOUNS: dict[str, tuple[set[str], dict[str, str]]] = {
    "builds": (
        {"buildid", "build_number"},
        {
            "builderid": "builderid",
            "buildername": "builderid",
            "buildrequestid": "buildrequestid",
            "masterid": "masterid",
            "workerid": "workerid",
        },
    ),
    "steps": ({"stepid", "step_number", "step_name"}, {"buildid": "buildid", "build_number": "buildid"}),
    "logs": ({"logid", "log_slug"}, {"stepid": "stepid", "step_number": "stepid", "step_name": "stepid"}),
    "buildrequests": ({"buildrequestid"}, {"builderid": "builderid", "buildsetid": "buildsetid"}),
    "buildsets": ({"bsid"}, {}),
}
#: not here: builds that another one triggered, and those of a change, whose messages do not say so
_EXCEPT = ("triggered_builds", "changes")
#: the fields of messages that the judge keeps
FIELDS = sorted(
    {BY_PLURAL[noun].key for noun in _NOUNS} | {name for _, owners in _NOUNS.values() for name in owners.values()}
)


def _paths() -> list[tuple[Resource, Path]]:
    return [
        (BY_PLURAL[noun], path)
        for noun in _NOUNS
        for path in BY_PLURAL[noun].paths
        if path.variables and not any(part in _EXCEPT for part in path.parts)
    ]


PATHS = _paths()


@dataclass(frozen=True)
class Place:
    """A path to watch.

    Attributes:
        resource: the noun.
        path: with values for its variables.
        is_single: whether it is one of them.
        where: the field, and its value, of all elements: the messages that must come.
    """

    resource: Resource
    path: tuple[Any, ...]
    is_single: bool
    where: tuple[str, int]


async def choose(source: Source, chance: random.Random) -> Place | None:
    """A path of any kind to something new; None if there is nothing yet."""
    values = await _values(source, chance)
    fitting = [(noun, path) for noun, path in PATHS if values.keys() >= path.variables.keys()]
    if not fitting:
        return None
    resource, path = chance.choice(fitting)
    segments = tuple(values[part[2:]] if part[1:2] == ":" else part for part in path.parts)
    owners = _NOUNS[resource.plural][1]
    if path.is_single:
        field = resource.key
    else:
        field = next(owners[name] for name in reversed(path.variables) if name in owners)
    return Place(resource, segments, path.is_single, (field, values[field]))


async def _values(source: Source, chance: random.Random) -> dict[str, Any]:
    """The values of the variables of paths, for one of the newest builds with its owners, steps and logs."""
    newest = {"order": ["-buildid"], "limit": 8}
    builds, _ = await source.snapshot(("builds",), newest)
    if not builds:
        return {}
    build = chance.choice(builds)
    values = {name: build[name] for name in ("buildid", "builderid", "buildrequestid", "masterid", "workerid")}
    values["build_number"] = build["number"]
    builders, _ = await source.snapshot(("builders", build["builderid"]), {})
    values["buildername"] = builders[0]["name"]
    requests, _ = await source.snapshot(("buildrequests", build["buildrequestid"]), {})
    values["buildsetid"] = values["bsid"] = requests[0]["buildsetid"]
    steps, _ = await source.snapshot(("builds", build["buildid"], "steps"), {})
    if steps:
        step = chance.choice(steps)
        values |= {"stepid": step["stepid"], "step_number": step["number"], "step_name": step["name"]}
        logs, _ = await source.snapshot(("steps", step["stepid"], "logs"), {})
        if logs:
            values |= {"logid": logs[0]["logid"], "log_slug": logs[0]["slug"]}
    return {name: value for name, value in values.items() if value is not None}
