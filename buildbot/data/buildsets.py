"""Updates of buildsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.buildsets import BUILDSET


class BuildsetUpdates(Transacts):
    """``addBuildset``."""

    def addBuildset(self, **buildset: Any) -> Deferred[tuple[int, dict[str, int]]]:
        """Add a buildset with a request for each builder. Events: ``buildsets/N/new``, ``buildrequests/N/new`` for
        each.

        Args:
            buildset: the keywords of the connector's ``addBuildset``; ``sourcestamps=[{…}, …]`` with the arguments of
                ``addSourceStamp`` (and ``codebase``) may stand in place of ``sourcestampsetid``. Also ``scheduler``,
                ``waited_for``, ``priority``, ``parent_buildid``, ``parent_relationship``, ``rebuilt_buildid``.

        Returns:
            Deferred with ``(bsid, {builder name: brid})``.
        """
        return self.transact(self.thdAddBuildset, **buildset)

    def thdAddBuildset(self, conn: Connection, events: Events, /, **buildset: Any) -> tuple[int, dict[str, int]]:
        """As ``addBuildset``, in a transaction that does more."""
        differs: dict[str, Any] = {}
        stamps = buildset.pop("sourcestamps", None)
        changeids: list[int] | None = None
        if stamps is not None:
            stamps = list(stamps)
            changeids = sorted({changeid for stamp in stamps for changeid in stamp.get("changeids", ())})
            if buildset.get("sourcestampsetid") is not None:
                raise ValueError("sourcestamps: give either sourcestamps or sourcestampsetid")
            buildset["sourcestampsetid"], known = self._db.sourcestamps.thdAddSet(conn, stamps)
            if known is not None:
                differs["sourcestamps"] = known
        buildset.setdefault("properties", {})
        buildset.setdefault("reason", "")
        bsid, brids = self._db.buildsets.thdAddBuildset(conn, **buildset)
        if changeids is None:
            changeids = self._db.sourcestamps.thdGetChangesOfSet(conn, buildset["sourcestampsetid"])
        announce_new(events, bsid, changeids, differs)
        if brids:
            events.announce(BUILDREQUEST, "new", sorted(brids.values()))
        else:  # nothing to wait for
            self._db.buildsets.thdCompleteBuildset(conn, bsid, 0)
            events.announce(BUILDSET, "complete", bsid)
        return bsid, brids


def announce_new(events: Events, bsid: int, changeids: list[int], changes: Mapping[str, Any] | None = None) -> None:
    """Announce a new buildset, and for those who follow what is built of a change, which changes it comes from."""
    # of a new buildset the results are None, not -1
    asides = {bsid: {"changeids": changeids}} if changeids else None
    events.announce(BUILDSET, "new", bsid, {"results": None, **(changes or {})}, asides)
