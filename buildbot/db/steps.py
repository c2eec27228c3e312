"""Steps connector. Its operations serve the Data layer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.builds import HELD
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.races import again_if_taken
from buildbot.db.engine.rows import own_row
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
_held_urls = Statement(select(steps.c.urls).where(_this_held))
_with_name = select(steps.c.id).where(steps.c.buildid == bindparam("buildid"), steps.c.name_hash == bindparam("hash"))
_name_taken = Statement(_with_name)
_last = select(func.max(steps.c.number)).where(steps.c.buildid == bindparam("buildid"))
#: whether this master holds the build, and if so its last step's number and whether a step has this name
_held_build = Statement(
    select(_last.scalar_subquery(), _with_name.exists())
    .select_from(_its_request)
    .where(builds.c.id == bindparam("buildid"), HELD)
    .with_for_update(read=True, of=buildrequests)
)
_add = Insert(
    insert(steps).values(
        number=bindparam("number"),
        name=bindparam("name"),
        name_hash=bindparam("hash"),
        buildid=bindparam("buildid"),
        state_string="pending",
        urls="[]",
        hidden=bindparam("hidden"),
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
_finish_lost = Update(update(steps).where(_this).values(_finished), own_row(STEP), _this)


class StepsConnectorComponent(DBConnectorComponent):
    """Steps; at ``master.db.steps``.

    Methods that write raise NotClaimedError unless this master has claimed the step's build, at its epoch.
    """

    def thdAdd(self, conn: Connection, buildid: int, name: str, hidden: bool) -> dict[str, Any]:
        """Add the next step of a build: ``stepid``, ``number``, and ``name``, made unique by ``_1``, ``_2``, …"""
        wanted = unique = checks.text(name, "name")
        checks.identifier(buildid, "buildid")
        held = _held_build.first(conn, buildid=buildid, hash=checks.name_hash(unique), **self._owner())
        if held is None:
            raise NotClaimedError(f"the request of build {buildid} is not claimed by this master")
        last, taken = held
        suffix = 0
        while taken:
            suffix += 1
            unique = f"{wanted}_{suffix}"
            taken = _name_taken.first(conn, buildid=buildid, hash=checks.name_hash(unique))
        number = 0 if last is None else last + 1
        row = {"number": number, "name": unique, "hash": checks.name_hash(unique), "buildid": buildid}
        with again_if_taken(conn):
            stepid = _add.id(conn, **row, hidden=int(checks.boolean(hidden, "hidden")))
        return {"stepid": stepid, "number": number, "name": unique}

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

    def thdFinish(self, conn: Connection, stepid: int, results: int, hidden: bool) -> None:
        """End a step now."""
        self._change(conn, _finish, stepid, **self._end(conn, results, hidden))

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
