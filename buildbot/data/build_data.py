"""Updates of build data. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts


class BuildDataUpdates(Transacts):
    """``setBuildData``."""

    def setBuildData(self, buildid: int, name: str, value: bytes, source: str) -> Deferred[None]:
        """Store bytes under a name, in place of what the build had there; announces nothing.

        Args:
            name: an identifier of at most 70.
            value: at most 7,000,000 bytes.
            source: what set it.
        """
        return self.transact(self._thdSetBuildData, buildid, name, value, source)

    def _thdSetBuildData(
        self, conn: Connection, events: Events, buildid: int, name: str, value: bytes, source: str
    ) -> None:
        self._db.builds.thdHold(conn, buildid)
        self._db.build_data.thdSetBuildData(conn, buildid, name, value, source)
