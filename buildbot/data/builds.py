"""Updates of builds. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.data.buildrequests import cancel_left_behind, complete, release
from buildbot.data.virtualbuilders import thd_builder_of_build
from buildbot.db.builds import FIRST_STATE
from buildbot.db.connector import DBConnector
from buildbot.resources.builds import BUILD
from buildbot.resources.logs import LOG
from buildbot.resources.steps import STEP
from buildbot.resources.test_result_sets import TEST_RESULT_SET
from buildbot.util import checks
from buildbot.util.results import CANCELLED, RETRY


class BuildUpdates(Transacts):
    """``newBuild``, ``setBuildStateString``, ``setBuildProperties``, ``setBuildLocksDuration``, ``finishBuild``,
    ``endBuild``.
    """

    def newBuild(self, brid: int, number: int | None = None, workerid: int | None = None) -> Deferred[int]:
        """Begin a build of a request that this master has claimed. Event: ``builds/N/new``.

        If the properties of the buildset name a virtual builder the build is that one's; see
        `buildbot.data.virtualbuilders`. Event, if it is new or described anew: ``builders/N/update``.

        Args:
            number: unique for the builder; None takes the next one.

        Returns:
            Deferred with the buildid.
        """
        return self.transact(self._thdNewBuild, brid, number, workerid)

    def _thdNewBuild(
        self, conn: Connection, events: Events, brid: int, number: int | None, workerid: int | None
    ) -> int:
        return self._thdNewBuildAhead(conn, events, brid, number, workerid, FIRST_STATE)

    def _thdNewBuildAhead(
        self, conn: Connection, events: Events, brid: int, number: int | None, workerid: int | None, state: str
    ) -> int:
        """Add a build with a state string that is stored ahead of `_thdAnnounceBuild`."""
        builder_of = partial(thd_builder_of_build, self._db, conn, events)
        buildid = self._db.builds.thdNewBuild(conn, brid, number, workerid, builder_of, state)
        events.announce(BUILD, "new", buildid, changes={"state_string": FIRST_STATE})
        return buildid

    def setBuildStateString(self, buildid: int, state_string: str) -> Deferred[None]:
        """Set the state string of a build: what it is doing. Event: ``builds/N/update``."""
        return self.transact(self._thdSetBuildState, buildid, state_string)

    def _thdSetBuildState(self, conn: Connection, events: Events, buildid: int, state_string: str) -> None:
        self._db.builds.thdSetState(conn, buildid, state_string)
        self._thdAnnounceBuild(conn, events, buildid)

    def _thdSetBuildStateAhead(
        self, conn: Connection, events: Events, buildid: int, announced: str, state_string: str
    ) -> None:
        """Announce a state string of a build, and store the next one ahead of `_thdAnnounceBuild`."""
        self._db.builds.thdSetState(conn, buildid, state_string)
        events.announce(BUILD, "update", buildid, changes={"state_string": checks.text(announced, "state_string")})

    def _thdAnnounceBuild(self, conn: Connection, events: Events, buildid: int) -> None:
        events.announce(BUILD, "update", buildid)

    def setBuildLocksDuration(self, buildid: int, seconds: int) -> Deferred[None]:
        """Set how long a build waited for locks. Event: ``builds/N/update``."""
        return self.transact(self._thdSetLocks, buildid, seconds)

    def _thdSetLocks(self, conn: Connection, events: Events, buildid: int, seconds: int) -> None:
        self._db.builds.thdSetLocksDuration(conn, buildid, seconds)
        events.announce(BUILD, "update", buildid)

    def setBuildProperties(self, buildid: int, properties: Mapping[str, tuple[Any, str]]) -> Deferred[None]:
        """Set properties of a build: ``{name: (value, source)}`` with JSON values.

        Event: ``builds/N/properties/update`` with those that are new or changed, ``{name: [value, source]}``.
        """
        return self.transact(self._thdSetProperties, buildid, dict(properties))

    def _thdSetProperties(
        self, conn: Connection, events: Events, buildid: int, properties: dict[str, tuple[Any, str]]
    ) -> None:
        self._db.builds.thdHold(conn, buildid)
        changed = self._db.builds.thdSetProperties(conn, buildid, properties)
        if changed:
            events.announce_message(f"builds/{buildid}/properties/update", changed)

    def finishBuild(self, buildid: int, results: int) -> Deferred[None]:
        """End a build, and those of its steps, logs and test result sets that have not ended.

        Events: ``logs/N/finished``, ``steps/N/finished`` and ``test_result_sets/N/completed`` of these, then
        ``builds/N/finished``.
        """
        return self.transact(self._thdFinishBuild, buildid, results)

    def _thdFinishBuild(self, conn: Connection, events: Events, buildid: int, results: int) -> None:
        self._db.builds.thdFinish(conn, buildid, results)
        self._thdEndParts(conn, events, buildid, results)

    def _thdEndParts(self, conn: Connection, events: Events, buildid: int, results: int) -> None:
        close_parts(self._db, conn, events, buildid, results)
        events.announce(BUILD, "finished", buildid)

    def endBuild(self, buildid: int, brid: int, results: int) -> Deferred[None]:
        """End a build as ``finishBuild`` does, and its request, in one transaction.

        RETRY releases the request, every other result completes it. So a request whose build has ended is not built
        again when a master is lost. RETRY is stored as CANCELLED if a person wanted to stop the build or the request:
        the wish may come while the worker is lost or the master stops.

        Events: those of ``finishBuild``, then ``buildrequests/N/unclaimed``, or ``buildrequests/N/complete`` and
        perhaps ``buildsets/N/complete``.
        """
        return self.transact(self._thdEndBuild, buildid, brid, results)

    def _thdEndBuild(self, conn: Connection, events: Events, buildid: int, brid: int, results: int) -> None:
        self._thdEndBuildShowing(conn, events, buildid, brid, results, None)

    def _thdEndBuildShowing(
        self, conn: Connection, events: Events, buildid: int, brid: int, results: int, state_string: str | None
    ) -> None:
        """End a build and its request; before, set its state string unless it is None."""
        # first: the end of the build only shares this lock, and the cancelling of the request waits for it
        db = self._db
        db.buildrequests.thdState(conn, brid)
        wanted = self._wanted_end(conn, buildid, brid) if results == RETRY else None
        last = state_string
        if wanted is not None:
            results, last = CANCELLED, f"cancelled: {wanted}"
        db.builds.thdFinish(conn, buildid, results, last)
        if state_string is not None:
            events.announce(BUILD, "update", buildid, changes={**_RUNNING, "state_string": state_string})
        self._thdEndParts(conn, events, buildid, results)
        if results == RETRY:
            release(db, conn, events, [brid])
            return
        complete(db, conn, events, [brid], results)
        if wanted is not None:
            cancel_left_behind(db, conn, events, brid)

    def _wanted_end(self, conn: Connection, buildid: int, brid: int) -> str | None:
        """Why a person wanted this build to be stopped; None if nobody did."""
        unfinished = self._db.builds.thdUnfinished(conn, brids=[brid])
        return next((reason for bid, reason, _ in unfinished if bid == buildid), None)


#: the attributes of a build that runs
_RUNNING = {"complete": False, "complete_at": None, "results": None}


def close_parts(db: DBConnector, conn: Connection, events: Events, buildid: int, results: int) -> None:
    """End the steps, logs and test result sets of a build that have not ended: they would stay open for ever."""
    stepids, logids, setids = db.builds.thdOpenParts(conn, buildid)
    for logid in logids:
        db.logs.thdFinishLost(conn, logid)
        events.announce(LOG, "finished", logid)
    for stepid in stepids:
        db.steps.thdFinishLost(conn, stepid, results)
        events.announce(STEP, "finished", stepid)
    for setid in setids:
        db.test_result_sets.thdCompleteTestResultSet(conn, setid)
        events.announce(TEST_RESULT_SET, "completed", setid)
