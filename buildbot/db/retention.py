"""Removal of old rows: found in batches along an index, and removed with the rows that belong to them.

Each batch begins where the one before ended (a *place*), looks at a bounded number of rows and removes fewer, so that
no transaction is long. Some rows stay: running builds, the newest builds of each builder, and rows that others refer
to.

Source stamps of equal code are shared, and found by their hash without a lock. A source stamp that nothing refers to
loses its hash in one pass and is removed in the next one. A transaction that found it before has committed by then, and
so refers to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, bindparam, delete, or_, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.dialects.expressions import IdIn, fixed
from buildbot.db.engine.statements import Row, Statement
from buildbot.resources.build_data import build_data
from buildbot.resources.builders import builders
from buildbot.resources.buildrequests import buildrequests
from buildbot.resources.builds import builds
from buildbot.resources.buildsets import buildsets
from buildbot.resources.changes import changes
from buildbot.resources.logs import logchunks, logs
from buildbot.resources.schedulers import scheduler_changes
from buildbot.resources.sourcestamps import (
    patches,
    sourcestamps,
    sourcestampset_changes,
    sourcestampset_members,
    sourcestampsets,
)
from buildbot.resources.steps import steps
from buildbot.resources.test_result_sets import test_result_sets
from buildbot.resources.test_results import test_results

#: rows that one batch looks at
WINDOW = 50
#: large rows (chunks of logs, build data) and small rows (test results) that one batch removes
LARGE_ROWS = 16
SMALL_ROWS = 500

#: where the next batch begins: a time (0 if the order is by ids) and the id after it
Place = tuple[int, int]
START: Place = (0, 0)


@dataclass(frozen=True)
class BuildOf:
    """The build that a log or data belongs to, with the attributes that retention needs."""

    owner: int
    builderid: int
    number: int
    started_at: int
    complete_at: int | None


def _window(table: Any, time: Any, *more: ColumnElement[Any]) -> Statement:
    """Rows in the order of a time and the id, after a place."""
    at: ColumnElement[Any] = bindparam("at")
    return Statement(
        select(table.c.id, time, *more)
        .where(time >= at, time <= bindparam("before"), or_(time > at, table.c.id > bindparam("after")))
        .order_by(time, table.c.id)
        .limit(fixed(WINDOW))
    )


def _ids(column: Any, of: Any) -> Statement:
    """Ids of rows that refer to some other rows, in the order of these."""
    return Statement(select(column).where(IdIn(of)).order_by(column))


def _referred(column: Any) -> Statement:
    return Statement(select(column).where(IdIn(column)).distinct())


def _remove(column: Any) -> Statement:
    return Statement(delete(column.table).where(IdIn(column)))


_build = (builds.c.builderid, builds.c.number, builds.c.started_at, builds.c.complete_at)
_last_numbers = Statement(select(builders.c.id, builders.c.last_number).where(IdIn(builders.c.id)))

#: chunks are removed from the end, so that the rest of a log begins with its first line
_with_content = Statement(
    select(logchunks.c.logid)
    .where(logchunks.c.logid > bindparam("after"), logchunks.c.first_line == 0)
    .order_by(logchunks.c.logid)
    .limit(fixed(WINDOW))
)
_logs: FromClause = logs.join(steps, steps.c.id == logs.c.stepid).join(builds, builds.c.id == steps.c.buildid)
_builds_of_logs = Statement(select(logs.c.id, *_build).select_from(_logs).where(IdIn(logs.c.id)).order_by(logs.c.id))
_full = Statement(select(logs.c.id).where(IdIn(logs.c.id), logs.c.type != "d").order_by(logs.c.id))
_empty = Statement(update(logs).where(IdIn(logs.c.id)).values(type="d", num_lines=0))
_chunks = Statement(
    select(logchunks.c.first_line)
    .where(logchunks.c.logid == bindparam("logid"))
    .order_by(logchunks.c.first_line.desc())
    .limit(bindparam("count"))
)
_remove_chunks = Statement(
    delete(logchunks).where(logchunks.c.logid == bindparam("logid"), logchunks.c.first_line >= bindparam("through"))
)

_builds_of_data = Statement(
    select(build_data.c.id, *_build)
    .select_from(build_data.join(builds, builds.c.id == build_data.c.buildid))
    .where(build_data.c.id > bindparam("after"))
    .order_by(build_data.c.id)
    .limit(fixed(LARGE_ROWS))
)

_finished = _window(builds, builds.c.complete_at, builds.c.builderid, builds.c.number)
_results = Statement(
    select(test_results.c.id)
    .where(test_results.c.test_result_setid == bindparam("setid"))
    .order_by(test_results.c.id)
    .limit(bindparam("count"))
)

_submitted = _window(buildsets, buildsets.c.submitted_at, buildsets.c.complete_at, buildsets.c.sourcestampsetid)
_requests = Statement(
    select(buildrequests.c.id, buildrequests.c.buildsetid, buildrequests.c.complete)
    .where(IdIn(buildrequests.c.buildsetid))
    .order_by(buildrequests.c.id)
)
_detach = Statement(update(sourcestamps).where(IdIn(sourcestamps.c.sourcestampsetid)).values(sourcestampsetid=None))

_committed = _window(
    changes,
    changes.c.when_timestamp,
    select(sourcestamps.c.created_at).where(sourcestamps.c.id == changes.c.sourcestampid).scalar_subquery(),
)

_stamps = Statement(
    select(sourcestamps.c.id, sourcestamps.c.created_at, sourcestamps.c.content_hash, sourcestamps.c.patchid)
    .where(sourcestamps.c.id > bindparam("after"))
    .order_by(sourcestamps.c.id)
    .limit(fixed(WINDOW))
)
_hide = Statement(update(sourcestamps).where(IdIn(sourcestamps.c.id)).values(content_hash=None))

_patches_of = Statement(
    select(sourcestamps.c.patchid).where(IdIn(sourcestamps.c.id), sourcestamps.c.patchid.is_not(None))
)
_steps_of = _ids(steps.c.id, steps.c.buildid)
_logs_of = _ids(logs.c.id, logs.c.stepid)
_sets_of = _ids(test_result_sets.c.id, test_result_sets.c.buildid)
_built = _referred(builds.c.buildrequestid)
_used_sets = _referred(buildsets.c.sourcestampsetid)
_used_changes = [_referred(sourcestampset_changes.c.changeid), _referred(scheduler_changes.c.changeid)]
_used_stamps = [_referred(sourcestampset_members.c.ssid), _referred(changes.c.sourcestampid)]
_used_patches = _referred(sourcestamps.c.patchid)

_remove_builds = _remove(builds.c.id)
_remove_results = _remove(test_results.c.id)
_remove_data = _remove(build_data.c.id)
_remove_requests = _remove(buildrequests.c.id)
_remove_buildsets = _remove(buildsets.c.id)
_remove_set_parts = [
    _remove(sourcestampset_changes.c.sourcestampsetid),
    _remove(sourcestampset_members.c.sourcestampsetid),
    _detach,
    _remove(sourcestampsets.c.id),
]
_remove_changes = _remove(changes.c.id)
_remove_stamps = _remove(sourcestamps.c.id)
_remove_patches = _remove(patches.c.id)


class RetentionConnectorComponent(DBConnectorComponent):
    """Removes old rows; at ``master.db.retention``. Serves the Data layer, which announces the removals."""

    def thdOldLogs(self, conn: Connection, before: int, keep: int, after: int) -> tuple[list[int], int | None]:
        """Logs with content of builds that ended at or before a time, and the last id that was looked at; None: all."""
        found = [row[0] for row in _with_content.all(conn, after=after)]
        owners = [BuildOf(*row) for row in _builds_of_logs.all(conn, ids=found)] if found else []
        if all(owner.started_at > before for owner in owners):  # later logs are younger
            return [], None
        return self._old(conn, owners, before, keep), found[-1]

    def thdFullLogs(self, conn: Connection, logids: Collection[int]) -> list[int]:
        """The logs among some that are not marked as empty."""
        return [row[0] for row in _full.all(conn, ids=list(logids))] if logids else []

    def thdMarkEmpty(self, conn: Connection, logids: list[int]) -> None:
        """Mark logs as empty: type ``d``, no lines."""
        _empty.run(conn, ids=logids)

    def thdRemoveChunks(self, conn: Connection, logids: Iterable[int]) -> int | None:
        """Remove some chunks of logs; gives the log at which it stopped, None if all chunks are removed."""
        left = LARGE_ROWS
        for logid in logids:
            if not left:
                return logid
            lines = [row[0] for row in _chunks.all(conn, logid=logid, count=left + 1)]
            if lines:
                _remove_chunks.run(conn, logid=logid, through=lines[:left][-1])
            if len(lines) > left:
                return logid
            left -= len(lines)
        return None

    def thdRemoveOldData(self, conn: Connection, before: int, keep: int, after: int) -> int | None:
        """Remove data of builds that ended at or before a time; gives the last id that was looked at; None: all."""
        owners = [BuildOf(*row) for row in _builds_of_data.all(conn, after=after)]
        if all(owner.started_at > before for owner in owners):
            return None
        old = self._old(conn, owners, before, keep)
        if old:
            _remove_data.run(conn, ids=old)
        return owners[-1].owner

    def thdOldBuilds(self, conn: Connection, before: int, keep: int, place: Place) -> tuple[list[Row], Place | None]:
        """Builds that ended at or before a time, as ``(id, complete_at)``, and where the next window begins."""
        rows = _finished.all(conn, at=place[0], after=place[1], before=before)
        owners = [BuildOf(row[0], row[2], row[3], 0, row[1]) for row in rows]
        old = set(self._old(conn, owners, before, keep))
        return [row[:2] for row in rows if row[0] in old], _next_place(rows)

    def thdPartsOfBuild(self, conn: Connection, buildid: int) -> tuple[list[int], list[int], list[int]]:
        """Ids of its logs, test result sets and steps."""
        stepids = [row[0] for row in _steps_of.all(conn, ids=[buildid])]
        logids = [row[0] for row in _logs_of.all(conn, ids=stepids)] if stepids else []
        return logids, [row[0] for row in _sets_of.all(conn, ids=[buildid])], stepids

    def thdRemoveResults(self, conn: Connection, setids: Iterable[int]) -> bool:
        """Remove a few hundred test results of sets; gives whether all are removed."""
        left = SMALL_ROWS
        for setid in setids:
            found = [row[0] for row in _results.all(conn, setid=setid, count=left)]
            if found:
                _remove_results.run(conn, ids=found)
            left -= len(found)
            if not left:
                return False
        return True

    def thdRemoveBuild(self, conn: Connection, buildid: int) -> None:
        """Remove a build with its properties, data, steps, logs and test results."""
        _remove_builds.run(conn, ids=[buildid])

    def thdOldBuildsets(
        self, conn: Connection, before: int, place: Place
    ) -> tuple[list[int], list[int], list[int], Place | None]:
        """Buildsets that were complete at or before a time and have no builds any more, their requests, their sets of
        source stamps, and where the next window begins.
        """
        rows = _submitted.all(conn, at=place[0], after=place[1], before=before)
        old = {row[0]: row[3] for row in rows if row[2] is not None and row[2] <= before}
        requests = _requests.all(conn, ids=list(old)) if old else []
        brids = [row[0] for row in requests]
        built = {row[0] for row in _built.all(conn, ids=brids)} if brids else set()
        for brid, bsid, complete in requests:
            if brid in built or not complete:
                old.pop(bsid, None)
        return list(old), [row[0] for row in requests if row[1] in old], sorted(set(old.values())), _next_place(rows)

    def thdRemoveBuildsets(self, conn: Connection, bsids: list[int], brids: list[int], setids: Collection[int]) -> None:
        """Remove buildsets with their requests, and the sets of source stamps that no other buildset has."""
        if brids:
            _remove_requests.run(conn, ids=brids)
        _remove_buildsets.run(conn, ids=bsids)
        unused = sorted(set(setids) - {row[0] for row in _used_sets.all(conn, ids=list(setids))})
        for statement in _remove_set_parts if unused else ():
            statement.run(conn, ids=unused)

    def thdOldChanges(self, conn: Connection, before: int, place: Place) -> tuple[list[int], Place | None]:
        """Changes made and added at or before a time that no buildset and no scheduler refers to, and where the next
        window begins.
        """
        rows = _committed.all(conn, at=place[0], after=place[1], before=before)
        # a change that was committed long ago may have been added lately
        old = [row[0] for row in rows if row[2] <= before]
        return _unreferred(conn, old, _used_changes), _next_place(rows)

    def thdRemoveChanges(self, conn: Connection, changeids: list[int]) -> None:
        """Remove changes."""
        _remove_changes.run(conn, ids=changeids)

    def thdOldStamps(self, conn: Connection, before: int, after: int) -> tuple[list[int], int | None]:
        """Source stamps made at or before a time that nothing refers to and no look-up finds, and the last id that was
        looked at. Those that a look-up could find lose their hash, for the next pass.
        """
        rows = _stamps.all(conn, after=after)
        old = {row[0]: row for row in rows if row[1] <= before}
        if not old:
            return [], None
        free = _unreferred(conn, list(old), _used_stamps)
        shared = [ssid for ssid in free if old[ssid][2] is not None]
        if shared:
            _hide.run(conn, ids=shared)
        return [ssid for ssid in free if old[ssid][2] is None], rows[-1][0]

    def thdRemoveStamps(self, conn: Connection, ssids: list[int]) -> None:
        """Remove source stamps, and patches that no other source stamp has."""
        patchids = [row[0] for row in _patches_of.all(conn, ids=ssids)]
        _remove_stamps.run(conn, ids=ssids)
        unused = _unreferred(conn, patchids, [_used_patches])
        if unused:
            _remove_patches.run(conn, ids=unused)

    def _old(self, conn: Connection, owners: list[BuildOf], before: int, keep: int) -> list[int]:
        """Owners whose build ended at or before a time and is not among the newest of its builder."""
        ended = [owner for owner in owners if owner.complete_at is not None and owner.complete_at <= before]
        if not ended:
            return []
        last: dict[int, int] = dict(_last_numbers.all(conn, ids=sorted({owner.builderid for owner in ended})))
        return [owner.owner for owner in ended if owner.number <= last[owner.builderid] - keep]


def _next_place(rows: list[Row]) -> Place | None:
    return (rows[-1][1], rows[-1][0]) if rows else None


def _unreferred(conn: Connection, ids: list[int], statements: Iterable[Statement]) -> list[int]:
    for statement in statements:
        if ids:
            used = {row[0] for row in statement.all(conn, ids=ids)}
            ids = [identifier for identifier in ids if identifier not in used]
    return ids
