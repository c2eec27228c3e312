"""A path of the Data API, and how the resources there are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy.engine import Connection

from buildbot.data import links, options, spec
from buildbot.data.base import ResourceList
from buildbot.data.exceptions import InvalidOptionError
from buildbot.data.heard import Heard, heard_at
from buildbot.db.connector import DBConnector
from buildbot.db.engine.query import Page, Query, are_whole, count, fetch, in_one_moment, only_one
from buildbot.mq.log import thdClock
from buildbot.resources.base import Kind, Path, Resource
from buildbot.resources.logs import LOG
from buildbot.resources.steps import STEP

EndpointKind = Literal["single", "collection", "raw", "raw_inline", "lines"]
Variables = Mapping[str, Any]


class Total(NamedTuple):
    """The total of a list, as it was counted last.

    Attributes:
        rows: the total.
        clock: the clock then.
        moves: whether the clock had moved since the time before; then it is counted with the page, in one statement.
    """

    rows: int
    clock: int | None
    moves: bool


#: by path, variables and filters
Totals = dict[str, Total]

#: lists whose totals are remembered, and the longest text of variables and filters that is remembered
MAX_TOTALS = 1000
_MAX_TOTAL_CHARACTERS = 1000
#: the list of changes that each build reads; usually short
_CHANGES = "sourcestamps/n:ssid/changes"


class Endpoint:
    """A path of the API, and how the resources there are read."""

    kind: EndpointKind = "single"
    growing = False
    #: whether every change of the resources there is an event; see ``Resource.announced``
    announced = False
    #: whether the resources there are builds, or belong to builds
    of_builds = False

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
        """The attributes of the resources there, with their kinds."""
        return {}

    @property
    def compared(self) -> Mapping[str, Kind]:
        """The kinds of the values that filters compare the attributes with."""
        return self.fields

    @property
    def resource(self) -> Resource | None:
        """The noun of the resources there; None for something else."""
        return None

    @property
    def heard(self) -> Heard | None:
        """The events that subscriptions to it get; None if there are none."""
        return None

    @property
    def type_spec(self) -> dict[str, Any]:
        """Its description in ``application.spec``."""
        return {"type": self.name, "fields": [spec.plain(name, kind) for name, kind in self.fields.items()]}

    def check(self, given: Mapping[str, Any] | None) -> Query:
        """The options as a `Query`; most endpoints take none."""
        for name, value in (given or {}).items():
            if value:
                raise InvalidOptionError(f"{name}: {self.path.pattern} takes no options")
        return Query()

    def read(self, conn: Connection, variables: Variables, query: Query) -> Any:
        """Read the resources there: a dictionary or None, or a list; runs in a thread, in a snapshot."""
        raise NotImplementedError

    def read_with_clock(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int]:
        """As ``read``, with the snapshot's clock."""
        clock, _ = thdClock(conn)
        return self.read(conn, variables, query), clock

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """Read the resources there and the clock, without a snapshot; None if a snapshot is needed."""
        return None

    def is_of_one_moment(self, query: Query) -> bool:
        """Whether ``read`` gives what was there at one moment even without a snapshot, if that `is_whole`."""
        return False

    def is_whole(self, query: Query, found: Any) -> bool:
        """Whether nothing of what ``read`` found was removed while it read."""
        return True

    def asks_short(self, query: Query) -> bool:
        """Whether the read takes a row or a few, by an index; see ``DBThreadPool.read_short``."""
        return False


class ResourceEndpoint(Endpoint):
    """One of a noun's paths."""

    def __init__(self, db: DBConnector, resource: Resource, path: Path, totals: Totals) -> None:
        super().__init__(db, path, resource.plural, resource.name)
        self._resource = resource
        self.kind = "single" if path.is_single else "collection"
        self.growing = resource.growing
        self.announced = resource.announced
        self.of_builds = resource.build_by is not None
        self._compared = {name: resource.compared(name) for name in resource.fields}
        self._fields = {name: resource.kind(name) for name in resource.fields}
        self._totals = totals

    @property
    def compared(self) -> Mapping[str, Kind]:
        """As ``Endpoint.compared``."""
        return self._compared

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
        clock = clock_of(conn, page)
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
        """As ``Endpoint.asks_short``: one resource, or the few that a build has of some nouns."""
        few = not self.is_collection or (self._resource in (STEP, LOG) and bool(self.path.variables))
        few = few or self.path.pattern == _CHANGES
        return few and not query.expand and in_one_moment(self._resource, query)

    def read_at_once(self, conn: Connection, variables: Variables, query: Query) -> tuple[Any, int] | None:
        """As ``Endpoint.read_at_once``: one statement gives the rows and the clock.

        A total takes a second statement. Both are of the same moment if the clock is still the same, on databases
        where every write moves it.
        """
        if query.expand or not in_one_moment(self._resource, query):
            return None
        if not self.is_collection:
            page = fetch(conn, self._resource, self.path, variables, only_one(query))
            if page.clock is None or not are_whole(self._resource, query, page.entities):
                return None
            self._link(conn, page.entities, query)
            return page.entities[0], page.clock
        if not self._db.dialect.remote:
            return None
        key = self._key(variables, query)
        remembered = self._totals.get(key)
        moves = remembered is not None and remembered.moves
        page = fetch(conn, self._resource, self.path, variables, query, with_total=moves)
        if not are_whole(self._resource, query, page.entities):
            return None
        total, clock = page.total, page.clock
        if moves and total is not None:
            self._remember(key, total, clock)
        elif total is None and clock is not None:
            total, counted_at = self._counted(conn, variables, query, clock)
            clock = clock if counted_at == clock else None
        if total is None or clock is None:
            return None
        self._link(conn, page.entities, query)
        return ResourceList(page.entities, total, self.plural), clock

    def is_of_one_moment(self, query: Query) -> bool:
        """As ``Endpoint.is_of_one_moment``: no total is counted for a list without a limit."""
        is_whole = not self.is_collection or (query.limit is None and not query.offset)
        return is_whole and not query.expand and in_one_moment(self._resource, query)

    def is_whole(self, query: Query, found: Any) -> bool:
        """As ``Endpoint.is_whole``."""
        entities = found if self.is_collection else [found] if found is not None else []
        return are_whole(self._resource, query, entities)

    def _counted(
        self, conn: Connection, variables: Variables, query: Query, clock: int | None
    ) -> tuple[int, int | None]:
        """The total, and the clock then, on databases where every write moves the clock.

        There it is counted again only when something was written. Elsewhere counting is quick.
        """
        if clock is None or not self._db.dialect.remote:
            return count(conn, self._resource, self.path, variables, query)
        key = self._key(variables, query)
        found = self._totals.get(key)
        if found is not None and found.clock == clock:
            return found.rows, clock
        total, at = count(conn, self._resource, self.path, variables, query)
        self._remember(key, total, at)
        return total, at

    def _key(self, variables: Variables, query: Query) -> str:
        return repr((self.path.pattern, variables, query.conditions))

    def _remember(self, key: str, total: int, clock: int | None) -> None:
        before = self._totals.get(key)
        if len(self._totals) >= MAX_TOTALS:
            self._totals.clear()
        if len(key) <= _MAX_TOTAL_CHARACTERS:
            self._totals[key] = Total(total, clock, before is not None and before.clock != clock)

    def _link(self, conn: Connection, entities: Sequence[dict[str, Any]], query: Query) -> None:
        if query.links and query.fields is None:
            links.add_links(self._resource, entities)
        if query.expand:
            if query.fields is not None:
                missing = links.needed_fields(self._resource) - set(query.fields)
                if missing:
                    raise InvalidOptionError(f"expand: needs the fields {', '.join(sorted(missing))}")
            links.expand(conn, self._resource, entities, query.expand, query.links)


def clock_of(conn: Connection, page: Page) -> int:
    """The clock of the snapshot of a page; it comes with the rows, if there are any."""
    return thdClock(conn)[0] if page.clock is None else page.clock
