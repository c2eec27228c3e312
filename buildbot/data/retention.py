"""Updates that remove old rows; the process layer's janitor calls them.

Each call is one small transaction and gives the place where the next call begins, or None at the end. A removed
resource is announced as it was, under its own keys, with the event ``deleted``; so a subscriber to a list knows that it
is gone. Build data and test results have no events; they are removed with the resources that they belong to.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.db.dialects.context import transaction_of
from buildbot.db.retention import START, Place
from buildbot.resources.buildrequests import BUILDREQUEST
from buildbot.resources.builds import BUILD
from buildbot.resources.buildsets import BUILDSET
from buildbot.resources.changes import CHANGE
from buildbot.resources.logs import LOG
from buildbot.resources.sourcestamps import SOURCESTAMP
from buildbot.resources.steps import STEP
from buildbot.resources.test_result_sets import TEST_RESULT_SET
from buildbot.util import checks

#: builds removed by one call
BUILDS = 5


class RetentionUpdates(Transacts):
    """``pruneLogs``, ``pruneBuildData``, ``pruneBuilds``, ``pruneBuildsets``, ``pruneChanges``, ``pruneSourceStamps``.

    ``seconds`` is the age from which on rows are removed, ``keep`` the number of builds of each builder that stay
    whatever their age. Unfinished resources stay.
    """

    def pruneLogs(self, seconds: int, keep: int, place: Place = START) -> Deferred[Place | None]:
        """Remove the content of some logs of builds that ended ``seconds`` ago.

        Their ``type`` is ``d`` then, and they have no lines. Event: ``logs/N/emptied``.
        """
        return self.transact(self._thdPruneLogs, *_checked(seconds, keep), place)

    def _thdPruneLogs(self, conn: Connection, events: Events, seconds: int, keep: int, place: Place) -> Place | None:
        logids, through = self._db.retention.thdOldLogs(conn, _before(conn, seconds), keep, place[1])
        unfinished = self._empty(conn, events, logids)
        if unfinished is not None:
            return 0, unfinished - 1
        return None if through is None else (0, through)

    def pruneBuildData(self, seconds: int, keep: int, place: Place = START) -> Deferred[Place | None]:
        """Remove some data of builds that ended ``seconds`` ago; announces nothing."""
        return self.transact(self._thdPruneBuildData, *_checked(seconds, keep), place)

    def _thdPruneBuildData(
        self, conn: Connection, events: Events, seconds: int, keep: int, place: Place
    ) -> Place | None:
        through = self._db.retention.thdRemoveOldData(conn, _before(conn, seconds), keep, place[1])
        return None if through is None else (0, through)

    def pruneBuilds(self, seconds: int, keep: int, place: Place = START) -> Deferred[Place | None]:
        """Remove some builds that ended ``seconds`` ago, with all that belongs to them.

        Events: ``logs/N/emptied`` where a log has content, then ``deleted`` of logs, test result sets, steps and
            builds.
        """
        return self.transact(self._thdPruneBuilds, *_checked(seconds, keep), place)

    def _thdPruneBuilds(self, conn: Connection, events: Events, seconds: int, keep: int, place: Place) -> Place | None:
        retention = self._db.retention
        found, following = retention.thdOldBuilds(conn, _before(conn, seconds), keep, place)
        for buildid, ended in found[:BUILDS]:
            logids, setids, stepids = retention.thdPartsOfBuild(conn, buildid)
            if self._empty(conn, events, logids) is not None or not retention.thdRemoveResults(conn, setids):
                return place  # the build has more rows
            for resource, ids in ((LOG, logids), (TEST_RESULT_SET, setids), (STEP, stepids), (BUILD, [buildid])):
                events.announce(resource, "deleted", ids)
            retention.thdRemoveBuild(conn, buildid)
            place = ended, buildid
        return place if len(found) > BUILDS else following

    def pruneBuildsets(self, seconds: int, place: Place = START) -> Deferred[Place | None]:
        """Remove some buildsets that were complete ``seconds`` ago and have no builds any more, with their requests.

        Events: ``buildrequests/N/deleted``, ``buildsets/N/deleted``.
        """
        return self.transact(self._thdPruneBuildsets, _checked_age(seconds), place)

    def _thdPruneBuildsets(self, conn: Connection, events: Events, seconds: int, place: Place) -> Place | None:
        retention = self._db.retention
        bsids, brids, setids, following = retention.thdOldBuildsets(conn, _before(conn, seconds), place)
        if bsids:
            events.announce(BUILDREQUEST, "deleted", brids)
            events.announce(BUILDSET, "deleted", bsids)
            retention.thdRemoveBuildsets(conn, bsids, brids, setids)
        return following

    def pruneChanges(self, seconds: int, place: Place = START) -> Deferred[Place | None]:
        """Remove some changes older than ``seconds`` that have no buildset and wait in no scheduler.

        Event: ``changes/N/deleted``.
        """
        return self.transact(self._thdPruneChanges, _checked_age(seconds), place)

    def _thdPruneChanges(self, conn: Connection, events: Events, seconds: int, place: Place) -> Place | None:
        changeids, following = self._db.retention.thdOldChanges(conn, _before(conn, seconds), place)
        if changeids:
            events.announce(CHANGE, "deleted", changeids)
            self._db.retention.thdRemoveChanges(conn, changeids)
        return following

    def pruneSourceStamps(self, seconds: int, place: Place = START) -> Deferred[Place | None]:
        """Remove some source stamps made ``seconds`` ago that nothing refers to. Event: ``sourcestamps/N/deleted``.

        Source stamps that a look-up could still find are removed by the next round.
        """
        return self.transact(self._thdPruneSourceStamps, _checked_age(seconds), place)

    def _thdPruneSourceStamps(self, conn: Connection, events: Events, seconds: int, place: Place) -> Place | None:
        ssids, through = self._db.retention.thdOldStamps(conn, _before(conn, seconds), place[1])
        if ssids:
            events.announce(SOURCESTAMP, "deleted", ssids)
            self._db.retention.thdRemoveStamps(conn, ssids)
        return None if through is None else (0, through)

    def _empty(self, conn: Connection, events: Events, logids: list[int]) -> int | None:
        """Remove the content of logs, as much as one transaction may; gives the log at which it stopped."""
        full = self._db.retention.thdFullLogs(conn, logids)
        if full:
            self._db.retention.thdMarkEmpty(conn, full)
            events.announce(LOG, "emptied", full)
        return self._db.retention.thdRemoveChunks(conn, logids)


def _checked_age(seconds: int) -> int:
    return checks.integer(seconds, "seconds", maximum=checks.MAX_INT)


def _checked(seconds: int, keep: int) -> tuple[int, int]:
    return _checked_age(seconds), checks.integer(keep, "keep", maximum=checks.MAX_INT)


def _before(conn: Connection, seconds: int) -> int:
    return transaction_of(conn).now - seconds
