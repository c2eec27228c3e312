"""Updates of test result sets; each fails with ``NotClaimedError`` if this master does not hold the build's request."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts
from buildbot.resources.test_result_sets import TEST_RESULT_SET


class TestResultSetUpdates(Transacts):
    """``addTestResultSet``, ``completeTestResultSet``."""

    def addTestResultSet(
        self, builderid: int, buildid: int, stepid: int, description: str | None, category: str, value_unit: str
    ) -> Deferred[int]:
        """Begin a set of results of a running step. Event: ``test_result_sets/N/new``.

        Args:
            category: what is measured: ``pass_fail``, ``performance``, …
            value_unit: the unit of the values: ``boolean``, ``s``, ``message``, …

        Returns:
            Deferred with the test_result_setid.

        Raises ValueError if there is no such step of such a build of such a builder.
        """
        return self.transact(self._thdAddSet, builderid, buildid, stepid, description, category, value_unit)

    def _thdAddSet(
        self,
        conn: Connection,
        events: Events,
        builderid: int,
        buildid: int,
        stepid: int,
        description: str | None,
        category: str,
        value_unit: str,
    ) -> int:
        self._db.builds.thdHold(conn, buildid)
        setid = self._db.test_result_sets.thdAddTestResultSet(
            conn, builderid, buildid, stepid, description, category, value_unit
        )
        events.announce(TEST_RESULT_SET, "new", setid)
        return setid

    def completeTestResultSet(
        self, test_result_setid: int, tests_passed: int | None = None, tests_failed: int | None = None
    ) -> Deferred[None]:
        """Complete a set: it takes no more results. Event: ``test_result_sets/N/completed``.

        Raises ValueError if there is no such set, or it is complete.
        """
        return self.transact(self._thdCompleteSet, test_result_setid, tests_passed, tests_failed)

    def _thdCompleteSet(
        self,
        conn: Connection,
        events: Events,
        test_result_setid: int,
        tests_passed: int | None,
        tests_failed: int | None,
    ) -> None:
        sets = self._db.test_result_sets
        sets.thdHold(conn, test_result_setid)
        sets.thdCompleteTestResultSet(conn, test_result_setid, tests_passed, tests_failed)
        events.announce(TEST_RESULT_SET, "completed", test_result_setid)
