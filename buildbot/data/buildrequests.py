"""Updates of build requests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db.exceptions import AlreadyClaimedError
from buildbot.db.transaction import transaction_of
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.buildsets import BUILDSET
from buildbot.util import checks
from buildbot.util.clock import to_seconds
from buildbot.util.deferreds import deferred


class BuildRequestUpdates(Transacts):
    """Claims and their ends; all take the connector's arguments and fail as it does, unless said otherwise."""

    @deferred
    async def claimBuildRequests(self, brids: Iterable[int], claimed_at: dt.datetime | None = None) -> bool:
        """Claim requests for this master, all or none. Event: ``buildrequests/N/claimed``.

        Returns:
            Deferred with false where the connector raises AlreadyClaimedError.
        """
        try:
            await self.transact(self._thdClaim, brids, claimed_at)
        except AlreadyClaimedError:
            self.claims["lost"] += 1
            return False
        self.claims["won"] += 1
        return True

    def _thdClaim(self, conn: Connection, events: Events, brids: Iterable[int], claimed_at: dt.datetime | None) -> None:
        ids = checks.identifiers(brids, "brids")
        self._db.buildrequests.thdClaimBuildRequests(conn, ids, claimed_at)
        events.announce(BUILDREQUEST, "claimed", ids)

    def reclaimBuildRequests(self, brids: Iterable[int]) -> Deferred[None]:
        """Renew claims of this master. Event: ``buildrequests/N/update``."""
        return self.transact(self._thdReclaim, brids)

    def _thdReclaim(self, conn: Connection, events: Events, brids: Iterable[int]) -> None:
        ids = checks.identifiers(brids, "brids")
        self._db.buildrequests.thdReclaimBuildRequests(conn, ids)
        events.announce(BUILDREQUEST, "update", ids)

    def unclaimBuildRequests(self, brids: Iterable[int]) -> Deferred[None]:
        """Release claims of this master. Event: ``buildrequests/N/unclaimed`` for those that it had."""
        return self.transact(self._thdUnclaim, brids)

    def _thdUnclaim(self, conn: Connection, events: Events, brids: Iterable[int]) -> None:
        released = self._db.buildrequests.thdRelease(conn, checks.identifiers(brids, "brids"))
        events.announce(BUILDREQUEST, "unclaimed", released)

    def completeBuildRequests(
        self, brids: Iterable[int], results: int, complete_at: dt.datetime | None = None
    ) -> Deferred[None]:
        """Complete requests that this master has claimed, all or none.

        The last one of a buildset completes the buildset, with the worst result. Events: ``buildrequests/N/complete``,
        ``buildsets/N/complete``.

        Raises NotClaimedError as the connector does.
        """
        return self.transact(self._thdComplete, brids, results, complete_at)

    def _thdComplete(
        self, conn: Connection, events: Events, brids: Iterable[int], results: int, complete_at: dt.datetime | None
    ) -> None:
        ids = checks.identifiers(brids, "brids")
        if not ids:
            return
        at = transaction_of(conn).now if complete_at is None else to_seconds(complete_at, "complete_at")
        self._db.buildrequests.thdCompleteBuildRequests(conn, ids, results, complete_at)
        completed = events.announce(BUILDREQUEST, "complete", ids)
        bsids = [request["buildsetid"] for request in completed]
        events.announce(BUILDSET, "complete", self._db.buildsets.thdCompleteFinished(conn, bsids, at))

    def unclaimExpiredRequests(self, old: int) -> Deferred[None]:
        """Release claims older than ``old`` seconds, whoever has them. Event: ``buildrequests/N/unclaimed``."""
        return self.transact(self._thdUnclaimExpired, old)

    def _thdUnclaimExpired(self, conn: Connection, events: Events, old: int) -> None:
        events.announce(BUILDREQUEST, "unclaimed", self._db.buildrequests.thdReleaseExpired(conn, old))
