"""Test results connector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sqlalchemy import bindparam, insert, select
from sqlalchemy.engine import Connection

from buildbot.db.base import DBConnectorComponent
from buildbot.db.engine.names import NamedRows
from buildbot.db.engine.races import refusing_unknown
from buildbot.db.engine.rows import reader_of
from buildbot.db.engine.statements import Statement, by_name
from buildbot.db.operations import snapshots, writes
from buildbot.resources.test_results import TEST_RESULT, TestResultDict, test_code_paths, test_names, test_results
from buildbot.util import checks

_names = NamedRows(test_names)
_paths = NamedRows(test_code_paths)
_add = Statement(insert(test_results).values(by_name(c for c in test_results.columns if c.name != "id")))
_of_set = Statement(
    select(test_results.c.id).where(test_results.c.test_result_setid == bindparam("setid")).order_by(test_results.c.id)
)
_KEYS = frozenset({"value", "test_name", "test_code_path", "line", "duration_ns"})


class TestResultsConnectorComponent(DBConnectorComponent):
    """Test results; at ``master.db.test_results``. Dictionaries are those of the Data API."""

    def thdAddTestResults(
        self, conn: Connection, builderid: int, test_result_setid: int, result_values: Iterable[Mapping[str, Any]]
    ) -> None:
        """Add results to a set, in their order.

        Args:
            result_values: dictionaries with ``value`` (text) and ``test_name`` or ``test_code_path`` or both, and, all
                optional, ``line`` and ``duration_ns`` (whole numbers).

        Raises:
            TypeError, ValueError: a result is wrong; the text names the mistake. Nothing is written.
        """
        given = [_checked(result, f"result_values[{place}]") for place, result in enumerate(result_values)]
        if not given:
            return
        names = _ids(conn, _names, [result["test_name"] for result in given])
        paths = _ids(conn, _paths, [result["test_code_path"] for result in given])
        rows = [
            {
                "builderid": checks.identifier(builderid, "builderid"),
                "test_result_setid": checks.identifier(test_result_setid, "test_result_setid"),
                "test_nameid": names.get(result["test_name"]),
                "test_code_pathid": paths.get(result["test_code_path"]),
                "line": result["line"],
                "duration_ns": result["duration_ns"],
                "value": result["value"],
            }
            for result in given
        ]
        unknown = f"test_result_setid: there is no test result set {test_result_setid}, or no builder {builderid}"
        with refusing_unknown(conn, unknown):
            _add.many(conn, rows)

    addTestResults = writes(thdAddTestResults)

    def thdGetTestResults(self, conn: Connection, test_result_setid: int) -> list[TestResultDict]:
        """The results of a set, by id."""
        rows = _of_set.all(conn, setid=checks.identifier(test_result_setid, "test_result_setid"))
        found = reader_of(TEST_RESULT).by_ids(conn, [row[0] for row in rows])
        return [cast(TestResultDict, found[resultid]) for resultid in sorted(found)]

    getTestResults = snapshots(thdGetTestResults)


def _ids(conn: Connection, table: NamedRows, names: list[str | None]) -> dict[Any, int]:
    wanted = {name for name in names if name is not None}
    return {**table.ids(conn, sorted(wanted))} if wanted else {}


def _checked(result: Any, what: str) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        raise TypeError(f"{what} must be a dictionary, not {type(result).__name__}")
    unknown = set(result) - _KEYS
    if unknown:
        raise ValueError(f"{what}: there is no {min(map(repr, unknown))}")
    if "value" not in result:
        raise ValueError(f"{what}: it has no value")
    line, duration = result.get("line"), result.get("duration_ns")
    checked = {
        "value": checks.text(result["value"], f"{what}: value"),
        "test_name": checks.optional_text(result.get("test_name"), f"{what}: test_name"),
        "test_code_path": checks.optional_text(result.get("test_code_path"), f"{what}: test_code_path"),
        "line": None if line is None else checks.integer(line, f"{what}: line"),
        "duration_ns": None
        if duration is None
        else checks.integer(duration, f"{what}: duration_ns", 0, checks.MAX_INT),
    }
    if checked["test_name"] is None and checked["test_code_path"] is None:
        raise ValueError(f"{what}: it needs a test_name or a test_code_path")
    return checked
