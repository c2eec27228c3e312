"""Updates of test results. Each fails with ``NotClaimedError`` if this master no longer holds the build's request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.engine import Connection
from twisted.internet.defer import Deferred

from buildbot.data.base import Events, Transacts


class TestResultUpdates(Transacts):
    """``addTestResults``."""

    def addTestResults(
        self, builderid: int, test_result_setid: int, result_values: Iterable[Mapping[str, Any]]
    ) -> Deferred[None]:
        """Add results to a set that is not complete, in their order; announces nothing.

        Args:
            builderid: the set's builder.
            result_values: dictionaries with ``value`` (text) and ``test_name`` or ``test_code_path`` or both, and, all
                optional, ``line`` and ``duration_ns`` (whole numbers).

        Raises ValueError if there is no such set of that builder, or it is complete.
        """
        return self.transact(self._thdAddResults, builderid, test_result_setid, list(result_values))

    def _thdAddResults(
        self,
        conn: Connection,
        events: Events,
        builderid: int,
        test_result_setid: int,
        result_values: list[Mapping[str, Any]],
    ) -> None:
        if self._db.test_result_sets.thdHold(conn, test_result_setid) != builderid:
            raise ValueError(f"builderid: the set {test_result_setid} is not of builder {builderid}")
        self._db.test_results.thdAddTestResults(conn, builderid, test_result_setid, result_values)
