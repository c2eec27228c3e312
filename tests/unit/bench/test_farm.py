"""The report of the measurement of whole farms."""

from __future__ import annotations

import pytest

from bench.farm import FarmReport, FarmResult, table
from bench.farm_items import FARM_ITEMS, chosen


def report(backend: str, figures: dict[str, float], others: dict[str, FarmReport] | None = None) -> FarmReport:
    (item,) = chosen("builds")
    theirs = {"rate": 2.0, "cpu_ms": 400.0, "single_ms": 1000.0}
    return FarmReport(backend, [FarmResult(item, {"tenfold": [figures], "upstream": [theirs]})], others or {})


def test_only_chooses_by_prefix() -> None:
    """Prefixes are separated by commas; without any, all are chosen; one that nothing has is an error."""
    assert [item.name for item in chosen("bui,masters_1")] == ["builds", "masters_1"]
    assert chosen("") == list(FARM_ITEMS)
    with pytest.raises(ValueError, match="no item begins with 'nope'"):
        chosen("nope")


def test_missed_goals() -> None:
    """Each missed goal is a sentence; ratios to upstream are left out where that was not measured."""
    good = {"rate": 100.0, "cpu_ms": 7.0, "single_ms": 40.0, "transactions": 20.0, "p95_ms": 9.0}
    assert report("sqlite", good).missed() == []
    bad = {"rate": 70.0, "cpu_ms": 9.0, "single_ms": 60.0, "transactions": 21.0, "p95_ms": 16.0}
    assert len(report("sqlite", bad).missed()) == 5
    alone = report("sqlite", bad)
    del alone.results[0].runs["upstream"]
    assert len(alone.missed()) == 2


def test_goals_against_another_database() -> None:
    """MariaDB is compared with our own figures on PostgreSQL, if those were measured in the same run."""
    figures = {"rate": 30.0, "cpu_ms": 13.0}
    assert report("mysql", figures).missed() == []
    other = report("postgresql", {"rate": 40.0, "cpu_ms": 10.0})
    assert len(report("mysql", figures, {"postgresql": other}).missed()) == 2


def test_table() -> None:
    """One line per figure, with its goal and upstream's."""
    lines = table(report("sqlite", {"rate": 100.0, "cpu_ms": 10.0, "transactions": 20.0})).splitlines()
    assert "50.0x ≥ 40.0x of upstream" in lines[2] and lines[2].endswith("50.0x")
    assert "1/40.0 ! ≤ 1/50.0 of upstream" in lines[3]
    assert "≤ 20" in lines[4]
