"""The short form of the table: a row on each database, without looking at rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.rows import ALL, BY_NAME, ROWS
from tests.faults.settings import Settings
from tests.faults.table import Result, judge_rates, run
from tests.support.databases import selected_backends
from tests.support.servers import missing

#: what differs most between them; masters that stand still or are cut off have tests in tests/races
SHORT = {"sqlite": ("disk-full",), "postgresql": ("database-killed",), "mysql": ("no-connections",)}
SETTINGS = Settings(expiry_s=5, stretch_s=2.0, later_s=2.0, scale=0.4, workers=3, pause_s=0.2)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(400)
@pytest.mark.parametrize("backend", selected_backends())
def test_nothing_is_lost_doubled_stuck_or_left_open(backend: str, tmp_path: Path) -> None:
    """Whatever happens to masters and databases, each force that was answered ends in one build that succeeds."""
    rows = [BY_NAME[name] for name in SHORT[backend]]
    results = list(run(backend, rows, SETTINGS, tmp_path))
    assert {result.row.name: result.faults for result in results} == {row.name: [] for row in rows}
    skipped = [result.skipped for result in results if result.skipped]
    # and builds did go on
    assert all(result.counts["success"] for result in results if not result.skipped)
    if skipped:
        missing("; ".join(skipped))


def result(name: str, before: tuple[int, int], later: int, first: int = 0) -> Result:
    """A row that was measured."""
    return Result(BY_NAME[name], before=before, later=later, first=first)


def test_a_rate_that_stays_low_is_found() -> None:
    """95 % of the rate before is enough, 94 % is not; a row that was skipped has none."""
    enough, low = result("network-cut", (100, 100), 95), result("master-killed", (100, 100), 94)
    skipped = Result(BY_NAME["clock-set"], skipped="no libfaketime")
    judge_rates([enough, low, skipped])
    assert (enough.faults, skipped.faults) == ([], [])
    assert low.faults == ["94% of the rate before; 95% are needed in this run"]


def test_a_rate_is_not_asked_for_more_than_undisturbed_stretches_have() -> None:
    """On a machine where two undisturbed stretches differ by a fifth, four fifths are enough."""
    noisy, enough, low = (
        result("nothing", (100, 100), 80, first=90),
        result("network-cut", (100, 100), 80),
        result("master-killed", (100, 100), 79),
    )
    judge_rates([noisy, enough, low])
    assert (noisy.faults, enough.faults) == ([], [])
    assert low.faults == ["79% of the rate before; 80% are needed in this run"]


def test_each_row_has_a_name_of_its_own_and_a_database() -> None:
    """``--rows`` can name each of them."""
    assert list(BY_NAME) == [row.name for row in ROWS]
    assert all(set(row.databases) <= set(ALL) and row.databases for row in ROWS)
