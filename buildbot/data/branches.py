"""Updates of branches."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.branches import BRANCH


class BranchUpdates(Transacts):
    """``update_branch``."""

    def update_branch(
        self, *, codebaseid: int, name: str, commitid: int | None = None, last_timestamp: int | None = None
    ) -> Deferred[int]:
        """Set the last commit of a branch, which is added if it is new. Event: ``branches/N/update``.

        Args:
            last_timestamp: when that became its last commit, in Unix seconds; default now.

        Returns:
            Deferred with the branchid.

        Raises ValueError if there is no such codebase, or it has no such commit.
        """
        return self.transact(self._thdUpdateBranch, codebaseid, name, commitid, last_timestamp)

    def _thdUpdateBranch(
        self,
        conn: Connection,
        events: Events,
        codebaseid: int,
        name: str,
        commitid: int | None,
        last_timestamp: int | None,
    ) -> int:
        branchid = self._db.branches.thdUpdateBranch(conn, codebaseid, name, commitid, last_timestamp)
        events.announce(BRANCH, "update", branchid)
        return branchid
