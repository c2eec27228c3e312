"""Steps connector. Its operations serve the Data layer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, func, insert, literal, not_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.builds import HELD
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.rows import own_row, reader_of
from buildbot.db.engine.statements import Insert, Statement, Update
from buildbot.db.exceptions import NotClaimedError
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.steps import STEP, steps
from buildbot.util import checks, jsontext

_its_request = builds.join(buildrequests, buildrequests.c.id == builds.c.buildrequestid)
_this = steps.c.id == bindparam("stepid")
#: a part of the statement that writes the step
_this_held = and_(
    _this,
    select(builds.c.id)
    .select_from(_its_request)
    .where(builds.c.id == steps.c.buildid, HELD)
    .with_for_update(read=True, of=buildrequests)
    .exists(),
)
#: locks the step, so that of two links that are added at once none is lost
_held_urls = Statement(select(steps.c.urls).where(_this_held).with_for_update(of=steps))
_with_name = select(steps.c.id).where(steps.c.buildid == bindparam("buildid"), steps.c.name_hash == bindparam("hash"))
_held_build = select(builds.c.id).select_from(_its_request).where(builds.c.id == bindparam("buildid"), HELD)
#: whether this master holds the build
_is_held = Statement(_held_build)
_next_number = (
    select(func.coalesce(func.max(steps.c.number) + 1, 0)).where(steps.c.buildid == bindparam("buildid"))
).scalar_subquery()
_values: dict[str, ColumnElement[Any]] = {
    "number": _next_number,
    "name": bindparam("name", type_=steps.c.name.type),
    "name_hash": bindparam("hash", type_=steps.c.name_hash.type),
    "buildid": bindparam("buildid", type_=steps.c.buildid.type),
    "started_at": bindparam("at", type_=steps.c.started_at.type),
    "locks_acquired_at": bindparam("locks_at", type_=steps.c.locks_acquired_at.type),
    "state_string": literal("pending", steps.c.state_string.type),
    "urls": literal("[]", steps.c.state_string.type),
    "hidden": bindparam("hidden", type_=Integer),
}
#: adds the next step, if this master holds the build and no step of it has the name
_add = Insert(
    insert(steps).from_select(
        list(_values),
        _held_build.with_only_columns(*_values.values())
        .where(not_(_with_name.exists()))
        .with_for_update(read=True, of=buildrequests),
    ),
    gives=own_row(STEP),
)
_start = Update(
    update(steps).where(_this_held).values(started_at=bindparam("at"), locks_acquired_at=bindparam("locks_at")),
    own_row(STEP),
    _this,
)
_set_locks = Update(
    update(steps).where(_this_held).values(locks_acquired_at=bindparam("locks_at")), own_row(STEP), _this
)
_set_state = Update(update(steps).where(_this_held).values(state_string=bindparam("state")), own_row(STEP), _this)
_set_urls = Update(update(steps).where(_this).values(urls=bindparam("new_urls")), own_row(STEP), _this)
_finished: dict[str, Any] = {
    "complete_at": bindparam("at"),
    "results": bindparam("outcome"),
    "hidden": bindparam("now_hidden"),
}
_finish = Update(update(steps).where(_this_held).values(_finished), own_row(STEP), _this)
_finish_showing = Update(
    update(steps).where(_this_held).values({**_finished, "state_string": bindparam("state")}), own_row(STEP), _this
)
_finish_lost = Update(update(steps).where(_this).values(_finished), own_row(STEP), _this)


class StepsConnectorComponent(DBConnectorComponent):
    """Steps; at ``master.db.steps``.

    Methods that write raise NotClaimedError unless this master has claimed the step's build, at its epoch.
    """

    def thdAdd(
        self, conn: Connection, buildid: int, name: str, hidden: bool, begins: bool = False, locks_acquired: bool = True
    ) -> dict[str, Any]:
        """Add the next step of a build: ``stepid``, ``number``, and ``name``, made unique by ``_1``, ``_2``, …

        If it ``begins``, it begins now; if it has its locks, it got them now.
        """
        wanted = unique = checks.text(name, "name")
        now = transaction_of(conn).now if begins else None
        row = {
            "buildid": checks.identifier(buildid, "buildid"),
            "hidden": int(checks.boolean(hidden, "hidden")),
            "at": now,
            "locks_at": now if locks_acquired else None,
            **self._owner(),
        }
        suffix = 0
        while True:
            with again_if_taken(conn):
                stepid = _add.id_if_added(conn, name=unique, hash=checks.name_hash(unique), **row)
            if stepid is not None:
                break
            if _is_held.first(conn, buildid=buildid, **self._owner()) is None:
                raise NotClaimedError(f"the request of build {buildid} is not claimed by this master")
            suffix += 1
            unique = f"{wanted}_{suffix}"
        step = reader_of(STEP).after_writing(conn, [stepid])[stepid]
        return {"stepid": stepid, "number": step["number"], "name": unique}

    def thdStart(self, conn: Connection, stepid: int, locks_acquired: bool) -> None:
        """Begin a step now; if it has its locks, it got them now."""
        now = transaction_of(conn).now
        self._change(conn, _start, stepid, at=now, locks_at=now if locks_acquired else None)

    def thdSetLocksAcquired(self, conn: Connection, stepid: int) -> None:
        """Store that a step has its locks now."""
        self._change(conn, _set_locks, stepid, locks_at=transaction_of(conn).now)

    def thdSetState(self, conn: Connection, stepid: int, state: str) -> None:
        """Set the state string of a step."""
        self._change(conn, _set_state, stepid, state=checks.text(state, "state_string"))

    def thdAddURL(self, conn: Connection, stepid: int, name: str, url: str) -> None:
        """Add a link to a step; a link with the same name is replaced."""
        added = {"name": checks.text(name, "name"), "url": checks.text(url, "url")}
        urls = _held_urls.scalar(conn, stepid=checks.identifier(stepid, "stepid"), **self._owner())
        if urls is None:
            raise self._not_held(stepid)
        kept = [known for known in jsontext.loads(urls) if known["name"] != name]
        _set_urls.count(conn, stepid=stepid, new_urls=jsontext.dumps([*kept, added]))

    def thdFinish(self, conn: Connection, stepid: int, results: int, hidden: bool, state: str | None = None) -> None:
        """End a step now, and set its state string unless it is None."""
        end = self._end(conn, results, hidden)
        if state is None:
            self._change(conn, _finish, stepid, **end)
        else:
            self._change(conn, _finish_showing, stepid, state=checks.text(state, "state_string"), **end)

    def thdFinishLost(self, conn: Connection, stepid: int, results: int) -> None:
        """End a step of a build whose master is dead, and so holds nothing any more."""
        _finish_lost.count(conn, stepid=stepid, **self._end(conn, results, False))

    @staticmethod
    def _end(conn: Connection, results: int, hidden: bool) -> dict[str, int]:
        return {
            "at": transaction_of(conn).now,
            "outcome": checks.integer(results, "results"),
            "now_hidden": int(checks.boolean(hidden, "hidden")),
        }

    def _change(self, conn: Connection, statement: Statement, stepid: int, **values: Any) -> None:
        if not statement.count(conn, stepid=checks.identifier(stepid, "stepid"), **self._owner(), **values):
            raise self._not_held(stepid)

    @staticmethod
    def _not_held(stepid: int) -> NotClaimedError:
        return NotClaimedError(f"the build of step {stepid} is not claimed by this master")
