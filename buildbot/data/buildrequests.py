"""Updates of build requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from buildbot.data.base import Events, Transacts
from buildbot.db.connector import DBConnector
from buildbot.db.dialects.context import transaction_of
from buildbot.db.engine.rows import Entity
from buildbot.db.exceptions import AlreadyClaimedError
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.buildsets import BUILDSET
from buildbot.util import checks
from buildbot.util.clock import to_seconds
from buildbot.util.results import CANCELLED

#: the reason with which a buildset is cancelled when the build that waits for it is
PARENT_INTERRUPTED = "parent build was interrupted"


class BuildRequestUpdates(Transacts):
    """Claims and their ends. Arguments and errors are those of the connector, where nothing else is said."""

    def claimBuildRequests(self, brids: Iterable[int], claimed_at: dt.datetime | None = None) -> Deferred[bool]:
        """Claim requests for this master, all or none. Event: ``buildrequests/N/claimed``.

        Returns:
            Deferred with false where the connector raises AlreadyClaimedError.
        """
        try:
            ids = checks.identifiers(brids, "brids")
        except Exception:
            return fail()
        if len(ids) == 1:
            return self.transact_each(self._thdClaimEach, ids[0], AlreadyClaimedError, claimed_at).addCallbacks(
                self._counted, self._lost
            )
        return self.transact_all(self._thdClaim, ids, "brids", claimed_at).addCallbacks(self._won, self._lost)

    def _won(self, _: None) -> bool:
        return self._counted(True)

    def _lost(self, failure: Failure) -> bool:
        failure.trap(AlreadyClaimedError)
        return self._counted(False)

    def _counted(self, won: bool) -> bool:
        self.claims["won" if won else "lost"] += 1
        return won

    def _thdClaimEach(
        self, conn: Connection, events: Events, ids: list[int], claimed_at: dt.datetime | None
    ) -> list[int]:
        won = self._db.buildrequests.thdClaimEach(conn, ids, claimed_at)
        events.announce(BUILDREQUEST, "claimed", won)
        return won

    def _thdClaim(self, conn: Connection, events: Events, ids: list[int], claimed_at: dt.datetime | None) -> None:
        self._db.buildrequests.thdClaimBuildRequests(conn, ids, claimed_at)
        events.announce(BUILDREQUEST, "claimed", ids)

    def reclaimBuildRequests(self, brids: Iterable[int]) -> Deferred[None]:
        """Renew claims of this master. Event: ``buildrequests/N/update``."""
        return self.transact_all(self._thdReclaim, brids, "brids")

    def _thdReclaim(self, conn: Connection, events: Events, ids: list[int]) -> None:
        self._db.buildrequests.thdReclaimBuildRequests(conn, ids)
        events.announce(BUILDREQUEST, "update", ids)

    def unclaimBuildRequests(self, brids: Iterable[int]) -> Deferred[None]:
        """Release claims of this master. Event: ``buildrequests/N/unclaimed`` for those that it had.

        Requests that were cancelled while it had them end with CANCELLED instead. Events: ``buildrequests/N/complete``,
        ``buildsets/N/complete``.
        """
        return self.transact_all(self._thdUnclaim, brids, "brids")

    def _thdUnclaim(self, conn: Connection, events: Events, ids: list[int]) -> None:
        release(self._db, conn, events, ids)

    def completeBuildRequests(
        self, brids: Iterable[int], results: int, complete_at: dt.datetime | None = None
    ) -> Deferred[None]:
        """Complete requests that this master has claimed, all or none.

        The last one of a buildset completes the buildset, with the worst result. Events: ``buildrequests/N/complete``,
        ``buildsets/N/complete``.

        Raises NotClaimedError as the connector does.
        """
        return self.transact_all(self._thdComplete, brids, "brids", results, complete_at)

    def _thdComplete(
        self, conn: Connection, events: Events, ids: list[int], results: int, complete_at: dt.datetime | None
    ) -> None:
        if ids:
            complete(self._db, conn, events, ids, results, complete_at)

    def unclaimExpiredRequests(self, old: int) -> Deferred[None]:
        """Release claims older than ``old`` seconds, of any master. Event: ``buildrequests/N/unclaimed``."""
        return self.transact(self._thdUnclaimExpired, old)

    def _thdUnclaimExpired(self, conn: Connection, events: Events, old: int) -> None:
        events.announce(BUILDREQUEST, "unclaimed", self._db.buildrequests.thdReleaseExpired(conn, old))


def release(db: DBConnector, conn: Connection, events: Events, ids: list[int]) -> None:
    """Release requests that this master has claimed; those that people have cancelled meanwhile end."""
    released, cancelled = db.buildrequests.thdRelease(conn, ids)
    events.announce(BUILDREQUEST, "unclaimed", released)
    end_cancelled(db, conn, events, cancelled)


def end_cancelled(db: DBConnector, conn: Connection, events: Events, brids: list[int]) -> None:
    """Complete requests that people have cancelled and that no master has claimed any more."""
    if not brids:
        return
    db.buildrequests.thdCompleteUnclaimed(conn, brids, CANCELLED)
    _complete_buildsets(db, conn, events, events.announce(BUILDREQUEST, "complete", brids), transaction_of(conn).now)
    for brid in brids:
        cancel_left_behind(db, conn, events, brid)


def cancel(db: DBConnector, conn: Connection, events: Events, brid: int, reason: str) -> None:
    """Cancel a request: it ends, or the builds that it has are to be stopped."""
    state = db.buildrequests.thdState(conn, brid)
    if state is None or state[0]:
        return
    message = {"reason": reason}
    if state[1] is None:
        db.buildrequests.thdCompleteUnclaimed(conn, [brid], CANCELLED)
        completed = events.announce(BUILDREQUEST, "complete", brid)
        events.announce(BUILDREQUEST, "cancel", brid)
        _complete_buildsets(db, conn, events, completed, transaction_of(conn).now)
    else:
        db.buildrequests.thdWantCancel(conn, brid, reason)
        for bid, _, _ in db.builds.thdUnfinished(conn, brids=[brid]):
            db.builds.thdWantStop(conn, bid, reason)
            events.announce_message(f"control/builds/{bid}/stop", message)
    events.announce_message(f"control/buildrequests/{brid}/cancel", message)
    cancel_left_behind(db, conn, events, brid)


def cancel_left_behind(db: DBConnector, conn: Connection, events: Events, brid: int) -> None:
    """Cancel the buildsets that earlier builds of a request have triggered: no later build will wait for them.

    The step of a running build cancels the buildset that it waits for.
    """
    for child in db.buildsets.thdLeftBehind(conn, brid):
        cancel(db, conn, events, child, PARENT_INTERRUPTED)


def complete(
    db: DBConnector,
    conn: Connection,
    events: Events,
    ids: list[int],
    results: int,
    complete_at: dt.datetime | None = None,
) -> None:
    """Complete requests that this master has claimed, and buildsets that have no other open request."""
    at = transaction_of(conn).now if complete_at is None else to_seconds(complete_at, "complete_at")
    db.buildrequests.thdCompleteBuildRequests(conn, ids, results, complete_at)
    _complete_buildsets(db, conn, events, events.announce(BUILDREQUEST, "complete", ids), at)


def _complete_buildsets(db: DBConnector, conn: Connection, events: Events, completed: list[Entity], at: int) -> None:
    """Complete the buildsets of requests that were completed, if they have no other open request."""
    bsids = [request["buildsetid"] for request in completed]
    events.announce(BUILDSET, "complete", db.buildsets.thdCompleteFinished(conn, bsids, at))
