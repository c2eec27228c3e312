"""What can be got at each path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_type_hints

from sqlalchemy import select
from sqlalchemy.engine import Connection

from buildbot.data import links, options, spec
from buildbot.data.base import ResourceList
from buildbot.data.exceptions import InvalidOptionError, InvalidPathError
from buildbot.data.heard import Heard, heard_at, properties_heard_at
from buildbot.db.connector import DBConnector
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.query import Condition, Page, Query, count, fetch, fetch_one, in_one_statement, only_one
from buildbot.mq.log import thdClock
from buildbot.resources import RESOURCES
from buildbot.resources.base import Among, Element, Kind, Path, Resource
from buildbot.resources.build_data import BUILD_DATA
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET, buildsets
from buildbot.resources.changes import CHANGE
from buildbot.resources.codebases import CODEBASE, codebases
from buildbot.resources.commits import CommitGraphDict, commits
from buildbot.resources.logs import LOG
from buildbot.resources.sourcestamps import sourcestamps, sourcestampset_members
from buildbot.resources.steps import STEP
from buildbot.resources.test_result_sets import TEST_RESULT_SET
from buildbot.util import checks, jsontext

EndpointKind = Literal["single", "collection", "raw", "raw_inline", "lines"]
Variables = Mapping[str, Any]
#: by what was asked: how many there were at which clock
Totals = dict[str, tuple[int, int | None]]

#: lists whose totals are remembered, and how long what they were asked with may be
MAX_TOTALS = 1000
_MAX_TOTAL_CHARACTERS = 1000

_IDENTIFIER = re.compile(r"[a-zA-Z_-][.a-zA-Z0-9_-]*")


class Endpoint:
    """A path of the API, and how what is there is read."""

    kind: EndpointKind = "single"
    growing = False

    def __init__(self, db: DBConnector, path: Path, plural: str, name: str) -> None:
        self._db = db
        self.path = path
        self.plural = plural
        self.name = name

    @property
    def is_collection(self) -> bool:
        """Whether it gives a list."""
        return self.kind == "collection"

    @property
    def fields(self) -> dict[str, Kind]:
        """Attributes of what is there, with their kinds."""
        return {}

    @property
    def resource(self) -> Resource | None:
        """The noun that is there, if it is one."""
        return None

    @property
    def heard(self) -> Heard | None:
        """What subscriptions to it hear; None if nothing ever happens there."""
        return None

    @property
    def type_spec(self) -> dict[str, Any]:
        """What is there, as ``application.spec`` describes it."""
        return {"type": self.name, "fields": [spec.plain(name, kind) for name, kind in self.fields.items()]}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """The options as a value; most endpoints take none."""
        for name, value in (given or {}).items():
            if value:
                raise InvalidOptionError(f"{name}: {self.path.pattern} takes no options")
        return Query()

    def read(self, conn: Connection, variables: Variables, query: Query) -> Any:
        """What is there: a dictionary or None, or a list; runs in a thread, in a snapshot."""
        raise NotImplementedError

    def read_with_clock(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int]:
        """As ``read``, with the snapshot's clock."""
        clock, _ = thdClock(conn)
        return self.read(conn, variables, query), clock

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """What is there and the clock, without a snapshot; None if it takes one."""
        return None

    def asks_short(self, query: Query) -> bool:
        """Whether it takes a row or a few, by an index; see ``DBThreadPool.read_short``."""
        return False


class ResourceEndpoint(Endpoint):
    """One of a noun's paths."""

    def __init__(self, db: DBConnector, resource: Resource, path: Path, totals: Totals) -> None:
        super().__init__(db, path, resource.plural, resource.name)
        self._resource = resource
        self.kind = "single" if path.is_single else "collection"
        self.growing = resource.growing
        self._fields = {name: resource.kind(name) for name in resource.fields}
        self._totals = totals

    @property
    def resource(self) -> Resource:
        """As ``Endpoint.resource``."""
        return self._resource

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return self._fields

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``."""
        return heard_at(self._resource, self.path)

    @property
    def type_spec(self) -> dict[str, Any]:
        """As ``Endpoint.type_spec``."""
        return {"type": self.name, "fields": spec.described(self._resource)}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """As ``Endpoint.check``."""
        return options.checked(given, self._resource, self.is_collection)

    def read(self, conn: Connection, variables: Variables, query: Query) -> Any:
        """As ``Endpoint.read``."""
        return self._found(conn, variables, query, self._fetch(conn, variables, query), None)

    def read_with_clock(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int]:
        """As ``Endpoint.read_with_clock``."""
        page = self._fetch(conn, variables, query)
        clock = _clock(conn, page)
        return self._found(conn, variables, query, page, clock), clock

    def _fetch(self, conn: Connection, variables: Variables, query: Query) -> Page:
        return fetch(conn, self._resource, self.path, variables, query if self.is_collection else only_one(query))

    def _found(self, conn: Connection, variables: Variables, query: Query, page: Page, clock: int | None) -> Any:
        if not self.is_collection:
            self._link(conn, page.entities, query)
            return page.entities[0] if page.entities else None
        total = self._counted(conn, variables, query, clock)[0] if page.total is None else page.total
        self._link(conn, page.entities, query)
        return ResourceList(page.entities, total, self.plural)

    def asks_short(self, query: Query) -> bool:
        """As ``Endpoint.asks_short``: one resource, and what a build has few of."""
        few = not self.is_collection or (self._resource in (STEP, LOG) and bool(self.path.variables))
        return few and not query.expand and in_one_statement(self._resource, query)

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """As ``Endpoint.read_at_once``: one statement gives the rows and the clock.

        A total that takes another one is of the same moment if the clock is still the same, where that moves with all
        that is written.
        """
        if query.expand or not in_one_statement(self._resource, query):
            return None
        if not self.is_collection:
            page = fetch(conn, self._resource, self.path, variables, only_one(query))
            if page.clock is None:
                return None
            self._link(conn, page.entities, query)
            return page.entities[0], page.clock
        if not self._db.dialect.remote:
            return None
        page = fetch(conn, self._resource, self.path, variables, query)
        total, clock = page.total, page.clock
        if total is None and clock is not None:
            total, counted_at = self._counted(conn, variables, query, clock)
            clock = clock if counted_at == clock else None
        if total is None or clock is None:
            return None
        self._link(conn, page.entities, query)
        return ResourceList(page.entities, total, self.plural), clock

    def _counted(
        self, conn: Connection, variables: Variables, query: Query, clock: int | None
    ) -> tuple[int, int | None]:
        """How many there are, and the clock then, where it moves with all that is written.

        Counted again only when something was written: where the clock moves with all that is written, not only with
        what is announced. Elsewhere counting is quick.
        """
        if clock is None or not self._db.dialect.remote:
            return count(conn, self._resource, self.path, variables, query)
        key = repr((self.path.pattern, variables, query.conditions))
        found = self._totals.get(key)
        if found is None or found[1] != clock:
            found = count(conn, self._resource, self.path, variables, query)
            if len(self._totals) >= MAX_TOTALS:
                self._totals.clear()
            if len(key) <= _MAX_TOTAL_CHARACTERS:
                self._totals[key] = found
        return found

    def _link(self, conn: Connection, entities: Sequence[dict[str, Any]], query: Query) -> None:
        if query.links and query.fields is None:
            links.add_links(self._resource, entities)
        if query.expand:
            if query.fields is not None:
                missing = links.needed_fields(self._resource) - set(query.fields)
                if missing:
                    raise InvalidOptionError(f"expand: needs the fields {', '.join(sorted(missing))}")
            links.expand(conn, self._resource, entities, query.expand, query.links)


class PropertiesEndpoint(Endpoint):
    """All properties of a build or buildset: ``{name: [value, source]}``."""

    def __init__(self, db: DBConnector, owner: Resource, path: Path) -> None:
        super().__init__(db, Path(f"{path.pattern}/properties", single=True), "properties", "property")
        self._owner = owner
        self._owner_path = path

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``."""
        return properties_heard_at(self._owner, self._owner_path)

    @property
    def type_spec(self) -> dict[str, Any]:
        """As ``Endpoint.type_spec``; it has whatever attributes there are."""
        return {"name": "sourcedproperties"}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """Takes only ``properties``: names of those wanted."""
        return Query(properties=options.checked(given, self._owner, False).properties)

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any]:
        """As ``Endpoint.read``; empty if there is no such build or buildset."""
        found = _properties_of(self._db, conn, self._owner, self._owner_path, variables)
        wanted = query.properties
        return {n: list(p) for n, p in found.items() if wanted is None or "*" in wanted or n in wanted}


class PropertyListEndpoint(Endpoint):
    """Properties as a list of ``name``, ``source`` and ``value`` (JSON text)."""

    kind: EndpointKind = "collection"

    def __init__(self, db: DBConnector, owner: Resource, path: Path, last: str) -> None:
        super().__init__(db, Path(f"{path.pattern}/{last}"), "_properties", "_property")
        self._owner = owner
        self._owner_path = path

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``."""
        return properties_heard_at(self._owner, self._owner_path)

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


def _clock(conn: Connection, page: Page) -> int:
    """The clock of the snapshot that a page is from: with its rows, if it has any."""
    return thdClock(conn)[0] if page.clock is None else page.clock


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


_LOGCHUNK: dict[str, Kind] = {"logid": "int", "firstline": "int", "content": "str"}


class LogLinesEndpoint(Endpoint):
    """Lines of a log: ``offset`` and ``limit`` count lines."""

    def __init__(self, db: DBConnector, path: Path, last: str, kind: EndpointKind) -> None:
        super().__init__(db, Path(f"{path.pattern}/{last}", where=path.where, single=True), "logchunks", "logchunk")
        self._log_path = path
        self.kind = kind

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``: what happens to the log."""
        return heard_at(LOG, self._log_path)

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return _LOGCHUNK

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """Takes limit and offset, in lines."""
        given = dict(given or {})
        query = options.checked({k: given.pop(k) for k in ("limit", "offset") if k in given}, LOG, True)
        super().check(given)
        return query

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any] | None:
        """As ``Endpoint.read``: ``logid``, ``firstline``, ``content``.

        Raw kinds give the log itself, with the names of its ``step``, ``builder`` and ``worker`` and the build's
        ``number``.
        """
        return self._found(conn, query, self._fetch(conn, variables))[0]

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """As ``Endpoint.read_at_once``: the lines are of the same moment as the log if the clock is still the same,
        where that moves with all that is written.
        """
        if self.kind != "lines" or not self._db.dialect.remote:
            return None
        page = self._fetch(conn, variables)
        found, clock = self._found(conn, query, page)
        return None if clock is None or clock != page.clock else (found, clock)

    def read_with_clock(
        self, conn: Connection, variables: Variables, query: Query
    ) -> tuple[dict[str, Any] | None, int]:
        """As ``Endpoint.read_with_clock``."""
        page = self._fetch(conn, variables)
        return self._found(conn, query, page)[0], _clock(conn, page)

    def _fetch(self, conn: Connection, variables: Variables) -> Page:
        return fetch(conn, LOG, self._log_path, variables, Query(limit=1))

    def _found(self, conn: Connection, query: Query, page: Page) -> tuple[dict[str, Any] | None, int | None]:
        """What is there, and the clock when its lines were read, if there are any."""
        if not page.entities:
            return None, None
        log = page.entities[0]
        if self.kind != "lines":
            names = self._db.logs.thdGetOrigin(conn, log["logid"]) or (None,) * 4
            return {**log, **dict(zip(("step", "number", "builder", "worker"), names, strict=True))}, None
        first = query.offset
        if query.limit is None:
            if first and first >= log["num_lines"]:
                return None, None
            last = log["num_lines"] - 1
        else:
            if query.limit == 0:
                return None, None
            last = min(first + query.limit - 1, checks.MAX_INT)
        content, clock = self._db.logs.thdGetLogLinesAt(conn, log["logid"], first, last)
        return {"logid": log["logid"], "firstline": first, "content": content}, clock


class LogChunksEndpoint(Endpoint):
    """Chunks are found by their logs: there is nothing at ``/logchunks`` itself, but clients know the path."""

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, Path("logchunks", single=True), "logchunks", "logchunk")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return _LOGCHUNK

    def read(self, conn: Connection, variables: Variables, query: Query) -> None:
        """As ``Endpoint.read``."""
        return


class BuildDataValueEndpoint(Endpoint):
    """The bytes of build data."""

    kind: EndpointKind = "raw"

    def __init__(self, db: DBConnector, path: Path) -> None:
        super().__init__(
            db, Path(f"{path.pattern}/value", where=path.where, single=True), BUILD_DATA.plural, BUILD_DATA.name
        )
        self._data_path = path

    @property
    def heard(self) -> Heard | None:
        """As ``Endpoint.heard``: what happens to the data."""
        return heard_at(BUILD_DATA, self._data_path)

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"name": "str", "value": "json"}

    def read(self, conn: Connection, variables: Variables, query: Query) -> dict[str, Any] | None:
        """As ``Endpoint.read``: ``name``, and ``value``, which is bytes."""
        found = fetch_one(conn, BUILD_DATA, self._data_path, variables, Query(fields=("buildid", "name")))
        if found is None:
            return None
        value = self._db.build_data.thdGetBuildDataValue(conn, found["buildid"], found["name"])
        return {"name": found["name"], "value": value}


_RANGE = f"{CODEBASE.plural}/n:codebaseid/commit_range/n:commitid1/n:commitid2"


class CommitGraphEndpoint(Endpoint):
    """How two commits of a codebase are related."""

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, Path(f"{_RANGE}/commits_common_parent", single=True), "commit_graphs", "commit_graph")

    @property
    def fields(self) -> dict[str, Kind]:
        """As ``Endpoint.fields``."""
        return {"common": "int", "to1": "list", "to2": "list"}

    @property
    def type_spec(self) -> dict[str, Any]:
        """As ``Endpoint.type_spec``."""
        types = get_type_hints(CommitGraphDict)
        return {"type": self.name, "fields": [spec.plain(n, kind, types[n]) for n, kind in self.fields.items()]}

    def read(self, conn: Connection, variables: Variables, query: Query) -> Any:
        """As ``Endpoint.read``; None if they have no common ancestor."""
        if not _in_codebase(self._db, conn, variables):
            return None
        return self._db.commits.thdGetCommitGraph(conn, variables["commitid1"], variables["commitid2"])


_OF_STAMPS = Element("sourcestamps", ("codebase", "revision"))
_OF_COMMITS = Path(
    BUILDSET.plural,
    where=buildsets.c.sourcestampsetid.in_(
        select(sourcestampset_members.c.sourcestampsetid)
        .join(sourcestamps, sourcestamps.c.id == sourcestampset_members.c.ssid)
        .join(codebases, codebases.c.name == sourcestamps.c.codebase)
        .join(commits, (commits.c.codebaseid == codebases.c.id) & (commits.c.revision == sourcestamps.c.revision))
        .where(IdIn(commits.c.id))
    ),
)


class CommitRangeEndpoint(ResourceEndpoint):
    """Test result sets of builds of any commit between two and their common ancestor, all included."""

    #: every database takes so many values in a statement
    MAX_SETS = 30_000

    def __init__(self, db: DBConnector) -> None:
        super().__init__(db, TEST_RESULT_SET, Path(f"{_RANGE}/test_result_sets"), {})
        self._all = next(path for path in TEST_RESULT_SET.paths if not path.variables)

    @property
    def heard(self) -> Heard:
        """As ``Endpoint.heard``: which commits there are between two stays the same."""
        of_stamps = Among("buildsetid", BUILDSET.plural, "bsid", _OF_STAMPS, found_by=_OF_COMMITS)
        of_requests = Among("buildrequestid", BUILDREQUEST.plural, "buildrequestid", of_stamps)
        condition = Among("buildid", BUILD.plural, "buildid", of_requests)
        resource = TEST_RESULT_SET
        return Heard(resource.events, condition, resource.event_names, resource.key, more=self._stamps)

    def _stamps(self, conn: Connection, variables: Variables) -> dict[str, Any]:
        """What source stamps of these commits have, and the commits' ids."""
        codebase = self._db.codebases.thdGetCodebase(conn, variables["codebaseid"])
        if codebase is None or not _in_codebase(self._db, conn, variables):
            return {}
        ids = self._db.commits.thdGetRange(conn, variables["commitid1"], variables["commitid2"])
        revisions = frozenset(self._db.commits.thdGetRevisions(conn, ids))
        return {"codebase": codebase["name"], "revision": revisions, "ids": ids}

    def read(self, conn: Connection, variables: Variables, query: Query) -> ResourceList:
        """As ``Endpoint.read``."""
        ids: list[int] = []
        if _in_codebase(self._db, conn, variables):
            ids = self._db.commits.thdTestResultSets(conn, variables["commitid1"], variables["commitid2"])
        if len(ids) > self.MAX_SETS:
            raise InvalidOptionError(f"commit range: {len(ids)} test result sets are more than {self.MAX_SETS}")
        if not ids:
            return ResourceList([], 0, self.plural)
        within = Condition("test_result_setid", "in", tuple(ids))
        query = replace(query, conditions=(*query.conditions, within))
        page = fetch(conn, TEST_RESULT_SET, self._all, {}, query)
        total = count(conn, TEST_RESULT_SET, self._all, {}, query)[0] if page.total is None else page.total
        self._link(conn, page.entities, query)
        return ResourceList(page.entities, total, self.plural)

    def read_with_clock(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int]:
        """As ``Endpoint.read_with_clock``: the clock is asked for by itself."""
        return Endpoint.read_with_clock(self, conn, variables, query)

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> None:
        """As ``Endpoint.read_at_once``: it always takes a snapshot."""
        return


def _in_codebase(db: DBConnector, conn: Connection, variables: Variables) -> bool:
    """Whether both ends of a commit range are commits of its codebase."""
    found = [db.commits.thdGetCommit(conn, variables[name]) for name in ("commitid1", "commitid2")]
    return all(commit is not None and commit["codebaseid"] == variables["codebaseid"] for commit in found)


class SpecEndpoint(Endpoint):
    """All paths that there are, and the types of what is there."""

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
    """All paths; finds the one that a tuple of segments means."""

    def __init__(self, db: DBConnector) -> None:
        #: by length and first segment, which is a fixed word in all of them
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
            InvalidPathError: nothing is there, ever.
        """
        if isinstance(path, str | bytes) or not isinstance(path, list | tuple):
            raise InvalidPathError(f"the path must be a tuple, not {path!r}")
        found = self.at(path)
        if found is None:
            raise InvalidPathError(f"Invalid path: {'/'.join(map(str, path))}")
        return found

    def at(self, path: Sequence[Any]) -> tuple[Endpoint, dict[str, Any]] | None:
        """As ``find``; None if nothing is there, ever."""
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
