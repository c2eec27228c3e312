"""Updates of buildsets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db import properties as property_pairs
from buildbot.db.buildsets import Triggered
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.buildsets import BUILDSET

#: the attributes of a source stamp that name the code
_CODE = ("codebase", "repository", "project", "branch", "revision", "patch_body", "patch_subdir")


class BuildsetUpdates(Transacts):
    """``addBuildset``, ``triggerBuildset``."""

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
        else:  # no request, so it is complete
            self._db.buildsets.thdCompleteBuildset(conn, bsid, 0)
            events.announce(BUILDSET, "complete", bsid)
        return bsid, brids

    def triggerBuildset(
        self, parent_buildid: int, scheduler: str, priority: int | None = None, **buildset: Any
    ) -> Deferred[tuple[int, dict[str, int]]]:
        """Add a buildset that a build of this master triggers, unless an earlier build of its request has added it.

        A request whose build ended with RETRY is built again, and the new build triggers again. If the earlier build
        has triggered a buildset with the same scheduler, source stamps and properties, that buildset becomes the new
        build's, unless it has failed or was cancelled.
        Events: those of ``addBuildset``, or ``buildsets/N/update``.

        Args:
            parent_buildid: the build.
            scheduler: name of the scheduler that is triggered.
            priority: of the requests; None: that of the build's own request.
            buildset: further arguments of ``addBuildset``.

        Returns:
            Deferred with ``(bsid, {builder name: brid})``.

        Raises:
            NotClaimedError: this master no longer holds the build's request; nothing is written.
        """
        return self.transact(self._thdTrigger, parent_buildid, scheduler, priority, buildset)

    def _thdTrigger(
        self,
        conn: Connection,
        events: Events,
        parent: int,
        scheduler: str,
        priority: int | None,
        buildset: dict[str, Any],
    ) -> tuple[int, dict[str, int]]:
        db = self._db
        db.builds.thdHold(conn, parent)
        stamps = buildset["sourcestamps"]
        wanted = property_pairs.loads(property_pairs.dumps(buildset.get("properties", {})))
        for each in db.buildsets.thdTriggeredBefore(conn, parent, scheduler):
            # the cheap check first; mostly there is no such buildset
            if not _same_properties(each, wanted):
                continue
            if _codes(stamps) == _codes(db.sourcestamps.thdGetSourceStamps(conn, each.sourcestampsetid)):
                db.buildsets.thdSetParent(conn, each.bsid, parent)
                events.announce(BUILDSET, "update", each.bsid)
                requests = db.buildrequests.thdGetBuildRequests(conn, bsid=each.bsid)
                return each.bsid, {request["buildername"]: request["brid"] for request in requests}
        if priority is None:
            priority = db.buildsets.thdPriorityOfBuild(conn, parent)
        return self.thdAddBuildset(
            conn, events, parent_buildid=parent, scheduler=scheduler, priority=priority, **buildset
        )


def _same_properties(before: Triggered, wanted: Mapping[str, tuple[Any, str]]) -> bool:
    """Whether the properties are equal, except number, id and address of the triggering build."""
    if before.properties.keys() != wanted.keys():
        return False
    now = {f"/builds/{old}": f"/builds/{new}" for old, new in before.numbers.items()}
    for name, (value, source) in before.properties.items():
        if (value, source) == wanted[name]:
            continue
        if type(value) is int:
            moved: Any = before.numbers.get(value, value)
        else:
            moved = re.sub(r"/builds/\d+$", lambda found: now.get(found[0], found[0]), str(value))
        if (moved, source) != wanted[name]:
            return False
    return True


def _codes(stamps: Iterable[Mapping[str, Any]]) -> list[str]:
    """The code of source stamps, to be compared."""
    return sorted(repr([stamp.get(key) or None for key in _CODE]) for stamp in stamps)


def announce_new(events: Events, bsid: int, changeids: list[int], changes: Mapping[str, Any] | None = None) -> None:
    """Announce a new buildset. Subscriptions to the builds of a change need the ids of its changes."""
    # the results of a new buildset are None, not -1
    asides = {bsid: {"changeids": changeids}} if changeids else None
    events.announce(BUILDSET, "new", bsid, {"results": None, **(changes or {})}, asides)
