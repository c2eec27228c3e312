"""Ratios and tables."""

from __future__ import annotations

import pytest

from bench.history import Ageing
from bench.items import BY_NAME
from bench.measurement import Measurement, median_ratio
from bench.report import missed, number, table
from bench.rounds import Result


def _runs(*rates: int) -> list[Measurement]:
    return [Measurement(calls=rate, seconds=1.0, cpu_seconds=0.5) for rate in rates]


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """A round in which a neighbour was busy counts once, not as part of a mean."""
    assert median_ratio(_runs(100, 10, 100), _runs(200, 20, 100)) == 0.5


def test_the_table_marks_goals() -> None:
    """A goal that is met has ``≥``, one that is missed ``!``; a value that was not measured is empty."""
    result = Result(BY_NAME["addChange"], 1, {"tenfold": _runs(500), "raw": _runs(1000), "upstream": _runs(100)})
    line = table("sqlite", [result]).splitlines()[2]
    assert "0.50 ≥ 0.4" in line
    assert "5.00 ! 10" in line
    assert missed("sqlite", [result]) == ["sqlite: addChange, 1 callers: 5.00 of upstream, the goal is 10"]


def test_too_many_statements_are_a_missed_goal() -> None:
    """Claims of many ids take a bounded number of statements."""
    result = Result(BY_NAME["claim_100"], 1, {"tenfold": _runs(5)}, statements=14)
    assert missed("sqlite", [result]) == ["sqlite: claim + complete, 100 ids a call: 14 statements, the goal is 12"]


@pytest.mark.parametrize(("value", "text"), [(0.123, "0.12"), (12.34, "12.3"), (12345.6, "12,346")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Enough for a measurement."""
    assert number(value) == text


def test_history_is_judged_by_the_quieter_figure() -> None:
    """Rounds that a neighbour slowed down on one side only do not fail the long history."""
    ageing = Ageing(BY_NAME["getBuild"], 1, _runs(1000, 1000, 1000), _runs(500, 500, 900))
    assert ageing.slower == pytest.approx(1.11, abs=0.01)
    assert ageing.all_well
