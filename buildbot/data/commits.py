"""Updates of commits."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.commits import COMMIT


class CommitUpdates(Transacts):
    """``add_commit``."""

    def add_commit(
        self,
        *,
        codebaseid: int,
        author: str,
        comments: str,
        revision: str,
        committer: str | None = None,
        when_timestamp: int | None = None,
        parent_commitid: int | None = None,
    ) -> Deferred[int]:
        """Add a commit; one that the codebase has already, by its revision, stays as it is.

        Event, if it is new: ``commits/N/new``, ``codebases/N/commits/N/new``.

        Args:
            when_timestamp: Unix seconds, default now.
            parent_commitid: a commit of the same codebase, added before; None for the first.

        Returns:
            Deferred with the commitid.

        Raises ValueError if there is no such codebase, or it has no such parent.
        """
        return self.transact(
            self._thdAddCommit,
            {
                "codebaseid": codebaseid,
                "author": author,
                "comments": comments,
                "revision": revision,
                "committer": committer,
                "when_timestamp": when_timestamp,
                "parent_commitid": parent_commitid,
            },
        )

    def _thdAddCommit(self, conn: Connection, events: Events, commit: dict[str, object]) -> int:
        commitid, is_new = self._db.commits.thdAddCommit(conn, **commit)  # type: ignore[arg-type]
        if is_new:
            events.announce(COMMIT, "new", commitid)
        return commitid
