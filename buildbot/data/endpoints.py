"""The endpoints of all paths, and the look-up of a path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.engine import Connection

from buildbot.data import options
from buildbot.data.base import ResourceList
from buildbot.data.build_data import BuildDataValueEndpoint
from buildbot.data.commits import CommitGraphEndpoint, CommitRangeEndpoint
from buildbot.data.endpoint import Endpoint, EndpointKind, ResourceEndpoint, Totals, Variables
from buildbot.data.exceptions import InvalidPathError
from buildbot.data.logs import LogChunksEndpoint, LogLinesEndpoint
from buildbot.data.properties import PropertiesEndpoint, PropertyListEndpoint
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Query
from buildbot.resources import RESOURCES
from buildbot.resources.base import Kind, Path
from buildbot.resources.build_data import BUILD_DATA
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET
from buildbot.resources.changes import CHANGE
from buildbot.resources.logs import LOG

_IDENTIFIER = re.compile(r"[a-zA-Z_-][.a-zA-Z0-9_-]*")


class SpecEndpoint(Endpoint):
    """All paths of the API, and the types of the resources there."""

    kind: EndpointKind = "collection"

    def __init__(self, db: DBConnector, endpoints: Sequence[Endpoint]) -> None:
        super().__init__(db, Path("application.spec"), "specs", "spec")
        self._endpoints = endpoints

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"path": "str", "type": "str", "plural": "str", "type_spec": "json"}

    def read(self, conn: Connection, variables: Variables, query: Query) -> ResourceList:
        """As ``Endpoint.read``."""
        rows = [
            {"path": each.path.pattern, "type": each.name, "plural": each.plural, "type_spec": each.type_spec}
            for each in self._endpoints
        ]
        return ResourceList(sorted(rows, key=lambda row: str(row["path"])), len(rows), self.plural)


class RootEndpoint(Endpoint):
    """The names of the collections."""

    kind: EndpointKind = "collection"

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, Path(""), "rootlinks", "rootlink")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"name": "str"}

    def read(self, conn: Connection, variables: Variables, query: Query) -> ResourceList:
        """As ``Endpoint.read``."""
        names = [r.plural for r in RESOURCES if any(p.pattern == r.plural for p in r.paths)]
        return ResourceList([{"name": name} for name in names], len(names), self.plural)


class Endpoints:
    """All paths; finds the endpoint of a tuple of segments."""

    def __init__(self, db: DBConnector) -> None:
        #: by number of segments and first segment, which is a fixed word in all paths
        self._by_start: dict[tuple[int, str], list[tuple[tuple[str, ...], Endpoint]]] = {}
        self.all: list[Endpoint] = list(_endpoints(db))
        self.all.append(SpecEndpoint(db, self.all))
        for endpoint in self.all:
            parts = endpoint.path.parts if endpoint.path.pattern else ()
            self._by_start.setdefault((len(parts), parts[0] if parts else ""), []).append((parts, endpoint))
        for found in self._by_start.values():
            # numbers before names, fixed words before variables
            found.sort(key=lambda item: [_rank(part) for part in item[0]])

    def find(self, path: Sequence[Any]) -> tuple[Endpoint, dict[str, Any]]:
        """The endpoint at a path, and the values of its variables.

        Raises:
            InvalidPathError: the API has no such path.
        """
        if isinstance(path, str | bytes) or not isinstance(path, list | tuple):
            raise InvalidPathError(f"the path must be a tuple, not {path!r}")
        found = self.at(path)
        if found is None:
            raise InvalidPathError(f"Invalid path: {'/'.join(map(str, path))}")
        return found

    def at(self, path: Sequence[Any]) -> tuple[Endpoint, dict[str, Any]] | None:
        """As ``find``; None if the API has no such path."""
        segments = tuple(path)
        first = segments[0] if segments and isinstance(segments[0], str) else ""
        for parts, endpoint in self._by_start.get((len(segments), first), ()):
            variables: dict[str, Any] = {}
            if all(_fits(part, segment, variables) for part, segment in zip(parts, segments, strict=True)):
                return endpoint, variables
        return None


def _endpoints(db: DBConnector) -> Iterator[Endpoint]:
    totals: Totals = {}
    yield RootEndpoint(db)
    for resource in RESOURCES:
        for path in resource.paths:
            yield ResourceEndpoint(db, resource, path, totals)
            if resource in (BUILD, BUILDSET) and path.is_single and "s:buildername" not in path.parts:
                yield PropertiesEndpoint(db, resource, path)
            if resource is LOG and path.is_single:
                yield LogLinesEndpoint(db, path, "contents", "lines")
                yield LogLinesEndpoint(db, path, "raw", "raw")
                yield LogLinesEndpoint(db, path, "raw_inline", "raw_inline")
            if resource is BUILD_DATA and path.is_single:
                yield BuildDataValueEndpoint(db, path)
    yield LogChunksEndpoint(db)
    yield CommitGraphEndpoint(db)
    yield CommitRangeEndpoint(db)
    yield PropertyListEndpoint(db, BUILD, Path("builds/n:buildid"), "property_list")
    yield PropertyListEndpoint(db, BUILDSET, Path("buildsets/n:bsid"), "properties_list")
    yield PropertyListEndpoint(db, CHANGE, Path("changes/n:changeid"), "properties_list")


def _rank(part: str) -> int:
    kind, colon, _ = part.partition(":")
    return {"n": 1, "i": 2, "s": 3}[kind] if colon else 0


def _fits(part: str, segment: Any, variables: dict[str, Any]) -> bool:
    kind, colon, name = part.partition(":")
    if not colon:
        return bool(segment == part)
    if kind == "n":
        if isinstance(segment, bool) or not isinstance(segment, int | str):
            return False
        try:
            value = int(segment)
        except ValueError:
            return False
        if abs(value) >= 2**63:
            return False
        variables[name] = value
        return True
    if not isinstance(segment, str) or not options.is_storable(segment):
        return False
    if kind == "i" and not _IDENTIFIER.fullmatch(segment):
        return False
    variables[name] = segment
    return True
