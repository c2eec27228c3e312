"""Properties at the paths of builds, buildsets and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection

from buildbot.data import options
from buildbot.data.base import ResourceList
from buildbot.data.endpoint import Endpoint, EndpointKind, Variables
from buildbot.data.heard import Heard, properties_heard_at
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Query, fetch_one
from buildbot.resources.base import Kind, Path, Resource
from buildbot.resources.buildsets import BUILDSET
from buildbot.resources.changes import CHANGE
from buildbot.util import jsontext


class _OfOwner(Endpoint):
    """Properties of the resource at another path."""

    #: builds get the properties of their buildsets and changes
    of_builds = True

    def __init__(self, db: DBConnector, owner: Resource, owner_path: Path, path: Path, plural: str, name: str) -> None:
        super().__init__(db, path, plural, name)
        self._owner = owner
        self._owner_path = owner_path

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``."""
        return properties_heard_at(self._owner, self._owner_path)


class PropertiesEndpoint(_OfOwner):
    """All properties of a build or buildset: ``{name: [value, source]}``."""

    def __init__(self, db: DBConnector, owner: Resource, path: Path) -> None:
        own = Path(f"{path.pattern}/properties", single=True)
        super().__init__(db, owner, path, own, "properties", "property")

    @property
    def type_spec(self) -> dict[str, Any]:
        """As ``Endpoint.type_spec``: its attributes are the names of the properties."""
        return {"name": "sourcedproperties"}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """Takes only ``properties``: the names of the properties to read."""
        return Query(properties=options.checked(given, self._owner, False).properties)

    def is_of_one_moment(self, query: Query) -> bool:
        """As ``Endpoint.is_of_one_moment``: one statement reads those of a buildset."""
        return self._owner is BUILDSET

    def asks_short(self, query: Query) -> bool:
        """As ``Endpoint.asks_short``."""
        return self._owner is BUILDSET

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any]:
        """As ``Endpoint.read``; empty if there is no such build or buildset."""
        found = _properties_of(self._db, conn, self._owner, self._owner_path, variables)
        wanted = query.properties
        return {n: list(p) for n, p in found.items() if wanted is None or "*" in wanted or n in wanted}


class PropertyListEndpoint(_OfOwner):
    """Properties as a list of ``name``, ``source`` and ``value`` (JSON text)."""

    kind: EndpointKind = "collection"

    def __init__(self, db: DBConnector, owner: Resource, path: Path, last: str) -> None:
        super().__init__(db, owner, path, Path(f"{path.pattern}/{last}"), "_properties", "_property")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"name": "str", "source": "str", "value": "str"}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """Takes limit and offset."""
        given = dict(given or {})
        query = options.checked({k: given.pop(k) for k in ("limit", "offset") if k in given}, self._owner, True)
        super().check(given)
        return query

    def read(self, conn: Connection, variables: Variables, query: Query) -> ResourceList:
        """As ``Endpoint.read``."""
        found = _properties_of(self._db, conn, self._owner, self._owner_path, variables)
        rows = [
            {"name": name, "source": source, "value": jsontext.encoded(value).decode()}
            for name, (value, source) in sorted(found.items())
        ]
        end = None if query.limit is None else query.offset + query.limit
        return ResourceList(rows[query.offset : end], len(rows), self.plural)


def _properties_of(
    db: DBConnector, conn: Connection, owner: Resource, path: Path, variables: Variables
) -> Mapping[str, Any]:
    if owner is CHANGE:
        change = fetch_one(conn, owner, path, variables, Query(fields=("properties",)))
        return {} if change is None else change["properties"]
    if owner is BUILDSET:
        return db.buildsets.thdGetBuildsetProperties(conn, variables["bsid"])
    build = fetch_one(conn, owner, path, variables, Query(fields=("buildid",)))
    return {} if build is None else db.builds.thdGetBuildProperties(conn, build["buildid"])
