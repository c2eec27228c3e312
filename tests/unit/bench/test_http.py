"""The report of the measurement of the web server."""

from __future__ import annotations

import pytest

from bench.http import HttpReport, HttpResult, table
from bench.http_items import HTTP_ITEMS, HttpItem, chosen
from bench.http_load import Load


def result(fresh_ms: float, unchanged_ms: float, statements: int) -> HttpResult:
    item = HttpItem("one", "builds/{n}", 1.0, 10)
    runs = {
        (state, clients): [Load([0.01] * 10, 1.0, cpu_ms / 100)]
        for state, cpu_ms in (("fresh", fresh_ms), ("kept", 0.05), ("unchanged", unchanged_ms), ("upstream", 40.0))
        for clients in (1, 16)
    }
    return HttpResult(item, runs, {"tenfold": statements, "upstream": 2})


def test_only_chooses_by_prefix() -> None:
    """Prefixes are separated by commas; without any, all are chosen; one that nothing has is an error."""
    assert [item.name for item in chosen("build_s,log_r")] == ["build_steps", "log_raw"]
    assert chosen("") == list(HTTP_ITEMS)
    with pytest.raises(ValueError, match="no item begins with 'nope'"):
        chosen("nope")


def test_missed_goals() -> None:
    """Each missed goal is a sentence."""
    assert list(result(0.9, 0.1, 4).missed()) == []
    assert len(list(result(1.1, 0.2, 5).missed())) == 3
    report = HttpReport([result(0.9, 0.1, 4)], {"tenfold idle": 81.0, "upstream idle": 95.0}, {"tenfold": 2.5}, 100, 1)
    assert len(report.missed()) == 3


def test_table() -> None:
    """One line per request with its goal and upstream's time, then memory, first answers, completeness."""
    lines = table(HttpReport([result(0.5, 0.1, 3)], {"tenfold idle": 70.0}, {"tenfold": 1.0}, 1000, 0)).splitlines()
    assert lines[2].split()[:4] == ["builds/{n}", "1", "0.50", "≤"]
    assert lines[2].endswith("1/80.0")
    assert lines[-1] == "incomplete answers: 0 of 1,000"
