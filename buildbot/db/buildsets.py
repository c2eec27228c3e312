"""Buildsets connector."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from sqlalchemy import and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from buildbot.db import properties as property_pairs
from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.builders import BuildersConnectorComponent
from buildbot.db.dialects.context import dialect_of, transaction_of
from buildbot.db.dialects.expressions import IdIn, NoIndex
from buildbot.db.engine.races import refusing_unknown
from buildbot.db.engine.rows import own_row
from buildbot.db.engine.statements import Insert, Row, Statement, Update, by_name
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.base import unset
from buildbot.resources.buildrequests import BUILDREQUEST, buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.buildsets import BUILDSET, DbBuildsetDict, buildsets
from buildbot.resources.sourcestamps import sourcestamps, sourcestampset_members
from buildbot.util import checks
from buildbot.util.clock import to_datetime, to_seconds
from buildbot.util.results import SEVERITY, SKIPPED, SUCCESS, WARNINGS

#: the result of getters, under the name that plugins import
BuildSetModel = DbBuildsetDict

_add = Insert(
    insert(buildsets).values(
        by_name(c for c in buildsets.columns if c.name not in ("id", "complete", "complete_at", "results"))
    ),
    gives=own_row(BUILDSET),
)
_request: dict[str, Any] = {
    name: bindparam(name) for name in ("buildsetid", "builderid", "priority", "submitted_at", "waited_for")
}
_request_row = own_row(BUILDREQUEST)
_add_request = Insert(insert(buildrequests).values(_request), gives=_request_row)
_requests_of = Statement(select(*_request_row.columns).where(buildrequests.c.buildsetid == bindparam("bsid")))
#: the column of a request's row that names its builder
_BUILDERID = [column.name for column in _request_row.columns].index("builderid")
_columns = (
    buildsets.c.id,
    buildsets.c.external_idstring,
    buildsets.c.reason,
    buildsets.c.sourcestampsetid,
    buildsets.c.submitted_at,
    buildsets.c.complete,
    buildsets.c.complete_at,
    buildsets.c.results,
    buildsets.c.parent_buildid,
    buildsets.c.parent_relationship,
    buildsets.c.rebuilt_buildid,
)
_get = Statement(select(*_columns).where(buildsets.c.id == bindparam("bsid")))
_properties = Statement(select(buildsets.c.properties).where(buildsets.c.id == bindparam("bsid")))
_complete = Statement(
    update(buildsets)
    .where(buildsets.c.id == bindparam("bsid"), buildsets.c.complete == 0)
    .values(complete=1, complete_at=bindparam("at"), results=bindparam("outcome"))
)
_lock = Statement(
    select(buildsets.c.id, buildsets.c.complete).where(IdIn(buildsets.c.id)).order_by(buildsets.c.id).with_for_update()
)
_its_requests = select(buildrequests.c.id).where(buildrequests.c.buildsetid == buildsets.c.id)
_done = and_(
    IdIn(buildsets.c.id),
    NoIndex(buildsets.c.complete) == 0,
    ~_its_requests.where(NoIndex(buildrequests.c.complete) == 0).exists(),
)
#: the worst result of its requests; SKIPPED counts as SUCCESS
_gravest = func.max(case(SEVERITY, value=buildrequests.c.results, else_=buildrequests.c.results))
_of_severity = {rank: SUCCESS if code == SKIPPED else code for code, rank in SEVERITY.items()}
_outcome = _its_requests.with_only_columns(case(_of_severity, value=_gravest, else_=_gravest)).scalar_subquery()
_complete_finished = Update(
    update(buildsets).where(_done).values(complete=1, complete_at=bindparam("at"), results=_outcome),
    own_row(BUILDSET),
    and_(IdIn(buildsets.c.id), buildsets.c.complete == 1),
)

#: the earlier builds of the same request, which was released after each
_earlier_builds = builds.alias("earlier")
_triggered_before = Statement(
    select(
        buildsets.c.id,
        buildsets.c.sourcestampsetid,
        buildsets.c.properties,
        _earlier_builds.c.id,
        _earlier_builds.c.number,
        builds.c.number,
    )
    .join(_earlier_builds, _earlier_builds.c.id == buildsets.c.parent_buildid)
    .join(builds, builds.c.buildrequestid == _earlier_builds.c.buildrequestid)
    .where(
        builds.c.id == bindparam("bid"),
        _earlier_builds.c.id < builds.c.id,
        buildsets.c.scheduler == bindparam("scheduler"),
        or_(buildsets.c.complete == 0, *(buildsets.c.results == well for well in (SUCCESS, WARNINGS, SKIPPED))),
    )
    .order_by(buildsets.c.id)
)
#: the buildsets that ended builds of a request have triggered and waited for, and that no later build has taken over
_left_behind = Statement(
    select(buildrequests.c.id)
    .join(buildsets, buildsets.c.id == buildrequests.c.buildsetid)
    .join(builds, builds.c.id == buildsets.c.parent_buildid)
    .where(
        builds.c.buildrequestid == bindparam("brid"),
        builds.c.complete_at.is_not(None),
        buildrequests.c.waited_for == 1,
        NoIndex(buildrequests.c.complete) == 0,
    )
    .order_by(buildrequests.c.id)
)
_set_parent = Update(
    update(buildsets).where(buildsets.c.id == bindparam("bsid")).values(parent_buildid=bindparam("parent")),
    own_row(BUILDSET),
    buildsets.c.id == bindparam("bsid"),
)
_priority_of_build = Statement(
    select(buildrequests.c.priority)
    .join(builds, builds.c.buildrequestid == buildrequests.c.id)
    .where(builds.c.id == bindparam("bid"))
)


class Requests(dict[str, int]):
    """The ids of the requests of a new buildset by the names of their builders.

    Attributes:
        by_builderid: the same by the ids of the builders.
    """

    def __init__(self, brids: dict[int, int], builderids: Mapping[str, int]) -> None:
        super().__init__({name: brids[builderid] for name, builderid in builderids.items()})
        self.by_builderid = {builderid: self[name] for name, builderid in builderids.items()}


class Triggered(NamedTuple):
    """A buildset that an earlier build of a request has triggered.

    Attributes:
        bsid, sourcestampsetid, properties: of the buildset.
        numbers: the present values of its properties with the id and the number of that build.
    """

    bsid: int
    sourcestampsetid: int
    properties: dict[str, tuple[Any, str]]
    numbers: dict[int, int]


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    builders: BuildersConnectorComponent


class BuildsetsConnectorComponent(DBConnectorComponent):
    """Buildsets; at ``master.db.buildsets``.

    A bsdict has the keys ``bsid``, ``external_idstring``, ``reason``, ``sourcestampsetid``, ``submitted_at``
    (datetime), ``complete``, ``complete_at`` (datetime or None), ``results`` (-1 until complete), and besides
    ``parent_buildid``, ``parent_relationship``, ``rebuilt_buildid``.
    """

    db: _Connector

    def thdAddBuildset(
        self,
        conn: Connection,
        sourcestampsetid: int,
        reason: str,
        properties: Mapping[str, tuple[Any, str]],
        builderNames: Iterable[str],
        external_idstring: str | None = None,
        scheduler: str | None = None,
        waited_for: bool = False,
        priority: int = 0,
        parent_buildid: int | None = None,
        parent_relationship: str | None = None,
        rebuilt_buildid: int | None = None,
        submitted_at: dt.datetime | None = None,
    ) -> tuple[int, dict[str, int]]:
        """Add a buildset with one request for each named builder, in one transaction.

        Args:
            properties: ``{name: (value, source)}`` with JSON values.
            builderNames: a name given twice counts once; an unknown name is added.
            priority: higher goes first.

        Returns:
            ``(bsid, {builder name: brid})``

        Raises:
            TypeError, ValueError: an argument is wrong; the text names it. Nothing is written.
        """
        checks.identifier(sourcestampsetid, "sourcestampsetid")
        names = list(dict.fromkeys(checks.texts(builderNames, "builderNames")))
        now = transaction_of(conn).now
        submitted = now if submitted_at is None else to_seconds(submitted_at, "submitted_at")
        row = {
            "external_idstring": checks.optional_text(external_idstring, "external_idstring"),
            "reason": checks.text(reason, "reason", checks.MAX_REASON),
            "sourcestampsetid": sourcestampsetid,
            "submitted_at": submitted,
            "scheduler": checks.optional_text(scheduler, "scheduler"),
            "parent_buildid": None if parent_buildid is None else checks.identifier(parent_buildid, "parent_buildid"),
            "parent_relationship": checks.optional_text(parent_relationship, "parent_relationship"),
            "rebuilt_buildid": None
            if rebuilt_buildid is None
            else checks.identifier(rebuilt_buildid, "rebuilt_buildid"),
            "properties": property_pairs.dumps(property_pairs.checked(properties)),
        }
        request = {
            "priority": checks.integer(priority, "priority", -checks.MAX_SMALL),
            "waited_for": int(checks.boolean(waited_for, "waited_for")),
            "submitted_at": submitted,
        }
        builders = self.db.builders.thdFindBuilderIds(conn, names) if names else {}
        with refusing_unknown(conn, f"sourcestampsetid: there is no set {sourcestampsetid}"):
            bsid = _add.id(conn, **row)
        request["buildsetid"] = bsid
        if len(names) == 1:
            builderid = builders[names[0]]
            return bsid, Requests({builderid: _add_request.id(conn, builderid=builderid, **request)}, builders)
        rows = _add_request.many_rows(conn, [{**request, "builderid": builders[name]} for name in names])
        if rows is None:
            rows = _requests_of.all(conn, bsid=bsid)
        brids = {row[_BUILDERID]: row[0] for row in rows}
        return bsid, Requests(brids, {name: builders[name] for name in names})

    addBuildset = writes(thdAddBuildset)

    def thdCompleteBuildset(
        self, conn: Connection, bsid: int, results: int, complete_at: dt.datetime | None = None
    ) -> None:
        """Complete a buildset with these results, at ``complete_at`` or now.

        Raises:
            KeyError: there is none, or it is complete.
        """
        checks.identifier(bsid, "bsid")
        outcome = checks.integer(results, "results")
        at = transaction_of(conn).now if complete_at is None else to_seconds(complete_at, "complete_at")
        if not _complete.count(conn, bsid=bsid, outcome=outcome, at=at):
            raise KeyError(f"bsid: there is no incomplete buildset {bsid}")

    completeBuildset = writes(thdCompleteBuildset)

    def thdGetBuildset(self, conn: Connection, bsid: int) -> dict[str, Any] | None:
        """The buildset with this id, or None; never cached."""
        row = _get.first(conn, bsid=checks.identifier(bsid, "bsid"))
        return None if row is None else _bsdict(row)

    getBuildset = reads_short(thdGetBuildset)

    def thdGetBuildsets(self, conn: Connection, complete: bool | None = None) -> list[dict[str, Any]]:
        """All buildsets, or only the complete (true) or incomplete (false) ones, by id."""
        statement = select(*_columns).order_by(buildsets.c.id)
        return [_bsdict(tuple(row)) for row in conn.execute(_of_completeness(statement, complete))]

    getBuildsets = reads_list(thdGetBuildsets)

    def thdGetRecentBuildsets(
        self,
        conn: Connection,
        count: int,
        branch: str | None = None,
        repository: str | None = None,
        complete: bool | None = None,
    ) -> list[dict[str, Any]]:
        """The newest ``count`` buildsets, ascending, of those with a source stamp of this branch and repository."""
        checks.integer(count, "count", maximum=checks.MAX_INT)
        statement = _of_completeness(select(*_columns), complete)
        if branch is not None or repository is not None:
            stamped = select(sourcestampset_members.c.sourcestampsetid).join(
                sourcestamps, sourcestamps.c.id == sourcestampset_members.c.ssid
            )
            if branch is not None:
                stamped = stamped.where(sourcestamps.c.branch == checks.text(branch, "branch"))
            if repository is not None:
                stamped = stamped.where(sourcestamps.c.repository == checks.text(repository, "repository"))
            statement = statement.where(buildsets.c.sourcestampsetid.in_(stamped))
        rows = conn.execute(statement.order_by(buildsets.c.id.desc()).limit(count)).all()
        return [_bsdict(tuple(row)) for row in reversed(rows)]

    getRecentBuildsets = reads_list(thdGetRecentBuildsets)

    def thdGetBuildsetProperties(self, conn: Connection, buildsetid: int) -> dict[str, tuple[Any, str]]:
        """The buildset's properties, ``{name: (value, source)}``; empty too if there is no such buildset."""
        text = _properties.scalar(conn, bsid=checks.identifier(buildsetid, "buildsetid"))
        return {} if text is None else property_pairs.loads(text)

    getBuildsetProperties = reads_short(thdGetBuildsetProperties)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdCompleteFinished(self, conn: Connection, bsids: Iterable[int], at: int) -> list[int]:
        """Complete the buildsets among these whose requests are all complete, with the worst result; gives their ids.

        Call it after completing the requests: if two masters complete the last two requests, the second one to get the
        lock sees the work of the first.
        """
        ids = sorted(set(bsids))
        if dialect_of(conn).returns_updated:
            return sorted(row[0] for row in _complete_finished.changed(conn, _lock, ids=ids, at=at))
        # the rows are selected afterwards: of those that were complete already none may be among them
        ids = [identifier for identifier, complete in _lock.all(conn, ids=ids) if not complete]
        return sorted(row[0] for row in _complete_finished.changed(conn, ids=ids, at=at))

    def thdTriggeredBefore(self, conn: Connection, buildid: int, scheduler: str) -> list[Triggered]:
        """Buildsets of a scheduler that earlier builds of a build's request triggered, failed ones left out, by id."""
        rows = _triggered_before.all(conn, bid=checks.identifier(buildid, "buildid"), scheduler=scheduler)
        return [
            Triggered(bsid, setid, property_pairs.loads(text), {earlier: buildid, before: number})
            for bsid, setid, text, earlier, before, number in rows
        ]

    def thdLeftBehind(self, conn: Connection, brid: int) -> list[int]:
        """The incomplete requests that ended builds of a request waited for."""
        return [row[0] for row in _left_behind.all(conn, brid=checks.identifier(brid, "brid"))]

    def thdSetParent(self, conn: Connection, bsid: int, buildid: int) -> None:
        """Set the build that a buildset belongs to."""
        _set_parent.changed(conn, bsid=bsid, parent=buildid)

    def thdPriorityOfBuild(self, conn: Connection, buildid: int) -> int:
        """The priority of the request that a build is for; 0 if there is no such build."""
        return int(_priority_of_build.scalar(conn, bid=buildid) or 0)


def _of_completeness(statement: Any, complete: bool | None) -> Any:
    checks.one_of(complete, (None, True, False), "complete")
    if complete is None:
        return statement
    return statement.where(buildsets.c.complete == 1 if complete else unset(buildsets.c.complete))


def _bsdict(row: Row) -> dict[str, Any]:
    return {
        "bsid": row[0],
        "external_idstring": row[1],
        "reason": row[2],
        "sourcestampsetid": row[3],
        "submitted_at": to_datetime(row[4]),
        "complete": bool(row[5]),
        "complete_at": to_datetime(row[6]),
        "results": row[7],
        "parent_buildid": row[8],
        "parent_relationship": row[9],
        "rebuilt_buildid": row[10],
    }
