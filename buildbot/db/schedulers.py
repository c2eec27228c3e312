"""Schedulers connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.claimed_by_one import ClaimedByOne
from buildbot.db.dialects.expressions import IdIn
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.races import again_if_taken, refusing_unknown
from buildbot.db.engine.statements import Statement
from buildbot.db.exceptions import SchedulerAlreadyClaimedError
from buildbot.db.operations import reads, reads_list, reads_short, writes
from buildbot.resources.changes import changes
from buildbot.resources.schedulers import (
    DbSchedulerDict,
    force_builders,
    scheduler_changes,
    scheduler_masters,
    schedulers,
)
from buildbot.util import checks, jsontext

#: the result of getters, under the name that plugins import
SchedulerModel = DbSchedulerDict

_names = NamedRows(schedulers)
_things = ClaimedByOne(schedulers, scheduler_masters, "schedulerid", SchedulerAlreadyClaimedError)
_unclassify = Statement(
    delete(scheduler_changes).where(
        scheduler_changes.c.objectid == bindparam("objectid"), IdIn(scheduler_changes.c.changeid)
    )
)
_classify = Statement(
    insert(scheduler_changes).values(
        objectid=bindparam("objectid"), changeid=bindparam("changeid"), important=bindparam("important")
    )
)
_flush = Statement(delete(scheduler_changes).where(scheduler_changes.c.objectid == bindparam("objectid")))
_flush_below = Statement(
    delete(scheduler_changes).where(
        scheduler_changes.c.objectid == bindparam("objectid"), scheduler_changes.c.changeid < bindparam("less_than")
    )
)
_classified = (
    select(scheduler_changes.c.changeid, scheduler_changes.c.important)
    .where(scheduler_changes.c.objectid == bindparam("objectid"))
    .order_by(scheduler_changes.c.changeid)
)
_get_classified = Statement(_classified)
_on_branch = _classified.join(changes, changes.c.id == scheduler_changes.c.changeid)
_get_on_branch = Statement(_on_branch.where(changes.c.branch == bindparam("branch")))
_get_on_default_branch = Statement(_on_branch.where(changes.c.branch.is_(None)))
_enable = Statement(
    update(schedulers).where(schedulers.c.id == bindparam("schedulerid")).values(enabled=bindparam("now_enabled"))
)
_set_force = Statement(
    update(schedulers)
    .where(schedulers.c.id == bindparam("schedulerid"))
    .values(
        force_button_name=bindparam("button_name"), force_label=bindparam("label"), force_fields=bindparam("all_fields")
    )
)
_clear_force_builders = Statement(
    delete(force_builders).where(force_builders.c.schedulerid == bindparam("schedulerid"))
)
_add_force_builder = Statement(
    insert(force_builders).values(schedulerid=bindparam("schedulerid"), builderid=bindparam("builderid"))
)

#: no branch is given; None is the default branch
_ANY_BRANCH: Any = object()


class SchedulersConnectorComponent(DBConnectorComponent):
    """Schedulers, their classified changes, and the masters that run them; at ``master.db.schedulers``."""

    def thdClassifyChanges(self, conn: Connection, objectid: int, classifications: Mapping[int, bool]) -> None:
        """Store which changes are important (true) and which are not; earlier classifications are overwritten.

        Raises ValueError if there is no such object or change.
        """
        checks.identifier(objectid, "objectid")
        if not isinstance(classifications, Mapping):
            raise TypeError(f"classifications must be a dictionary, not {type(classifications).__name__}")
        rows = [
            {
                "objectid": objectid,
                "changeid": changeid,
                "important": int(checks.boolean(classifications[changeid], "classifications")),
            }
            for changeid in checks.identifiers(classifications, "classifications")
        ]
        if not rows:
            return
        _unclassify.run(conn, objectid=objectid, ids=[row["changeid"] for row in rows])
        unknown = f"classifications: no object {objectid}, or no such change among {list(classifications)[:5]}"
        with again_if_taken(conn), refusing_unknown(conn, unknown):
            _classify.many(conn, rows)

    classifyChanges = writes(thdClassifyChanges)

    def thdFlushChangeClassifications(self, conn: Connection, objectid: int, less_than: int | None = None) -> None:
        """Forget the scheduler's classifications, or only those of changes below ``less_than``."""
        checks.identifier(objectid, "objectid")
        if less_than is None:
            _flush.run(conn, objectid=objectid)
        else:
            _flush_below.run(conn, objectid=objectid, less_than=checks.identifier(less_than, "less_than"))

    flushChangeClassifications = writes(thdFlushChangeClassifications)

    def thdGetChangeClassifications(
        self, conn: Connection, objectid: int, branch: str | None = _ANY_BRANCH
    ) -> dict[int, bool]:
        """The classifications made by this scheduler: ``{changeid: important}``.

        Args:
            branch: only changes of this branch; None is the default branch, which is not the same as leaving it out.
        """
        checks.identifier(objectid, "objectid")
        if branch is _ANY_BRANCH:
            rows = _get_classified.all(conn, objectid=objectid)
        elif branch is None:
            rows = _get_on_default_branch.all(conn, objectid=objectid)
        else:
            rows = _get_on_branch.all(conn, objectid=objectid, branch=checks.text(branch, "branch"))
        return {changeid: bool(important) for changeid, important in rows}

    getChangeClassifications = reads(thdGetChangeClassifications)

    def thdFindSchedulerId(self, conn: Connection, name: str) -> int:
        """The id of the scheduler with this name, which is added if it is new."""
        return _names.id(conn, name)

    findSchedulerId = writes(thdFindSchedulerId)

    def thdSetSchedulerMaster(self, conn: Connection, schedulerid: int, masterid: int | None) -> None:
        """Set, or with None unset, the master that runs a scheduler.

        Raises:
            SchedulerAlreadyClaimedError: another active master runs it.
            KeyError: there is no such scheduler.
            ValueError: there is no such master.
        """
        self.thdMoveToMaster(conn, schedulerid, masterid)

    setSchedulerMaster = writes(thdSetSchedulerMaster)

    def thdMoveToMaster(self, conn: Connection, schedulerid: int, masterid: int | None) -> int | None:
        """As ``thdSetSchedulerMaster``; gives the master that ran it until now."""
        return _things.set_master(conn, schedulerid, masterid)

    def thdLockOfMaster(self, conn: Connection, masterid: int) -> list[int]:
        """Ids of the schedulers that a master runs; locked."""
        return _things.lock_of_master(conn, masterid)

    def thdHold(self, conn: Connection, schedulerid: int) -> None:
        """Make sure that this master, at its epoch, runs a scheduler until this transaction ends.

        Raises NotClaimedError if not: a process that was declared dead can write nothing for it.
        """
        _things.hold(conn, schedulerid, self.db.masterid, self.db.epoch)

    def thdGetScheduler(self, conn: Connection, schedulerid: int) -> dict[str, Any] | None:
        """The scheduler (``id``, ``name``, ``masterid``, ``enabled``), or None."""
        return _things.get(conn, schedulerid, _dict)  # type: ignore[no-any-return]

    getScheduler = reads_short(thdGetScheduler)

    def thdGetSchedulers(
        self, conn: Connection, active: bool | None = None, masterid: int | None = None
    ) -> list[dict[str, Any]]:
        """Schedulers, by id; the filters are those of change sources."""
        return _things.get_all(conn, active, masterid, _dict)

    getSchedulers = reads_list(thdGetSchedulers)

    def thdEnable(self, conn: Connection, schedulerid: int, enabled: bool) -> bool:
        """Switch a scheduler on or off; false if there is none."""
        now_enabled = int(checks.boolean(enabled, "enabled"))
        return (
            _enable.count(conn, schedulerid=checks.identifier(schedulerid, "schedulerid"), now_enabled=now_enabled) == 1
        )

    def thdSetForce(
        self, conn: Connection, schedulerid: int, spec: Mapping[str, Any] | None, builderids: list[int]
    ) -> None:
        """Store the form of a force scheduler; None for a scheduler that cannot be forced."""
        spec = spec or {}
        fields = spec.get("all_fields")
        _set_force.run(
            conn,
            schedulerid=schedulerid,
            button_name=spec.get("button_name"),
            label=spec.get("label"),
            all_fields=None if fields is None else jsontext.dumps(fields, "all_fields"),
        )
        _clear_force_builders.run(conn, schedulerid=schedulerid)
        _add_force_builder.many(
            conn, [{"schedulerid": schedulerid, "builderid": builderid} for builderid in sorted(set(builderids))]
        )


def _dict(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "name": row["name"], "masterid": row["masterid"], "enabled": bool(row["enabled"])}


__all__ = ["SchedulerAlreadyClaimedError", "SchedulersConnectorComponent"]
