"""Builds connector and the properties of builds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sqlalchemy import and_, bindparam, insert, literal_column, select, union_all, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from buildbot.db import properties as property_pairs
from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.builders import BuildersConnectorComponent
from buildbot.db.dialects.context import transaction_of
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.rows import own_row
from buildbot.db.engine.statements import Insert, Row, Statement, Update
from buildbot.db.exceptions import NotClaimedError
from buildbot.db.operations import reads_short, writes
from buildbot.resources.base import unset
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import BUILD, DbBuildDict, build_properties, builds
from buildbot.resources.buildsets import buildsets
from buildbot.resources.logs import logs
from buildbot.resources.steps import steps
from buildbot.resources.test_result_sets import test_result_sets
from buildbot.util import checks, jsontext
from buildbot.util.clock import to_datetime

#: the result of getters, under the name that plugins import
BuildModel = DbBuildDict

_columns = (
    builds.c.id,
    builds.c.number,
    builds.c.buildrequestid,
    builds.c.started_at,
    builds.c.complete_at,
    builds.c.builderid,
    builds.c.workerid,
    builds.c.masterid,
    builds.c.results,
    builds.c.state_string,
)
_get = Statement(select(*_columns).where(builds.c.id == bindparam("bid")))
_get_for_request = Statement(
    select(*_columns).where(builds.c.buildrequestid == bindparam("brid")).order_by(builds.c.id)
)
_request_of = select(buildrequests.c.builderid, buildrequests.c.cancel_reason).where(
    buildrequests.c.id == bindparam("brid")
)
#: the properties of the buildset, if they may name a virtual builder
_naming_builder = (
    select(buildsets.c.properties)
    .where(buildsets.c.id == buildrequests.c.buildsetid, buildsets.c.properties.like('%"virtual_builder_name"%'))
    .scalar_subquery()
)
_any_request = Statement(_request_of)
_add = Insert(
    insert(builds).values(
        {
            name: bindparam(name)
            for name in (
                "number",
                "builderid",
                "buildrequestid",
                "workerid",
                "masterid",
                "started_at",
                "state_string",
                "stop_reason",
            )
        }
    ),
    gives=own_row(BUILD),
)
_mine = and_(
    buildrequests.c.claimed_by_masterid == bindparam("owner"),
    buildrequests.c.claimed_epoch == bindparam("owner_epoch"),
)
#: a running build of a request that this master has claimed at its epoch; a finished build stays as it is
HELD = and_(builds.c.complete_at.is_(None), _mine)
_held_request = Statement(
    _request_of.add_columns(_naming_builder).where(_mine).with_for_update(read=True, of=buildrequests)
)
_hold = Statement(
    select(builds.c.id)
    .join(buildrequests, buildrequests.c.id == builds.c.buildrequestid)
    .where(builds.c.id == bindparam("bid"), HELD)
    .with_for_update(read=True, of=buildrequests)
)
_this = builds.c.id == bindparam("bid")
#: a part of the statement that writes the build; it locks the request, so that the claim is not lost meanwhile
_this_held = and_(
    _this,
    builds.c.complete_at.is_(None),
    select(buildrequests.c.id)
    .where(buildrequests.c.id == builds.c.buildrequestid, _mine)
    .with_for_update(read=True)
    .exists(),
)
_finished: dict[str, Any] = {"complete_at": bindparam("at"), "results": bindparam("outcome")}
_finished_showing = {**_finished, "state_string": bindparam("state")}
_finish = Statement(update(builds).where(IdIn(builds.c.id)).values(complete_at=bindparam("at")))
_finish_with = Statement(update(builds).where(IdIn(builds.c.id)).values(_finished))
_finish_held = Update(update(builds).where(_this_held).values(_finished), own_row(BUILD), _this)
_finish_showing = Update(update(builds).where(_this_held).values(_finished_showing), own_row(BUILD), _this)
_finish_lost = Update(update(builds).where(_this).values(_finished_showing), own_row(BUILD), _this)
_open_parts = Statement(
    union_all(
        select(literal_column("0").label("kind"), steps.c.id.label("id")).where(
            steps.c.buildid == bindparam("bid"), steps.c.complete_at.is_(None)
        ),
        select(literal_column("1"), logs.c.id)
        .join_from(logs, steps, steps.c.id == logs.c.stepid)
        .where(steps.c.buildid == bindparam("bid"), unset(logs.c.complete)),
        select(literal_column("2"), test_result_sets.c.id).where(
            test_result_sets.c.buildid == bindparam("bid"), unset(test_result_sets.c.complete)
        ),
    ).order_by("kind", "id")
)
_set_state = Update(update(builds).where(_this_held).values(state_string=bindparam("state")), own_row(BUILD), _this)
_set_locks = Update(
    update(builds).where(_this_held).values(locks_duration_s=bindparam("seconds")), own_row(BUILD), _this
)
_want_stop = Statement(
    update(builds)
    .where(builds.c.id == bindparam("bid"), builds.c.complete_at.is_(None))
    .values(stop_reason=bindparam("reason"))
)
_unfinished_of_requests = Statement(
    select(builds.c.id, builds.c.stop_reason, builds.c.buildrequestid)
    .where(IdIn(builds.c.buildrequestid), builds.c.complete_at.is_(None))
    .order_by(builds.c.id)
)
_unfinished_of_master = Statement(
    select(builds.c.id, builds.c.stop_reason, builds.c.buildrequestid)
    .where(builds.c.masterid == bindparam("masterid"), builds.c.complete_at.is_(None))
    .order_by(builds.c.id)
)
_begun = Statement(
    select(builds.c.number, builds.c.builderid, builds.c.stop_reason).where(builds.c.id == bindparam("bid"))
)
_get_properties = Statement(
    select(build_properties.c.name, build_properties.c.value, build_properties.c.source)
    .where(build_properties.c.buildid == bindparam("bid"))
    .order_by(build_properties.c.name)
)
_here = (build_properties.c.buildid == bindparam("bid"), build_properties.c.name_hash == bindparam("hash"))
_property_values: dict[str, Any] = {"value": bindparam("new_value"), "source": bindparam("new_source")}
_change_property = Statement(update(build_properties).where(*_here).values(_property_values))
_add_property = Statement(
    insert(build_properties).values(
        {"buildid": bindparam("bid"), "name_hash": bindparam("hash"), "name": bindparam("name"), **_property_values}
    )
)


#: the state string of a new build
FIRST_STATE = "created"


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    builders: BuildersConnectorComponent


class BuildsConnectorComponent(DBConnectorComponent):
    """Builds; at ``master.db.builds``.

    A bdict has the keys ``bid``, ``number``, ``brid``, ``start_time``, ``finish_time`` (datetimes, the latter None
    while it runs), and besides ``builderid``, ``workerid``, ``masterid``, ``results``, ``state_string``.
    """

    db: _Connector

    def thdGetBuild(self, conn: Connection, bid: int) -> dict[str, Any] | None:
        """The build with this id, or None."""
        row = _get.first(conn, bid=checks.identifier(bid, "bid"))
        return None if row is None else _bdict(row)

    getBuild = reads_short(thdGetBuild)

    def thdGetBuildsForRequest(self, conn: Connection, brid: int) -> list[dict[str, Any]]:
        """The builds of one request, by id."""
        return [_bdict(row) for row in _get_for_request.all(conn, brid=checks.identifier(brid, "brid"))]

    getBuildsForRequest = reads_short(thdGetBuildsForRequest)

    def thdAddBuild(self, conn: Connection, brid: int, number: int | None = None, workerid: int | None = None) -> int:
        """Add a build that starts now, and return its id.

        Args:
            number: unique for its builder over all masters; None takes the next one.

        Raises:
            ValueError: there is no such request or worker, or the number is taken.
        """
        checks.identifier(brid, "brid")
        if number is not None:
            checks.integer(number, "number")
        request = _any_request.first(conn, brid=brid)
        if request is None:
            raise ValueError(f"brid: there is no build request {brid}")
        builderid, cancel_reason = request
        return self._add(conn, brid, builderid, cancel_reason, number, workerid, FIRST_STATE)

    addBuild = writes(thdAddBuild)

    def _add(
        self,
        conn: Connection,
        brid: int,
        builderid: int,
        cancel_reason: str | None,
        number: int | None,
        workerid: int | None,
        state: str,
    ) -> int:
        try:
            return _add.id(
                conn,
                number=self.db.builders.thdTakeNumber(conn, builderid, number),
                builderid=builderid,
                buildrequestid=brid,
                workerid=None if workerid is None else checks.identifier(workerid, "workerid"),
                masterid=self.db.masterid,
                started_at=transaction_of(conn).now,
                state_string=state,
                stop_reason=cancel_reason,  # cancelled after the claim
            )
        except IntegrityError as error:
            if number is not None and self.db.dialect.is_unique_violation(error):
                raise ValueError(f"number: builder {builderid} has a build {number} already") from error
            if workerid is not None and self.db.dialect.is_foreign_key_violation(error):
                raise ValueError(f"workerid: there is no worker {workerid}") from error
            raise

    def thdFinishBuilds(self, conn: Connection, bids: Iterable[int], results: int | None = None) -> None:
        """Mark these builds as finished now, finished ones too.

        Args:
            results: a result code, stored too if given.
        """
        ids = checks.identifiers(bids, "bids")
        if not ids:
            return
        at = transaction_of(conn).now
        if results is None:
            _finish.run(conn, ids=ids, at=at)
        else:
            _finish_with.run(conn, ids=ids, at=at, outcome=checks.integer(results, "results"))

    finishBuilds = writes(thdFinishBuilds)

    def thdGetBuildProperties(self, conn: Connection, bid: int) -> dict[str, tuple[Any, str]]:
        """The build's properties, ``{name: (value, source)}``; empty if there is no such build."""
        rows = _get_properties.all(conn, bid=checks.identifier(bid, "bid"))
        return {name: (jsontext.loads(value), source) for name, value, source in rows}

    getBuildProperties = reads_short(thdGetBuildProperties)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdHold(self, conn: Connection, bid: int) -> None:
        """Make sure that this master, at its epoch, has claimed the build's request until this transaction ends.

        Raises NotClaimedError if not.
        """
        if _hold.first(conn, bid=checks.identifier(bid, "buildid"), **self._owner()) is None:
            raise NotClaimedError(f"the request of build {bid} is not claimed by this master")

    def thdNewBuild(
        self,
        conn: Connection,
        brid: int,
        number: int | None,
        workerid: int | None,
        builder_of: Callable[[int, dict[str, tuple[Any, str]]], int],
        state: str = FIRST_STATE,
    ) -> int:
        """As ``addBuild``, of a request that this master has claimed; raises NotClaimedError if not.

        Args:
            state: its state string.
            builder_of: called with the id of the request's builder and the properties of its buildset if these may name
                a virtual builder; gives the id of the builder that has the build.
        """
        if number is not None:
            checks.integer(number, "number")
        request = _held_request.first(conn, brid=checks.identifier(brid, "brid"), **self._owner())
        if request is None:
            raise NotClaimedError(f"build request {brid} is not claimed by this master")
        builderid, cancel_reason, naming = request
        if naming is not None:
            builderid = builder_of(builderid, property_pairs.loads(naming))
        state = checks.text(state, "state_string")
        return self._add(conn, brid, builderid, cancel_reason, number, workerid, state)

    # The following methods raise NotClaimedError, as thdHold does.

    def thdSetState(self, conn: Connection, bid: int, state: str) -> None:
        """Set the state string of a build."""
        self._change(conn, _set_state, bid, state=checks.text(state, "state_string"))

    def thdSetLocksDuration(self, conn: Connection, bid: int, seconds: int) -> None:
        """Set how long a build waited for locks."""
        self._change(conn, _set_locks, bid, seconds=checks.integer(seconds, "seconds"))

    def thdFinish(self, conn: Connection, bid: int, results: int, state: str | None = None) -> None:
        """End a build now, and set its state string unless it is None."""
        end = {"at": transaction_of(conn).now, "outcome": checks.integer(results, "results")}
        if state is None:
            self._change(conn, _finish_held, bid, **end)
        else:
            self._change(conn, _finish_showing, bid, state=checks.text(state, "state_string"), **end)

    def _change(self, conn: Connection, statement: Statement, bid: int, **values: Any) -> None:
        if not statement.count(conn, bid=checks.identifier(bid, "buildid"), **self._owner(), **values):
            raise NotClaimedError(f"the request of build {bid} is not claimed by this master")

    def thdFinishLost(self, conn: Connection, bid: int, results: int, state: str) -> None:
        """End a build whose master is dead."""
        _finish_lost.count(conn, bid=bid, at=transaction_of(conn).now, outcome=results, state=state)

    def thdOpenParts(self, conn: Connection, bid: int) -> tuple[list[int], list[int], list[int]]:
        """Ids of a build's steps, logs and test result sets that have not ended."""
        found: tuple[list[int], list[int], list[int]] = ([], [], [])
        for kind, identifier in _open_parts.all(conn, bid=bid):
            found[kind].append(identifier)
        return found

    def thdWantStop(self, conn: Connection, bid: int, reason: str) -> bool:
        """Store that a build is to be stopped; false if it has ended or is unknown."""
        return _want_stop.count(conn, bid=checks.identifier(bid, "buildid"), reason=reason) == 1

    def thdBegun(self, conn: Connection, bid: int) -> tuple[int, int, str | None]:
        """The number of a build, the id of its builder, and why it is to be stopped, or None.

        Raises ValueError if there is no such build.
        """
        row = _begun.first(conn, bid=bid)
        if row is None:
            raise ValueError(f"buildid: there is no build {bid}")
        return row[0], row[1], row[2]

    def thdUnfinished(
        self, conn: Connection, brids: list[int] | None = None, masterid: int | None = None
    ) -> list[tuple[int, str | None, int]]:
        """Unfinished builds of requests or of a master: (id, reason of the stop, request)."""
        if masterid is not None:
            rows = _unfinished_of_master.all(conn, masterid=masterid)
        else:
            rows = _unfinished_of_requests.all(conn, ids=brids or []) if brids else []
        return [(row[0], row[1], row[2]) for row in rows]

    def thdSetProperties(
        self, conn: Connection, bid: int, properties: Mapping[str, tuple[Any, str]]
    ) -> dict[str, list[Any]]:
        """Set properties of a build; gives the new and changed ones, ``{name: [value, source]}``."""
        wanted = {
            name: (jsontext.dumps(value, f"properties[{name!r}]"), source)
            for name, (value, source) in property_pairs.checked(properties).items()
        }
        had = {name: (value, source) for name, value, source in _get_properties.all(conn, bid=bid)}
        changed = {name: pair for name, pair in wanted.items() if had.get(name) != pair}
        fresh = []
        for name, (value, source) in changed.items():
            row = {"bid": bid, "hash": checks.name_hash(name), "new_value": value, "new_source": source}
            if name in had:
                _change_property.run(conn, **row)
            else:
                fresh.append({**row, "name": name})
        with again_if_taken(conn):
            _add_property.many(conn, fresh)
        return {name: [jsontext.loads(value), source] for name, (value, source) in changed.items()}


def _bdict(row: Row) -> dict[str, Any]:
    bid, number, brid, started_at, complete_at, builderid, workerid, masterid, results, state_string = row
    return {
        "bid": bid,
        "number": number,
        "brid": brid,
        "start_time": to_datetime(started_at),
        "finish_time": to_datetime(complete_at),
        "builderid": builderid,
        "workerid": workerid,
        "masterid": masterid,
        "results": results,
        "state_string": state_string,
    }
