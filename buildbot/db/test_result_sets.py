"""Test result sets connector."""

from __future__ import annotations

from typing import Protocol, cast

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.engine import Connection

from buildbot.db.base import Connector, DBConnectorComponent
from buildbot.db.builds import BuildsConnectorComponent
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Insert, Statement, by_name
from buildbot.db.operations import reads_short, snapshots, writes
from buildbot.resources.builds import builds
from buildbot.resources.steps import steps
from buildbot.resources.test_result_sets import TEST_RESULT_SET, TestResultSetDict, test_result_sets
from buildbot.util import checks

_names = ("builderid", "buildid", "stepid", "description", "category", "value_unit")
_add = Insert(insert(test_result_sets).values(by_name(test_result_sets.c[name] for name in _names)))
_belongs = Statement(
    select(builds.c.id)
    .join(steps, steps.c.buildid == builds.c.id)
    .where(
        steps.c.id == bindparam("stepid"),
        builds.c.id == bindparam("buildid"),
        builds.c.builderid == bindparam("builderid"),
    )
)
_complete = Statement(
    update(test_result_sets)
    .where(test_result_sets.c.id == bindparam("setid"), test_result_sets.c.complete == 0)
    .values(complete=1, tests_passed=bindparam("passed"), tests_failed=bindparam("failed"))
)
_where = Statement(
    select(test_result_sets.c.buildid, test_result_sets.c.builderid, test_result_sets.c.complete).where(
        test_result_sets.c.id == bindparam("setid")
    )
)
_of_build = Statement(
    select(test_result_sets.c.id)
    .where(test_result_sets.c.buildid == bindparam("buildid"))
    .order_by(test_result_sets.c.id)
)


class _Connector(Connector, Protocol):
    """The connector, with the other components that this one calls."""

    builds: BuildsConnectorComponent


class TestResultSetsConnectorComponent(DBConnectorComponent):
    """Test result sets; at ``master.db.test_result_sets``. Dictionaries are those of the Data API."""

    db: _Connector

    def thdAddTestResultSet(
        self,
        conn: Connection,
        builderid: int,
        buildid: int,
        stepid: int,
        description: str | None,
        category: str,
        value_unit: str,
    ) -> int:
        """Add a set, and return its id.

        Raises:
            ValueError: there is no such step of such a build of such a builder.
        """
        ids = {
            "builderid": checks.identifier(builderid, "builderid"),
            "buildid": checks.identifier(buildid, "buildid"),
            "stepid": checks.identifier(stepid, "stepid"),
        }
        described = {
            "description": checks.optional_text(description, "description"),
            "category": checks.text(category, "category"),
            "value_unit": checks.text(value_unit, "value_unit"),
        }
        if _belongs.first(conn, **ids) is None:
            raise ValueError(f"stepid: builder {builderid} has no build {buildid} with a step {stepid}")
        return _add.id(conn, **ids, **described)

    addTestResultSet = writes(thdAddTestResultSet)

    def thdCompleteTestResultSet(
        self, conn: Connection, test_result_setid: int, tests_passed: int | None = None, tests_failed: int | None = None
    ) -> None:
        """Complete a set, with the numbers of tests that passed and failed, if they are known.

        Raises:
            ValueError: there is no such set, or it is complete.
        """
        counts = {"passed": tests_passed, "failed": tests_failed}
        for name, value in counts.items():
            if value is not None:
                checks.integer(value, f"tests_{name}")
        if not _complete.count(conn, setid=checks.identifier(test_result_setid, "test_result_setid"), **counts):
            raise ValueError(f"test_result_setid: there is no set {test_result_setid} that is not complete")

    completeTestResultSet = writes(thdCompleteTestResultSet)

    def thdGetTestResultSet(self, conn: Connection, test_result_setid: int) -> TestResultSetDict | None:
        """The set with this id, or None."""
        wanted = checks.identifier(test_result_setid, "test_result_setid")
        return cast(TestResultSetDict | None, reader_of(TEST_RESULT_SET).by_ids(conn, [wanted]).get(wanted))

    getTestResultSet = reads_short(thdGetTestResultSet)

    def thdGetTestResultSets(self, conn: Connection, buildid: int) -> list[TestResultSetDict]:
        """The sets of a build, by id."""
        rows = _of_build.all(conn, buildid=checks.identifier(buildid, "buildid"))
        found = reader_of(TEST_RESULT_SET).by_ids(conn, [row[0] for row in rows])
        return [cast(TestResultSetDict, found[setid]) for setid in sorted(found)]

    getTestResultSets = snapshots(thdGetTestResultSets)

    # -- for the Data layer -------------------------------------------------------------------------

    def thdHold(self, conn: Connection, test_result_setid: int) -> int:
        """Make sure that this master has claimed the set's build until this transaction ends; gives the set's builder.

        Raises NotClaimedError if not, ValueError if there is no such set or it is complete.
        """
        row = _where.first(conn, setid=checks.identifier(test_result_setid, "test_result_setid"))
        if row is None or row[2]:
            raise ValueError(f"test_result_setid: there is no set {test_result_setid} that is not complete")
        self.db.builds.thdHold(conn, row[0])
        return int(row[1])
