"""Build requests connector.

A claim is three columns of the request: the master, its epoch, and the time. One UPDATE with all ids decides: its WHERE
asks that each be unclaimed and incomplete. If it finds fewer rows than ids, another master was faster, and the
transaction is rolled back, so a claim is all or nothing. Ids are locked in ascending order first, so that crossed
claims cannot deadlock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal, Protocol

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.engine import Connection
from twisted.logger import Logger

from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.builders import BuildersConnectorComponent
from buildbot.db.dialects.context import dialect_of, transaction_of
from buildbot.db.dialects.expressions import IdIn, NoIndex
from buildbot.db.engine.rows import own_row
from buildbot.db.engine.statements import Row, Statement, Update
from buildbot.db.exceptions import AlreadyClaimedError, NotClaimedError
from buildbot.db.operations import reads_list, reads_short, writes
from buildbot.resources.base import unset
from buildbot.resources.builders import builders
from buildbot.resources.buildrequests import BUILDREQUEST, DbBuildRequestDict, buildrequests
from buildbot.resources.buildsets import buildsets
from buildbot.resources.masters import masters
from buildbot.resources.sourcestamps import sourcestamps, sourcestampset_members
from buildbot.util import checks
from buildbot.util.clock import to_datetime, to_seconds

#: the result of getters, under the name that plugins import
BuildRequestModel = DbBuildRequestDict

log = Logger()

_columns = (
    buildrequests.c.id,
    buildrequests.c.buildsetid,
    buildrequests.c.priority,
    buildrequests.c.claimed_by_masterid,
    buildrequests.c.claimed_at,
    buildrequests.c.complete,
    buildrequests.c.complete_at,
    buildrequests.c.builderid,
    buildrequests.c.results,
    buildrequests.c.submitted_at,
    buildrequests.c.waited_for,
)
#: the column of a row that names its builder
_BUILDERID = [column.name for column in _columns].index("builderid")
_base = select(*_columns)
_this = buildrequests.c.id == bindparam("brid")
_its_builder = builders.c.id == buildrequests.c.builderid
_get = Statement(_base.add_columns(builders.c.name).join(builders, _its_builder).where(_this))
_these = IdIn(buildrequests.c.id)
_holder, _is_complete = NoIndex(buildrequests.c.claimed_by_masterid), NoIndex(buildrequests.c.complete)
_mine = and_(_holder == bindparam("owner"), buildrequests.c.claimed_epoch == bindparam("owner_epoch"))
_unclaimed = and_(_holder.is_(None), _is_complete == 0)
_pending = and_(buildrequests.c.claimed_by_masterid.is_(None), unset(buildrequests.c.complete))
#: both come from the index of pending requests alone, so that finished requests cost nothing
_queue = Statement(select(func.count(), func.min(buildrequests.c.id)).where(_pending))
_submitted = Statement(select(buildrequests.c.submitted_at).where(_this))
#: a process that was declared dead must not leave claims, which no master would release; the row is locked, so that
#: neither the claim nor the declaration misses the other
_still_me = (
    select(masters.c.id)
    .where(masters.c.id == bindparam("owner"), masters.c.epoch == bindparam("owner_epoch"))
    .with_for_update(read=True, key_share=True)
    .exists()
)
_lock = Statement(select(buildrequests.c.id).where(_these).order_by(buildrequests.c.id).with_for_update())
_lock_unclaimed = Statement(
    select(buildrequests.c.id).where(_these, _unclaimed).order_by(buildrequests.c.id).with_for_update()
)
_claim = Update(
    update(buildrequests)
    .where(_these, _unclaimed, _still_me)
    .values(claimed_by_masterid=bindparam("owner"), claimed_epoch=bindparam("owner_epoch"), claimed_at=bindparam("at")),
    own_row(BUILDREQUEST),
    _these,
)
_reclaim = Statement(update(buildrequests).where(_these, _mine).values(claimed_at=bindparam("at")))
_release = {"claimed_by_masterid": None, "claimed_epoch": None, "claimed_at": None}
_mine_of_these = Statement(
    select(buildrequests.c.id, buildrequests.c.cancel_reason, buildrequests.c.complete)
    .where(_these, _mine)
    .order_by(buildrequests.c.id)
    .with_for_update()
)
_unclaim = Update(update(buildrequests).where(_these).values(_release), own_row(BUILDREQUEST), _these)
_complete = Update(
    update(buildrequests)
    .where(_these, _mine, _is_complete == 0)
    .values(complete=1, complete_at=bindparam("at"), results=bindparam("outcome")),
    own_row(BUILDREQUEST),
    _these,
)
_complete_unclaimed = Update(
    update(buildrequests)
    .where(_these, _unclaimed)
    .values(complete=1, complete_at=bindparam("at"), results=bindparam("outcome")),
    own_row(BUILDREQUEST),
    _these,
)
_expired = Statement(
    select(buildrequests.c.id)
    .where(
        unset(buildrequests.c.complete),
        buildrequests.c.claimed_by_masterid.is_not(None),
        buildrequests.c.claimed_at < bindparam("before"),
    )
    .order_by(buildrequests.c.id)
    .with_for_update()
)
_of_master = Statement(
    select(buildrequests.c.id, buildrequests.c.cancel_reason)
    .where(buildrequests.c.claimed_by_masterid == bindparam("masterid"), unset(buildrequests.c.complete))
    .order_by(buildrequests.c.id)
    .with_for_update()
)
_set_priority = Update(
    update(buildrequests).where(_this).values(priority=bindparam("new_priority")), own_row(BUILDREQUEST), _this
)
_lock_state = Statement(
    select(buildrequests.c.complete, buildrequests.c.claimed_by_masterid).where(_this).with_for_update()
)
_want_cancel = Statement(update(buildrequests).where(_this).values(cancel_reason=bindparam("reason")))


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    builders: BuildersConnectorComponent


class BuildRequestsConnectorComponent(DBConnectorComponent):
    """Build requests, and their claims; at ``master.db.buildrequests``.

    A brdict has the keys ``brid``, ``buildsetid``, ``buildername``, ``priority``, ``claimed``, ``claimed_at``
    (datetime or None), ``mine``, ``complete``, ``complete_at`` (datetime or None), and besides ``builderid``,
    ``results``, ``submitted_at``, ``waited_for``, ``claimed_by_masterid``.
    """

    db: _Connector

    def thdGetBuildRequest(self, conn: Connection, brid: int) -> dict[str, Any] | None:
        """The build request with this id, or None; never cached."""
        row = _get.first(conn, brid=checks.identifier(brid, "brid"))
        return None if row is None else _brdicts([row[:-1]], {row[_BUILDERID]: row[-1]}, self.db.masterid)[0]

    getBuildRequest = reads_short(thdGetBuildRequest)

    def thdGetBuildRequests(
        self,
        conn: Connection,
        *,
        buildername: str | None = None,
        complete: bool | None = None,
        claimed: bool | Literal["mine"] | None = None,
        bsid: int | None = None,
        branch: str | None = None,
        repository: str | None = None,
    ) -> list[dict[str, Any]]:
        """Build requests with these characteristics, by id; keywords only.

        Args:
            complete: true or false; None: both.
            claimed: True for claimed ones (an unclaimed complete one is not), False for unclaimed ones that are not
                complete, ``"mine"`` for those that this master has claimed, None for all.
            bsid: only requests of this buildset.
            branch, repository: only requests with such a source stamp.

        Raises:
            ValueError: ``claimed`` or ``complete`` is none of the above.
        """
        checks.one_of(complete, (None, True, False), "complete")
        checks.one_of(claimed, (None, True, False, "mine"), "claimed")
        given: dict[str, Any] = {}
        if buildername is not None:
            given["wanted_hash"] = checks.name_hash(checks.text(buildername, "buildername"))
        if claimed == "mine":
            given.update(self._owner())
        if bsid is not None:
            given["wanted_bsid"] = checks.identifier(bsid, "bsid")
        if branch is not None:
            given["wanted_branch"] = checks.text(branch, "branch")
        if repository is not None:
            given["wanted_repository"] = checks.text(repository, "repository")
        statement = _selection(complete, claimed, frozenset(given))
        rows = statement.all(conn, **given)
        # a join would take a third of the time of the SELECT
        names = self.db.builders.thdGetNames(conn, {row[_BUILDERID] for row in rows})
        return _brdicts(rows, names, self.db.masterid)

    getBuildRequests = reads_list(thdGetBuildRequests)

    def thdClaimBuildRequests(
        self, conn: Connection, brids: Iterable[int], claimed_at: dt.datetime | None = None
    ) -> None:
        """Claim build requests for this master, all of them or none.

        Args:
            brids: in any order; an id given twice counts once; without ids nothing happens.
            claimed_at: aware datetime, default now; stored in whole seconds.

        Raises:
            AlreadyClaimedError: one is claimed, complete or unknown, or this master was declared dead; nothing is
                claimed.
        """
        ids = checks.identifiers(brids, "brids")
        at = self._at(conn, claimed_at, "claimed_at")
        if not ids:
            return
        if len(_claim.changed(conn, self._order(conn, ids), ids=ids, at=at, **self._owner())) != len(ids):
            raise AlreadyClaimedError(f"a build request among {_some(ids)} is claimed, complete or unknown")

    claimBuildRequests = writes(thdClaimBuildRequests)

    def thdClaimEach(self, conn: Connection, ids: list[int], claimed_at: dt.datetime | None) -> list[int]:
        """Claim those of the requests that can be claimed; gives their ids."""
        at = self._at(conn, claimed_at, "claimed_at")
        if len(ids) > 1 and not dialect_of(conn).returns_updated:
            ids = [row[0] for row in _lock_unclaimed.all(conn, ids=ids)]
            if not ids:
                return []
        return [row[0] for row in _claim.changed(conn, self._order(conn, ids), ids=ids, at=at, **self._owner())]

    def thdReclaimBuildRequests(self, conn: Connection, brids: Iterable[int]) -> None:
        """Renew this master's claims, all of them or none: their ``claimed_at`` becomes now.

        Raises:
            AlreadyClaimedError: this master has not claimed one of them, or it does not exist; nothing is renewed.
        """
        ids = checks.identifiers(brids, "brids")
        if not ids:
            return
        lock = self._order(conn, ids)
        if lock is not None:
            lock.all(conn, ids=ids)
        if _reclaim.count(conn, ids=ids, at=transaction_of(conn).now, **self._owner()) != len(ids):
            raise AlreadyClaimedError(f"a build request among {_some(ids)} is not claimed by this master")

    reclaimBuildRequests = writes(thdReclaimBuildRequests)

    def thdUnclaimBuildRequests(self, conn: Connection, brids: Iterable[int]) -> None:
        """Release this master's claims on these requests; other requests stay as they are.

        It is not checked whether a request is complete.
        """
        self.thdRelease(conn, checks.identifiers(brids, "brids"))

    unclaimBuildRequests = writes(thdUnclaimBuildRequests)

    def thdRelease(self, conn: Connection, ids: list[int]) -> tuple[list[int], list[int]]:
        """Release this master's claims on these requests.

        Returns:
            the ids of the requests that it had claimed: those that may be built again, and those that are incomplete
            and were cancelled while it had them.
        """
        mine = _mine_of_these.all(conn, ids=ids, **self._owner()) if ids else []
        cancelled = [brid for brid, reason, complete in mine if reason is not None and not complete]
        if mine:
            _unclaim.changed(conn, ids=[row[0] for row in mine])
        return [row[0] for row in mine if row[0] not in cancelled], cancelled

    def thdCompleteBuildRequests(
        self, conn: Connection, brids: Iterable[int], results: int, complete_at: dt.datetime | None = None
    ) -> None:
        """Complete requests that this master has claimed, all of them or none.

        Args:
            results: a result code.
            complete_at: aware datetime, default now.

        Raises:
            NotClaimedError: one does not exist, is complete, or is not claimed by this master; none is completed.
        """
        ids = checks.identifiers(brids, "brids")
        outcome = checks.integer(results, "results")
        at = self._at(conn, complete_at, "complete_at")
        if not ids:
            return
        lock = self._order(conn, ids)
        if len(_complete.changed(conn, lock, ids=ids, at=at, outcome=outcome, **self._owner())) != len(ids):
            raise NotClaimedError(
                f"a build request among {_some(ids)} is complete, unknown, or not claimed by this master"
            )

    completeBuildRequests = writes(thdCompleteBuildRequests)

    def thdUnclaimExpiredRequests(self, conn: Connection, old: int) -> None:
        """Release claims of any master on incomplete requests that are older than ``old`` seconds.

        The age is measured by the database server's clock, which is the only one that all masters share. The log names
        the requests.
        """
        self.thdReleaseExpired(conn, old)

    unclaimExpiredRequests = writes(thdUnclaimExpiredRequests)

    def thdReleaseExpired(self, conn: Connection, old: int) -> list[int]:
        """As ``unclaimExpiredRequests``; gives the ids of the requests."""
        before = dialect_of(conn).server_now(conn) - checks.integer(old, "old", maximum=checks.MAX_INT)
        ids = [row[0] for row in _expired.all(conn, before=before)]
        if ids:
            _unclaim.changed(conn, ids=ids)
            log.info(
                "unclaimed {count} build requests older than {old} s: {ids}", count=len(ids), old=old, ids=_some(ids)
            )
        return ids

    # -- for the Data layer -------------------------------------------------------------------------

    def thdOfMaster(self, conn: Connection, masterid: int) -> list[tuple[int, str | None]]:
        """Incomplete requests claimed by a master, with the reason of their cancellation; locked."""
        return [(row[0], row[1]) for row in _of_master.all(conn, masterid=masterid)]

    def thdReleaseAny(self, conn: Connection, ids: list[int]) -> None:
        """Release claims of any master; for masters declared dead."""
        if ids:
            _unclaim.changed(conn, ids=ids)

    def thdCompleteUnclaimed(self, conn: Connection, brids: list[int], results: int) -> None:
        """Complete requests that no master has claimed."""
        _complete_unclaimed.changed(conn, ids=brids, at=transaction_of(conn).now, outcome=results)

    def thdQueue(self, conn: Connection) -> tuple[int, int | None]:
        """The number of requests that wait to be claimed, and when the first of them was submitted."""
        row = _queue.first(conn)
        assert row is not None
        return int(row[0]), None if row[1] is None else _submitted.scalar(conn, brid=row[1])

    def thdState(self, conn: Connection, brid: int) -> tuple[bool, int | None] | None:
        """Whether a request is complete, and the master that claimed it; None if it is unknown. Its row is locked."""
        row = _lock_state.first(conn, brid=checks.identifier(brid, "brid"))
        return None if row is None else (bool(row[0]), row[1])

    def thdWantCancel(self, conn: Connection, brid: int, reason: str) -> None:
        """Store that a claimed request is to be cancelled, for the master that runs it now or later."""
        _want_cancel.run(conn, brid=brid, reason=reason)

    def thdSetPriority(self, conn: Connection, brid: int, priority: int) -> bool:
        """Change a request's priority; false if there is no such request."""
        return _set_priority.count(conn, brid=checks.identifier(brid, "brid"), new_priority=priority) == 1

    @staticmethod
    def _order(conn: Connection, ids: list[int]) -> Statement | None:
        """What locks these requests in ascending order, where crossed calls would deadlock otherwise."""
        return _lock if len(ids) > 1 and not dialect_of(conn).updates_in_order else None

    @staticmethod
    def _at(conn: Connection, moment: dt.datetime | None, what: str) -> int:
        return transaction_of(conn).now if moment is None else to_seconds(moment, what)


def _brdicts(rows: Iterable[Row], names: Mapping[int, str], masterid: int) -> list[dict[str, Any]]:
    """Rows of ``_base`` as dictionaries, with ``mine`` for this master; there may be very many.

    ``names``: those of their builders.
    """
    return [
        {
            "brid": brid,
            "buildsetid": buildsetid,
            "buildername": names[builderid],
            "priority": priority,
            "claimed": claimed_by is not None,
            "claimed_at": None if claimed_at is None else to_datetime(claimed_at),
            "mine": claimed_by == masterid,
            "complete": complete == 1,
            "complete_at": None if complete_at is None else to_datetime(complete_at),
            "builderid": builderid,
            "results": results,
            "submitted_at": to_datetime(submitted_at),
            "waited_for": waited_for == 1,
            "claimed_by_masterid": claimed_by,
        }
        for (
            brid, buildsetid, priority, claimed_by, claimed_at, complete, complete_at, builderid, results,
            submitted_at, waited_for,
        ) in rows
    ]  # fmt: skip


@cache
def _selection(complete: bool | None, claimed: bool | str | None, given: frozenset[str]) -> Statement:
    """The SELECT of requests with these characteristics; ``given`` are the names of its parameters."""
    statement = _base
    if "wanted_hash" in given:
        statement = statement.join(builders, _its_builder).where(builders.c.name_hash == bindparam("wanted_hash"))
    if complete is not None:
        statement = statement.where(buildrequests.c.complete == 1 if complete else unset(buildrequests.c.complete))
    if claimed == "mine":
        statement = statement.where(
            buildrequests.c.claimed_by_masterid == bindparam("owner"),
            buildrequests.c.claimed_epoch == bindparam("owner_epoch"),
        )
    elif claimed is True:
        statement = statement.where(buildrequests.c.claimed_by_masterid.is_not(None))
    elif claimed is False:
        statement = statement.where(_pending)
    if "wanted_bsid" in given:
        statement = statement.where(buildrequests.c.buildsetid == bindparam("wanted_bsid"))
    stamped = [
        column == bindparam(name)
        for name, column in (("wanted_branch", sourcestamps.c.branch), ("wanted_repository", sourcestamps.c.repository))
        if name in given
    ]
    if stamped:
        statement = statement.where(
            buildrequests.c.buildsetid.in_(
                select(buildsets.c.id)
                .join(sourcestampset_members, sourcestampset_members.c.sourcestampsetid == buildsets.c.sourcestampsetid)
                .join(sourcestamps, sourcestamps.c.id == sourcestampset_members.c.ssid)
                .where(*stamped)
            )
        )
    return Statement(statement.order_by(buildrequests.c.id))


def _some(ids: list[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"


__all__ = ["AlreadyClaimedError", "BuildRequestsConnectorComponent", "NotClaimedError"]
