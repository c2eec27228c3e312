"""Tables for people and JSON for programs."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import goals
from bench.measurement import Measurement, median_cpu_us, median_rate
from bench.rounds import Result

_AGAINST = ("raw", "group", "upstream")
_OURS = ("job", "callers", "/s", "CPU µs", "SQL")
_TITLES = (*_OURS, "of raw", "of g100", "of upstream", "raw /s", "g100 /s", "upstream /s")


def table(backend: str, results: Sequence[Result]) -> str:
    """One line per result: our rate, what it costs, the ratios with their goals (``!`` where one is missed)."""
    rows = [_TITLES, *(_row(backend, result) for result in results)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_TITLES))]
    lines = []
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def missed(backend: str, results: Sequence[Result]) -> list[str]:
    """A sentence for each goal that is missed."""
    sentences = []
    for result in results:
        for against in _AGAINST:
            ratio, goal = result.ratio(against), goals.goal(backend, result.item.name, result.callers, against)
            if ratio is not None and goal is not None and ratio < goal:
                name = f"{backend}: {result.item.title}, {result.callers} callers"
                sentences.append(f"{name}: {number(ratio)} of {against}, the goal is {goal:g}")
        most = goals.STATEMENTS.get(result.item.name)
        if most is not None and result.statements is not None and result.statements > most:
            sentences.append(f"{backend}: {result.item.title}: {result.statements:g} statements, the goal is {most}")
    return sentences


def number(value: float) -> str:
    """Three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine(directory: Path) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpus": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "fdatasync_us": round(_fdatasync_us(directory)),
    }


def as_json(backend: str, results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """Everything that was measured."""
    return [
        {
            "backend": backend,
            "item": result.item.name,
            "callers": result.callers,
            "statements": result.statements,
            "ratios": {against: result.ratio(against) for against in _AGAINST},
            "goals": {against: goals.goal(backend, result.item.name, result.callers, against) for against in _AGAINST},
            "runs": {name: [_run(run, result.item.units) for run in runs] for name, runs in result.runs.items()},
        }
        for result in results
    ]


def _row(backend: str, result: Result) -> tuple[str, ...]:
    units = result.item.units
    ours = result.runs["tenfold"]
    return (
        result.item.title,
        str(result.callers),
        number(median_rate(ours) * units),
        number(median_cpu_us(ours) / units),
        "" if result.statements is None else f"{result.statements:g}",
        *(_ratio(backend, result, against) for against in _AGAINST),
        *(number(median_rate(runs) * units) if (runs := result.runs.get(name)) else "" for name in _AGAINST),
    )


def _ratio(backend: str, result: Result, against: str) -> str:
    ratio, goal = result.ratio(against), goals.goal(backend, result.item.name, result.callers, against)
    if ratio is None:
        return ""
    if goal is None:
        return number(ratio)
    return f"{number(ratio)} {'≥' if ratio >= goal else '!'} {goal:g}"


def _run(run: Measurement, units: int) -> dict[str, float]:
    return {"rate": run.rate * units, "cpu_us": run.cpu_us / units, "calls": run.calls, "seconds": run.seconds}


def _fdatasync_us(directory: Path) -> float:
    path = directory / "fdatasync.probe"
    times = []
    with path.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begin)
    path.unlink()
    return sorted(times)[len(times) // 2] * 1e6
